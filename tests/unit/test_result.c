/*
 * result: what servers say of keys: numbers, byte strings, nil, errors; and what is no result.
 *
 * Bad results tried: other types everywhere, members missing, lists of another length, errors about
 * keys that were not asked for, pages that lead nowhere.
 */
#include "client/result.h"
#include "unit.h"

#include <stdio.h>
#include <string.h>

#define TEXT(text) (text), sizeof(text) - 1

static msgpack_zone zone;

struct packed {
    const char *bytes;
    size_t len;
};

static msgpack_object object_of(const char *bytes, size_t len)
{
    msgpack_object object;
    size_t at = 0;
    assert_int_equal(msgpack_unpack(bytes, len, &at, &zone, &object), MSGPACK_UNPACK_SUCCESS);
    assert_int_equal(at, len);
    return object;
}

#define VALUES "\xa6values"
#define ERRORS \
    "\xa6"     \
    "errors"

static void a_list_has_values_of_any_kind(void **state)
{
    (void)state;
    msgpack_object result = object_of(
        TEXT("\x82" VALUES "\x94\x07\xc0\xc4\x01z\xc0" ERRORS "\x91\x92\x03\x92\x06\xa1x"));
    struct actc_result results[4];
    bool has_bytes = false;
    assert_int_equal(result_list(&result, 4, results, &has_bytes), 0);
    assert_true(has_bytes);
    assert_true(results[0].outcome == 0 && results[0].value.number == 7);
    assert_int_equal(results[1].outcome, ACTC_MISS);
    assert_true(results[2].outcome == 0 && results[2].value.is_bytes);
    assert_int_equal(results[2].value.bytes.len, 1);
    assert_int_equal(results[3].outcome, ACTC_ERROR);
    assert_int_equal(results[3].error_number, 6);
    assert_int_equal(result_list(&result, 3, results, &has_bytes), ACTC_BAD_REPLY);
    result = object_of(TEXT("\x82" VALUES "\x91\xc0" ERRORS "\x91\x92\x00\xa4oops"));
    assert_int_equal(result_list(&result, 1, results, &has_bytes), 0);
    assert_false(has_bytes);
    assert_int_equal(results[0].outcome, ACTC_ERROR);
    assert_int_equal(results[0].error_number, 0);
}

static void what_is_no_list_is_refused(void **state)
{
    (void)state;
    static const struct packed cases[] = {
        {TEXT("\xc0")},
        {TEXT("\x91\x01")},
        {TEXT("\x81" VALUES "\x91\x01")},
        {TEXT("\x81" ERRORS "\x90")},
        {TEXT("\x82" VALUES "\x01" ERRORS "\x90")},
        {TEXT("\x82" VALUES "\x92\x01\x02" ERRORS "\x90")},
        {TEXT("\x82" VALUES "\x91\x01" ERRORS "\xc0")},
        {TEXT("\x82" VALUES "\x91\xff" ERRORS "\x90")},
        {TEXT("\x82" VALUES "\x91\xc3" ERRORS "\x90")},
        {TEXT("\x82" VALUES "\x91\xa1z" ERRORS "\x90")},
        {TEXT("\x82" VALUES "\x91\x91\x01" ERRORS "\x90")},
        {TEXT("\x82" VALUES "\x91\x01" ERRORS "\x91\x01")},
        {TEXT("\x82" VALUES "\x91\x01" ERRORS "\x91\x91\x00")},
        {TEXT("\x82" VALUES "\x91\x01" ERRORS "\x91\x92\x01\x91\x06")},
        {TEXT("\x82" VALUES "\x91\x01" ERRORS "\x91\x92\xff\x91\x06")},
    };
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        msgpack_object result = object_of(cases[i].bytes, cases[i].len);
        struct actc_result results[1];
        bool has_bytes;
        assert_int_equal(result_list(&result, 1, results, &has_bytes), ACTC_BAD_REPLY);
    }
}

#define EXISTS \
    "\xa6"     \
    "exists"
#define VALUE "\xa5value"
#define CHILDREN \
    "\xa8"       \
    "children"

static void a_node_has_a_value_of_any_kind(void **state)
{
    (void)state;
    msgpack_object result =
        object_of(TEXT("\x83" EXISTS "\xc3" VALUE "\xc4\x01z" CHILDREN "\xc4\x02\x00\xff"));
    struct actc_node node;
    assert_int_equal(result_node(&result, &node), 0);
    assert_true(node.has_value && node.value.is_bytes);
    assert_int_equal(node.children[0], 1);
    assert_true(node.children[3] == (uint64_t)1 << 63);
    result = object_of(TEXT("\x83" EXISTS "\xc3" VALUE "\xc0" CHILDREN "\xc4\x00"));
    assert_int_equal(result_node(&result, &node), 0);
    assert_false(node.has_value);
    result = object_of(TEXT("\x81" EXISTS "\xc2"));
    assert_int_equal(result_node(&result, &node), ACTC_MISS);
}

static void what_is_no_node_is_refused(void **state)
{
    (void)state;
    static const struct packed cases[] = {
        {TEXT("\xc0")},
        {TEXT("\x80")},
        {TEXT("\x81" EXISTS "\x01")},
        {TEXT("\x81" EXISTS "\xc3")},
        {TEXT("\x82" EXISTS "\xc3" VALUE "\x01")},
        {TEXT("\x82" EXISTS "\xc3" CHILDREN "\xc4\x00")},
        {TEXT("\x83" EXISTS "\xc3" VALUE "\xff" CHILDREN "\xc4\x00")},
        {TEXT("\x83" EXISTS "\xc3" VALUE "\x01" CHILDREN "\x90")},
    };
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        msgpack_object result = object_of(cases[i].bytes, cases[i].len);
        struct actc_node node;
        assert_int_equal(result_node(&result, &node), ACTC_BAD_REPLY);
    }
}

static void an_entry_is_a_key_and_a_value(void **state)
{
    (void)state;
    static const struct packed bad[] = {
        {TEXT("\x01")},         {TEXT("\xc4\x01z")},         {TEXT("\x90")},
        {TEXT("\x91\xc0")},     {TEXT("\x92\xc4\x01z\xc0")}, {TEXT("\x92\xa1z\x01")},
        {TEXT("\x92\xc0\x01")}, {TEXT("\x92\xc4\x01z\xff")}, {TEXT("\x93\xc4\x01z\x01\x01")},
    };
    struct actc_entry entry;
    msgpack_object object = object_of(TEXT("\x92\xc4\x01z\xcf\xff\xff\xff\xff\xff\xff\xff\xff"));
    assert_int_equal(actc_read_entry(&object, &entry), 0);
    assert_true(entry.key.len == 1 && entry.value.number == UINT64_MAX);
    object = object_of(TEXT("\x92\xc4\x00\xc4\x00"));
    assert_int_equal(actc_read_entry(&object, &entry), 0);
    assert_true(entry.key.len == 0 && entry.value.is_bytes && entry.value.bytes.len == 0);
    object = object_of(TEXT("\xc0"));
    assert_int_equal(actc_read_entry(&object, &entry), ACTC_MISS);
    for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
        object = object_of(bad[i].bytes, bad[i].len);
        assert_int_equal(actc_read_entry(&object, &entry), ACTC_BAD_REPLY);
    }
}

#define ENTRIES \
    "\xa7"      \
    "entries"
#define CURSOR \
    "\xa6"     \
    "cursor"

static void a_page_leads_on_or_is_the_last_one(void **state)
{
    (void)state;
    static const struct packed bad[] = {
        {TEXT("\xc0")},
        {TEXT("\x80")},
        {TEXT("\x81" ENTRIES "\x90")},
        {TEXT("\x81" CURSOR "\xc0")},
        {TEXT("\x82" ENTRIES "\xc0" CURSOR "\xc0")},
        {TEXT("\x82" ENTRIES "\x91\x01" CURSOR "\x01")},
        {TEXT("\x82" ENTRIES "\x90" CURSOR "\xc4\x01z")}, /* nothing, and more of it */
    };
    msgpack_object_array entries;
    struct slice cursor;
    msgpack_object object = object_of(TEXT("\x82" ENTRIES "\x92\x01\x02" CURSOR "\xc4\x01z"));
    assert_int_equal(result_page(&object, &entries, &cursor), 0);
    assert_true(entries.size == 2 && slice_equal(cursor, slice_of_str("z")));
    object = object_of(TEXT("\x82" ENTRIES "\x90" CURSOR "\xc0"));
    assert_int_equal(result_page(&object, &entries, &cursor), 0);
    assert_true(entries.size == 0 && !cursor.p);
    for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
        object = object_of(bad[i].bytes, bad[i].len);
        assert_int_equal(result_page(&object, &entries, &cursor), ACTC_BAD_REPLY);
    }
}

#define COUNT \
    "\xa5"    \
    "count"
#define EXACT \
    "\xa5"    \
    "exact"

static void a_count_is_exact_or_not(void **state)
{
    (void)state;
    static const struct packed bad[] = {
        {TEXT("\x01")},
        {TEXT("\x81" COUNT "\x01")},
        {TEXT("\x81" EXACT "\xc3")},
        {TEXT("\x82" COUNT "\xff" EXACT "\xc3")},
        {TEXT("\x82" COUNT "\x01" EXACT "\x01")},
    };
    uint64_t count;
    bool is_exact;
    msgpack_object object = object_of(TEXT("\x82" COUNT "\x07" EXACT "\xc2"));
    assert_int_equal(result_count(&object, &count, &is_exact), 0);
    assert_true(count == 7 && !is_exact);
    for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
        object = object_of(bad[i].bytes, bad[i].len);
        assert_int_equal(result_count(&object, &count, &is_exact), ACTC_BAD_REPLY);
    }
}

static int set_up(void **state)
{
    (void)state;
    return msgpack_zone_init(&zone, 4096) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    msgpack_zone_destroy(&zone);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_list_has_values_of_any_kind),
        cmocka_unit_test(what_is_no_list_is_refused),
        cmocka_unit_test(a_node_has_a_value_of_any_kind),
        cmocka_unit_test(what_is_no_node_is_refused),
        cmocka_unit_test(an_entry_is_a_key_and_a_value),
        cmocka_unit_test(a_page_leads_on_or_is_the_last_one),
        cmocka_unit_test(a_count_is_exact_or_not),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
