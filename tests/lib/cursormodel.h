/*
 * cursormodel: a cursor, and what it should do: a place in a sorted array. Each move is made with
 * both, and everything that the cursor then tells is compared.
 *
 * Entries are the oracle's; which positions there are is asked of act_node, which has its own tests
 * (so that trees with positions that lead to no entry can be compared, too).
 */
#pragma once

#include "act/act.h"
#include "bytes.h"
#include "oracle.h"

enum cursor_move {
    MODEL_FIRST,
    MODEL_LAST,
    MODEL_NEXT,
    MODEL_PREV,
    MODEL_SEEK,
    MODEL_AT_OR_AFTER,
    MODEL_AT_OR_BEFORE,
    MODEL_SET_PREFIX,
    MODEL_SET_RANGE, /* from, to */
    MODEL_SET_FROM,  /* from, no end */
    MODEL_ROOT,
    MODEL_DESCEND,
    MODEL_DESCEND_BY,
    MODEL_DESCEND_CHAIN,
    MODEL_ASCEND, /* as many bytes as a has */
    MODEL_COUNT,
    MODEL_RESET,
    MODEL_MOVES
};

struct cursor_model {
    const struct act *tree;
    const struct oracle *oracle;
    struct act_cursor *cursor; /* owned */
    bool is_at;                /* at a position: key; else in the gap before entry number `index` */
    struct bytes key;          /* owned */
    size_t index;
    size_t low, high;      /* entries inside the bounds: low to high - 1 */
    struct bytes from, to; /* owned: what the cursor borrows */
    uint64_t budget;       /* of a call, which is repeated until it is enough; 0: no bound */
};

/* The oracle must hold what the tree holds. Both are borrowed. */
void cursor_model_init(struct cursor_model *model, const struct act *tree,
                       const struct oracle *oracle);
void cursor_model_deinit(struct cursor_model *model);

/* Makes the move; a and b are what it takes. NULL, or what is wrong, as static text. */
const char *cursor_model_move(struct cursor_model *model, enum cursor_move move, struct slice a,
                              struct slice b);

/* Forward, backward, counting, and a seek of each kind to every step-th key and its near misses.
 * Takes away the bounds. NULL, or what is wrong. */
const char *cursor_model_check_all(struct cursor_model *model, size_t step);
