/*
 * answer: what servers say of keys: numbers, byte strings, nil, errors; and what is no answer.
 *
 * Bad answers tried: other types everywhere, members missing, lists of another length, errors about
 * keys that were not asked for.
 */
#include "client/actctl/answer.h"
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
    struct answer answers[4];
    assert_true(answer_read_list(&result, 4, answers));
    assert_int_equal(answers[0].value->via.u64, 7);
    assert_int_equal(answers[1].value->type, MSGPACK_OBJECT_NIL);
    assert_int_equal(answers[2].value->type, MSGPACK_OBJECT_BIN);
    assert_null(answers[3].value);
    assert_int_equal(answers[3].error_number, 6);
    assert_false(answer_read_list(&result, 3, answers));
    result = object_of(TEXT("\x82" VALUES "\x91\xc0" ERRORS "\x91\x92\x00\xa4oops"));
    assert_true(answer_read_list(&result, 1, answers));
    assert_null(answers[0].value);
    assert_int_equal(answers[0].error_number, 0);
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
        {TEXT("\x82" VALUES "\x91\x91\x01" ERRORS "\x90")},
        {TEXT("\x82" VALUES "\x91\x01" ERRORS "\x91\x01")},
        {TEXT("\x82" VALUES "\x91\x01" ERRORS "\x91\x91\x00")},
        {TEXT("\x82" VALUES "\x91\x01" ERRORS "\x91\x92\x01\x91\x06")},
        {TEXT("\x82" VALUES "\x91\x01" ERRORS "\x91\x92\xff\x91\x06")},
    };
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        msgpack_object result = object_of(cases[i].bytes, cases[i].len);
        struct answer answers[1];
        assert_false(answer_read_list(&result, 1, answers));
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
    const msgpack_object *value = NULL;
    struct actc_node node;
    bool exists = false;
    assert_true(answer_read_node(&result, &exists, &node, &value));
    assert_true(exists && node.has_value);
    assert_int_equal(value->type, MSGPACK_OBJECT_BIN);
    assert_int_equal(node.children[0], 1);
    assert_true(node.children[3] == (uint64_t)1 << 63);
    result = object_of(TEXT("\x83" EXISTS "\xc3" VALUE "\xc0" CHILDREN "\xc4\x00"));
    assert_true(answer_read_node(&result, &exists, &node, &value));
    assert_false(node.has_value);
    result = object_of(TEXT("\x81" EXISTS "\xc2"));
    assert_true(answer_read_node(&result, &exists, &node, &value));
    assert_false(exists);
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
        const msgpack_object *value;
        struct actc_node node;
        bool exists;
        assert_false(answer_read_node(&result, &exists, &node, &value));
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
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
