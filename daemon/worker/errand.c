/*
 * errand: see errand.h.
 */
#include "daemon/worker/errand.h"

#include <assert.h>
#include <signal.h>

static void *run(void *context)
{
    struct errand *errand = context;
    errand->work(errand);
    uv_async_send(&errand->done);
    return NULL;
}

static void on_closed(uv_handle_t *handle)
{
    struct errand *errand = handle->data;
    errand->on_done(errand);
}

static void on_async(uv_async_t *async)
{
    struct errand *errand = async->data;
    pthread_join(errand->thread, NULL);
    uv_close((uv_handle_t *)async, on_closed);
}

void errand_start(struct errand *errand, uv_loop_t *loop)
{
    sigset_t all, before;
    int r = uv_async_init(loop, &errand->done, on_async);
    assert(r == 0); /* the loop's first one, which libuv needs for itself, was made with the loop */
    errand->done.data = errand;
    /* Signals are the loop's; but a fault is the thread's own. */
    sigfillset(&all);
    sigdelset(&all, SIGBUS);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    r = pthread_create(&errand->thread, NULL, run, errand);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r == 0)
        return;
    errand->work(errand);
    uv_close((uv_handle_t *)&errand->done, on_closed);
}
