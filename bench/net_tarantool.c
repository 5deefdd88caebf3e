/*
 * net_tarantool: requests to Tarantool (IPROTO): a call of the function that
 * bench/net_tarantool.lua defines, and selects.
 */
#include "bench/net_format.h"
#include "bench/net_msgpack.h"

#define GREETING_BYTES 128
/* Of the space in bench/net_tarantool.lua, and its index in order. */
#define SPACE 512
#define INDEX 1

enum { KEY_CODE = 0x00, KEY_SYNC = 0x01, KEY_SPACE = 0x10, KEY_INDEX = 0x11, KEY_LIMIT = 0x12 };
enum { KEY_OFFSET = 0x13, KEY_ITERATOR = 0x14, KEY_KEY = 0x20, KEY_TUPLE = 0x21 };
enum { KEY_FUNCTION = 0x22, KEY_DATA = 0x30, KEY_ERROR = 0x31 };
enum { CODE_SELECT = 0x01, CODE_CALL = 0x0a, ITERATOR_GE = 5, ITERATOR_GT = 6 };

/* The length stands in front of all; it is written at the end. */
static uint8_t *put_head(uint8_t *out, uint32_t id, uint8_t code)
{
    uint8_t *p = out + 5;
    *p++ = 0x82;
    *p++ = KEY_CODE;
    *p++ = code;
    *p++ = KEY_SYNC;
    *p++ = 0xce;
    return net_put_big(p, id, 4);
}

static size_t put_length(uint8_t *out, const uint8_t *end)
{
    *out = 0xce;
    net_put_big(out + 1, (uint64_t)(end - out - 5), 4);
    return (size_t)(end - out);
}

/* The keys go as one string that holds them, and the values come so: net_tarantool.lua tells why.
 */
static size_t put_mget(uint8_t *out, uint32_t id, const struct slice *keys, uint32_t n)
{
    uint8_t *p = put_head(out, id, CODE_CALL);
    *p++ = 0x82;
    *p++ = KEY_FUNCTION;
    p = net_put_str(p, slice_of_str("mget"));
    *p++ = KEY_TUPLE;
    p = net_put_array(p, 1);
    uint8_t *packed = p;
    *p++ = 0xdb;
    p += 4;
    for (uint32_t i = 0; i < n; i++)
        p = net_put_str(p, keys[i]);
    net_put_big(packed + 1, (uint64_t)(p - packed - 5), 4);
    return put_length(out, p);
}

static size_t put_scan(uint8_t *out, uint32_t id, const struct slice *cursor, uint32_t limit)
{
    uint8_t *p = put_head(out, id, CODE_SELECT);
    *p++ = 0x86;
    *p++ = KEY_SPACE;
    *p++ = 0xcd;
    p = net_put_big(p, SPACE, 2);
    p = net_put_bytes(p, (uint8_t[]){KEY_INDEX, INDEX, KEY_OFFSET, 0, KEY_LIMIT, 0xcd}, 6);
    p = net_put_big(p, limit, 2);
    *p++ = KEY_ITERATOR;
    *p++ = cursor->len > 0 ? ITERATOR_GT : ITERATOR_GE;
    *p++ = KEY_KEY;
    p = net_put_array(p, cursor->len > 0 ? 1 : 0);
    if (cursor->len > 0)
        p = net_put_str(p, *cursor);
    return put_length(out, p);
}

/* Up to the array of what the request gives. */
static bool take_head(const uint8_t *p, size_t len, struct net_reply *reply, struct net_reader *r)
{
    *r = (struct net_reader){p, p + len, false};
    uint64_t size = net_read_uint(r);
    if (!net_has(r, size))
        return false;
    for (uint32_t n = net_read_map(r); n > 0; n--) {
        uint64_t key = net_read_uint(r), value = net_read_uint(r);
        if (key == KEY_SYNC)
            reply->id = (uint32_t)value;
    }
    net_read_map(r);
    uint64_t key = net_read_uint(r);
    if (key == KEY_DATA)
        return true;
    struct slice text = net_read_bytes(r);
    errx(1, "Tarantool says %.*s", (int)text.len, (const char *)text.p);
}

static size_t length(const struct net_reader *r, const uint8_t *p)
{
    if (r->is_short)
        errx(1, "the reply is longer than it says");
    return (size_t)(r->p - p);
}

static size_t take_mget(const uint8_t *p, size_t len, struct net_reply *reply)
{
    struct net_reader r;
    if (!take_head(p, len, reply, &r))
        return 0;
    if (net_read_array(&r) != 1)
        errx(1, "the function gives more than one thing");
    struct slice packed = net_read_bytes(&r);
    struct net_reader values = {packed.p, packed.p + packed.len, false};
    for (reply->n = 0; values.p < values.end; reply->n++) {
        if (reply->n == NET_ITEMS_MAX)
            errx(1, "the reply has too many values");
        reply->values[reply->n] = net_read_uint(&values);
    }
    return length(&r, p);
}

static size_t take_scan(const uint8_t *p, size_t len, struct net_reply *reply)
{
    struct net_reader r;
    if (!take_head(p, len, reply, &r))
        return 0;
    reply->n = net_read_array(&r);
    if (reply->n > NET_ITEMS_MAX)
        errx(1, "the page has %u entries", reply->n);
    for (uint32_t i = 0; i < reply->n; i++) {
        if (net_read_array(&r) != 2)
            errx(1, "entry %u is not a pair", i);
        reply->keys[i] = net_read_bytes(&r);
        reply->values[i] = net_read_uint(&r);
    }
    reply->cursor = reply->n > 0 ? reply->keys[reply->n - 1] : (struct slice){0};
    return length(&r, p);
}

const struct net_format net_tarantool[] = {
    {"tarantool", "mget", put_mget, take_mget, GREETING_BYTES},
    {"tarantool", "scan", put_scan, take_scan, GREETING_BYTES},
    {0},
};
