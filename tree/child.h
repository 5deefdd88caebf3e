/*
 * child: the step from a branch to one of its children, for everyone.
 *
 * A run of siblings has no index: child number r is found by skipping r nodes. Where the run is
 * long and the tree has a cache of tables (tables.h), the distance is looked up instead.
 */
#pragma once

#include "tree/node.h"
#include "tree/rank.h"
#include "tree/tables.h"

/* The step without a table; makes one if the branch is wide and there is room. 0 or ACT_CORRUPT. */
int child_skip(struct view *view, const struct node *branch, unsigned rank, uint64_t *ret_offset);

/*
 * The offset of the branch's child that byte leads to. Its run ends at or before the branch: read
 * it with limit = branch->offset. 0, ACT_MISS or ACT_CORRUPT.
 */
static inline int child_step(struct view *view, const struct node *branch, uint8_t byte,
                             uint64_t *ret_offset)
{
    unsigned rank;
    bool has_room = branch->set_room >= CHILD_MASK_BYTES;
    bool found = branch->field == NODE_FIELD_MASK
                     ? rank_in_mask(branch->set, byte, &rank)
                     : rank_in_bytes(branch->set, branch->field, has_room, byte, &rank);
    if (!found)
        return ACT_MISS;
    if (rank == 0) {
        *ret_offset = branch->child;
        return 0;
    }
    if (view->tables && branch->field >= TABLES_MIN_CHILDREN) {
        const uint16_t *distances = tables_find(view->tables, branch->offset);
        if (distances) {
            *ret_offset = branch->child + distances[rank];
            return 0;
        }
    }
    return child_skip(view, branch, rank, ret_offset);
}
