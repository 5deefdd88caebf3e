/*
 * tree: what an open tree consists of, for the files of this folder.
 */
#pragma once

#include "tree/map.h"

struct act {
    struct map map;
    uint64_t root;         /* offset; taken once, at open: writers replace the root in place */
    struct tables *tables; /* owned; NULL: none */
};
