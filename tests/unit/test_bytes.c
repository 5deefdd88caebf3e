/*
 * act_bytes: a byte string of the tree, or corrupt, for any number and in any file.
 */
#include "buildertest.h"
#include "forge.h"
#include "unit.h"

#include <stdlib.h>

#define ARENA (FORGE_META + FORGE_META_BYTES)

static struct act *open_bytes(const struct bytes *file)
{
    struct act *tree;
    struct act_error error;
    if (act_open_memory(file->p, file->len, "file", &tree, &error) != 0)
        fail_msg("%s", error.message);
    return tree;
}

static struct bytes make_file(enum act_values values)
{
    const struct act_builder_options options = {.values = values};
    struct oracle oracle;
    oracle_init(&oracle);
    for (uint8_t i = 0; i < 40; i++)
        oracle_add(&oracle, (uint8_t[]){i, i, i}, 1 + i % 3, i);
    oracle_sort(&oracle);
    struct bytes file = build_file(&oracle, BUILD_SORTED, &options, NULL);
    oracle_deinit(&oracle);
    return file;
}

static uint64_t sum(const uint8_t *p, size_t len)
{
    uint64_t n = 0;
    for (size_t i = 0; i < len; i++)
        n += p[i];
    return n;
}

/* What comes of a number in a file of that E: the specification, once more. */
static void check_number(const struct bytes *file, const struct act *tree, uint64_t value,
                         uint64_t end)
{
    const uint8_t *p = NULL;
    size_t len = 77;
    struct act_fault fault = {0};
    int r = act_bytes(tree, value, &p, &len, &fault);
    bool is_right = value >= ARENA && value < end;
    uint64_t begin = value + 1, wanted = is_right ? file->p[value] : 0;
    if (is_right && wanted >= 248) {
        unsigned n = (unsigned)wanted - 247;
        is_right = n < end - value;
        wanted = is_right ? forge_number(file, value + 1, n) : 0;
        begin += n;
    }
    is_right = is_right && begin <= end && wanted <= end - begin;
    assert_int_equal(r, is_right ? 0 : ACT_CORRUPT);
    assert_int_equal(act_bytes(tree, value, &p, &len, NULL), r);
    if (r == 0) {
        assert_ptr_equal(p, file->p + begin);
        assert_int_equal(len, wanted);
        assert_true(sum(p, len) <= 255 * len);
        return;
    }
    assert_null(p);
    assert_int_equal(len, 77);
    assert_non_null(fault.reason);
    assert_int_equal(fault.offset, value);
}

static void check_numbers(const struct bytes *file)
{
    static const uint64_t others[] = {UINT32_MAX, INT64_MAX, UINT64_MAX - 1, UINT64_MAX};
    struct act *tree = open_bytes(file);
    uint64_t end = forge_number(file, FORGE_OBJECTS_END, 8);
    for (uint64_t value = 0; value < file->len + 20; value++)
        check_number(file, tree, value, end);
    for (size_t i = 0; i < N_ELEMENTS(others); i++)
        check_number(file, tree, others[i], end);
    act_close(tree);
}

static void any_number_gives_a_string_of_the_tree_or_corrupt(void **state)
{
    (void)state;
    struct bytes file = make_file(ACT_VALUES_BYTES);
    check_numbers(&file);
    bytes_free(&file);
}

/* Lengths up to and past the end of the objects, in every form. */
static void a_string_ends_before_the_end_of_the_objects(void **state)
{
    (void)state;
    struct bytes file = make_file(ACT_VALUES_BYTES);
    const uint64_t end = forge_number(&file, FORGE_OBJECTS_END, 8);
    uint8_t was[16];
    for (uint64_t at = ARENA; at + 9 <= file.len; at += at + 30 < end ? 11 : 1)
        for (unsigned n = 1; n <= 8; n++) {
            const uint64_t begin = at + 1 + n;
            const uint64_t lens[] = {0,          end - begin - 1, end - begin, end - begin + 1,
                                     UINT32_MAX, UINT64_MAX - at, UINT64_MAX};
            memcpy(was, file.p + at, 9);
            for (size_t i = 0; i < N_ELEMENTS(lens); i++) {
                file.p[at] = (uint8_t)(247 + n);
                forge_put(&file, at + 1, lens[i], n);
                struct act *tree = open_bytes(&file);
                check_number(&file, tree, at, end);
                act_close(tree);
            }
            memcpy(file.p + at, was, 9);
        }
    bytes_free(&file);
}

/* E says where strings end, wherever it is put. */
static void every_end_of_the_objects_holds(void **state)
{
    (void)state;
    struct bytes file = make_file(ACT_VALUES_BYTES);
    const uint64_t root = forge_number(&file, FORGE_ROOT, 8);
    for (uint64_t end = root + 1; end <= file.len - 8; end++) {
        forge_field(&file, FORGE_OBJECTS_END, end, 8);
        check_numbers(&file);
    }
    bytes_free(&file);
}

static void numbers_are_no_strings(void **state)
{
    (void)state;
    struct bytes file = make_file(ACT_VALUES_U64);
    struct act *tree = open_bytes(&file);
    const uint8_t *p = NULL;
    size_t len = 0;
    for (uint64_t value = 0; value < file.len; value++)
        assert_int_equal(act_bytes(tree, value, &p, &len, NULL), ACT_NOT_BYTES);
    assert_null(p);
    act_close(tree);
    bytes_free(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_number_gives_a_string_of_the_tree_or_corrupt),
        cmocka_unit_test(a_string_ends_before_the_end_of_the_objects),
        cmocka_unit_test(every_end_of_the_objects_holds),
        cmocka_unit_test(numbers_are_no_strings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
