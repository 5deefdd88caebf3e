/*
 * cursormodel: see cursormodel.h.
 */
#include "cursormodel.h"

#include "probe.h"

#include <err.h>
#include <stdlib.h>

#define CALLS_MAX 10000000 /* of one move, each with its budget */

void cursor_model_init(struct cursor_model *model, const struct act *tree,
                       const struct oracle *oracle)
{
    *model = (struct cursor_model){.tree = tree,
                                   .oracle = oracle,
                                   .is_at = true,
                                   .key = bytes_copy("", 0),
                                   .from = bytes_copy("", 0),
                                   .to = bytes_copy("", 0),
                                   .high = oracle->n};
    if (act_cursor_new(tree, 0, &model->cursor) != 0)
        errx(2, "no memory for a cursor");
}

void cursor_model_deinit(struct cursor_model *model)
{
    act_cursor_free(model->cursor);
    bytes_free(&model->key);
    bytes_free(&model->from);
    bytes_free(&model->to);
}

static struct slice key_of(const struct cursor_model *model)
{
    return slice_of(model->key.p, model->key.len);
}

static void stand_at(struct cursor_model *model, struct slice key)
{
    struct bytes copy = bytes_copy(key.p, key.len);
    bytes_free(&model->key);
    model->key = copy;
    model->is_at = true;
}

static int stand_in_gap(struct cursor_model *model, size_t index)
{
    model->is_at = false;
    model->index = index;
    return ACT_MISS;
}

/* To that entry, or to the end of the bounds that it is beyond. */
static int stand_at_entry(struct cursor_model *model, size_t index)
{
    if (index >= model->high || model->low >= model->high)
        return stand_in_gap(model, model->high);
    stand_at(model, model->oracle->entries[index].key);
    return 0;
}

/* To entry number end - 1, the last one before `end`. */
static int stand_before(struct cursor_model *model, size_t end)
{
    if (end <= model->low || model->low >= model->high)
        return stand_in_gap(model, model->low);
    stand_at(model, model->oracle->entries[end - 1].key);
    return 0;
}

static size_t clamp(const struct cursor_model *model, size_t index)
{
    if (index < model->low)
        return model->low;
    return index > model->high ? model->high : index;
}

/* The number of entries whose key is at most key. */
static size_t upper_bound(const struct oracle *oracle, struct slice key)
{
    size_t i = oracle_lower_bound(oracle, key);
    return i < oracle->n && slice_equal(oracle->entries[i].key, key) ? i + 1 : i;
}

static int model_next(struct cursor_model *model)
{
    size_t next = model->is_at ? upper_bound(model->oracle, key_of(model)) : model->index;
    return stand_at_entry(model, next < model->low ? model->low : next);
}

static int model_prev(struct cursor_model *model)
{
    size_t end = model->is_at ? oracle_lower_bound(model->oracle, key_of(model)) : model->index;
    return stand_before(model, end > model->high ? model->high : end);
}

static bool is_position(const struct cursor_model *model, struct slice key)
{
    struct act_node node;
    return act_node(model->tree, key.p, key.len, &node, NULL) == 0;
}

/* A key outside the bounds leads to their end, also where no entry lies between. */
static int model_seek(struct cursor_model *model, struct slice key)
{
    const struct oracle *oracle = model->oracle;
    size_t index = oracle_lower_bound(oracle, key);
    bool has_entry = oracle_find(oracle, key) != NULL;
    if (has_entry && index >= model->low && index < model->high) {
        stand_at(model, key);
        return 0;
    }
    /* Whether it stands at a position without a value, or in the gap there, is all the same to the
     * entry moves; which of them it is, the cursor is asked. */
    size_t len;
    const uint8_t *p = act_cursor_key(model->cursor, &len);
    if (p && slice_equal(slice_of(p, len), key) && is_position(model, key) && !has_entry)
        stand_at(model, key);
    else
        stand_in_gap(model, clamp(model, index));
    return ACT_MISS;
}

static void set_bounds(struct cursor_model *model, struct slice from, struct slice to)
{
    struct bytes a = bytes_copy(from.p, from.len), b = bytes_copy(to.p, to.len);
    bytes_free(&model->from);
    bytes_free(&model->to);
    model->from = a;
    model->to = b;
}

/* Both sides of set_prefix, set_range and reset. */
static int move_bounds(struct cursor_model *model, enum cursor_move move, struct slice a,
                       struct slice b)
{
    const struct oracle *oracle = model->oracle;
    set_bounds(model, a, b);
    if (move == MODEL_SET_PREFIX) {
        act_cursor_set_prefix(model->cursor, model->from.p, a.len);
        model->high = oracle_prefix_range(oracle, a, &model->low) + model->low;
    } else {
        bool has_end = move == MODEL_SET_RANGE;
        act_cursor_set_range(model->cursor, model->from.p, a.len, has_end ? model->to.p : NULL,
                             b.len);
        model->low = oracle_lower_bound(oracle, a);
        model->high = has_end ? oracle_lower_bound(oracle, b) : oracle->n;
        if (model->high < model->low)
            model->high = model->low;
    }
    stand_in_gap(model, model->low);
    return 0;
}

static int model_descend(struct cursor_model *model, struct slice bytes)
{
    size_t len = model->key.len + bytes.len;
    struct bytes key = {.p = malloc(len ? len : 1), .len = len};
    if (!key.p)
        err(2, "malloc");
    memcpy(key.p, model->key.p, model->key.len);
    if (bytes.len > 0)
        memcpy(key.p + model->key.len, bytes.p, bytes.len);
    bool exists = is_position(model, slice_of(key.p, len));
    if (exists)
        stand_at(model, slice_of(key.p, len));
    bytes_free(&key);
    return exists ? 0 : ACT_MISS;
}

static bool only_child(const struct act_node *node, uint8_t *ret_byte)
{
    unsigned n = 0;
    for (unsigned b = 0; b < 256; b++)
        if (node->children[b >> 6] >> (b & 63) & 1) {
            *ret_byte = (uint8_t)b;
            n++;
        }
    return n == 1;
}

static int model_descend_chain(struct cursor_model *model)
{
    struct act_node node;
    uint8_t byte;
    for (bool has_moved = false;; has_moved = true) {
        if (act_node(model->tree, model->key.p, model->key.len, &node, NULL) != 0)
            return ACT_CORRUPT;
        if ((has_moved && node.has_value) || !only_child(&node, &byte))
            return has_moved ? 0 : ACT_MISS;
        if (model_descend(model, slice_of(&byte, 1)) != 0)
            return ACT_CORRUPT;
    }
}

static int model_ascend(struct cursor_model *model, size_t n)
{
    model->key.len -= n < model->key.len ? n : model->key.len;
    return 0;
}

static int model_count(struct cursor_model *model, uint64_t *ret_count)
{
    size_t first = model->is_at ? oracle_lower_bound(model->oracle, key_of(model)) : model->index;
    *ret_count = model->high - clamp(model, first);
    stand_in_gap(model, model->high);
    return 0;
}

/* What the model makes of the move; the cursor has made it. */
static int move_model(struct cursor_model *model, enum cursor_move move, struct slice a,
                      uint64_t *ret_count)
{
    const struct oracle *oracle = model->oracle;
    switch (move) {
    case MODEL_FIRST:
        return stand_at_entry(model, model->low);
    case MODEL_LAST:
        return stand_before(model, model->high);
    case MODEL_NEXT:
        return model_next(model);
    case MODEL_PREV:
        return model_prev(model);
    case MODEL_SEEK:
        return model_seek(model, a);
    case MODEL_AT_OR_AFTER:
        return stand_at_entry(model, clamp(model, oracle_lower_bound(oracle, a)));
    case MODEL_AT_OR_BEFORE:
        return stand_before(model, clamp(model, upper_bound(oracle, a)));
    case MODEL_ROOT:
        stand_at(model, slice_of("", 0));
        return 0;
    case MODEL_COUNT:
        return model_count(model, ret_count);
    default:
        break;
    }
    if (!model->is_at)
        return ACT_MISS;
    switch (move) {
    case MODEL_DESCEND:
        return model_descend(model, slice_of(a.p, 1));
    case MODEL_DESCEND_BY:
        return model_descend(model, a);
    case MODEL_DESCEND_CHAIN:
        return model_descend_chain(model);
    default:
        return model_ascend(model, a.len);
    }
}

static int call(struct act_cursor *cursor, enum cursor_move move, struct slice a,
                uint64_t *ret_count)
{
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
        return act_cursor_seek(cursor, a.p, a.len);
    case MODEL_AT_OR_AFTER:
        return act_cursor_seek_at_or_after(cursor, a.p, a.len);
    case MODEL_AT_OR_BEFORE:
        return act_cursor_seek_at_or_before(cursor, a.p, a.len);
    case MODEL_ROOT:
        return act_cursor_root(cursor);
    case MODEL_DESCEND:
        return act_cursor_descend(cursor, a.p[0]);
    case MODEL_DESCEND_BY:
        return act_cursor_descend_by(cursor, a.p, a.len);
    case MODEL_DESCEND_CHAIN:
        return act_cursor_descend_chain(cursor);
    case MODEL_COUNT:
        return act_cursor_count(cursor, ret_count);
    default:
        return act_cursor_ascend(cursor, a.len, NULL);
    }
}

/* As often as the budget makes it necessary. */
static int move_cursor(struct cursor_model *model, enum cursor_move move, struct slice a,
                       uint64_t *ret_count)
{
    struct act_cursor *cursor = model->cursor;
    int r = ACT_LIMIT;
    *ret_count = 0;
    for (size_t calls = 0; r == ACT_LIMIT && calls < CALLS_MAX; calls++) {
        uint64_t count = 0;
        act_cursor_set_budget(cursor, model->budget ? model->budget : UINT64_MAX);
        r = call(cursor, move, a, &count);
        *ret_count += count;
        if (r == ACT_LIMIT && (model->budget == 0 || act_cursor_budget(cursor) != 0))
            return -1;
    }
    return r;
}

/* Entries below the mark are before the cursor, the others are not. */
static const char *check_mark(const struct cursor_model *model)
{
    static uint8_t mark[ACT_MAX_KEY_BYTES + 1];
    size_t len, index = model->oracle->n, wanted = model->index;
    int r = act_cursor_mark(model->cursor, mark, sizeof mark, &len);
    if (r == 0)
        index = oracle_lower_bound(model->oracle, slice_of(mark, len));
    if (model->is_at)
        wanted = oracle_lower_bound(model->oracle, key_of(model));
    if (r != 0 && r != ACT_MISS)
        return "its mark is too long";
    /* Where the bounds hold nothing, both ends are the same to the model. */
    return index == wanted || model->low >= model->high ? NULL : "its mark is another";
}

/* What the cursor tells of where it stands. */
static const char *check_place(struct cursor_model *model)
{
    size_t len;
    uint64_t value = 0;
    struct act_node node, wanted;
    const uint8_t *p = act_cursor_key(model->cursor, &len);
    int value_outcome = act_cursor_value(model->cursor, &value);
    int node_outcome = act_cursor_node(model->cursor, &node);
    if (!model->is_at)
        return !p && value_outcome == ACT_MISS && node_outcome == ACT_MISS
                   ? check_mark(model)
                   : "it stands somewhere where nothing is";
    if (!p || !slice_equal(slice_of(p, len), key_of(model)))
        return "it stands at another key";
    if (act_node(model->tree, p, len, &wanted, NULL) != 0)
        return "it stands at no position";
    if (node_outcome != 0 || node.has_value != wanted.has_value || node.value != wanted.value ||
        memcmp(node.children, wanted.children, sizeof node.children) != 0)
        return "its node is another";
    if (value_outcome != (wanted.has_value ? ACT_OK : ACT_MISS) || value != wanted.value)
        return "its value is another";
    const struct oracle_entry *entry = oracle_find(model->oracle, key_of(model));
    if ((entry != NULL) != wanted.has_value || (entry && entry->value != value))
        return "its value is not the oracle's";
    return check_mark(model);
}

const char *cursor_model_move(struct cursor_model *model, enum cursor_move move, struct slice a,
                              struct slice b)
{
    uint64_t count = 0, wanted_count = 0;
    int r, wanted;
    if (move == MODEL_SET_PREFIX || move == MODEL_SET_RANGE || move == MODEL_SET_FROM) {
        r = wanted = move_bounds(model, move, a, b);
    } else if (move == MODEL_RESET) {
        act_cursor_reset(model->cursor, model->tree);
        move_bounds(model, MODEL_SET_PREFIX, slice_of("", 0), slice_of("", 0));
        act_cursor_reset(model->cursor, model->tree);
        stand_at(model, slice_of("", 0));
        r = wanted = 0;
    } else {
        r = move_cursor(model, move, a, &count);
        wanted = move_model(model, move, a, &wanted_count);
    }
    if (r != wanted)
        return "a move ends in another outcome";
    if (count != wanted_count)
        return "another count";
    return check_place(model);
}

static const char *check_entry(struct cursor_model *model, size_t i)
{
    static const enum cursor_move seeks[] = {MODEL_SEEK, MODEL_AT_OR_AFTER, MODEL_AT_OR_BEFORE};
    const char *wrong = NULL;
    struct slice none = slice_of("", 0);
    for (unsigned p = 0; p < PROBE_COUNT && !wrong; p++) {
        struct bytes key = probe_of(model->oracle->entries[i].key, p);
        for (unsigned s = 0; s < 6 && !wrong; s++) {
            enum cursor_move side = s < 3 ? MODEL_NEXT : MODEL_PREV;
            wrong = cursor_model_move(model, seeks[s % 3], slice_of(key.p, key.len), none);
            wrong = wrong ? wrong : cursor_model_move(model, side, none, none);
        }
        bytes_free(&key);
    }
    return wrong;
}

static const char *check_direction(struct cursor_model *model, enum cursor_move begin,
                                   enum cursor_move on)
{
    struct slice none = slice_of("", 0);
    enum cursor_move back = on == MODEL_NEXT ? MODEL_PREV : MODEL_NEXT;
    const char *wrong = cursor_model_move(model, begin, none, none);
    for (size_t i = 0; i < model->oracle->n && !wrong; i++)
        wrong = cursor_model_move(model, on, none, none);
    for (unsigned i = 0; i < 3 && !wrong; i++)
        wrong = cursor_model_move(model, i < 2 ? on : back, none, none);
    return wrong;
}

const char *cursor_model_check_all(struct cursor_model *model, size_t step)
{
    struct slice none = slice_of("", 0);
    const char *wrong = cursor_model_move(model, MODEL_SET_PREFIX, none, none);
    wrong = wrong ? wrong : check_direction(model, MODEL_FIRST, MODEL_NEXT);
    wrong = wrong ? wrong : check_direction(model, MODEL_LAST, MODEL_PREV);
    wrong = wrong ? wrong : cursor_model_move(model, MODEL_FIRST, none, none);
    wrong = wrong ? wrong : cursor_model_move(model, MODEL_COUNT, none, none);
    for (size_t i = 0; i < model->oracle->n && !wrong; i += step)
        wrong = check_entry(model, i);
    return wrong;
}
