/*
 * errand: something that may block, done by a thread that exists only for it.
 *
 * Not libuv's pool, whose threads stay: in a process of one thread the kernel need not count who
 * uses a descriptor, which is two to three per cent of a request that comes alone.
 */
#pragma once

#include <pthread.h>
#include <uv.h>

struct errand {
    uv_async_t done;
    pthread_t thread;
    void (*work)(struct errand *errand);    /* in the thread */
    void (*on_done)(struct errand *errand); /* on the loop; the errand may then be freed */
};

/* work and on_done are set by the caller. on_done is called in any case, with the work done: where
 * no thread can be started it is done at once. */
void errand_start(struct errand *errand, uv_loop_t *loop);
