/*
 * sibling tables of the file (section 11): right ones give what the walk gives; forged ones end in
 * corrupt or in an answer, the same for every way to ask, and never outside the file.
 */
#include "buildertest.h"
#include "consistent.h"
#include "forge.h"
#include "treetest.h"
#include "unit.h"

#include <stdlib.h>

static struct act *open_bytes(const struct bytes *file)
{
    struct act *tree;
    struct act_error error;
    if (act_open_memory(file->p, file->len, "file", &tree, &error) != 0)
        fail_msg("%s", error.message);
    return tree;
}

/* n keys below the root: leaves, lines, branches, with and without values. */
static void oracle_make(struct oracle *oracle, unsigned n)
{
    oracle_init(oracle);
    for (unsigned i = 0; i < n; i++) {
        uint8_t key[] = {(uint8_t)(i * 256 / n), 'a', 'b', 'c'};
        oracle_add(oracle, key, 1 + i % 4, (uint64_t)1 << i % 64);
        key[1] = 'z';
        if (i % 5 == 0)
            oracle_add(oracle, key, 2, i);
    }
    oracle_sort(oracle);
}

static void cursor_survives(const struct act *tree)
{
    struct act_cursor *cursor;
    int r;
    assert_int_equal(act_cursor_new(tree, 4096, &cursor), 0);
    act_cursor_set_budget(cursor, 5000);
    for (r = act_cursor_first(cursor); r == 0;)
        r = act_cursor_next(cursor);
    assert_true(r == ACT_MISS || r == ACT_CORRUPT || r == ACT_LIMIT || r == ACT_TOO_LONG);
    for (r = act_cursor_last(cursor); r == 0;)
        r = act_cursor_prev(cursor);
    assert_true(r == ACT_MISS || r == ACT_CORRUPT || r == ACT_LIMIT || r == ACT_TOO_LONG);
    act_cursor_free(cursor);
}

static void check(const struct bytes *file, size_t positions)
{
    struct act *tree = open_bytes(file);
    const char *wrong = consistent_below_root(tree, positions, 20);
    if (wrong)
        fail_msg("%s", wrong);
    cursor_survives(tree);
    act_close(tree);
}

/* Child number r of the root, whose entry in the table says d. */
static void check_entry(const struct bytes *file, uint8_t byte, uint64_t d, uint64_t room)
{
    struct act *tree = open_bytes(file);
    struct act_fault fault = {0};
    struct act_node node;
    int r = act_node(tree, &byte, 1, &node, &fault);
    if (d == 0 || d >= room) {
        assert_int_equal(r, ACT_CORRUPT);
        assert_string_equal(fault.reason, "a sibling table's entry that leaves the run");
    } else {
        assert_true(r == 0 || r == ACT_CORRUPT);
    }
    const char *wrong = consistent_at(tree, slice_of(&byte, 1));
    if (wrong)
        fail_msg("%s", wrong);
    cursor_survives(tree);
    act_close(tree);
}

static void each_entry_of_a_table_may_say_anything(void **state)
{
    (void)state;
    static const unsigned widths[] = {2, 3, 31, 32, 33, 256};
    const struct act_builder_options options = {.table_min_children = 2};
    for (size_t w = 0; w < N_ELEMENTS(widths); w++) {
        struct oracle oracle;
        unsigned n = widths[w];
        oracle_make(&oracle, n);
        struct bytes file = build_file(&oracle, BUILD_SORTED, &options, NULL);
        uint64_t root = forge_number(&file, 8, 8), first = forge_first_child(&file, root);
        for (unsigned r = 1; r < n; r++) {
            size_t at = first - 2 * (uint64_t)r;
            uint64_t was = forge_number(&file, at, 2), room = root - first;
            const uint64_t others[] = {0,        1,   2,   was - 1, was + 1, room - 1, room,
                                       room + 1, 255, 256, 32767,   32768,   65535};
            for (size_t i = 0; i < N_ELEMENTS(others); i++) {
                forge_put(&file, at, others[i], 2);
                check_entry(&file, (uint8_t)(r * 256 / n), others[i] & 0xffff, room);
            }
            forge_put(&file, at, was, 2);
            check_entry(&file, (uint8_t)(r * 256 / n), was, room);
        }
        bytes_free(&file);
        oracle_deinit(&oracle);
    }
}

/* Nodes, line data and tables alike: tables then lead into the middle of things. */
static void any_byte_of_a_file_with_tables_may_change(void **state)
{
    (void)state;
    static const unsigned widths[] = {3, 33};
    static const uint8_t others[] = {0x00, 0xff, 0x20, 0x3f, 0x80, 0xf8, 0x41};
    const struct act_builder_options options = {.table_min_children = 2};
    for (size_t w = 0; w < N_ELEMENTS(widths); w++) {
        struct oracle oracle;
        oracle_make(&oracle, widths[w]);
        struct bytes file = build_file(&oracle, BUILD_SORTED, &options, NULL);
        for (size_t at = FORGE_META + FORGE_META_BYTES; at < file.len; at++) {
            uint8_t was = file.p[at];
            for (unsigned i = 0; i < 8 + sizeof others; i++) {
                file.p[at] = (uint8_t)(i < 8 ? was ^ 1 << i : others[i - 8]);
                check(&file, 300);
            }
            file.p[at] = was;
        }
        bytes_free(&file);
        oracle_deinit(&oracle);
    }
}

/* A file whose tables are not there at all: what stands before the runs is taken for them. */
static void what_is_no_table_may_be_taken_for_one(void **state)
{
    (void)state;
    static const unsigned widths[] = {2, 16, 40, 256};
    for (size_t w = 0; w < N_ELEMENTS(widths); w++)
        for (unsigned table_min = 2; table_min <= 256; table_min++) {
            const struct act_builder_options options = {.table_min_children = table_min};
            struct oracle oracle;
            oracle_make(&oracle, widths[w]);
            struct bytes file = build_file(&oracle, BUILD_SORTED, &options, NULL);
            forge_field(&file, FORGE_TABLE_MIN, 2 + table_min * 7 % 40, 2);
            check(&file, 400);
            bytes_free(&file);
            oracle_deinit(&oracle);
        }
}

/* The run of 2 stands directly behind the metadata: a table has no place there. */
static void a_table_stays_behind_the_metadata(void **state)
{
    (void)state;
    struct oracle empty;
    oracle_init(&empty);
    struct bytes made = build_file(&empty, BUILD_SORTED, NULL, NULL);
    struct bytes file = bytes_from_hex("41 43 54 72 65 65 30 33 | 64 00 00 00 00 00 00 00 |"
                                       "00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00"
                                       "00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00"
                                       "00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00"
                                       "00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00"
                                       "00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00"
                                       "40 01 | 40 02 | 02 04 61 62 | 00 00 00 00 00 00 00 00");
    memcpy(file.p + FORGE_META, made.p + FORGE_META, FORGE_META_BYTES);
    forge_put(&file, FORGE_ROOT, 100, 8);
    forge_put(&file, FORGE_OBJECTS_END, 104, 8);
    for (unsigned table_min = 2; table_min <= 3; table_min++) {
        struct act_fault fault = {0};
        uint64_t value = 0;
        forge_field(&file, FORGE_TABLE_MIN, table_min, 2);
        struct act *tree = open_bytes(&file);
        assert_int_equal(act_get(tree, "a", 1, &value, NULL), 0);
        assert_int_equal(value, 1);
        assert_int_equal(act_get(tree, "b", 1, &value, &fault), table_min == 2 ? ACT_CORRUPT : 0);
        if (table_min == 2)
            assert_string_equal(fault.reason, "a sibling table that runs into the metadata");
        else
            assert_int_equal(value, 2);
        act_close(tree);
    }
    check(&file, 100);
    bytes_free(&file);
    bytes_free(&made);
}

/* The file's tables come first; the cache is for what has none. */
static void tables_and_the_cache_go_together(void **state)
{
    (void)state;
    static const unsigned table_mins[] = {2, 16, 64, 256};
    for (size_t i = 0; i < N_ELEMENTS(table_mins); i++) {
        const struct act_builder_options options = {.table_min_children = table_mins[i]};
        struct treetest t;
        struct oracle oracle;
        oracle_make(&oracle, 100);
        treetest_open_bytes(&t, build_file(&oracle, BUILD_SORTED, &options, NULL), "tables");
        t.oracle = oracle;
        assert_int_equal(act_cache_tables(t.tree, 65536), 0);
        treetest_check_all(&t, 1);
        treetest_check_all(&t, 1);
        treetest_close(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_entry_of_a_table_may_say_anything),
        cmocka_unit_test(any_byte_of_a_file_with_tables_may_change),
        cmocka_unit_test(what_is_no_table_may_be_taken_for_one),
        cmocka_unit_test(a_table_stays_behind_the_metadata),
        cmocka_unit_test(tables_and_the_cache_go_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
