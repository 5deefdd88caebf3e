/*
 * dispatch: see dispatch.h.
 */
#include "daemon/worker/dispatch.h"

#include "daemon/worker/methods.h"

#include <errno.h>
#include <inttypes.h>

static int finish(struct reply *reply, enum proto_error error, const char *text)
{
    struct buf_pool *pool = reply->out->pool;
    pool->is_urgent = true;
    int r = reply_error(reply, error, text);
    pool->is_urgent = false;
    return r == 0 || r == -ENOMEM ? r : -ENOBUFS;
}

/* The one place where an outcome becomes an error on the wire. */
static int settle(struct dispatch *dispatch, struct call *call, int outcome)
{
    char text[768];
    struct reply *reply = call->reply;
    if (outcome == 0)
        outcome = reply_end(reply);
    if (outcome == 0)
        return 0;
    call->stats->errors++;
    switch (outcome) {
    case ACT_CORRUPT:
        snprintf(text, sizeof text, "%.500s is damaged at offset %" PRIu64 ": %s",
                 dispatch->snapshot->path, call->fault.offset, call->fault.reason);
        return finish(reply, PROTO_CORRUPT, text);
    case CALL_BAD_PARAMS:
        return finish(reply, PROTO_BAD_PARAMS, dispatch->text);
    case CALL_TOO_LARGE:
        return finish(reply, PROTO_TOO_LARGE, dispatch->text);
    case REPLY_TOO_LARGE:
        return finish(reply, PROTO_TOO_LARGE,
                      "the reply is longer than limits.max_reply_bytes: ask for less at once");
    case REPLY_NO_ROOM:
        return finish(reply, PROTO_BUSY, "out of buffers (limits.max_buffer_bytes)");
    default:
        return outcome;
    }
}

static bool needs_tree(int id)
{
    return id == METHOD_get || id == METHOD_mget || id == METHOD_exists || id == METHOD_node;
}

int dispatch_refuse(struct dispatch *dispatch, uint32_t msgid, const struct session *session,
                    enum proto_error error, const char *text, struct buf *out)
{
    struct reply reply;
    dispatch->stats->refused_requests++;
    reply_begin(&reply, out, msgid, session->mode, dispatch->config->limits_max_reply_bytes);
    return finish(&reply, error, text);
}

int dispatch_run(struct dispatch *dispatch, const struct request *request, struct session *session,
                 struct buf *out, unsigned *ret_cost)
{
    struct reply reply;
    *ret_cost = 1;
    if (dispatch->is_draining)
        return dispatch_refuse(dispatch, request->msgid, session, PROTO_DRAINING,
                               "the server is stopping: connect again", out);
    int id = method_find(request->method);
    if (id < 0) {
        snprintf(dispatch->text, sizeof dispatch->text, "\"%.*s\"; hello lists the methods",
                 request->method.len < 64 ? (int)request->method.len : 64,
                 (const char *)request->method.p);
        return dispatch_refuse(dispatch, request->msgid, session, PROTO_UNKNOWN_METHOD,
                               dispatch->text, out);
    }
    struct call call = {.dispatch = dispatch,
                        .request = request,
                        .session = session,
                        .reply = &reply,
                        .stats = &dispatch->stats->method[id],
                        .cost = 1};
    reply_begin(&reply, out, request->msgid, session->mode,
                dispatch->config->limits_max_reply_bytes);
    call.stats->requests++;
    if (dispatch->snapshot->damage && needs_tree(id)) {
        call.stats->errors++;
        return finish(&reply, PROTO_IO_ERROR, dispatch->snapshot->damage);
    }
    int r = settle(dispatch, &call, method_run((enum method_id)id, &call));
    *ret_cost = call.cost > 0 ? call.cost : 1;
    return r;
}
