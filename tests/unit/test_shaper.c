/*
 * shaper: where a key stands to the last one, and values that are replaced. What it writes is
 * tested through the builder, byte for byte.
 */
#include "buildertest.h"
#include "unit.h"

#include "tree/shaper.h"

#include <endian.h>
#include <errno.h>

struct fixture {
    int fd;
    struct output output;
    struct dedup dedup;
    struct shaper shaper;
};

static void begin(struct fixture *f)
{
    f->fd = build_memfd();
    assert_int_equal(output_init(&f->output, f->fd), 0);
    dedup_init(&f->dedup, UINT64_MAX);
    assert_int_equal(shaper_init(&f->shaper, &f->output, &f->dedup, 0), 0);
    assert_int_equal(output_append(&f->output, "ACTree03\0\0\0\0\0\0\0", 16), 0);
}

/* The tree that was shaped. *Owned* by the caller. */
static struct bytes end(struct fixture *f)
{
    uint64_t root = 0;
    assert_int_equal(shaper_finish(&f->shaper, &root), 0);
    assert_int_equal(output_append(&f->output, "\0\0\0\0\0\0\0", 8), 0);
    assert_int_equal(output_flush(&f->output), 0);
    assert_int_equal(output_write_at(f->fd, &(uint64_t){htole64(root)}, 8, 8), 0);
    shaper_deinit(&f->shaper);
    dedup_deinit(&f->dedup);
    output_deinit(&f->output);
    return build_take(f->fd);
}

static void add(struct fixture *f, const char *key, uint64_t value)
{
    assert_int_equal(shaper_compare(&f->shaper, slice_of_str(key)), 0);
    assert_int_equal(shaper_add(&f->shaper, slice_of_str(key), value), 0);
}

static void a_key_is_compared_with_the_last_one(void **state)
{
    (void)state;
    static const struct {
        const char *last, *key;
        int outcome;
    } cases[] = {
        {"", "", SHAPER_EQUAL},
        {"", "a", 0},
        {"a", "", SHAPER_SMALLER},
        {"a", "a", SHAPER_EQUAL},
        {"a", "b", 0},
        {"b", "a", SHAPER_SMALLER},
        {"ab", "a", SHAPER_SMALLER},
        {"a", "ab", 0},
        {"\x7f", "\x80", 0},
        {"\x80", "\x7f", SHAPER_SMALLER},
        {"12345678", "12345678", SHAPER_EQUAL},
        {"12345678", "12345679", 0},
        {"12345678", "1234567", SHAPER_SMALLER},
        {"1234567890abcdef", "1234567890abcdef", SHAPER_EQUAL},
        {"1234567890abcdef", "1234567890abcdeg", 0},
        {"1234567890abcdeg", "1234567890abcdef", SHAPER_SMALLER},
        {"1234567890abcdefx", "1234567890abcdefw", SHAPER_SMALLER},
        {"x234567890abcdef", "1234567890abcdef", SHAPER_SMALLER},
    };
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        struct fixture f;
        begin(&f);
        add(&f, cases[i].last, 1);
        assert_int_equal(shaper_compare(&f.shaper, slice_of_str(cases[i].key)), cases[i].outcome);
        bytes_free(&(struct bytes){.p = end(&f).p});
    }
}

static void the_value_of_the_last_key_can_be_replaced(void **state)
{
    (void)state;
    static const char *const keys[] = {"", "a", "ab", "abcd", "abce", "b", "zzzz"};
    struct fixture f;
    struct act *tree;
    begin(&f);
    for (size_t i = 0; i < N_ELEMENTS(keys); i++) {
        add(&f, keys[i], 1000 + i);
        shaper_replace(&f.shaper, 5);
        shaper_replace(&f.shaper, UINT64_MAX - i);
        assert_int_equal(shaper_compare(&f.shaper, slice_of_str(keys[i])), SHAPER_EQUAL);
    }
    assert_int_equal(f.shaper.n_keys, N_ELEMENTS(keys));
    struct bytes file = end(&f);
    assert_int_equal(act_open_memory(file.p, file.len, "shaped", &tree, NULL), 0);
    for (size_t i = 0; i < N_ELEMENTS(keys); i++) {
        uint64_t value = 0;
        assert_int_equal(act_get(tree, keys[i], strlen(keys[i]), &value, NULL), 0);
        assert_int_equal(value, UINT64_MAX - i);
    }
    act_close(tree);
    bytes_free(&file);
}

/* What the dedup table takes for an offset has 48 bits. */
static void a_file_that_grows_too_large_is_refused(void **state)
{
    (void)state;
    struct fixture f;
    uint64_t offset;
    begin(&f);
    f.output.start = DEDUP_MAX_OFFSET;
    assert_int_equal(writer_put_bytes(&f.shaper.writer, slice_of("a", 1), &offset), -EFBIG);
    f.output.start = 0;
    bytes_free(&(struct bytes){.p = end(&f).p});
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_is_compared_with_the_last_one),
        cmocka_unit_test(the_value_of_the_last_key_can_be_replaced),
        cmocka_unit_test(a_file_that_grows_too_large_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
