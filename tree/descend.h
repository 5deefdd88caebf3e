/*
 * descend: the way down from the root along a key, to a position (section 5).
 *
 * One function serves get, exists and node, so they cannot disagree. It is iterative, consumes at
 * least one byte of the key a branch or line, and goes only to lower offsets: it ends, whatever the
 * file.
 */
#pragma once

#include "tree/child.h"
#include "tree/match.h"

/* Where a key leads: into a line, to a line's end, or to a branch. */
struct position {
    struct node node;
    size_t line_used; /* line node: how many of its bytes the key has consumed */
    bool has_value;   /* of node->value */
};

/* Always inlined, so that the node stays in registers on its way. 0, ACT_MISS or ACT_CORRUPT. */
static inline __attribute__((always_inline)) int descend(struct view *view, uint64_t root,
                                                         struct slice key,
                                                         struct position *ret_position)
{
    uint64_t at = root, limit = view->map->size;
    struct slice rest = key;
    struct node node = {0};
    for (;;) {
        int r = node_read(view, at, limit, &node);
        if (r != 0)
            return r;
        limit = node.offset; /* what is below stands wholly before this node */
        if (node.is_line) {
            enum match match = match_line(&node, rest);
            if (match == MATCH_NONE)
                return ACT_MISS;
            if (match != MATCH_ON) {
                bool has_value = match == MATCH_END && node.has_value;
                *ret_position = (struct position){node, rest.len, has_value};
                return 0;
            }
            rest = slice_of(rest.p + node.line.len, rest.len - node.line.len);
            at = node.child;
            continue;
        }
        if (rest.len == 0) {
            *ret_position = (struct position){node, 0, node.has_value};
            return 0;
        }
        if (node.field == 0)
            return ACT_MISS;
        if ((r = child_step(view, &node, rest, &at)) != 0)
            return r;
        rest = slice_of(rest.p + 1, rest.len - 1);
    }
}
