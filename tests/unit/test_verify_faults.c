/*
 * verify with each call to the system failing in turn: it ends with the call's error, and without a
 * leak (which the sanitizer sees).
 */
#include "buildertest.h"
#include "faults.h"
#include "treetest.h"
#include "unit.h"
#include "verdict.h"

#include <errno.h>
#include <pthread.h>
#include <sys/types.h>

/* Not among the kinds of faults.h: the nth allocation of blocks finds the disk full. */
static unsigned blocks_left;
static bool has_no_blocks;

int __real_posix_fallocate64(int fd, off_t offset, off_t len);
int __wrap_posix_fallocate64(int fd, off_t offset, off_t len);
int __wrap_posix_fallocate64(int fd, off_t offset, off_t len)
{
    has_no_blocks = blocks_left > 0 && --blocks_left == 0;
    return has_no_blocks ? ENOSPC : __real_posix_fallocate64(fd, offset, len);
}

/* Nor is this: the nth thread cannot be had. */
static unsigned threads_left;

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*start)(void *), void *context);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*start)(void *), void *context);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*start)(void *), void *context)
{
    if (threads_left > 0 && --threads_left == 0)
        return EAGAIN;
    return __real_pthread_create(thread, attributes, start, context);
}

static void on_finding(void *context, const struct act_finding *finding)
{
    (void)finding;
    ++*(unsigned *)context;
}

/* One run, of which the nth call of that kind fails. Has one failed? */
static bool verify_failing(const struct act *tree, uint64_t memory_bytes, enum fault kind,
                           unsigned nth, int error, int expected)
{
    struct act_survey survey;
    unsigned n_findings = 0;
    const struct act_verify_options options = {.memory_bytes = memory_bytes,
                                               .is_all = true,
                                               .context = &n_findings,
                                               .on_finding = on_finding};
    if (kind == FAULT_KINDS)
        blocks_left = nth;
    else
        faults_arm(kind, nth);
    int r = act_verify(tree, &options, &survey);
    bool has_failed = kind == FAULT_KINDS ? has_no_blocks : faults_disarm();
    blocks_left = 0;
    has_no_blocks = false;
    assert_int_equal(r, has_failed ? error : expected);
    return has_failed;
}

/* Returns how many failures there were. */
static unsigned sweep(const struct act *tree, uint64_t memory_bytes, int expected)
{
    static const struct {
        enum fault kind;
        int error;
    } calls[] = {{FAULT_MEMORY, -ENOMEM},
                 {FAULT_MAP, -ENOMEM},
                 {FAULT_OPEN, -EMFILE},
                 {FAULT_KINDS, -ENOSPC}};
    unsigned n_failures = 0;
    for (size_t i = 0; i < N_ELEMENTS(calls); i++)
        for (unsigned nth = 1;; nth++, n_failures++)
            if (!verify_failing(tree, memory_bytes, calls[i].kind, nth, calls[i].error, expected))
                break;
    return n_failures;
}

static unsigned sweep_file(const char *name, uint64_t memory_bytes, int expected)
{
    struct treetest t;
    treetest_open_bytes(&t, bytes_read_file(test_data_path(name)), name);
    unsigned n = sweep(t.tree, memory_bytes, expected);
    treetest_close(&t);
    return n;
}

static void each_call_may_fail(void **state)
{
    (void)state;
    /* The list of frames; bits and frames. */
    assert_int_equal(sweep_file("edge/values.stream.act", 0, 0), 3);
    /* And the file that they are in. */
    assert_int_equal(sweep_file("edge/values.stream.act", 1, 0), 6);
    /* A path, and its copy for the end. */
    assert_int_equal(sweep_file("crafted/dangling_leaf.act", 0, 0), 5);
    assert_int_equal(sweep_file("crafted/noncanon.act", 0, ACT_CORRUPT), 4);
}

static void the_file_may_have_had_a_name(void **state)
{
    (void)state;
    faults_set_named(true);
    assert_int_equal(sweep_file("edge/values.stream.act", 1, 0), 6);
    faults_set_named(false);
}

static void each_call_may_fail_beside_a_digest(void **state)
{
    (void)state;
    struct oracle oracle;
    struct treetest t;
    const struct act_builder_options options = {0};
    oracle_init(&oracle);
    oracle_load(&oracle, test_data_path("edge/values.tsv"));
    treetest_open_bytes(&t, build_file(&oracle, BUILD_SORTED, &options, NULL), "built");
    assert_int_equal(sweep(t.tree, 0, 0), 5);
    treetest_close(&t);
    oracle_deinit(&oracle);
}

/* What only threads need may fail: the verdict is the same. Returns how many such failures there
 * were. */
static unsigned sweep_threads(const struct act *tree, enum fault kind, int expected)
{
    unsigned n_survived = 0;
    for (unsigned nth = 1;; nth++) {
        struct act_survey survey;
        unsigned n_findings = 0;
        const struct act_verify_options options = {
            .n_threads = 3, .is_all = true, .context = &n_findings, .on_finding = on_finding};
        faults_arm(kind, nth);
        int r = act_verify(tree, &options, &survey);
        if (!faults_disarm())
            return n_survived;
        assert_true(r == expected || r == -fault_error(kind));
        n_survived += r == expected;
    }
}

static void a_thread_less_is_no_fault(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int expected;
    } files[] = {{"edge/values.stream.act", 0}, {"crafted/noncanon.act", ACT_CORRUPT}};
    for (size_t i = 0; i < N_ELEMENTS(files); i++) {
        struct treetest t;
        treetest_open_bytes(&t, bytes_read_file(test_data_path(files[i].name)), files[i].name);
        /* The team; of each of two helpers a list of frames, bits and frames. The calling thread's
         * own frames may be asked for a second time, without the team. */
        assert_in_range(sweep_threads(t.tree, FAULT_MEMORY, files[i].expected), 3, 4);
        assert_in_range(sweep_threads(t.tree, FAULT_MAP, files[i].expected), 4, 5);
        for (unsigned nth = 1; nth <= 3; nth++) {
            struct act_survey survey;
            const struct act_verify_options options = {.n_threads = 3};
            threads_left = nth;
            assert_int_equal(act_verify(t.tree, &options, &survey), files[i].expected);
            assert_int_equal(threads_left, nth > 2 ? nth - 2 : 0);
        }
        threads_left = 0;
        treetest_close(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_call_may_fail),
        cmocka_unit_test(the_file_may_have_had_a_name),
        cmocka_unit_test(each_call_may_fail_beside_a_digest),
        cmocka_unit_test(a_thread_less_is_no_fault),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
