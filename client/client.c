/*
 * client: a connection and its calls.
 *
 * A call's way: actc_send gives it an id and appends the request to the wire's output; actc_wait
 * runs client_pump until the call is settled: a turn of the wire, then every reply that has arrived
 * settles its call, whoever is waiting, and notifications are left with the watch.
 *
 * Failures. A deadline fails its call only: its request, if part of it has left, stays in the
 * output to the end, and its reply will find no open call. A lost wire settles nothing: open calls
 * find out when they are waited for, and replies that came before the end are still theirs.
 *
 * Close frees all at once; there is nothing to finish.
 */
#include "client/client.h"

#include "base/clock.h"
#include "client/connect.h"
#include "client/error.h"
#include "client/reply.h"

#include <errno.h>
#include <stdlib.h>

#define DEFAULT_TIMEOUT_MS      10000
#define DEFAULT_MAX_CALLS       65536
#define DEFAULT_MAX_REPLY_BYTES ((size_t)64 << 20)
#define DEFAULT_MAX_KEPT_BYTES  ((size_t)128 << 20)
#define LIMIT_MAX_CALLS         ((uint32_t)1 << 30)

/* Requests gather up to here: one system call sends hundreds. */
#define GATHER_BYTES ((size_t)16 * 1024)

static struct actc_options with_defaults(const struct actc_options *options)
{
    struct actc_options o = options ? *options : (struct actc_options){0};
    o.connect_timeout_ms = o.connect_timeout_ms ? o.connect_timeout_ms : DEFAULT_TIMEOUT_MS;
    o.call_timeout_ms = o.call_timeout_ms ? o.call_timeout_ms : DEFAULT_TIMEOUT_MS;
    o.max_calls = o.max_calls ? o.max_calls : DEFAULT_MAX_CALLS;
    o.max_reply_bytes = o.max_reply_bytes ? o.max_reply_bytes : DEFAULT_MAX_REPLY_BYTES;
    o.max_kept_bytes = o.max_kept_bytes ? o.max_kept_bytes : DEFAULT_MAX_KEPT_BYTES;
    return o;
}

static int out_of_memory(const struct actc *client, struct actc_error *ret_error)
{
    return error_set(ret_error, -ENOMEM, client->server.text, "out of memory");
}

static int lost(const struct actc *client, struct actc_error *ret_error)
{
    return error_set(ret_error, ACTC_LOST, client->server.text, "%s", client->wire.reason);
}

static int timed_out(const struct actc *client, uint32_t timeout_ms, struct actc_error *ret_error)
{
    return error_set(ret_error, ACTC_TIMEOUT, client->server.text,
                     "no reply within %u ms: allow more time, or see whether the server is busy",
                     timeout_ms);
}

static int keep_reply(struct actc *client, struct call *call, struct slice message)
{
    /* The awaited reply is taken at once and does not count. */
    bool is_kept = call->id != client->awaited;
    if (is_kept && message.len > client->options.max_kept_bytes - client->kept_bytes)
        return ACTC_DROPPED;
    call->reply = malloc(message.len);
    if (!call->reply)
        return -ENOMEM;
    memcpy(call->reply, message.p, message.len);
    call->reply_len = message.len;
    client->kept_bytes += is_kept ? message.len : 0;
    return 0;
}

/* message: of the kind and id that the wire's frame tells; outcome: 0 or what is wrong with it. */
static void settle(struct actc *client, struct slice message, int outcome)
{
    const struct frame *frame = &client->wire.frame;
    if (frame->kind != FRAME_RESPONSE) {
        bool is_news = frame->kind == FRAME_NOTIFICATION && outcome == 0 &&
                       watch_notice(&client->watch, message);
        client->counters.n_notifications += !is_news;
        return;
    }
    struct call *call = calls_find(&client->calls, frame->msgid);
    if (call && !call->is_settled) {
        call->outcome = outcome == 0 ? keep_reply(client, call, message) : outcome;
        call->is_settled = true;
    } else if (calls_has_issued(&client->calls, frame->msgid)) {
        client->counters.n_late++;
    } else {
        client->counters.n_unknown++;
    }
}

/* 0, or WIRE_LOST. */
static int take_replies(struct actc *client)
{
    for (;;) {
        struct slice message = {0};
        int r = wire_next(&client->wire, &message);
        if (r == 0)
            settle(client, message, 0);
        else if (r == WIRE_TOO_DEEP)
            settle(client, message, ACTC_BAD_REPLY);
        else
            return r == WIRE_MORE ? 0 : r;
    }
}

static bool must_drain(const struct wire *wire, size_t max_bytes)
{
    return buf_len(&wire->out) >= max_bytes || wire->send_error != 0;
}

/* Until fewer than max_bytes wait in the output. */
static int drain(struct actc *client, size_t max_bytes, uint64_t deadline_ms)
{
    int r = 0;
    if (must_drain(&client->wire, max_bytes))
        r = wire_flush(&client->wire);
    while (r == 0 && must_drain(&client->wire, max_bytes))
        r = client_pump(client, deadline_ms);
    return r == WIRE_TIMEOUT && !must_drain(&client->wire, max_bytes) ? 0 : r;
}

static int on_bytes(void *context, const char *p, size_t len)
{
    return buf_append(context, p, len);
}

static int queue_request(struct actc *client, uint32_t id, const char *method, struct slice params)
{
    static const uint8_t empty_array[] = {0x90};
    struct buf *out = &client->wire.out;
    size_t mark = buf_len(out), method_len = strlen(method);
    msgpack_packer packer;
    msgpack_packer_init(&packer, out, on_bytes);
    if (!params.p)
        params = slice_of(empty_array, sizeof empty_array);
    /* [0, id, method, params]. Room first, so that a request is queued whole or not at all. */
    int r = buf_reserve(out, 32 + method_len + params.len);
    if (r != 0)
        return -ENOMEM;
    msgpack_pack_array(&packer, 4);
    msgpack_pack_int(&packer, FRAME_REQUEST);
    msgpack_pack_uint32(&packer, id);
    msgpack_pack_str_with_body(&packer, method, method_len);
    r = buf_append(out, params.p, params.len);
    if (r != 0)
        out->tail = out->head + mark;
    return r == 0 ? 0 : -ENOMEM;
}

/* The call is gone afterwards. Its reply goes to ret_reply, or is freed. */
static int take_settled(struct actc *client, struct call *call, struct actc_reply **ret_reply,
                        struct actc_error *ret_error)
{
    struct actc_reply *reply = NULL;
    int r = call->outcome;
    if (r == 0)
        r = actc_reply_new(call->reply, call->reply_len, &reply);
    if (r == 0)
        call->reply = NULL; /* taken */
    actc_forget(client, call->id);
    if (r == -ENOMEM)
        return out_of_memory(client, ret_error);
    if (r == ACTC_DROPPED)
        return error_set(ret_error, r, client->server.text,
                         "the reply was dropped: %zu bytes of replies waited to be taken "
                         "(max_kept_bytes): take them sooner",
                         client->options.max_kept_bytes);
    if (r != 0)
        return error_set(ret_error, r, client->server.text,
                         "the reply is not a response, or nested deeper than %d levels",
                         FRAME_MAX_DEPTH);
    const msgpack_object *refusal = actc_reply_error(reply);
    if (refusal) {
        r = error_set_server(ret_error, client->server.text, refusal);
        actc_reply_free(reply);
        return r;
    }
    if (ret_reply)
        *ret_reply = reply;
    else
        actc_reply_free(reply);
    return 0;
}

int client_pump(struct actc *client, uint64_t deadline_ms)
{
    bool is_last = clock_ms() >= deadline_ms;
    int r = wire_turn(&client->wire, deadline_ms);
    if (r != 0)
        return r;
    r = take_replies(client);
    return r == 0 && is_last ? WIRE_TIMEOUT : r;
}

int client_explain(const struct actc *client, int r, uint32_t timeout_ms,
                   struct actc_error *ret_error)
{
    if (r == WIRE_TIMEOUT)
        return timed_out(client, timeout_ms, ret_error);
    if (r == WIRE_LOST)
        return lost(client, ret_error);
    return r == -ENOMEM ? out_of_memory(client, ret_error) : r;
}

int actc_connect(const char *address, const struct actc_options *options, struct actc **ret_client,
                 struct actc_error *ret_error)
{
    const char *reason;
    int fd;
    struct actc_options o = with_defaults(options);
    if (o.max_calls > LIMIT_MAX_CALLS)
        return error_set(ret_error, -EINVAL, address, "max_calls is more than %u", LIMIT_MAX_CALLS);
    struct actc *client = calloc(1, sizeof *client);
    if (!client)
        return error_set(ret_error, -ENOMEM, address, "out of memory");
    int r = address_parse(address, &client->server, &reason);
    if (r != 0) {
        free(client);
        return error_set(ret_error, ACTC_BAD_ADDRESS, address, "%s", reason);
    }
    r = connect_to(&client->server, o.connect_timeout_ms, &fd, ret_error);
    if (r != 0) {
        free(client);
        return r;
    }
    client->options = o;
    wire_init(&client->wire, fd, o.max_reply_bytes);
    calls_init(&client->calls, o.max_calls);
    buf_pool_init(&client->scratch_pool, SIZE_MAX);
    buf_init(&client->scratch, &client->scratch_pool);
    *ret_client = client;
    return 0;
}

void actc_close(struct actc *client)
{
    if (!client)
        return;
    wire_deinit(&client->wire);
    calls_deinit(&client->calls);
    actc_replies_free(&client->held);
    buf_release(&client->scratch);
    buf_pool_deinit(&client->scratch_pool);
    free(client);
}

const char *actc_address(const struct actc *client)
{
    return client->server.text;
}

void actc_set_call_timeout(struct actc *client, uint32_t timeout_ms)
{
    client->options.call_timeout_ms = timeout_ms ? timeout_ms : DEFAULT_TIMEOUT_MS;
}

void actc_set_pin(struct actc *client, const uint64_t *identity)
{
    client->pinned = identity ? *identity : 0;
    client->pin = identity ? &client->pinned : NULL;
}

void actc_counters(const struct actc *client, struct actc_counters *ret_counters)
{
    *ret_counters = client->counters;
}

int actc_send(struct actc *client, const char *method, const void *params, size_t params_len,
              uint32_t *ret_call, struct actc_error *ret_error)
{
    struct call *call;
    uint32_t timeout_ms = client->options.call_timeout_ms;
    uint64_t deadline_ms = clock_ms() + timeout_ms;
    /* What calls that timed out have left behind goes first, or it would pile up. */
    int r = drain(client, GATHER_BYTES, deadline_ms);
    if (r != 0 || client->wire.fd < 0)
        return client_explain(client, r != 0 ? r : WIRE_LOST, timeout_ms, ret_error);
    r = calls_add(&client->calls, &call);
    if (r == CALLS_FULL)
        return error_set(ret_error, ACTC_FULL, client->server.text,
                         "%u calls are open (max_calls): wait for some of them first",
                         client->options.max_calls);
    if (r != 0)
        return client_explain(client, r, timeout_ms, ret_error);
    uint32_t id = call->id;
    call->timeout_ms = timeout_ms;
    call->deadline_ms = deadline_ms;
    r = queue_request(client, id, method, slice_of(params, params_len));
    if (r == 0)
        r = drain(client, GATHER_BYTES, deadline_ms);
    /* A server that refuses a request before it has read all of it answers, and may then close: the
     * answer says more. */
    if (r != 0 && !calls_find(&client->calls, id)->is_settled) {
        actc_forget(client, id);
        return client_explain(client, r, timeout_ms, ret_error);
    }
    *ret_call = id;
    return 0;
}

int actc_flush(struct actc *client, struct actc_error *ret_error)
{
    uint32_t timeout_ms = client->options.call_timeout_ms;
    int r = drain(client, 1, clock_ms() + timeout_ms);
    if (r == 0 && client->wire.fd < 0)
        r = WIRE_LOST;
    return r == 0 ? 0 : client_explain(client, r, timeout_ms, ret_error);
}

int actc_wait(struct actc *client, uint32_t id, struct actc_reply **ret_reply,
              struct actc_error *ret_error)
{
    struct call *call = calls_find(&client->calls, id);
    if (!call)
        return error_set(ret_error, -EINVAL, client->server.text, "there is no open call %u", id);
    int r = 0;
    client->awaited = call->is_settled ? 0 : id;
    if (!call->is_settled)
        r = wire_flush(&client->wire);
    while (r == 0 && !call->is_settled)
        r = client_pump(client, call->deadline_ms);
    if (call->is_settled) {
        r = take_settled(client, call, ret_reply, ret_error);
    } else {
        r = client_explain(client, r, call->timeout_ms, ret_error);
        actc_forget(client, id);
    }
    client->awaited = 0;
    return r;
}

void actc_forget(struct actc *client, uint32_t id)
{
    struct call *call = calls_find(&client->calls, id);
    if (!call)
        return;
    if (id != client->awaited)
        client->kept_bytes -= call->reply_len;
    calls_remove(&client->calls, call);
}

int actc_call(struct actc *client, const char *method, const void *params, size_t params_len,
              struct actc_reply **ret_reply, struct actc_error *ret_error)
{
    uint32_t call;
    int r = actc_send(client, method, params, params_len, &call, ret_error);
    return r != 0 ? r : actc_wait(client, call, ret_reply, ret_error);
}
