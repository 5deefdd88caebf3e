/*
 * sorter: what goes in comes out in order, equal keys as they came, whatever fits into memory.
 */
#include "bytes.h"
#include "oracle.h"
#include "randomkeys.h"
#include "unit.h"

#include "tree/sorter.h"

#include <err.h>
#include <stdlib.h>
#include <sys/stat.h>

/* The least that the sorter takes; three quarters of it hold entries. */
#define MEMORY_BYTES ((uint64_t)1400 << 10)

struct item {
    uint8_t key[40];
    uint32_t key_len, bytes_len;
};

/* What entry number i is: keys repeat, and many agree in their first 8 bytes. */
static struct item item_of(uint32_t i, uint32_t n_keys, uint32_t bytes_max)
{
    struct item item = {0};
    struct random random = {.state = i};
    uint32_t k = random_below(&random, n_keys);
    random.state = k;
    item.key_len = random_below(&random, sizeof item.key + 1);
    for (uint32_t b = 0; b < item.key_len; b++)
        item.key[b] = (uint8_t)(b < 9 ? random_below(&random, 2) : random_below(&random, 256));
    item.bytes_len = bytes_max > 0 ? (uint32_t)(i * UINT64_C(2654435761) % bytes_max) : 0;
    return item;
}

static const uint8_t *filler(size_t len)
{
    static uint8_t bytes[1 << 20]; /* the same everywhere */
    if (bytes[1] == 0)
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (uint8_t)(i * i >> 9 | 1);
    assert_in_range(len, 0, sizeof bytes);
    return bytes;
}

static void add_all(struct sorter *sorter, uint32_t n, uint32_t n_keys, uint32_t bytes_max)
{
    for (uint32_t i = 0; i < n; i++) {
        struct item item = item_of(i, n_keys, bytes_max);
        const struct sorter_entry entry = {
            .key = slice_of(item.key, item.key_len),
            .bytes = slice_of(filler(item.bytes_len), item.bytes_len),
            .value = UINT64_MAX - i,
            .line = i,
        };
        assert_int_equal(sorter_add(sorter, &entry), 0);
    }
}

/* In order, of equal keys the earlier one first; each one as it went in. */
static void check_all(struct sorter *sorter, uint32_t n, uint32_t n_keys, uint32_t bytes_max)
{
    struct sorter_entry entry;
    uint8_t last[sizeof(struct item)];
    size_t last_len = 0;
    uint64_t last_line = 0;
    for (uint32_t i = 0; i < n; i++) {
        assert_int_equal(sorter_next(sorter, &entry), 0);
        struct item item = item_of((uint32_t)entry.line, n_keys, bytes_max);
        assert_true(slice_equal(entry.key, slice_of(item.key, item.key_len)));
        assert_true(slice_equal(entry.bytes, slice_of(filler(item.bytes_len), item.bytes_len)));
        assert_int_equal(entry.value, UINT64_MAX - entry.line);
        int order = i == 0 ? -1 : oracle_compare(slice_of(last, last_len), entry.key);
        assert_true(order < 0 || (order == 0 && last_line < entry.line));
        if (entry.key.len > 0)
            memcpy(last, entry.key.p, entry.key.len);
        last_len = entry.key.len;
        last_line = entry.line;
    }
    assert_int_equal(sorter_next(sorter, &entry), SORTER_END);
    assert_int_equal(sorter_next(sorter, &entry), SORTER_END);
}

/* How many runs that took, in all. */
static uint64_t sort(uint32_t n, uint32_t n_keys, uint32_t bytes_max, uint64_t memory_bytes)
{
    struct sorter sorter;
    assert_int_equal(sorter_init(&sorter, MEMORY_BYTES, -1, "/tmp"), 0);
    add_all(&sorter, n, n_keys, bytes_max);
    assert_int_equal(sorter.n_entries, n);
    assert_int_equal(sorter_sort(&sorter, memory_bytes), 0);
    check_all(&sorter, n, n_keys, bytes_max);
    uint64_t n_runs = sorter.n_spilled_runs;
    assert_int_equal(sorter.spilled_bytes > 0, n_runs > 0);
    sorter_deinit(&sorter);
    return n_runs;
}

static void what_fits_is_sorted_in_memory(void **state)
{
    (void)state;
    static const uint32_t sizes[] = {0, 1, 2, 3, 100, 5000};
    for (size_t i = 0; i < N_ELEMENTS(sizes); i++)
        for (uint32_t n_keys = 1; n_keys <= 10000; n_keys *= 100)
            assert_int_equal(sort(sizes[i], n_keys, i % 2 ? 10 : 0, MEMORY_BYTES), 0);
}

static void what_does_not_fit_is_sorted_in_runs(void **state)
{
    (void)state;
    /* Something held is more than may be used from then on. */
    assert_int_equal(sort(2000, 1000, 0, 4096), 1);
    assert_in_range(sort(30000, 1000, 0, MEMORY_BYTES / 4), 2, 7);
    assert_in_range(sort(30000, 1000000, 100, MEMORY_BYTES / 4), 3, 20);
    assert_in_range(sort(5, 1, 0, 0), 1, 1);
}

/* More runs than are read at once: they are merged into fewer, and these again. */
static void many_runs_are_merged(void **state)
{
    (void)state;
    assert_in_range(sort(200000, 50000, 20, MEMORY_BYTES / 4), 12, 40);
    assert_in_range(sort(2000, 50, 170000, MEMORY_BYTES / 4), 100, 600);
}

static void an_entry_that_does_not_fit_is_told(void **state)
{
    (void)state;
    struct sorter sorter;
    struct sorter_entry entry = {.key = slice_of("k", 1)};
    uint8_t *bytes = calloc(1, 2 << 20);
    if (!bytes)
        err(2, "calloc");
    assert_int_equal(sorter_init(&sorter, MEMORY_BYTES, -1, "/tmp"), 0);
    size_t most = MEMORY_BYTES / 8 - 1;
    for (size_t len = most - 20; len <= most + 20; len++) {
        entry.bytes = slice_of(bytes, len);
        assert_int_equal(sorter_add(&sorter, &entry), len <= most ? 0 : SORTER_LARGE);
    }
    entry.bytes = slice_of(bytes, 3);
    entry.key = slice_of(bytes, 2 << 20);
    assert_int_equal(sorter_add(&sorter, &entry), SORTER_LARGE);
    entry.bytes = slice_of(bytes, SIZE_MAX);
    assert_int_equal(sorter_add(&sorter, &entry), SORTER_LARGE);
    entry.key = slice_of("k", 1);
    assert_int_equal(sorter_add(&sorter, &entry), SORTER_LARGE);
    sorter_deinit(&sorter);
    free(bytes);
}

/* However large the entries are that are read at once. */
static void buffers_stay_within_the_memory(void **state)
{
    (void)state;
    static const uint32_t sizes[] = {10, 100000, (1 << 20) - 40};
    for (size_t i = 0; i < N_ELEMENTS(sizes); i++) {
        const uint64_t memory_bytes = (uint64_t)8 << 20;
        struct sorter sorter;
        uint32_t n = i == 0 ? 400000 : 8 * (1 << 20) / sizes[i] * 5;
        size_t held = 0;
        assert_int_equal(sorter_init(&sorter, memory_bytes, -1, "/tmp"), 0);
        add_all(&sorter, n, 1000, sizes[i]);
        assert_int_equal(sorter_sort(&sorter, memory_bytes / 4), 0);
        assert_true(sorter.n_spilled_runs > 1);
        for (size_t run = 0; run < sorter.n_runs; run++)
            held += sorter.runs[run].size;
        assert_in_range(held, 1 << 16, memory_bytes / 4 + 4096);
        check_all(&sorter, n, 1000, sizes[i]);
        sorter_deinit(&sorter);
    }
}

static void nothing_has_a_name_meanwhile(void **state)
{
    (void)state;
    struct sorter sorter;
    struct stat st;
    assert_int_equal(sorter_init(&sorter, MEMORY_BYTES, -1, "/tmp"), 0);
    add_all(&sorter, 30000, 1000, 0);
    assert_true(sorter.fd >= 0);
    assert_int_equal(fstat(sorter.fd, &st), 0);
    assert_int_equal(st.st_nlink, 0);
    sorter_deinit(&sorter);
    assert_int_equal(sorter_init(&sorter, MEMORY_BYTES, -1, "/absent"), 0);
    struct item item = item_of(0, 1, 0);
    const struct sorter_entry entry = {.key = slice_of(item.key, item.key_len)};
    int r = 0;
    for (uint32_t i = 0; i < 100000 && r == 0; i++)
        r = sorter_add(&sorter, &entry);
    assert_true(r < 0);
    sorter_deinit(&sorter);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_fits_is_sorted_in_memory),
        cmocka_unit_test(what_does_not_fit_is_sorted_in_runs),
        cmocka_unit_test(many_runs_are_merged),
        cmocka_unit_test(an_entry_that_does_not_fit_is_told),
        cmocka_unit_test(buffers_stay_within_the_memory),
        cmocka_unit_test(nothing_has_a_name_meanwhile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
