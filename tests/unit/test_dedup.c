/*
 * dedup: what is known stands where it says; with too little memory something is forgotten, and
 * nothing is ever taken for something else.
 */
#include "randomkeys.h"
#include "unit.h"

#include "tree/dedup.h"

#include <errno.h>
#include <stdlib.h>

#define LEAST_BYTES ((uint64_t)65536)

struct text {
    uint8_t bytes[20];
    size_t len;
};

static struct text text_of(uint32_t i)
{
    struct text text = {.len = i == 0 ? 0 : 3 + i % 17};
    for (size_t b = 0; b < text.len; b++)
        text.bytes[b] = (uint8_t)(i >> (8 * (b % 3)));
    return text;
}

/* Where string number i stands: another place for either kind. */
static uint64_t offset_of(uint32_t i, unsigned kind)
{
    return UINT64_C(1) << 47 | (2 * (uint64_t)i + kind);
}

/* 0: known and right, or DEDUP_NEW. */
static int add(struct dedup *dedup, uint32_t i, unsigned kind)
{
    struct text text = text_of(i);
    uint64_t offset = 0;
    enum dedup_kind kinds[] = {DEDUP_LINE_DATA, DEDUP_BYTE_VALUE};
    int r = dedup_add(dedup, kinds[kind], slice_of(text.bytes, text.len), offset_of(i, kind),
                      UINT64_MAX, &offset);
    assert_true(r == 0 || r == DEDUP_NEW);
    assert_int_equal(offset, r == 0 ? offset_of(i, kind) : 0);
    return r;
}

static void what_was_added_is_known(void **state)
{
    (void)state;
    static const uint32_t sizes[] = {0, 1, 3071, 3072, 3073, 100000};
    for (size_t s = 0; s < N_ELEMENTS(sizes); s++) {
        struct dedup dedup;
        dedup_init(&dedup, UINT64_MAX);
        for (unsigned kind = 0; kind < 2; kind++)
            for (uint32_t i = 0; i < sizes[s]; i++)
                assert_int_equal(add(&dedup, i, kind), DEDUP_NEW);
        for (unsigned kind = 0; kind < 2; kind++)
            for (uint32_t i = 0; i < sizes[s]; i++)
                assert_int_equal(add(&dedup, i, kind), 0);
        assert_int_equal(dedup.n_used, 2 * sizes[s]);
        assert_false(dedup.is_full);
        dedup_deinit(&dedup);
    }
}

static void a_full_table_forgets_but_does_not_err(void **state)
{
    (void)state;
    const uint64_t limits[] = {LEAST_BYTES, LEAST_BYTES * 2, LEAST_BYTES * 3, LEAST_BYTES * 50};
    for (size_t l = 0; l < N_ELEMENTS(limits); l++) {
        struct dedup dedup;
        struct random random = {.state = l};
        uint32_t n_known = 0, n_lost = 0;
        dedup_init(&dedup, limits[l]);
        for (uint32_t i = 0; i < 300000; i++) {
            uint32_t n = random_below(&random, 300000);
            n_known += add(&dedup, n, 0) == 0;
            n_lost += add(&dedup, n, 0) == DEDUP_NEW;
        }
        /* What came last is known; but for one that stood far from its place as it got full. */
        assert_in_range(n_lost, 0, 1);
        assert_true(dedup.is_full);
        assert_in_range(dedup.n_used, dedup.n_slots / 4 * 3, dedup.n_slots);
        /* While it grew from half of that both were there. */
        assert_in_range(dedup.n_slots * sizeof *dedup.slots * 3 / 2, LEAST_BYTES,
                        limits[l] < LEAST_BYTES * 3 ? LEAST_BYTES * 3 / 2 : limits[l]);
        /* It knows a share of what comes, as large as the table is. */
        assert_true(n_known > dedup.n_slots / 4);
        dedup_deinit(&dedup);
    }
}

/* A string that comes again and again among others is not forgotten for long. */
static void what_is_common_is_mostly_known(void **state)
{
    (void)state;
    struct dedup dedup;
    uint32_t n_written = 0;
    dedup_init(&dedup, LEAST_BYTES);
    for (uint32_t i = 0; i < 200000; i++) {
        n_written += i % 2 == 0 && add(&dedup, i / 2 % 100, 0) == DEDUP_NEW;
        if (i % 2 == 1)
            add(&dedup, 1000 + i, 0);
    }
    assert_true(dedup.is_full);
    assert_in_range(n_written, 100, 10000); /* of 100,000 */
    dedup_deinit(&dedup);
}

static void the_seed_is_another_one_each_time(void **state)
{
    (void)state;
    struct dedup a, b;
    dedup_init(&a, UINT64_MAX);
    dedup_init(&b, UINT64_MAX);
    assert_true(a.seed != b.seed);
    dedup_deinit(&a);
    dedup_deinit(&b);
}

static void too_little_memory_is_told(void **state)
{
    (void)state;
    struct dedup dedup;
    uint64_t offset;
    dedup_init(&dedup, LEAST_BYTES - 1);
    assert_int_equal(dedup_add(&dedup, DEDUP_LINE_DATA, slice_of("a", 1), 16, UINT64_MAX, &offset),
                     -ENOMEM);
    dedup_deinit(&dedup);
    dedup_deinit(&dedup);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_added_is_known),
        cmocka_unit_test(a_full_table_forgets_but_does_not_err),
        cmocka_unit_test(what_is_common_is_mostly_known),
        cmocka_unit_test(the_seed_is_another_one_each_time),
        cmocka_unit_test(too_little_memory_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
