/*
 * tree: what an open tree consists of, for the files of this folder.
 */
#pragma once

#include "tree/map.h"

struct engine;

struct act {
    struct map map;
    uint64_t header_root; /* offset; taken once, at open: writers replace the root in place */
    uint64_t root;        /* the one in use: header_root, or one from its history */
    enum act_metadata_state metadata_state;
    struct act_metadata metadata; /* section 11; valid from ACT_METADATA_FOREIGN on */
    enum act_values values;
    struct tables *tables;            /* owned; NULL: none */
    const struct engine *engine;      /* how this machine looks keys up: see engine.h */
    struct residency_bits *residency; /* borrowed; NULL: lookups may wait for the disk */

    size_t reserved_bytes; /* of address space that are ours, from map.base; 0: none */
    size_t page_bytes;     /* of the mapping: the machine's, or huge */
};

/* For a walk along a key of so many bytes, or of at most so many. */
static inline struct view view_of(const struct act *tree, size_t key_len)
{
    bool is_warm = !tree->residency ||
                   atomic_load_explicit(&tree->residency->is_all_known, memory_order_relaxed);
    return (struct view){.map = &tree->map,
                         .tables = tree->tables,
                         .residency = is_warm ? NULL : tree->residency,
                         .reach = (uint64_t)key_len + 1};
}
