/*
 * dispatch: see dispatch.h.
 */
#include "daemon/worker/dispatch.h"

#include "base/clock.h"
#include "daemon/worker/methods.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

int dispatch_init(struct dispatch *dispatch, const struct config *config)
{
    static const struct generation none;
    *dispatch = (struct dispatch){.config = config,
                                  .announced = &none,
                                  .slice_work = SLICE_WORK,
                                  .loop_work = UINT64_MAX,
                                  .slice_reply_bytes = SLICE_REPLY_BYTES};
    dispatch->key_size = config->limits_max_key_bytes + 2;
    dispatch->key = malloc(dispatch->key_size);
    dispatch->checkpoint = malloc(sizeof *dispatch->checkpoint);
    /* Its root is read in the guard, before each use. */
    int r = act_cursor_new(NULL, config->limits_max_key_bytes, &dispatch->cursor);
    if (r != 0 || !dispatch->key || !dispatch->checkpoint) {
        dispatch_deinit(dispatch);
        return -ENOMEM;
    }
    return 0;
}

void dispatch_deinit(struct dispatch *dispatch)
{
    act_cursor_free(dispatch->cursor);
    free(dispatch->key);
    free(dispatch->checkpoint);
}

void progress_init(struct progress *progress, struct buf_pool *pool)
{
    *progress = (struct progress){.mark.pool = pool};
}

void progress_deinit(struct progress *progress)
{
    buf_release(&progress->mark);
}

static int finish(struct dispatch *dispatch, struct reply *reply, enum proto_error error,
                  const char *text)
{
    struct buf_pool *pool = reply->out->pool;
    dispatch->error = (uint8_t)error;
    pool->is_urgent = true;
    int r = reply_error(reply, error, text);
    pool->is_urgent = false;
    return r == 0 || r == -ENOMEM ? r : -ENOBUFS;
}

static const char draining_text[] = "the server is stopping: connect again";

/* To the last checkpoint, or to the beginning. */
static void roll_back(struct call *call)
{
    const struct checkpoint *checkpoint = call->dispatch->checkpoint;
    struct progress *progress = call->progress;
    struct progress saved = {.method = progress->method, .is_overdue = progress->is_overdue};
    if (call->has_checkpoint)
        saved = checkpoint->progress;
    call->stats->hits = call->has_checkpoint ? checkpoint->hits : call->begin_hits;
    call->stats->misses = call->has_checkpoint ? checkpoint->misses : call->begin_misses;
    saved.mark = progress->mark;
    *progress = saved;
    reply_cut(call->reply, call->has_checkpoint ? checkpoint->reply_len : call->reply_begin_len);
}

/* What is to be done so that the request can go on; 0: it is at its end. */
static int pause_of(int outcome)
{
    switch (outcome) {
    case CALL_AGAIN:
        return DISPATCH_AGAIN;
    case CALL_WAIT:
        return DISPATCH_WAIT;
    case CALL_COLD:
    case ACT_COLD:
        return DISPATCH_COLD;
    default:
        return 0;
    }
}

/* The one place where an outcome becomes an error on the wire. */
static int settle(struct dispatch *dispatch, struct call *call, int outcome)
{
    char text[768];
    struct reply *reply = call->reply;
    int pause = pause_of(outcome);
    call->progress->is_begun = outcome != CALL_WAIT;
    if (outcome == ACT_COLD)
        roll_back(call);
    if (pause != 0 && reply->failure == 0)
        return pause;
    if (outcome == 0 || pause != 0)
        outcome = reply_end(reply);
    if (outcome == 0)
        return 0;
    call->stats->errors++;
    switch (outcome) {
    case ACT_CORRUPT:
        snprintf(text, sizeof text, "%.500s is damaged at offset %" PRIu64 ": %s",
                 dispatch->snapshot->path, call->fault.offset, call->fault.reason);
        return finish(dispatch, reply, PROTO_CORRUPT, text);
    case CALL_BAD_PARAMS:
        return finish(dispatch, reply, PROTO_BAD_PARAMS, dispatch->text);
    case CALL_TOO_LARGE:
        return finish(dispatch, reply, PROTO_TOO_LARGE, dispatch->text);
    case CALL_BAD_CURSOR:
        return finish(dispatch, reply, PROTO_BAD_CURSOR, dispatch->text);
    case CALL_GONE:
        return finish(dispatch, reply, PROTO_GONE, dispatch->text);
    case CALL_DRAINING:
        return finish(dispatch, reply, PROTO_DRAINING, draining_text);
    case CALL_LIMIT:
        return finish(dispatch, reply, PROTO_LIMIT,
                      "max_visited_nodes is used up before there is a result: ask for less at "
                      "once, or allow more (limits.max_visited_nodes)");
    case REPLY_TOO_LARGE:
        return finish(dispatch, reply, PROTO_TOO_LARGE,
                      "the reply is longer than limits.max_reply_bytes: ask for less at once");
    case REPLY_NO_ROOM:
        return finish(dispatch, reply, PROTO_BUSY, "out of buffers (limits.max_buffer_bytes)");
    default:
        return outcome;
    }
}

#define BIT(method) (UINT64_C(1) << METHOD_##method)
static_assert(N_METHODS <= 64, "methods are bits of a number");

static bool needs_tree(int id)
{
    const uint64_t others =
        BIT(hello) | BIT(ping) | BIT(info) | BIT(stats) | BIT(watch) | BIT(wait_generation);
    return (others >> id & 1) == 0;
}

int dispatch_refuse(struct dispatch *dispatch, uint32_t msgid, struct reply_mode mode,
                    enum proto_error error, const char *text, struct buf *out)
{
    struct reply reply;
    dispatch->stats->refused_requests++;
    reply_begin(&reply, out, msgid, mode, dispatch->config->limits_max_reply_bytes);
    return finish(dispatch, &reply, error, text);
}

static int refuse_method(struct dispatch *dispatch, const struct request *request,
                         struct reply_mode mode, struct buf *out)
{
    snprintf(dispatch->text, sizeof dispatch->text, "\"%.*s\"; hello lists the methods",
             request->method.len < 64 ? (int)request->method.len : 64,
             (const char *)request->method.p);
    return dispatch_refuse(dispatch, request->msgid, mode, PROTO_UNKNOWN_METHOD, dispatch->text,
                           out);
}

static int run_method(void *context)
{
    struct call *call = context;
    return method_run(call->id, call);
}

/* One slice of the method. */
static int run(struct call *call)
{
    struct dispatch *dispatch = call->dispatch;
    struct snapshot *snapshot = dispatch->snapshot;
    int r = 0;
    bool needs = needs_tree(call->id);
    dispatch->error = 0;
    call->reply_begin_len = reply_len(call->reply);
    call->begin_hits = call->stats->hits;
    call->begin_misses = call->stats->misses;
    if (!needs)
        r = method_run(call->id, call);
    else if (!snapshot->damage) {
        if (snapshot->residency)
            act_residency_begin(snapshot->residency);
        r = guard_run(run_method, call);
    }
    if (call->scratch.p)
        buf_release(&call->scratch);
    if (r == GUARD_LOST)
        snapshot_note_fault(snapshot);
    if (needs && snapshot->damage) {
        call->stats->errors++;
        return finish(dispatch, call->reply, snapshot->tree ? PROTO_IO_ERROR : PROTO_UNAVAILABLE,
                      snapshot->damage);
    }
    return settle(dispatch, call, r);
}

/* Of the first slice: a large request has taken most of it by being decoded, and where others have
 * taken what there is for all, walks and lists wait for their turn as jobs. */
static uint64_t first_work(const struct dispatch *dispatch, const struct request *request)
{
    uint64_t decoding = request->bytes / BYTES_DECODED_PER_WORK;
    uint64_t work = decoding < dispatch->slice_work ? dispatch->slice_work - decoding : 1;
    work = work < dispatch->loop_work ? work : dispatch->loop_work;
    return work > 0 ? work : 1;
}

int dispatch_run(struct dispatch *dispatch, const struct request *request, struct session *session,
                 struct buf *out, struct progress *progress, unsigned *ret_cost)
{
    struct reply reply;
    *ret_cost = 1;
    if (dispatch->is_draining)
        return dispatch_refuse(dispatch, request->msgid, session->mode, PROTO_DRAINING,
                               draining_text, out);
    int id = method_find(request->method);
    if (id < 0)
        return refuse_method(dispatch, request, session->mode, out);
    struct call call = {.dispatch = dispatch,
                        .request = request,
                        .session = session,
                        .id = (enum method_id)id,
                        .reply = &reply,
                        .progress = progress,
                        .stats = &dispatch->stats->method[id]};
    reply_begin(&reply, out, request->msgid, session->mode,
                dispatch->config->limits_max_reply_bytes);
    progress->method = (uint8_t)id;
    /* Counted for each method: a client that asks for two by turns has both measured. */
    bool is_measured = ++call.stats->requests % LATENCY_SAMPLED == 0;
    uint64_t begin_ns = is_measured ? clock_ns() : 0;
    struct session before = *session;
    uint64_t errors = call.stats->errors;
    uint64_t work = call.work = first_work(dispatch, request);
    int r = run(&call);
    if (is_measured && r == 0)
        latency_note(&dispatch->board->own_page->latency[id].warm, clock_ns() - begin_ns,
                     LATENCY_SAMPLED);
    uint64_t used = work - call.work;
    dispatch->loop_work -= used < dispatch->loop_work ? used : dispatch->loop_work;
    if (call.stats->errors != errors)
        *session = before; /* a hello or watch that gets an error changes nothing */
    if (id == METHOD_watch && r == 0 && dispatch_is_news(dispatch, session))
        (void)dispatch_tell(dispatch, session, out); /* or when there is room */
    *ret_cost += (unsigned)((request->bytes / BYTES_DECODED_PER_WORK + used) / REQUEST_WORK);
    return r;
}

int dispatch_give_up(struct dispatch *dispatch, const struct request *request,
                     struct reply_mode mode, enum proto_error error, const char *reason,
                     struct buf *out)
{
    struct reply reply;
    dispatch->stats->method[method_find(request->method)].errors++;
    reply_begin(&reply, out, request->msgid, mode, dispatch->config->limits_max_reply_bytes);
    return finish(dispatch, &reply, error, reason);
}

bool dispatch_may_go_on(const struct dispatch *dispatch, const struct progress *progress)
{
    const struct generation *announced = dispatch->announced, *offered = dispatch->offered;
    if (dispatch->never_waits || progress->is_overdue)
        return true;
    if (progress->wait_for == WAIT_ANNOUNCED)
        return announced->number != 0 && announced->identity == progress->wait_identity;
    return dispatch->snapshot->generation.identity == progress->wait_identity || !offered ||
           offered->identity != progress->wait_identity;
}

bool dispatch_tell(struct dispatch *dispatch, struct session *session, struct buf *out)
{
    struct reply reply;
    if (dispatch->announced->number == 0)
        return true; /* not yet */
    reply_begin_notification(&reply, out, "generation", session->mode, SIZE_MAX);
    reply_array(&reply, 1);
    reply_generation_map(&reply, dispatch->announced);
    if (reply_end(&reply) != 0)
        return false;
    session->told = dispatch->announced->number;
    dispatch->stats->notifications_sent++;
    return true;
}

int dispatch_resume(struct dispatch *dispatch, const struct request *request,
                    struct reply_mode mode, struct buf *out, struct progress *progress)
{
    struct reply reply;
    int id = method_find(request->method);
    struct call call = {.dispatch = dispatch,
                        .request = request,
                        .id = (enum method_id)id,
                        .reply = &reply,
                        .progress = progress,
                        .stats = &dispatch->stats->method[id]};
    call.work = (dispatch->slice_work + 1) / 2; /* the first one was long, to be the last */
    reply_resume(&reply, out, request->msgid, mode, dispatch->config->limits_max_reply_bytes);
    if (progress->is_begun)
        set_checkpoint(&call);
    return run(&call);
}
