/*
 * prefixes: the stored keys that a key begins with, in one walk down (section 5).
 *
 * The walk is the lookup's (lookup.c), but stops at every value on its way: a line's end and a
 * branch there are one position, whose value is the line's if that has one.
 */
#include "tree/child.h"
#include "tree/tree.h"

#include <assert.h>

struct prefix_walk {
    struct view view;
    struct slice key;
    uint64_t at, limit;    /* the next node, and what it ends at; at 0: the end */
    size_t used;           /* bytes of the key before it */
    bool is_value_settled; /* of the position before it: by a line */
};

static struct prefix_walk begin(const struct act *tree, const void *key, size_t key_len)
{
    assert(key || key_len == 0);
    return (struct prefix_walk){.view = view_of(tree, key_len),
                                .key = slice_of(key ? key : "", key_len),
                                .at = tree->root,
                                .limit = tree->map.size};
}

/* Behind the line, or at the end. */
static bool pass_line(struct prefix_walk *walk, const struct node *node)
{
    size_t rest = walk->key.len - walk->used;
    walk->at = 0;
    if (rest < node->line.len ||
        memcmp(walk->key.p + walk->used, node->line.p, node->line.len) != 0)
        return false;
    walk->used += node->line.len;
    walk->is_value_settled = node->has_value;
    if (rest > node->line.len || !node->has_value)
        walk->at = node->child;
    return node->has_value;
}

static int pass_branch(struct prefix_walk *walk, const struct node *node)
{
    walk->at = 0;
    walk->is_value_settled = false;
    if (walk->used == walk->key.len || node->field == 0)
        return 0;
    struct slice rest = slice_of(walk->key.p + walk->used, walk->key.len - walk->used);
    int r = child_step(&walk->view, node, rest, &walk->at);
    walk->used++;
    return r == ACT_MISS ? 0 : r;
}

/* The next stored key on the way. ACT_MISS: there is none. */
static int next(struct prefix_walk *walk, struct act_prefix *ret)
{
    while (walk->at != 0) {
        struct node node = {0};
        int r = node_read(&walk->view, walk->at, walk->limit, &node);
        if (r != 0)
            return r;
        walk->limit = node.offset;
        struct act_prefix found = {.len = walk->used, .value = node.value};
        bool has_value = node.has_value && !walk->is_value_settled;
        if (node.is_line) {
            has_value = pass_line(walk, &node);
            found.len = walk->used;
        } else {
            r = pass_branch(walk, &node);
        }
        if (r != 0)
            return r;
        if (has_value) {
            *ret = found;
            return 0;
        }
    }
    return ACT_MISS;
}

int act_longest_prefix(const struct act *tree, const void *key, size_t key_len, size_t *ret_len,
                       uint64_t *ret_value, struct act_fault *ret_fault)
{
    struct prefix_walk walk = begin(tree, key, key_len);
    struct act_prefix found;
    bool has_found = false;
    int r;
    while ((r = next(&walk, &found)) == 0)
        has_found = true;
    if (r == ACT_CORRUPT && ret_fault)
        *ret_fault = walk.view.fault;
    if (r != ACT_MISS || !has_found)
        return r;
    *ret_len = found.len;
    *ret_value = found.value;
    return 0;
}

int act_prefixes(const struct act *tree, const void *key, size_t key_len, size_t min_len,
                 struct act_prefix *ret_prefixes, size_t max, size_t *ret_n,
                 struct act_fault *ret_fault)
{
    struct prefix_walk walk = begin(tree, key, key_len);
    struct act_prefix found;
    size_t n = 0;
    int r = 0;
    while (n < max && (r = next(&walk, &found)) == 0)
        if (found.len >= min_len)
            ret_prefixes[n++] = found;
    if (r == ACT_CORRUPT && ret_fault)
        *ret_fault = walk.view.fault;
    if (r != 0 && r != ACT_MISS)
        return r;
    *ret_n = n;
    return 0;
}
