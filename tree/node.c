/*
 * node: see node.h. What is rarely needed.
 */
#include "tree/node.h"

const uint8_t *node_window_copy(const struct map *map, uint64_t offset,
                                uint8_t copy[MAP_WINDOW_BYTES])
{
    if (!map_at(map, offset, 1))
        return NULL;
    uint64_t left = map->size - offset;
    if (left > MAP_WINDOW_BYTES)
        left = MAP_WINDOW_BYTES;
    memcpy(copy, map_at(map, offset, left), left);
    memset(copy + left, 0, MAP_WINDOW_BYTES - left);
    return copy;
}

void node_children(const struct node *branch, uint64_t children[4])
{
    for (unsigned i = 0; i < 4; i++)
        children[i] = branch->field == NODE_FIELD_MASK ? load_le64(branch->set + 8 * i) : 0;
    if (branch->field == NODE_FIELD_MASK)
        return;
    for (unsigned i = 0; i < branch->field; i++)
        children[branch->set[i] >> 6] |= UINT64_C(1) << (branch->set[i] & 63);
}
