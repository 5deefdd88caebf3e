/*
 * slice: a borrowed run of bytes. Never NUL-terminated, never owned: its lifetime is the one of
 * the buffer, map or literal that it points into.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
    const uint8_t *p; /* borrowed; may be NULL when len is 0 */
    size_t len;       /* bytes */
};

static inline struct slice slice_of(const void *p, size_t len)
{
    return (struct slice){.p = p, .len = len};
}

static inline struct slice slice_of_str(const char *s)
{
    return slice_of(s, strlen(s));
}

static inline bool slice_equal(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.p, b.p, a.len) == 0);
}
