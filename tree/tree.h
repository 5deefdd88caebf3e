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
    struct tables *tables;       /* owned; NULL: none */
    const struct engine *engine; /* how this machine looks keys up: see engine.h */
};
