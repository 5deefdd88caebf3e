/*
 * verify: what the reference's writers make is without a fault, what nobody writes is one, and what
 * is odd but legal is a note; each with its offset and the key bytes that lead there.
 */
#include "treetest.h"
#include "unit.h"
#include "verdict.h"

#include <stdio.h>
#include <stdlib.h>

/* How often each key's length falls into each class of the survey. */
static void check_depths(const struct treetest *t, const struct act_survey *survey)
{
    uint64_t depth[65] = {0}, longest = 0;
    for (size_t i = 0; i < t->oracle.n; i++) {
        uint64_t len = t->oracle.entries[i].key.len;
        unsigned class = 0;
        while (class < 64 && len >> class != 0)
            class ++;
        depth[class]++;
        longest = len > longest ? len : longest;
    }
    assert_int_equal(survey->n_values, t->oracle.n);
    assert_memory_equal(survey->depth, depth, sizeof depth);
    assert_int_equal(survey->deepest_bytes, longest);
}

static void check_clean(struct treetest *t, void *context)
{
    struct verdict v;
    (void)context;
    verdict_take(&v, t->tree, NULL);
    if (v.result != 0)
        fail_msg("%s: offset %llu: %s", t->name,
                 (unsigned long long)verdict_first_fault(&v)->offset,
                 verdict_first_fault(&v)->reason);
    bool is_merged = strstr(t->name, "merged") || strcmp(t->name, "doc/b.act") == 0;
    bool is_aborted = strstr(t->name, "aborted");
    for (size_t i = 0; i < v.n; i++)
        assert_true(is_merged || is_aborted ||
                    strncmp(v.findings[i].reason, "a run that", 10) == 0);
    assert_true(!is_merged || verdict_find(&v, "bytes that this root does not reach"));
    if (v.survey.n_shared == 0)
        check_depths(t, &v.survey);
    if (!is_merged && !is_aborted)
        assert_int_equal(v.survey.bytes[ACT_OBJECT_UNREACHED], 0);
    verdict_free(&v);
}

static void files_of_the_reference_have_no_fault(void **state)
{
    (void)state;
    struct treetest t;
    assert_true(treetest_for_each("edge", check_clean, NULL) > 100);
    assert_true(treetest_for_each("doc", check_clean, NULL) >= 6);
    treetest_open(&t, "cities.act", "cities.tsv.gz");
    check_clean(&t, NULL);
    treetest_close(&t);
    treetest_open(&t, "shakespeare.act", "shakespeare.tsv.gz");
    check_clean(&t, NULL);
    treetest_close(&t);
}

/* A wanted finding; reason NULL: none. */
struct wanted {
    uint64_t offset;
    const char *reason;
    const char *path; /* NULL: none */
    bool is_note;
};

#define FAULT(offset, reason, path) \
    {                               \
        offset, reason, path, false \
    }
#define NOTE(offset, reason, path) \
    {                              \
        offset, reason, path, true \
    }
#define NOWHERE    NULL
#define WANTED_MAX 4

static void check_findings(const struct verdict *v, const char *name, const struct wanted *wanted)
{
    size_t n = 0;
    while (n < WANTED_MAX && wanted[n].reason)
        n++;
    for (size_t i = 0; i < v->n; i++) {
        const struct verdict_finding *f = &v->findings[i];
        bool is_same = i < n && f->offset == wanted[i].offset && f->is_note == wanted[i].is_note &&
                       strcmp(f->reason, wanted[i].reason) == 0 &&
                       f->has_path == (wanted[i].path != NULL);
        if (is_same && f->has_path)
            is_same = f->path.len == strlen(wanted[i].path) &&
                      memcmp(f->path.p, wanted[i].path, f->path.len) == 0;
        if (!is_same)
            fail_msg("%s: finding %zu: offset %llu, path \"%.*s\": %s", name, i,
                     (unsigned long long)f->offset, (int)f->path.len, (const char *)f->path.p,
                     f->reason);
    }
    if (v->n != n)
        fail_msg("%s: %zu findings", name, v->n);
}

/* With all faults asked for, all that is wanted is found, in that order; without, the first fault
 * and the notes before it. */
static void check_tree(const struct act *tree, const char *name, const struct wanted *wanted)
{
    struct verdict v;
    const struct act_verify_options first_only = {0};
    verdict_take(&v, tree, NULL);
    check_findings(&v, name, wanted);
    verdict_free(&v);
    verdict_take(&v, tree, &first_only);
    const struct verdict_finding *fault = verdict_first_fault(&v);
    for (size_t i = 0; i < WANTED_MAX && wanted[i].reason; i++)
        if (!wanted[i].is_note) {
            assert_non_null(fault);
            assert_int_equal(fault->offset, wanted[i].offset);
            assert_string_equal(fault->reason, wanted[i].reason);
            break;
        }
    assert_true(v.n_faults <= 1);
    verdict_free(&v);
}

#define ITSELF     "a reference to the node itself"
#define LEAVES     "a reference that leaves the arena"
#define LONGER     "a number in a longer form than needed"
#define FEWER      "fewer nodes in a run than the child set has members"
#define ASCEND     "child bytes that do not ascend"
#define SMALL_MASK "a mask of fewer than 32 children"
#define FIELD      "a child field above 32"
#define BITS       "a line node with unused header bits set"
#define BOTH       "a line node with both a value and a child"
#define LINE_LINE  "a line node as the child of a line node"
#define LINE_LEAF  "a line's child without children"
#define LINE_CHILD "a line's child that is no branch with children"
#define LENGTH_0   "line data of length 0"
#define LINE_RUNS  "line data that runs into its node"
#define LINE_OVER  "line data that overlaps another object"
#define NODE_OVER  "a node that overlaps another object"
#define NODE_RUNS  "a node that runs past its place"
#define ONE_CHILD  "a branch of one child and no value, which is not the root"
#define IN_A_RUN   "a run that begins inside another run"
#define OTHER_N    "a run that another branch has with another number of children"
#define SHARED     "a run that another branch has too: counted once"
#define DANGLING   "a leaf without a value"
#define HOLE       "bytes that belong to no object"
#define NO_ROOM    "fewer than 8 bytes behind the root"
#define NO_END     "neither 8 zero bytes nor a merge trailer behind the root"
#define REMAINS    "bytes that this root does not reach: remains of merges"
#define UNFINISHED "bytes behind the end: what is left of a merge that was not finished"
#define CHAIN      "a merge trailer that leads to something that is none: the chain ends here"

static void crafted_files_get_their_verdicts(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct wanted wanted[WANTED_MAX];
    } crafted[] = {
        {"aborted_merge", {NOTE(104, UNFINISHED, NOWHERE)}},
        {"child_self", {FAULT(16, ITSELF, "")}},
        {"count33", {FAULT(82, FIELD, "")}},
        {"dangling_leaf", {NOTE(16, DANGLING, "a")}},
        {"garbage_tail", {NOTE(26, UNFINISHED, NOWHERE)}},
        {"kids_overrun",
         {FAULT(18, ASCEND, ""), FAULT(18, FEWER, "b"), FAULT(25, NO_ROOM, NOWHERE)}},
        {"line_bits", {FAULT(19, BITS, "")}},
        {"line_fwd", {FAULT(16, LEAVES, ""), NOTE(16, DANGLING, "")}},
        {"line_len0", {FAULT(16, LENGTH_0, "")}},
        {"line_line", {FAULT(22, LINE_LINE, "ro")}},
        {"line_value_child", {FAULT(27, BOTH, "")}},
        {"line_value_child2", {FAULT(29, BOTH, "")}},
        {"mask_field32_pop5", {FAULT(26, SMALL_MASK, "")}},
        {"nopad_page", {FAULT(4090, LONGER, ""), FAULT(4096, NO_ROOM, NOWHERE)}},
        {"noncanon", {FAULT(29, LONGER, ""), FAULT(16, LONGER, "a"), FAULT(19, LONGER, "b")}},
        {"trailer_loop", {NOTE(26, UNFINISHED, NOWHERE)}},
        {"unsorted", {FAULT(20, ASCEND, "")}},
    };
    for (size_t i = 0; i < N_ELEMENTS(crafted); i++) {
        char name[64];
        struct treetest t;
        snprintf(name, sizeof name, "crafted/%s.act", crafted[i].name);
        treetest_open_bytes(&t, bytes_read_file(test_data_path(name)), name);
        check_tree(t.tree, name, crafted[i].wanted);
        treetest_close(&t);
    }
}

#define PAD " 00 00 00 00 00 00 00 00"
#define FF8 " ff ff ff ff ff ff ff ff"
#define MASK_31                                                      \
    "fe ff ff ff 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00" \
    "00 00 00 00 00 00 00 00 00 00 00"
#define MASK_32                                                      \
    "fe ff ff ff 01 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00" \
    "00 00 00 00 00 00 00 00 00 00 00"
#define LEAVES_31                                                                               \
    "4001 4001 4001 4001 4001 4001 4001 4001 4001 4001 4001 4001 4001 4001 4001 4001 4001 4001" \
    "4001 4001 4001 4001 4001 4001 4001 4001 4001 4001 4001 4001 4001"

/* Each breaks one line of section 8. */
static const struct {
    const char *name;
    uint64_t root;
    const char *arena;
    struct wanted wanted[WANTED_MAX];
} broken_rules[] = {
    /* 8.2 */
    {"a line that refers to itself", 16, "c0 05 00" PAD, {FAULT(16, ITSELF, "")}},
    {"a line below 16", 16, "c0 05 01" PAD, {FAULT(16, LEAVES, "")}},
    {"a line at 2^64-1 below", 16, "c0 05 ff" FF8 PAD, {FAULT(16, LEAVES, "")}},
    {"a child that is the node", 18, "40 01 02 00 61 62" PAD, {FAULT(18, ITSELF, "")}},
    {"a child below 16", 18, "40 01 02 03 61 62" PAD, {FAULT(18, LEAVES, "")}},
    {"a child at 2^64-16 below",
     16,
     "01 ff f0 ff ff ff ff ff ff ff 61" PAD,
     {FAULT(16, LEAVES, "")}},
    /* 8.3 */
    {"a run that ends behind its parent", 18, "40 01 02 02 61 62" PAD, {FAULT(18, FEWER, "b")}},
    {"a run that ends inside its parent", 18, "40 f8 01 02 61" PAD, {FAULT(16, NODE_RUNS, "a")}},
    /* 8.4 */
    {"seven bytes behind the root",
     18,
     "40 01 01 02 61 00 00 00 00 00 00 00",
     {FAULT(21, NO_ROOM, NOWHERE)}},
    {"no byte behind the root", 23, "06 61 61 61 61 61 61 c0 05 07", {FAULT(26, NO_ROOM, NOWHERE)}},
    {"a value that leaves the file", 18, "40 01 41 ff 00 00 00 00 00", {FAULT(18, NODE_RUNS, "")}},
    /* 8.5 */
    {"a mask of 31", 78, LEAVES_31 "20 3e" MASK_31 PAD, {FAULT(78, SMALL_MASK, "")}},
    {"a child byte twice", 20, "40 01 40 02 02 04 61 61" PAD, {FAULT(20, ASCEND, "")}},
    {"the ninth child byte before the eighth",
     34,
     "4001 4001 4001 4001 4001 4001 4001 4001 4001 09 12 61 62 63 64 65 66 67 69 68" PAD,
     {FAULT(34, ASCEND, "")}},
    {"the tenth child byte as the ninth",
     36,
     "4001 4001 4001 4001 4001 4001 4001 4001 4001 4001 0a 14 61 62 63 64 65 66 67 68 f9 "
     "f9" PAD,
     {FAULT(36, ASCEND, "")}},
    {"a long value below a mask",
     81,
     LEAVES_31 "40f805 20 41" MASK_32 PAD,
     {FAULT(78, LONGER, " ")}},
    /* 8.6 */
    {"line data of length 0", 17, "00 c0 05 01" PAD, {FAULT(16, LENGTH_0, "")}},
    {"line data of one byte too much", 19, "03 61 62 c0 05 03" PAD, {FAULT(16, LINE_RUNS, "")}},
    {"line data of length 2^64-1", 25, "ff" FF8 "c0 05 09" PAD, {FAULT(16, LINE_RUNS, "")}},
    /* 8.7 */
    {"a line with both",
     26,
     "40 01 40 02 02 04 61 62 01 61 c1 07 06 02" PAD,
     {FAULT(26, BOTH, "")}},
    {"a line with neither", 18, "01 61 80 02" PAD, {NOTE(18, DANGLING, "")}},
    /* 8.8 */
    {"a line's child without children",
     20,
     "01 61 40 09 81 02 04" PAD,
     {FAULT(18, LINE_LEAF, "a")}},
    {"a line's child that is a line",
     21,
     "01 61 c0 07 02 81 03 05" PAD,
     {FAULT(18, LINE_LINE, "a")}},
    /* 8.9 */
    {"a branch of one child", 21, "40 01 01 02 62 01 03 61" PAD, {FAULT(18, ONE_CHILD, "a")}},
    {"the root with one child", 18, "40 01 01 02 61" PAD, {{0}}},
    {"one child and a value", 22, "40 01 41 05 02 62 01 04 61" PAD, {{0}}},
    {"a leaf without a value", 19, "40 01 00 02 03 61 62" PAD, {NOTE(18, DANGLING, "b")}},
    /* 8.10 */
    {"a long value", 16, "40 f8 f7" PAD, {FAULT(16, LONGER, "")}},
    {"a value of its length", 16, "40 f8 f8" PAD, {{0}}},
    {"a long value of 8 bytes", 16, "40 ff ff ff ff ff ff ff ff 00" PAD, {FAULT(16, LONGER, "")}},
    {"a long child distance", 18, "40 01 01 f8 02 61" PAD, {FAULT(18, LONGER, "")}},
    {"a long line distance", 18, "01 61 c0 05 f8 02" PAD, {FAULT(18, LONGER, "")}},
    {"a long length", 19, "f8 01 61 c0 05 03" PAD, {FAULT(16, LONGER, "")}},
    {"each unused bit", 18, "01 61 fe 05 02" PAD, {FAULT(18, BITS, "")}},
    /* 8.11 */
    {"a hole before everything", 17, "00 40 01" PAD, {FAULT(16, HOLE, NOWHERE)}},
    {"a hole before the root", 20, "40 01 00 00 01 04 61" PAD, {FAULT(18, HOLE, NOWHERE)}},
    {"two holes",
     21,
     "00 40 01 00 00 01 04 61" PAD,
     {FAULT(16, HOLE, NOWHERE), FAULT(19, HOLE, NOWHERE)}},
    {"a line in a node",
     20,
     "40 01 40 01 c0 07 03" PAD,
     {FAULT(16, HOLE, NOWHERE), FAULT(19, HOLE, NOWHERE)}},
    {"a node in line data",
     27,
     "03 40 05 61 c0 01 04 41 09 06 62 02 07 61 62" PAD,
     {FAULT(17, NODE_OVER, "bb")}},
    {"line data around a node",
     26,
     "02 40 05 41 09 02 62 c0 01 07 02 07 61 62" PAD,
     {FAULT(16, LINE_OVER, "b")}},
    {"line data in line data",
     25,
     "02 01 61 c0 01 03 c0 01 05 02 06 61 62" PAD,
     {FAULT(17, LINE_OVER, "b")}},
    {"a node in a node",
     26,
     "40 40 41 09 02 62 41 09 05 62 02 08 61 62" PAD,
     {FAULT(17, NODE_OVER, "bb")}},
    {"a run in a run",
     28,
     "40 01 40 02 02 04 61 62 41 09 06 62 02 08 61 62" PAD,
     {FAULT(24, IN_A_RUN, "b")}},
    /* Sharing. */
    {"a run that is shared",
     28,
     "40 01 40 02 02 04 61 62 02 08 61 62 02 08 61 62" PAD,
     {NOTE(16, SHARED, "b")}},
    {"less of a run",
     28,
     "40 01 40 02 02 04 61 62 41 09 08 62 02 08 61 62" PAD,
     {FAULT(24, OTHER_N, "b")}},
    {"more of a run",
     28,
     "40 01 40 02 41 09 04 61 02 08 61 62 02 08 61 62" PAD,
     {FAULT(24, OTHER_N, "b")}},
    {"a run's own beginning", 22, "40 01 41 09 02 61 02 06 61 62" PAD, {FAULT(18, OTHER_N, "b")}},
    {"a run's own member", 23, "40 01 42 09 02 61 62 02 07 61 62" PAD, {FAULT(18, FEWER, "b")}},
    {"a run shared with a line",
     27,
     "01 61 40 01 41 09 02 61 81 06 08 02 07 61 62" PAD,
     {FAULT(24, LINE_CHILD, "b")}},
    /* The end. */
    {"no zeros at the end",
     18,
     "40 01 01 02 61 00 00 00 00 00 00 00 01",
     {FAULT(21, NO_END, NOWHERE)}},
    {"no zeros, and more", 16, "40 01 01 00 00 00 00 00 00 00 00 07", {FAULT(18, NO_END, NOWHERE)}},
};

static void what_no_writer_writes_is_found(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_ELEMENTS(broken_rules); i++) {
        struct treetest t;
        treetest_open_arena(&t, broken_rules[i].name, broken_rules[i].root, broken_rules[i].arena);
        check_tree(t.tree, broken_rules[i].name, broken_rules[i].wanted);
        treetest_close(&t);
    }
}

/* doc/b.act: base 0 to 44, root 33; merged to 78, root 59, trailer at 62. */
static struct bytes merged_file(size_t more)
{
    struct bytes b = bytes_read_file(test_data_path("doc/b.act"));
    assert_int_equal(b.len, 78);
    b.p = realloc(b.p, b.len + more);
    assert_non_null(b.p);
    memset(b.p + b.len, 0, more);
    b.len += more;
    return b;
}

static void check_file(struct bytes file, const char *name, const struct wanted *wanted)
{
    struct treetest t;
    treetest_open_bytes(&t, file, name);
    check_tree(t.tree, name, wanted);
    treetest_close(&t);
}

static void ends_of_merged_files(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t more;
        unsigned patch, byte; /* one byte, where byte is not 0 */
        struct wanted wanted[WANTED_MAX];
    } ends[] = {
        {"merged", 0, 0, 0, {NOTE(16, REMAINS, NOWHERE)}},
        {"merged, and garbage",
         5,
         80,
         7,
         {NOTE(16, REMAINS, NOWHERE), NOTE(78, UNFINISHED, NOWHERE)}},
        {"merged, and 8 bytes",
         8,
         80,
         7,
         {NOTE(16, REMAINS, NOWHERE), NOTE(78, UNFINISHED, NOWHERE)}},
        {"a trailer that leads to no trailer",
         0,
         62,
         40,
         {NOTE(16, REMAINS, NOWHERE), NOTE(62, CHAIN, NOWHERE)}},
        {"a trailer that leads to itself", 0, 62, 62, {FAULT(62, NO_END, NOWHERE)}},
        {"a trailer that leads up", 0, 62, 63, {FAULT(62, NO_END, NOWHERE)}},
        /* Then it is no trailer, but the end of a base. */
        {"a trailer whose root is the new one",
         0,
         70,
         59,
         {FAULT(16, HOLE, NOWHERE), FAULT(20, HOLE, NOWHERE), FAULT(29, HOLE, NOWHERE),
          NOTE(70, UNFINISHED, NOWHERE)}},
    };
    for (size_t i = 0; i < N_ELEMENTS(ends); i++) {
        struct bytes file = merged_file(ends[i].more);
        if (ends[i].byte != 0)
            file.p[ends[i].patch] = (uint8_t)ends[i].byte;
        check_file(file, ends[i].name, ends[i].wanted);
    }
}

/* A second merge behind that one, whose root is the first one's line again. */
static void every_root_of_a_history_can_be_verified(void **state)
{
    (void)state;
    static const uint64_t roots[] = {78, 59, 33};
    struct treetest t;
    struct verdict v;
    struct bytes file = merged_file(19);
    file.p[8] = 78;
    memcpy(file.p + 78, "\x81\x17\x34", 3); /* child 78 - 23 = 55, line 78 - 52 = 26 */
    file.p[81] = 62;
    file.p[89] = 59;
    treetest_open_bytes(&t, file, "merged twice");
    for (size_t i = 0; i < N_ELEMENTS(roots); i++) {
        assert_int_equal(act_set_root(t.tree, roots[i]), 0);
        verdict_take(&v, t.tree, NULL);
        assert_int_equal(v.result, 0);
        assert_int_equal(v.n, 1);
        assert_string_equal(v.findings[0].reason, REMAINS);
        assert_int_equal(v.survey.n_values, i < 2 ? 3 : 2);
        /* The header, the trailers, and of a base its zeros, which nobody looks for here. */
        assert_int_equal(v.survey.bytes[ACT_OBJECT_OTHER], 16 + 16 + 16);
        assert_int_equal(v.survey.n_objects[ACT_OBJECT_OTHER], 3);
        verdict_free(&v);
    }
    treetest_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_of_the_reference_have_no_fault),
        cmocka_unit_test(crafted_files_get_their_verdicts),
        cmocka_unit_test(what_no_writer_writes_is_found),
        cmocka_unit_test(ends_of_merged_files),
        cmocka_unit_test(every_root_of_a_history_can_be_verified),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
