/*
 * fuzz_cursor: any file and any moves of a cursor. Input: the file's length (u16, little-endian),
 * the file, then moves: each a byte that says which (enum cursor_move) and with what budget, two
 * bytes of length, and so many bytes for what the move takes.
 *
 * Where all positions can be explored, their entries make an oracle, and every move must do what
 * the model does. In any file: entries come in strictly ascending or descending order, each is what
 * act_get finds, prev undoes next, the ends stay ends, count is the number of entries, and a node
 * at a time gives the same as all at once.
 */
#include "cursormodel.h"

#include <stdio.h>
#include <stdlib.h>

#define POSITIONS_MAX 600
#define DEPTH_MAX     80
#define KEY_MAX       100 /* longest key of the cursor that walks in any file */
#define NODES_MAX     3000
#define MOVES_MAX     60

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const char *wrong)
{
    if (!wrong)
        return;
    fprintf(stderr, "%s\n", wrong);
    abort();
}

static void check_that(bool is_right, const char *wrong)
{
    check(is_right ? NULL : wrong);
}

struct exploration {
    const struct act *tree;
    struct oracle *oracle;
    unsigned n_left;
    uint8_t key[DEPTH_MAX];
};

/* All that is below the first len bytes of the key into the oracle. False: too much, or damaged. */
static bool explore(struct exploration *x, size_t len)
{
    struct act_node node;
    if (x->n_left-- == 0 || act_node(x->tree, x->key, len, &node, NULL) != 0) {
        x->n_left = 0;
        return false;
    }
    if (node.has_value)
        oracle_add(x->oracle, x->key, len, node.value);
    for (unsigned b = 0; b < 256; b++) {
        if (!(node.children[b >> 6] >> (b & 63) & 1))
            continue;
        if (len == DEPTH_MAX || x->n_left == 0)
            return false;
        x->key[len] = (uint8_t)b;
        if (!explore(x, len + 1))
            return false;
    }
    return true;
}

struct program {
    struct slice rest;
};

/* The next of the program's moves. False: there is none. */
static bool next_move(struct program *program, enum cursor_move *ret_move, uint64_t *ret_budget,
                      struct slice ret_args[2])
{
    struct slice *rest = &program->rest;
    if (rest->len < 3)
        return false;
    *ret_move = rest->p[0] % MODEL_MOVES;
    *ret_budget = rest->p[0] / MODEL_MOVES % 4;
    size_t lens[2] = {rest->p[1], rest->p[2]};
    *rest = slice_of(rest->p + 3, rest->len - 3);
    for (unsigned i = 0; i < 2; i++) {
        size_t len = lens[i] % 32 < rest->len ? lens[i] % 32 : rest->len;
        ret_args[i] = slice_of(rest->p, len);
        *rest = slice_of(rest->p + len, rest->len - len);
    }
    if (*ret_move == MODEL_DESCEND && ret_args[0].len == 0)
        ret_args[0] = slice_of("a", 1);
    return true;
}

static void run_with_model(const struct act *tree, struct slice moves)
{
    struct oracle oracle;
    struct cursor_model model;
    struct program program = {moves};
    enum cursor_move move;
    struct slice args[2];
    oracle_init(&oracle);
    struct exploration x = {.tree = tree, .oracle = &oracle, .n_left = POSITIONS_MAX};
    if (explore(&x, 0)) {
        oracle_sort(&oracle);
        cursor_model_init(&model, tree, &oracle);
        for (unsigned i = 0; i < MOVES_MAX && next_move(&program, &move, &model.budget, args); i++)
            check(cursor_model_move(&model, move, args[0], args[1]));
        if (oracle.n <= 8)
            check(cursor_model_check_all(&model, 1));
        cursor_model_deinit(&model);
    }
    oracle_deinit(&oracle);
}

/* With sibling tables in the file, which nothing compares with the run but the verifier, lookups
 * and walks may differ. */
static bool has_tables(const struct act *tree)
{
    struct act_info info;
    act_info(tree, &info);
    return info.metadata_state >= ACT_METADATA_TABLES;
}

static struct bytes key_of(const struct act_cursor *cursor)
{
    size_t len;
    const uint8_t *p = act_cursor_key(cursor, &len);
    check_that(p != NULL, "an entry without a key");
    check_that(len <= KEY_MAX, "a key that is too long");
    return bytes_copy(p, len);
}

static void check_entry(const struct act *tree, const struct act_cursor *cursor)
{
    struct bytes key = key_of(cursor);
    uint64_t value, wanted = 0;
    check_that(act_cursor_value(cursor, &value) == 0, "an entry without a value");
    int r = act_get(tree, key.p, key.len, &wanted, NULL);
    check_that(has_tables(tree) || (r == 0 && wanted == value), "get has another value");
    bytes_free(&key);
}

static int step(struct act_cursor *cursor, bool is_forward)
{
    return is_forward ? act_cursor_next(cursor) : act_cursor_prev(cursor);
}

/* From one entry on, one step. Returns its outcome. */
static int check_step(const struct act *tree, struct act_cursor *cursor, bool is_forward)
{
    struct bytes before = key_of(cursor);
    int r = step(cursor, is_forward);
    check_that(r >= ACT_OK && r <= ACT_TOO_LONG, "an outcome that is none");
    if (r == 0) {
        struct bytes after = key_of(cursor);
        int order = oracle_compare(slice_of(before.p, before.len), slice_of(after.p, after.len));
        check_that(is_forward ? order < 0 : order > 0, "entries out of order");
        check_entry(tree, cursor);
        bytes_free(&after);
    }
    if ((r == 0 || r == ACT_MISS) && !has_tables(tree)) {
        int back = step(cursor, !is_forward);
        if (back != ACT_LIMIT) {
            /* What has been passed is readable; before the first entry nothing is known. */
            check_that(back == 0 || r == ACT_MISS, "the opposite move does not lead back");
        }
        if (back == 0) {
            struct bytes again = key_of(cursor);
            check_that(slice_equal(slice_of(before.p, before.len), slice_of(again.p, again.len)),
                       "the opposite move leads elsewhere");
            bytes_free(&again);
            if (r == 0)
                r = step(cursor, is_forward);
        } else {
            r = back;
        }
    }
    bytes_free(&before);
    return r;
}

static void walk(const struct act *tree, bool is_forward)
{
    struct act_cursor *cursor;
    uint64_t n = 0, count = 0;
    if (act_cursor_new(tree, KEY_MAX, &cursor) != 0)
        abort();
    act_cursor_set_budget(cursor, NODES_MAX);
    int r = is_forward ? act_cursor_first(cursor) : act_cursor_last(cursor);
    for (; r == 0; n++) {
        check_entry(tree, cursor);
        r = check_step(tree, cursor, is_forward);
    }
    bool is_whole = r == ACT_MISS;
    act_cursor_reset(cursor, tree);
    act_cursor_set_prefix(cursor, NULL, 0);
    act_cursor_set_budget(cursor, NODES_MAX);
    if (is_whole && is_forward) {
        r = act_cursor_count(cursor, &count);
        check_that((r == 0 && count == n) || r == ACT_LIMIT, "another count");
    }
    act_cursor_free(cursor);
}

static int make_move(struct act_cursor *cursor, enum cursor_move move, const struct slice args[2])
{
    uint64_t count;
    const uint8_t *a = args[0].p;
    size_t len = args[0].len;
    switch (move) {
    case MODEL_FIRST:
        return act_cursor_first(cursor);
    case MODEL_LAST:
        return act_cursor_last(cursor);
    case MODEL_NEXT:
        return act_cursor_next(cursor);
    case MODEL_PREV:
        return act_cursor_prev(cursor);
    case MODEL_SEEK:
        return act_cursor_seek(cursor, a, len);
    case MODEL_AT_OR_AFTER:
        return act_cursor_seek_at_or_after(cursor, a, len);
    case MODEL_AT_OR_BEFORE:
        return act_cursor_seek_at_or_before(cursor, a, len);
    case MODEL_SET_PREFIX:
        act_cursor_set_prefix(cursor, a, len);
        return ACT_MISS;
    case MODEL_SET_RANGE:
        act_cursor_set_range(cursor, a, len, args[1].p, args[1].len);
        return ACT_MISS;
    case MODEL_SET_FROM:
        act_cursor_set_range(cursor, a, len, NULL, 0);
        return ACT_MISS;
    case MODEL_ROOT:
        return act_cursor_root(cursor) == 0 ? ACT_MISS : ACT_CORRUPT;
    case MODEL_COUNT:
        return act_cursor_count(cursor, &count) == 0 ? ACT_MISS : ACT_CORRUPT;
    case MODEL_ASCEND:
        act_cursor_ascend(cursor, len, NULL);
        return ACT_MISS;
    case MODEL_DESCEND_CHAIN:
        return act_cursor_descend_chain(cursor) == 0 ? ACT_MISS : ACT_CORRUPT;
    default:
        return act_cursor_descend_by(cursor, a, len) == 0 ? ACT_MISS : ACT_CORRUPT;
    }
}

/* Any moves in any file, out of budget at any time. */
static void run_anyhow(const struct act *tree, struct slice moves)
{
    struct act_cursor *cursor;
    struct program program = {moves};
    enum cursor_move move;
    struct slice args[2];
    struct act_node node;
    uint64_t budget;
    if (act_cursor_new(tree, KEY_MAX, &cursor) != 0)
        abort();
    for (unsigned i = 0; i < MOVES_MAX && next_move(&program, &move, &budget, args); i++) {
        act_cursor_set_budget(cursor, budget == 0 ? NODES_MAX : 2 * budget - 2);
        if (make_move(cursor, move, args) == 0)
            check_entry(tree, cursor);
        act_cursor_node(cursor, &node);
    }
    act_cursor_free(cursor);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct act *tree;
    if (size < 2)
        return 0;
    size_t len = data[0] | (size_t)data[1] << 8;
    if (len > size - 2)
        len = size - 2;
    struct bytes file = bytes_copy(data + 2, len);
    struct slice moves = slice_of(data + 2 + len, size - 2 - len);
    if (act_open_memory(file.p, file.len, "fuzz", &tree, NULL) == 0) {
        walk(tree, true);
        walk(tree, false);
        run_anyhow(tree, moves);
        if (!has_tables(tree))
            run_with_model(tree, moves);
        act_close(tree);
    }
    bytes_free(&file);
    return 0;
}
