/*
 * net_actd: requests to actd (docs/PROTOCOL.md).
 */
#include "bench/net_format.h"
#include "bench/net_msgpack.h"

/* With ids from here on every msgid takes five bytes. */
#define FIRST_MSGID UINT32_C(0x10000)

static uint8_t *put_head(uint8_t *p, uint32_t id, const char *method, uint32_t n_params)
{
    p = net_put_bytes(p, "\x94\x00\xce", 3);
    p = net_put_big(p, FIRST_MSGID + id, 4);
    p = net_put_str(p, slice_of_str(method));
    return net_put_array(p, n_params);
}

/* Up to the result. */
static struct net_reader take_head(const uint8_t *p, size_t len, struct net_reply *reply)
{
    struct net_reader r = {p, p + len, false};
    if (net_read_array(&r) != 4 && !r.is_short)
        errx(1, "the reply is not a response");
    uint64_t kind = net_read_uint(&r);
    reply->id = (uint32_t)net_read_uint(&r) - FIRST_MSGID;
    if (r.is_short || (net_read_is_nil(&r) && kind == 1))
        return r;
    struct net_reader error = r;
    net_read_array(&r);
    net_read_uint(&r);
    struct slice text = net_read_bytes(&r);
    if (!r.is_short)
        errx(1, "actd says %.*s", (int)text.len, (const char *)text.p);
    error.is_short = true;
    return error;
}

static size_t length(const struct net_reader *r, const uint8_t *p)
{
    return r->is_short ? 0 : (size_t)(r->p - p);
}

static size_t put_get(uint8_t *out, uint32_t id, const struct slice *keys, uint32_t n)
{
    return (size_t)(net_put_bin(put_head(out, id, "get", n), keys[0]) - out);
}

static size_t take_get(const uint8_t *p, size_t len, struct net_reply *reply)
{
    struct net_reader r = take_head(p, len, reply);
    reply->n = 1;
    reply->values[0] = r.is_short ? 0 : net_read_uint(&r);
    return length(&r, p);
}

static size_t put_mget(uint8_t *out, uint32_t id, const struct slice *keys, uint32_t n)
{
    uint8_t *p = net_put_array(put_head(out, id, "mget", 1), n);
    for (uint32_t i = 0; i < n; i++)
        p = net_put_bin(p, keys[i]);
    return (size_t)(p - out);
}

static size_t take_mget(const uint8_t *p, size_t len, struct net_reply *reply)
{
    struct net_reader r = take_head(p, len, reply);
    uint32_t n = r.is_short ? 0 : net_read_array(&r);
    if (n > NET_ITEMS_MAX)
        errx(1, "the reply has %u values", n);
    for (uint32_t i = 0; i < n && !r.is_short; i++)
        reply->values[i] = net_read_uint(&r);
    reply->n = n;
    return length(&r, p);
}

static size_t put_scan(uint8_t *out, uint32_t id, const struct slice *cursor, uint32_t limit)
{
    uint8_t *p = put_head(out, id, "scan", 2);
    p = net_put_bin(p, (struct slice){0});
    *p++ = cursor->len > 0 ? 0x82 : 0x81;
    p = net_put_str(p, slice_of_str("limit"));
    *p++ = 0xcd;
    p = net_put_big(p, limit, 2);
    if (cursor->len > 0)
        p = net_put_bin(net_put_str(p, slice_of_str("cursor")), *cursor);
    return (size_t)(p - out);
}

static void take_entries(struct net_reader *r, struct net_reply *reply)
{
    reply->n = net_read_array(r);
    if (reply->n > NET_ITEMS_MAX)
        errx(1, "the page has %u entries", reply->n);
    for (uint32_t i = 0; i < reply->n && !r->is_short; i++) {
        if (net_read_array(r) != 2 && !r->is_short)
            errx(1, "entry %u is not a pair", i);
        reply->keys[i] = net_read_bytes(r);
        reply->values[i] = r->is_short ? 0 : net_read_uint(r);
    }
}

static size_t take_scan(const uint8_t *p, size_t len, struct net_reply *reply)
{
    struct net_reader r = take_head(p, len, reply);
    uint32_t n = r.is_short ? 0 : net_read_map(&r);
    reply->n = 0;
    reply->cursor = (struct slice){0};
    for (uint32_t i = 0; i < n && !r.is_short; i++) {
        struct slice name = net_read_bytes(&r);
        if (r.is_short)
            break;
        if (slice_equal(name, slice_of_str("entries")))
            take_entries(&r, reply);
        else if (!slice_equal(name, slice_of_str("cursor")))
            net_skip_map(&r);
        else if (!net_read_is_nil(&r) && !r.is_short)
            reply->cursor = net_read_bytes(&r);
    }
    return length(&r, p);
}

const struct net_format net_actd[] = {
    {"actd", "get", put_get, take_get, 0},
    {"actd", "mget", put_mget, take_mget, 0},
    {"actd", "scan", put_scan, take_scan, 0},
    {0},
};
