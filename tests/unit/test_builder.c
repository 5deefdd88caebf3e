/*
 * builder: what is built from any entries in any order holds exactly these, by every way of reading
 * it; plain files equal those of an independent encoder byte for byte.
 */
#include "buildertest.h"
#include "randomkeys.h"
#include "treetest.h"
#include "unit.h"

#include <err.h>
#include <stdlib.h>

static const unsigned table_mins[] = {2, 3, 16, 31, 32, 33, 64, 256};

/* In each order: plain, with numbers and with byte strings; the files of all orders are equal. */
static void check_orders(const struct oracle *oracle, unsigned table_min, size_t step)
{
    const struct act_builder_options forms[] = {
        {.is_plain = true},
        {.table_min_children = table_min, .created_s = 1234567890123},
        {.values = ACT_VALUES_BYTES, .table_min_children = table_min},
    };
    for (size_t f = 0; f < N_ELEMENTS(forms); f++) {
        struct act_builder_summary summary;
        struct bytes first = build_file(oracle, BUILD_SORTED, &forms[f], &summary);
        build_check(&first, oracle, &forms[f], &summary, step);
        for (enum build_order order = BUILD_SORTED; order < BUILD_ORDERS; order++) {
            struct bytes file = build_file(oracle, order, &forms[f], &summary);
            assert_int_equal(file.len, first.len);
            assert_memory_equal(file.p, first.p, first.len);
            bytes_free(&file);
        }
        bytes_free(&first);
    }
}

static void random_sets_are_built(void **state)
{
    (void)state;
    static const unsigned sizes[] = {0, 1, 2, 5, 30, 300};
    struct random random = {.state = 7};
    for (unsigned round = 0; round < 96; round++) {
        struct oracle oracle;
        oracle_init(&oracle);
        random_keys_add(&random, round % RANDOM_KINDS, sizes[round / 4 % N_ELEMENTS(sizes)],
                        &oracle);
        check_orders(&oracle, table_mins[round % N_ELEMENTS(table_mins)], 3);
        oracle_deinit(&oracle);
    }
}

/* n children on the root and one byte below it, with leaves and with lines. */
static void add_wide(struct oracle *oracle, unsigned n, bool is_nested, bool has_tails)
{
    for (unsigned i = 0; i < n; i++) {
        const uint8_t key[] = {'n', (uint8_t)(n == 256 ? i : 255 - i), 't', 'a', 'i', 'l'};
        size_t len = (is_nested ? 2U : 1) + (has_tails ? 1 + i % 4 : 0);
        oracle_add(oracle, is_nested ? key : key + 1, len, i % 3 ? i : UINT64_MAX - i);
    }
}

static void branches_of_every_width_get_their_tables(void **state)
{
    (void)state;
    static const unsigned widths[] = {1, 2, 3, 15, 16, 17, 31, 32, 33, 63, 64, 65, 255, 256};
    for (size_t w = 0; w < N_ELEMENTS(widths); w++)
        for (unsigned form = 0; form < 4; form++)
            for (size_t m = 0; m < N_ELEMENTS(table_mins); m++) {
                const struct act_builder_options options = {.table_min_children = table_mins[m]};
                struct act_builder_summary summary;
                struct oracle oracle;
                oracle_init(&oracle);
                add_wide(&oracle, widths[w], form & 1, form & 2);
                oracle_sort(&oracle);
                struct bytes file = build_file(&oracle, form % BUILD_ORDERS, &options, &summary);
                bool has_table = widths[w] >= table_mins[m];
                assert_int_equal(summary.n_tables, has_table);
                assert_int_equal(summary.table_bytes, has_table ? 2 * (widths[w] - 1) : 0);
                build_check(&file, &oracle, &options, &summary, 4);
                bytes_free(&file);
                oracle_deinit(&oracle);
            }
}

static void values_at_every_border_are_built(void **state)
{
    (void)state;
    struct oracle oracle;
    oracle_init(&oracle);
    for (unsigned i = 0; i <= 64; i++)
        for (int d = -2; d <= 2; d++) {
            uint64_t value = (i < 64 ? UINT64_C(1) << i : 0) + (uint64_t)(int64_t)d;
            const uint8_t key[] = {(uint8_t)(i / 16), (uint8_t)i, (uint8_t)(d + 2), 'x'};
            oracle_add(&oracle, key, d == 0 ? 4 : 3, value);
        }
    for (unsigned value = 240; value < 264; value++)
        oracle_add(&oracle, &(uint8_t){(uint8_t)value}, 1, value);
    oracle_add(&oracle, "", 0, 247);
    oracle_sort(&oracle);
    check_orders(&oracle, 2, 5);
    oracle_deinit(&oracle);
}

static void few_and_odd_keys_are_built(void **state)
{
    (void)state;
    static const struct {
        const char *keys[6];
    } sets[] = {
        {{NULL}},
        {{""}},
        {{"a"}},
        {{"hello"}},
        {{"", "a"}},
        {{"", "hello"}},
        {{"a", "ab", "abc", "abcd"}},
        {{"abcd", "abce", "ab", "x"}},
        {{"", "aaaa", "aaaaaaaa", "aaaabaaa"}},
        {{"bar", "barrel", "dog", "elog", "fog"}},
        {{"aog", "bog", "cog", "log", "x", "og"}},
    };
    for (size_t s = 0; s < N_ELEMENTS(sets); s++) {
        struct oracle oracle;
        oracle_init(&oracle);
        for (size_t i = 0; i < 6 && sets[s].keys[i]; i++)
            oracle_add(&oracle, sets[s].keys[i], strlen(sets[s].keys[i]), 1000 * i);
        oracle_sort(&oracle);
        check_orders(&oracle, 2, 1);
        oracle_deinit(&oracle);
    }
}

static void build_again(struct treetest *t, void *context)
{
    (void)context;
    struct act_builder_summary summary;
    const struct act_builder_options plain = {.is_plain = true};
    if (!strstr(t->name, ".stream.act"))
        return;
    struct bytes file = build_file(&t->oracle, BUILD_SORTED, &plain, &summary);
    if (file.len != t->file.len || memcmp(file.p, t->file.p, file.len) != 0)
        fail_msg("%s is built otherwise", t->name);
    bytes_free(&file);
    build_and_check(&t->oracle, BUILD_SHUFFLED, NULL, 10);
}

static void the_files_of_the_stream_writer_are_built_byte_for_byte(void **state)
{
    (void)state;
    treetest_for_each("edge", build_again, NULL);
}

static void large_sets_are_built(void **state)
{
    (void)state;
    static const char *const names[][2] = {{"shakespeare.act", "shakespeare.tsv.gz"},
                                           {"cities.act", "cities.tsv.gz"}};
    for (size_t i = 0; i < N_ELEMENTS(names); i++) {
        struct treetest t;
        treetest_open(&t, names[i][0], names[i][1]);
        const struct act_builder_options plain = {.is_plain = true};
        if (i == 0)
            build_and_check(&t.oracle, BUILD_LATE, &plain, 1000);
        build_and_check(&t.oracle, BUILD_SHUFFLED, NULL, 1000);
        treetest_close(&t);
    }
}

/* Builds it without a wish for tables: from how many children on they came, and what the file takes
 * compared with a plain one. */
static unsigned tables_chosen(const struct oracle *oracle, double *ret_size)
{
    struct act *tree;
    struct act_info info;
    const struct act_builder_options plain_options = {.is_plain = true};
    struct bytes plain = build_file(oracle, BUILD_SORTED, &plain_options, NULL);
    struct bytes file = build_file(oracle, BUILD_SORTED, NULL, NULL);
    assert_int_equal(act_open_memory(file.p, file.len, "built", &tree, NULL), 0);
    act_info(tree, &info);
    act_close(tree);
    *ret_size = (double)file.len / (double)plain.len;
    bytes_free(&plain);
    bytes_free(&file);
    return info.metadata.table_min_children;
}

/* The file is the same in whatever order the entries came, also where a part was built twice. */
static void tables_come_where_they_cost_little(void **state)
{
    (void)state;
    double size;
    struct treetest t;
    treetest_open(&t, "cities.act", "cities.tsv.gz");
    check_orders(&t.oracle, 0, 1000);
    assert_in_range(tables_chosen(&t.oracle, &size), 4, 8);
    assert_true(size < 1.15);
    treetest_close(&t);
}

/* Each branch has n leaves of little more than a header: tables would add a sixth. */
static void tables_stay_away_where_they_cost_much(void **state)
{
    (void)state;
    static const unsigned widths[] = {10, 24, 60};
    for (size_t w = 0; w < N_ELEMENTS(widths); w++) {
        double size;
        struct oracle oracle;
        oracle_init(&oracle);
        for (unsigned i = 0; i < 150000 / widths[w]; i++)
            for (unsigned j = 0; j < widths[w]; j++) {
                const uint8_t key[] = {(uint8_t)(i >> 8), (uint8_t)i, (uint8_t)(4 * j)};
                oracle_add(&oracle, key, sizeof key, 1000 + i);
            }
        assert_in_range(tables_chosen(&oracle, &size), widths[w] + 1, 256);
        assert_true(size < 1.15);
        oracle_deinit(&oracle);
    }
}

/* The first MiB has hardly a branch, and says nothing of the narrow ones behind it. */
static void tables_are_not_chosen_by_a_few(void **state)
{
    (void)state;
    double size;
    struct oracle oracle;
    struct random random = {.state = 3};
    oracle_init(&oracle);
    for (unsigned i = 0; i < 20000; i++) {
        uint8_t key[64] = {0, (uint8_t)(i >> 8), (uint8_t)i};
        for (size_t k = 3; k < sizeof key; k++)
            key[k] = (uint8_t)random_below(&random, 256);
        oracle_add(&oracle, key, sizeof key, i);
    }
    for (unsigned i = 0; i < 180000; i++) {
        const uint8_t key[] = {1, (uint8_t)(i / 6 >> 8), (uint8_t)(i / 6), (uint8_t)(i % 6)};
        oracle_add(&oracle, key, sizeof key, i % 6);
    }
    assert_in_range(tables_chosen(&oracle, &size), 16, 256);
    assert_true(size < 1.15);
    oracle_deinit(&oracle);
}

/* Keys of 70,000 bytes that share much, and one as long as is allowed. */
static void long_keys_are_built(void **state)
{
    (void)state;
    struct oracle oracle;
    uint8_t *key = malloc(ACT_MAX_KEY_BYTES + 1);
    if (!key)
        err(2, "malloc");
    memset(key, 'x', ACT_MAX_KEY_BYTES + 1);
    oracle_init(&oracle);
    for (unsigned i = 0; i < 8; i++) {
        key[70000 - (1 << (2 * i))] = 'y';
        oracle_add(&oracle, key, 70000 - (i % 2), i);
    }
    oracle_add(&oracle, key, ACT_MAX_KEY_BYTES, 8);
    oracle_sort(&oracle);
    check_orders(&oracle, 16, 4);
    struct act_builder *builder;
    int fd = build_memfd();
    assert_int_equal(act_builder_new_fd(fd, "memory", NULL, &builder, NULL), 0);
    assert_int_equal(act_builder_add(builder, key, ACT_MAX_KEY_BYTES + 1, 0, 1), ACT_TOO_LONG);
    assert_non_null(strstr(act_builder_error(builder), "memory: a key of 1048577 bytes"));
    act_builder_free(builder);
    bytes_free(&(struct bytes){.p = build_take(fd).p});
    oracle_deinit(&oracle);
    free(key);
}

/* With a limit of its own a key may be longer than a reader's default. */
static void the_longest_key_is_an_option(void **state)
{
    (void)state;
    struct act_builder *builder;
    const struct act_builder_options small = {.max_key_bytes = 3};
    int fd = build_memfd();
    assert_int_equal(act_builder_new_fd(fd, "memory", &small, &builder, NULL), 0);
    assert_int_equal(act_builder_add(builder, "abc", 3, 0, 1), 0);
    assert_int_equal(act_builder_add(builder, "abcd", 4, 0, 2), ACT_TOO_LONG);
    assert_int_equal(act_builder_add(builder, "b", 1, 0, 3), ACT_BUILDER_BROKEN);
    assert_int_equal(act_builder_finish(builder, NULL), ACT_BUILDER_BROKEN);
    act_builder_free(builder);
    bytes_free(&(struct bytes){.p = build_take(fd).p});

    static const size_t limits[] = {(size_t)2 << 20, SIZE_MAX};
    uint8_t *key = calloc(1, (size_t)2 << 20);
    for (size_t i = 0; i < N_ELEMENTS(limits); i++) {
        const struct act_builder_options large = {.max_key_bytes = limits[i]};
        struct act_builder_summary summary;
        fd = build_memfd();
        assert_int_equal(act_builder_new_fd(fd, "memory", &large, &builder, NULL), 0);
        assert_int_equal(act_builder_add(builder, key, (size_t)2 << 20, 5, 1), 0);
        /* Out of order: what is there is walked back. */
        assert_int_equal(act_builder_add(builder, "", 0, 6, 2), 0);
        if (act_builder_finish(builder, &summary) != 0)
            fail_msg("%s", act_builder_error(builder));
        assert_int_equal(summary.longest_key_bytes, 2 << 20);
        assert_int_equal(summary.n_keys, 2);
        act_builder_free(builder);
        bytes_free(&(struct bytes){.p = build_take(fd).p});
    }
    free(key);
}

static void branches_deep_below_each_other_are_built(void **state)
{
    (void)state;
    struct oracle oracle;
    uint8_t key[1200];
    memset(key, 'm', sizeof key);
    oracle_init(&oracle);
    for (size_t len = 0; len < sizeof key; len += 1 + len % 3) {
        oracle_add(&oracle, key, len, len);
        key[len] = 'a';
        oracle_add(&oracle, key, len + 1 + len % 2, 2 * len);
        key[len] = 'z';
        oracle_add(&oracle, key, len + 1, 3 * len);
        key[len] = 'm';
    }
    oracle_sort(&oracle);
    check_orders(&oracle, 3, 500);
    oracle_deinit(&oracle);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(few_and_odd_keys_are_built),
        cmocka_unit_test(random_sets_are_built),
        cmocka_unit_test(branches_of_every_width_get_their_tables),
        cmocka_unit_test(values_at_every_border_are_built),
        cmocka_unit_test(the_files_of_the_stream_writer_are_built_byte_for_byte),
        cmocka_unit_test(large_sets_are_built),
        cmocka_unit_test(tables_come_where_they_cost_little),
        cmocka_unit_test(tables_stay_away_where_they_cost_much),
        cmocka_unit_test(tables_are_not_chosen_by_a_few),
        cmocka_unit_test(long_keys_are_built),
        cmocka_unit_test(the_longest_key_is_an_option),
        cmocka_unit_test(branches_deep_below_each_other_are_built),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
