/*
 * cursor on odd trees (section 10 of the format), hostile ones, and at its own limits.
 */
#include "cursormodel.h"
#include "treetest.h"
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define PAD " 00 00 00 00 00 00 00 00"
#define NULL_MASK                                                    \
    "00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00" \
    "00 00 00 00 00 00 00 00 00 00 00"

/* entries: "key=value " for each, values of one digit. */
static void check_entries(struct treetest *t, const char *entries)
{
    struct cursor_model model;
    for (const char *e = entries; *e;) {
        size_t len = strcspn(e, "=");
        oracle_add(&t->oracle, e, len, (uint64_t)(e[len + 1] - '0'));
        e += len + 2 + (e[len + 2] == ' ');
    }
    oracle_sort(&t->oracle);
    for (uint64_t budget = 0; budget < 3; budget++) {
        cursor_model_init(&model, t->tree, &t->oracle);
        model.budget = budget;
        const char *wrong = cursor_model_check_all(&model, 1);
        if (wrong)
            fail_msg("%s: %s", t->name, wrong);
        cursor_model_deinit(&model);
    }
}

static void crafted_files_have_the_entries_that_get_finds(void **state)
{
    (void)state;
    static const char *const crafted[][2] = {
        {"dangling_leaf", "b=1"},
        {"garbage_tail", "=1"},
        {"line_bits", "ab=9"},
        {"line_line", "road=7"},
        {"line_value_child", "road=1 roadx=3"},
        {"line_value_child2", "road=1 roadx=3 roady=4"},
        {"mask_field32_pop5", "!=1 \"=2 #=3 $=4 %=5"},
        {"noncanon", "a=5 b=6"},
        {"nopad_page", "q=5"},
        {"trailer_loop", "=1"},
        {"unsorted", "a=1 b=2"},
    };
    for (size_t i = 0; i < N_ELEMENTS(crafted); i++) {
        char name[64];
        struct treetest t;
        snprintf(name, sizeof name, "crafted/%s.act", crafted[i][0]);
        treetest_open_bytes(&t, bytes_read_file(test_data_path(name)), name);
        check_entries(&t, crafted[i][1]);
        treetest_close(&t);
    }
}

static void shapes_that_nobody_writes_have_the_entries_that_get_finds(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint64_t root;
        const char *arena;
        const char *entries;
    } shapes[] = {
        {"a child byte twice", 20, "40 01 40 02 02 04 61 61" PAD, "a=1"},
        {"a byte twice, then another", 22, "40 01 40 02 40 03 03 06 61 61 62" PAD, "a=1 b=3"},
        {"not sorted", 22, "40 01 40 02 40 03 03 06 63 61 62" PAD, "a=1 b=2 c=3"},
        {"two child bytes twice, not sorted", 22, "40 01 40 02 40 03 04 06 62 61 62 61" PAD,
         "a=1 b=3"},
        {"a mask of nobody", 18, "40 01 20 02" NULL_MASK PAD, ""},
        {"a line with value whose child is a leaf with another", 20, "01 61 40 09 c1 01 02 04" PAD,
         "a=1"},
        {"a line with value whose child is a line", 21, "01 61 c0 07 02 c1 01 03 05" PAD,
         "a=1 aa=7"},
        {"a line without value and child", 18, "01 61 80 02" PAD, ""},
        {"three lines in a row", 24, "01 61 c0 07 02 81 03 05 81 03 08" PAD, "aaa=7"},
        {"three lines with values", 25, "01 61 c0 07 02 c1 08 03 05 c1 09 04 09" PAD,
         "a=9 aa=8 aaa=7"},
        {"a line's child without children", 19, "01 61 00 81 01 03" PAD, ""},
        {"the empty tree", 16, "00" PAD, ""},
    };
    for (size_t i = 0; i < N_ELEMENTS(shapes); i++) {
        struct treetest t;
        treetest_open_arena(&t, shapes[i].name, shapes[i].root, shapes[i].arena);
        check_entries(&t, shapes[i].entries);
        treetest_close(&t);
    }
}

static void assert_key(const struct act_cursor *cursor, const char *key)
{
    size_t len;
    const uint8_t *p = act_cursor_key(cursor, &len);
    if (!key) {
        assert_null(p);
        return;
    }
    assert_non_null(p);
    assert_true(slice_equal(slice_of(p, len), slice_of_str(key)));
}

static void damage_ends_a_walk_where_it_is_met(void **state)
{
    (void)state;
    struct treetest t;
    struct act_cursor *cursor;
    struct act_node node;
    uint64_t value = 0, count = 7;
    /* A line with a value, whose child is broken. */
    treetest_open_arena(&t, "a broken child", 20, "01 61 3f 01 c1 01 02 04" PAD);
    assert_int_equal(act_cursor_new(t.tree, 0, &cursor), 0);
    assert_int_equal(act_cursor_first(cursor), 0);
    assert_key(cursor, "a");
    assert_int_equal(act_cursor_value(cursor, &value), 0);
    assert_int_equal(value, 1);
    assert_int_equal(act_cursor_node(cursor, &node), ACT_CORRUPT);
    assert_int_equal(act_cursor_next(cursor), ACT_CORRUPT);
    assert_int_equal(act_cursor_fault(cursor).offset, 18);
    assert_string_equal(act_cursor_fault(cursor).reason, "a child field above 32");
    assert_key(cursor, NULL);
    assert_int_equal(act_cursor_next(cursor), ACT_MISS);
    assert_int_equal(act_cursor_prev(cursor), ACT_MISS);
    assert_int_equal(act_cursor_value(cursor, &value), ACT_MISS);
    assert_int_equal(act_cursor_descend(cursor, 'a'), ACT_MISS);
    assert_int_equal(act_cursor_ascend(cursor, 1, NULL), ACT_MISS);
    assert_int_equal(act_cursor_count(cursor, &count), ACT_MISS);
    assert_int_equal(count, 0);
    assert_int_equal(act_cursor_last(cursor), ACT_CORRUPT);
    assert_int_equal(act_cursor_seek(cursor, "a", 1), 0);
    assert_key(cursor, "a");
    assert_int_equal(act_cursor_count(cursor, &count), ACT_CORRUPT);
    assert_int_equal(count, 1);
    assert_int_equal(act_cursor_root(cursor), 0);
    assert_key(cursor, "");
    act_cursor_free(cursor);
    treetest_close(&t);

    treetest_open_arena(&t, "a broken root", 16, "3f" PAD);
    assert_int_equal(act_cursor_new(t.tree, 0, &cursor), 0);
    assert_key(cursor, NULL);
    assert_int_equal(act_cursor_root(cursor), ACT_CORRUPT);
    assert_int_equal(act_cursor_first(cursor), ACT_CORRUPT);
    assert_int_equal(act_cursor_seek(cursor, "", 0), ACT_CORRUPT);
    act_cursor_free(cursor);
    treetest_close(&t);
}

static void keys_are_as_long_as_allowed(void **state)
{
    (void)state;
    struct treetest t;
    struct act_cursor *cursor;
    uint64_t count;
    treetest_open_arena(&t, "three lines with values", 25,
                        "01 61 c0 07 02 c1 08 03 05 c1 09 04 09" PAD);
    assert_int_equal(act_cursor_new(t.tree, 2, &cursor), 0);
    assert_int_equal(act_cursor_first(cursor), 0);
    assert_int_equal(act_cursor_next(cursor), 0);
    assert_key(cursor, "aa");
    assert_int_equal(act_cursor_next(cursor), ACT_TOO_LONG);
    assert_key(cursor, NULL);
    assert_int_equal(act_cursor_last(cursor), ACT_TOO_LONG);
    assert_int_equal(act_cursor_seek(cursor, "aaa", 3), ACT_TOO_LONG);
    assert_int_equal(act_cursor_seek(cursor, "aab", 3), ACT_MISS);
    assert_int_equal(act_cursor_prev(cursor), ACT_TOO_LONG); /* aaa comes before aab */
    assert_int_equal(act_cursor_seek(cursor, "aa", 2), 0);
    assert_int_equal(act_cursor_prev(cursor), 0);
    assert_int_equal(act_cursor_count(cursor, &count), ACT_TOO_LONG);
    assert_int_equal(count, 2);
    assert_int_equal(act_cursor_root(cursor), 0);
    assert_int_equal(act_cursor_descend_by(cursor, "aab", 3), ACT_MISS);
    assert_key(cursor, "");
    assert_int_equal(act_cursor_descend_by(cursor, "aaa", 3), ACT_TOO_LONG);
    assert_key(cursor, NULL);
    act_cursor_free(cursor);
    treetest_close(&t);

    treetest_open(&t, "doc/a.act", "doc/a.tsv");
    for (size_t max = 1; max < 20; max++) {
        assert_int_equal(act_cursor_new(t.tree, max, &cursor), 0);
        size_t i = 0;
        int r = act_cursor_first(cursor);
        for (; r == 0; r = act_cursor_next(cursor))
            assert_true(t.oracle.entries[i++].key.len <= max);
        assert_int_equal(r, i == t.oracle.n ? ACT_MISS : ACT_TOO_LONG);
        assert_true(i == t.oracle.n || t.oracle.entries[i].key.len > max);
        act_cursor_free(cursor);
    }
    treetest_close(&t);
}

static void address_space_that_there_is_not_is_told(void **state)
{
    (void)state;
    struct treetest t;
    struct act_cursor *cursor = NULL;
    treetest_open(&t, "doc/a.act", "doc/a.tsv");
    for (unsigned bits = 48; bits < 64; bits++)
        assert_int_equal(act_cursor_new(t.tree, (size_t)1 << bits, &cursor), -ENOMEM);
    assert_int_equal(act_cursor_new(t.tree, SIZE_MAX, &cursor), -ENOMEM);
    assert_int_equal(act_cursor_new(t.tree, SIZE_MAX / 100, &cursor), -ENOMEM);
    assert_null(cursor);
    act_cursor_free(NULL);
    treetest_close(&t);
}

static void a_budget_counts_nodes(void **state)
{
    (void)state;
    struct treetest t;
    struct act_cursor *cursor;
    /* A root and 31 leaves. */
    treetest_open(&t, "edge/br31_nested.stream.act", "edge/br31_nested.tsv");
    assert_int_equal(act_cursor_new(t.tree, 0, &cursor), 0);
    assert_true(act_cursor_budget(cursor) == UINT64_MAX);
    assert_int_equal(act_cursor_first(cursor), 0);
    assert_true(act_cursor_budget(cursor) == UINT64_MAX);
    act_cursor_set_budget(cursor, 10);
    for (unsigned left = 10; left > 0; left--) {
        assert_int_equal(act_cursor_budget(cursor), left);
        assert_int_equal(act_cursor_next(cursor), 0);
    }
    assert_int_equal(act_cursor_budget(cursor), 0);
    assert_int_equal(act_cursor_next(cursor), ACT_LIMIT);
    assert_key(cursor, NULL);
    assert_int_equal(act_cursor_next(cursor), ACT_LIMIT);
    act_cursor_set_budget(cursor, 1);
    assert_int_equal(act_cursor_next(cursor), 0);
    act_cursor_reset(cursor, t.tree);
    assert_true(act_cursor_budget(cursor) == UINT64_MAX);
    act_cursor_free(cursor);
    treetest_close(&t);
}

#define DEPTH 40

/* A root whose children are leaf a, with value 1, and leaf c, with value 3; between them, b, hang
 * 2^40 leaves: each level is a run of two nodes that share the run below. The leaves have values 6
 * and 7, or none. */
static void open_shared(struct treetest *t, bool has_values)
{
    uint8_t file[1024] = "ACTree03";
    size_t len = 16, run, end;
    const uint8_t leaves[] = {0x40, 6, 0x40, 7};
    const uint8_t bare[] = {0, 0};
    size_t leaves_len = has_values ? sizeof leaves : sizeof bare;
    memcpy(file + len, has_values ? leaves : bare, leaves_len);
    run = len;
    len += leaves_len;
    for (unsigned i = 1; i < DEPTH; i++) {
        size_t next_run = len;
        for (unsigned child = 0; child < 2; child++) {
            const uint8_t node[] = {2, (uint8_t)(len - run), 'a', 'b'};
            memcpy(file + len, node, sizeof node);
            len += sizeof node;
        }
        run = next_run;
    }
    end = len;
    const uint8_t top[] = {0x40, 1,   2,  (uint8_t)(end + 2 - run), 'a', 'b', 0x40, 3, 3, 8,
                           'a',  'b', 'c'};
    memcpy(file + len, top, sizeof top);
    len += sizeof top;
    file[8] = (uint8_t)((len - 5) & 0xff);
    file[9] = (uint8_t)((len - 5) >> 8);
    treetest_open_bytes(t, bytes_copy(file, len + 8), has_values ? "2^40 entries" : "2^40 leaves");
}

static void more_entries_than_bytes_are_counted_within_a_budget(void **state)
{
    (void)state;
    struct treetest t;
    struct act_cursor *cursor;
    uint64_t count, total = 0;
    char first[DEPTH + 2] = "b", last[DEPTH + 2] = "b";
    memset(first + 1, 'a', DEPTH);
    memset(last + 1, 'b', DEPTH);
    open_shared(&t, true);
    assert_int_equal(act_cursor_new(t.tree, 0, &cursor), 0);
    assert_int_equal(act_cursor_first(cursor), 0);
    assert_key(cursor, "a");
    for (unsigned i = 0; i < 10; i++) {
        act_cursor_set_budget(cursor, 10000);
        assert_int_equal(act_cursor_count(cursor, &count), ACT_LIMIT);
        assert_true(count > 4000 && count < 10000);
        assert_int_equal(act_cursor_budget(cursor), 0);
        total += count;
    }
    /* Behind the last one counted: entry number total - 1 is a, the others are binary numbers. */
    act_cursor_set_budget(cursor, UINT64_MAX);
    assert_int_equal(act_cursor_next(cursor), 0);
    for (unsigned i = 0; i < DEPTH; i++)
        last[DEPTH - i] = (total - 1) >> i & 1 ? 'b' : 'a';
    assert_key(cursor, last);
    assert_int_equal(act_cursor_prev(cursor), 0);
    memset(last + 1, 'b', DEPTH);
    act_cursor_set_prefix(cursor, "b", 1);
    assert_int_equal(act_cursor_last(cursor), 0);
    assert_key(cursor, last);
    assert_int_equal(act_cursor_first(cursor), 0);
    assert_key(cursor, first);
    act_cursor_set_prefix(cursor, last, DEPTH - 9);
    assert_int_equal(act_cursor_count(cursor, &count), 0);
    assert_int_equal(count, 1024);
    act_cursor_free(cursor);
    treetest_close(&t);
}

static void leaves_without_values_cannot_hold_a_walk_up(void **state)
{
    (void)state;
    struct treetest t;
    struct act_cursor *cursor;
    uint64_t count;
    open_shared(&t, false);
    assert_int_equal(act_cursor_new(t.tree, 0, &cursor), 0);
    assert_int_equal(act_cursor_first(cursor), 0);
    for (unsigned i = 0; i < 3; i++) {
        act_cursor_set_budget(cursor, 100000);
        assert_int_equal(act_cursor_next(cursor), ACT_LIMIT);
        assert_int_equal(act_cursor_budget(cursor), 0);
        assert_key(cursor, NULL);
    }
    act_cursor_set_budget(cursor, 1000000);
    assert_int_equal(act_cursor_prev(cursor), 0);
    assert_key(cursor, "a");
    assert_int_equal(act_cursor_prev(cursor), ACT_MISS);
    assert_int_equal(act_cursor_seek(cursor, "c", 1), 0);
    assert_int_equal(act_cursor_prev(cursor), ACT_LIMIT);
    act_cursor_set_budget(cursor, 1000000);
    assert_int_equal(act_cursor_next(cursor), 0);
    assert_key(cursor, "c");
    assert_int_equal(act_cursor_seek_at_or_after(cursor, "b", 1), ACT_LIMIT);
    act_cursor_set_budget(cursor, 1000);
    act_cursor_set_prefix(cursor, "b", 1);
    assert_int_equal(act_cursor_last(cursor), ACT_LIMIT);
    act_cursor_set_budget(cursor, 1000);
    assert_int_equal(act_cursor_first(cursor), ACT_LIMIT);
    assert_int_equal(act_cursor_count(cursor, &count), ACT_LIMIT);
    assert_int_equal(count, 0);
    act_cursor_free(cursor);
    treetest_close(&t);
}

static void a_cursor_begins_at_the_root_and_goes_to_another_tree(void **state)
{
    (void)state;
    struct treetest t, other;
    struct act_cursor *cursor;
    uint64_t value;
    treetest_open(&t, "edge/emptykey.stream.act", "edge/emptykey.tsv");
    treetest_open(&other, "doc/a.act", "doc/a.tsv");
    assert_int_equal(act_cursor_new(t.tree, 0, &cursor), 0);
    assert_key(cursor, "");
    assert_int_equal(act_cursor_value(cursor, &value), 0);
    assert_true(value == t.oracle.entries[0].value);
    act_cursor_set_prefix(cursor, "a", 1);
    act_cursor_reset(cursor, other.tree);
    assert_key(cursor, "");
    struct slice key = other.oracle.entries[other.oracle.n - 1].key;
    assert_int_equal(act_cursor_seek(cursor, key.p, key.len), 0);
    assert_int_equal(act_cursor_next(cursor), ACT_MISS);
    assert_int_equal(act_cursor_next(cursor), ACT_MISS);
    assert_int_equal(act_cursor_prev(cursor), 0);
    assert_int_equal(act_cursor_value(cursor, &value), 0);
    assert_true(value == other.oracle.entries[other.oracle.n - 1].value);
    act_cursor_free(cursor);
    treetest_close(&t);
    treetest_close(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crafted_files_have_the_entries_that_get_finds),
        cmocka_unit_test(shapes_that_nobody_writes_have_the_entries_that_get_finds),
        cmocka_unit_test(damage_ends_a_walk_where_it_is_met),
        cmocka_unit_test(keys_are_as_long_as_allowed),
        cmocka_unit_test(address_space_that_there_is_not_is_told),
        cmocka_unit_test(a_budget_counts_nodes),
        cmocka_unit_test(more_entries_than_bytes_are_counted_within_a_budget),
        cmocka_unit_test(leaves_without_values_cannot_hold_a_walk_up),
        cmocka_unit_test(a_cursor_begins_at_the_root_and_goes_to_another_tree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
