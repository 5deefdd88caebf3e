/*
 * request: see request.h.
 */
#include "proto/request.h"

#include "proto/frame.h"

#include <assert.h>
#include <errno.h>

/* An element, of one byte or more, decodes to one msgpack_object; a map's pair is two. */
#define DECODED_BYTES_PER_ELEMENT sizeof(msgpack_object)
/* The zone's own header and the alignment of its first array. */
#define DECODED_SLACK_BYTES 4096

static int bad(struct request_decoder *decoder, const char *reason)
{
    decoder->reason = reason;
    return REQUEST_BAD;
}

/* Kind and msgid were checked by frame_next, so their types are known. */
static int read_request(struct request_decoder *decoder, const msgpack_object_array *message,
                        size_t bytes, struct request *ret)
{
    struct request request = {.msgid = (uint32_t)message->ptr[1].via.u64, .bytes = bytes};
    ret->msgid = request.msgid;
    if (message->size != 4)
        return bad(decoder, "a request is [0, msgid, method, params]");
    if (!param_bytes(&message->ptr[2], &request.method))
        return bad(decoder, "the method is not a string");
    if (message->ptr[3].type != MSGPACK_OBJECT_ARRAY)
        return bad(decoder, "the parameters are not an array");
    request.params = message->ptr[3].via.array.ptr;
    request.n_params = message->ptr[3].via.array.size;
    *ret = request;
    return 0;
}

int request_decoder_init(struct request_decoder *decoder, size_t max_bytes, uint64_t max_elements)
{
    *decoder = (struct request_decoder){0};
    size_t most = max_elements < max_bytes ? (size_t)max_elements : max_bytes;
    size_t size = most * DECODED_BYTES_PER_ELEMENT + DECODED_SLACK_BYTES;
    return msgpack_zone_init(&decoder->zone, size) ? 0 : -ENOMEM;
}

void request_decoder_deinit(struct request_decoder *decoder)
{
    msgpack_zone_destroy(&decoder->zone);
}

int request_decode(struct request_decoder *decoder, struct slice message, struct request *ret)
{
    msgpack_object object;
    size_t used = 0;
    msgpack_zone_clear(&decoder->zone);
    decoder->n_decoded++;
    msgpack_unpack_return r =
        msgpack_unpack((const char *)message.p, message.len, &used, &decoder->zone, &object);
    if (r == MSGPACK_UNPACK_NOMEM_ERROR)
        return -ENOMEM;
    /* frame_next let through one whole well-formed message that begins with an array. */
    assert(r == MSGPACK_UNPACK_SUCCESS && used == message.len);
    assert(object.type == MSGPACK_OBJECT_ARRAY && object.via.array.size >= 2);
    switch (object.via.array.ptr[0].via.u64) {
    case FRAME_REQUEST:
        return read_request(decoder, &object.via.array, message.len, ret);
    case FRAME_RESPONSE:
        return REQUEST_REPLIED;
    default:
        return REQUEST_NOTIFIED;
    }
}

bool param_bytes(const msgpack_object *param, struct slice *ret)
{
    if (param->type == MSGPACK_OBJECT_STR)
        *ret = slice_of(param->via.str.ptr, param->via.str.size);
    else if (param->type == MSGPACK_OBJECT_BIN)
        *ret = slice_of(param->via.bin.ptr, param->via.bin.size);
    else
        return false;
    return true;
}

const msgpack_object *param_option(const msgpack_object *map, const char *name)
{
    struct slice wanted = slice_of_str(name), key;
    for (uint32_t i = 0; i < map->via.map.size; i++)
        if (param_bytes(&map->via.map.ptr[i].key, &key) && slice_equal(key, wanted))
            return &map->via.map.ptr[i].val;
    return NULL;
}
