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
unsigned child_count(const struct node *branch);

/* Does the file hold a sibling table for the branch's run? */
static inline bool child_has_table(const struct map *map, const struct node *branch)
{
    if (branch->offset >= map->tables_end || branch->field == 0)
        return false;
    if (map->table_min <= NODE_FIELD_MASK)
        return branch->field >= map->table_min;
    return branch->field == NODE_FIELD_MASK && child_count(branch) >= map->table_min;
}

/* The step by the file's table: entry number r, a u16, stands 2 r bytes before the run. */
static inline int child_look_up(struct view *view, const struct node *branch, unsigned rank,
                                uint64_t *ret_offset)
{
    const struct map *map = view->map;
    uint64_t first = branch->child;
    uint64_t room = first < map->tables_begin ? 0 : (first - map->tables_begin) / 2;
    /* The whole table must stand behind the metadata; the widest has 255 entries. */
    if (room < 255 && room < child_count(branch) - 1)
        return view_corrupt(view, first, "a sibling table that runs into the metadata");
    const uint8_t *entry = map_at(map, first - 2 * (uint64_t)rank, 2);
    uint64_t distance = entry ? entry[0] | (uint64_t)entry[1] << 8 : 0;
    if (distance == 0 || distance >= branch->offset - first)
        return view_corrupt(view, first - 2 * (uint64_t)rank,
                            "a sibling table's entry that leaves the run");
    *ret_offset = first + distance;
    return 0;
}

/* The step without the file's table; makes one if the branch is wide and there is room. 0 or
 * ACT_CORRUPT. */
int child_skip(struct view *view, const struct node *branch, unsigned rank, uint64_t *ret_offset);

/* Is byte a member of the branch's set, and which one? */
static inline bool child_rank(const struct node *branch, uint8_t byte, unsigned *ret_rank)
{
    bool has_room = branch->set_room >= CHILD_MASK_BYTES;
    return branch->field == NODE_FIELD_MASK
               ? rank_in_mask(branch->set, byte, ret_rank)
               : rank_in_bytes(branch->set, branch->field, has_room, byte, ret_rank);
}

/* The offset of child number rank, where the file has no table. */
static inline int child_find(struct view *view, const struct node *branch, unsigned rank,
                             uint64_t *ret_offset)
{
    if (view->tables && branch->field >= TABLES_MIN_CHILDREN) {
        const uint16_t *distances = tables_find(view->tables, branch->offset);
        if (distances) {
            *ret_offset = branch->child + distances[rank];
            return 0;
        }
    }
    return child_skip(view, branch, rank, ret_offset);
}

/*
 * The offset of the branch's child that byte leads to. Its run ends at or before the branch: read
 * it with limit = branch->offset. 0, ACT_MISS or ACT_CORRUPT.
 */
static inline int child_step(struct view *view, const struct node *branch, uint8_t byte,
                             uint64_t *ret_offset)
{
    unsigned rank;
    if (!child_rank(branch, byte, &rank))
        return ACT_MISS;
    if (rank == 0) {
        *ret_offset = branch->child;
        return 0;
    }
    if (child_has_table(view->map, branch))
        return child_look_up(view, branch, rank, ret_offset);
    return child_find(view, branch, rank, ret_offset);
}
