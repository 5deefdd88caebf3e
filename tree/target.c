/*
 * target: see target.h.
 */
#include "tree/target.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#define MODE_NEW   0666 /* as far as the umask lets it */
#define MODE_BITS  07777
#define MODE_OWN   0600 /* until the mode of the file that is replaced is set */
#define NAME_TRIES 100
#define LINKS_MAX  40 /* as in the kernel */

static int refuse(struct act_error *error, int result, const char *path, const char *what)
{
    snprintf(error->message, sizeof error->message, "%.512s: %s%s%s", path, what,
             result < 0 ? ": " : "", result < 0 ? strerror(-result) : "");
    return result;
}

/* A name hidden beside the target. */
static void temporary_name(struct target *target, uint64_t number)
{
    snprintf(target->temporary, sizeof target->temporary, ".act-%016llx",
             (unsigned long long)number);
}

/* A number that nobody has yet. */
static uint64_t random_number(void)
{
    uint64_t number = 0;
    (void)!getrandom(&number, sizeof number, GRND_NONBLOCK);
    return number ^ (uint64_t)getpid();
}

/* What the symbolic link at path leads to; *owned* by the caller; NULL with errno. */
static char *link_follow(const char *path)
{
    char to[PATH_MAX];
    ssize_t n = readlink(path, to, sizeof to);
    if (n < 0)
        return NULL;
    if ((size_t)n == sizeof to) {
        errno = ENAMETOOLONG;
        return NULL;
    }
    const char *slash = to[0] == '/' ? NULL : strrchr(path, '/');
    size_t directory_len = slash ? (size_t)(slash - path) + 1 : 0;
    char *target = malloc(directory_len + (size_t)n + 1);
    if (!target)
        return NULL;
    memcpy(target, path, directory_len);
    memcpy(target + directory_len, to, (size_t)n);
    target[directory_len + (size_t)n] = '\0';
    return target;
}

/* path with the symbolic links in its last part followed, also where they lead to nothing yet;
 * *owned* by the caller; NULL with errno. */
static char *links_follow(const char *path)
{
    struct stat st;
    char *at = strdup(path);
    for (unsigned i = 0; at && lstat(at, &st) == 0 && S_ISLNK(st.st_mode); i++) {
        char *next = NULL;
        if (i < LINKS_MAX)
            next = link_follow(at);
        else
            errno = ELOOP;
        free(at);
        at = next;
    }
    return at;
}

/* Where the file will be, and what is there now. */
static int resolve(struct target *target, const char *path, struct act_error *error)
{
    struct stat st;
    target->has_old = stat(path, &st) == 0;
    if (!target->has_old && (errno != ENOENT || *path == '\0'))
        return refuse(error, -errno, path, "cannot write");
    if (target->has_old && !S_ISREG(st.st_mode))
        return refuse(error, ACT_NOT_REGULAR, path, "cannot be replaced: not a regular file");
    target->path = links_follow(path);
    if (!target->path)
        return refuse(error, -errno, path, "cannot write");
    char *slash = strrchr(target->path, '/');
    target->name = slash ? slash + 1 : target->path;
    if (*target->name == '\0')
        return refuse(error, -EISDIR, path, "cannot write");
    if (target->has_old) {
        target->mode = st.st_mode & MODE_BITS;
        target->uid = st.st_uid;
        target->gid = st.st_gid;
    }
    return 0;
}

static int open_directory(struct target *target, struct act_error *error)
{
    size_t len = (size_t)(target->name - target->path);
    char *directory = len > 0 ? strndup(target->path, len) : strdup(".");
    if (!directory)
        return refuse(error, -ENOMEM, target->path, "cannot write");
    target->directory_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = target->directory_fd < 0
                ? refuse(error, -errno, target->path, "cannot open its directory")
                : 0;
    free(directory);
    return r;
}

static int open_file(struct target *target, struct act_error *error)
{
    mode_t mode = target->has_old ? MODE_OWN : MODE_NEW;
    target->fd = openat(target->directory_fd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, mode);
    if (target->fd >= 0)
        return 0;
    if (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT && errno != EINVAL)
        return refuse(error, -errno, target->path, "cannot write");
    for (int i = 0; i < NAME_TRIES && target->fd < 0; i++) {
        temporary_name(target, random_number());
        target->fd = openat(target->directory_fd, target->temporary,
                            O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, mode);
        if (target->fd < 0 && errno != EEXIST)
            break;
    }
    if (target->fd >= 0)
        return 0;
    int saved = errno;
    target->temporary[0] = '\0';
    return refuse(error, -saved, target->path, "cannot write");
}

int target_init(struct target *target, const char *path, struct act_error *error)
{
    *target = (struct target){.fd = -1, .directory_fd = -1};
    int r = resolve(target, path, error);
    if (r == 0)
        r = open_directory(target, error);
    return r == 0 ? open_file(target, error) : r;
}

char *target_temporary(const struct target *target)
{
    char *path;
    int directory_len = (int)(target->name - target->path);
    if (target->temporary[0] == '\0' ||
        asprintf(&path, "%.*s%s", directory_len, target->path, target->temporary) < 0)
        return NULL;
    return path;
}

void target_deinit(struct target *target)
{
    if (target->temporary[0] != '\0')
        (void)unlinkat(target->directory_fd, target->temporary, 0);
    fd_closep(&target->fd);
    fd_closep(&target->directory_fd);
    free(target->path);
    target->path = NULL;
}

/* Gives the nameless file that name. */
static int link_as(const struct target *target, const char *name)
{
    char self[32];
    snprintf(self, sizeof self, "/proc/self/fd/%d", target->fd);
    if (linkat(AT_FDCWD, self, target->directory_fd, name, AT_SYMLINK_FOLLOW) == 0)
        return 0;
    if (errno != ENOENT)
        return -errno;
    /* Without /proc this takes a privilege. */
    return linkat(target->fd, "", target->directory_fd, name, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

/* The temporary name becomes the final one. */
static int rename_over(struct target *target)
{
    if (renameat(target->directory_fd, target->temporary, target->directory_fd, target->name) < 0)
        return -errno;
    target->temporary[0] = '\0';
    return 0;
}

/* One name for all who replace the same target: only for who has locked the directory. What stands
 * there then is of one that was killed. */
static int link_alone(struct target *target)
{
    temporary_name(target, XXH3_64bits(target->name, strlen(target->name)));
    int r = link_as(target, target->temporary);
    if (r == -EEXIST && unlinkat(target->directory_fd, target->temporary, 0) == 0)
        r = link_as(target, target->temporary);
    return r;
}

static int link_beside_others(struct target *target)
{
    int r = -EEXIST;
    for (int i = 0; i < NAME_TRIES && r == -EEXIST; i++) {
        temporary_name(target, random_number());
        r = link_as(target, target->temporary);
    }
    return r;
}

/*
 * A nameless file cannot be renamed over the old one: it needs a temporary name first, and a kill
 * between the two steps leaves that. So it is always the same one, and whoever comes next removes
 * it; several at once would take it away from each other, hence the lock. Nobody waits for it: any
 * reader of the directory can have it for ever.
 */
static int replace_nameless(struct target *target)
{
    bool is_alone = flock(target->directory_fd, LOCK_EX | LOCK_NB) == 0;
    int r = is_alone ? link_alone(target) : -EEXIST;
    if (r == -EEXIST)
        r = link_beside_others(target);
    if (r == 0)
        r = rename_over(target);
    else
        target->temporary[0] = '\0'; /* it is somebody else's */
    if (is_alone)
        (void)flock(target->directory_fd, LOCK_UN);
    return r;
}

/* At once, where there is no file yet. */
static int link_nameless(struct target *target)
{
    int r = target->has_old ? -EEXIST : link_as(target, target->name);
    return r == -EEXIST ? replace_nameless(target) : r;
}

int target_publish(struct target *target)
{
    int r = 0;
    if (target->has_old) {
        /* First: changing them may clear bits of the mode. Who may not give a file away may still
         * give it to a group of his. */
        (void)!fchown(target->fd, (uid_t)-1, target->gid);
        (void)!fchown(target->fd, target->uid, (gid_t)-1);
        if (fchmod(target->fd, target->mode) < 0)
            return -errno;
    }
    if (fsync(target->fd) < 0)
        return -errno;
    r = target->temporary[0] == '\0' ? link_nameless(target) : rename_over(target);
    /* Some file systems cannot sync a directory, and need not. */
    if (r == 0 && fsync(target->directory_fd) < 0 && errno != EINVAL)
        r = -errno;
    return r;
}
