/*
 * net_redis: requests to redis-server (RESP). A value is eight bytes, little-endian.
 *
 * A scan reads a sorted set of which all scores are equal, so that its members are in the order of
 * their bytes: each is a key with its value behind it. That is how ordered entries are kept there.
 */
#include "bench/net_format.h"

#include <endian.h>
#include <err.h>
#include <stdio.h>

#define VALUE_BYTES 8
/* The set of bench/net_servers.py. */
#define SORTED_SET "entries"

static uint8_t *put_bulk(uint8_t *p, struct slice s, const char *before)
{
    p += sprintf((char *)p, "$%zu\r\n%s", s.len + strlen(before), before);
    memcpy(p, s.p, s.len);
    memcpy(p + s.len, "\r\n", 2);
    return p + s.len + 2;
}

static size_t put_get(uint8_t *out, uint32_t id, const struct slice *keys, uint32_t n)
{
    (void)id, (void)n;
    int head = sprintf((char *)out, "*2\r\n$3\r\nGET\r\n");
    return (size_t)(put_bulk(out + head, keys[0], "") - out);
}

static size_t put_mget(uint8_t *out, uint32_t id, const struct slice *keys, uint32_t n)
{
    (void)id;
    uint8_t *p = out + sprintf((char *)out, "*%u\r\n$4\r\nMGET\r\n", n + 1);
    for (uint32_t i = 0; i < n; i++)
        p = put_bulk(p, keys[i], "");
    return (size_t)(p - out);
}

static size_t put_scan(uint8_t *out, uint32_t id, const struct slice *cursor, uint32_t limit)
{
    (void)id;
    uint8_t *p = out;
    p += sprintf((char *)p, "*7\r\n$11\r\nZRANGEBYLEX\r\n$%zu\r\n" SORTED_SET "\r\n",
                 strlen(SORTED_SET));
    if (cursor->len > 0)
        p = put_bulk(p, *cursor, "(");
    else
        p = put_bulk(p, slice_of_str("-"), "");
    p += sprintf((char *)p, "$1\r\n+\r\n$5\r\nLIMIT\r\n$1\r\n0\r\n");
    char text[16];
    int digits = snprintf(text, sizeof text, "%u", limit);
    return (size_t)(put_bulk(p, slice_of(text, (size_t)digits), "") - out);
}

/* "KIND number CR LF" at *p; -1 if it is not all there. */
static long take_number(const uint8_t **p, const uint8_t *end, char kind)
{
    const uint8_t *line_end = memchr(*p, '\n', (size_t)(end - *p));
    if (!line_end)
        return -1;
    if (**p != kind)
        errx(1, "redis says %.*s", (int)(line_end - *p), (const char *)*p);
    long number = 0;
    for (const uint8_t *digit = *p + 1; *digit >= '0' && *digit <= '9'; digit++)
        number = number * 10 + (*digit - '0');
    *p = line_end + 1;
    return number;
}

/* A bulk of VALUE_BYTES or more: the last of them are the value, what stands before them the key.
 */
static bool take_bulk(const uint8_t **p, const uint8_t *end, struct slice *ret_key, uint64_t *ret)
{
    const uint8_t *at = *p;
    long len = take_number(&at, end, '$');
    if (len < 0 || end - at < len + 2)
        return false;
    if (len < VALUE_BYTES)
        errx(1, "redis has a value of %ld bytes", len);
    *ret_key = slice_of(at, (size_t)len - VALUE_BYTES);
    memcpy(ret, at + len - VALUE_BYTES, VALUE_BYTES);
    *ret = le64toh(*ret);
    *p = at + len + 2;
    return true;
}

static size_t take_get(const uint8_t *p, size_t len, struct net_reply *reply)
{
    const uint8_t *at = p;
    reply->n = 1;
    bool is_whole = take_bulk(&at, p + len, &reply->keys[0], &reply->values[0]);
    return is_whole ? (size_t)(at - p) : 0;
}

static size_t take_array(const uint8_t *p, size_t len, struct net_reply *reply)
{
    const uint8_t *at = p;
    long n = take_number(&at, p + len, '*');
    if (n < 0)
        return 0;
    if (n > NET_ITEMS_MAX)
        errx(1, "the reply has %ld values", n);
    for (long i = 0; i < n; i++)
        if (!take_bulk(&at, p + len, &reply->keys[i], &reply->values[i]))
            return 0;
    reply->n = (uint32_t)n;
    return (size_t)(at - p);
}

static size_t take_scan(const uint8_t *p, size_t len, struct net_reply *reply)
{
    size_t taken = take_array(p, len, reply);
    reply->cursor = (struct slice){0};
    if (taken > 0 && reply->n > 0) {
        struct slice last = reply->keys[reply->n - 1];
        reply->cursor = slice_of(last.p, last.len + VALUE_BYTES);
    }
    return taken;
}

const struct net_format net_redis[] = {
    {"redis", "get", put_get, take_get, 0},
    {"redis", "mget", put_mget, take_array, 0},
    {"redis", "scan", put_scan, take_scan, 0},
    {0},
};
