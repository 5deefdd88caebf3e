/*
 * lookup with a cache of sibling tables: whatever its size and however it is filled, a tree answers
 * as it does without one, whole or damaged.
 */
#include "consistent.h"
#include "probe.h"
#include "tree/tables.h"
#include "treetest.h"
#include "unit.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>

static const size_t cache_sizes[] = {4096, 8192, 1 << 16, 1 << 22};

static void check_cached(struct treetest *t, void *context)
{
    (void)context;
    for (size_t i = 0; i < N_ELEMENTS(cache_sizes); i++) {
        assert_int_equal(act_cache_tables(t->tree, cache_sizes[i]), 0);
        /* First it is filled, then it is used. */
        for (int round = 0; round < 2; round++)
            treetest_check_all(t, t->oracle.n > 1000 ? 64 : 1);
    }
    assert_int_equal(act_cache_tables(t->tree, 0), 0);
    treetest_check_all(t, 64);
}

static void trees_hold_the_same_with_a_cache(void **state)
{
    (void)state;
    treetest_for_each("edge", check_cached, NULL);
    treetest_for_each("doc", check_cached, NULL);
}

static void large_trees_hold_the_same_with_a_cache(void **state)
{
    (void)state;
    struct treetest t;
    treetest_open(&t, "shakespeare.act", "shakespeare.tsv.gz");
    check_cached(&t, NULL);
    treetest_close(&t);
}

/* get and node of some keys and their near misses, twice, in a damaged file. */
static void check_damaged(const struct treetest *t, size_t where)
{
    struct act *plain, *cached;
    const char *wrong = NULL;
    size_t step = 1 + t->oracle.n / 4;
    if (act_open_memory(t->file.p, t->file.len, t->name, &plain, NULL) != 0)
        return;
    assert_int_equal(act_open_memory(t->file.p, t->file.len, t->name, &cached, NULL), 0);
    assert_int_equal(act_cache_tables(cached, 4096), 0);
    for (unsigned probe = 0; probe < 2 * PROBE_COUNT; probe++)
        for (size_t i = 0; i < t->oracle.n && !wrong; i += step) {
            struct bytes key = probe_of(t->oracle.entries[i].key, probe % PROBE_COUNT);
            wrong = consistent_between(plain, cached, slice_of(key.p, key.len));
            bytes_free(&key);
        }
    act_close(plain);
    act_close(cached);
    if (wrong)
        fail_msg("%s, byte %zu changed: %s", t->name, where, wrong);
}

static void flip(struct treetest *t, void *context)
{
    (void)context;
    static const uint8_t others[] = {0x00, 0xff, 0x20, 0x3f, 0xf8};
    if (t->file.len > 1300)
        return;
    for (size_t at = 16; at < t->file.len; at++) {
        uint8_t was = t->file.p[at];
        for (size_t i = 0; i < sizeof others; i++) {
            t->file.p[at] = others[i];
            check_damaged(t, at);
        }
        for (unsigned bit = 0; bit < 8; bit += 2) {
            t->file.p[at] = was ^ (uint8_t)(1 << bit);
            check_damaged(t, at);
        }
        t->file.p[at] = was;
    }
}

static void damaged_trees_answer_the_same_with_a_cache(void **state)
{
    (void)state;
    static const char *const wide[] = {"br31_lines",  "br31_nested", "br32_root", "br33_lines",
                                       "br64_nested", "br256_lines", "values"};
    for (size_t i = 0; i < N_ELEMENTS(wide); i++) {
        char tree[64], contents[64];
        struct treetest t;
        snprintf(tree, sizeof tree, "edge/%s.stream.act", wide[i]);
        snprintf(contents, sizeof contents, "edge/%s.tsv", wide[i]);
        treetest_open(&t, tree, contents);
        flip(&t, NULL);
        treetest_close(&t);
    }
}

static void a_cache_too_small_is_told(void **state)
{
    (void)state;
    struct treetest t;
    treetest_open(&t, "edge/br256_root.stream.act", "edge/br256_root.tsv");
    for (size_t bytes = 1; bytes < 4096; bytes += 1365)
        assert_int_equal(act_cache_tables(t.tree, bytes), -ENOMEM);
    treetest_check_all(&t, 1);
    treetest_close(&t);
}

/* Bytes that are changed under us may make a branch wider than when its places were taken: a look
 * must stay inside the cache, also behind the last run of the arena. The arena is its last quarter.
 */
static void every_child_number_stays_inside_the_cache(void **state)
{
    (void)state;
    uint16_t distances[TABLES_MAX_CHILDREN] = {0};
    struct tables *tables = tables_new(TABLES_MIN_BYTES);
    const uint16_t *end = tables->arena + TABLES_MIN_BYTES / 4 / sizeof *end;
    size_t n_found = 0;
    for (uint64_t branch = 16; branch < 400; branch++)
        tables_add(tables, branch, distances, (unsigned)branch % 257);
    assert_true(tables->arena + tables->arena_size + TABLES_MAX_CHILDREN <= end);
    assert_true(tables->arena_used <= tables->arena_size);
    for (uint64_t branch = 16; branch < 400; branch++)
        for (unsigned rank = 1; rank < TABLES_MAX_CHILDREN; rank++) {
            struct tables_place place = {0};
            if (tables_find(tables, branch, rank, &place) != TABLES_HAS)
                continue;
            assert_true(place.rank <= rank);
            n_found++;
        }
    assert_true(n_found > 0);
    tables_free(tables);
}

/* The nearest place that is kept, and the way from there, lead to every child. */
static void check_places(struct tables *tables, uint64_t branch, const uint16_t *distances,
                         unsigned n, unsigned step_max)
{
    for (unsigned rank = 1; rank < n; rank++) {
        struct tables_place place = {0};
        uint64_t distance;
        assert_int_equal(tables_find(tables, branch, rank, &place), TABLES_HAS);
        assert_true(place.rank <= rank && rank - place.rank < step_max);
        assert_int_equal(place.distance, distances[place.rank]);
        if (tables_find_exactly(tables, branch, rank, &distance))
            assert_int_equal(distance, distances[rank]);
    }
}

static void runs_of_every_length_are_kept(void **state)
{
    (void)state;
    uint16_t distances[TABLES_MAX_CHILDREN];
    for (unsigned i = 0; i < TABLES_MAX_CHILDREN; i++)
        distances[i] = (uint16_t)(7 * i);
    for (unsigned n = 2; n <= TABLES_MAX_CHILDREN; n++) {
        /* The arena has room for the first, and the slots for all of them. */
        struct tables *tables = tables_new(TABLES_MIN_BYTES);
        struct tables_place place = {0};
        unsigned step_max = 1;
        assert_int_equal(tables_find(tables, 16, 1, &place), TABLES_HAS_NOT);
        tables_add(tables, 16, distances, n);
        check_places(tables, 16, distances, n, 1);
        assert_int_equal(tables_find(tables, 17, 1, &place), TABLES_HAS_NOT);
        while (tables->arena_used <= tables->arena_size - n)
            tables->arena_used += n;
        while ((n - 1) / step_max > TABLES_PLACES)
            step_max *= 2;
        tables_add(tables, 17, distances, n);
        check_places(tables, 17, distances, n, n > TABLES_PLACES + 1 ? step_max : 1);
        tables_free(tables);
    }
    tables_free(NULL);
}

/* A bucket that is full stays as it is, and says so. */
static void a_full_cache_goes_on(void **state)
{
    (void)state;
    const uint16_t distances[] = {0, 3, 9};
    struct tables *tables = tables_new(TABLES_MIN_BYTES);
    size_t n[3] = {0};
    for (uint64_t branch = 16; branch < 1000; branch++)
        tables_add(tables, branch, distances, 3);
    for (uint64_t branch = 16; branch < 1000; branch++) {
        struct tables_place place = {0};
        enum tables_found found = tables_find(tables, branch, 2, &place);
        n[found]++;
        if (found == TABLES_HAS)
            assert_int_equal(place.distance, 9);
    }
    assert_int_equal(n[TABLES_HAS], tables->n_buckets * TABLES_BUCKET_SLOTS);
    assert_int_equal(n[TABLES_HAS_NOT], 0);
    tables_free(tables);
}

struct reader {
    const struct treetest *t;
    size_t first;
    size_t n_wrong;
};

static void *read_all(void *context)
{
    struct reader *reader = context;
    const struct oracle *oracle = &reader->t->oracle;
    for (size_t i = 0; i < oracle->n; i++) {
        const struct oracle_entry *e = &oracle->entries[(reader->first + i) % oracle->n];
        uint64_t value = 0;
        int r = act_get(reader->t->tree, e->key.p, e->key.len, &value, NULL);
        reader->n_wrong += r != 0 || value != e->value;
    }
    return NULL;
}

static void threads_may_fill_a_cache_together(void **state)
{
    (void)state;
    struct treetest t;
    struct reader readers[4];
    pthread_t threads[4];
    treetest_open(&t, "cities.act", "cities.tsv.gz");
    for (size_t size = 4096; size <= 1 << 22; size *= 32) {
        assert_int_equal(act_cache_tables(t.tree, size), 0);
        for (size_t i = 0; i < N_ELEMENTS(readers); i++) {
            readers[i] = (struct reader){.t = &t, .first = i * 1000};
            assert_int_equal(pthread_create(&threads[i], NULL, read_all, &readers[i]), 0);
        }
        for (size_t i = 0; i < N_ELEMENTS(readers); i++) {
            assert_int_equal(pthread_join(threads[i], NULL), 0);
            assert_int_equal(readers[i].n_wrong, 0);
        }
    }
    treetest_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(trees_hold_the_same_with_a_cache),
        cmocka_unit_test(large_trees_hold_the_same_with_a_cache),
        cmocka_unit_test(damaged_trees_answer_the_same_with_a_cache),
        cmocka_unit_test(a_cache_too_small_is_told),
        cmocka_unit_test(every_child_number_stays_inside_the_cache),
        cmocka_unit_test(runs_of_every_length_are_kept),
        cmocka_unit_test(a_full_cache_goes_on),
        cmocka_unit_test(threads_may_fill_a_cache_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
