/*
 * worker: see worker.h.
 */
#include "daemon/worker/worker.h"

#include "base/log.h"
#include "daemon/worker/call.h"
#include "daemon/worker/conn.h"
#include "daemon/worker/guard.h"

#include <assert.h>
#include <inttypes.h>

/* How exact the time limits of connections are, and how many are looked at at once. */
#define SWEEP_MS    250
#define SWEEP_CONNS 256
/* How long turns of connections that have sent a lot, or slices of a request that takes long, may
 * hold the loop; the last turn or slice may end later. */
#define BUSY_NS 50000
/* Which part of max_buffer_bytes is kept for error replies: BUSY must find room where nothing else
 * does. */
#define ERROR_RESERVE_PART 16

/* Connections, and waiting jobs, that are looked at at once when a generation is announced. */
#define SPREAD_CONNS 256
#define SPREAD_JOBS  512
/* Jobs that are made ready at once because their time is over. */
#define OVERDUE_JOBS 512

/* The work of first slices between two looks at the sockets, all connections together; beyond it
 * walks and lists become jobs. */
#define LOOP_WORK (2 * SLICE_WORK)
/* How much of max_buffer_bytes is kept for buffers of the standard size, so that a few large
 * replies leave room for everybody's small ones. */
#define BLOCKS_PART 8
/* While buffers are short, who takes longer than this for WRITE_MAX_BYTES is closed... */
#define SLOW_MS 1000
/* ...until so much of max_buffer_bytes is in use. */
#define EVICTED_ENOUGH(bytes) ((bytes) / 4 * 3)

/* As many as the time allows. */
static void run_turns(struct worker *worker)
{
    while (worker->runnable) {
        struct conn *conn = worker->runnable;
        worker_take_turn(worker, conn);
        conn_pump(conn);
        if (!worker_has_time(worker))
            break;
    }
}

/* Connections that have sent a lot have their turns here, or, in alternation with them, one of the
 * requests that take long has its slices; then the loop looks at the sockets, for those that ask
 * for little. */
static void on_turns(uv_idle_t *idle)
{
    struct worker *worker = idle->data;
    worker->busy_since_ns = uv_hrtime();
    worker->had_job = worker->jobs && !(worker->had_job && worker->runnable);
    if (worker->had_job)
        job_run_next(worker);
    else
        run_turns(worker);
    if (!worker->runnable && !worker->jobs &&
        (worker->busy_until_ns == 0 || uv_hrtime() >= worker->busy_until_ns))
        uv_idle_stop(idle);
}

/* What was announced, to those that watch: they get a turn, in which it is told. */
static void tell_some(struct worker *worker)
{
    for (unsigned i = 0; i < SPREAD_CONNS && worker->telling; i++) {
        struct conn *conn = worker->telling;
        worker->telling = conn->next;
        if (dispatch_is_news(&worker->dispatch, &conn->session))
            worker_give_turn(worker, conn);
    }
}

/* It goes on; and so does what it holds up. */
static void wake_job(struct worker *worker, struct job *job)
{
    bool is_holding = job->conn->n_holding > 0;
    job_make_ready(job);
    if (is_holding)
        worker_give_turn(worker, job->conn);
}

static void wake_some(struct worker *worker)
{
    struct job *job;
    for (unsigned i = 0; i < SPREAD_JOBS && (job = waiting_next(&worker->waiting)); i++)
        if (dispatch_may_go_on(&worker->dispatch, &job->progress))
            wake_job(worker, job);
}

static void on_spread(uv_idle_t *idle)
{
    struct worker *worker = idle->data;
    tell_some(worker);
    wake_some(worker);
    if (!worker->telling && !worker->waiting.at)
        uv_idle_stop(idle);
}

/* Some of what jobs wait for has changed. */
static void look_at_waiting(struct worker *worker)
{
    waiting_look(&worker->waiting);
    if (worker->waiting.at)
        uv_idle_start(&worker->spread, on_spread);
}

static void on_alarm(uv_timer_t *alarm);

/* The loop wakes up when the first job that waits is overdue. */
static void set_alarm(struct worker *worker)
{
    const struct job *job = waiting_first(&worker->waiting);
    uint64_t now = uv_now(worker->loop);
    if (!job)
        uv_timer_stop(&worker->alarm);
    else if (!uv_is_active((uv_handle_t *)&worker->alarm) ||
             now + uv_timer_get_due_in(&worker->alarm) != job->deadline_ms)
        uv_timer_start(&worker->alarm, on_alarm,
                       job->deadline_ms > now ? job->deadline_ms - now : 1, 0);
}

static void on_alarm(uv_timer_t *alarm)
{
    struct worker *worker = alarm->data;
    uint64_t now = uv_now(worker->loop);
    struct job *job;
    for (unsigned i = 0; i < OVERDUE_JOBS && (job = waiting_first(&worker->waiting)); i++) {
        if (job->deadline_ms > now)
            break;
        job->progress.is_overdue = true;
        wake_job(worker, job);
    }
    set_alarm(worker);
}

void worker_tell_short(struct worker *worker, uint64_t id, int error)
{
    uint64_t n;
    if (log_is_due(&worker->short_pace, &n))
        log_with(
            LOG_LEVEL_WARNING, LOG_FIELDS(log_field_number("REPEATED", n), log_field_errno(error)),
            "connection %" PRIu64 ": closing: no memory for a reply: %s", id, strerror(-error));
}

/* Before the first connection of a round: were buffers short in the last one? Then who reads slowly
 * has to go, those first that have waited at least half as long as the slowest. */
static void begin_round(struct worker *worker)
{
    struct sweep *sweep = &worker->sweep;
    bool is_short = worker->buffers.n_refused != sweep->n_refused;
    uint64_t n, half = sweep->longest_ms / 2;
    sweep->n_untold += sweep->n_evicted;
    if (sweep->n_evicted > 0 && log_is_due(&worker->evicted_pace, &n)) {
        log_info("buffers are short (limits.max_buffer_bytes): closed %" PRIu64
                 " connections that read slowly",
                 sweep->n_untold);
        sweep->n_untold = 0;
    }
    sweep->evict_ms = !is_short ? UINT64_MAX : half > SLOW_MS ? half : SLOW_MS;
    sweep->n_refused = worker->buffers.n_refused;
    sweep->longest_ms = sweep->n_evicted = 0;
    sweep->at = worker->conns;
}

/* True: it is closed. */
static bool evict(struct worker *worker, struct conn *conn, uint64_t now)
{
    struct sweep *sweep = &worker->sweep;
    uint64_t age = conn->is_writing ? now - conn->write_began_ms : 0;
    sweep->longest_ms = age > sweep->longest_ms ? age : sweep->longest_ms;
    if (age < sweep->evict_ms ||
        worker->buffers.used_bytes <= EVICTED_ENOUGH(worker->buffers.max_bytes))
        return false;
    conn_close(conn);
    worker->stats->connections_evicted++;
    sweep->n_evicted++;
    return true;
}

/* Looks at some connections, so that ten thousand do not hold the loop. */
static void on_sweep(uv_timer_t *timer)
{
    struct worker *worker = timer->data;
    uint64_t now = uv_now(worker->loop), n_open = worker->stats->connections_open;
    ageing_run(&worker->ageing, now);
    release_check(&worker->release, now);
    if (!worker->sweep.at)
        begin_round(worker);
    for (unsigned i = 0; i < SWEEP_CONNS && worker->sweep.at; i++) {
        struct conn *conn = worker->sweep.at;
        worker->sweep.at = conn->next;
        if (!evict(worker, conn, now))
            conn_sweep(conn, now);
    }
    uint64_t pause = n_open <= SWEEP_CONNS ? SWEEP_MS : SWEEP_MS * SWEEP_CONNS / n_open;
    if (worker->conns)
        uv_timer_start(timer, on_sweep, pause > 0 ? pause : 1, 0);
}

/* Many connections with one short walk each must not hold the loop either. */
static void on_look(uv_prepare_t *prepare)
{
    struct worker *worker = prepare->data;
    worker->dispatch.loop_work = LOOP_WORK;
    ageing_after_turn(&worker->ageing);
    cold_hand_over(&worker->cold);
}

int worker_init(struct worker *worker, uv_loop_t *loop, const struct board *board)
{
    const struct config *config = board->config;
    *worker = (struct worker){.loop = loop, .config = config, .board = board};
    guard_install();
    int r = request_decoder_init(&worker->decoder, config->limits_max_request_bytes,
                                 worker_max_elements(config));
    if (r != 0)
        return r;
    r = request_decoder_init(&worker->job_decoder, config->limits_max_request_bytes,
                             worker_max_elements(config));
    if (r == 0 && (r = dispatch_init(&worker->dispatch, config)) != 0)
        request_decoder_deinit(&worker->job_decoder);
    if (r != 0) {
        request_decoder_deinit(&worker->decoder);
        return r;
    }
    worker->stats = &board->own_page->stats;
    worker->dispatch.board = board;
    worker->dispatch.announced = &worker->announced;
    worker->dispatch.stats = worker->stats;
    buf_pool_init(&worker->buffers, config->limits_max_buffer_bytes);
    worker->buffers.reserve_bytes = config->limits_max_buffer_bytes / ERROR_RESERVE_PART;
    worker->buffers.block_bytes = config->limits_max_buffer_bytes / BLOCKS_PART;
    worker->stall.stats = &board->own_page->cold;
    release_init(&worker->release, worker);
    worker->ageing.worker = worker;
    if ((r = cold_init(&worker->cold, worker)) != 0) {
        request_decoder_deinit(&worker->decoder);
        request_decoder_deinit(&worker->job_decoder);
        dispatch_deinit(&worker->dispatch);
        return r;
    }
    /* These cannot fail. */
    uv_idle_init(loop, &worker->turns);
    uv_idle_init(loop, &worker->spread);
    uv_prepare_init(loop, &worker->look);
    uv_prepare_start(&worker->look, on_look);
    uv_unref((uv_handle_t *)&worker->look);
    uv_timer_init(loop, &worker->sweep_timer);
    uv_timer_init(loop, &worker->alarm);
    worker->turns.data = worker->look.data = worker->spread.data = worker;
    worker->sweep_timer.data = worker->alarm.data = worker;
    return 0;
}

uint64_t worker_now_ms(const struct worker *worker)
{
    return uv_now(worker->loop);
}

void worker_switch(struct worker *worker, struct snapshot *snapshot)
{
    struct snapshot *before = worker->snapshot;
    ageing_switch(&worker->ageing);
    cold_switch(&worker->cold);
    worker->snapshot = worker->dispatch.snapshot = snapshot;
    worker->board->own_page->generation = snapshot->generation.number;
    worker_let_go(worker, before);
    look_at_waiting(worker);
}

void worker_offer(struct worker *worker, const struct generation *generation)
{
    if (generation)
        worker->offered = *generation;
    worker->dispatch.offered = generation ? &worker->offered : NULL;
    look_at_waiting(worker);
}

void worker_announce(struct worker *worker, const struct generation *generation)
{
    worker->announced = *generation;
    worker->telling = worker->conns;
    if (worker->telling)
        uv_idle_start(&worker->spread, on_spread);
    look_at_waiting(worker);
}

void worker_let_go(struct worker *worker, struct snapshot *snapshot)
{
    if (snapshot_unref(snapshot))
        worker->on_unused(worker->context, snapshot);
}

void worker_tell_damage(struct worker *worker, const struct snapshot *snapshot)
{
    worker->on_damage(worker->context, snapshot);
}

int worker_adopt(struct worker *worker, int fd)
{
    if (!uv_is_active((uv_handle_t *)&worker->sweep_timer)) {
        ageing_doubt(&worker->ageing);
        uv_timer_start(&worker->sweep_timer, on_sweep, SWEEP_MS, 0);
    }
    return conn_open(worker, fd);
}

void worker_give_turn(struct worker *worker, struct conn *conn)
{
    if (conn->is_runnable)
        return;
    conn->is_runnable = true;
    conn->next_runnable = NULL;
    conn->previous_runnable = worker->last_runnable;
    if (worker->last_runnable)
        worker->last_runnable->next_runnable = conn;
    else
        worker->runnable = conn;
    worker->last_runnable = conn;
    uv_idle_start(&worker->turns, on_turns);
}

void worker_take_turn(struct worker *worker, struct conn *conn)
{
    if (!conn->is_runnable)
        return;
    conn->is_runnable = false;
    if (conn->next_runnable)
        conn->next_runnable->previous_runnable = conn->previous_runnable;
    else
        worker->last_runnable = conn->previous_runnable;
    if (conn->previous_runnable)
        conn->previous_runnable->next_runnable = conn->next_runnable;
    else
        worker->runnable = conn->next_runnable;
}

bool worker_has_time(const struct worker *worker)
{
    return uv_hrtime() - worker->busy_since_ns < BUSY_NS;
}

void worker_wake(struct worker *worker)
{
    uv_idle_start(&worker->turns, on_turns);
}

int worker_wait(struct worker *worker, struct job *job)
{
    uint64_t deadline_ms = uv_now(worker->loop) + job->progress.wait_ms;
    int r = waiting_add(&worker->waiting, job, deadline_ms);
    if (r == 0)
        set_alarm(worker);
    return r;
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
    worker->is_draining = worker->dispatch.never_waits = true;
    look_at_waiting(worker);
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
    cold_close(&worker->cold);
    uv_close((uv_handle_t *)&worker->look, NULL);
    uv_close((uv_handle_t *)&worker->turns, NULL);
    uv_close((uv_handle_t *)&worker->spread, NULL);
    uv_close((uv_handle_t *)&worker->alarm, NULL);
    uv_close((uv_handle_t *)&worker->sweep_timer, NULL);
}

bool worker_deinit(struct worker *worker)
{
    if (!cold_deinit(&worker->cold))
        return false;
    waiting_deinit(&worker->waiting);
    request_decoder_deinit(&worker->decoder);
    request_decoder_deinit(&worker->job_decoder);
    dispatch_deinit(&worker->dispatch);
    if (snapshot_unref(worker->snapshot))
        snapshot_free(worker->snapshot);
    buf_pool_deinit(&worker->buffers);
    return true;
}
