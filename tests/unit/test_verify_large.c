/*
 * verify on what is large, deep or shared: time linear in the file's size, bounded memory, bits in
 * a temporary file where they are too many.
 */
#include "treetest.h"
#include "unit.h"
#include "verdict.h"

#include <errno.h>
#include <stdlib.h>

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

static void append_varint(struct arena *a, uint64_t value)
{
    uint8_t bytes[9] = {(uint8_t)value};
    size_t n = 0;
    for (; value >= 248 && value >> (8 * n) != 0 && n < 8; n++)
        bytes[1 + n] = (uint8_t)(value >> (8 * n));
    if (n > 0)
        bytes[0] = (uint8_t)(247 + n);
    append(a, bytes, 1 + n);
}

static void arena_begin(struct arena *a)
{
    *a = (struct arena){0};
    append(a, "ACTree03\0\0\0\0\0\0\0\0", 16);
}

/* The last node begins at root. */
static void arena_open(struct treetest *t, struct arena *a, uint64_t root)
{
    append(a, "\0\0\0\0\0\0\0\0", 8);
    for (unsigned i = 0; i < 8; i++)
        a->p[8 + i] = (uint8_t)(root >> (8 * i));
    treetest_open_bytes(t, bytes_copy(a->p, a->len), "a grown tree");
    free(a->p);
}

/* Branches of one child each; each has a value, so nothing is wrong with it, or none has. */
static void open_chain(struct treetest *t, size_t depth, bool has_values)
{
    struct arena a;
    size_t at = 0, below = 16;
    arena_begin(&a);
    append(&a, "\x40\x05", 2);
    for (size_t i = 0; i < depth; i++) {
        at = a.len;
        append(&a, has_values ? "\x41\x07" : "\x01", has_values ? 2 : 1);
        append_varint(&a, at - below);
        append(&a, "a", 1);
        below = at;
    }
    arena_open(t, &a, at);
}

static void a_million_nested_nodes_are_no_trouble(void **state)
{
    (void)state;
    const size_t depth = 1000000;
    const struct act_verify_options in_file = {.is_all = true, .memory_bytes = 1};
    struct treetest t;
    struct verdict v;
    open_chain(&t, depth, true);
    for (int i = 0; i < 2; i++) {
        verdict_take(&v, t.tree, i == 0 ? NULL : &in_file);
        assert_int_equal(v.result, 0);
        assert_int_equal(v.n, 0);
        assert_int_equal(v.survey.n_values, depth + 1);
        assert_int_equal(v.survey.deepest_bytes, depth);
        assert_int_equal(v.survey.deepest_nodes, depth + 1);
        verdict_free(&v);
    }
    treetest_close(&t);
}

/* Every node but two has a fault, and a path as long as it is deep: each is told with its path, in
 * time that is linear all the same. */
static void a_million_faults_along_one_path_take_linear_time(void **state)
{
    (void)state;
    const size_t depth = 1200000;
    struct treetest t;
    struct verdict v;
    open_chain(&t, depth, false);
    verdict_take(&v, t.tree, NULL);
    assert_int_equal(v.result, ACT_CORRUPT);
    assert_int_equal(v.n_faults, depth - 1);
    for (size_t i = 0; i < v.n; i++) {
        assert_int_equal(v.findings[i].path.len, i + 1);
        assert_false(v.findings[i].is_path_cut);
        assert_int_equal(v.findings[i].path.p[i], 'a');
    }
    verdict_free(&v);
    treetest_close(&t);
}

static size_t n_cut;

static void on_long_path(void *context, const struct act_finding *finding)
{
    size_t *longest = context;
    *longest = finding->path_len > *longest ? finding->path_len : *longest;
    n_cut += finding->is_path_cut;
    if (finding->is_path_cut)
        assert_int_equal(finding->path_len, 1 << 20);
}

static void a_path_is_told_up_to_a_length(void **state)
{
    (void)state;
    struct treetest t;
    struct act_survey survey;
    size_t longest = 0, depth = ((size_t)1 << 20) + 10;
    const struct act_verify_options options = {
        .is_all = true, .context = &longest, .on_finding = on_long_path};
    open_chain(&t, depth, false);
    n_cut = 0;
    assert_int_equal(act_verify(t.tree, &options, &survey), ACT_CORRUPT);
    assert_int_equal(longest, 1 << 20);
    /* Branches stand at 0 to depth - 1; the root may be as it is. */
    assert_int_equal(n_cut, 9);
    treetest_close(&t);
}

/* A million line nodes that share one line of 64 KiB: keys of 32 GB at every other node. */
static void keys_may_be_far_longer_than_the_file(void **state)
{
    (void)state;
    const size_t line_len = 65536, n_lines = 500000;
    struct arena a;
    struct treetest t;
    struct verdict v;
    char *line = calloc(1, line_len);
    arena_begin(&a);
    append_varint(&a, line_len);
    append(&a, line, line_len);
    size_t below = a.len, at = 0;
    append(&a, "\x40\x05", 2);
    for (size_t i = 0; i < n_lines; i++) {
        /* A branch with a value, and a line above it. */
        at = a.len;
        append(&a, "\x41\x07", 2);
        append_varint(&a, at - below);
        append(&a, "a", 1);
        below = at;
        at = a.len;
        append(&a, "\x81", 1);
        append_varint(&a, at - below);
        append_varint(&a, at - 16);
        below = at;
    }
    arena_open(&t, &a, at);
    verdict_take(&v, t.tree, NULL);
    assert_int_equal(v.result, 0);
    assert_int_equal(v.survey.deepest_bytes, n_lines * (line_len + 1));
    assert_int_equal(v.survey.n_line_references, n_lines);
    assert_int_equal(v.survey.n_objects[ACT_OBJECT_LINE_DATA], 1);
    verdict_free(&v);
    treetest_close(&t);
    free(line);
}

/* levels runs of 256 nodes, each of which has the run below as its own: 256^levels keys. */
static void shared_runs_are_walked_once(void **state)
{
    (void)state;
    const unsigned levels = 300;
    struct arena a;
    struct treetest t;
    struct verdict v;
    uint8_t all[32];
    memset(all, 0xff, sizeof all);
    arena_begin(&a);
    size_t run = a.len;
    for (unsigned i = 0; i < 256; i++)
        append(&a, "\x40\x07", 2);
    for (unsigned level = 1; level <= levels; level++) {
        size_t begin = a.len;
        for (unsigned i = 0; i < (level < levels ? 256 : 1); i++) {
            size_t at = a.len;
            append(&a, "\x20", 1);
            append_varint(&a, at - run);
            append(&a, all, sizeof all);
        }
        run = begin;
    }
    arena_open(&t, &a, run);
    verdict_take(&v, t.tree, NULL);
    assert_int_equal(v.result, 0);
    assert_int_equal(v.n, 1);
    assert_true(v.findings[0].is_note);
    assert_int_equal(v.findings[0].n, 255 * (levels - 1));
    assert_int_equal(v.survey.n_shared, 255 * (levels - 1));
    assert_int_equal(v.survey.fan_out[256], 256 * (levels - 1) + 1);
    assert_int_equal(v.survey.n_values, 256);
    verdict_free(&v);
    treetest_close(&t);
}

static void check_in_file(struct treetest *t, void *context)
{
    struct verdict in_memory, in_file;
    const struct act_verify_options *options = context;
    verdict_take(&in_memory, t->tree, NULL);
    verdict_take(&in_file, t->tree, options);
    assert_int_equal(in_memory.result, in_file.result);
    assert_memory_equal(&in_memory.survey, &in_file.survey, sizeof in_file.survey);
    assert_int_equal(in_memory.n, in_file.n);
    for (size_t i = 0; i < in_file.n; i++)
        assert_int_equal(in_memory.findings[i].offset, in_file.findings[i].offset);
    verdict_free(&in_memory);
    verdict_free(&in_file);
}

static void bits_in_a_temporary_file_say_the_same(void **state)
{
    (void)state;
    struct treetest t;
    struct act_verify_options options = {
        .is_all = true, .memory_bytes = 1, .temporary_directory = "/tmp"};
    treetest_for_each("edge", check_in_file, &options);
    treetest_open(&t, "cities.act", "cities.tsv.gz");
    for (options.memory_bytes = 1; options.memory_bytes <= 16 << 20; options.memory_bytes *= 16)
        check_in_file(&t, &options);
    /* Without a directory there is no temporary file, and none is asked for where memory does. */
    struct verdict v;
    options.temporary_directory = "/nonexistent";
    options.memory_bytes = 1;
    verdict_take(&v, t.tree, &options);
    assert_int_equal(v.result, -ENOENT);
    assert_int_equal(v.n, 0);
    options.memory_bytes = 0;
    check_in_file(&t, &options);
    treetest_close(&t);
}

static void a_survey_reports_nothing_and_goes_on(void **state)
{
    (void)state;
    struct treetest t;
    struct verdict all, survey;
    const struct act_verify_options options = {.is_survey = true};
    treetest_open(&t, "cities.act", "cities.tsv.gz");
    verdict_take(&all, t.tree, NULL);
    verdict_take(&survey, t.tree, &options);
    assert_int_equal(survey.n, 0);
    assert_memory_equal(&all.survey, &survey.survey, sizeof all.survey);
    /* A value in a longer form, somewhere in the middle. */
    for (size_t i = t.file.len / 2; i < t.file.len; i++)
        if (memcmp(t.file.p + i, "\xc0\xf9", 2) == 0 && t.file.p[i + 3] >= 1) {
            t.file.p[i + 3] = 0;
            break;
        }
    verdict_free(&all);
    verdict_take(&all, t.tree, NULL);
    verdict_take(&survey, t.tree, &options);
    assert_int_equal(all.result, ACT_CORRUPT);
    assert_int_equal(all.n_faults, 1);
    assert_int_equal(survey.result, ACT_CORRUPT);
    assert_int_equal(survey.survey.n_faults, 1);
    assert_int_equal(survey.survey.n_values, all.survey.n_values);
    verdict_free(&all);
    treetest_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_million_nested_nodes_are_no_trouble),
        cmocka_unit_test(a_million_faults_along_one_path_take_linear_time),
        cmocka_unit_test(a_path_is_told_up_to_a_length),
        cmocka_unit_test(keys_may_be_far_longer_than_the_file),
        cmocka_unit_test(shared_runs_are_walked_once),
        cmocka_unit_test(bits_in_a_temporary_file_say_the_same),
        cmocka_unit_test(a_survey_reports_nothing_and_goes_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
