/*
 * consistent: see consistent.h.
 */
#include "consistent.h"

#include "tree/engine.h"

#define DEPTH_MAX 256

static bool has_child(const struct act_node *node, uint8_t byte)
{
    return node->children[byte >> 6] >> (byte & 63) & 1;
}

static const char *check_fault(const struct act *tree, int r, const struct act_fault *fault)
{
    struct act_info info;
    act_info(tree, &info);
    if (r != ACT_CORRUPT)
        return fault->reason ? "a fault is told without ACT_CORRUPT" : NULL;
    if (!fault->reason)
        return "ACT_CORRUPT without a reason";
    return fault->offset > info.size_bytes ? "a fault outside the file" : NULL;
}

/* get: what act_get said. The one way in which node may differ: the position is found and has a
 * value, but its children cannot be read. */
static const char *check_node(int get, uint64_t value, int r, const struct act_node *node)
{
    switch (get) {
    case ACT_OK:
        if (r == ACT_CORRUPT)
            return NULL;
        return r == 0 && node->has_value && node->value == value
                   ? NULL
                   : "get has a value, node has another or none";
    case ACT_MISS:
        return r == ACT_MISS || (r == 0 && !node->has_value) ? NULL
                                                             : "get misses, node has a value";
    case ACT_CORRUPT:
        return r == ACT_CORRUPT ? NULL : "get is corrupt, node is not";
    default:
        return "get ends in something else than an answer, a miss or corrupt";
    }
}

/* The batch, with other walks beside this one, ends as get does. */
static const char *check_batch(const struct engine *engine, const struct act *tree,
                               struct slice key, int get, uint64_t value)
{
    const struct act_key keys[] = {{key.p, key.len}, {NULL, 0}, {key.p, key.len}};
    struct act_result results[3];
    engine->get_batch(tree, keys, 3, results);
    for (unsigned i = 0; i < 3; i += 2) {
        if (results[i].outcome != get)
            return "get and the batch differ";
        if (get == ACT_OK && results[i].value != value)
            return "the batch has another value";
        if (get == ACT_CORRUPT && !results[i].fault.reason)
            return "the batch has a fault without a reason";
    }
    return NULL;
}

static bool is_same_fault(int r, const struct act_fault *a, const struct act_fault *b)
{
    return r != ACT_CORRUPT || (a->offset == b->offset && strcmp(a->reason, b->reason) == 0);
}

/* Every engine that this machine can run ends as act_get does. */
static const char *check_engines(const struct act *tree, struct slice key, int get, uint64_t value,
                                 const struct act_fault *fault)
{
    const char *wrong = NULL;
    for (const struct engine *const *engine = engine_list(); *engine && !wrong; engine++) {
        uint64_t other = 0;
        struct act_fault of_other = {0};
        if ((*engine)->get(tree, key, &other, &of_other) != get || other != value ||
            !is_same_fault(get, fault, &of_other))
            return "two engines differ";
        wrong = check_batch(*engine, tree, key, get, value);
    }
    return wrong;
}

const char *consistent_at(const struct act *tree, struct slice key)
{
    uint64_t value = 0;
    struct act_node node, parent;
    struct act_fault of_get = {0}, of_exists = {0}, of_node = {0};
    const char *wrong;
    int get = act_get(tree, key.p, key.len, &value, &of_get);
    if (act_exists(tree, key.p, key.len, &of_exists) != get)
        return "exists and get differ";
    if ((wrong = check_engines(tree, key, get, value, &of_get)) != NULL)
        return wrong;
    int r = act_node(tree, key.p, key.len, &node, &of_node);
    if ((wrong = check_node(get, value, r, &node)) != NULL ||
        (wrong = check_fault(tree, get, &of_get)) != NULL ||
        (wrong = check_fault(tree, get, &of_exists)) != NULL ||
        (wrong = check_fault(tree, r, &of_node)) != NULL)
        return wrong;
    if (r != 0 || key.len == 0)
        return NULL;
    if (act_node(tree, key.p, key.len - 1, &parent, NULL) != 0)
        return "a position exists, the one before it does not";
    return has_child(&parent, key.p[key.len - 1]) ? NULL : "the position before does not lead here";
}

struct exploration {
    const struct act *tree;
    size_t positions_left;
    size_t max_depth;
    uint8_t key[DEPTH_MAX];
};

static const char *explore(struct exploration *x, size_t depth)
{
    struct act_node node, child;
    const char *wrong = consistent_at(x->tree, slice_of(x->key, depth));
    if (wrong || act_node(x->tree, x->key, depth, &node, NULL) != 0 || depth == x->max_depth)
        return wrong;
    for (unsigned b = 0; b < 256 && !wrong && x->positions_left > 0; b++) {
        x->key[depth] = (uint8_t)b;
        int r = act_node(x->tree, x->key, depth + 1, &child, NULL);
        if ((r == ACT_MISS) == has_child(&node, (uint8_t)b))
            return "a child is told that is not there, or the other way round";
        x->positions_left--;
        if (r != ACT_MISS)
            wrong = explore(x, depth + 1);
    }
    return wrong;
}

const char *consistent_below_root(const struct act *tree, size_t max_positions, size_t max_depth)
{
    struct exploration x = {.tree = tree,
                            .positions_left = max_positions,
                            .max_depth = max_depth < DEPTH_MAX ? max_depth : DEPTH_MAX};
    return explore(&x, 0);
}

const char *consistent_between(const struct act *a, const struct act *b, struct slice key)
{
    uint64_t value_a = 0, value_b = 0;
    struct act_node node_a = {0}, node_b = {0};
    struct act_fault fault_a = {0}, fault_b = {0};
    int r = act_get(a, key.p, key.len, &value_a, &fault_a);
    if (act_get(b, key.p, key.len, &value_b, &fault_b) != r || value_a != value_b)
        return "get differs between two trees of the same bytes";
    if (!is_same_fault(r, &fault_a, &fault_b))
        return "two trees of the same bytes tell different faults";
    r = act_node(a, key.p, key.len, &node_a, NULL);
    if (act_node(b, key.p, key.len, &node_b, NULL) != r || node_a.has_value != node_b.has_value ||
        node_a.value != node_b.value ||
        memcmp(node_a.children, node_b.children, sizeof node_a.children) != 0)
        return "node differs between two trees of the same bytes";
    return NULL;
}
