/*
 * reply: see reply.h.
 *
 * msgpack-c decodes into a zone that belongs to the reply; its byte strings point into the
 * message, which belongs to the reply too.
 */
#include "client/reply.h"

#include "proto/frame.h"
#include "proto/request.h"

#include <errno.h>
#include <stdlib.h>

/* Most replies are one value. */
#define SMALL_REPLY_BYTES 256
#define SMALL_CHUNK_BYTES 512

struct actc_reply {
    uint8_t *bytes;          /* owned */
    msgpack_zone zone;       /* owned */
    msgpack_object_array is; /* [1, msgid, error, result], in zone */
    struct actc_reply *next; /* in a list */
};

static bool is_response(const msgpack_object *message)
{
    return message->type == MSGPACK_OBJECT_ARRAY && message->via.array.size == 4 &&
           message->via.array.ptr[0].type == MSGPACK_OBJECT_POSITIVE_INTEGER &&
           message->via.array.ptr[0].via.u64 == FRAME_RESPONSE;
}

int actc_reply_new(uint8_t *bytes, size_t len, struct actc_reply **ret_reply)
{
    msgpack_object message;
    size_t used = 0;
    struct actc_reply *reply = calloc(1, sizeof *reply);
    if (!reply)
        return -ENOMEM;
    size_t chunk = len <= SMALL_REPLY_BYTES ? SMALL_CHUNK_BYTES : MSGPACK_ZONE_CHUNK_SIZE;
    if (!msgpack_zone_init(&reply->zone, chunk)) {
        free(reply);
        return -ENOMEM;
    }
    msgpack_unpack_return r =
        msgpack_unpack((const char *)bytes, len, &used, &reply->zone, &message);
    if (r != MSGPACK_UNPACK_SUCCESS || !is_response(&message)) {
        actc_reply_free(reply);
        return r == MSGPACK_UNPACK_NOMEM_ERROR ? -ENOMEM : ACTC_BAD_REPLY;
    }
    reply->bytes = bytes;
    reply->is = message.via.array;
    *ret_reply = reply;
    return 0;
}

void actc_replies_add(struct actc_reply **list, struct actc_reply *reply)
{
    reply->next = *list;
    *list = reply;
}

void actc_replies_free(struct actc_reply **list)
{
    while (*list) {
        struct actc_reply *reply = *list;
        *list = reply->next;
        actc_reply_free(reply);
    }
}

const msgpack_object *actc_reply_error(const struct actc_reply *reply)
{
    const msgpack_object *error = &reply->is.ptr[2];
    return error->type == MSGPACK_OBJECT_NIL ? NULL : error;
}

uint32_t actc_error_number(const msgpack_object *error, struct slice *ret_text)
{
    uint32_t number = 0;
    const msgpack_object *text = error;
    *ret_text = slice_of_str("an error of a form that this client does not know");
    if (error->type == MSGPACK_OBJECT_ARRAY && error->via.array.size == 2) {
        const msgpack_object *first = &error->via.array.ptr[0];
        if (first->type == MSGPACK_OBJECT_POSITIVE_INTEGER && first->via.u64 <= UINT32_MAX)
            number = (uint32_t)first->via.u64;
        text = &error->via.array.ptr[1];
    }
    param_bytes(text, ret_text);
    return number;
}

const msgpack_object *actc_reply_result(const struct actc_reply *reply)
{
    return &reply->is.ptr[3];
}

void actc_reply_free(struct actc_reply *reply)
{
    if (!reply)
        return;
    msgpack_zone_destroy(&reply->zone);
    free(reply->bytes);
    free(reply);
}
