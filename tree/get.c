/*
 * get: one key (section 5). Compiled for each engine: see engine.h.
 */
#include "tree/descend.h"
#include "tree/engine.h"
#include "tree/tree.h"

int ENGINE_NAME(get)(const struct act *tree, struct slice key, uint64_t *ret_value,
                     struct act_fault *ret_fault)
{
    struct view view = view_of(tree, key.len);
    struct position position;
    int r = descend(&view, tree->root, key, &position);
    if (r == ACT_CORRUPT && ret_fault)
        *ret_fault = view.fault;
    if (r != 0)
        return r;
    if (!position.has_value)
        return ACT_MISS;
    if (ret_value)
        *ret_value = position.node.value;
    return 0;
}
