/*
 * map: the one way to the bytes, and varints (section 2 of the format).
 */
#include "bytes.h"
#include "tree/map.h"
#include "unit.h"

static void only_what_lies_inside_whole_is_given(void **state)
{
    (void)state;
    struct bytes bytes = bytes_from_hex("00 01 02 03 04 05 06 07 08 09");
    struct map map = map_of(bytes.p, bytes.len);
    assert_ptr_equal(map_at(&map, 0, 0), bytes.p);
    assert_ptr_equal(map_at(&map, 0, 10), bytes.p);
    assert_ptr_equal(map_at(&map, 9, 1), bytes.p + 9);
    assert_ptr_equal(map_at(&map, 10, 0), bytes.p + 10);
    assert_null(map_at(&map, 0, 11));
    assert_null(map_at(&map, 9, 2));
    assert_null(map_at(&map, 10, 1));
    assert_null(map_at(&map, 11, 0));
    assert_null(map_at(&map, 1, UINT64_MAX));
    assert_null(map_at(&map, UINT64_MAX, 1));
    assert_null(map_at(&map, UINT64_MAX, UINT64_MAX));
    bytes_free(&bytes);
}

static const struct {
    const char *hex;
    uint64_t value;
} varints[] = {
    {"00", 0},
    {"01", 1},
    {"f7", 247},
    {"f8 f8", 248},
    {"f8 ff", 255},
    {"f9 00 01", 256},
    {"f9 ff ff", 65535},
    {"fa 00 00 01", 65536},
    {"fa ff ff ff", 0xffffff},
    {"fb 00 00 00 01", 0x1000000},
    {"fb ff ff ff ff", UINT32_MAX},
    {"fc 00 00 00 00 01", UINT64_C(1) << 32},
    {"fc ff ff ff ff ff", (UINT64_C(1) << 40) - 1},
    {"fd 00 00 00 00 00 01", UINT64_C(1) << 40},
    {"fd ff ff ff ff ff ff", (UINT64_C(1) << 48) - 1},
    {"fe 00 00 00 00 00 00 01", UINT64_C(1) << 48},
    {"fe ff ff ff ff ff ff ff", (UINT64_C(1) << 56) - 1},
    {"ff 00 00 00 00 00 00 00 01", UINT64_C(1) << 56},
    {"ff 00 00 00 00 00 00 00 80", UINT64_C(1) << 63},
    {"ff ff ff ff ff ff ff ff ff", UINT64_MAX},
    /* Longer than needed. */
    {"f8 00", 0},
    {"f8 05", 5},
    {"f9 f7 00", 247},
    {"fa ff 00 00", 255},
    {"fb 00 01 00 00", 256},
    {"ff 05 00 00 00 00 00 00 00", 5},
    {"ff 00 00 00 00 00 00 00 00", 0},
};

/* Reads the varint at offset in bytes that hold nothing behind size. */
static int read_at(struct slice bytes, uint64_t offset, uint64_t limit, uint64_t *value,
                   uint64_t *end)
{
    struct bytes exact = bytes_copy(bytes.p, bytes.len);
    struct map map = map_of(exact.p, exact.len);
    struct view view = {.map = &map};
    int r = varint_read(&view, offset, limit, value, end);
    if (r == ACT_CORRUPT)
        assert_true(view.fault.reason && view.fault.offset == offset);
    bytes_free(&exact);
    return r;
}

/* The varint with `before` bytes before it and `behind` bytes behind it. */
static struct bytes embed(const char *hex, size_t before, size_t behind)
{
    uint8_t all[64];
    struct bytes varint = bytes_from_hex(hex);
    memset(all, 0xee, sizeof all);
    memcpy(all + before, varint.p, varint.len);
    struct bytes embedded = bytes_copy(all, before + varint.len + behind);
    bytes_free(&varint);
    return embedded;
}

static void every_border_is_read_with_any_padding(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_ELEMENTS(varints); i++)
        for (size_t before = 0; before < 3; before++)
            for (size_t behind = 0; behind <= 9; behind++) {
                struct bytes b = embed(varints[i].hex, before, behind);
                uint64_t value = 77, end = 77, wanted_end = b.len - behind;
                struct slice all = slice_of(b.p, b.len);
                assert_int_equal(read_at(all, before, b.len, &value, &end), 0);
                assert_true(value == varints[i].value);
                assert_int_equal(end, wanted_end);
                assert_int_equal(read_at(all, before, wanted_end, &value, &end), 0);
                bytes_free(&b);
            }
}

static void a_varint_beyond_its_limit_is_corrupt(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_ELEMENTS(varints); i++)
        for (size_t behind = 0; behind <= 9; behind++) {
            struct bytes b = embed(varints[i].hex, 2, behind);
            uint64_t value = 77, end = 77;
            for (uint64_t limit = 0; limit < b.len - behind; limit++)
                assert_int_equal(read_at(slice_of(b.p, b.len), 2, limit, &value, &end),
                                 ACT_CORRUPT);
            assert_true(value == 77 && end == 77);
            bytes_free(&b);
        }
}

static void a_varint_cut_by_the_end_of_the_map_is_corrupt(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_ELEMENTS(varints); i++) {
        struct bytes b = embed(varints[i].hex, 0, 0);
        uint64_t value = 77, end = 77;
        for (size_t len = 0; len < b.len; len++)
            assert_int_equal(read_at(slice_of(b.p, len), 0, len, &value, &end), ACT_CORRUPT);
        assert_true(value == 77 && end == 77);
        bytes_free(&b);
    }
}

static void an_offset_outside_the_map_is_corrupt(void **state)
{
    (void)state;
    static const uint64_t offsets[] = {20, 21, 1000, UINT64_MAX - 9, UINT64_MAX - 8, UINT64_MAX};
    uint8_t zeros[20] = {0};
    uint64_t value, end;
    for (size_t i = 0; i < N_ELEMENTS(offsets); i++)
        assert_int_equal(read_at(slice_of(zeros, sizeof zeros), offsets[i], 20, &value, &end),
                         ACT_CORRUPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_lies_inside_whole_is_given),
        cmocka_unit_test(every_border_is_read_with_any_padding),
        cmocka_unit_test(a_varint_beyond_its_limit_is_corrupt),
        cmocka_unit_test(a_varint_cut_by_the_end_of_the_map_is_corrupt),
        cmocka_unit_test(an_offset_outside_the_map_is_corrupt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
