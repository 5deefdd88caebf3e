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

/* Bytes that are changed under us may make a branch wider than its table: the look must stay inside
 * the cache, also behind the last table. The arena follows the slots, a quarter of the cache. */
static void every_child_number_stays_inside_the_cache(void **state)
{
    (void)state;
    const size_t bytes = 4096;
    struct tables *tables = tables_new(bytes);
    const uint16_t *begin = NULL, *distances;
    uint32_t slot;
    for (uint64_t branch = 16; branch < 400; branch++) {
        distances = tables_claim(tables, branch, 8 + (unsigned)branch % 100, &slot);
        begin = begin ? begin : distances;
        if (distances)
            assert_true(distances + 256 <= begin + (bytes - bytes / 4) / sizeof *begin);
    }
    assert_non_null(begin);
    tables_free(tables);
}

static void what_is_not_published_is_not_found(void **state)
{
    (void)state;
    struct tables *tables = tables_new(1 << 16);
    uint32_t slot;
    uint16_t *distances = tables_claim(tables, 100, 9, &slot);
    assert_non_null(distances);
    assert_null(tables_find(tables, 100));
    distances[8] = 77;
    tables_publish(tables, slot, 100);
    assert_ptr_equal(tables_find(tables, 100), distances);
    assert_int_equal(tables_find(tables, 100)[8], 77);
    assert_null(tables_find(tables, 101));
    tables_free(tables);
    tables_free(NULL);
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
        cmocka_unit_test(what_is_not_published_is_not_found),
        cmocka_unit_test(threads_may_fill_a_cache_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
