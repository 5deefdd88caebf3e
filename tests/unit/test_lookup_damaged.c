/*
 * lookup on odd and damaged trees: section 10 of the format, row by row, first the crafted files,
 * then shapes made here.
 */
#include "consistent.h"
#include "treetest.h"
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

static void crafted_files_that_are_no_trees_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int outcome;
        const char *why;
    } refused[] = {
        {"short0", ACT_TOO_SHORT, "too short"},
        {"short12", ACT_TOO_SHORT, "too short"},
        {"short24", ACT_TOO_SHORT, "too short"},
        {"badmagic", ACT_OLD_VERSION, "an old version of the format (ACTree02)"},
        {"root0", ACT_UNFINISHED, "still being written"},
        {"root_eof", ACT_BAD_ROOT, "lies outside the file"},
    };
    for (size_t i = 0; i < N_ELEMENTS(refused); i++) {
        char name[64];
        struct act *tree;
        struct act_error error;
        snprintf(name, sizeof name, "crafted/%s.act", refused[i].name);
        assert_int_equal(act_open_path(test_data_path(name), &tree, &error), refused[i].outcome);
        assert_non_null(strstr(error.message, refused[i].why));
    }
}

/* What a key must give. children: the bytes that lead on, as text. */
struct expected {
    const char *key;
    int outcome; /* of get and exists */
    uint64_t value;
    int node_outcome;
    const char *children;
};

#define HAS(key, value, children)            \
    {                                        \
        key, ACT_OK, value, ACT_OK, children \
    }
#define PASSES(key, children)              \
    {                                      \
        key, ACT_MISS, 0, ACT_OK, children \
    }
#define MISSES(key)                      \
    {                                    \
        key, ACT_MISS, 0, ACT_MISS, NULL \
    }
#define CORRUPT(key)                           \
    {                                          \
        key, ACT_CORRUPT, 0, ACT_CORRUPT, NULL \
    }

#define EXPECTED_MAX 8

static void check_node(const struct act *tree, const struct expected *e)
{
    struct act_node node = {0};
    uint64_t children[4] = {0};
    assert_int_equal(act_node(tree, e->key, strlen(e->key), &node, NULL), e->node_outcome);
    for (const char *c = e->children; c && *c; c++)
        children[(uint8_t)*c >> 6] |= UINT64_C(1) << ((uint8_t)*c & 63);
    assert_memory_equal(node.children, children, sizeof children);
    assert_int_equal(node.has_value, e->outcome == ACT_OK && e->node_outcome == ACT_OK);
}

static void check_key(const struct act *tree, const char *name, const struct expected *e)
{
    uint64_t value = 0;
    int r = act_get(tree, e->key, strlen(e->key), &value, NULL);
    if (r != e->outcome || value != e->value)
        fail_msg("%s: \"%s\" gives outcome %d, value %llu", name, e->key, r,
                 (unsigned long long)value);
    check_node(tree, e);
    const char *wrong = consistent_at(tree, slice_of_str(e->key));
    if (wrong)
        fail_msg("%s: \"%s\": %s", name, e->key, wrong);
}

static void check_tree(struct treetest *t, const struct expected *expected)
{
    for (size_t i = 0; i < EXPECTED_MAX && expected[i].key; i++)
        check_key(t->tree, t->name, &expected[i]);
    const char *wrong = consistent_below_root(t->tree, 5000, 100);
    if (wrong)
        fail_msg("%s: %s", t->name, wrong);
}

static void crafted_files_answer_as_section_10_says(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct expected expected[EXPECTED_MAX];
    } crafted[] = {
        {"child_self", {CORRUPT(""), CORRUPT("a"), CORRUPT("aa")}},
        {"count33", {CORRUPT(""), CORRUPT("\1"), CORRUPT("z")}},
        {"dangling_leaf",
         {PASSES("", "ab"), PASSES("a", ""), HAS("b", 1, ""), MISSES("aa"), MISSES("c")}},
        {"garbage_tail", {HAS("", 1, ""), MISSES("a")}},
        {"line_bits", {PASSES("", "a"), PASSES("a", "b"), HAS("ab", 9, ""), MISSES("abc")}},
        {"line_fwd", {CORRUPT(""), CORRUPT("a")}},
        {"line_len0", {CORRUPT(""), CORRUPT("a")}},
        {"line_line",
         {PASSES("", "r"), PASSES("r", "o"), PASSES("ro", "a"), PASSES("roa", "d"),
          HAS("road", 7, ""), MISSES("rob"), MISSES("roads")}},
        {"line_value_child",
         {PASSES("", "r"), PASSES("roa", "d"), HAS("road", 1, "x"), HAS("roadx", 3, ""),
          MISSES("roady"), MISSES("roadxx")}},
        {"line_value_child2",
         {PASSES("roa", "d"), HAS("road", 1, "xy"), HAS("roadx", 3, ""), HAS("roady", 4, ""),
          MISSES("roadz")}},
        {"mask_field32_pop5",
         {PASSES("", "!\"#$%"), HAS("!", 1, ""), HAS("#", 3, ""), HAS("%", 5, ""), MISSES(" "),
          MISSES("&")}},
        {"noncanon", {PASSES("", "ab"), HAS("a", 5, ""), HAS("b", 6, ""), MISSES("c")}},
        {"trailer_loop", {HAS("", 1, ""), MISSES("a")}},
        {"unsorted", {PASSES("", "ab"), HAS("a", 1, ""), HAS("b", 2, ""), MISSES("c")}},
        {"nopad_page", {PASSES("", "q"), HAS("q", 5, ""), MISSES("qq"), MISSES("r")}},
    };
    for (size_t i = 0; i < N_ELEMENTS(crafted); i++) {
        char name[64];
        struct treetest t;
        snprintf(name, sizeof name, "crafted/%s.act", crafted[i].name);
        treetest_open_bytes(&t, bytes_read_file(test_data_path(name)), name);
        check_tree(&t, crafted[i].expected);
        treetest_close(&t);
    }
}

/* kids_overrun: its set is 61 62 00 00 00, the last three from the padding; its run has one node.
 */
static void a_set_that_swallows_what_follows_stays_consistent(void **state)
{
    (void)state;
    struct treetest t;
    struct act_node node;
    uint64_t value = 0;
    treetest_open_bytes(&t, bytes_read_file(test_data_path("crafted/kids_overrun.act")), "overrun");
    assert_int_equal(act_node(t.tree, "", 0, &node, NULL), 0);
    assert_false(node.has_value);
    assert_int_equal(node.children[0], 1);
    assert_true(node.children[1] == 3 * (UINT64_C(1) << ('a' & 63)));
    assert_int_equal(act_get(t.tree, "\0", 1, &value, NULL), 0);
    assert_int_equal(value, 1);
    assert_int_equal(act_get(t.tree, "a", 1, NULL, NULL), ACT_CORRUPT);
    assert_int_equal(act_get(t.tree, "b", 1, NULL, NULL), ACT_CORRUPT);
    assert_int_equal(act_get(t.tree, "c", 1, NULL, NULL), ACT_MISS);
    assert_null(consistent_below_root(t.tree, 1000, 10));
    treetest_close(&t);
}

static void an_aborted_merge_leaves_the_old_contents(void **state)
{
    (void)state;
    struct treetest t;
    treetest_open(&t, "crafted/aborted_merge.act", "edge/m_base.tsv");
    treetest_check_all(&t, 1);
    treetest_close(&t);
}

#define PAD " 00 00 00 00 00 00 00 00"
#define NULL_MASK                                                    \
    "00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00" \
    "00 00 00 00 00 00 00 00 00 00 00"

static const struct {
    const char *name;
    uint64_t root;
    const char *arena;
    struct expected expected[EXPECTED_MAX];
} shapes[] = {
    {"a line that refers to itself", 16, "80 00" PAD, {CORRUPT(""), CORRUPT("a")}},
    {"a line below 16", 16, "80 01" PAD, {CORRUPT(""), CORRUPT("a")}},
    {"a line at 0", 16, "80 10" PAD, {CORRUPT(""), CORRUPT("A")}},
    {"a line before the file", 16, "80 11" PAD, {CORRUPT(""), CORRUPT("a")}},
    {"a reference of 2^64-1", 16, "01 ff ff ff ff ff ff ff ff ff 61" PAD, {CORRUPT("")}},
    {"a reference of 2^64-16", 16, "01 ff f0 ff ff ff ff ff ff ff 61" PAD, {CORRUPT("")}},
    {"a child below 16", 18, "40 01 01 03 61" PAD, {CORRUPT(""), CORRUPT("a")}},
    {"a line's child that is itself", 18, "01 61 81 00 02" PAD, {CORRUPT(""), CORRUPT("a")}},
    {"a line's child below 16", 18, "01 61 81 05 02" PAD, {CORRUPT(""), CORRUPT("a")}},
    {"a child that overlaps its parent",
     17,
     "01 01 01 61" PAD,
     {PASSES("", "a"), CORRUPT("a"), CORRUPT("ab"), MISSES("b")}},
    {"a length of 1 too much", 19, "03 61 62 c0 05 03" PAD, {CORRUPT(""), CORRUPT("ab")}},
    {"a length of 2^64-1",
     25,
     "ff ff ff ff ff ff ff ff ff c0 05 09" PAD,
     {CORRUPT(""), CORRUPT("a")}},
    {"a length of 0 below a branch",
     20,
     "00 c0 05 01 01 03 61" PAD,
     {PASSES("", "a"), CORRUPT("a"), CORRUPT("ab"), MISSES("b")}},
    {"a child byte twice",
     20,
     "40 01 40 02 02 04 61 61" PAD,
     {PASSES("", "a"), HAS("a", 1, ""), MISSES("b")}},
    {"two child bytes twice, not sorted",
     22,
     "40 01 40 02 40 03 04 06 62 61 62 61" PAD,
     {PASSES("", "ab"), HAS("a", 1, ""), HAS("b", 3, ""), MISSES("c")}},
    {"a mask of nobody", 18, "40 01 20 02" NULL_MASK PAD, {PASSES("", ""), MISSES("a")}},
    {"a line whose data is a node",
     23,
     "40 03 41 02 02 78 00 c1 01 05 f8 07" PAD,
     {CORRUPT(""), CORRUPT("x")}},
    {"a line with value whose child is a leaf with another",
     20,
     "01 61 40 09 c1 01 02 04" PAD,
     {PASSES("", "a"), HAS("a", 1, ""), MISSES("aa")}},
    {"a line with value whose child is broken",
     20,
     "01 61 3f 01 c1 01 02 04" PAD,
     {PASSES("", "a"), {"a", ACT_OK, 1, ACT_CORRUPT, NULL}, CORRUPT("aa"), MISSES("b")}},
    {"a line with value whose child is a line",
     21,
     "01 61 c0 07 02 c1 01 03 05" PAD,
     {PASSES("", "a"), HAS("a", 1, "a"), HAS("aa", 7, ""), MISSES("aaa"), MISSES("ab")}},
    {"a line without value and child",
     18,
     "01 61 80 02" PAD,
     {PASSES("", "a"), PASSES("a", ""), MISSES("aa"), MISSES("b")}},
    {"three lines in a row",
     24,
     "01 61 c0 07 02 81 03 05 81 03 08" PAD,
     {PASSES("", "a"), PASSES("a", "a"), PASSES("aa", "a"), HAS("aaa", 7, ""), MISSES("aaaa"),
      MISSES("ab"), MISSES("aab")}},
    {"a line's child without children",
     19,
     "01 61 00 81 01 03" PAD,
     {PASSES("", "a"), PASSES("a", ""), MISSES("aa")}},
    {"no padding at all",
     23,
     "06 61 61 61 61 61 61 c0 05 07",
     {PASSES("", "a"), PASSES("aaaaa", "a"), HAS("aaaaaa", 5, ""), MISSES("aaaaaaa")}},
    {"a value that leaves the file", 18, "40 01 41 ff 00 00 00 00 00", {CORRUPT(""), CORRUPT("a")}},
    {"a mask that leaves the file", 18, "40 01 20 02 ff ff ff ff ff", {CORRUPT("")}},
    {"a value that runs over its run",
     18,
     "40 f8 01 02 61" PAD,
     {PASSES("", "a"), CORRUPT("a"), MISSES("b")}},
};

static void shapes_that_nobody_writes_are_answered_safely(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_ELEMENTS(shapes); i++) {
        struct treetest t;
        treetest_open_arena(&t, shapes[i].name, shapes[i].root, shapes[i].arena);
        check_tree(&t, shapes[i].expected);
        treetest_close(&t);
    }
}

static void every_child_field_above_32_is_corrupt(void **state)
{
    (void)state;
    for (unsigned field = 33; field < 64; field++)
        for (unsigned value = 0; value <= 0x40; value += 0x40) {
            struct treetest t;
            struct act_fault fault;
            char arena[256];
            snprintf(arena, sizeof arena, "40 01 %02x 02 02" NULL_MASK NULL_MASK, value | field);
            treetest_open_arena(&t, "child field", 18, arena);
            assert_int_equal(act_get(t.tree, "", 0, NULL, &fault), ACT_CORRUPT);
            assert_int_equal(fault.offset, 18);
            assert_string_equal(fault.reason, "a child field above 32");
            treetest_close(&t);
        }
}

/* Grows by what the tests below append. */
struct arena {
    uint8_t *p;
    size_t len, room;
};

static void append(struct arena *a, const void *p, size_t len)
{
    if (a->len + len > a->room) {
        a->room = 2 * (a->len + len);
        a->p = realloc(a->p, a->room);
        assert_non_null(a->p);
    }
    memcpy(a->p + a->len, p, len);
    a->len += len;
}

/* A varint of three bytes: longer than needed below 256. */
static void append_distance(struct arena *a, uint64_t distance)
{
    const uint8_t varint[] = {0xf9, (uint8_t)distance, (uint8_t)(distance >> 8)};
    assert_true(distance <= 0xffff);
    append(a, varint, sizeof varint);
}

static void open_grown(struct treetest *t, struct arena *a, uint64_t root)
{
    for (unsigned i = 0; i < 8; i++)
        a->p[8 + i] = (uint8_t)(root >> (8 * i));
    treetest_open_bytes(t, bytes_copy(a->p, a->len), "a grown tree");
    free(a->p);
}

/* Exists without a value up to the length of key, where the value is; nothing beyond. */
static void check_only_key(const struct act *tree, struct slice key, uint64_t wanted)
{
    uint64_t value = 0;
    struct act_node node;
    assert_int_equal(act_get(tree, key.p, key.len, &value, NULL), 0);
    assert_true(value == wanted);
    struct bytes longer = {.p = malloc(key.len + 1), .len = key.len + 1};
    memcpy(longer.p, key.p, key.len);
    longer.p[key.len] = key.p[0];
    assert_int_equal(act_get(tree, longer.p, longer.len, NULL, NULL), ACT_MISS);
    assert_int_equal(act_node(tree, longer.p, longer.len, &node, NULL), ACT_MISS);
    for (size_t len = 0; len < key.len; len += 1 + key.len / 64) {
        assert_int_equal(act_get(tree, key.p, len, NULL, NULL), ACT_MISS);
        assert_int_equal(act_node(tree, key.p, len, &node, NULL), 0);
        assert_true(node.children[key.p[len] >> 6] == UINT64_C(1) << (key.p[len] & 63));
        longer.p[len] ^= 1;
        assert_int_equal(act_get(tree, longer.p, key.len, NULL, NULL), ACT_MISS);
        longer.p[len] ^= 1;
    }
    bytes_free(&longer);
}

static void nested_branches_are_walked_without_recursion(void **state)
{
    (void)state;
    const size_t depth = 20000;
    struct arena a = {0};
    struct treetest t;
    append(&a, "ACTree03\0\0\0\0\0\0\0\0\x40\x05", 18);
    for (size_t i = 0; i < depth; i++)
        append(&a, i == 0 ? "\x01\x02\x61" : "\x01\x03\x61", 3);
    size_t root = a.len - 3;
    open_grown(&t, &a, root);
    uint8_t *key = malloc(depth);
    memset(key, 'a', depth);
    check_only_key(t.tree, slice_of(key, depth), 5);
    free(key);
    treetest_close(&t);
}

static void a_key_may_be_longer_than_its_file(void **state)
{
    (void)state;
    const size_t line_len = 1000, n_lines = 3000;
    struct arena a = {0};
    struct treetest t;
    uint8_t *key = malloc(line_len * n_lines);
    for (size_t i = 0; i < line_len * n_lines; i++)
        key[i] = (uint8_t)(i % line_len % 251);
    append(&a, "ACTree03\0\0\0\0\0\0\0\0\xf9\xe8\x03", 19);
    append(&a, key, line_len);
    size_t at = 0;
    for (size_t i = 0; i < n_lines; i++) {
        at = a.len;
        append(&a, i == 0 ? "\xc0\x07" : "\x81", i == 0 ? 2 : 1);
        if (i > 0)
            append_distance(&a, i == 1 ? 5 : 7);
        append_distance(&a, at - 16);
    }
    assert_true(a.len < line_len * n_lines / 100);
    open_grown(&t, &a, at);
    check_only_key(t.tree, slice_of(key, line_len * n_lines), 7);
    free(key);
    treetest_close(&t);
}

/* Each level is a run of two nodes that share the run below: 2^40 keys in 200 bytes. */
static void shared_runs_make_no_difference(void **state)
{
    (void)state;
    const unsigned depth = 40;
    struct arena a = {0};
    struct treetest t;
    append(&a, "ACTree03\0\0\0\0\0\0\0\0\x40\x06\x40\x07", 20);
    for (unsigned i = 1; i < depth; i++)
        append(&a, i == 1 ? "\x02\x04\x61\x62\x02\x08\x61\x62" : "\x02\x08\x61\x62\x02\x0c\x61\x62",
               8);
    size_t root = a.len;
    append(&a, "\x02\x08\x61\x62", 4);
    open_grown(&t, &a, root);
    uint8_t key[40];
    for (uint64_t seed = 1; seed < 1000; seed++) {
        uint64_t bits = seed * UINT64_C(0x9e3779b97f4a7c15), value = 0;
        for (unsigned i = 0; i < depth; i++)
            key[i] = bits >> i & 1 ? 'b' : 'a';
        assert_int_equal(act_get(t.tree, key, depth, &value, NULL), 0);
        assert_int_equal(value, key[depth - 1] == 'a' ? 6 : 7);
        assert_null(consistent_at(t.tree, slice_of(key, depth)));
        key[seed % depth] = 'c';
        assert_int_equal(act_get(t.tree, key, depth, &value, NULL), ACT_MISS);
    }
    assert_null(consistent_below_root(t.tree, 20000, depth));
    treetest_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crafted_files_that_are_no_trees_are_refused),
        cmocka_unit_test(crafted_files_answer_as_section_10_says),
        cmocka_unit_test(a_set_that_swallows_what_follows_stays_consistent),
        cmocka_unit_test(an_aborted_merge_leaves_the_old_contents),
        cmocka_unit_test(shapes_that_nobody_writes_are_answered_safely),
        cmocka_unit_test(every_child_field_above_32_is_corrupt),
        cmocka_unit_test(nested_branches_are_walked_without_recursion),
        cmocka_unit_test(a_key_may_be_longer_than_its_file),
        cmocka_unit_test(shared_runs_make_no_difference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
