/*
 * lookup: get, exists and node against a sorted array, on the trees of the reference implementation
 * and on random trees of an independent encoder.
 */
#include "consistent.h"
#include "treetest.h"
#include "treewriter.h"
#include "unit.h"

static void check_all(struct treetest *t, void *context)
{
    (void)context;
    treetest_check_all(t, t->oracle.n > 10000 ? 16 : 1);
    const char *wrong = consistent_below_root(t->tree, 3000, 200);
    if (wrong)
        fail_msg("%s: %s", t->name, wrong);
}

static void edge_trees_hold_what_they_should(void **state)
{
    (void)state;
    assert_int_equal(treetest_for_each("edge", check_all, NULL), 101);
}

static void the_trees_of_the_specification_hold_what_they_should(void **state)
{
    (void)state;
    assert_int_equal(treetest_for_each("doc", check_all, NULL), 6);
}

static void shakespeares_words_are_all_found(void **state)
{
    (void)state;
    struct treetest t;
    treetest_open(&t, "shakespeare.act", "shakespeare.tsv.gz");
    assert_int_equal(t.oracle.n, 38511);
    treetest_check_all(&t, 1);
    treetest_close(&t);
}

static void all_cities_are_found(void **state)
{
    (void)state;
    struct treetest t;
    treetest_open(&t, "cities.act", "cities.tsv.gz");
    assert_int_equal(t.oracle.n, 154170);
    treetest_check_all(&t, 16);
    treetest_close(&t);
}

static bool ends_with(const char *name, const char *end)
{
    return strlen(name) >= strlen(end) && strcmp(name + strlen(name) - strlen(end), end) == 0;
}

/* The encoder of the tests is held against the reference before anything is held against it. */
static void check_writer(struct treetest *t, void *context)
{
    size_t *n = context;
    bool is_stream = ends_with(t->name, ".stream.act");
    if (!is_stream && !ends_with(t->name, ".zipper.act"))
        return;
    struct bytes written =
        treewriter_write(&t->oracle, is_stream ? TREEWRITER_BRANCH_ROOT : TREEWRITER_LINE_ROOT);
    if (!slice_equal(slice_of(written.p, written.len), slice_of(t->file.p, t->file.len)))
        fail_msg("%s: the encoder of the tests writes other bytes", t->name);
    bytes_free(&written);
    ++*n;
}

static void the_encoder_of_the_tests_writes_the_references_bytes(void **state)
{
    (void)state;
    size_t n = 0;
    treetest_for_each("edge", check_writer, &n);
    assert_int_equal(n, 64);
}

static uint64_t random_state;

static unsigned random_below(unsigned n)
{
    random_state = random_state * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (unsigned)(random_state >> 33) % n;
}

/* Keys of few letters give deep forks and prefixes of one another; keys of 256 give wide nodes. */
static void add_random_keys(struct oracle *oracle, unsigned n_keys, unsigned n_letters,
                            unsigned max_len)
{
    for (unsigned i = 0; i < n_keys; i++) {
        uint8_t key[64];
        size_t len = random_below(max_len + 1);
        for (size_t b = 0; b < len; b++)
            key[b] = (uint8_t)(random_below(n_letters) * 255 / n_letters);
        oracle_add(oracle, key, len, UINT64_MAX >> random_below(64));
    }
    oracle_sort(oracle);
}

static void random_trees_hold_what_they_should(void **state)
{
    (void)state;
    static const unsigned letters[] = {1, 2, 3, 16, 31, 32, 33, 64, 255, 256};
    static const unsigned sizes[] = {1, 2, 5, 30, 300};
    random_state = 20;
    for (unsigned round = 0; round < 400; round++) {
        struct treetest t;
        struct oracle oracle;
        oracle_init(&oracle);
        add_random_keys(&oracle, sizes[round % 5], letters[round / 5 % 10],
                        1 + random_below(round % 3 ? 6 : 60));
        enum treewriter_root root = round % 2 ? TREEWRITER_BRANCH_ROOT : TREEWRITER_LINE_ROOT;
        treetest_open_bytes(&t, treewriter_write(&oracle, root), "random tree");
        t.oracle = oracle;
        treetest_check_all(&t, 1);
        treetest_close(&t);
    }
}

/* n children, on the root and one byte below it, with leaves and with lines. */
static void check_width(unsigned n, bool is_nested, bool has_tails)
{
    struct treetest t;
    struct oracle oracle;
    oracle_init(&oracle);
    for (unsigned i = 0; i < n; i++) {
        uint8_t byte = (uint8_t)(n == 256 ? i : 255 - i);
        const uint8_t key[] = {byte, 't', 'a', 'i', 'l'};
        const uint8_t nested[] = {'n', byte, 't', 'a', 'i', 'l'};
        size_t len = has_tails ? 5 : 1;
        if (is_nested)
            oracle_add(&oracle, nested, len + 1, i);
        else
            oracle_add(&oracle, key, len, i);
    }
    oracle_sort(&oracle);
    treetest_open_bytes(&t, treewriter_write(&oracle, TREEWRITER_BRANCH_ROOT), "wide tree");
    t.oracle = oracle;
    treetest_check_all(&t, 1);
    treetest_close(&t);
}

static void branches_of_every_width_hold_what_they_should(void **state)
{
    (void)state;
    static const unsigned widths[] = {1, 2, 3, 8, 16, 30, 31, 32, 33, 63, 64, 65, 128, 255, 256};
    for (size_t i = 0; i < N_ELEMENTS(widths); i++)
        for (unsigned form = 0; form < 4; form++)
            check_width(widths[i], form & 1, form & 2);
}

static void a_key_of_no_bytes_may_be_null(void **state)
{
    (void)state;
    struct treetest t;
    uint64_t value = 0;
    treetest_open(&t, "edge/emptykey.stream.act", "edge/emptykey.tsv");
    assert_int_equal(act_get(t.tree, NULL, 0, &value, NULL), 0);
    assert_true(value == t.oracle.entries[0].value);
    assert_int_equal(act_get(t.tree, "", 0, NULL, NULL), 0);
    treetest_close(&t);
}

static void what_misses_leaves_its_results_untouched(void **state)
{
    (void)state;
    struct treetest t;
    uint64_t value = 77;
    struct act_node node = {.value = 78};
    struct act_fault fault = {.offset = 79};
    treetest_open(&t, "doc/a.act", "doc/a.tsv");
    assert_int_equal(act_get(t.tree, "ba", 2, &value, &fault), ACT_MISS);
    assert_int_equal(act_node(t.tree, "bat", 3, &node, &fault), ACT_MISS);
    assert_true(value == 77 && node.value == 78 && fault.offset == 79);
    treetest_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(edge_trees_hold_what_they_should),
        cmocka_unit_test(the_trees_of_the_specification_hold_what_they_should),
        cmocka_unit_test(shakespeares_words_are_all_found),
        cmocka_unit_test(all_cities_are_found),
        cmocka_unit_test(the_encoder_of_the_tests_writes_the_references_bytes),
        cmocka_unit_test(random_trees_hold_what_they_should),
        cmocka_unit_test(branches_of_every_width_hold_what_they_should),
        cmocka_unit_test(a_key_of_no_bytes_may_be_null),
        cmocka_unit_test(what_misses_leaves_its_results_untouched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
