/*
 * prefixes: act_longest_prefix and act_prefixes against a search for every prefix of a key in a
 * sorted array.
 */
#include "probe.h"
#include "randomkeys.h"
#include "treetest.h"
#include "unit.h"

#define PREFIXES_MAX 80

static size_t wanted_prefixes(const struct oracle *oracle, struct slice key, size_t min_len,
                              struct act_prefix *ret)
{
    size_t n = 0;
    for (size_t len = min_len; len <= key.len && n < PREFIXES_MAX; len++) {
        const struct oracle_entry *entry = oracle_find(oracle, slice_of(key.p, len));
        if (entry)
            ret[n++] = (struct act_prefix){.len = len, .value = entry->value};
    }
    return n;
}

static void check_array(const struct treetest *t, struct slice key, size_t min_len, size_t max)
{
    struct act_prefix wanted[PREFIXES_MAX], found[PREFIXES_MAX];
    size_t n_wanted = wanted_prefixes(&t->oracle, key, min_len, wanted), n = 77;
    if (n_wanted > max)
        n_wanted = max;
    assert_int_equal(act_prefixes(t->tree, key.p, key.len, min_len, found, max, &n, NULL), 0);
    assert_int_equal(n, n_wanted);
    for (size_t i = 0; i < n; i++)
        assert_true(found[i].len == wanted[i].len && found[i].value == wanted[i].value);
}

static void check_key(const struct treetest *t, struct slice key)
{
    struct act_prefix wanted[PREFIXES_MAX];
    uint64_t value = 0;
    size_t len = 0, n = wanted_prefixes(&t->oracle, key, 0, wanted);
    int r = act_longest_prefix(t->tree, key.p, key.len, &len, &value, NULL);
    assert_int_equal(r, n > 0 ? ACT_OK : ACT_MISS);
    if (n > 0 && n < PREFIXES_MAX)
        assert_true(len == wanted[n - 1].len && value == wanted[n - 1].value);
    check_array(t, key, 0, PREFIXES_MAX);
    check_array(t, key, 0, 1);
    check_array(t, key, 0, 0);
    check_array(t, key, key.len / 2, PREFIXES_MAX);
    if (n > 1)
        check_array(t, key, wanted[0].len + 1, 2);
}

static void check_tree(struct treetest *t, void *context)
{
    size_t step = 1 + t->oracle.n / 500;
    (void)context;
    check_key(t, slice_of("", 0));
    for (size_t i = 0; i < t->oracle.n; i += step)
        for (unsigned p = 0; p < PROBE_COUNT && t->oracle.entries[i].key.len < 2000; p++) {
            struct bytes key = probe_of(t->oracle.entries[i].key, p);
            check_key(t, slice_of(key.p, key.len));
            bytes_free(&key);
        }
}

static void all_prefixes_are_found(void **state)
{
    (void)state;
    struct treetest t;
    assert_int_equal(treetest_for_each("edge", check_tree, NULL), 101);
    assert_int_equal(treetest_for_each("doc", check_tree, NULL), 6);
    treetest_open(&t, "cities.act", "cities.tsv.gz");
    check_tree(&t, NULL);
    treetest_close(&t);
}

static void prefixes_in_random_trees_are_found(void **state)
{
    (void)state;
    struct random random = {.state = 3};
    for (unsigned round = 0; round < 200; round++) {
        struct treetest t;
        random_tree_open(&random, round % RANDOM_KINDS, random_below(&random, 100), &t);
        check_tree(&t, NULL);
        treetest_close(&t);
    }
}

/* A line with value and child: the line's value, once, and what is below it. */
static void a_position_counts_once(void **state)
{
    (void)state;
    struct treetest t;
    struct act_prefix found[4];
    size_t n = 0;
    treetest_open_bytes(&t, bytes_read_file(test_data_path("crafted/line_value_child.act")), "odd");
    assert_int_equal(act_prefixes(t.tree, "roadxy", 6, 0, found, 4, &n, NULL), 0);
    assert_int_equal(n, 2);
    assert_true(found[0].len == 4 && found[0].value == 1);
    assert_true(found[1].len == 5 && found[1].value == 3);
    assert_int_equal(act_prefixes(t.tree, "road", 4, 0, found, 4, &n, NULL), 0);
    assert_int_equal(n, 1);
    treetest_close(&t);
}

static void damage_on_the_way_is_told(void **state)
{
    (void)state;
    struct treetest t;
    struct act_fault fault = {0};
    struct act_prefix found[4];
    size_t len = 77, n = 77;
    uint64_t value = 77;
    treetest_open_bytes(&t, bytes_read_file(test_data_path("crafted/line_len0.act")), "odd");
    assert_int_equal(act_longest_prefix(t.tree, "a", 1, &len, &value, &fault), ACT_CORRUPT);
    assert_non_null(fault.reason);
    fault.reason = NULL;
    assert_int_equal(act_prefixes(t.tree, "a", 1, 0, found, 4, &n, &fault), ACT_CORRUPT);
    assert_non_null(fault.reason);
    assert_true(len == 77 && n == 77 && value == 77);
    treetest_close(&t);
}

/* get of every prefix says the same, whatever the file. */
static void check_damaged(const struct treetest *t, struct slice key)
{
    struct act *tree;
    struct act_prefix found[PREFIXES_MAX];
    size_t n = 0, i = 0;
    uint64_t value = 0;
    if (act_open_memory(t->file.p, t->file.len, t->name, &tree, NULL) != 0)
        return;
    int r = act_prefixes(tree, key.p, key.len, 0, found, PREFIXES_MAX, &n, NULL);
    for (size_t len = 0; len <= key.len && r == 0; len++) {
        if (act_get(tree, key.p, len, &value, NULL) != 0)
            continue;
        assert_true(i < n && found[i].len == len && found[i].value == value);
        i++;
    }
    assert_true(r == ACT_CORRUPT || (r == 0 && i == n));
    act_close(tree);
}

static void flip(struct treetest *t, void *context)
{
    (void)context;
    if (t->file.len > 600 || t->oracle.n == 0)
        return;
    for (size_t at = 16; at < t->file.len; at++) {
        uint8_t was = t->file.p[at];
        static const uint8_t others[] = {0x00, 0xff, 0x20, 0x40, 0xc1, 0xf8};
        for (size_t i = 0; i < 8 + sizeof others; i++) {
            t->file.p[at] = (uint8_t)(i < 8 ? was ^ 1 << i : others[i - 8]);
            for (size_t e = 0; e < t->oracle.n; e += 1 + t->oracle.n / 3) {
                struct slice key = t->oracle.entries[e].key;
                if (key.len < PREFIXES_MAX)
                    check_damaged(t, key);
            }
        }
        t->file.p[at] = was;
    }
}

static void damaged_trees_give_what_get_gives(void **state)
{
    (void)state;
    treetest_for_each("edge", flip, NULL);
    treetest_for_each("doc", flip, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_prefixes_are_found),
        cmocka_unit_test(prefixes_in_random_trees_are_found),
        cmocka_unit_test(a_position_counts_once),
        cmocka_unit_test(damage_on_the_way_is_told),
        cmocka_unit_test(damaged_trees_give_what_get_gives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
