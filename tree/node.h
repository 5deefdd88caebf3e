/*
 * node: one node of the trie, decoded and checked (sections 3 and 4).
 *
 * node_read checks everything that the node itself says: its bytes lie before limit, its references
 * lead down and stay behind the header, its line lies wholly before it. So offsets strictly
 * decrease along every path, and no file can make a walk go round.
 *
 * It stands in the header, and is always inlined, because a lookup is little else: as a call it
 * took a fifth longer, and so it does where *node is not kept in registers.
 */
#pragma once

#include "tree/map.h"

#define HEADER_BYTES 16 /* magic and root: no reference leads below it */

#define NODE_LINE        0x80
#define NODE_VALUE       0x40
#define NODE_FIELD       0x3f
#define NODE_FIELD_MASK  32 /* child field: a 256-bit mask follows */
#define LINE_HAS_CHILD   0x01
#define CHILD_MASK_BYTES 32

struct node {
    uint64_t offset;
    uint64_t end; /* first byte behind it */
    uint64_t value;
    uint64_t child;     /* offset of the first child; 0: none */
    uint64_t line_at;   /* line node: offset of its line data */
    struct slice line;  /* and its bytes, at least one: once they are read */
    const uint8_t *set; /* branch: child bytes, or the mask if field is NODE_FIELD_MASK */
    uint8_t field;      /* branch: the child field */
    bool has_room;      /* branch: CHILD_MASK_BYTES can be read at set */
    bool is_line;
    bool has_value;
};

/* What is left of the map behind offset, with zeros behind it, in copy; NULL: offset lies outside
 * the map. For the last bytes of a map, where a whole window is not left. */
const uint8_t *node_window_copy(const struct map *map, uint64_t offset,
                                uint8_t copy[MAP_WINDOW_BYTES]);

/* The set of a branch's child bytes, as in struct act_node. */
void node_children(const struct node *branch, uint64_t children[4]);

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

/* A reference backward from the node: 1 or more, and not into the file's header. */
static inline int reference_resolve(struct view *view, uint64_t node, uint64_t distance,
                                    uint64_t *ret)
{
    if (distance == 0)
        return view_corrupt(view, node, "a reference to the node itself");
    if (distance > node || node - distance < HEADER_BYTES)
        return view_corrupt(view, node, "a reference that leaves the arena");
    *ret = node - distance;
    return 0;
}

static inline int line_data_read(struct view *view, uint64_t offset, uint64_t node,
                                 struct slice *ret)
{
    uint64_t len, begin;
    int r = varint_read(view, offset, node, &len, &begin);
    if (r != 0)
        return r;
    if (len == 0)
        return view_corrupt(view, offset, "line data of length 0");
    if (len > node - begin)
        return view_corrupt(view, offset, "line data that runs into its node");
    uint64_t needed = len < view->reach ? len : view->reach;
    if (needed > MAP_WINDOW_BYTES - VARINT_MAX_BYTES && !view_may_touch(view, begin, needed))
        return ACT_COLD;
    *ret = slice_of(map_at(view->map, begin, len), len);
    return 0;
}

/* The bytes of a line node that was read by node_read_head. 0, ACT_CORRUPT or ACT_COLD. */
static inline int node_read_line(struct view *view, struct node *node)
{
    return line_data_read(view, node->line_at, node->offset, &node->line);
}

/* What may be read at offset is fetched meanwhile. An offset outside the map is harmless. */
static inline void node_prefetch(const struct map *map, uint64_t offset)
{
    __builtin_prefetch((const void *)((uintptr_t)map->base + offset));
}

/* A line's child, and what stands before it: most often the line's own data and the child's run, in
 * that order downward. */
static inline void node_prefetch_child(const struct map *map, const struct node *line)
{
    for (uint64_t back = 0; back <= 128; back += 64)
        node_prefetch(map, line->child - back);
}

/* node_read_head from the node's window. */
static inline __attribute__((always_inline)) int node_read_in(struct view *view,
                                                              const uint8_t *window,
                                                              uint64_t offset, uint64_t limit,
                                                              struct node *node)
{
    const uint8_t *at = window;
    uint64_t child = 0, line = 0, set_at = 0;
    if (offset >= limit)
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
        r = reference_resolve(view, offset, line, &node->line_at);
    if (node->field > 0) {
        node->set = map_at(view->map, set_at, node->field);
        node->has_room = map_window(view->map, offset);
    }
    return r;
}

/* Decodes the node at offset, which must end at or before limit, but for the line data of a line
 * node. 0; ACT_CORRUPT or ACT_COLD: then *node is not to be used. */
static inline __attribute__((always_inline)) int node_read_head(struct view *view, uint64_t offset,
                                                                uint64_t limit, struct node *node)
{
    uint8_t copy[MAP_WINDOW_BYTES];
    const uint8_t *window = map_window(view->map, offset);
    if (window && !view_may_touch(view, offset, MAP_WINDOW_BYTES))
        return ACT_COLD;
    if (!window)
        window = node_window_copy(view->map, offset, copy);
    if (!window)
        return view_corrupt(view, offset, "a node outside the file");
    return node_read_in(view, window, offset, limit, node);
}

/* All of it. A line node names both its bytes and its child, so one is fetched while the other is
 * compared. */
static inline __attribute__((always_inline)) int node_read(struct view *view, uint64_t offset,
                                                           uint64_t limit, struct node *node)
{
    int r = node_read_head(view, offset, limit, node);
    if (r != 0 || !node->is_line)
        return r;
    node_prefetch_child(view->map, node);
    return node_read_line(view, node);
}
