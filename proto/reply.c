/*
 * reply: see reply.h.
 */
#include "proto/reply.h"

#include <endian.h>
#include <inttypes.h>
#include <stdio.h>

#define ERROR_TEXT_MAX 1280

/* An array is opened with the longest head; a short one is moved to the head that fits. */
#define ARRAY_HEAD_BYTES  5
#define SHORT_ARRAY_BYTES ((size_t)64 * 1024)

static int fail(struct reply *reply, int failure)
{
    if (reply->failure == 0)
        reply->failure = failure;
    return -1;
}

/* Numbers and heads of containers are a few bytes each: a call of memcpy would cost more than they
 * do. */
static inline void copy_short(uint8_t *to, const char *from, size_t len)
{
    switch (len) {
    case 0: /* an empty string may have no address */
        break;
    case 1:
        *to = (uint8_t)*from;
        break;
    case 3:
        memcpy(to, from, 3);
        break;
    case 5:
        memcpy(to, from, 5);
        break;
    default:
        memcpy(to, from, len);
    }
}

/* Room for so much more behind the tail. It stops at a failure; `failure` keeps which one it was.
 */
static inline int make_room(struct reply *reply, size_t len)
{
    struct buf *out = reply->out;
    if (reply->failure != 0 || len > reply->max_bytes - (buf_len(out) - reply->mark))
        return fail(reply, REPLY_TOO_LARGE);
    if (len > buf_free_bytes(out)) {
        int r = buf_reserve(out, len);
        if (r != 0)
            return fail(reply, r == BUF_FULL ? REPLY_NO_ROOM : r);
    }
    return 0;
}

/* msgpack-c's writer. */
static int on_bytes(void *context, const char *p, size_t len)
{
    struct reply *reply = context;
    struct buf *out = reply->out;
    if (make_room(reply, len) != 0)
        return -1;
    copy_short(out->p + out->tail, p, len);
    out->tail += len;
    return 0;
}

size_t reply_len(const struct reply *reply)
{
    return buf_len(reply->out) - reply->mark;
}

struct slice reply_part(const struct reply *reply, size_t at, size_t len)
{
    return slice_of(reply->out->p + reply->out->head + reply->mark + at, len);
}

void reply_cut(struct reply *reply, size_t len)
{
    reply->out->tail = reply->out->head + reply->mark + len;
    reply->failure = 0;
}

void reply_resume(struct reply *reply, struct buf *out, uint32_t msgid, struct reply_mode mode,
                  size_t max_bytes)
{
    *reply = (struct reply){.out = out, .max_bytes = max_bytes, .msgid = msgid, .mode = mode};
    msgpack_packer_init(&reply->packer, reply, on_bytes);
}

void reply_begin(struct reply *reply, struct buf *out, uint32_t msgid, struct reply_mode mode,
                 size_t max_bytes)
{
    reply_resume(reply, out, msgid, mode, max_bytes);
    reply->mark = buf_len(out);
    reply_array(reply, 4);
    reply_number(reply, 1);
    reply_number(reply, msgid);
    reply_nil(reply);
}

void reply_begin_notification(struct reply *reply, struct buf *out, const char *method,
                              struct reply_mode mode, size_t max_bytes)
{
    reply_resume(reply, out, 0, mode, max_bytes);
    reply->mark = buf_len(out);
    reply_array(reply, 3);
    reply_number(reply, 2);
    reply_text(reply, method);
}

void reply_nil(struct reply *reply)
{
    msgpack_pack_nil(&reply->packer);
}

void reply_bool(struct reply *reply, bool value)
{
    if (value)
        msgpack_pack_true(&reply->packer);
    else
        msgpack_pack_false(&reply->packer);
}

void reply_number(struct reply *reply, uint64_t number)
{
    msgpack_pack_uint64(&reply->packer, number);
}

void reply_u64(struct reply *reply, uint64_t value)
{
    char text[24];
    if (!reply->mode.u64_as_string) {
        reply_number(reply, value);
        return;
    }
    snprintf(text, sizeof text, "%" PRIu64, value);
    reply_text(reply, text);
}

void reply_text(struct reply *reply, const char *text)
{
    msgpack_pack_str_with_body(&reply->packer, text, strlen(text));
}

void reply_bytes(struct reply *reply, struct slice bytes)
{
    msgpack_pack_bin_with_body(&reply->packer, bytes.p, bytes.len);
}

uint8_t *reply_bytes_room(struct reply *reply, size_t len)
{
    struct buf *out = reply->out;
    msgpack_pack_bin(&reply->packer, len);
    if (make_room(reply, len) != 0)
        return NULL;
    out->tail += len;
    return out->p + out->tail - len;
}

void reply_bytes_of(struct reply *reply, struct slice first, struct slice second)
{
    msgpack_pack_bin(&reply->packer, first.len + second.len);
    msgpack_pack_bin_body(&reply->packer, first.p, first.len);
    msgpack_pack_bin_body(&reply->packer, second.p, second.len);
}

size_t reply_open_array(struct reply *reply)
{
    static const char head[] = {(char)0xdd, 0, 0, 0, 0};
    size_t at = reply_len(reply);
    on_bytes(reply, head, sizeof head);
    return at;
}

void reply_close_array(struct reply *reply, size_t at, size_t n_elements)
{
    if (reply->failure != 0)
        return;
    uint8_t *head = reply->out->p + reply->out->head + reply->mark + at;
    size_t content = reply_len(reply) - at - ARRAY_HEAD_BYTES, len = ARRAY_HEAD_BYTES;
    uint32_t n = htobe32((uint32_t)n_elements);
    if (content > SHORT_ARRAY_BYTES || n_elements > UINT16_MAX) {
        memcpy(head + 1, &n, sizeof n);
    } else if (n_elements >= 16) {
        head[0] = 0xdc;
        memcpy(head + 1, (const uint8_t *)&n + 2, 2);
        len = 3;
    } else {
        head[0] = (uint8_t)(0x90 | n_elements);
        len = 1;
    }
    if (len < ARRAY_HEAD_BYTES && content > 0)
        memmove(head + len, head + ARRAY_HEAD_BYTES, content);
    reply->out->tail -= ARRAY_HEAD_BYTES - len;
}

void reply_array(struct reply *reply, size_t n_elements)
{
    msgpack_pack_array(&reply->packer, n_elements);
}

void reply_map(struct reply *reply, size_t n_pairs)
{
    msgpack_pack_map(&reply->packer, n_pairs);
}

int reply_end(struct reply *reply)
{
    int r = reply->failure;
    if (r != 0)
        reply_cut(reply, 0);
    return r;
}

/* A str on the wire is UTF-8, and file and method names are any bytes: what is not printable ASCII
 * is escaped. */
static void make_printable(const char *text, char *line, size_t size)
{
    size_t at = 0;
    for (; *text && at + 5 < size; text++) {
        unsigned char c = (unsigned char)*text;
        if (c >= 0x20 && c < 0x7f)
            line[at++] = (char)c;
        else
            at += (size_t)snprintf(line + at, size - at, "\\x%02x", c);
    }
    line[at] = '\0';
}

int reply_error(struct reply *reply, enum proto_error error, const char *text)
{
    char line[ERROR_TEXT_MAX], printable[ERROR_TEXT_MAX];
    snprintf(line, sizeof line, "%s: %s", proto_error_name(error), text);
    make_printable(line, printable, sizeof printable);
    reply_cut(reply, 0);
    /* An error must come through where the reply was too large for its limit. */
    reply->max_bytes = SIZE_MAX;
    reply_array(reply, 4);
    reply_number(reply, 1);
    reply_number(reply, reply->msgid);
    if (!reply->mode.errors_as_string) {
        reply_array(reply, 2);
        reply_number(reply, (uint64_t)error);
    }
    reply_text(reply, printable);
    reply_nil(reply);
    return reply_end(reply);
}
