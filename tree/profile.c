/*
 * profile: files in which sets of pages are kept. See act/pages.h, and profile_code.c for what is
 * in them.
 *
 * A profile is born complete (tree/target): without a name until it is on the disk, so a kill and a
 * full disk leave the old one. It is read whole, since it is small: a bit for each page of the file
 * at most.
 */
#include "tree/profile.h"

#include "base/fd.h"
#include "tree/target.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Which pages somebody has needed is nobody else's business: the kernel tells of it only the
 * owner, too. */
#define MODE_NEW 0600

static int refuse(struct act_error *error, int result, const char *path, const char *why,
                  const char *remedy)
{
    snprintf(error->message, sizeof error->message, "%.512s: %s: %s", path, why, remedy);
    return result;
}

static int fail(struct act_error *error, int r, const char *path, const char *what,
                const char *remedy)
{
    char why[PROFILE_WHY_SIZE];
    snprintf(why, sizeof why, "%s: %s", what, strerror(-r));
    return refuse(error, r, path, why, remedy);
}

static int fail_write(struct act_error *error, int r, const char *path)
{
    const char *remedy = "name a file in another directory";
    if (r == -ENOSPC || r == -EDQUOT || r == -EFBIG)
        remedy = "make room there, or name a file elsewhere";
    else if (r == -EACCES || r == -EPERM || r == -EROFS)
        remedy = "name a file in a directory that this user may write";
    else if (r == -ENOENT || r == -ENOTDIR)
        remedy = "make its directory";
    return fail(error, r, path, "cannot write it", remedy);
}

static int fail_read(struct act_error *error, int r, const char *path)
{
    const char *remedy = "delete it, so that it is written anew";
    if (r == -ENOENT)
        remedy = "there is none until one is written";
    else if (r == -EACCES || r == -EPERM)
        remedy = "let this user read it, or name another one";
    else if (r == -ENOMEM)
        remedy = "the set of its pages needs memory";
    return fail(error, r, path, "cannot read it", remedy);
}

/* As much of the file as there is, up to len bytes: *ret_len. */
static int read_all(int fd, uint8_t *p, size_t len, size_t *ret_len)
{
    size_t at = 0;
    while (at < len) {
        ssize_t n = pread(fd, p + at, len - at, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        at += (size_t)n;
    }
    *ret_len = at;
    return 0;
}

#define REMEDY_OTHER "name another file for the profile"

/*
 * What is there must be a profile, if only a damaged one, or an empty file: nothing else is
 * replaced. A slip of who writes the configuration would cost the tree.
 */
static int check_old(const char *path, struct act_error *error)
{
    uint8_t header[PROFILE_HEADER_BYTES];
    size_t len;
    int fd with_close = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    int r = fd < 0 ? -errno : read_all(fd, header, sizeof header, &len);
    if (r == -ENOENT)
        return 0; /* it has gone meanwhile */
    if (r < 0)
        return fail_read(error, r, path);
    if (profile_may_be_one(header, len))
        return 0;
    return refuse(error, -EEXIST, path, "not a profile, so it is not replaced", REMEDY_OTHER);
}

static int write_all(int fd, const uint8_t *p, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, p, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        p += n;
        len -= (size_t)n;
    }
    return 0;
}

static int write_target(struct target *target, const uint8_t *data, size_t len)
{
    if (!target->has_old && fchmod(target->fd, MODE_NEW) < 0)
        return -errno;
    int r = write_all(target->fd, data, len);
    return r == 0 ? target_publish(target) : r;
}

int act_profile_write(const char *path, const struct act_profile *about,
                      const struct act_pages *pages, struct act_error *ret_error)
{
    struct act_error ignored, *error = ret_error ? ret_error : &ignored;
    struct target target;
    uint8_t *data;
    size_t len;
    if (about->size_bytes != pages->size_bytes || (unsigned)about->source > ACT_PAGES_PAGEMAP)
        return refuse(error, -EINVAL, path, "cannot write it", "the set is of another file");
    int r = profile_encode(about, pages, &data, &len);
    if (r < 0)
        return fail_write(error, r, path);
    r = target_init(&target, path, error);
    bool is_regular = r != ACT_NOT_REGULAR, is_told = false;
    if (r == 0 && target.has_old) {
        r = check_old(path, error);
        is_told = r < 0;
    }
    if (r == 0)
        r = write_target(&target, data, len);
    target_deinit(&target);
    free(data);
    if (!is_regular)
        return refuse(error, -EINVAL, path, "not a regular file", "name another one");
    return r < 0 && !is_told ? fail_write(error, r, path) : r;
}

#define REMEDY_BROKEN  "delete it, so that it is written anew"
#define REMEDY_FOREIGN "delete it, or name another one for this file"

static int refuse_content(struct act_error *error, int r, const char *path, const char *why)
{
    if (r < 0)
        return fail_read(error, r, path);
    return refuse(error, r, path, why, r == ACT_PROFILE_BROKEN ? REMEDY_BROKEN : REMEDY_FOREIGN);
}

/* Of a regular file of size bytes, which is not larger than a profile can be. */
static int read_content(int fd, size_t size, const char *path, const struct act_profile *wanted,
                        struct act_profile *ret_about, struct act_pages **ret_pages,
                        struct act_error *error)
{
    char why[PROFILE_WHY_SIZE];
    size_t len;
    uint8_t *data = malloc(size > 0 ? size : 1);
    if (!data)
        return fail_read(error, -ENOMEM, path);
    int r = read_all(fd, data, size, &len);
    if (r < 0) {
        free(data);
        return fail_read(error, r, path);
    }
    r = profile_decode(data, len, wanted, ret_about, ret_pages, why);
    free(data);
    return r == 0 ? 0 : refuse_content(error, r, path, why);
}

int act_profile_read(const char *path, const struct act_profile *wanted,
                     struct act_profile *ret_about, struct act_pages **ret_pages,
                     struct act_error *ret_error)
{
    struct act_error ignored, *error = ret_error ? ret_error : &ignored;
    char why[PROFILE_WHY_SIZE];
    uint8_t header[PROFILE_HEADER_BYTES];
    struct stat st;
    size_t len;
    /* What is no file must not have us wait for whoever is at its other end. */
    int fd with_close = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return fail_read(error, -errno, path);
    if (!S_ISREG(st.st_mode))
        return refuse(error, ACT_PROFILE_BROKEN, path, "not a regular file", "name another one");
    int r = read_all(fd, header, sizeof header, &len);
    if (r < 0)
        return fail_read(error, r, path);
    if (!profile_may_be_one(header, len))
        return refuse(error, ACT_PROFILE_BROKEN, path, "not a profile of pages", REMEDY_OTHER);
    r = profile_check_header(header, len, wanted, why);
    if (r != 0)
        return refuse_content(error, r, path, why);
    if ((uint64_t)st.st_size > profile_max_bytes(wanted->size_bytes))
        return refuse_content(error, ACT_PROFILE_BROKEN, path,
                              "damaged: longer than a profile of this file can be");
    return read_content(fd, (size_t)st.st_size, path, wanted, ret_about, ret_pages, error);
}
