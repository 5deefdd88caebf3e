/*
 * checker: see checker.h.
 *
 * Three ends: checker_run returns after the answer; the process ends when nobody wants to know any
 * more (daemon/background); the handler of SIGBUS, when a page of the file cannot
 * be had, sends the refusal that was prepared.
 */
#include "daemon/checker/checker.h"

#include "act/verify.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "daemon/background.h"
#include "daemon/checker/copy.h"
#include "daemon/checker/hidden.h"
#include "daemon/config.h"
#include "daemon/control.h"
#include "daemon/snapshot.h"
#include "daemon/temporary.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define EXIT_USAGE 2

#define PROGRESS_MS 250

/* A file that has changed while it was copied may be at rest now. */
#define COPY_TRIES 3

/* Between two tries, while the supervisor has not read what was sent before. */
#define ANSWER_RETRY_MS 10

struct check {
    const char *path; /* borrowed from the configuration */
    struct temporary temporary;
    uint64_t next_progress_ms;      /* clock_ms */
    struct act_finding fault;       /* the first one; reason NULL: there is none */
    struct control_message message; /* its generation is filled in as it becomes known */
};

/* Also the handler's. */
static struct check check;
static char lost_text[CONTROL_TEXT_BYTES];

/* Nothing here but what a signal handler may do. */
static void answer(uint32_t type, int passed)
{
    check.message.type = type;
    while (control_send(CHECKER_CONTROL_FD, &check.message, passed) == CONTROL_FULL)
        (void)poll(NULL, 0, ANSWER_RETRY_MS);
}

/* Of a line that is too long the end is kept, where the reason stands. */
static void text_set(char *text, const char *line)
{
    size_t len = strlen(line), size = CONTROL_TEXT_BYTES;
    if (len < size)
        memcpy(text, line, len + 1);
    else
        snprintf(text, size, "...%s", line + len - (size - 4));
}

/* That goes with the refusal: r is -errno, or an outcome that has none. */
static void note_errno(int r)
{
    check.message.number = r < 0 ? (uint64_t)-r : 0;
}

static void refuse(const char *line)
{
    text_set(check.message.text, line);
    answer(CONTROL_REFUSED, -1);
}

/* The file's name, then why it is refused. */
__attribute__((format(printf, 1, 2))) static void refuse_file(const char *format, ...)
{
    char why[1024], line[sizeof why + 4096 + 3];
    va_list args;
    va_start(args, format);
    vsnprintf(why, sizeof why, format, args);
    va_end(args);
    snprintf(line, sizeof line, "%.4096s: %s", check.path, why);
    refuse(line);
}

static void on_sigbus(int number, siginfo_t *info, void *context)
{
    (void)context;
    if (info->si_code != BUS_ADRERR && info->si_code != BUS_MCEERR_AR) {
        (void)signal(number, SIG_DFL);
        (void)raise(number);
        return;
    }
    memcpy(check.message.text, lost_text, sizeof lost_text);
    note_errno(-EIO);
    answer(CONTROL_REFUSED, -1);
    _exit(EXIT_SUCCESS);
}

static void handle_signals(void)
{
    struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO};
    char line[4096 + 256];
    snprintf(line, sizeof line,
             "%.4096s: it was truncated while it was read, or reading it failed: check the disk, "
             "and write files under another name, then rename them",
             check.path);
    text_set(lost_text, line);
    (void)sigaction(SIGBUS, &action, NULL);
}

static const char *open_remedy(int error)
{
    bool is_missed = error == -ENOENT || error == -EACCES;
    const char *hidden = is_missed ? hidden_reason("", check.path) : NULL;
    if (hidden)
        return hidden;
    switch (error) {
    case -ENOENT:
    case -ENOTDIR:
        return "put a file there, or correct tree.path";
    case -EACCES:
    case -EPERM:
        return "let the user that actd runs as read it, and search the directories above it; then "
               "reload, or touch it";
    case -ELOOP:
        return "a symbolic link on the way leads back to itself: correct it";
    case -ENXIO:
        return "name a regular file in tree.path";
    default:
        return "correct that, then reload";
    }
}

/* A file that cannot be opened can often be told from others all the same. */
static void refuse_unopened(int error, const struct act_error *why)
{
    struct stat st;
    char line[sizeof why->message + 256];
    struct generation *generation = &check.message.generation;
    if (stat(check.path, &st) == 0) {
        generation->device = st.st_dev;
        generation->inode = st.st_ino;
        generation->size_bytes = (uint64_t)st.st_size;
        generation->mtime = st.st_mtim;
        generation->ctime = st.st_ctim;
    }
    snprintf(line, sizeof line, "%s: %s", why->message, open_remedy(error));
    note_errno(error);
    refuse(line);
}

static void on_finding(void *context, const struct act_finding *finding)
{
    (void)context;
    if (!finding->is_note && !check.fault.reason)
        check.fault = *finding;
}

static void on_progress(void *context, uint64_t done, uint64_t total)
{
    uint64_t now = clock_ms();
    (void)context;
    (void)total;
    if (now < check.next_progress_ms)
        return;
    check.next_progress_ms = now + PROGRESS_MS;
    check.message.type = CONTROL_PROGRESS;
    check.message.number = done;
    /* Who is too busy to read it needs none. */
    (void)control_send(CHECKER_CONTROL_FD, &check.message, -1);
    check.message.number = 0;
}

static void refuse_unchecked(int error)
{
    uint64_t mib = (uint64_t)1 << 20, size = check.message.generation.size_bytes;
    note_errno(error);
    if (error == -EFBIG || error == -ENOSPC)
        refuse_file("checking all of it takes %" PRIu64
                    " MiB of working space and more, and %s has "
                    "%" PRIu64 " MiB to spare: set TMPDIR to a directory with more, or tree.verify "
                    "to header",
                    size / 2 / mib, check.temporary.directory, check.temporary.bytes / mib);
    else
        refuse_file("not checked to the end: %s: correct that, or set tree.verify to header",
                    strerror(-error));
}

/* One thread: the others have to answer queries meanwhile. False: refused. */
static bool verify_all(const struct act *tree)
{
    const struct act_verify_options options = {.temporary_directory = check.temporary.directory,
                                               .n_threads = 1,
                                               .on_finding = on_finding,
                                               .on_progress = on_progress};
    struct act_survey survey;
    int r = act_verify(tree, &options, &survey);
    if (r < 0)
        refuse_unchecked(r);
    else if (r != 0)
        refuse_file("it is damaged at offset %" PRIu64 ": %s: write or copy the file again",
                    check.fault.offset, check.fault.reason ? check.fault.reason : "unknown");
    return r == 0;
}

/* False: refused. */
static bool has_digest(const struct act *tree)
{
    struct act_info info;
    act_info(tree, &info);
    /* Damaged metadata is a fault of its own. */
    if (info.metadata_state == ACT_METADATA_FULL || info.metadata_state == ACT_METADATA_DAMAGED)
        return true;
    if (info.metadata_state == ACT_METADATA_NONE)
        refuse_file("it has no digest, which tree.verify = digest asks for: write it by actctl "
                    "build, or set tree.verify to structure");
    else
        refuse_file("it was merged into since its digest was taken, and tree.verify = digest asks "
                    "for one: write it anew by actctl build, or set tree.verify to structure");
    return false;
}

/* copy: -1: the file itself is served. False: refused. */
static bool is_sound(int fd, int copy, enum tree_verify verify)
{
    struct act *tree;
    struct act_error error;
    uint64_t size = check.message.generation.size_bytes;
    if (verify == TREE_VERIFY_HEADER)
        return true;
    int r = copy < 0 ? act_open_fd(fd, check.path, &tree, &error)
                     : act_open_part(copy, size, check.path, &tree, &error);
    if (r != 0) {
        note_errno(r);
        refuse(error.message);
        return false;
    }
    bool is_good = (verify != TREE_VERIFY_DIGEST || has_digest(tree)) && verify_all(tree);
    act_close(tree);
    return is_good;
}

static bool is_same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static bool has_changed(int fd)
{
    struct stat st;
    const struct generation *seen = &check.message.generation;
    return fstat(fd, &st) < 0 || (uint64_t)st.st_size != seen->size_bytes ||
           !is_same_time(st.st_mtim, seen->mtime);
}

/* What is copied has to be of one moment: time of change too, which nobody can set back, and the
 * root that was found before. Renaming changes that time as well, so it is worth another try. */
static bool is_copy_of(int fd, int copy)
{
    struct stat st;
    uint64_t header[2];
    const struct generation *seen = &check.message.generation;
    return !has_changed(fd) && fstat(fd, &st) == 0 && is_same_time(st.st_ctim, seen->ctime) &&
           pread(copy, header, sizeof header, 0) == sizeof header &&
           le64toh(header[1]) == seen->root_offset;
}

/* False: refused. */
static bool examine(int fd)
{
    struct act_error error;
    int r = generation_examine(fd, check.path, &check.message.generation, &error);
    if (r == 0)
        return true;
    note_errno(r);
    refuse(error.message);
    return false;
}

/* ret->fd -1: the file is to be mapped. 0, or an outcome of copy_file. */
static int copy_if_wanted(int fd, const struct config *config, struct copy *ret)
{
    struct stat st;
    struct generation *generation = &check.message.generation;
    int r = 0;
    ret->fd = -1;
    if (config->tree_hugepages == TREE_HUGEPAGES_COPY) {
        r = copy_file_huge(fd, generation->size_bytes, on_progress, ret);
        generation->hold = r == 0 ? GENERATION_HUGE : GENERATION_MAPPED;
        if (r == COPY_NO_MEMORY) {
            generation_remark(generation, "not in huge pages (tree.hugepages): %s", ret->reason);
            r = 0;
        }
    }
    if (r == 0 && ret->fd < 0 && generation->size_bytes < config->tree_map_min_bytes) {
        r = copy_file(fd, generation->size_bytes, on_progress, ret);
        generation->hold = GENERATION_COPIED;
    }
    if (r == 0 && ret->fd >= 0 && fstat(ret->fd, &st) == 0) {
        generation->copy_device = st.st_dev;
        generation->copy_inode = st.st_ino;
    }
    return r;
}

/* Copies are not made in the directory for temporary files. */
static int copy_unlimited(int fd, const struct config *config, struct copy *ret)
{
    temporary_unlimit(&check.temporary);
    int r = copy_if_wanted(fd, config, ret);
    temporary_limit(&check.temporary);
    return r;
}

static void refuse_uncopied(int outcome, const struct copy *copy)
{
    /* Without facts the supervisor tries it again: there may be more memory later. */
    if (outcome == COPY_NO_MEMORY)
        check.message.generation = (struct generation){0};
    note_errno(outcome == COPY_NO_MEMORY ? -ENOMEM : 0);
    refuse_file("%s", copy->reason);
}

#define CHANGED_TEXT                                                                      \
    "it is being written: write files under another name, and rename them when they are " \
    "complete"

/* ret: a copy, or -1. False: refused. */
static bool take(int fd, const struct config *config, int *ret)
{
    struct copy copy;
    for (unsigned i = 0; i < COPY_TRIES; i++) {
        if (!examine(fd))
            return false;
        int r = copy_unlimited(fd, config, &copy);
        if (r == 0 && (copy.fd < 0 || is_copy_of(fd, copy.fd))) {
            *ret = copy.fd;
            return true;
        }
        fd_closep(&copy.fd);
        if (r != 0 && r != COPY_CUT) {
            refuse_uncopied(r, &copy);
            return false;
        }
    }
    refuse_file(CHANGED_TEXT);
    return false;
}

static void check_file(const struct config *config)
{
    struct act_error error;
    with_close int fd = generation_open(check.path, &error), copy = -1;
    if (fd < 0)
        refuse_unopened(fd, &error);
    else if (!take(fd, config, &copy) || !is_sound(fd, copy, (enum tree_verify)config->tree_verify))
        return;
    else if (copy < 0 && has_changed(fd))
        refuse_file(CHANGED_TEXT);
    else
        answer(CONTROL_CANDIDATE, copy < 0 ? fd : copy);
}

/* Of memory that nobody can change, and in the pages that it was in. */
static bool is_sealed_copy(int fd, const struct generation *held)
{
    struct stat st;
    struct statfs fs;
    const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE;
    int found = fcntl(fd, F_GET_SEALS);
    return found >= 0 && (found & seals) == seals && fstat(fd, &st) == 0 && fstatfs(fd, &fs) == 0 &&
           st.st_dev == held->copy_device && st.st_ino == held->copy_inode &&
           (uint64_t)st.st_size >= held->size_bytes &&
           (fs.f_type == HUGETLBFS_MAGIC) == (held->hold == GENERATION_HUGE);
}

static bool is_same_file(const struct generation *a, const struct generation *b)
{
    return a->device == b->device && a->inode == b->inode && a->size_bytes == b->size_bytes &&
           a->root_offset == b->root_offset && a->identity == b->identity &&
           is_same_time(a->mtime, b->mtime);
}

/* Is it what was served? False: refused. */
static bool is_held_file(int fd, const struct generation *held)
{
    struct act_error error;
    if (held->hold != GENERATION_MAPPED) {
        if (is_sealed_copy(fd, held) && generation_is_copy(fd, check.path, held, &error))
            return true;
        refuse_file("its copy in memory is not what it was");
        return false;
    }
    if (!examine(fd))
        return false;
    if (!is_same_file(&check.message.generation, held))
        refuse_file("the file that was served has been changed since");
    return is_same_file(&check.message.generation, held);
}

/* The supervisor has sent it before we were there. False: it is gone. */
static bool hear_generation(struct generation *ret)
{
    struct control_message message;
    int passed, r;
    struct pollfd control = {.fd = CHECKER_CONTROL_FD, .events = POLLIN};
    while ((r = control_receive(CHECKER_CONTROL_FD, &message, &passed)) == CONTROL_EMPTY)
        (void)poll(&control, 1, -1);
    if (r != 0)
        return false;
    fd_closep(&passed);
    *ret = message.generation;
    return message.type == CONTROL_GENERATION;
}

static void check_held(const struct config *config)
{
    struct generation held;
    with_close int fd = CHECKER_FILE_FD;
    if (!hear_generation(&held) || !is_held_file(fd, &held))
        return;
    bool is_copy = held.hold != GENERATION_MAPPED;
    check.message.generation = held;
    if (!is_sound(fd, is_copy ? fd : -1, (enum tree_verify)config->tree_verify))
        return;
    if (!is_copy && has_changed(fd))
        refuse_file(CHANGED_TEXT);
    else
        answer(CONTROL_CANDIDATE, fd);
}

int checker_run(bool is_held)
{
    struct stat st;
    struct config config;
    if (fstat(CHECKER_CONTROL_FD, &st) < 0 || !S_ISSOCK(st.st_mode)) {
        log_error("--checker is for actd itself, which calls it to check a file; for people there "
                  "is actctl verify");
        return EXIT_USAGE;
    }
    int r = config_receive(&config, CHECKER_CONFIG_FD);
    if (r != 0) {
        snprintf(check.message.text, sizeof check.message.text,
                 "the process that checks files got no configuration: %s", strerror(-r));
        answer(CONTROL_REFUSED, -1);
        return EXIT_USAGE;
    }
    check.path = config.tree_path;
    handle_signals();
    background_begin(CHECKER_CONTROL_FD);
    temporary_begin(&check.temporary);
    if (is_held)
        check_held(&config);
    else
        check_file(&config);
    config_deinit(&config);
    return EXIT_SUCCESS;
}
