/*
 * conn: see conn.h.
 *
 * The happy path: on_read -> conn_pump (frame, decode, dispatch, ..., check) -> conn_flush, which
 * nearly always writes everything at once. What the socket does not take is swapped into `sending`
 * and written in the background (on_written); meanwhile replies collect in `out` up to the
 * high-water mark, beyond which neither the pump nor the socket is read: back-pressure.
 *
 * How it ends. The client closes: what has arrived is answered, then we close. A broken frame or
 * a request that is too large: the replies before it are written, then our side is shut down, and
 * what the client still sends is read and dropped for a moment, because closing with unread input
 * would reset the connection and take the last replies with it. Errors of the socket: at once.
 */
#include "daemon/worker/conn.h"

#include "base/log.h"

#include <assert.h>
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret);
static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf);
static void on_written(uv_write_t *request, int status);
static void on_shutdown(uv_shutdown_t *request, int status);
static void on_closed(uv_handle_t *handle);

/* The least room that reading is started with, and the most that is read or written at once: no
 * connection holds the loop with what it sends or is sent. */
#define READ_MIN_BYTES  4096
#define READ_MAX_BYTES  ((size_t)16 * 1024)
#define WRITE_MAX_BYTES ((size_t)64 * 1024)
/* Replies of jobs up to this are copied behind the others; longer ones are sent from where they
 * are. */
#define JOINED_MAX_BYTES ((size_t)64 * 1024)

/* What one step of the pump came to. */
enum step { STEP_ON, STEP_WAIT, STEP_END };

static uint64_t now_ms(const struct conn *conn)
{
    return uv_now(conn->worker->loop);
}

static size_t unsent_bytes(const struct conn *conn)
{
    return buf_len(&conn->out) + buf_len(&conn->sending) + conn->finished_bytes;
}

/* Those that wait for a generation, or for a page, do not count. */
static bool is_oldest(const struct job *job)
{
    const struct job *older = job->next;
    while (older && (older->is_waiting || older->tickets))
        older = older->next;
    return !older;
}

bool conn_may_work(const struct conn *conn, const struct job *job)
{
    const uint64_t high_water = conn->worker->config->limits_high_water_bytes;
    return unsent_bytes(conn) < high_water &&
           (conn->unfinished_bytes < high_water || is_oldest(job));
}

/* Does it owe nothing of what it was asked before? Then the buffers for the next request and its
 * reply are mostly given back at once. */
static bool is_even(const struct conn *conn)
{
    return buf_len(&conn->sending) == 0 && conn->finished_bytes == 0 &&
           conn->n_jobs == conn->n_waiting;
}

/* Nearly all buffers are taken. */
static bool is_short(const struct buf_pool *pool)
{
    return pool->used_bytes + pool->reserve_bytes + BUF_BLOCK_BYTES > pool->max_bytes;
}

/* May another request be answered? */
static bool has_room(const struct conn *conn)
{
    const struct config *config = conn->worker->config;
    if (is_short(&conn->worker->buffers) && buf_len(&conn->sending) + conn->finished_bytes > 0)
        return false;
    return unsent_bytes(conn) + conn->unfinished_bytes < config->limits_high_water_bytes &&
           conn->n_jobs < config->limits_max_sliced_requests && conn->n_holding == 0;
}

static void update_reading(struct conn *conn)
{
    bool is_wanted = conn->state == CONN_LINGERING ||
                     (conn->state == CONN_OPEN && !conn->has_ended && !conn->is_runnable &&
                      !conn->is_starved && has_room(conn));
    if (is_wanted == conn->is_reading)
        return;
    conn->is_reading = is_wanted;
    if (!is_wanted)
        uv_read_stop(&conn->uv.stream);
    else if (uv_read_start(&conn->uv.stream, on_alloc, on_read) < 0)
        conn_close(conn);
}

/* No more requests are read; what is answered is still written. */
static void finish(struct conn *conn)
{
    if (conn->state == CONN_OPEN)
        conn->state = CONN_FINISHING;
    buf_release(&conn->in);
}

/* All replies are written and nothing more will be asked. */
static void end(struct conn *conn)
{
    if (conn->has_ended || conn->worker->config->limits_linger_timeout_ms == 0) {
        conn_close(conn);
        return;
    }
    conn->state = CONN_LINGERING;
    conn->last_ms = now_ms(conn);
    if (uv_shutdown(&conn->shutdown, &conn->uv.stream, on_shutdown) < 0)
        conn_close(conn);
}

/* Nothing has arrived that is not answered: neither here nor in the kernel's queue. */
static bool is_quiet(const struct conn *conn)
{
    uv_os_fd_t fd;
    int queued = 0;
    if (buf_len(&conn->in) > 0 || unsent_bytes(conn) > 0 || conn->n_jobs > 0)
        return false;
    if (uv_fileno(&conn->uv.handle, &fd) < 0 || ioctl(fd, FIONREAD, &queued) < 0)
        return true;
    return queued == 0;
}

static void refuse_broken(struct conn *conn, int outcome)
{
    struct worker *worker = conn->worker;
    worker->stats->connections_broken++;
    log_debug("connection %llu: closing: %s", (unsigned long long)conn->id, conn->frame.reason);
    if (outcome == FRAME_TOO_LARGE && conn->frame.has_msgid &&
        dispatch_refuse(&worker->dispatch, conn->frame.msgid, conn->session.mode, PROTO_TOO_LARGE,
                        conn->frame.reason, &conn->out) != 0)
        conn_close(conn);
}

/* Goes on with a request, whose first slice has come to that pause, as a job. NULL, or why it
 * cannot: then progress is the caller's still. */
static const char *go_on_as_job(struct conn *conn, struct slice message, int pause,
                                struct progress *progress, size_t out_len)
{
    struct job *job;
    int r = job_new(conn, message, progress, out_len, &job);
    if (r != 0)
        return r == BUF_FULL ? "out of buffers (limits.max_buffer_bytes)" : "out of memory";
    if (pause == DISPATCH_WAIT) {
        job_wait(job);
    } else if (pause == DISPATCH_AGAIN) {
        job_make_ready(job);
    } else if (!job_wait_for_pages(job)) {
        job_free(job);
        progress_init(progress, &conn->worker->buffers);
        return DISPATCH_QUEUE_FULL;
    }
    return NULL;
}

/* Runs a request; if it takes longer than a slice, a job goes on with it. */
static int run_request(struct conn *conn, struct slice message, const struct request *request,
                       unsigned *ret_cost)
{
    struct dispatch *dispatch = &conn->worker->dispatch;
    struct progress progress;
    size_t out_len = buf_len(&conn->out);
    progress_init(&progress, &conn->worker->buffers);
    conn->worker->buffers.is_brief = is_even(conn);
    int r = dispatch_run(dispatch, request, &conn->session, &conn->out, &progress, ret_cost);
    conn->worker->buffers.is_brief = false;
    if (r > 0) {
        const char *reason = go_on_as_job(conn, message, r, &progress, out_len);
        if (!reason) {
            slow_begin_next(conn->worker);
            return 0;
        }
        conn->out.tail = conn->out.head + out_len;
        r = dispatch_give_up(dispatch, request, conn->session.mode, PROTO_BUSY, reason, &conn->out);
    }
    if (r == 0 && dispatch->mark_ns > 0) /* asked here: the call alone takes 20 instructions */
        slow_check(conn->worker, request);
    progress_deinit(&progress);
    return r;
}

/* A whole message that is not decoded. */
static int answer_undecodable(struct conn *conn, int framed)
{
    struct worker *worker = conn->worker;
    struct dispatch *dispatch = &worker->dispatch;
    const struct frame *frame = &conn->frame;
    if (frame->kind == FRAME_RESPONSE)
        worker->stats->responses_ignored++;
    else if (!frame->has_msgid)
        worker->stats->notifications_ignored++;
    else if (framed == FRAME_TOO_DEEP)
        return dispatch_refuse(dispatch, frame->msgid, conn->session.mode, PROTO_BAD_REQUEST,
                               "the message is nested deeper than 8 levels", &conn->out);
    else
        return dispatch_refuse(dispatch, frame->msgid, conn->session.mode, PROTO_TOO_LARGE,
                               "the message has more than twice as many values as "
                               "limits.max_keys allows: ask in several requests",
                               &conn->out);
    return 0;
}

/* One message. 0, or -errno: the connection cannot go on. */
static int answer(struct conn *conn, int framed, struct slice message, unsigned *ret_cost)
{
    struct worker *worker = conn->worker;
    struct request request;
    if (framed == FRAME_TOO_DEEP || framed == FRAME_TOO_MANY)
        return answer_undecodable(conn, framed);
    int r = request_decode(&worker->decoder, message, &request);
    switch (r) {
    case 0:
        return run_request(conn, message, &request, ret_cost);
    case REQUEST_BAD:
        return dispatch_refuse(&worker->dispatch, request.msgid, conn->session.mode,
                               PROTO_BAD_REQUEST, worker->decoder.reason, &conn->out);
    case REQUEST_NOTIFIED:
        worker->stats->notifications_ignored++;
        return 0;
    case REQUEST_REPLIED:
        worker->stats->responses_ignored++;
        return 0;
    default:
        return r;
    }
}

static enum step pump_step(struct conn *conn, unsigned *ret_cost)
{
    struct slice message;
    int framed = frame_next(&conn->frame, buf_content(&conn->in), &message);
    if (framed == FRAME_MORE)
        return STEP_WAIT;
    if (framed == FRAME_BROKEN || framed == FRAME_TOO_LARGE) {
        refuse_broken(conn, framed);
        return STEP_END;
    }
    int r = answer(conn, framed, message, ret_cost);
    if (r != 0) {
        worker_tell_short(conn->worker, conn->id, r);
        conn_close(conn);
        return STEP_END;
    }
    buf_consume(&conn->in, message.len);
    conn->partial_since_ms = 0;
    return STEP_ON;
}

/* The middle of a request's way, in order. */
static enum step pump_turn(struct conn *conn)
{
    uint64_t budget = conn->worker->config->limits_turn_requests;
    while (buf_len(&conn->in) > 0) {
        unsigned cost = 1;
        if (budget == 0 || !has_room(conn))
            return STEP_ON;
        enum step step = pump_step(conn, &cost);
        if (step != STEP_ON)
            return step;
        budget -= cost < budget ? cost : budget;
    }
    return STEP_WAIT;
}

/* Runs a turn; if the file was changed under it, its results are dropped, with what it counted,
 * its jobs and what hello has set, and it runs again: every request that needs the tree then gets
 * IO_ERROR. */
static enum step pump_checked(struct conn *conn)
{
    struct worker *worker = conn->worker;
    struct frame frame = conn->frame;
    struct session session = conn->session;
    struct worker_stats stats = *worker->stats;
    const struct job *job_mark = conn->jobs;
    size_t in_mark = conn->in.head, out_mark = buf_len(&conn->out);
    bool was_damaged = worker->snapshot->damage;
    enum step step = pump_turn(conn);
    if (was_damaged || snapshot_unchanged(worker->snapshot))
        return step;
    worker_tell_damage(worker, worker->snapshot);
    if (conn->state == CONN_CLOSING)
        return step;
    while (conn->jobs != job_mark)
        job_free(conn->jobs);
    conn->frame = frame;
    conn->session = session;
    *worker->stats = stats;
    conn->in.head = in_mark;
    conn->out.tail = conn->out.head + out_mark;
    return pump_turn(conn);
}

/* The next part of what is in `out` or, if the reply of a job is next, there. */
static uv_buf_t next_write(struct buf *from)
{
    size_t len = buf_len(from);
    return uv_buf_init((char *)from->p + from->head,
                       (unsigned)(len < WRITE_MAX_BYTES ? len : WRITE_MAX_BYTES));
}

/* Writes the next part of `sending` in the background. */
static void start_write(struct conn *conn)
{
    uv_buf_t buf = next_write(&conn->sending);
    assert(!conn->is_writing);
    conn->is_writing = true;
    conn->writing_bytes = buf.len;
    conn->write_began_ms = conn->write_since_ms = now_ms(conn);
    conn->untaken_bytes = UINT64_MAX;
    if (uv_write(&conn->write, &conn->uv.stream, &buf, 1, on_written) < 0)
        conn_close(conn);
}

/* The reply of a job that is finished becomes the output, if there is no other. */
static void take_finished(struct conn *conn)
{
    struct job *job = conn->finished;
    if (!job || buf_len(&conn->out) > 0)
        return;
    conn->finished = job->next;
    conn->finished_bytes -= buf_len(&job->out);
    buf_release(&conn->out);
    conn->out = job->out;
    buf_init(&job->out, conn->out.pool);
    job_free_unlinked(job);
}

/* Of the generations that it wants to be told, the newest: one more notification only when the last
 * write is done, so that they do not pile up for who does not read. Before replies of jobs, which
 * may be long. */
static void tell_news(struct conn *conn)
{
    struct worker *worker = conn->worker;
    if (conn->state == CONN_OPEN && dispatch_is_news(&worker->dispatch, &conn->session) &&
        unsent_bytes(conn) < worker->config->limits_high_water_bytes)
        (void)dispatch_tell(&worker->dispatch, &conn->session, &conn->out);
}

static void conn_flush(struct conn *conn)
{
    if (conn->is_writing || conn->state == CONN_CLOSING)
        return;
    if (conn->session.is_watching)
        tell_news(conn);
    take_finished(conn);
    if (buf_len(&conn->out) == 0)
        return;
    uv_buf_t buf = next_write(&conn->out);
    /* Not uv_write: even a write that is done at once costs it another turn of the loop. */
    int n = uv_try_write(&conn->uv.stream, &buf, 1);
    if (n < 0 && n != UV_EAGAIN) {
        conn_close(conn);
        return;
    }
    if (n > 0) {
        conn->worker->stats->written_bytes += (uint64_t)n;
        conn->last_ms = now_ms(conn);
        buf_consume(&conn->out, (size_t)n);
    }
    if (buf_len(&conn->out) == 0)
        buf_release(&conn->out);
    take_finished(conn);
    if (buf_len(&conn->out) == 0)
        return;
    if (conn->session.is_watching)
        buf_trim(&conn->out); /* many may be told at once, and not read it */
    struct buf empty = conn->sending;
    assert(buf_len(&empty) == 0);
    conn->sending = conn->out;
    conn->out = empty;
    start_write(conn);
}

/* Jobs that waited for the client to take its replies, or for an older one, go on. */
static void unpark_jobs(struct conn *conn)
{
    struct job *previous;
    for (struct job *job = conn->n_parked > 0 ? conn->oldest_job : NULL; job; job = previous) {
        previous = job->previous;
        if (job->is_parked && conn_may_work(conn, job))
            job_make_ready(job);
    }
}

/* After each turn: keep what is unfinished, and decide what the connection waits for. */
static void settle_turn(struct conn *conn, enum step step)
{
    bool is_partial = buf_len(&conn->in) > 0 && step == STEP_WAIT;
    if (buf_len(&conn->in) == 0)
        buf_release(&conn->in);
    else if (is_partial)
        buf_trim(&conn->in); /* what has begun to arrive may stay for long */
    if (!is_partial)
        conn->partial_since_ms = 0;
    else if (conn->partial_since_ms == 0)
        conn->partial_since_ms = now_ms(conn);
    if (step == STEP_END || (step == STEP_WAIT && conn->has_ended))
        finish(conn);
    else if (step == STEP_ON && has_room(conn))
        worker_give_turn(conn->worker, conn);
    else if (conn->worker->is_draining && is_quiet(conn))
        finish(conn);
    if (conn->state == CONN_FINISHING && unsent_bytes(conn) == 0 && conn->n_jobs == 0)
        end(conn);
    if (conn->state == CONN_CLOSING)
        return;
    unpark_jobs(conn);
    update_reading(conn);
}

/* Who does not give back at once what was lent to it must not use up the reserve: it is for the
 * next ones. */
static void settle_loan(struct conn *conn)
{
    const struct buf_pool *pool = &conn->worker->buffers;
    size_t held =
        conn->out.size + conn->sending.size + (conn->in.size > BUF_SMALL_BYTES ? conn->in.size : 0);
    conn->has_borrowed = conn->has_borrowed && held > 0;
    if (!conn->has_borrowed || conn->state == CONN_CLOSING ||
        pool->used_bytes + pool->reserve_bytes / 2 <= pool->max_bytes)
        return;
    conn->worker->stats->connections_evicted++;
    conn->worker->sweep.n_evicted++;
    conn_close(conn);
}

void conn_pump(struct conn *conn)
{
    enum step step = STEP_WAIT;
    uint64_t n_lent = conn->worker->buffers.n_lent;
    if (conn->state == CONN_OPEN && buf_len(&conn->in) > 0) {
        stall_begin(&conn->worker->stall, now_ms(conn));
        slow_begin_turn(conn->worker);
        step = pump_checked(conn);
        stall_end(&conn->worker->stall);
    }
    conn->has_borrowed |= conn->worker->buffers.n_lent != n_lent;
    conn_flush(conn);
    if (conn->state != CONN_CLOSING)
        settle_turn(conn, step);
    settle_loan(conn);
    conn->worker->stats->buffer_bytes = conn->worker->buffers.used_bytes;
}

/* Replies have gone or come, but no requests: writes, and has the others answered in turn. */
static void go_on(struct conn *conn)
{
    bool has_requests = buf_len(&conn->in) > 0 && conn->partial_since_ms == 0;
    conn_flush(conn);
    if (conn->state != CONN_CLOSING)
        settle_turn(conn, has_requests ? STEP_ON : STEP_WAIT);
    conn->worker->stats->buffer_bytes = conn->worker->buffers.used_bytes;
}

void conn_finish_job(struct conn *conn, struct job *job)
{
    struct slice reply = buf_content(&job->out);
    if (reply.len <= JOINED_MAX_BYTES && buf_append(&conn->out, reply.p, reply.len) == 0) {
        job_free_unlinked(job);
    } else {
        job->next = NULL;
        if (conn->finished)
            conn->last_finished->next = job;
        else
            conn->finished = job;
        conn->last_finished = job;
        conn->finished_bytes += reply.len;
    }
    go_on(conn);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
    static char dropped[BUF_BLOCK_BYTES];
    struct conn *conn = handle->data;
    (void)suggested;
    if (conn->state != CONN_OPEN) { /* what comes now is read only to be dropped */
        *ret = uv_buf_init(dropped, sizeof dropped);
        return;
    }
    *ret = (uv_buf_t){0}; /* on_read then gets UV_ENOBUFS */
    struct buf_pool *pool = &conn->worker->buffers;
    uint64_t n_lent = pool->n_lent;
    pool->is_brief = conn->in.size <= BUF_SMALL_BYTES && is_even(conn);
    int r = buf_reserve(&conn->in, READ_MIN_BYTES);
    pool->is_brief = false;
    bool is_lent = pool->n_lent != n_lent;
    conn->has_borrowed |= is_lent;
    if (r != 0)
        return;
    size_t len = buf_free_bytes(&conn->in), most = READ_MAX_BYTES;
    if (is_lent && buf_len(&conn->in) < BUF_SMALL_BYTES)
        most = BUF_SMALL_BYTES - buf_len(&conn->in); /* it may move to a small block then */
    *ret = uv_buf_init((char *)conn->in.p + conn->in.tail, (unsigned)(len < most ? len : most));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    struct conn *conn = stream->data;
    if (n > 0) {
        conn->worker->stats->read_bytes += (uint64_t)n;
        if (conn->state != CONN_OPEN)
            return; /* not committed: dropped */
        conn->last_ms = now_ms(conn);
        buf_commit(&conn->in, (size_t)n);
        if ((size_t)n < READ_MIN_BYTES && (size_t)n < buf->len) {
            conn_pump(conn);
        } else {
            buf_trim(&conn->in);
            worker_give_turn(conn->worker, conn);
            update_reading(conn);
            settle_loan(conn);
        }
        worker_stay_awake(conn->worker);
    } else if (n == UV_ENOBUFS && conn->state == CONN_OPEN) {
        conn->is_starved = true;
        update_reading(conn);
    } else if (n == UV_EOF && conn->state == CONN_OPEN) {
        conn->has_ended = true;
        conn_pump(conn);
    } else if (n < 0) {
        conn_close(conn);
    } else if (buf_len(&conn->in) == 0) {
        buf_release(&conn->in); /* nothing came after all */
    }
}

static void on_written(uv_write_t *request, int status)
{
    struct conn *conn = request->handle->data;
    conn->is_writing = false;
    if (status < 0 || conn->state == CONN_CLOSING) {
        conn_close(conn);
        return;
    }
    conn->worker->stats->written_bytes += conn->writing_bytes;
    conn->last_ms = now_ms(conn);
    buf_consume(&conn->sending, conn->writing_bytes);
    if (buf_len(&conn->sending) > 0)
        start_write(conn);
    else
        buf_release(&conn->sending);
    go_on(conn);
}

static void on_shutdown(uv_shutdown_t *request, int status)
{
    struct conn *conn = request->handle->data;
    if (status < 0)
        conn_close(conn);
}

static void on_closed(uv_handle_t *handle)
{
    struct conn *conn = handle->data;
    struct worker *worker = conn->worker;
    free(conn);
    worker->stats->connections_open--;
    worker->board->own_page->connections_closed++;
    worker->on_conn_closed(worker->context);
}

static void link_conn(struct worker *worker, struct conn *conn)
{
    static uint64_t last_id;
    conn->id = ++last_id;
    conn->next = worker->conns;
    if (worker->conns)
        worker->conns->previous = conn;
    worker->conns = conn;
    worker->stats->connections_open++;
    worker->stats->connections_accepted++;
}

static void unlink_conn(struct conn *conn)
{
    struct worker *worker = conn->worker;
    if (conn->next)
        conn->next->previous = conn->previous;
    if (conn->previous)
        conn->previous->next = conn->next;
    else
        worker->conns = conn->next;
    if (worker->sweep.at == conn)
        worker->sweep.at = conn->next;
    if (worker->telling == conn)
        worker->telling = conn->next;
    worker_take_turn(worker, conn);
}

/* The handle that fits the socket. */
static int open_handle(struct worker *worker, struct conn *conn, int fd)
{
    int domain = 0, on = 1, r;
    socklen_t len = sizeof domain;
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) < 0)
        return -errno;
    if (domain == AF_UNIX) {
        if ((r = uv_pipe_init(worker->loop, &conn->uv.pipe, 0)) < 0)
            return r;
        return uv_pipe_open(&conn->uv.pipe, fd);
    }
    /* A reply must not wait for more; a peer that is gone must be noticed some day. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    if ((r = uv_tcp_init(worker->loop, &conn->uv.tcp)) < 0)
        return r;
    return uv_tcp_open(&conn->uv.tcp, fd);
}

int conn_open(struct worker *worker, int fd)
{
    struct conn *conn = calloc(1, sizeof *conn);
    if (!conn) {
        close(fd);
        return -ENOMEM;
    }
    conn->worker = worker;
    conn->last_ms = uv_now(worker->loop);
    buf_init(&conn->in, &worker->buffers);
    buf_init(&conn->out, &worker->buffers);
    buf_init(&conn->sending, &worker->buffers);
    frame_init(&conn->frame, worker->config->limits_max_request_bytes,
               worker_max_elements(worker->config));
    int r = open_handle(worker, conn, fd);
    if (r < 0) {
        /* The handle, if there is one, does not own fd: uv_*_open failed. */
        close(fd);
        if (conn->uv.handle.loop == NULL) {
            free(conn);
            return r;
        }
    }
    link_conn(worker, conn);
    conn->uv.handle.data = conn;
    if (r < 0)
        conn_close(conn);
    else
        update_reading(conn);
    return r;
}

void conn_drain(struct conn *conn)
{
    if (conn->state == CONN_OPEN)
        conn_pump(conn);
}

void conn_close(struct conn *conn)
{
    if (conn->state == CONN_CLOSING)
        return;
    conn->state = CONN_CLOSING;
    while (conn->jobs)
        job_free(conn->jobs);
    for (struct job *job = conn->finished, *next; job; job = next) {
        next = job->next;
        job_free_unlinked(job);
    }
    conn->finished = NULL;
    unlink_conn(conn);
    uv_close(&conn->uv.handle, on_closed);
    /* libuv looks at no buffer of a handle that is closing. */
    buf_release(&conn->in);
    buf_release(&conn->out);
    buf_release(&conn->sending);
    conn->worker->stats->buffer_bytes = conn->worker->buffers.used_bytes;
}

/* A write may last, as long as the client takes some of it: what it has not taken lies in the write
 * and in the kernel (a Unix socket is not writable again before most of its queue is read). */
static void note_progress(struct conn *conn, uint64_t now)
{
    uv_os_fd_t fd;
    int queued = 0;
    if (!conn->is_writing || uv_fileno(&conn->uv.handle, &fd) < 0)
        return;
    (void)ioctl(fd, SIOCOUTQ, &queued);
    uint64_t untaken = uv_stream_get_write_queue_size(&conn->uv.stream) + (uint64_t)queued;
    if (untaken < conn->untaken_bytes)
        conn->write_since_ms = now;
    conn->untaken_bytes = untaken;
}

/* Which time limit is over, or NULL. */
static const char *overdue(const struct conn *conn, uint64_t now)
{
    const struct config *config = conn->worker->config;
    if (conn->state == CONN_LINGERING)
        return now - conn->last_ms >= config->limits_linger_timeout_ms ? "linger_timeout_ms" : NULL;
    if (conn->is_writing)
        return now - conn->write_since_ms >= config->limits_write_timeout_ms ? "write_timeout_ms"
                                                                             : NULL;
    if (conn->partial_since_ms != 0)
        return now - conn->partial_since_ms >= config->limits_frame_timeout_ms ? "frame_timeout_ms"
                                                                               : NULL;
    if (config->limits_idle_timeout_ms > 0 && conn->n_jobs == 0 && !conn->session.is_watching &&
        now - conn->last_ms >= config->limits_idle_timeout_ms)
        return "idle_timeout_ms";
    return NULL;
}

/* Jobs that wait for a page that does not come. */
static void give_up_jobs(struct conn *conn, uint64_t now)
{
    struct job *next;
    for (struct job *job = conn->jobs; job; job = next) {
        next = job->next;
        if (job->tickets && now - job->cold_since_ms >= conn->worker->config->cold_timeout_ms)
            job_give_up(job);
    }
}

void conn_sweep(struct conn *conn, uint64_t now)
{
    note_progress(conn, now);
    give_up_jobs(conn, now);
    const char *limit = overdue(conn, now);
    if (limit) {
        log_debug("connection %llu: closing: limits.%s is over", (unsigned long long)conn->id,
                  limit);
        conn->worker->stats->connections_timed_out += conn->state != CONN_LINGERING;
        conn_close(conn);
    } else if (conn->is_starved) {
        conn->is_starved = false;
        update_reading(conn);
    } else if (conn->state == CONN_OPEN && !conn->is_writing &&
               dispatch_is_news(&conn->worker->dispatch, &conn->session)) {
        worker_give_turn(conn->worker, conn); /* there was no room to tell it */
    }
}
