/*
 * map: the bytes of a tree, and the one checked way to them.
 *
 * Two questions stand before each touch: do the bytes lie in the map (map_at, map_window), and, for
 * a walk that must not wait for the disk, are they in memory (view_may_touch)?
 *
 * map_at and map_window are the only functions that turn an offset into a pointer. They compare
 * against what is left *before* anything is added, so no offset or length from a file can overflow.
 * Everything above (varint, node, lookup) asks them for every object.
 */
#pragma once

#include "act/act.h"
#include "base/slice.h"
#include "tree/residency.h"
#include <endian.h>

struct tables;

struct map {
    const uint8_t *base;
    uint64_t size;      /* bytes, as taken at open */
    uint64_t mapped;    /* bytes of the file in the address space; 0: the memory is the caller's */
    uint64_t n_windows; /* from each offset below it, MAP_WINDOW_BYTES can be read */

    /* Section 11, as far as it counts for the root in use; zeros without metadata. */
    uint64_t tables_end;   /* branches below it have sibling tables: E, or 0 */
    uint64_t tables_begin; /* no table entry lies below it: the end of the metadata */
    unsigned table_min;    /* children from which on: W */
};

/* From a node's first byte: the longest node (a branch with a value: 1 + 9 + 9 + 32) and what the
 * 8-byte load of a number may cover behind it. */
#define MAP_WINDOW_BYTES 64
#define VARINT_MAX_BYTES 9

/* size bytes at base, which are the caller's, and nothing behind them that could be read. */
static inline struct map map_of(const uint8_t *base, uint64_t size)
{
    uint64_t n_windows = size < MAP_WINDOW_BYTES ? 0 : size - MAP_WINDOW_BYTES + 1;
    return (struct map){.base = base, .size = size, .n_windows = n_windows};
}

/* One walk's way to the map: what it may touch, and what it found broken. */
struct view {
    const struct map *map;
    struct tables *tables;            /* cache of sibling tables, or NULL */
    struct residency_bits *residency; /* NULL: pages that are not in memory may be touched */
    uint64_t reach;                   /* of a line's bytes, no more than this are looked at */
    struct act_fault fault;           /* valid after ACT_CORRUPT */
};

/* May the len bytes at offset be touched? At least one; to be asked before they are, of whatever
 * begins in the map. False is ACT_COLD. */
static inline bool view_may_touch(const struct view *view, uint64_t offset, uint64_t len)
{
    return !view->residency || residency_has(view->residency, offset, len);
}

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

/* MAP_WINDOW_BYTES from offset, which lies in the map, or NULL. Those behind the map's end can be
 * read and mean nothing. */
static inline const uint8_t *map_window(const struct map *map, uint64_t offset)
{
    return offset < map->n_windows ? map->base + offset : NULL;
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
 * 0, ACT_CORRUPT or ACT_COLD; with 0 the whole window at offset may be touched.
 */
static inline int varint_read(struct view *view, uint64_t offset, uint64_t limit,
                              uint64_t *ret_value, uint64_t *ret_end)
{
    const uint8_t *p = map_window(view->map, offset);
    if (!p)
        return varint_read_slow(view, offset, limit, ret_value, ret_end);
    if (!view_may_touch(view, offset, MAP_WINDOW_BYTES))
        return ACT_COLD;
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
