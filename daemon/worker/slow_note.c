/*
 * slow_note: see slow_note.h.
 */
#include "daemon/worker/slow_note.h"

#include "base/clock.h"
#include "daemon/worker/conn.h"
#include "daemon/worker/methods.h"

static bool is_slow(const struct worker *worker, uint64_t duration_ns)
{
    uint64_t slow_ms = worker->config->admin_slow_ms;
    return slow_ms > 0 && duration_ns >= slow_ms * 1000000;
}

static uint64_t unix_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* The first key or prefix, also of a list. */
static void note_key(const struct request *request, struct slow_request *slow)
{
    struct slice key;
    const msgpack_object *param = request->n_params > 0 ? request->params : NULL;
    if (param && param->type == MSGPACK_OBJECT_ARRAY)
        param = param->via.array.size > 0 ? param->via.array.ptr : NULL;
    slow->has_key = param && param_bytes(param, &key);
    if (!slow->has_key)
        return;
    slow->key_bytes = key.len;
    memcpy(slow->key, key.p, key.len < SLOW_KEY_BYTES ? key.len : SLOW_KEY_BYTES);
}

static void note(const struct worker *worker, const struct request *request,
                 struct slow_request *slow)
{
    slow->at_ms = unix_ms();
    slow->error = worker->dispatch.error;
    note_key(request, slow);
    slow_note(&worker->board->own_page->slow, slow);
}

void slow_begin_turn(struct worker *worker)
{
    const struct snapshot *snapshot = worker->snapshot;
    bool is_wanted = worker->config->cold_mode == COLD_INLINE &&
                     worker->config->admin_slow_ms > 0 &&
                     snapshot->generation.hold == GENERATION_MAPPED;
    worker->dispatch.mark_ns = is_wanted ? clock_ns() : 0;
}

void slow_begin_next(struct worker *worker)
{
    if (worker->dispatch.mark_ns > 0)
        worker->dispatch.mark_ns = clock_ns();
}

void slow_check(struct worker *worker, const struct request *request)
{
    struct dispatch *dispatch = &worker->dispatch;
    uint64_t now = clock_ns(), duration = now - dispatch->mark_ns;
    dispatch->mark_ns = now;
    int id = is_slow(worker, duration) ? method_find(request->method) : -1;
    if (id < 0)
        return;
    struct slow_request slow = {.duration_ns = duration,
                                .generation = worker->snapshot->generation.number,
                                .loop_faults = stall_faults(&worker->stall),
                                .slices = 1,
                                .method = (uint8_t)id};
    note(worker, request, &slow);
}

void slow_check_job(const struct job *job, uint64_t duration_ns)
{
    const struct worker *worker = job->conn->worker;
    if (!is_slow(worker, duration_ns) || job->progress.method == METHOD_wait_generation)
        return;
    struct slow_request slow = {.duration_ns = duration_ns,
                                .generation = job->snapshot->generation.number,
                                .pages_missed = job->pages_missed,
                                .loop_faults = job->loop_faults,
                                .slices = job->n_slices,
                                .method = job->progress.method};
    note(worker, &job->request, &slow);
}
