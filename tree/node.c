/*
 * node: see node.h.
 *
 * A run of siblings has no index: child number r is found by skipping r nodes. The rank r is
 * counted over the child set as it is written, so that get, node and every later walk agree even
 * where a damaged set is not ascending (section 10).
 */
#include "tree/node.h"

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

static int line_read(struct view *view, uint64_t at, uint64_t limit, uint8_t header,
                     struct node *node)
{
    uint64_t distance, line;
    int r;
    if (header & LINE_HAS_CHILD) {
        if ((r = varint_read(view, at, limit, &distance, &at)) != 0 ||
            (r = reference_resolve(view, node->offset, distance, &node->child)) != 0)
            return r;
    }
    if ((r = varint_read(view, at, limit, &distance, &node->end)) != 0 ||
        (r = reference_resolve(view, node->offset, distance, &line)) != 0)
        return r;
    return line_data_read(view, line, node->offset, &node->line);
}

static int child_field_bytes(struct view *view, uint64_t node, uint8_t field, uint64_t *ret)
{
    if (field > NODE_FIELD_MASK)
        return view_corrupt(view, node, "a child field above 32");
    *ret = field == NODE_FIELD_MASK ? CHILD_MASK_BYTES : field;
    return 0;
}

static int branch_read(struct view *view, uint64_t at, uint64_t limit, uint8_t header,
                       struct node *node)
{
    uint64_t distance, len;
    int r;
    node->field = header & NODE_FIELD;
    node->end = at;
    if (node->field == 0)
        return 0;
    if ((r = child_field_bytes(view, node->offset, node->field, &len)) != 0 ||
        (r = varint_read(view, at, limit, &distance, &at)) != 0 ||
        (r = reference_resolve(view, node->offset, distance, &node->child)) != 0)
        return r;
    if (len > limit - at)
        return view_corrupt(view, node->offset, "a child set that runs past its place");
    node->set = map_at(view->map, at, len);
    node->end = at + len;
    return 0;
}

int node_read(struct view *view, uint64_t offset, uint64_t limit, struct node *ret)
{
    const uint8_t *header = map_at(view->map, offset, 1);
    if (!header || offset >= limit)
        return view_corrupt(view, offset, "a node outside its run");
    struct node node = {
        .offset = offset, .is_line = *header & NODE_LINE, .has_value = *header & NODE_VALUE};
    uint64_t at = offset + 1;
    int r = 0;
    if (node.has_value)
        r = varint_read(view, at, limit, &node.value, &at);
    if (r == 0 && node.is_line)
        r = line_read(view, at, limit, *header, &node);
    else if (r == 0)
        r = branch_read(view, at, limit, *header, &node);
    if (r == 0)
        *ret = node;
    return r;
}

/* The end of the node at offset, from its header and the first bytes of its numbers alone. */
static int node_skip(struct view *view, uint64_t offset, uint64_t limit, uint64_t *ret_end)
{
    const uint8_t *header = map_at(view->map, offset, 1);
    if (!header || offset >= limit)
        return view_corrupt(view, offset, "fewer children than the child set says");
    bool is_line = *header & NODE_LINE;
    unsigned field = *header & NODE_FIELD;
    unsigned n_numbers = (*header & NODE_VALUE) ? 1 : 0;
    uint64_t len = 0, ignored, at = offset + 1;
    int r;
    if (is_line)
        n_numbers += (field & LINE_HAS_CHILD) ? 2 : 1;
    else if (field != 0)
        n_numbers++;
    if (!is_line && (r = child_field_bytes(view, offset, (uint8_t)field, &len)) != 0)
        return r;
    while (n_numbers-- > 0)
        if ((r = varint_read(view, at, limit, &ignored, &at)) != 0)
            return r;
    if (len > limit - at)
        return view_corrupt(view, offset, "a child set that runs past its place");
    *ret_end = at + len;
    return 0;
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

int node_child(struct view *view, const struct node *branch, uint8_t byte, uint64_t *ret_offset)
{
    unsigned rank;
    bool found = branch->field == NODE_FIELD_MASK
                     ? rank_in_mask(branch->set, byte, &rank)
                     : rank_in_bytes(branch->set, branch->field, byte, &rank);
    if (!found)
        return ACT_MISS;
    uint64_t at = branch->child;
    while (rank-- > 0) {
        int r = node_skip(view, at, branch->offset, &at);
        if (r != 0)
            return r;
    }
    *ret_offset = at;
    return 0;
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
