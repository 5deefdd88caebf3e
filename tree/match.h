/*
 * match: a line's bytes against the rest of a key, for every walk down.
 */
#pragma once

#include "tree/node.h"

/* Are n bytes equal? Short ones are the rule: they are compared in place, without a call. */
static inline bool bytes_equal(const uint8_t *a, const uint8_t *b, size_t n)
{
    if (n > 16)
        return memcmp(a, b, n) == 0;
    if (n >= 8)
        return load_le64(a) == load_le64(b) && load_le64(a + n - 8) == load_le64(b + n - 8);
    if (n >= 4) {
        uint32_t x[2], y[2];
        memcpy(&x[0], a, 4);
        memcpy(&y[0], b, 4);
        memcpy(&x[1], a + n - 4, 4);
        memcpy(&y[1], b + n - 4, 4);
        return x[0] == y[0] && x[1] == y[1];
    }
    for (size_t i = 0; i < n; i++)
        if (a[i] != b[i])
            return false;
    return true;
}

/* Where a key that comes to the start of a line goes (section 5). */
enum match {
    MATCH_NONE,   /* to no position */
    MATCH_INSIDE, /* to a position in the line's middle: no value */
    MATCH_END,    /* to the line's end, and that is all there is to know of it */
    MATCH_ON,     /* on to the line's child, with what is left of it behind the line */
};

/* rest: what is left of the key. A line with a value has the last word on its end, also where a
 * child has another one (section 10). */
static inline enum match match_line(const struct node *node, struct slice rest)
{
    size_t n = rest.len < node->line.len ? rest.len : node->line.len;
    if (!bytes_equal(rest.p, node->line.p, n))
        return MATCH_NONE;
    if (n < node->line.len)
        return MATCH_INSIDE;
    if (rest.len == n && (node->has_value || node->child == 0))
        return MATCH_END;
    return node->child == 0 ? MATCH_NONE : MATCH_ON;
}
