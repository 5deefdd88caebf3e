/*
 * builder: more entries than the memory holds: through temporary files, and with a map of strings
 * that has to forget.
 */
#include "buildertest.h"
#include "unit.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define KEY_BYTES 17

/* Entry number i of 2 n: the tails of i and of i + n are the same. */
static void key_of(uint32_t i, uint32_t n, uint8_t key[KEY_BYTES])
{
    uint32_t half = i % n;
    uint64_t tail = (half + 1) * UINT64_C(0x9e3779b97f4a7c15);
    memset(key, 0, KEY_BYTES);
    key[0] = (uint8_t)(i / n);
    for (unsigned b = 0; b < 4; b++)
        key[1 + b] = (uint8_t)(half >> (24 - 8 * b));
    memcpy(key + 5, &tail, 8);
}

/* Entry number j is i = j * step % 2 n, with the value i. */
static void build(uint32_t n, uint32_t step, const struct act_builder_options *options,
                  struct act **ret_tree, struct act_builder_summary *ret_summary)
{
    struct act_builder *builder;
    int fd = build_memfd();
    assert_int_equal(act_builder_new_fd(fd, "memory", options, &builder, NULL), 0);
    for (uint64_t j = 0; j < 2 * n; j++) {
        uint8_t key[KEY_BYTES];
        uint32_t i = (uint32_t)(j * step % (2 * n));
        key_of(i, n, key);
        if (act_builder_add(builder, key, KEY_BYTES, i, j + 1) != 0)
            fail_msg("%s", act_builder_error(builder));
    }
    if (act_builder_finish(builder, ret_summary) != 0)
        fail_msg("%s", act_builder_error(builder));
    act_builder_free(builder);
    assert_int_equal(act_open_fd(fd, "memory", ret_tree, NULL), 0);
    close(fd);
}

/* All of them by get, and in order by a cursor. */
static void check(const struct act *tree, uint32_t n)
{
    struct act_cursor *cursor;
    uint64_t value;
    assert_int_equal(act_cursor_new(tree, KEY_BYTES, &cursor), 0);
    int r = act_cursor_first(cursor);
    for (uint32_t i = 0; i < 2 * n; i++) {
        uint8_t key[KEY_BYTES];
        size_t len;
        key_of(i, n, key);
        assert_int_equal(r, 0);
        const uint8_t *at = act_cursor_key(cursor, &len);
        assert_int_equal(len, KEY_BYTES);
        if (memcmp(at, key, KEY_BYTES) != 0 || act_cursor_value(cursor, &value) != 0 || value != i)
            fail_msg("entry %u is another one", i);
        if (act_get(tree, key, KEY_BYTES, &value, NULL) != 0 || value != i)
            fail_msg("entry %u is not found", i);
        r = act_cursor_next(cursor);
    }
    assert_int_equal(r, ACT_MISS);
    act_cursor_free(cursor);
}

/* Lines here are shorter than 248 bytes: their length takes one. */
static uint64_t line_data_bytes(const struct act_builder_summary *summary)
{
    return summary->line_bytes + summary->n_lines;
}

static void with_too_little_memory_some_strings_stand_there_twice(void **state)
{
    (void)state;
    const uint32_t n = 250000;
    struct act_builder_options options = {.memory_bytes = ACT_BUILDER_MIN_MEMORY_BYTES};
    struct act_builder_summary small, large;
    struct act *tree;
    build(n, 1, &options, &tree, &small);
    check(tree, n);
    act_close(tree);
    options.memory_bytes = 0;
    build(n, 1, &options, &tree, &large);
    act_close(tree);
    assert_int_equal(large.repeated_bytes_max, 0);
    assert_true(line_data_bytes(&small) > line_data_bytes(&large));
    assert_true(line_data_bytes(&small) - line_data_bytes(&large) <= small.repeated_bytes_max);
    assert_true(small.repeated_bytes_max < small.size_bytes);
    assert_int_equal(small.n_keys, 2 * n);
    assert_int_equal(small.n_sorted_runs, 0);
}

static void plain_files_never_repeat_a_string(void **state)
{
    (void)state;
    const struct act_builder_options options = {
        .is_plain = true,
        .memory_bytes = ACT_BUILDER_MIN_MEMORY_BYTES,
    };
    struct act_builder_summary summary;
    struct act *tree;
    build(250000, 1, &options, &tree, &summary);
    act_close(tree);
    assert_int_equal(summary.repeated_bytes_max, 0);
    assert_in_range(summary.n_lines, 250000, 250300);
}

struct progress {
    uint64_t n_calls, last, total;
};

static void on_progress(void *context, uint64_t done, uint64_t total)
{
    struct progress *progress = context;
    assert_true(progress->n_calls == 0 || done > progress->last);
    assert_true(done <= total);
    progress->n_calls++;
    progress->last = done;
    progress->total = total;
}

static void what_does_not_fit_is_sorted_through_files(void **state)
{
    (void)state;
    const struct act_builder_options options = {.memory_bytes = ACT_BUILDER_MIN_MEMORY_BYTES};
    const uint32_t n = 150000, steps[] = {2 * n - 1, 99991, 200003};
    for (size_t s = 0; s < N_ELEMENTS(steps); s++) {
        struct act_builder_summary summary;
        struct act *tree;
        build(n, steps[s], &options, &tree, &summary);
        assert_int_equal(summary.n_keys, 2 * n);
        assert_in_range(summary.n_sorted_runs, 3, 20);
        assert_in_range(summary.spilled_bytes, 2 * n * KEY_BYTES, 3 * 2 * n * (KEY_BYTES + 40));
        check(tree, n);
        act_close(tree);
    }
}

static void the_progress_of_a_merge_is_told(void **state)
{
    (void)state;
    struct act_builder *builder;
    struct progress progress = {0};
    int fd = build_memfd();
    assert_int_equal(act_builder_new_fd(fd, "memory", NULL, &builder, NULL), 0);
    act_builder_on_progress(builder, on_progress, &progress);
    for (uint32_t i = 200000; i > 0; i--)
        assert_int_equal(
            act_builder_add(builder, (uint8_t[]){(uint8_t)(i >> 16), (uint8_t)(i >> 8), (uint8_t)i},
                            3, i, 1),
            0);
    assert_int_equal(progress.n_calls, 0);
    assert_int_equal(act_builder_finish(builder, NULL), 0);
    assert_in_range(progress.n_calls, 3, 10);
    assert_int_equal(progress.total, 200000);
    act_builder_free(builder);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(with_too_little_memory_some_strings_stand_there_twice),
        cmocka_unit_test(plain_files_never_repeat_a_string),
        cmocka_unit_test(what_does_not_fit_is_sorted_through_files),
        cmocka_unit_test(the_progress_of_a_merge_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
