/*
 * warm_tree: the top of a tree first. What was read is held against what lookups come to, by a
 * residency that knows nothing but these pages.
 */
#include "buildertest.h"
#include "randomkeys.h"
#include "tree/tree.h"
#include "treetest.h"
#include "unit.h"
#include "warmtest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A tree in a file, and a view of it that knows what was read. */
struct subject {
    struct warmtest_file file;
    struct act *tree;
    struct act_residency *residency;
};

static struct subject subject_of(const struct bytes *content)
{
    struct subject s = {.file = warmtest_file_of(content->p, content->len)};
    struct act_error error;
    assert_int_equal(act_open_fd(s.file.fd, s.file.path, &s.tree, &error), 0);
    assert_int_equal(act_residency_new(s.tree, -1, ACT_PROBE_NONE, &s.residency), 0);
    warmtest_drop(&s.file);
    return s;
}

static void subject_end(struct subject *s)
{
    act_residency_free(s->residency);
    act_close(s->tree);
    warmtest_end(&s->file);
}

/* Each page that was read was read once; from here on the residency knows them and no others. */
static uint64_t learn(struct subject *s)
{
    uint64_t n = 0;
    act_residency_doubt(s->residency);
    act_residency_begin(s->residency);
    for (uint64_t page = 0; page < reads.n_pages; page++) {
        assert_true(reads.n_read[page] <= 1);
        n += reads.n_read[page];
        if (reads.n_read[page])
            act_residency_note(s->residency, page);
    }
    return n;
}

/* Does the walk along the first `depth` bytes of that key come to an unknown page? */
static bool is_cold(const struct subject *s, struct slice key, size_t depth)
{
    struct act_node node;
    size_t len = depth - 1 < key.len ? depth - 1 : key.len; /* the node behind them is read, too */
    return act_node(act_residency_tree(s->residency), key.p, len, &node, NULL) == ACT_COLD;
}

static size_t n_cold(const struct subject *s, const struct oracle *oracle, size_t depth)
{
    size_t n = 0;
    for (size_t i = 0; i < oracle->n; i++)
        n += is_cold(s, oracle->entries[i].key, depth);
    return n;
}

/* How many pages all walks of so many bytes come to: found by walking. */
static uint64_t pages_needed(struct subject *s, const struct oracle *oracle, size_t depth)
{
    struct act_residency_info info;
    act_residency_doubt(s->residency);
    for (size_t i = 0; i < oracle->n; i++) {
        act_residency_begin(s->residency);
        while (is_cold(s, oracle->entries[i].key, depth)) {
            size_t n_missed, n;
            const uint64_t *pages = act_residency_wanted(s->residency, &n_missed, &n);
            for (size_t j = 0; j < n; j++)
                act_residency_note(s->residency, pages[j]);
            act_residency_begin(s->residency);
        }
    }
    act_residency_info(s->residency, &info);
    return info.n_known;
}

static void warm(const struct subject *s, uint64_t max_pages)
{
    struct act_warm_options options = {.mode = ACT_WARM_TRAVERSE, .max_bytes = max_pages * PAGE};
    struct act_warm_progress progress;
    assert_int_equal(warmtest_run(&s->file, s->tree, &options, &progress), 0);
    assert_true(progress.done_bytes <= progress.total_bytes);
    assert_true(progress.total_bytes - progress.done_bytes < PAGE); /* the file's last page */
}

/* What stays in memory of it, whatever is done. */
static uint64_t forget(const struct subject *s)
{
    assert_int_equal(act_release(s->tree, 0, s->file.size), 0);
    warmtest_drop(&s->file);
    return warmtest_n_resident(&s->file);
}

/* What fits into the limit is there, for each depth that a walk may end at; and never more. */
static void check_depths(const struct oracle *oracle, const struct bytes *content)
{
    static const size_t depths[] = {1, 2, 3, 4, 6, 8, 12, 16, 24, 32};
    struct subject s = subject_of(content);
    uint64_t all = (content->len + PAGE - 1) / PAGE, n_left = 0;
    for (size_t i = 0; i < N_ELEMENTS(depths); i++) {
        /* What lies between the children of a run, and a node's end, is read whole. */
        uint64_t needed = pages_needed(&s, oracle, depths[i]), max = needed + needed / 20 + 4;
        if (max > all)
            max = all;
        uint64_t left = forget(&s);
        warm(&s, max);
        assert_true(warmtest_n_resident(&s.file) <= max + left);
        n_left += left;
        assert_int_equal(learn(&s), max);
        assert_int_equal(n_cold(&s, oracle, depths[i]), 0);
    }
    assert_true(n_left <= 2 * N_ELEMENTS(depths)); /* else it meant nothing */
    /* Without a limit everything is there, and each page was read once. */
    warm(&s, 0);
    assert_int_equal(learn(&s), all);
    assert_int_equal(n_cold(&s, oracle, 1000), 0);
    warm(&s, all / 3 + 1);
    assert_int_equal(learn(&s), all / 3 + 1);
    subject_end(&s);
}

static void the_top_of_built_trees_comes_first(void **state)
{
    struct random random = {5};
    (void)state;
    for (int kind = 0; kind < RANDOM_KINDS; kind++) {
        struct oracle oracle;
        oracle_init(&oracle);
        random_keys_add(&random, (enum random_keys)kind, 60000, &oracle);
        for (int is_plain = 0; is_plain < 2; is_plain++) {
            struct act_builder_options options = {.is_plain = is_plain};
            struct bytes file = build_file(&oracle, BUILD_SORTED, &options, NULL);
            check_depths(&oracle, &file);
            bytes_free(&file);
        }
        oracle_deinit(&oracle);
    }
}

static void the_top_of_cities_comes_first(void **state)
{
    struct treetest t;
    (void)state;
    treetest_open(&t, "cities.act", "cities.tsv.gz");
    check_depths(&t.oracle, &t.file);
    treetest_close(&t);
}

/* Keys of a megabyte, and keys that go on from one another, byte by byte. */
static void long_keys_are_no_trouble(void **state)
{
    struct oracle oracle;
    struct random random = {6};
    uint8_t *key = malloc(1 << 20);
    (void)state;
    assert_non_null(key);
    for (size_t i = 0; i < 1 << 20; i++)
        key[i] = (uint8_t)random_below(&random, 256);
    oracle_init(&oracle);
    oracle_add(&oracle, key, 1 << 20, 1);
    for (size_t len = 0; len < 200000; len += len < 80000 ? 100 : 1000)
        oracle_add(&oracle, key, len, len);
    key[100000] ^= 1;
    oracle_add(&oracle, key, 1 << 20, 2);
    oracle_sort(&oracle);
    struct act_builder_options options = {.is_plain = true};
    struct bytes file = build_file(&oracle, BUILD_SORTED, &options, NULL);
    struct subject s = subject_of(&file);
    uint64_t all = (file.len + PAGE - 1) / PAGE;
    warm(&s, 0);
    assert_int_equal(learn(&s), all);
    warm(&s, 10);
    assert_int_equal(learn(&s), 10);
    assert_false(is_cold(&s, slice_of(key, 1 << 20), 10000));
    subject_end(&s);
    bytes_free(&file);
    oracle_deinit(&oracle);
    free(key);
}

/* Bytes that grow upward, as a writer's. */
struct pile {
    uint8_t p[1 << 20];
    uint64_t at;
};

static void put(struct pile *pile, uint8_t byte)
{
    pile->p[pile->at++] = byte;
}

static struct bytes pile_end(struct pile *pile, uint64_t root)
{
    memcpy(pile->p, "ACTree03", 8);
    for (unsigned i = 0; i < 8; i++)
        pile->p[8 + i] = (uint8_t)(root >> (8 * i));
    return bytes_copy(pile->p, sizeof pile->p);
}

/* Two children, both of which have the same two children, and so on: 2^n positions. */
static void shared_runs_come_to_an_end(void **state)
{
    static struct pile pile;
    (void)state;
    pile.at = 16;
    uint64_t first = pile.at;
    for (unsigned i = 0; i < 2; i++) {
        put(&pile, 0x40); /* a leaf of value 7 */
        put(&pile, 7);
    }
    for (unsigned level = 0; level < 5000; level++) {
        uint64_t run = pile.at;
        for (unsigned i = 0; i < 2; i++) {
            uint64_t distance = pile.at - first;
            put(&pile, 2); /* a branch of two */
            put(&pile, (uint8_t)distance);
            put(&pile, 'a');
            put(&pile, 'b');
        }
        first = run;
        pile.at += level % 100 ? 0 : 60; /* over many pages */
    }
    struct bytes content = pile_end(&pile, first);
    struct subject s = subject_of(&content);
    uint64_t all = content.len / PAGE;
    assert_int_equal(act_get(s.tree, "abbab", 5, NULL, NULL), ACT_MISS);
    warm(&s, 0);
    assert_int_equal(learn(&s), all);
    warm(&s, 20);
    assert_int_equal(learn(&s), 20);
    subject_end(&s);
    bytes_free(&content);
}

/* Whatever is in the file, all of it is read, once, and the end is one of the two. */
static void damaged_trees_are_read_too(void **state)
{
    struct treetest t;
    struct random random = {7};
    unsigned n_corrupt = 0;
    (void)state;
    treetest_open(&t, "cities.act", "cities.tsv.gz");
    for (unsigned i = 0; i < 60; i++) {
        struct bytes content = bytes_copy(t.file.p, t.file.len);
        /* Some of them near the root, at the end. */
        for (unsigned n = 0; n < 1 + i * 20; n++) {
            size_t back = random_below(&random, n % 2 ? 20000 : (unsigned)content.len - 16);
            content.p[content.len - 1 - back] ^= (uint8_t)(1 << random_below(&random, 8));
        }
        struct warmtest_file file = warmtest_file_of(content.p, content.len);
        struct act *tree;
        if (act_open_fd(file.fd, file.path, &tree, NULL) == 0) {
            struct act_warm_options options = {.mode = ACT_WARM_TRAVERSE};
            struct act_warm_progress progress;
            int r = warmtest_run(&file, tree, &options, &progress);
            assert_true(r == 0 || r == ACT_CORRUPT);
            n_corrupt += r == ACT_CORRUPT;
            assert_int_equal(progress.done_bytes, content.len);
            for (uint64_t page = 0; page < reads.n_pages; page++)
                assert_int_equal(reads.n_read[page], 1);
            act_close(tree);
        }
        warmtest_end(&file);
        bytes_free(&content);
    }
    assert_true(n_corrupt > 20);
    treetest_close(&t);
}

struct calls {
    unsigned n, end;
};

static bool on_call(void *context, const struct act_warm_progress *progress)
{
    struct calls *calls = context;
    assert_true(progress->done_bytes <= progress->total_bytes);
    return ++calls->n != calls->end;
}

static bool on_wait(void *context, unsigned ms)
{
    struct calls *calls = context;
    assert_true(ms > 0 && ms <= 100);
    return ++calls->n != calls->end;
}

static void who_gives_up_is_obeyed(void **state)
{
    struct treetest t;
    struct calls calls = {.end = 1};
    struct act_warm_options options = {
        .mode = ACT_WARM_TRAVERSE, .context = &calls, .on_progress = on_call};
    struct act_warm_progress progress;
    (void)state;
    treetest_open(&t, "cities.act", "cities.tsv.gz");
    struct subject s = subject_of(&t.file);
    assert_int_equal(warmtest_run(&s.file, s.tree, &options, &progress), -ECANCELED);
    assert_int_equal(learn(&s), 0);
    options.on_progress = NULL;
    options.on_wait = on_wait;
    options.rate_bytes_per_s = 1 << 20;
    calls = (struct calls){.end = 2};
    assert_int_equal(warmtest_run(&s.file, s.tree, &options, &progress), -ECANCELED);
    assert_int_equal(calls.n, 2);
    assert_true(progress.done_bytes > 0 && progress.done_bytes < 1 << 20);
    subject_end(&s);

    /* A disk that fails: told, and not gone on with. A tree in memory has no pages to be read. */
    s = subject_of(&t.file);
    reads_begin(s.file.size);
    reads.fail_from = 0;
    options = (struct act_warm_options){.mode = ACT_WARM_TRAVERSE};
    assert_int_equal(act_warm(s.file.fd, s.file.size, s.tree, &options, &progress), -EIO);
    assert_int_equal(progress.done_bytes, 0);
    assert_int_equal(act_warm(s.file.fd, s.file.size, t.tree, &options, &progress), -EINVAL);
    assert_int_equal(act_warm(s.file.fd, s.file.size - 1, s.tree, &options, &progress), -EINVAL);
    reads_end();
    subject_end(&s);
    treetest_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_top_of_built_trees_comes_first),
        cmocka_unit_test(the_top_of_cities_comes_first),
        cmocka_unit_test(long_keys_are_no_trouble),
        cmocka_unit_test(shared_runs_come_to_an_end),
        cmocka_unit_test(damaged_trees_are_read_too),
        cmocka_unit_test(who_gives_up_is_obeyed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
