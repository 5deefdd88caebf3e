/*
 * worker: see worker.h.
 */
#include "daemon/worker/worker.h"

#include "daemon/worker/conn.h"

#include <assert.h>

/* How exact the time limits of connections are. */
#define SWEEP_MS 250
/* Which part of max_buffer_bytes is kept for error replies: BUSY must find room where nothing else
 * does. */
#define ERROR_RESERVE_PART 16

/* One turn for each connection that had requests left over; those that come back to the list
 * meanwhile have their turn after the loop has looked at the sockets. */
static void on_turns(uv_idle_t *idle)
{
    struct worker *worker = idle->data;
    struct conn *conn = worker->runnable, *next;
    worker->runnable = NULL;
    for (struct conn *c = conn; c; c = c->next_runnable)
        c->is_runnable = false;
    for (; conn; conn = next) {
        next = conn->next_runnable;
        conn_pump(conn);
    }
    if (!worker->runnable && (worker->busy_until_ns == 0 || uv_hrtime() >= worker->busy_until_ns))
        uv_idle_stop(idle);
}

static void on_sweep(uv_timer_t *timer)
{
    struct worker *worker = timer->data;
    uint64_t now = uv_now(worker->loop);
    struct conn *next;
    for (struct conn *conn = worker->conns; conn; conn = next) {
        next = conn->next;
        conn_sweep(conn, now);
    }
    if (!worker->conns)
        uv_timer_stop(timer);
}

int worker_init(struct worker *worker, uv_loop_t *loop, const struct config *config,
                struct snapshot *snapshot, const struct service *service)
{
    *worker = (struct worker){.loop = loop, .config = config};
    int r = request_decoder_init(&worker->decoder, config->limits_max_request_bytes);
    if (r != 0)
        return r;
    worker->snapshot = snapshot_ref(snapshot);
    buf_pool_init(&worker->buffers, config->limits_max_buffer_bytes);
    worker->buffers.reserve_bytes = config->limits_max_buffer_bytes / ERROR_RESERVE_PART;
    worker->dispatch = (struct dispatch){
        .config = config, .service = service, .stats = &worker->stats, .snapshot = snapshot};
    /* These two cannot fail. */
    uv_idle_init(loop, &worker->turns);
    uv_timer_init(loop, &worker->sweep);
    worker->turns.data = worker;
    worker->sweep.data = worker;
    return 0;
}

int worker_adopt(struct worker *worker, int fd)
{
    if (!uv_is_active((uv_handle_t *)&worker->sweep))
        uv_timer_start(&worker->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
    return conn_open(worker, fd);
}

void worker_give_turn(struct worker *worker, struct conn *conn)
{
    if (conn->is_runnable)
        return;
    conn->is_runnable = true;
    conn->next_runnable = worker->runnable;
    worker->runnable = conn;
    uv_idle_start(&worker->turns, on_turns);
}

void worker_stay_awake(struct worker *worker)
{
    if (worker->config->daemon_busy_poll_us == 0)
        return;
    worker->busy_until_ns = uv_hrtime() + worker->config->daemon_busy_poll_us * 1000;
    uv_idle_start(&worker->turns, on_turns);
}

void worker_drain(struct worker *worker)
{
    struct conn *next;
    worker->is_draining = true;
    for (struct conn *conn = worker->conns; conn; conn = next) {
        next = conn->next;
        conn_drain(conn);
    }
}

void worker_refuse(struct worker *worker)
{
    worker->dispatch.is_draining = true;
}

void worker_close_all(struct worker *worker)
{
    while (worker->conns)
        conn_close(worker->conns);
}

void worker_close(struct worker *worker)
{
    assert(!worker->conns);
    uv_close((uv_handle_t *)&worker->turns, NULL);
    uv_close((uv_handle_t *)&worker->sweep, NULL);
}

void worker_deinit(struct worker *worker)
{
    request_decoder_deinit(&worker->decoder);
    snapshot_unref(worker->snapshot);
    buf_pool_deinit(&worker->buffers);
}
