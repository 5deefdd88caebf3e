/*
 * lookup: the public functions for keys (section 5): get and its kin by the tree's engine, node.
 */
#include "tree/descend.h"
#include "tree/engine.h"
#include "tree/tree.h"

#include <assert.h>

static struct slice key_of(const void *key, size_t len)
{
    assert(key || len == 0);
    return slice_of(key ? key : "", len);
}

int act_get(const struct act *tree, const void *key, size_t key_len, uint64_t *ret_value,
            struct act_fault *ret_fault)
{
    return tree->engine->get(tree, key_of(key, key_len), ret_value, ret_fault);
}

void act_get_batch(const struct act *tree, const struct act_key *keys, size_t n,
                   struct act_result *ret_results)
{
    tree->engine->get_batch(tree, keys, n, ret_results);
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
    struct view view = view_of(tree, key_len);
    struct position position;
    int r = descend(&view, tree->root, key_of(key, key_len), &position);
    if (r == ACT_CORRUPT && ret_fault)
        *ret_fault = view.fault;
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
