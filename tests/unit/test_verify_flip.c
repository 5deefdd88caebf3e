/*
 * verify on trees that were good, with a byte changed: it ends, and where it finds no fault, no
 * lookup and no walk finds one. Of a file with metadata every byte counts: each change is found.
 */
#include "buildertest.h"
#include "treetest.h"
#include "unit.h"
#include "verdict.h"

#include <stdio.h>

#define SMALL_MAX  250 /* bytes: a file up to here is damaged in every byte */
#define KEYS_MAX   40  /* of a file's keys, evenly spread */
#define NODES_MAX  30000
#define N_PATTERNS 12

/* Single bits, a little more, and both ends. */
static uint8_t pattern_of(uint8_t byte, unsigned pattern)
{
    if (pattern < 8)
        return byte ^ (uint8_t)(1 << pattern);
    const uint8_t others[] = {0, 0xff, (uint8_t)(byte + 1), (uint8_t)~byte};
    return others[pattern - 8];
}

static const char *walk_entries(const struct act *tree, const struct act_survey *survey)
{
    struct act_cursor *cursor;
    uint64_t n = 0;
    assert_int_equal(act_cursor_new(tree, 1 << 17, &cursor), 0);
    act_cursor_set_budget(cursor, NODES_MAX);
    int r = act_cursor_first(cursor);
    if (r == 0)
        r = act_cursor_count(cursor, &n);
    act_cursor_free(cursor);
    if (r == ACT_CORRUPT)
        return "a cursor finds a fault";
    if (r == ACT_LIMIT)
        return NULL;
    assert_true(r == 0 || r == ACT_MISS);
    return n == survey->n_values || survey->n_shared > 0 ? NULL : "a cursor counts otherwise";
}

static const char *look_up(const struct act *tree, const struct oracle *oracle)
{
    size_t step = 1 + oracle->n / KEYS_MAX;
    for (size_t i = 0; i < oracle->n; i += step) {
        struct slice key = oracle->entries[i].key;
        struct act_node node;
        if (act_get(tree, key.p, key.len, NULL, NULL) == ACT_CORRUPT ||
            act_node(tree, key.p, key.len / 2, &node, NULL) == ACT_CORRUPT)
            return "a lookup finds a fault";
    }
    return NULL;
}

/* The bytes of t's file as they are now. True: no fault was found. */
static bool is_clean(const struct treetest *t)
{
    struct act *tree;
    struct act_survey survey;
    const struct act_verify_options options = {.is_all = true};
    const char *wrong = NULL;
    if (act_open_memory(t->file.p, t->file.len, t->name, &tree, NULL) != 0)
        return false;
    int r = act_verify(tree, &options, &survey);
    assert_true(r == 0 || r == ACT_CORRUPT);
    if (r == 0)
        wrong = walk_entries(tree, &survey);
    if (r == 0 && !wrong)
        wrong = look_up(tree, &t->oracle);
    act_close(tree);
    if (wrong)
        fail_msg("%s: no fault, but %s", t->name, wrong);
    return r == 0;
}

static void flip_bytes(struct treetest *t, void *context)
{
    size_t stride = t->file.len <= SMALL_MAX ? 1 : 1 + t->file.len / 150;
    char name[sizeof t->name];
    (void)context;
    if (t->file.len > 100000)
        return;
    snprintf(name, sizeof name, "%.200s", t->name);
    for (size_t i = 8; i < t->file.len; i += stride) {
        uint8_t byte = t->file.p[i];
        for (unsigned pattern = 0; pattern < N_PATTERNS; pattern++) {
            t->file.p[i] = pattern_of(byte, pattern);
            snprintf(t->name, sizeof t->name, "%.200s, byte %zu is %02x", name, i, t->file.p[i]);
            is_clean(t);
        }
        t->file.p[i] = byte;
    }
}

static void what_is_found_clean_is_clean_for_all(void **state)
{
    (void)state;
    assert_true(treetest_for_each("edge", flip_bytes, NULL) > 100);
    treetest_for_each("doc", flip_bytes, NULL);
}

static void cut_short(struct treetest *t, void *context)
{
    (void)context;
    size_t len = t->file.len, stride = 1 + len / 200;
    for (size_t cut = len; cut > ACT_MIN_SIZE_BYTES; cut = cut > stride ? cut - stride : 0) {
        t->file.len = cut;
        bool clean = is_clean(t);
        /* What is left of a merged file may be as if a merge was not finished, but for its root. */
        assert_true(clean == (cut == len));
    }
    t->file.len = len;
}

static void every_cut_is_found(void **state)
{
    (void)state;
    treetest_for_each("edge", cut_short, NULL);
    treetest_for_each("doc", cut_short, NULL);
}

/* Those contents, built anew with all that section 11 has. */
static void build(struct treetest *t, const char *contents, enum act_values values)
{
    struct oracle oracle;
    const struct act_builder_options options = {.values = values, .table_min_children = 4};
    oracle_init(&oracle);
    oracle_load(&oracle, test_data_path(contents));
    treetest_open_bytes(t, build_file(&oracle, BUILD_SORTED, &options, NULL), contents);
    oracle_deinit(&t->oracle);
    t->oracle = oracle;
}

static void every_changed_byte_of_a_built_file_is_found(void **state)
{
    (void)state;
    static const char *const contents[] = {"edge/br31_nested.tsv", "edge/merged1.tsv",
                                           "edge/values.tsv", "edge/emptykey_line.tsv"};
    for (size_t i = 0; i < N_ELEMENTS(contents); i++)
        for (int values = ACT_VALUES_U64; values <= ACT_VALUES_BYTES; values++) {
            struct treetest t;
            build(&t, contents[i], (enum act_values)values);
            assert_true(is_clean(&t));
            for (size_t at = 0; at < t.file.len; at++) {
                uint8_t byte = t.file.p[at];
                for (unsigned pattern = 0; pattern < N_PATTERNS; pattern++) {
                    t.file.p[at] = pattern_of(byte, pattern);
                    if (is_clean(&t) != (t.file.p[at] == byte))
                        fail_msg("%s: byte %zu changed to %02x is not found", contents[i], at,
                                 t.file.p[at]);
                }
                t.file.p[at] = byte;
            }
            treetest_close(&t);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_found_clean_is_clean_for_all),
        cmocka_unit_test(every_cut_is_found),
        cmocka_unit_test(every_changed_byte_of_a_built_file_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
