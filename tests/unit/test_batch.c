/*
 * batch: whatever the keys, their order and their number, a batch says what get says of each, in
 * plain trees, with a cache, and in trees that have tables of their own.
 */
#include "buildertest.h"
#include "consistent.h"
#include "probe.h"
#include "treetest.h"
#include "unit.h"

#include <stdlib.h>

static const size_t sizes[] = {0, 1, 2, 15, 16, 17, 64, 1000};

struct keys {
    struct bytes *bytes; /* owned */
    struct act_key *p;   /* owned */
    size_t n;
};

/* Every key, and of each step-th one its near misses; mixed. */
static struct keys keys_of(const struct oracle *oracle, size_t step)
{
    size_t room = PROBE_COUNT * oracle->n + 1;
    struct keys keys = {.bytes = calloc(room, sizeof *keys.bytes),
                        .p = calloc(room, sizeof *keys.p)};
    assert_non_null(keys.bytes);
    assert_non_null(keys.p);
    keys.bytes[keys.n++] = bytes_copy("", 0);
    for (size_t i = 0; i < oracle->n; i++)
        for (unsigned p = 0; p < (i % step == 0 ? PROBE_COUNT : 1); p++)
            keys.bytes[keys.n++] = probe_of(oracle->entries[i].key, p);
    srand(1);
    for (size_t i = keys.n - 1; i > 0; i--) {
        size_t other = (size_t)rand() % (i + 1);
        struct bytes swap = keys.bytes[i];
        keys.bytes[i] = keys.bytes[other];
        keys.bytes[other] = swap;
    }
    for (size_t i = 0; i < keys.n; i++)
        keys.p[i] = (struct act_key){keys.bytes[i].p, keys.bytes[i].len};
    return keys;
}

static void keys_free(struct keys *keys)
{
    for (size_t i = 0; i < keys->n; i++)
        bytes_free(&keys->bytes[i]);
    free(keys->bytes);
    free(keys->p);
}

static void check_results(const struct act *tree, const struct act_key *keys, size_t n,
                          const struct act_result *results)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t value = 0;
        struct act_fault fault;
        int r = act_get(tree, keys[i].p, keys[i].len, &value, &fault);
        assert_int_equal(results[i].outcome, r);
        if (r == 0)
            assert_int_equal(results[i].value, value);
        if (r == ACT_CORRUPT)
            assert_int_equal(results[i].fault.offset, fault.offset);
    }
}

static void check_batches(const struct act *tree, const struct keys *keys)
{
    struct act_result results[1001];
    for (size_t s = 0; s < N_ELEMENTS(sizes); s++) {
        size_t n_checked = 0;
        for (size_t at = 0; at < keys->n && n_checked < 4000; at += sizes[s] ? sizes[s] : 997) {
            size_t n = sizes[s] < keys->n - at ? sizes[s] : keys->n - at;
            results[n].outcome = -1;
            act_get_batch(tree, keys->p + at, n, results);
            assert_int_equal(results[n].outcome, -1);
            check_results(tree, keys->p + at, n, results);
            n_checked += n;
        }
    }
}

static void check_tree(struct treetest *t, void *context)
{
    (void)context;
    struct keys keys = keys_of(&t->oracle, t->oracle.n > 1000 ? 64 : 1);
    check_batches(t->tree, &keys);
    assert_int_equal(act_cache_tables(t->tree, 1 << 20), 0);
    check_batches(t->tree, &keys);
    check_batches(t->tree, &keys);
    keys_free(&keys);
}

static void a_batch_says_what_get_says(void **state)
{
    (void)state;
    struct treetest t;
    treetest_for_each("edge", check_tree, NULL);
    treetest_for_each("doc", check_tree, NULL);
    treetest_open(&t, "cities.act", "cities.tsv.gz");
    check_tree(&t, NULL);
    treetest_close(&t);
}

static void a_batch_uses_the_tables_of_a_file(void **state)
{
    (void)state;
    static const unsigned table_min[] = {2, 16, 33, 256};
    struct treetest t, built;
    treetest_open(&t, "cities.act", "cities.tsv.gz");
    struct keys keys = keys_of(&t.oracle, 64);
    for (size_t i = 0; i < N_ELEMENTS(table_min); i++) {
        struct act_builder_options options = {.table_min_children = table_min[i]};
        struct bytes file = build_file(&t.oracle, BUILD_SORTED, &options, NULL);
        treetest_open_bytes(&built, file, "built");
        check_batches(built.tree, &keys);
        treetest_close(&built);
    }
    keys_free(&keys);
    treetest_close(&t);
}

static void a_batch_in_a_damaged_tree_fails_key_by_key(void **state)
{
    (void)state;
    struct treetest t;
    treetest_open(&t, "shakespeare.act", "shakespeare.tsv.gz");
    struct keys keys = keys_of(&t.oracle, 64);
    for (size_t at = 1000; at < t.file.len; at += t.file.len / 200)
        t.file.p[at] ^= 0xff;
    check_batches(t.tree, &keys);
    keys_free(&keys);
    treetest_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_batch_says_what_get_says),
        cmocka_unit_test(a_batch_uses_the_tables_of_a_file),
        cmocka_unit_test(a_batch_in_a_damaged_tree_fails_key_by_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
