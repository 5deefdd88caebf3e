/*
 * warmup: see warmup.h.
 */
#include "daemon/supervisor/warmup.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#define READ_BYTES ((size_t)1024 * 1024)

static int read_all(struct warmup *warmup, char *block)
{
    uint64_t offset = 0;
    while (!warmup->stop) {
        /* Not to the file's end: a copy in huge pages is longer than the tree. */
        uint64_t left = warmup->progress->total_bytes - offset;
        ssize_t n = pread(warmup->fd, block, left < READ_BYTES ? left : READ_BYTES, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            return 0;
        offset += (uint64_t)n;
        warmup->progress->read_bytes = offset;
    }
    return -ECANCELED;
}

static void *run(void *context)
{
    struct warmup *warmup = context;
    char *block = malloc(READ_BYTES);
    int r = block ? read_all(warmup, block) : -ENOMEM;
    free(block);
    fd_closep(&warmup->fd);
    warmup->error = -r;
    warmup->progress->state = r == 0 ? WARMUP_DONE : WARMUP_FAILED;
    uv_async_send(&warmup->done);
    return NULL;
}

static void on_async(uv_async_t *async)
{
    struct warmup *warmup = async->data;
    warmup->on_done(warmup->context);
}

/* A second open of the same inode, whatever its path is by now: read-ahead is per open file. */
static int reopen(int fd)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int own = open(path, O_RDONLY | O_CLOEXEC);
    if (own < 0)
        own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (own >= 0)
        (void)posix_fadvise(own, 0, 0, POSIX_FADV_SEQUENTIAL);
    return own;
}

int warmup_start(struct warmup *warmup, uv_loop_t *loop, int fd, uint64_t size_bytes)
{
    sigset_t all, before;
    warmup->fd = reopen(fd);
    if (warmup->fd < 0)
        return -errno;
    int r = uv_async_init(loop, &warmup->done, on_async);
    if (r < 0) {
        fd_closep(&warmup->fd);
        return r;
    }
    warmup->done.data = warmup;
    warmup->progress->total_bytes = size_bytes;
    warmup->progress->state = WARMUP_RUNNING;
    /* Signals are the loop's. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    r = pthread_create(&warmup->thread, NULL, run, warmup);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r != 0) {
        warmup->progress->state = WARMUP_FAILED;
        fd_closep(&warmup->fd);
        uv_close((uv_handle_t *)&warmup->done, NULL);
        return -r;
    }
    warmup->is_joinable = true;
    return 0;
}

void warmup_stop(struct warmup *warmup)
{
    if (!warmup->is_joinable)
        return;
    warmup->stop = 1;
    pthread_join(warmup->thread, NULL);
    warmup->is_joinable = false;
    uv_close((uv_handle_t *)&warmup->done, NULL);
}
