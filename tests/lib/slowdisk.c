/*
 * slowdisk: a disk of one file, as slow as a test wants. The kernel's end of it is FUSE.
 *
 *     slowdisk CONTROL BACKING FILE READ_AHEAD
 *
 * FILE, which must exist, is mounted over: it becomes the content of BACKING, read-only. CONTROL is
 * the number of a descriptor: memory shared with the test, `struct control`. READ_AHEAD is how many
 * bytes the kernel may read ahead. Says "ready" on standard output when the file can be read. Each
 * byte on standard input makes it look at its control again; the end of standard input, which comes
 * with the end of the test too, and of the mount end it. Then it has unmounted the file, and who
 * still waits for a read has been told of an error. Exit status 3: mounting is refused here.
 *
 * A read waits in a list and nowhere else, so any number of them wait side by side: one thread is
 * enough, which sleeps until a request comes or the first of the list is due. The delay is the same
 * for all, so the oldest is due first.
 */
#define FUSE_USE_VERSION 35
#include <assert.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/queue.h>
#include <time.h>
#include <unistd.h>

#define PAGE_BYTES     4096
#define MAX_BACKGROUND 1024 /* reads that read() asks for wait in the kernel beyond it */
#define VALID_FOR_S    86400
#define FATAL_LOOK_NS  20000000
#define MOUNT_REFUSED  3
#define FOREVER        INT64_MAX
#define NS_IN_A_US     1000
#define NS_IN_A_SECOND 1000000000

/* What slow_disk.py also knows: fields of 8 bytes, and one of 4 for each page of the file. */
struct control {
    /* The test writes these, then a byte to standard input. */
    _Atomic uint64_t delay_us;   /* from the request to its answer */
    _Atomic uint64_t is_failing; /* answers are EIO */
    _Atomic uint64_t is_hanging; /* no answers, but for readers that are being killed */
    /* And this program these, when it is asked; the test may reset all but reads_in_flight. */
    _Atomic uint64_t reads;
    _Atomic uint64_t bytes;
    _Atomic uint64_t reads_in_flight; /* asked, not answered yet */
    _Atomic uint64_t most_in_flight;
    _Atomic uint32_t reads_of[]; /* of which this page was a part */
};
static_assert(sizeof(struct control) == 7 * 8, "as slow_disk.py has it");

/* A request that waits for its answer. */
struct read {
    TAILQ_ENTRY(read) link;
    fuse_req_t req;
    size_t offset, len;
    int64_t asked_ns;
};

static struct {
    struct control *control; /* shared */
    const char *content;     /* BACKING, mapped */
    struct stat stat;        /* of FILE */
    unsigned read_ahead;     /* bytes */
    TAILQ_HEAD(, read) held; /* in the order they came in */
} disk = {.held = TAILQ_HEAD_INITIALIZER(disk.held)};

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * NS_IN_A_SECOND + t.tv_nsec;
}

/* SIGKILL waits for the thread, as it does for all threads of a process that a signal ends. Other
 * signals interrupt a read too, and must not end it: who waits would get EINTR, or ask again. */
static bool is_killed(pid_t thread)
{
    char path[64], line[256];
    uint64_t pending = UINT64_MAX;
    snprintf(path, sizeof path, "/proc/%d/status", (int)thread);
    FILE *file = fopen(path, "re");
    if (!file)
        return true;
    while (fgets(line, sizeof line, file) && sscanf(line, "SigPnd: %lx", &pending) != 1)
        ;
    fclose(file);
    return pending >> (SIGKILL - 1) & 1;
}

static void count(const struct read *read)
{
    struct control *control = disk.control;
    control->reads++;
    control->bytes += read->len;
    uint64_t in_flight = ++control->reads_in_flight;
    if (in_flight > control->most_in_flight)
        control->most_in_flight = in_flight;
    for (size_t at = read->offset; at < read->offset + read->len; at += PAGE_BYTES)
        control->reads_of[at / PAGE_BYTES]++;
}

/* error: -errno, or 0 for what was asked for. */
static void answer(struct read *read, int error)
{
    TAILQ_REMOVE(&disk.held, read, link);
    disk.control->reads_in_flight--;
    if (error)
        fuse_reply_err(read->req, -error);
    else
        fuse_reply_buf(read->req, disk.content + read->offset, read->len);
    free(read);
}

static int64_t due_ns(const struct read *read)
{
    if (disk.control->is_hanging)
        return FOREVER;
    return read->asked_ns + (int64_t)disk.control->delay_us * NS_IN_A_US;
}

/* Answers what is due; the result is when to call it again. */
static int64_t settle(void)
{
    int64_t now = now_ns(), next_ns = FOREVER;
    struct read *read, *next;
    for (read = TAILQ_FIRST(&disk.held); read; read = next) {
        next = TAILQ_NEXT(read, link);
        bool is_interrupted = fuse_req_interrupted(read->req);
        int64_t due = due_ns(read);
        if (is_interrupted && is_killed(fuse_req_ctx(read->req)->pid)) {
            answer(read, -EINTR);
            continue;
        }
        if (due <= now) {
            answer(read, disk.control->is_failing ? -EIO : 0);
            continue;
        }
        /* It is told of the first signal only, which need not be the one that kills. */
        if (is_interrupted && due > now + FATAL_LOOK_NS)
            due = now + FATAL_LOOK_NS;
        if (due < next_ns)
            next_ns = due;
    }
    return next_ns;
}

static void on_init(void *data, struct fuse_conn_info *conn)
{
    (void)data;
    conn->max_readahead = disk.read_ahead;
    conn->max_background = MAX_BACKGROUND;
    conn->congestion_threshold = MAX_BACKGROUND;
    if (write(STDOUT_FILENO, "ready\n", 6) < 0)
        err(1, "standard output");
}

static void on_getattr(fuse_req_t req, fuse_ino_t inode, struct fuse_file_info *file)
{
    (void)inode, (void)file;
    fuse_reply_attr(req, &disk.stat, VALID_FOR_S);
}

static void on_open(fuse_req_t req, fuse_ino_t inode, struct fuse_file_info *file)
{
    (void)inode;
    file->keep_cache = 1;
    file->noflush = 1;
    fuse_reply_open(req, file);
}

static void on_read(fuse_req_t req, fuse_ino_t inode, size_t len, off_t offset,
                    struct fuse_file_info *file)
{
    (void)inode, (void)file;
    size_t begin = (size_t)offset, size = (size_t)disk.stat.st_size;
    if (begin >= size) {
        fuse_reply_buf(req, NULL, 0);
        return;
    }
    struct read *read = malloc(sizeof *read);
    if (!read) {
        fuse_reply_err(req, ENOMEM);
        return;
    }
    *read = (struct read){.req = req, .offset = begin, .asked_ns = now_ns()};
    read->len = len < size - begin ? len : size - begin;
    TAILQ_INSERT_TAIL(&disk.held, read, link);
    count(read);
}

/* What it has to say is used up. Result: whether the test is still there. */
static bool is_parent_there(void)
{
    char bytes[64];
    ssize_t n = read(STDIN_FILENO, bytes, sizeof bytes);
    return n > 0 || (n < 0 && errno == EINTR);
}

static void sleep_until(struct pollfd *fds, nfds_t n, int64_t end_ns)
{
    int64_t left = end_ns - now_ns();
    if (left < 0)
        left = 0;
    struct timespec timeout = {.tv_sec = left / NS_IN_A_SECOND, .tv_nsec = left % NS_IN_A_SECOND};
    if (ppoll(fds, n, end_ns == FOREVER ? NULL : &timeout, NULL) < 0 && errno != EINTR)
        err(1, "poll");
}

/* Until the file is unmounted or the test has ended. */
static void serve(struct fuse_session *session)
{
    struct fuse_buf request = {.mem = NULL};
    struct pollfd fds[] = {{.fd = fuse_session_fd(session), .events = POLLIN},
                           {.fd = STDIN_FILENO, .events = POLLIN}};
    /* A request may be taken back before it is read. */
    if (fcntl(fds[0].fd, F_SETFL, O_NONBLOCK) < 0)
        err(1, "fcntl");
    while (!fuse_session_exited(session)) {
        sleep_until(fds, 2, settle());
        if (fds[1].revents && !is_parent_there())
            break;
        while (fuse_session_receive_buf(session, &request) > 0)
            fuse_session_process_buf(session, &request);
    }
    free(request.mem);
}

static void open_backing(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &disk.stat) < 0)
        err(1, "%s", path);
    disk.content = mmap(NULL, (size_t)disk.stat.st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (disk.content == MAP_FAILED)
        err(1, "cannot map %s", path);
    close(fd);
    disk.stat.st_ino = FUSE_ROOT_ID;
    disk.stat.st_mode = S_IFREG | 0444;
    disk.stat.st_nlink = 1;
}

static void open_control(int fd)
{
    size_t n_pages = ((size_t)disk.stat.st_size + PAGE_BYTES - 1) / PAGE_BYTES;
    size_t len = sizeof(struct control) + n_pages * sizeof disk.control->reads_of[0];
    struct stat stat;
    if (fstat(fd, &stat) < 0)
        err(1, "control");
    if ((size_t)stat.st_size < len)
        errx(1, "control has %jd bytes instead of %zu", (intmax_t)stat.st_size, len);
    disk.control = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (disk.control == MAP_FAILED)
        err(1, "cannot map control");
}

int main(int argc, char **argv)
{
    static const struct fuse_lowlevel_ops ops = {
        .init = on_init, .getattr = on_getattr, .open = on_open, .read = on_read};
    struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
    if (argc != 5)
        errx(2, "slowdisk CONTROL BACKING FILE READ_AHEAD");
    open_backing(argv[2]);
    open_control(atoi(argv[1]));
    disk.read_ahead = (unsigned)atoi(argv[4]);
    prctl(PR_SET_TIMERSLACK, 1);
    fuse_opt_add_arg(&args, argv[0]);
    fuse_opt_add_arg(&args, "-oro,allow_other,fsname=slowdisk");
    struct fuse_session *session = fuse_session_new(&args, &ops, sizeof ops, NULL);
    fuse_opt_free_args(&args);
    if (!session)
        errx(1, "no session");
    if (fuse_session_mount(session, argv[3]) != 0)
        return MOUNT_REFUSED;
    serve(session);
    /* Closes /dev/fuse first, which ends all requests, and does not wait for who has it open. */
    fuse_session_unmount(session);
    fuse_session_destroy(session);
    return 0;
}
