/*
 * node: see node.h. What is rarely needed.
 */
#include "tree/node.h"

const uint8_t *node_window_copy(const struct map *map, uint64_t offset,
                                uint8_t copy[NODE_WINDOW_BYTES])
{
    if (!map_at(map, offset, 1))
        return NULL;
    size_t left = (size_t)(map->size - offset);
    memcpy(copy, map_at(map, offset, left), left);
    memset(copy + left, 0, NODE_WINDOW_BYTES - left);
    return copy;
}

int node_read_last(struct view *view, uint64_t offset, uint64_t limit, struct node *node)
{
    uint8_t copy[NODE_WINDOW_BYTES];
    const uint8_t *window = node_window_copy(view->map, offset, copy);
    if (!window)
        return view_corrupt(view, offset, "a node outside the file");
    return node_read_in(view, window, offset, limit, node);
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
