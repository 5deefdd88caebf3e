/*
 * watch: see watch.h; and the calls about generations.
 *
 * Notifications come whenever the server has news, in between replies. Whoever waits for anything
 * leaves them here; actc_next_generation takes them.
 */
#include "base/clock.h"
#include "client/error.h"
#include "client/params.h"
#include "client/result.h"
#include "proto/request.h"

#include <errno.h>

/* Of a notification that is decoded: news has some 50 bytes, and later versions may tell more. */
#define MAX_NEWS_BYTES  4096
#define NEWS_ZONE_BYTES 512

/* notification: [2, "generation", [{number, identity}]]. Other methods: false. */
static bool read_news(struct watch *watch, const msgpack_object *notification)
{
    struct slice method;
    if (notification->type != MSGPACK_OBJECT_ARRAY || notification->via.array.size < 2)
        return false;
    const msgpack_object_array *members = &notification->via.array;
    if (!param_bytes(&members->ptr[1], &method) || !slice_equal(method, slice_of_str("generation")))
        return false;
    bool has_params = members->size == 3 && members->ptr[2].type == MSGPACK_OBJECT_ARRAY &&
                      members->ptr[2].via.array.size >= 1;
    watch->has_news = true;
    watch->outcome = has_params
                         ? actc_read_generation(members->ptr[2].via.array.ptr, &watch->newest)
                         : ACTC_BAD_REPLY;
    return true;
}

bool watch_notice(struct watch *watch, struct slice message)
{
    msgpack_object notification;
    msgpack_zone zone;
    size_t used = 0;
    bool is_news = false;
    if (!watch->is_on || message.len > MAX_NEWS_BYTES)
        return false;
    msgpack_unpack_return r = MSGPACK_UNPACK_NOMEM_ERROR;
    if (msgpack_zone_init(&zone, NEWS_ZONE_BYTES)) {
        r = msgpack_unpack((const char *)message.p, message.len, &used, &zone, &notification);
        is_news = r == MSGPACK_UNPACK_SUCCESS && read_news(watch, &notification);
        msgpack_zone_destroy(&zone);
    }
    if (r != MSGPACK_UNPACK_NOMEM_ERROR)
        return is_news;
    watch->has_news = true; /* it may be: who waits for it must not wait on */
    watch->outcome = -ENOMEM;
    return true;
}

/* The news that there is. */
static int take_news(struct actc *client, struct actc_generation *ret_generation,
                     struct actc_error *ret_error)
{
    struct watch *watch = &client->watch;
    watch->has_news = false;
    if (watch->outcome == ACTC_BAD_REPLY)
        return result_bad(client, "generation", ret_error);
    if (watch->outcome != 0)
        return client_explain(client, watch->outcome, 0, ret_error);
    *ret_generation = watch->newest;
    return 0;
}

/* A call that waits on the server has that time beyond its own. */
static void extend(struct actc *client, uint32_t id, uint32_t ms)
{
    struct call *call = calls_find(&client->calls, id);
    call->deadline_ms += ms;
    call->timeout_ms = ms > UINT32_MAX - call->timeout_ms ? UINT32_MAX : call->timeout_ms + ms;
}

int actc_generation(struct actc *client, struct actc_generation *ret_generation,
                    struct actc_error *ret_error)
{
    struct actc_reply *reply;
    int r = actc_call(client, "hello", NULL, 0, &reply, ret_error);
    if (r != 0)
        return r;
    const msgpack_object *result = actc_reply_result(reply);
    const msgpack_object *generation =
        result->type == MSGPACK_OBJECT_MAP ? param_option(result, "generation") : NULL;
    r = generation ? actc_read_generation(generation, ret_generation) : ACTC_BAD_REPLY;
    actc_reply_free(reply);
    return r == 0 ? 0 : result_bad(client, "hello", ret_error);
}

int actc_wait_generation(struct actc *client, uint64_t identity, uint32_t timeout_ms,
                         struct actc_error *ret_error)
{
    struct actc_reply *reply;
    msgpack_packer packer;
    uint32_t call;
    params_begin(client, &packer);
    int r = msgpack_pack_array(&packer, 2);
    if (r == 0)
        r = msgpack_pack_uint64(&packer, identity);
    if (r == 0)
        r = msgpack_pack_uint32(&packer, timeout_ms);
    r = params_send(client, "wait_generation", r, &call, ret_error);
    if (r != 0)
        return r;
    extend(client, call, timeout_ms);
    r = actc_wait(client, call, &reply, ret_error);
    if (r != 0)
        return r;
    r = result_bool(actc_reply_result(reply));
    actc_reply_free(reply);
    return r == ACTC_BAD_REPLY ? result_bad(client, "wait_generation", ret_error) : r;
}

int actc_watch(struct actc *client, struct actc_error *ret_error)
{
    struct actc_reply *reply;
    bool was_on = client->watch.is_on;
    client->watch.is_on = true; /* the first news may come before the reply */
    int r = actc_call(client, "watch", NULL, 0, &reply, ret_error);
    if (r == 0) {
        r = result_bool(actc_reply_result(reply));
        actc_reply_free(reply);
        if (r != 0)
            r = result_bad(client, "watch", ret_error);
    }
    if (r != 0 && !was_on)
        client->watch = (struct watch){0};
    return r;
}

int actc_next_generation(struct actc *client, uint32_t timeout_ms,
                         struct actc_generation *ret_generation, struct actc_error *ret_error)
{
    uint64_t deadline_ms = timeout_ms == ACTC_FOREVER ? UINT64_MAX : clock_ms() + timeout_ms;
    if (!client->watch.is_on)
        return error_set(ret_error, -EINVAL, client->server.text,
                         "nothing is watched: call actc_watch first");
    int r = client->watch.has_news ? 0 : wire_flush(&client->wire);
    while (r == 0 && !client->watch.has_news)
        r = client_pump(client, deadline_ms);
    if (client->watch.has_news)
        return take_news(client, ret_generation, ret_error);
    if (r == WIRE_TIMEOUT)
        return error_set(ret_error, ACTC_TIMEOUT, client->server.text,
                         "no other generation within %u ms", timeout_ms);
    return client_explain(client, r, timeout_ms, ret_error);
}
