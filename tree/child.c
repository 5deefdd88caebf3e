/*
 * child: see child.h. Skipping siblings, and keeping where they begin.
 */
#include "tree/child.h"

static inline const uint8_t *number_skip(const uint8_t *at)
{
    unsigned first = *at;
    return at + 1 + (first > 247 ? first - 247 : 0);
}

/* Inside a window: what is behind the node at `at`, from its header and the first bytes of its
 * numbers alone. NULL: the child field is invalid. */
static inline const uint8_t *node_skip(const uint8_t *at)
{
    unsigned header = *at++;
    unsigned field = header & NODE_FIELD;
    if (header & NODE_VALUE)
        at = number_skip(at);
    if (header & NODE_LINE) {
        if (header & LINE_HAS_CHILD)
            at = number_skip(at);
        return number_skip(at);
    }
    if (field == 0)
        return at;
    return field > NODE_FIELD_MASK ? NULL : number_skip(at) + field;
}

/* How far the next sibling of the node at `at` is; 0: the child field is invalid. */
static uint64_t node_bytes_last(const struct map *map, uint64_t at)
{
    uint8_t copy[NODE_WINDOW_BYTES];
    const uint8_t *window = node_window_copy(map, at, copy), *end = node_skip(window);
    return end ? (uint64_t)(end - window) : 0;
}

static inline uint64_t node_bytes(const struct map *map, uint64_t at)
{
    const uint8_t *window = map_at(map, at, NODE_WINDOW_BYTES);
    if (!window)
        return node_bytes_last(map, at);
    const uint8_t *end = node_skip(window);
    return end ? (uint64_t)(end - window) : 0;
}

/* One sibling further inside a run that ends at or before limit, which lies in the map. */
static inline int sibling_skip(struct view *view, uint64_t at, uint64_t limit, uint64_t *ret_next)
{
    if (at >= limit)
        return view_corrupt(view, at, "fewer children than the child set says");
    uint64_t bytes = node_bytes(view->map, at);
    if (bytes == 0)
        return view_corrupt(view, at, "a child field above 32");
    if (bytes > limit - at)
        return view_corrupt(view, at, "a node that runs past its place");
    *ret_next = at + bytes;
    return 0;
}

/* The same step by step, which tells what is wrong. */
static int run_skip_slowly(struct view *view, uint64_t first, uint64_t limit, unsigned rank,
                           uint64_t *ret)
{
    uint64_t at = first;
    for (; rank > 0; rank--) {
        int r = sibling_skip(view, at, limit, &at);
        if (r != 0)
            return r;
    }
    *ret = at;
    return 0;
}

/* From the first of a run of siblings to number `rank`. Where the map has room for the longest
 * nodes there are, it is enough to look at the end whether they all lay before limit. */
static int run_skip(struct view *view, uint64_t first, uint64_t limit, unsigned rank, uint64_t *ret)
{
    uint64_t room = ((uint64_t)rank + 1) * NODE_WINDOW_BYTES;
    const uint8_t *begin = map_at(view->map, first, room), *at = begin;
    for (unsigned left = rank; left > 0 && at; left--)
        at = node_skip(at);
    if (!at || first > limit || (uint64_t)(at - begin) > limit - first)
        return run_skip_slowly(view, first, limit, rank, ret);
    *ret = first + (uint64_t)(at - begin);
    return 0;
}

/* The branch's run is walked once and kept. A run with a fault is not: what is found then depends
 * on how far a lookup goes, and that is the walk's to say. */
static void table_make(struct view *view, const struct node *branch, unsigned n)
{
    uint32_t slot;
    uint64_t at = branch->child;
    struct act_fault fault = view->fault;
    uint16_t *distances = tables_claim(view->tables, branch->offset, n, &slot);
    if (!distances)
        return;
    for (unsigned i = 0; i < n; i++) {
        /* A node takes at most 60 bytes, so 256 of them stay below 64 KiB. */
        distances[i] = (uint16_t)(at - branch->child);
        if (sibling_skip(view, at, branch->offset, &at) != 0) {
            view->fault = fault;
            return;
        }
    }
    tables_publish(view->tables, slot, branch->offset);
}

unsigned child_count(const struct node *branch)
{
    if (branch->field != NODE_FIELD_MASK)
        return branch->field;
    uint64_t mask[4];
    node_children(branch, mask);
    return bits_count(mask);
}

int child_skip(struct view *view, const struct node *branch, unsigned rank, uint64_t *ret_offset)
{
    if (view->tables && branch->field >= TABLES_MIN_CHILDREN)
        table_make(view, branch, child_count(branch));
    return run_skip(view, branch->child, branch->offset, rank, ret_offset);
}
