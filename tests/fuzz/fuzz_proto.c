/*
 * fuzz_proto: any stream of bytes, through frame_next and request_decode. Input: a byte that
 * chooses max_bytes, a byte that chooses how the stream is cut, a byte that chooses max_elements,
 * the stream. However it is cut, the same messages and the same end must come out.
 */
#include "bytes.h"
#include "proto/frame.h"
#include "proto/request.h"

#include <stdio.h>
#include <stdlib.h>

#define STREAM_MAX 4096

/* What one frame_next found. */
struct event {
    int r;
    size_t begin, len; /* of the message in the stream */
    bool has_msgid;
    uint8_t kind;
    uint32_t msgid;
};

struct events {
    struct event list[STREAM_MAX + 1];
    size_t n;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                            \
    do {                                                                            \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                                \
        }                                                                           \
    } while (0)

static bool is_inside(struct slice part, struct slice whole)
{
    return part.len == 0 || (part.p >= whole.p && part.len <= whole.len &&
                             part.p - whole.p <= (ptrdiff_t)(whole.len - part.len));
}

static void walk_object(const msgpack_object *object, struct slice message, unsigned depth)
{
    struct slice bytes;
    if (object->type == MSGPACK_OBJECT_ARRAY || object->type == MSGPACK_OBJECT_MAP)
        CHECK(depth <= FRAME_MAX_DEPTH);
    if (param_bytes(object, &bytes))
        CHECK(is_inside(bytes, message));
    if (object->type == MSGPACK_OBJECT_ARRAY)
        for (uint32_t i = 0; i < object->via.array.size; i++)
            walk_object(&object->via.array.ptr[i], message, depth + 1);
    if (object->type != MSGPACK_OBJECT_MAP)
        return;
    const msgpack_object *option = param_option(object, "limit");
    CHECK(!option || object->via.map.size > 0);
    for (uint32_t i = 0; i < object->via.map.size; i++) {
        walk_object(&object->via.map.ptr[i].key, message, depth + 1);
        walk_object(&object->via.map.ptr[i].val, message, depth + 1);
    }
}

/* Values in it, itself included. */
static uint64_t count_values(const msgpack_object *object)
{
    uint64_t n = 1;
    if (object->type == MSGPACK_OBJECT_ARRAY)
        for (uint32_t i = 0; i < object->via.array.size; i++)
            n += count_values(&object->via.array.ptr[i]);
    if (object->type == MSGPACK_OBJECT_MAP)
        for (uint32_t i = 0; i < object->via.map.size; i++)
            n += count_values(&object->via.map.ptr[i].key) +
                 count_values(&object->via.map.ptr[i].val);
    return n;
}

/* A message is told as one of too many values if it has more, without itself, and not otherwise. */
static void check_count(struct slice message, uint64_t max_elements, int r)
{
    msgpack_unpacked unpacked;
    msgpack_unpacked_init(&unpacked);
    CHECK(msgpack_unpack_next(&unpacked, (const char *)message.p, message.len, NULL) ==
          MSGPACK_UNPACK_SUCCESS);
    CHECK((r == FRAME_TOO_MANY) == (count_values(&unpacked.data) - 1 > max_elements));
    msgpack_unpacked_destroy(&unpacked);
}

static void decode(struct request_decoder *decoder, struct slice input, const struct frame *frame)
{
    struct bytes copy = bytes_copy(input.p, input.len);
    struct slice message = slice_of(copy.p, copy.len);
    struct request request;
    const void *chunk = decoder->zone.chunk_list.head;
    int r = request_decode(decoder, message, &request);
    CHECK(decoder->zone.chunk_list.head == chunk);
    CHECK((r == REQUEST_REPLIED) == (frame->kind == FRAME_RESPONSE));
    CHECK((r == REQUEST_NOTIFIED) == (frame->kind == FRAME_NOTIFICATION));
    if (frame->kind == FRAME_REQUEST)
        CHECK(frame->has_msgid && request.msgid == frame->msgid);
    if (r == REQUEST_BAD)
        CHECK(decoder->reason);
    if (r == 0) {
        CHECK(is_inside(request.method, message));
        for (uint32_t i = 0; i < request.n_params; i++)
            walk_object(&request.params[i], message, 3);
    }
    bytes_free(&copy);
}

static void note(struct events *events, const struct frame *frame, int r, size_t begin, size_t len)
{
    events->list[events->n++] = (struct event){.r = r,
                                               .begin = begin,
                                               .len = len,
                                               .has_msgid = frame->has_msgid,
                                               .kind = frame->kind,
                                               .msgid = frame->msgid};
}

/* All messages of the stream as far as fed bytes of it have come. False: the stream is over. */
static bool take_messages(struct frame *frame, struct slice stream, size_t *begin,
                          struct events *events)
{
    for (;;) {
        struct slice message;
        struct bytes input = bytes_copy(stream.p + *begin, stream.len - *begin);
        int r = frame_next(frame, slice_of(input.p, input.len), &message);
        bool is_message = r == 0 || r == FRAME_TOO_DEEP || r == FRAME_TOO_MANY;
        if (is_message) {
            CHECK(message.p == input.p && message.len >= 3 && message.len <= frame->max_bytes);
            note(events, frame, r, *begin, message.len);
            *begin += message.len;
        } else if (r == FRAME_MORE) {
            CHECK(input.len < frame->max_bytes);
        } else {
            CHECK(frame->reason);
            note(events, frame, r, *begin, 0);
        }
        bytes_free(&input);
        if (!is_message)
            return r == FRAME_MORE;
    }
}

/* cut 0: whole; 1: byte by byte; else pieces of up to cut bytes, in a fixed disorder. */
static void feed(struct slice stream, size_t max_bytes, uint64_t max_elements, unsigned cut,
                 struct events *events)
{
    struct frame frame;
    size_t fed = 0, begin = 0;
    uint32_t random = cut;
    events->n = 0;
    frame_init(&frame, max_bytes, max_elements);
    do {
        random = random * 1664525 + 1013904223;
        size_t piece = cut == 0 ? stream.len : 1 + (random >> 16) % cut;
        fed = piece < stream.len - fed ? fed + piece : stream.len;
    } while (take_messages(&frame, slice_of(stream.p, fed), &begin, events) && fed < stream.len);
}

static void compare(const struct events *a, const struct events *b)
{
    CHECK(a->n == b->n);
    for (size_t i = 0; i < a->n; i++) {
        const struct event *x = &a->list[i], *y = &b->list[i];
        CHECK(x->r == y->r && x->begin == y->begin && x->len == y->len);
        CHECK(x->has_msgid == y->has_msgid);
        CHECK(!x->has_msgid || x->msgid == y->msgid);
        CHECK(x->r == FRAME_BROKEN || x->r == FRAME_TOO_LARGE || x->kind == y->kind);
    }
}

static void decode_all(struct slice stream, size_t max_bytes, uint64_t max_elements,
                       const struct events *events)
{
    struct request_decoder decoder;
    CHECK(request_decoder_init(&decoder, max_bytes, max_elements) == 0);
    for (size_t i = 0; i < events->n; i++) {
        const struct event *e = &events->list[i];
        struct frame frame = {.kind = e->kind, .has_msgid = e->has_msgid, .msgid = e->msgid};
        struct slice message = slice_of(stream.p + e->begin, e->len);
        if (e->r == 0)
            decode(&decoder, message, &frame);
        if (e->r == 0 || e->r == FRAME_TOO_MANY)
            check_count(message, max_elements, e->r);
    }
    request_decoder_deinit(&decoder);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct events whole, cut;
    if (size < 3 || size > STREAM_MAX)
        return 0;
    size_t max_bytes = data[0] < 128 ? STREAM_MAX : (size_t)data[0] - 127;
    uint64_t max_elements = data[2] == 0 ? UINT64_MAX : (uint64_t)data[2] - 1;
    struct slice stream = slice_of(data + 3, size - 3);
    feed(stream, max_bytes, max_elements, 0, &whole);
    feed(stream, max_bytes, max_elements, data[1] == 0 ? 1 : data[1], &cut);
    compare(&whole, &cut);
    decode_all(stream, max_bytes, max_elements, &whole);
    return 0;
}
