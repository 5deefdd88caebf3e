/*
 * child: the step from a branch to one of its children, for everyone.
 *
 * A run of siblings has no index: child number r is found by skipping r nodes. Where the run is
 * long, the distance is looked up instead: in the file's own sibling table (section 11), or in the
 * tree's cache of such tables (tables.h).
 */
#pragma once

#include "tree/node.h"
#include "tree/rank.h"
#include "tree/tables.h"

/* How many children a branch has. */
static inline unsigned child_count(const struct node *branch)
{
    uint64_t mask[4];
    if (branch->field != NODE_FIELD_MASK)
        return branch->field;
    for (unsigned i = 0; i < 4; i++)
        mask[i] = load_le64(branch->set + 8 * i);
    return bits_count(mask);
}

/* Does the file hold a sibling table for the branch's run of n? */
static inline bool child_has_table(const struct map *map, const struct node *branch, unsigned n)
{
    return branch->offset < map->tables_end && n >= map->table_min;
}

/* Is byte a member of the branch's set, and which one? */
static inline bool child_rank(const struct node *branch, uint8_t byte, unsigned *ret_rank)
{
    return branch->field == NODE_FIELD_MASK
               ? rank_in_mask(branch->set, byte, ret_rank)
               : rank_in_bytes(branch->set, branch->field, branch->has_room, byte, ret_rank);
}

/* What a leaf of a line takes: header, a value of two or three bytes, distance. */
#define CHILD_LIKELY_BYTES 8

/*
 * Fetches what the walk is likely to read next, before it knows where that is: child number rank,
 * as if its siblings were leaves; and its line data, as if those of the children behind it, which
 * come before the run and its table, were as long as what is left of the key. In a large tree the
 * three misses of a leaf, its place, itself and its line, then are one. A wrong guess costs little.
 */
static inline void child_prefetch(const struct map *map, const struct node *branch, unsigned n,
                                  unsigned rank, size_t key_left)
{
    uint64_t table_bytes = child_has_table(map, branch, n) ? 2 * (n - 1) : 0;
    node_prefetch(map, branch->child + CHILD_LIKELY_BYTES * rank);
    node_prefetch(map, branch->child - table_bytes - (n - rank) * key_left);
}

/* The step by the file's table: entry number r, a u16, stands 2 r bytes before the run of n. */
static inline int child_look_up(struct view *view, const struct node *branch, unsigned n,
                                unsigned rank, uint64_t *ret_offset)
{
    const struct map *map = view->map;
    uint64_t first = branch->child;
    /* The whole table must stand behind the metadata. */
    if (first < map->tables_begin || (first - map->tables_begin) / 2 < n - 1)
        return view_corrupt(view, first, "a sibling table that runs into the metadata");
    const uint8_t *entry = map_at(map, first - 2 * (uint64_t)rank, 2);
    if (entry && !view_may_touch(view, first - 2 * (uint64_t)rank, 2))
        return ACT_COLD;
    uint64_t distance = entry ? entry[0] | (uint64_t)entry[1] << 8 : 0;
    if (distance == 0 || distance >= branch->offset - first)
        return view_corrupt(view, first - 2 * (uint64_t)rank,
                            "a sibling table's entry that leaves the run");
    *ret_offset = first + distance;
    return 0;
}

/* A run of n siblings. */
struct run {
    uint64_t first; /* offset */
    uint64_t limit; /* its branch's offset: they end at or before it */
    unsigned n;
};

/* From the first of a run to number `rank`, with a cache by way of it. 0, ACT_CORRUPT, ACT_COLD. */
int run_skip(struct view *view, struct run run, unsigned rank, uint64_t *ret_offset);

/* The offset of child number rank, where the file has no table. */
static inline int child_skip(struct view *view, const struct node *branch, unsigned n,
                             unsigned rank, uint64_t *ret_offset)
{
    if (view->tables) {
        uint64_t distance;
        if (tables_find_exactly(view->tables, branch->offset, rank, &distance)) {
            *ret_offset = branch->child + distance;
            return 0;
        }
    }
    return run_skip(view, (struct run){branch->child, branch->offset, n}, rank, ret_offset);
}

/*
 * The offset of the branch's child that the first byte of key leads to, which has at least one. Its
 * run ends at or before the branch: read it with limit = branch->offset. 0, ACT_MISS, ACT_CORRUPT
 * or ACT_COLD.
 */
static inline __attribute__((always_inline)) int child_step(struct view *view,
                                                            const struct node *branch,
                                                            struct slice key, uint64_t *ret_offset)
{
    unsigned rank;
    if (!child_rank(branch, key.p[0], &rank))
        return ACT_MISS;
    unsigned n = child_count(branch);
    child_prefetch(view->map, branch, n, rank, key.len);
    if (rank == 0) {
        *ret_offset = branch->child;
        return 0;
    }
    if (child_has_table(view->map, branch, n))
        return child_look_up(view, branch, n, rank, ret_offset);
    return child_skip(view, branch, n, rank, ret_offset);
}
