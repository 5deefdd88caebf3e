/*
 * job: see job.h.
 */
#include "daemon/worker/job.h"

#include "base/clock.h"
#include "base/log.h"
#include "daemon/worker/conn.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

/* A request of ten thousand keys takes longer to decode than the time that a job has between two
 * looks at the sockets, so it is not decoded for each. */
#define ROUNDS 8

/* The connection knows how much its jobs have written, and whether some are parked. */
static void count_output(struct job *job, size_t bytes)
{
    job->conn->unfinished_bytes += bytes - job->out_bytes;
    job->out_bytes = bytes;
}

static void set_parked(struct job *job, bool is_parked)
{
    job->conn->n_parked += (unsigned)is_parked - (unsigned)job->is_parked;
    job->is_parked = is_parked;
}

static void link_job(struct job *job)
{
    struct conn *conn = job->conn;
    job->next = conn->jobs;
    if (conn->jobs)
        conn->jobs->previous = job;
    else
        conn->oldest_job = job;
    conn->jobs = job;
    conn->n_jobs++;
    conn->worker->stats->requests_running++;
    conn->worker->stats->requests_sliced++;
    count_output(job, buf_len(&job->out));
}

static void unlink_job(struct job *job)
{
    struct conn *conn = job->conn;
    count_output(job, 0);
    set_parked(job, false);
    if (job->next)
        job->next->previous = job->previous;
    else
        conn->oldest_job = job->previous;
    if (job->previous)
        job->previous->next = job->next;
    else
        conn->jobs = job->next;
    job->previous = job->next = NULL;
    conn->n_jobs--;
    conn->worker->stats->requests_running--;
}

/* Moves what conn->out holds behind its first out_len bytes. */
static int take_reply(struct job *job, size_t out_len)
{
    struct buf *out = &job->conn->out;
    struct slice content = buf_content(out);
    int r = buf_append(&job->out, content.p + out_len, content.len - out_len);
    if (r == 0)
        out->tail = out->head + out_len;
    return r;
}

int job_new(struct conn *conn, struct slice message, struct progress *progress, size_t out_len,
            struct job **ret)
{
    struct worker *worker = conn->worker;
    if (buf_pool_take(&worker->buffers, sizeof(struct job)) != 0)
        return BUF_FULL;
    struct job *job = calloc(1, sizeof *job);
    if (!job) {
        buf_pool_give(&worker->buffers, sizeof(struct job));
        return -ENOMEM;
    }
    job->conn = conn;
    job->mode = conn->session.mode;
    job->decoded_as = UINT64_MAX; /* never */
    buf_init(&job->message, &worker->buffers);
    buf_init(&job->out, &worker->buffers);
    int r = buf_append(&job->message, message.p, message.len);
    if (r == 0)
        r = take_reply(job, out_len);
    if (r != 0) {
        buf_release(&job->message);
        buf_release(&job->out);
        buf_pool_give(&worker->buffers, sizeof(struct job));
        free(job);
        return r;
    }
    buf_trim(&job->message);
    buf_trim(&job->out);
    job->begun_ns = worker->dispatch.mark_ns > 0 ? worker->dispatch.mark_ns : clock_ns();
    job->n_slices = 1;
    job->loop_faults = worker->dispatch.mark_ns > 0 ? stall_faults(&worker->stall) : 0;
    job->progress = *progress;
    buf_trim(&job->progress.mark);
    job->snapshot = snapshot_ref(worker->snapshot);
    link_job(job);
    *ret = job;
    return 0;
}

/* The connection knows how many of its jobs wait, and how many of these hold up what is behind. */
static void set_waiting(struct job *job, bool is_waiting)
{
    unsigned more = (unsigned)is_waiting - (unsigned)job->is_waiting;
    job->conn->n_waiting += more;
    if (job->progress.wait_for == WAIT_SWITCHED)
        job->conn->n_holding += more;
    job->is_waiting = is_waiting;
}

static void stop_waiting(struct job *job)
{
    if (!job->is_waiting)
        return;
    waiting_remove(&job->conn->worker->waiting, job);
    set_waiting(job, false);
}

void job_wait(struct job *job)
{
    struct worker *worker = job->conn->worker;
    worker_let_go(worker, job->snapshot);
    job->snapshot = NULL;
    if (worker_wait(worker, job) != 0) {
        job->progress.is_overdue = true;
        job_make_ready(job);
        return;
    }
    set_waiting(job, true);
}

/* Out of the worker's queue. */
static void make_unready(struct job *job)
{
    struct worker *worker = job->conn->worker;
    if (!job->is_ready)
        return;
    if (job->next_ready)
        job->next_ready->previous_ready = job->previous_ready;
    else
        worker->last_job = job->previous_ready;
    if (job->previous_ready)
        job->previous_ready->next_ready = job->next_ready;
    else
        worker->jobs = job->next_ready;
    job->is_ready = false;
}

void job_free_unlinked(struct job *job)
{
    buf_pool_give(job->message.pool, sizeof(struct job));
    progress_deinit(&job->progress);
    buf_release(&job->message);
    buf_release(&job->out);
    worker_let_go(job->conn->worker, job->snapshot);
    free(job);
}

void job_free(struct job *job)
{
    make_unready(job);
    cold_leave(job);
    stop_waiting(job);
    unlink_job(job);
    job_free_unlinked(job);
}

void job_make_ready(struct job *job)
{
    struct worker *worker = job->conn->worker;
    if (job->is_ready)
        return;
    stop_waiting(job);
    job->is_ready = true;
    set_parked(job, false);
    job->next_ready = NULL;
    job->previous_ready = worker->last_job;
    if (worker->last_job)
        worker->last_job->next_ready = job;
    else
        worker->jobs = job;
    worker->last_job = job;
    worker_wake(worker);
}

bool job_wait_for_pages(struct job *job)
{
    struct worker *worker = job->conn->worker;
    if (!cold_submit(&worker->cold, job))
        return false;
    job->cold_since_ms = worker_now_ms(worker);
    if (!job->was_cold)
        worker->board->own_page->latency[job->progress.method].offloaded++;
    job->was_cold = true;
    return true;
}

void job_give_up(struct job *job)
{
    struct worker *worker = job->conn->worker;
    cold_leave(job);
    worker->board->own_page->cold.timed_out++;
    job->has_given_up = true;
    job_make_ready(job);
}

static int decode(struct job *job)
{
    struct worker *worker = job->conn->worker;
    if (job->decoded_as == worker->job_decoder.n_decoded)
        return 0;
    if (request_decode(&worker->job_decoder, buf_content(&job->message), &job->request) != 0)
        return -ENOMEM; /* it was decoded before */
    job->decoded_as = worker->job_decoder.n_decoded;
    return worker_has_time(worker) ? 0 : DISPATCH_AGAIN;
}

/* Instead of what it has so far. */
static int refuse(struct job *job, enum proto_error error, const char *reason)
{
    int r = decode(job);
    if (r < 0)
        return r;
    job->out.tail = job->out.head;
    return dispatch_give_up(&job->conn->worker->dispatch, &job->request, job->mode, error, reason,
                            &job->out);
}

/* One slice; 0: its reply is whole. */
static int run_slice(struct job *job)
{
    struct worker *worker = job->conn->worker;
    struct dispatch *dispatch = &worker->dispatch;
    if (job->has_given_up)
        return refuse(job, PROTO_IO_ERROR, "the disk did not deliver a page (cold.timeout_ms)");
    int decoded = decode(job);
    if (decoded != 0)
        return decoded;
    struct snapshot *current = dispatch->snapshot;
    struct worker_stats stats = *worker->stats;
    bool was_damaged = job->snapshot->damage;
    dispatch->snapshot = job->snapshot;
    int r = dispatch_resume(dispatch, &job->request, job->mode, &job->out, &job->progress);
    if (!was_damaged && !snapshot_unchanged(job->snapshot)) {
        worker_tell_damage(worker, job->snapshot);
        *worker->stats = stats;
        if (r == 0 || r == DISPATCH_AGAIN || r == DISPATCH_COLD)
            r = dispatch_resume(dispatch, &job->request, job->mode, &job->out, &job->progress);
    }
    dispatch->snapshot = current;
    return r;
}

static void note_latency(const struct job *job)
{
    uint64_t duration_ns = clock_ns() - job->begun_ns;
    struct method_latency *latency =
        &job->conn->worker->board->own_page->latency[job->progress.method];
    latency_note(job->was_cold ? &latency->cold : &latency->warm, duration_ns, 1);
    slow_check_job(job, duration_ns);
}

void job_run_next(struct worker *worker)
{
    struct job *job = worker->jobs;
    struct conn *conn = job->conn;
    if (!conn_may_work(conn, job)) {
        make_unready(job);
        set_parked(job, true); /* until conn_pump makes it ready again */
        return;
    }
    if (!job->snapshot)
        job->snapshot = snapshot_ref(worker->snapshot);
    int r;
    do {
        stall_begin(&worker->stall, worker_now_ms(worker));
        r = run_slice(job);
        stall_end(&worker->stall);
        job->n_slices++;
        job->loop_faults += worker->stall.faults;
        if (r == DISPATCH_COLD) {
            make_unready(job);
            if (!job_wait_for_pages(job))
                r = refuse(job, PROTO_BUSY, DISPATCH_QUEUE_FULL);
        }
        count_output(job, buf_len(&job->out));
    } while (r == DISPATCH_AGAIN && worker_has_time(worker) && conn_may_work(conn, job));
    if (r == DISPATCH_AGAIN && ++job->n_rounds % ROUNDS != 0)
        return;
    make_unready(job);
    if (r == DISPATCH_AGAIN) {
        job_make_ready(job);
    } else if (r == DISPATCH_COLD) {
        worker_give_turn(worker, conn);
    } else if (r == DISPATCH_WAIT) {
        job_wait(job);
        worker_give_turn(worker, conn); /* another one may now be the oldest that works */
    } else if (r == 0) {
        note_latency(job);
        unlink_job(job);
        conn_finish_job(conn, job);
    } else {
        worker_tell_short(worker, conn->id, r);
        conn_close(conn);
    }
    worker->stats->buffer_bytes = worker->buffers.used_bytes;
}
