/*
 * description: a node that is not written yet, and its encoding (section 4).
 *
 * Its references are absolute: the distances depend on where it will stand.
 */
#pragma once

#include "tree/node.h"

/* The longest node, and what the 8-byte store of its last number may cover behind it. */
#define DESCRIPTION_ROOM (51 + 8)

struct description {
    uint64_t value;
    uint64_t child; /* offset of its run or child; 0: none */
    uint64_t line;  /* offset of its line data; 0: a branch */
    uint32_t set;   /* where its child set or tail begins among the bytes that go with it */
    uint16_t n_children;
    uint8_t byte; /* that leads to it */
    bool has_value;

    /* What is below it and not written yet: see cluster.h. */
    bool is_top;       /* that is more than a page, in all */
    uint32_t tail_len; /* bytes of line data before it */
    uint32_t pending;  /* bytes of the cluster's stack; 0: all is written */
    uint32_t weight;   /* about as much as those will take in the file */
    uint32_t n_keys;   /* below it, written or not; no more than fit */
};

/* Section 2, in the shortest form. Writes up to 9 bytes, whatever the length. */
static inline uint8_t *number_put(uint8_t *p, uint64_t value)
{
    if (value < 248) {
        *p = (uint8_t)value;
        return p + 1;
    }
    unsigned n = (71 - (unsigned)__builtin_clzll(value)) / 8;
    *p = (uint8_t)(247 + n);
    value = htole64(value);
    memcpy(p + 1, &value, sizeof value);
    return p + 1 + n;
}

/* The bytes that a child set takes: the bytes themselves, or a mask. */
static inline size_t description_set_bytes(unsigned n_children)
{
    return n_children < NODE_FIELD_MASK ? n_children : CHILD_MASK_BYTES;
}

/* Writes the node at p, which will be at offset `at` of the file; set: its child set. There must be
 * DESCRIPTION_ROOM. What is behind it. */
static inline uint8_t *description_put(const struct description *d, const uint8_t *set, uint8_t *p,
                                       uint64_t at)
{
    unsigned value = d->has_value ? NODE_VALUE : 0;
    uint8_t *header = p++;
    if (d->has_value)
        p = number_put(p, d->value);
    if (d->child != 0)
        p = number_put(p, at - d->child);
    if (d->line != 0) {
        *header = (uint8_t)(NODE_LINE | value | (d->child != 0 ? LINE_HAS_CHILD : 0));
        return number_put(p, at - d->line);
    }
    size_t set_bytes = description_set_bytes(d->n_children);
    *header = (uint8_t)(value | set_bytes);
    if (set_bytes > 0)
        memcpy(p, set, set_bytes);
    return p + set_bytes;
}
