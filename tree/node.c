/*
 * node: see node.h.
 *
 * A run of siblings has no index: child number r is found by skipping r nodes. The rank r is
 * counted over the child set as it is written, so that get, node and every later walk agree even
 * where a damaged set is not ascending (section 10).
 */
#include "tree/node.h"

#include "tree/tables.h"

/* A reference backward from the node: 1 or more, and not into the file's header. */
static int reference_resolve(struct view *view, uint64_t node, uint64_t distance, uint64_t *ret)
{
    if (distance == 0)
        return view_corrupt(view, node, "a reference to the node itself");
    if (distance > node || node - distance < HEADER_BYTES)
        return view_corrupt(view, node, "a reference that leaves the arena");
    *ret = node - distance;
    return 0;
}

static int line_data_read(struct view *view, uint64_t offset, uint64_t node, struct slice *ret)
{
    uint64_t len, begin;
    int r = varint_read(view, offset, node, &len, &begin);
    if (r != 0)
        return r;
    if (len == 0)
        return view_corrupt(view, offset, "line data of length 0");
    if (len > node - begin)
        return view_corrupt(view, offset, "line data that runs into its node");
    *ret = slice_of(map_at(view->map, begin, len), len);
    return 0;
}

/* From a node's first byte: the longest node (a branch with a value: 1 + 9 + 9 + 32) and what the
 * 8-byte load of a number may cover behind it. */
#define NODE_WINDOW_BYTES 64

/* A copy of what is left of the map behind offset, with zeros behind it; NULL: nothing is. */
static __attribute__((noinline)) const uint8_t *tail_copy(const struct map *map, uint64_t offset,
                                                          uint8_t copy[NODE_WINDOW_BYTES])
{
    if (!map_at(map, offset, 1))
        return NULL;
    size_t left = (size_t)(map->size - offset);
    memcpy(copy, map_at(map, offset, left), left);
    memset(copy + left, 0, NODE_WINDOW_BYTES - left);
    return copy;
}

/* The window at offset; near the end of the map it is made in copy. */
static inline const uint8_t *node_window(const struct map *map, uint64_t offset,
                                         uint8_t copy[NODE_WINDOW_BYTES])
{
    const uint8_t *window = map_at(map, offset, NODE_WINDOW_BYTES);
    return window ? window : tail_copy(map, offset, copy);
}

/* Inside a window: the number at *at, which moves behind it. */
static inline uint64_t number_take(const uint8_t **at)
{
    uint64_t value = *(*at)++;
    if (value < 248)
        return value;
    unsigned n = (unsigned)value - 247;
    value = load_le64(*at) & (UINT64_MAX >> (64 - 8 * n));
    *at += n;
    return value;
}

static inline const uint8_t *number_skip(const uint8_t *at)
{
    unsigned first = *at;
    return at + 1 + (first > 247 ? first - 247 : 0);
}

static int line_read(struct view *view, struct node *node, uint64_t line)
{
    int r = reference_resolve(view, node->offset, line, &line);
    return r == 0 ? line_data_read(view, line, node->offset, &node->line) : r;
}

/* Fills *node in place, field by field: a copy at the end would stall on the stores before it. */
int node_read(struct view *view, uint64_t offset, uint64_t limit, struct node *node)
{
    uint8_t copy[NODE_WINDOW_BYTES];
    const uint8_t *window = node_window(view->map, offset, copy), *at = window;
    uint64_t child = 0, line = 0, set_at = 0;
    if (!window || offset >= limit)
        return view_corrupt(view, offset, "a node outside its run");
    uint8_t header = *at++;
    node->offset = offset;
    node->is_line = header & NODE_LINE;
    node->has_value = header & NODE_VALUE;
    node->value = node->has_value ? number_take(&at) : 0;
    node->child = 0;
    node->field = 0;
    bool has_child = header & (node->is_line ? LINE_HAS_CHILD : NODE_FIELD);
    if (has_child)
        child = number_take(&at);
    if (node->is_line) {
        line = number_take(&at);
    } else {
        node->field = header & NODE_FIELD; /* also the bytes of its child set: a mask has 32 */
        set_at = offset + (uint64_t)(at - window);
        at += node->field;
    }
    node->end = offset + (uint64_t)(at - window);
    if (node->field > NODE_FIELD_MASK)
        return view_corrupt(view, offset, "a child field above 32");
    if (node->end > limit)
        return view_corrupt(view, offset, "a node that runs past its place");
    int r = has_child ? reference_resolve(view, offset, child, &node->child) : 0;
    if (r == 0 && node->is_line)
        r = line_read(view, node, line);
    if (node->field > 0)
        node->set = map_at(view->map, set_at, node->field);
    return r;
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

/* One sibling further inside a run that ends at or before limit. */
static inline int sibling_skip(struct view *view, uint64_t at, uint64_t limit, uint64_t *ret_next)
{
    uint8_t copy[NODE_WINDOW_BYTES];
    if (at >= limit)
        return view_corrupt(view, at, "fewer children than the child set says");
    const uint8_t *window = node_window(view->map, at, copy), *end = node_skip(window);
    if (!end)
        return view_corrupt(view, at, "a child field above 32");
    if ((uint64_t)(end - window) > limit - at)
        return view_corrupt(view, at, "a node that runs past its place");
    *ret_next = at + (uint64_t)(end - window);
    return 0;
}

/* From the first of a run of siblings to number `rank`. */
static int run_skip(struct view *view, uint64_t first, uint64_t limit, unsigned rank, uint64_t *ret)
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

/* How many members of the set are smaller than byte. False: byte is not a member. */
static bool rank_in_bytes(const uint8_t *set, unsigned n, uint8_t byte, unsigned *ret_rank)
{
    unsigned rank = 0, found = 0;
    for (unsigned i = 0; i < n; i++) {
        rank += set[i] < byte;
        found |= set[i] == byte;
    }
    *ret_rank = rank;
    return found;
}

static bool rank_in_mask(const uint8_t *mask, uint8_t byte, unsigned *ret_rank)
{
    unsigned word = byte >> 6;
    uint64_t bit = UINT64_C(1) << (byte & 63);
    uint64_t last = load_le64(mask + 8 * word);
    unsigned rank = (unsigned)__builtin_popcountll(last & (bit - 1));
    for (unsigned i = 0; i < word; i++)
        rank += (unsigned)__builtin_popcountll(load_le64(mask + 8 * i));
    *ret_rank = rank;
    return last & bit;
}

static unsigned children_count(const struct node *branch)
{
    if (branch->field != NODE_FIELD_MASK)
        return branch->field;
    unsigned n = 0;
    for (unsigned i = 0; i < 4; i++)
        n += (unsigned)__builtin_popcountll(load_le64(branch->set + 8 * i));
    return n;
}

int node_child(struct view *view, const struct node *branch, uint8_t byte, uint64_t *ret_offset)
{
    unsigned rank;
    bool found = branch->field == NODE_FIELD_MASK
                     ? rank_in_mask(branch->set, byte, &rank)
                     : rank_in_bytes(branch->set, branch->field, byte, &rank);
    if (!found)
        return ACT_MISS;
    if (view->tables && branch->field >= TABLES_MIN_CHILDREN) {
        const uint16_t *distances = tables_find(view->tables, branch->offset);
        if (distances) {
            *ret_offset = branch->child + distances[rank];
            return 0;
        }
        table_make(view, branch, children_count(branch));
    }
    return run_skip(view, branch->child, branch->offset, rank, ret_offset);
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
