/*
 * worker: see worker.h.
 */
#include "daemon/worker/worker.h"

#include "base/log.h"
#include "daemon/worker/conn.h"

#include <assert.h>

/* How exact the time limits of connections are. */
#define SWEEP_MS 250
/* Which part of max_buffer_bytes is kept for error replies: BUSY must find room where nothing else
 * does. */
#define ERROR_RESERVE_PART 16

/* How much of max_buffer_bytes is kept for buffers of the standard size, so that a few large
 * replies leave room for everybody's small ones. */
#define BLOCKS_PART 8
/* While buffers are short, who takes longer than this for WRITE_MAX_BYTES is closed... */
#define SLOW_MS 1000
/* ...until so much of max_buffer_bytes is in use. */
#define EVICTED_ENOUGH(bytes) ((bytes) / 4 * 3)

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
    if (worker->jobs)
        job_run_next(worker);
    if (!worker->runnable && !worker->jobs &&
        (worker->busy_until_ns == 0 || uv_hrtime() >= worker->busy_until_ns))
        uv_idle_stop(idle);
}

static uint64_t write_age_ms(const struct conn *conn, uint64_t now)
{
    return conn->is_writing ? now - conn->write_began_ms : 0;
}

/* Buffers were short since the last sweep: who reads slowly has to go, the slowest first (those
 * that have waited at least half as long as the slowest). */
static void evict_slow(struct worker *worker, uint64_t now)
{
    uint64_t longest = 0, used = worker->buffers.used_bytes, n = 0;
    struct conn *next;
    for (struct conn *conn = worker->conns; conn; conn = conn->next)
        longest = write_age_ms(conn, now) > longest ? write_age_ms(conn, now) : longest;
    if (longest < SLOW_MS)
        return;
    uint64_t age = longest / 2 > SLOW_MS ? longest / 2 : SLOW_MS;
    for (struct conn *conn = worker->conns;
         conn && used > EVICTED_ENOUGH(worker->buffers.max_bytes); conn = next) {
        next = conn->next;
        if (write_age_ms(conn, now) < age)
            continue;
        used -= conn_bytes(conn); /* not given back before the loop has closed it */
        conn_close(conn);
        n++;
    }
    worker->stats.connections_evicted += n;
    log_info("buffers are short (limits.max_buffer_bytes): closed %llu connections that read "
             "slowly",
             (unsigned long long)n);
}

static void on_sweep(uv_timer_t *timer)
{
    struct worker *worker = timer->data;
    uint64_t now = uv_now(worker->loop);
    struct conn *next;
    if (worker->buffers.n_refused != worker->n_refused)
        evict_slow(worker, now);
    worker->n_refused = worker->buffers.n_refused;
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
    int r = request_decoder_init(&worker->decoder, config->limits_max_request_bytes,
                                 worker_max_elements(config));
    if (r != 0)
        return r;
    if ((r = dispatch_init(&worker->dispatch, config, snapshot)) != 0) {
        request_decoder_deinit(&worker->decoder);
        return r;
    }
    worker->dispatch.service = service;
    worker->dispatch.stats = &worker->stats;
    worker->snapshot = snapshot_ref(snapshot);
    buf_pool_init(&worker->buffers, config->limits_max_buffer_bytes);
    worker->buffers.reserve_bytes = config->limits_max_buffer_bytes / ERROR_RESERVE_PART;
    worker->buffers.block_bytes = config->limits_max_buffer_bytes / BLOCKS_PART;
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

void worker_wake(struct worker *worker)
{
    uv_idle_start(&worker->turns, on_turns);
}

uint64_t worker_max_elements(const struct config *config)
{
    return 2 * config->limits_max_keys + 64;
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
    dispatch_deinit(&worker->dispatch);
    snapshot_unref(worker->snapshot);
    buf_pool_deinit(&worker->buffers);
}
