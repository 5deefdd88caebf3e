/*
 * verify by several threads: it says the same as by one, of good files, odd ones and damaged ones.
 */
#include "buildertest.h"
#include "randomkeys.h"
#include "tree/verify.h"
#include "treetest.h"
#include "unit.h"
#include "verdict.h"

#include <pthread.h>
#include <stdio.h>
#include <time.h>

#define N_THREADS_MAX 4

/* All numbers of threads, against one. */
static void check_same(const struct act *tree, const char *name, bool is_all)
{
    struct verdict alone, team;
    struct act_verify_options options = {.is_all = is_all, .n_threads = 1};
    verdict_take(&alone, tree, &options);
    while (++options.n_threads <= N_THREADS_MAX) {
        verdict_take(&team, tree, &options);
        verdict_check_same(&alone, &team, name);
        verdict_free(&team);
    }
    verdict_free(&alone);
}

static void check_tree(struct treetest *t, void *context)
{
    (void)context;
    check_same(t->tree, t->name, true);
}

static void files_of_the_reference(void **state)
{
    (void)state;
    static const char *const crafted[] = {"aborted_merge", "count33",     "dangling_leaf",
                                          "garbage_tail",  "line_fwd",    "kids_overrun",
                                          "noncanon",      "trailer_loop"};
    struct treetest t;
    assert_true(treetest_for_each("edge", check_tree, NULL) > 100);
    assert_true(treetest_for_each("doc", check_tree, NULL) >= 6);
    for (size_t i = 0; i < N_ELEMENTS(crafted); i++) {
        char name[64];
        snprintf(name, sizeof name, "crafted/%s.act", crafted[i]);
        treetest_open_bytes(&t, bytes_read_file(test_data_path(name)), name);
        check_same(t.tree, name, true);
        check_same(t.tree, name, false);
        treetest_close(&t);
    }
    treetest_open(&t, "cities.act", "cities.tsv.gz");
    check_same(t.tree, t.name, true);
    treetest_close(&t);
    treetest_open(&t, "shakespeare.act", "shakespeare.tsv.gz");
    check_same(t.tree, t.name, true);
    treetest_close(&t);
}

/* Those keys with metadata, tables, and strings that are often equal. */
static void open_built(struct treetest *t, struct random *random, enum random_keys kind, unsigned n,
                       const struct act_builder_options *options)
{
    struct oracle oracle;
    oracle_init(&oracle);
    random_keys_add(random, kind, n, &oracle);
    treetest_open_bytes(t, build_file(&oracle, BUILD_SORTED, options, NULL), "built");
    oracle_deinit(&oracle);
}

static const struct act_builder_options built_options[] = {
    {.table_min_children = 4},
    {.values = ACT_VALUES_BYTES, .table_min_children = 16},
    {.values = ACT_VALUES_BYTES, .is_plain = false},
};

/* It has nothing that a team could find: the team must not give up, which no verdict tells. */
static void check_team_is_done(const struct act *tree, unsigned n_threads)
{
    struct act_survey survey = {0};
    struct verify v = {.tree = tree,
                       .map = &tree->map,
                       .options = {.n_threads = n_threads, .is_survey = true},
                       .survey = &survey};
    scratch_init(&v.scratch, ACT_VERIFY_MEMORY_BYTES, NULL);
    frames_init(&v.frames, &v.scratch);
    assert_int_equal(coverage_init(&v.coverage, v.map->size, &v.scratch), 0);
    assert_int_equal(verify_metadata(&v), 0);
    assert_true(verify_team(&v));
    frames_deinit(&v.frames);
    coverage_deinit(&v.coverage);
    scratch_deinit(&v.scratch);
}

static void built_files(void **state)
{
    (void)state;
    struct random random = {1};
    for (unsigned kind = 0; kind < RANDOM_KINDS; kind++)
        for (size_t i = 0; i < N_ELEMENTS(built_options); i++)
            for (unsigned n = 20; n <= 20000; n *= 10) {
                struct treetest t;
                open_built(&t, &random, (enum random_keys)kind, n, &built_options[i]);
                check_same(t.tree, t.name, true);
                for (unsigned n_threads = 2; n_threads <= N_THREADS_MAX; n_threads++)
                    check_team_is_done(t.tree, n_threads);
                treetest_close(&t);
            }
}

static void random_trees(void **state)
{
    (void)state;
    struct random random = {2};
    for (unsigned i = 0; i < 40; i++) {
        struct treetest t;
        random_tree_open(&random, (enum random_keys)(i % RANDOM_KINDS),
                         1 + random_below(&random, 3000), &t);
        check_same(t.tree, t.name, true);
        treetest_close(&t);
    }
}

/* Nothing but one way down: there is little to share out, and depth is counted all the same. */
static void a_deep_chain(void **state)
{
    (void)state;
    struct treetest t;
    struct oracle oracle;
    struct act_survey survey;
    const struct act_builder_options options = {0};
    const struct act_verify_options team = {.n_threads = 3};
    char key[3000];
    oracle_init(&oracle);
    for (size_t i = 0; i < sizeof key; i++) {
        key[i] = (char)('a' + i % 7);
        oracle_add(&oracle, key, i + 1, i);
        key[i] = 'z';
        oracle_add(&oracle, key, i + 1, i);
        key[i] = (char)('a' + i % 7);
    }
    oracle_sort(&oracle);
    treetest_open_bytes(&t, build_file(&oracle, BUILD_SORTED, &options, NULL), "a chain");
    oracle_deinit(&oracle);
    check_same(t.tree, t.name, true);
    assert_int_equal(act_verify(t.tree, &team, &survey), 0);
    assert_int_equal(survey.deepest_bytes, sizeof key);
    assert_int_equal(survey.deepest_nodes, sizeof key + 1);
    treetest_close(&t);
}

/* A byte is changed, everything is said of it with all numbers of threads, and it is changed back.
 */
static void check_damaged(struct treetest *t, struct random *random, unsigned n, bool is_all)
{
    for (unsigned i = 0; i < n; i++) {
        struct act *tree;
        uint8_t *byte = &t->file.p[16 + random_below(random, (unsigned)t->file.len - 16)];
        uint8_t before = *byte;
        unsigned other = random_below(random, 2) ? random_below(random, 256)
                                                 : before ^ 1U << random_below(random, 8);
        *byte = (uint8_t)other;
        if (act_open_memory(t->file.p, t->file.len, t->name, &tree, NULL) == 0) {
            check_same(tree, t->name, is_all);
            act_close(tree);
        }
        *byte = before;
    }
}

static void damaged_files(void **state)
{
    (void)state;
    struct treetest t;
    struct random random = {3};
    treetest_open(&t, "cities.act", "cities.tsv.gz");
    check_damaged(&t, &random, 6, true);
    check_damaged(&t, &random, 6, false);
    treetest_close(&t);
    for (unsigned kind = 0; kind < RANDOM_KINDS; kind++)
        for (size_t i = 0; i < N_ELEMENTS(built_options); i++) {
            open_built(&t, &random, (enum random_keys)kind, 300, &built_options[i]);
            check_damaged(&t, &random, 60, true);
            check_damaged(&t, &random, 60, false);
            treetest_close(&t);
            random_tree_open(&random, (enum random_keys)kind, 300, &t);
            check_damaged(&t, &random, 60, true);
            treetest_close(&t);
        }
}

static uint64_t cpu_us(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* What the process took beyond this thread, it took in others; as often as it takes on a machine
 * that has other things to do. */
static void others_walk_too(void **state)
{
    (void)state;
    struct treetest t;
    struct act_survey survey;
    const struct act_verify_options options = {.n_threads = 2};
    uint64_t own = 0, all = 0;
    treetest_open(&t, "cities.act", "cities.tsv.gz");
    for (unsigned i = 0; i < 1000 && all - own < own / 4 + 1000; i++) {
        uint64_t own_begin = cpu_us(CLOCK_THREAD_CPUTIME_ID);
        uint64_t all_begin = cpu_us(CLOCK_PROCESS_CPUTIME_ID);
        assert_int_equal(act_verify(t.tree, &options, &survey), 0);
        all += cpu_us(CLOCK_PROCESS_CPUTIME_ID) - all_begin;
        own += cpu_us(CLOCK_THREAD_CPUTIME_ID) - own_begin;
    }
    assert_true(all - own >= own / 4 + 1000);
    treetest_close(&t);
}

struct calls {
    pthread_t caller;
    unsigned n_findings, n_progress;
    uint64_t last_done;
};

static void on_finding(void *context, const struct act_finding *finding)
{
    struct calls *calls = context;
    (void)finding;
    assert_true(pthread_equal(pthread_self(), calls->caller));
    calls->n_findings++;
}

static void on_progress(void *context, uint64_t done, uint64_t total)
{
    struct calls *calls = context;
    assert_true(pthread_equal(pthread_self(), calls->caller));
    assert_true(done >= calls->last_done && done <= total);
    calls->last_done = done;
    calls->n_progress++;
}

static void callbacks_come_in_the_calling_thread(void **state)
{
    (void)state;
    struct treetest t;
    struct act *tree;
    struct act_survey survey;
    struct calls calls = {.caller = pthread_self()};
    const struct act_verify_options options = {.n_threads = 4,
                                               .is_all = true,
                                               .context = &calls,
                                               .on_finding = on_finding,
                                               .on_progress = on_progress};
    treetest_open(&t, "cities.act", "cities.tsv.gz");
    assert_int_equal(act_verify(t.tree, &options, &survey), 0);
    assert_int_equal(calls.n_findings, 0);
    assert_int_equal(calls.last_done, t.file.len);
    /* A value in a longer form near the end: most has been walked before it is found. */
    for (size_t i = t.file.len / 10 * 9; i < t.file.len; i++)
        if (memcmp(t.file.p + i, "\xc0\xf9", 2) == 0 && t.file.p[i + 3] >= 1) {
            t.file.p[i + 3] = 0;
            break;
        }
    assert_int_equal(act_open_memory(t.file.p, t.file.len, t.name, &tree, NULL), 0);
    calls.last_done = calls.n_progress = 0;
    assert_int_equal(act_verify(tree, &options, &survey), ACT_CORRUPT);
    assert_int_equal(calls.n_findings, 1);
    assert_true(calls.n_progress > 0);
    act_close(tree);
    treetest_close(&t);
}

/* An object in a coverage. */
struct object {
    uint64_t begin, end;
    enum coverage_kind kind;
};

/* Each in a coverage of its own, laid over each other. *ret_n: bytes that both have. */
static bool merge(struct object a, struct object b, unsigned *ret_n)
{
    const uint64_t size = 1000;
    struct scratch scratch;
    struct coverage into, from;
    bool is_fine = true;
    *ret_n = 0;
    scratch_init(&scratch, 1 << 20, NULL);
    assert_int_equal(coverage_init(&into, size, &scratch), 0);
    assert_int_equal(coverage_init(&from, size, &scratch), 0);
    assert_true(coverage_take(&into, a.begin, a.end, a.kind));
    assert_true(coverage_take(&from, b.begin, b.end, b.kind));
    for (uint64_t i = 0; i < into.n_cells; i++) {
        struct coverage_cell both;
        is_fine &= coverage_merge_cell(&into, &from, i, &both);
        for (uint64_t bits = both.covered; bits != 0; bits &= bits - 1)
            ++*ret_n;
    }
    if (is_fine) {
        assert_int_equal(coverage_kind_at(&into, a.begin), a.kind);
        assert_int_equal(coverage_kind_at(&into, b.begin), b.kind);
        assert_false(coverage_take(&into, a.begin, a.end, COVERAGE_NODE));
        assert_false(coverage_take(&into, b.end - 1, b.end, COVERAGE_NODE));
    }
    coverage_deinit(&into);
    coverage_deinit(&from);
    scratch_deinit(&scratch);
    return is_fine;
}

static void coverages_that_overlap(void **state)
{
    (void)state;
    static const struct {
        struct object a, b;
        bool is_fine;
        unsigned n;
    } pairs[] = {
        {{100, 110, COVERAGE_NODE}, {110, 120, COVERAGE_NODE}, true, 0},
        {{60, 70, COVERAGE_LINE_DATA}, {70, 80, COVERAGE_LINE_DATA}, true, 0},
        /* The same. */
        {{100, 110, COVERAGE_LINE_DATA}, {100, 110, COVERAGE_LINE_DATA}, true, 10},
        {{60, 300, COVERAGE_LINE_DATA}, {60, 300, COVERAGE_LINE_DATA}, true, 240},
        {{60, 70, COVERAGE_BYTE_VALUE}, {60, 70, COVERAGE_BYTE_VALUE}, true, 10},
        {{60, 70, COVERAGE_NODE}, {60, 70, COVERAGE_NODE}, false, 10},
        {{60, 70, COVERAGE_FIRST_NODE}, {60, 70, COVERAGE_FIRST_NODE}, false, 10},
        {{60, 70, COVERAGE_TABLE}, {60, 70, COVERAGE_TABLE}, false, 10},
        /* At the same place. */
        {{60, 70, COVERAGE_LINE_DATA}, {60, 70, COVERAGE_BYTE_VALUE}, false, 10},
        {{60, 70, COVERAGE_LINE_DATA}, {60, 63, COVERAGE_FIRST_NODE}, false, 3},
        /* One in the other, at either end, across a cell's end; and metadata. */
        {{60, 70, COVERAGE_LINE_DATA}, {69, 80, COVERAGE_LINE_DATA}, false, 1},
        {{64, 80, COVERAGE_LINE_DATA}, {60, 65, COVERAGE_LINE_DATA}, false, 1},
        {{60, 600, COVERAGE_BYTE_VALUE}, {300, 301, COVERAGE_BYTE_VALUE}, false, 1},
        {{60, 600, COVERAGE_LINE_DATA}, {300, 303, COVERAGE_NODE}, false, 3},
        {{16, 96, COVERAGE_NONE}, {90, 92, COVERAGE_FIRST_NODE}, false, 2},
        {{16, 96, COVERAGE_NONE}, {16, 18, COVERAGE_LINE_DATA}, false, 2},
    };
    for (size_t i = 0; i < N_ELEMENTS(pairs); i++) {
        unsigned n;
        assert_int_equal(merge(pairs[i].a, pairs[i].b, &n), pairs[i].is_fine);
        assert_int_equal(n, pairs[i].n);
        assert_int_equal(merge(pairs[i].b, pairs[i].a, &n), pairs[i].is_fine);
        assert_int_equal(n, pairs[i].n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_of_the_reference),
        cmocka_unit_test(built_files),
        cmocka_unit_test(random_trees),
        cmocka_unit_test(a_deep_chain),
        cmocka_unit_test(damaged_files),
        cmocka_unit_test(others_walk_too),
        cmocka_unit_test(callbacks_come_in_the_calling_thread),
        cmocka_unit_test(coverages_that_overlap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
