/*
 * map: the bytes of a tree, and the one checked way to them.
 *
 * map_at is the only function that turns an offset into a pointer. It compares against what is left
 * *before* anything is added, so no offset or length from a file can overflow. Everything above
 * (varint, node, lookup) asks it for every object.
 */
#pragma once

#include "act/act.h"
#include "base/slice.h"
#include <endian.h>

struct tables;

struct map {
    const uint8_t *base;
    uint64_t size;   /* bytes, as taken at open */
    uint64_t mapped; /* bytes to unmap; 0: the memory is the caller's */

    /* Section 11, as far as it counts for the root in use; zeros without metadata. */
    uint64_t tables_end;   /* branches below it have sibling tables: E, or 0 */
    uint64_t tables_begin; /* no table entry lies below it: the end of the metadata */
    unsigned table_min;    /* children from which on: W */
};

/* One walk's way to the map: what it may touch, and what it found broken. */
struct view {
    const struct map *map;
    struct tables *tables;  /* cache of sibling tables, or NULL */
    struct act_fault fault; /* valid after ACT_CORRUPT */
};

/* Notes where and why this walk ends. Always ACT_CORRUPT. */
static inline int view_corrupt(struct view *view, uint64_t offset, const char *reason)
{
    view->fault = (struct act_fault){.offset = offset, .reason = reason};
    return ACT_CORRUPT;
}

/* The len bytes at offset, or NULL if they are not all in the map. */
static inline const uint8_t *map_at(const struct map *map, uint64_t offset, uint64_t len)
{
    if (offset > map->size || len > map->size - offset)
        return NULL;
    return map->base + offset;
}

static inline uint64_t load_le64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return le64toh(v);
}

/* A varint whose 8 bytes behind the first are not all in the map (a file without its padding). */
int varint_read_slow(struct view *view, uint64_t offset, uint64_t limit, uint64_t *ret_value,
                     uint64_t *ret_end);

/*
 * Section 2. Reads the varint at offset, which must end at or before limit (limit <= size).
 * 0 or ACT_CORRUPT.
 */
static inline int varint_read(struct view *view, uint64_t offset, uint64_t limit,
                              uint64_t *ret_value, uint64_t *ret_end)
{
    const uint8_t *p = map_at(view->map, offset, 9);
    if (!p)
        return varint_read_slow(view, offset, limit, ret_value, ret_end);
    uint64_t end = offset + 1;
    uint64_t value = p[0];
    if (value >= 248) {
        unsigned n = (unsigned)value - 247;
        value = load_le64(p + 1) & (UINT64_MAX >> (64 - 8 * n));
        end += n;
    }
    if (end > limit)
        return view_corrupt(view, offset, "a number runs past the end of its object");
    *ret_value = value;
    *ret_end = end;
    return 0;
}
