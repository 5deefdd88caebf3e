/*
 * warmup: reads the file once, in a thread of its own, so that its pages are in memory.
 *
 * It reads through a descriptor of its own, not through the map: sequential reading is many times
 * faster than faulting a map that is advised for random access, and the thread can be stopped
 * between two reads.
 */
#pragma once

#include "daemon/board.h"

#include <pthread.h>
#include <uv.h>

struct warmup {
    struct warmup_progress *progress; /* borrowed: set by the caller */
    int fd;                           /* owned by the thread while it runs */
    _Atomic int stop;                 /* set to end it early */
    int error;                        /* errno of a failed read, after WARMUP_FAILED */
    pthread_t thread;
    bool is_joinable;
    uv_async_t done; /* from the thread to the loop */
    void (*on_done)(void *context);
    void *context; /* borrowed: the owner's */
};

/* on_done and context are set by the caller. fd: the snapshot's descriptor, borrowed. 0 or -errno.
 */
int warmup_start(struct warmup *warmup, uv_loop_t *loop, int fd, uint64_t size_bytes);
/* Ends the thread, if it runs, and the handle. Waits for the read that is under way. */
void warmup_stop(struct warmup *warmup);
