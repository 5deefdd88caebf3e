/*
 * dispatch_trees: the trees that fuzz_dispatch asks, and what they hold.
 */
#pragma once

#include "bytes.h"
#include "oracle.h"

struct dispatch_tree {
    struct bytes file;
    struct oracle oracle; /* empty where the contents are not known */
    bool is_known, has_byte_values;
    uint64_t most_nodes; /* that a walk over all of it may visit */
    size_t longest_key;
};

/* Number index of them, or of as many as there are. */
const struct dispatch_tree *dispatch_tree(unsigned index);
