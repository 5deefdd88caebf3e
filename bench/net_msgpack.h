/*
 * net_msgpack: writing and reading MessagePack, as little of it as net_load needs.
 *
 * A reader that comes to its end says so (is_short) and gives zeros from there on, so that callers
 * look once, at the end. Another type than the one asked for ends the program: a generator's
 * server is not hostile, and a wrong reply makes the measurement worthless.
 */
#pragma once

#include "base/slice.h"

#include <err.h>

struct net_reader {
    const uint8_t *p, *end;
    bool is_short;
};

static inline uint8_t *net_put_bytes(uint8_t *p, const void *bytes, size_t len)
{
    memcpy(p, bytes, len);
    return p + len;
}

static inline uint8_t *net_put_big(uint8_t *p, uint64_t value, size_t bytes)
{
    for (size_t i = bytes; i-- > 0;)
        *p++ = (uint8_t)(value >> (8 * i));
    return p;
}

static inline uint8_t *net_put_str(uint8_t *p, struct slice s)
{
    if (s.len < 32) {
        *p++ = (uint8_t)(0xa0 | s.len);
    } else {
        *p++ = s.len < 256 ? 0xd9 : 0xda;
        p = net_put_big(p, s.len, s.len < 256 ? 1 : 2);
    }
    return net_put_bytes(p, s.p, s.len);
}

static inline uint8_t *net_put_bin(uint8_t *p, struct slice s)
{
    *p++ = s.len < 256 ? 0xc4 : 0xc5;
    p = net_put_big(p, s.len, s.len < 256 ? 1 : 2);
    return s.len > 0 ? net_put_bytes(p, s.p, s.len) : p;
}

static inline uint8_t *net_put_array(uint8_t *p, uint32_t n)
{
    if (n < 16) {
        *p++ = (uint8_t)(0x90 | n);
        return p;
    }
    *p++ = 0xdc;
    return net_put_big(p, n, 2);
}

static inline bool net_has(struct net_reader *r, size_t n)
{
    if ((size_t)(r->end - r->p) < n)
        r->is_short = true;
    return !r->is_short;
}

static inline uint64_t net_read_big(struct net_reader *r, size_t bytes)
{
    uint64_t value = 0;
    if (!net_has(r, bytes))
        return 0;
    for (size_t i = 0; i < bytes; i++)
        value = value << 8 | r->p[i];
    r->p += bytes;
    return value;
}

static inline uint8_t net_read_byte(struct net_reader *r)
{
    return net_has(r, 1) ? *r->p++ : 0;
}

static inline bool net_read_is_nil(struct net_reader *r)
{
    if (!net_has(r, 1) || *r->p != 0xc0)
        return false;
    r->p++;
    return true;
}

static inline uint64_t net_read_uint(struct net_reader *r)
{
    uint8_t head = net_read_byte(r);
    if (head < 0x80)
        return head;
    if (head < 0xcc || head > 0xcf)
        errx(1, "the reply has 0x%02x where a number should be", head);
    return net_read_big(r, (size_t)1 << (head - 0xcc));
}

/* str or bin. */
static inline struct slice net_read_bytes(struct net_reader *r)
{
    uint8_t head = net_read_byte(r);
    size_t len = 0;
    if ((head & 0xe0) == 0xa0)
        len = head & 0x1f;
    else if (head >= 0xc4 && head <= 0xc6)
        len = net_read_big(r, (size_t)1 << (head - 0xc4));
    else if (head >= 0xd9 && head <= 0xdb)
        len = net_read_big(r, (size_t)1 << (head - 0xd9));
    else if (!r->is_short)
        errx(1, "the reply has 0x%02x where bytes should be", head);
    if (!net_has(r, len))
        return (struct slice){0};
    r->p += len;
    return slice_of(r->p - len, len);
}

static inline uint32_t net_read_count(struct net_reader *r, uint8_t fix, uint8_t wide)
{
    uint8_t head = net_read_byte(r);
    if ((head & 0xf0) == fix)
        return head & 0x0f;
    if (head == wide || head == wide + 1)
        return (uint32_t)net_read_big(r, head == wide ? 2 : 4);
    if (!r->is_short)
        errx(1, "the reply has 0x%02x where %s should be", head,
             fix == 0x90 ? "an array" : "a map");
    return 0;
}

static inline uint32_t net_read_array(struct net_reader *r)
{
    return net_read_count(r, 0x90, 0xdc);
}

static inline uint32_t net_read_map(struct net_reader *r)
{
    return net_read_count(r, 0x80, 0xde);
}

/* A map of numbers and bytes, such as replies carry beside what counts. */
static inline void net_skip_map(struct net_reader *r)
{
    for (uint32_t n = net_read_map(r); n > 0 && !r->is_short; n--) {
        net_read_bytes(r);
        net_read_uint(r);
    }
}
