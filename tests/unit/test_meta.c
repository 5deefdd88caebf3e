/*
 * meta: what of a file's metadata counts, whoever wrote it; and the roots that a file has had.
 */
#include "buildertest.h"
#include "consistent.h"
#include "cursormodel.h"
#include "forge.h"
#include "randomkeys.h"
#include "treetest.h"
#include "unit.h"

#include "tree/meta.h"

#include <stdio.h>
#include <stdlib.h>

static const struct act_builder_options numbers = {.table_min_children = 2};
static const struct act_builder_options byte_strings = {
    .table_min_children = 2,
    .values = ACT_VALUES_BYTES,
};

static void oracle_make(struct oracle *oracle)
{
    struct random random = {.state = 5};
    oracle_init(oracle);
    random_keys_add(&random, RANDOM_FEW_LETTERS, 60, oracle);
}

static struct bytes make_file(const struct act_builder_options *options)
{
    struct oracle oracle;
    oracle_make(&oracle);
    struct bytes file = build_file(&oracle, BUILD_SORTED, options, NULL);
    oracle_deinit(&oracle);
    return file;
}

static struct act *open_bytes(const struct bytes *file)
{
    struct act *tree;
    struct act_error error;
    if (act_open_memory(file->p, file->len, "file", &tree, &error) != 0)
        fail_msg("%s", error.message);
    return tree;
}

static enum act_metadata_state state_of(const struct bytes *file, enum act_values *ret_values)
{
    struct act_info info;
    struct act *tree = open_bytes(file);
    const char *wrong = consistent_below_root(tree, 1000, 30);
    if (wrong)
        fail_msg("%s", wrong);
    act_info(tree, &info);
    act_close(tree);
    if (ret_values)
        *ret_values = info.values;
    return info.metadata_state;
}

static void what_is_formatted_is_parsed(void **state)
{
    (void)state;
    const struct act_metadata metadata = {
        .version = META_THIS_VERSION,
        .value_mode = 1,
        .flags = 0x1234,
        .table_min_children = 0xfedc,
        .root_offset = UINT64_C(0x123456789a),
        .objects_end = UINT64_C(0x1234567900),
        .n_keys = UINT64_C(0xfedcba9876543210),
        .longest_key_bytes = UINT64_C(0x8081828384858687),
        .created_s = UINT64_MAX,
        .digest = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16},
    };
    uint8_t bytes[META_BYTES];
    struct act_metadata parsed;
    memset(&parsed, 0x55, sizeof parsed);
    meta_format(&metadata, bytes);
    assert_memory_equal(bytes, "\xf8\0actd\1\1\x50\0\0\0\xdc\xfe\x34\x12", 16);
    assert_int_equal(meta_parse(bytes, metadata.objects_end + 7, &parsed), ACT_CORRUPT);
    assert_int_equal(meta_parse(bytes, metadata.objects_end + 8, &parsed), 0);
    assert_int_equal(parsed.root_offset, metadata.root_offset);
    assert_int_equal(parsed.objects_end, metadata.objects_end);
    assert_int_equal(parsed.n_keys, metadata.n_keys);
    assert_int_equal(parsed.longest_key_bytes, metadata.longest_key_bytes);
    assert_int_equal(parsed.created_s, metadata.created_s);
    assert_int_equal(parsed.table_min_children, metadata.table_min_children);
    assert_int_equal(parsed.flags, metadata.flags);
    assert_memory_equal(parsed.digest, metadata.digest, sizeof metadata.digest);
    assert_int_equal(meta_parse(bytes, 0, &parsed), ACT_CORRUPT);
    assert_int_equal(meta_parse(bytes, 7, &parsed), ACT_CORRUPT);
}

/* Without metadata the file is a tree of numbers like any other. */
static void each_flipped_bit_is_seen(void **state)
{
    (void)state;
    const struct act_builder_options *const options[] = {&numbers, &byte_strings};
    for (size_t o = 0; o < N_ELEMENTS(options); o++) {
        struct bytes file = make_file(options[o]);
        for (size_t bit = 0; bit < 8 * FORGE_META_BYTES; bit++) {
            enum act_values values;
            uint8_t *byte = &file.p[FORGE_META + bit / 8];
            *byte ^= (uint8_t)(1 << bit % 8);
            assert_int_equal(state_of(&file, &values),
                             bit / 8 < META_TAG_BYTES ? ACT_METADATA_NONE : ACT_METADATA_DAMAGED);
            assert_int_equal(values, ACT_VALUES_U64);
            *byte ^= (uint8_t)(1 << bit % 8);
        }
        assert_int_equal(state_of(&file, NULL), ACT_METADATA_FULL);
        bytes_free(&file);
    }
}

static void damaged_metadata_leaves_the_tree_as_it_is(void **state)
{
    (void)state;
    struct treetest t;
    struct oracle oracle;
    struct bytes file = make_file(&numbers);
    oracle_make(&oracle);
    file.p[FORGE_N_KEYS] ^= 1;
    treetest_open_bytes(&t, file, "damaged metadata");
    t.oracle = oracle;
    treetest_check_all(&t, 1);
    treetest_close(&t);
}

static void fields_are_believed_only_where_they_make_sense(void **state)
{
    (void)state;
    struct bytes file = make_file(&numbers);
    const uint64_t end = file.len - 8, root = forge_number(&file, FORGE_ROOT, 8);
    const struct {
        size_t at;
        unsigned n;
        uint64_t value;
        enum act_metadata_state state;
    } cases[] = {
        {FORGE_VERSION, 1, 0, ACT_METADATA_DAMAGED},
        {FORGE_VERSION, 1, 2, ACT_METADATA_DAMAGED},
        {FORGE_VERSION, 1, 255, ACT_METADATA_DAMAGED},
        {FORGE_MODE, 1, 1, ACT_METADATA_FULL},
        {FORGE_MODE, 1, 2, ACT_METADATA_DAMAGED},
        {FORGE_MODE, 1, 255, ACT_METADATA_DAMAGED},
        {FORGE_LENGTH, 4, 0, ACT_METADATA_DAMAGED},
        {FORGE_LENGTH, 4, 79, ACT_METADATA_DAMAGED},
        {FORGE_LENGTH, 4, 81, ACT_METADATA_DAMAGED},
        {FORGE_LENGTH, 4, 80 + 65536, ACT_METADATA_DAMAGED},
        {FORGE_TABLE_MIN, 2, 0, ACT_METADATA_DAMAGED},
        {FORGE_TABLE_MIN, 2, 1, ACT_METADATA_DAMAGED},
        {FORGE_TABLE_MIN, 2, 3, ACT_METADATA_FULL},
        {FORGE_TABLE_MIN, 2, 257, ACT_METADATA_FULL},
        {FORGE_TABLE_MIN, 2, 65535, ACT_METADATA_FULL},
        {FORGE_FLAGS, 2, 65535, ACT_METADATA_FULL},
        {FORGE_ROOT, 8, 0, ACT_METADATA_DAMAGED},
        {FORGE_ROOT, 8, 95, ACT_METADATA_DAMAGED},
        {FORGE_ROOT, 8, 96, ACT_METADATA_FOREIGN},
        {FORGE_ROOT, 8, root - 1, ACT_METADATA_FOREIGN},
        {FORGE_ROOT, 8, end - 1, ACT_METADATA_FOREIGN},
        {FORGE_ROOT, 8, end, ACT_METADATA_DAMAGED},
        {FORGE_ROOT, 8, UINT64_MAX, ACT_METADATA_DAMAGED},
        {FORGE_OBJECTS_END, 8, end + 1, ACT_METADATA_DAMAGED},
        {FORGE_OBJECTS_END, 8, end - 1, ACT_METADATA_FULL},
        {FORGE_OBJECTS_END, 8, root, ACT_METADATA_DAMAGED},
        {FORGE_OBJECTS_END, 8, root + 1, ACT_METADATA_FULL},
        {FORGE_OBJECTS_END, 8, 0, ACT_METADATA_DAMAGED},
        {FORGE_OBJECTS_END, 8, UINT64_MAX, ACT_METADATA_DAMAGED},
        {FORGE_OBJECTS_END, 8, UINT64_MAX - 7, ACT_METADATA_DAMAGED},
        {FORGE_N_KEYS, 8, UINT64_MAX, ACT_METADATA_FULL},
    };
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        struct bytes forged = bytes_copy(file.p, file.len);
        forge_field(&forged, cases[i].at, cases[i].value, cases[i].n);
        enum act_metadata_state is = state_of(&forged, NULL);
        if (is != cases[i].state)
            fail_msg("%llu at %zu gives state %d", (unsigned long long)cases[i].value, cases[i].at,
                     is);
        bytes_free(&forged);
    }
    bytes_free(&file);
}

static void a_cut_file_is_refused_or_read_without_its_metadata(void **state)
{
    (void)state;
    struct bytes file = make_file(&numbers);
    for (size_t len = 0; len < file.len; len++) {
        struct bytes cut = bytes_copy(file.p, len);
        struct act *tree;
        if (act_open_memory(cut.p, len, "cut", &tree, NULL) == 0) {
            act_close(tree);
            assert_int_equal(state_of(&cut, NULL), ACT_METADATA_DAMAGED);
        }
        /* With a root that lies in what is left. */
        if (len > 17) {
            forge_put(&cut, 8, 16 + len % (len - 16), 8);
            enum act_metadata_state is = len >= 25 ? state_of(&cut, NULL) : ACT_METADATA_NONE;
            assert_true(is == (len < 96 ? ACT_METADATA_NONE : ACT_METADATA_DAMAGED));
        }
        bytes_free(&cut);
    }
    bytes_free(&file);
}

/* What forge_merge makes of the oracle. */
static void merge_oracle(struct oracle *oracle, uint64_t value)
{
    struct oracle merged;
    oracle_init(&merged);
    for (size_t i = 0; i < oracle->n; i++) {
        const struct oracle_entry *e = &oracle->entries[i];
        uint8_t key[256] = "yp";
        assert_in_range(e->key.len, 0, sizeof key - 2);
        if (e->key.len > 0)
            memcpy(key + 2, e->key.p, e->key.len);
        oracle_add(&merged, key, e->key.len + 2, e->value);
    }
    oracle_add(&merged, "x", 1, value);
    oracle_sort(&merged);
    oracle_deinit(oracle);
    *oracle = merged;
}

static void check_tree(struct treetest *t, enum act_metadata_state state, enum act_values values)
{
    struct act_info info;
    struct cursor_model model;
    act_info(t->tree, &info);
    assert_int_equal(info.metadata_state, state);
    assert_int_equal(info.values, values);
    treetest_check_all(t, 1);
    cursor_model_init(&model, t->tree, &t->oracle);
    const char *wrong = cursor_model_check_all(&model, 3);
    if (wrong)
        fail_msg("%s", wrong);
    cursor_model_deinit(&model);
}

static void a_merged_file_keeps_its_tables(void **state)
{
    (void)state;
    struct treetest t;
    struct oracle base, once, twice;
    uint64_t roots[4] = {0};
    struct bytes file = make_file(&numbers);
    uint64_t root = forge_number(&file, 8, 8), end = file.len;
    oracle_make(&base);
    oracle_make(&once);
    oracle_make(&twice);
    merge_oracle(&once, 7);
    merge_oracle(&twice, 7);
    merge_oracle(&twice, 8);
    forge_merge(&file, 7, 0, root);
    uint64_t root_once = forge_number(&file, 8, 8), trailer = file.len - 16;
    forge_merge(&file, 8, trailer, root_once);
    treetest_open_bytes(&t, file, "merged");
    assert_int_equal(act_root_history(t.tree, roots, 4), 3);
    assert_int_equal(roots[1], root_once);
    assert_int_equal(roots[2], root);
    t.oracle = twice;
    check_tree(&t, ACT_METADATA_TABLES, ACT_VALUES_U64);
    /* Of each of its roots, in any order. */
    for (unsigned i = 0; i < 6; i++) {
        const struct oracle *oracles[] = {&twice, &once, &base};
        unsigned which = i * 2 % 3;
        assert_int_equal(act_set_root(t.tree, roots[which]), 0);
        t.oracle = *oracles[which];
        check_tree(&t, which == 2 ? ACT_METADATA_FULL : ACT_METADATA_TABLES, ACT_VALUES_U64);
    }
    assert_int_equal(act_set_root(t.tree, roots[0] + 1), ACT_BAD_ROOT);
    assert_int_equal(act_set_root(t.tree, 16), ACT_BAD_ROOT);
    assert_int_equal(act_set_root(t.tree, UINT64_MAX), ACT_BAD_ROOT);
    assert_int_equal(roots[0] > end, 1);
    oracle_init(&t.oracle);
    treetest_close(&t);
    oracle_deinit(&base);
    oracle_deinit(&once);
    oracle_deinit(&twice);
}

static void merged_byte_values_are_told_as_mixed(void **state)
{
    (void)state;
    struct bytes file = make_file(&byte_strings);
    const uint8_t *p;
    size_t len;
    uint64_t root = forge_number(&file, 8, 8);
    forge_merge(&file, 7, 0, root);
    struct act *tree = open_bytes(&file);
    struct act_info info;
    act_info(tree, &info);
    assert_int_equal(info.metadata_state, ACT_METADATA_TABLES);
    assert_int_equal(info.values, ACT_VALUES_MIXED);
    assert_int_equal(act_bytes(tree, 97, &p, &len, NULL), ACT_NOT_BYTES);
    assert_int_equal(act_set_root(tree, root), 0);
    act_info(tree, &info);
    assert_int_equal(info.metadata_state, ACT_METADATA_FULL);
    assert_int_equal(info.values, ACT_VALUES_BYTES);
    act_close(tree);
    bytes_free(&file);
}

/* The root is another one, and nothing says that [16, E) is as it was. */
static void metadata_of_another_root_does_not_count(void **state)
{
    (void)state;
    struct bytes file = make_file(&numbers);
    const uint64_t root = forge_number(&file, 8, 8), end = file.len - 8;
    const struct {
        uint64_t previous_root;
        enum act_metadata_state state;
    } cases[] = {
        {root, ACT_METADATA_TABLES}, {root - 1, ACT_METADATA_FOREIGN},
        {0, ACT_METADATA_FOREIGN},   {16, ACT_METADATA_FOREIGN},
        {end, ACT_METADATA_FOREIGN}, {UINT64_MAX, ACT_METADATA_FOREIGN},
    };
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        struct bytes merged = bytes_copy(file.p, file.len);
        forge_merge(&merged, 1, 0, cases[i].previous_root);
        assert_int_equal(state_of(&merged, NULL), cases[i].state);
        /* A trailer below E + 8 is none of a merge into this file. */
        forge_field(&merged, FORGE_OBJECTS_END, merged.len - 16 - 7, 8);
        assert_int_equal(state_of(&merged, NULL), ACT_METADATA_FOREIGN);
        bytes_free(&merged);
    }
    for (unsigned mode = 0; mode < 2; mode++) {
        enum act_values values;
        struct bytes merged = bytes_copy(file.p, file.len);
        forge_field(&merged, FORGE_MODE, mode, 1);
        forge_put(&merged, 8, forge_first_child(&merged, root), 8);
        assert_int_equal(state_of(&merged, &values), ACT_METADATA_FOREIGN);
        assert_int_equal(values, mode == 0 ? ACT_VALUES_U64 : ACT_VALUES_MIXED);
        bytes_free(&merged);
    }
    bytes_free(&file);
}

static void assert_history(const char *name, size_t n, const uint64_t *wanted)
{
    struct treetest t;
    uint64_t roots[8];
    treetest_open_bytes(&t, bytes_read_file(test_data_path(name)), name);
    assert_int_equal(act_root_history(t.tree, NULL, 0), n);
    for (size_t max = 0; max <= n; max++) {
        memset(roots, 0x55, sizeof roots);
        assert_int_equal(act_root_history(t.tree, roots, max), n);
        for (size_t i = 0; i < N_ELEMENTS(roots); i++)
            assert_int_equal(roots[i], i < max ? wanted[i] : UINT64_C(0x5555555555555555));
    }
    treetest_close(&t);
}

static void the_roots_of_a_file_are_told(void **state)
{
    (void)state;
    struct treetest t;
    struct act_info info;
    assert_history("doc/b_base.act", 1, (const uint64_t[]){33});
    assert_history("doc/b.act", 2, (const uint64_t[]){59, 33});
    static const char *const crafted[] = {"trailer_loop", "aborted_merge", "garbage_tail"};
    for (size_t i = 0; i < N_ELEMENTS(crafted); i++) {
        char name[64];
        uint64_t roots[1000];
        snprintf(name, sizeof name, "crafted/%s.act", crafted[i]);
        treetest_open_bytes(&t, bytes_read_file(test_data_path(name)), name);
        act_info(t.tree, &info);
        size_t n = act_root_history(t.tree, roots, N_ELEMENTS(roots));
        assert_in_range(n, 1, 4);
        assert_int_equal(roots[0], info.root_offset);
        for (size_t r = 1; r < n; r++)
            assert_in_range(roots[r], 16, roots[r - 1] - 1);
        treetest_close(&t);
    }
}

static void an_older_root_holds_what_it_held(void **state)
{
    (void)state;
    static const char *const files[][3] = {
        {"doc/b.act", "doc/b.tsv", "doc/b_base.tsv"},
        {"edge/merged1_stream.act", "edge/merged1.tsv", "edge/m_base.tsv"},
        {"edge/merged1_zipper.act", "edge/merged1.tsv", "edge/m_base.tsv"},
    };
    for (size_t i = 0; i < N_ELEMENTS(files); i++) {
        struct treetest t;
        struct oracle newest;
        uint64_t roots[2];
        treetest_open(&t, files[i][0], files[i][1]);
        assert_int_equal(act_root_history(t.tree, roots, 2), 2);
        check_tree(&t, ACT_METADATA_NONE, ACT_VALUES_U64);
        newest = t.oracle;
        oracle_init(&t.oracle);
        oracle_load(&t.oracle, test_data_path(files[i][2]));
        assert_int_equal(act_set_root(t.tree, roots[1]), 0);
        check_tree(&t, ACT_METADATA_NONE, ACT_VALUES_U64);
        oracle_deinit(&t.oracle);
        t.oracle = newest;
        assert_int_equal(act_set_root(t.tree, roots[0]), 0);
        check_tree(&t, ACT_METADATA_NONE, ACT_VALUES_U64);
        treetest_close(&t);
    }
}

/* Trailers that point at themselves, upward, at each other, or outside the file. */
static void chains_of_trailers_end(void **state)
{
    (void)state;
    struct bytes file = make_file(&numbers);
    uint64_t root = forge_number(&file, 8, 8);
    forge_merge(&file, 1, 0, root);
    uint64_t first = file.len - 16, second_root = forge_number(&file, 8, 8);
    forge_merge(&file, 2, first, second_root);
    uint64_t second = file.len - 16;
    const uint64_t suffixes[] = {first, second, second + 1, file.len, first - 1, second - 1,
                                 16,    0,      8,          1,        root,      UINT64_MAX};
    for (size_t i = 0; i < N_ELEMENTS(suffixes); i++) {
        uint64_t roots[1];
        forge_put(&file, second, suffixes[i], 8);
        for (unsigned is_looped = 0; is_looped < 2; is_looped++) {
            forge_put(&file, first, is_looped ? second : 0, 8);
            struct act *tree = open_bytes(&file);
            size_t n = act_root_history(tree, roots, 1);
            assert_in_range(n, 2, 3);
            assert_int_equal(n == 3, suffixes[i] == first);
            act_close(tree);
            assert_int_equal(state_of(&file, NULL),
                             n == 3 ? ACT_METADATA_TABLES : ACT_METADATA_FOREIGN);
        }
        forge_put(&file, first, 0, 8);
    }
    bytes_free(&file);
}

static void a_long_history_is_cut(void **state)
{
    (void)state;
    struct bytes file = make_file(&numbers);
    uint64_t roots[1200], trailer = 0;
    for (unsigned i = 0; i < 1100; i++) {
        forge_merge(&file, i, trailer, forge_number(&file, 8, 8));
        trailer = file.len - 16;
    }
    struct act *tree = open_bytes(&file);
    assert_int_equal(act_root_history(tree, roots, N_ELEMENTS(roots)), 1000);
    assert_int_equal(act_set_root(tree, roots[999]), 0);
    act_close(tree);
    bytes_free(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_formatted_is_parsed),
        cmocka_unit_test(each_flipped_bit_is_seen),
        cmocka_unit_test(damaged_metadata_leaves_the_tree_as_it_is),
        cmocka_unit_test(fields_are_believed_only_where_they_make_sense),
        cmocka_unit_test(a_cut_file_is_refused_or_read_without_its_metadata),
        cmocka_unit_test(a_merged_file_keeps_its_tables),
        cmocka_unit_test(merged_byte_values_are_told_as_mixed),
        cmocka_unit_test(metadata_of_another_root_does_not_count),
        cmocka_unit_test(the_roots_of_a_file_are_told),
        cmocka_unit_test(an_older_root_holds_what_it_held),
        cmocka_unit_test(chains_of_trailers_end),
        cmocka_unit_test(a_long_history_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
