/*
 * lookup: from a key to a position (section 5).
 *
 * One walk serves get, exists and node, so they cannot disagree. It is iterative, consumes at least
 * one byte of the key a branch or line, and goes only to lower offsets: it ends, whatever the file.
 */
#include "tree/child.h"
#include "tree/match.h"
#include "tree/tree.h"

#include <assert.h>

/* Where a key leads: into a line, to a line's end, or to a branch. */
struct position {
    struct node node;
    size_t line_used; /* line node: how many of its bytes the key has consumed */
    bool has_value;   /* of node->value */
};

/* Decodes each node in the position's place: a copy of the last one would cost as much as a step.
 */
static int walk(struct view *view, uint64_t root, struct slice key, struct position *position)
{
    uint64_t at = root, limit = view->map->size;
    struct slice rest = key;
    struct node *node = &position->node;
    for (;;) {
        int r = node_read(view, at, limit, node);
        if (r != 0)
            return r;
        limit = node->offset; /* what is below stands wholly before this node */
        if (node->is_line) {
            enum match match = match_line(node, rest);
            if (match == MATCH_NONE)
                return ACT_MISS;
            if (match != MATCH_ON) {
                position->line_used = rest.len;
                position->has_value = match == MATCH_END && node->has_value;
                return 0;
            }
            rest = slice_of(rest.p + node->line.len, rest.len - node->line.len);
            at = node->child;
            continue;
        }
        if (rest.len == 0) {
            position->has_value = node->has_value;
            return 0;
        }
        if (node->field == 0)
            return ACT_MISS;
        if ((r = child_step(view, node, rest.p[0], &at)) != 0)
            return r;
        rest = slice_of(rest.p + 1, rest.len - 1);
    }
}

static int find(const struct act *tree, const void *key, size_t key_len,
                struct position *ret_position, struct view *view, struct act_fault *ret_fault)
{
    *view = (struct view){.map = &tree->map, .tables = tree->tables};
    assert(key || key_len == 0);
    int r = walk(view, tree->root, slice_of(key ? key : "", key_len), ret_position);
    if (r == ACT_CORRUPT && ret_fault)
        *ret_fault = view->fault;
    return r;
}

int act_get(const struct act *tree, const void *key, size_t key_len, uint64_t *ret_value,
            struct act_fault *ret_fault)
{
    struct view view;
    struct position position;
    int r = find(tree, key, key_len, &position, &view, ret_fault);
    if (r != 0)
        return r;
    if (!position.has_value)
        return ACT_MISS;
    if (ret_value)
        *ret_value = position.node.value;
    return 0;
}

int act_exists(const struct act *tree, const void *key, size_t key_len, struct act_fault *ret_fault)
{
    return act_get(tree, key, key_len, NULL, ret_fault);
}

static void add_child(struct act_node *node, uint8_t byte)
{
    node->children[byte >> 6] |= UINT64_C(1) << (byte & 63);
}

/* The bytes that lead on from a position. At a line's end these are its child's. */
static int position_children(struct view *view, const struct position *position,
                             struct act_node *ret)
{
    struct node node = position->node;
    if (node.is_line && position->line_used < node.line.len) {
        add_child(ret, node.line.p[position->line_used]);
        return 0;
    }
    if (node.is_line) {
        if (node.child == 0)
            return 0;
        int r = node_read(view, node.child, node.offset, &node);
        if (r != 0)
            return r;
        if (node.is_line) {
            add_child(ret, node.line.p[0]);
            return 0;
        }
    }
    node_children(&node, ret->children);
    return 0;
}

int act_node(const struct act *tree, const void *key, size_t key_len, struct act_node *ret_node,
             struct act_fault *ret_fault)
{
    struct view view;
    struct position position;
    int r = find(tree, key, key_len, &position, &view, ret_fault);
    if (r != 0)
        return r;
    struct act_node node = {.has_value = position.has_value};
    if (position.has_value)
        node.value = position.node.value;
    r = position_children(&view, &position, &node);
    if (r == ACT_CORRUPT && ret_fault)
        *ret_fault = view.fault;
    if (r == 0)
        *ret_node = node;
    return r;
}
