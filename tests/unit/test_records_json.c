/*
 * records_json: lines of jsonl, read and written.
 *
 * Bad inputs tried: no object, two on a line, unknown and repeated members, missing ones, values of
 * other types, numbers that are signed, padded, with fraction or exponent, or above 2^64-1, bad
 * escapes, half surrogate pairs, controls, bytes that are not UTF-8 (surrogates, long forms), bad
 * hex, lines cut at every byte.
 */
#include "client/actctl/output.h"
#include "client/actctl/records_json.h"
#include "client/actctl/records_writer.h"
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

#define BYTES(text) slice_of(text, sizeof text - 1)

/* Parses a copy of exactly that size: a sanitizer sees each byte too far. */
static int parse(struct slice text, const struct records_options *options, uint8_t **copy,
                 struct record *record, struct records_fault *fault)
{
    *copy = malloc(text.len ? text.len : 1);
    memcpy(*copy, text.p, text.len);
    *record = (struct record){0};
    *fault = (struct records_fault){0};
    return records_json_parse(*copy, text.len, options, record, fault);
}

static void assert_parsed(const char *text, bool is_bytes, struct record wanted)
{
    struct records_options options = {.format = RECORDS_JSONL, .is_bytes = is_bytes};
    struct record record;
    struct records_fault fault;
    uint8_t *copy;
    assert_int_equal(parse(slice_of_str(text), &options, &copy, &record, &fault), 0);
    assert_true(slice_equal(record.key, wanted.key));
    assert_int_equal(record.value, wanted.value);
    assert_true(slice_equal(record.bytes, wanted.bytes));
    free(copy);
}

static void assert_number(const char *text, struct slice key, uint64_t value)
{
    assert_parsed(text, false, (struct record){.key = key, .value = value});
}

static void assert_bytes(const char *text, struct slice key, struct slice bytes)
{
    assert_parsed(text, true, (struct record){.key = key, .bytes = bytes});
}

static void objects_are_records(void **state)
{
    (void)state;
    assert_number("{\"key\":\"a\",\"value\":1}", BYTES("a"), 1);
    assert_number(" { \"value\" : 0 ,\t\"key\" : \"\" } \r", BYTES(""), 0);
    assert_number("{\"key\":{\"hex\":\"00fF\"},\"value\":18446744073709551615}", BYTES("\0\xff"),
                  UINT64_MAX);
    assert_number("{\"key\":{ \"hex\" : \"\" },\"value\":9223372036854775808}", BYTES(""),
                  (uint64_t)1 << 63);
    assert_number("{\"k\\u0065y\":\"a\",\"value\":1}", BYTES("a"), 1);
    assert_bytes("{\"key\":\"a\",\"value\":\"b\"}", BYTES("a"), BYTES("b"));
    assert_bytes("{\"key\":\"a\",\"value\":{\"hex\":\"0062\"}}", BYTES("a"), BYTES("\0b"));
    assert_bytes("{\"value\":\"\",\"key\":\"a\"}", BYTES("a"), BYTES(""));
}

static void texts_are_unescaped(void **state)
{
    (void)state;
    assert_number("{\"key\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\",\"value\":1}", BYTES("\"\\/\b\f\n\r\t"),
                  1);
    assert_number("{\"key\":\"\\u0000\\u007f\\u0080\\u07FF\",\"value\":1}",
                  BYTES("\0\x7f\xc2\x80\xdf\xbf"), 1);
    assert_number("{\"key\":\"\\u0800\\uffff\",\"value\":1}", BYTES("\xe0\xa0\x80\xef\xbf\xbf"), 1);
    assert_number("{\"key\":\"\\ud800\\udc00\\uDBFF\\uDFFFx\",\"value\":1}",
                  BYTES("\xf0\x90\x80\x80\xf4\x8f\xbf\xbfx"), 1);
    assert_number("{\"key\":\"\xc3\xbc\x7f\xe2\x82\xac\",\"value\":1}",
                  BYTES("\xc3\xbc\x7f\xe2\x82\xac"), 1);
}

static const char number[] = "the value is not a whole number from 0 to 18446744073709551615";

static const struct {
    const char *text, *reason;
} bad_lines[] = {
    {"", "not an object"},
    {"[]", "not an object"},
    {"\"key\"", "not an object"},
    {"null", "not an object"},
    {"{}", "\"key\" is missing"},
    {"{\"key\":\"a\"}", "\"value\" is missing"},
    {"{\"value\":1}", "\"key\" is missing"},
    {"{\"key\":\"a\",\"value\":1", "a comma or the closing brace is missing"},
    {"{\"key\":\"a\" \"value\":1}", "a comma or the closing brace is missing"},
    {"{\"key\":\"a\",\"value\":1,}", "the name of a member is missing"},
    {"{,}", "the name of a member is missing"},
    {"{key:1}", "the name of a member is missing"},
    {"{'key':1}", "the name of a member is missing"},
    {"{\"key\" \"a\"}", "a colon is missing"},
    {"{\"key\":\"a\",\"value\":1}{}", "something stands behind the object"},
    {"{\"key\":\"a\",\"value\":1},", "something stands behind the object"},
    {"{\"key\":\"a\",\"value\":1} x", "something stands behind the object"},
    {"{\"key\":\"a\",\"value\":1,\"more\":1}", "a member that is neither"},
    {"{\"Key\":\"a\",\"value\":1}", "a member that is neither"},
    {"{\"key\\u0000\":\"a\",\"value\":1}", "a member that is neither"},
    {"{\"key\":\"a\",\"value\":1,\"key\":\"a\"}", "\"key\" comes twice"},
    {"{\"key\":\"a\",\"value\":1,\"value\":2}", "\"value\" comes twice"},
    {"{\"key\":1,\"value\":1}", "the key is neither"},
    {"{\"key\":null,\"value\":1}", "the key is neither"},
    {"{\"key\":[\"a\"],\"value\":1}", "the key is neither"},
    {"{\"key\":{},\"value\":1}", "the key is neither"},
    {"{\"key\":{\"Hex\":\"00\"},\"value\":1}", "the key is neither"},
    {"{\"key\":{\"hex\":00},\"value\":1}", "the key is neither"},
    {"{\"key\":{\"hex\":\"00\",\"hex\":\"01\"},\"value\":1}", "the key is neither"},
    {"{\"key\":{\"hex\":{\"hex\":\"00\"}},\"value\":1}", "the key is neither"},
    {"{\"key\":{\"hex\":\"0\"},\"value\":1}", "not hex"},
    {"{\"key\":{\"hex\":\"0g\"},\"value\":1}", "not hex"},
    {"{\"key\":\"a\",\"value\":-1}", number},
    {"{\"key\":\"a\",\"value\":-0}", number},
    {"{\"key\":\"a\",\"value\":+1}", number},
    {"{\"key\":\"a\",\"value\":01}", number},
    {"{\"key\":\"a\",\"value\":00}", number},
    {"{\"key\":\"a\",\"value\":1.0}", number},
    {"{\"key\":\"a\",\"value\":1e2}", number},
    {"{\"key\":\"a\",\"value\":1E2}", number},
    {"{\"key\":\"a\",\"value\":18446744073709551616}", number},
    {"{\"key\":\"a\",\"value\":99999999999999999999999}", number},
    {"{\"key\":\"a\",\"value\":\"1\"}", number},
    {"{\"key\":\"a\",\"value\":null}", number},
    {"{\"key\":\"a\",\"value\":NaN}", number},
    {"{\"key\":\"a\",\"value\":}", number},
    {"{\"key\":\"a", "a text without its closing quote"},
    {"{\"key\":\"a\\", "a text without its closing quote"},
    {"{\"key\":\"a\\\"", "a text without its closing quote"},
    {"{\"key\":\"\\x41\",\"value\":1}", "an escape that JSON does not know"},
    {"{\"key\":\"\\0\",\"value\":1}", "an escape that JSON does not know"},
    {"{\"key\":\"\\u12\",\"value\":1}", "\\u needs four hex digits"},
    {"{\"key\":\"\\u", "\\u needs four hex digits"},
    {"{\"key\":\"\\ud800\",\"value\":1}", "half a surrogate pair"},
    {"{\"key\":\"\\udc00\",\"value\":1}", "half a surrogate pair"},
    {"{\"key\":\"\\ud800\\ud800\",\"value\":1}", "half a surrogate pair"},
    {"{\"key\":\"\\ud800\\n12345\",\"value\":1}", "half a surrogate pair"},
    {"{\"key\":\"\\ud800\\u", "half a surrogate pair"},
    {"{\"key\":\"\\ud800\\u12", "half a surrogate pair"},
    {"{\"key\":\"\\ud800\\u12zz\",\"value\":1}", "\\u needs four hex digits"},
    {"{\"key\":\"a\tb\",\"value\":1}", "a control character in a text must be escaped"},
    {"{\"key\":\"\xff\",\"value\":1}", "not UTF-8"},
    {"{\"key\":\"\xed\xa0\x80\",\"value\":1}", "not UTF-8"},
    {"{\"key\":\"\xc0\x80\",\"value\":1}", "not UTF-8"},
    {"{\"key\":\"\xc3\",\"value\":1}", "not UTF-8"},
    {"{\"\xff\":1}", "not UTF-8"},
};

static void bad_lines_say_why(void **state)
{
    (void)state;
    struct records_options options = {.format = RECORDS_JSONL};
    for (size_t i = 0; i < N_ELEMENTS(bad_lines); i++) {
        struct record record;
        struct records_fault fault;
        uint8_t *copy;
        struct slice text = slice_of_str(bad_lines[i].text);
        assert_int_equal(parse(text, &options, &copy, &record, &fault), RECORDS_BAD);
        if (strncmp(fault.reason, bad_lines[i].reason, strlen(bad_lines[i].reason)) != 0)
            fail_msg("%s: %s", bad_lines[i].text, fault.reason);
        free(copy);
    }
}

static void values_are_of_the_kind_asked_for(void **state)
{
    (void)state;
    struct records_options options = {.format = RECORDS_JSONL, .is_bytes = true};
    struct record record;
    struct records_fault fault;
    uint8_t *copy;
    struct slice text = slice_of_str("{\"key\":\"a\",\"value\":1}");
    assert_int_equal(parse(text, &options, &copy, &record, &fault), RECORDS_BAD);
    assert_string_equal(fault.reason, "the value is neither a text nor {\"hex\": \"...\"}");
    assert_true(fault.has_key && slice_equal(fault.key, slice_of_str("a")));
    free(copy);
    options.is_keys_only = true;
    assert_int_equal(parse(text, &options, &copy, &record, &fault), RECORDS_BAD);
    assert_string_equal(fault.reason, "a value where there are to be keys only");
    free(copy);
    text = slice_of_str("{\"key\":\"a\"}");
    assert_int_equal(parse(text, &options, &copy, &record, &fault), 0);
    assert_true(slice_equal(record.key, slice_of_str("a")));
    assert_int_equal(record.bytes.len, 0);
    free(copy);
}

static void a_line_cut_anywhere_is_bad(void **state)
{
    (void)state;
    struct records_options options = {.format = RECORDS_JSONL, .is_bytes = true};
    struct slice text =
        slice_of_str("{\"key\":\"\\ud83d\\ude00\xe2\x82\xac\\n\",\"value\":{\"hex\":\"00ff\"}}");
    for (size_t len = 0; len <= text.len; len++) {
        struct record record;
        struct records_fault fault;
        uint8_t *copy;
        int r = parse(slice_of(text.p, len), &options, &copy, &record, &fault);
        assert_int_equal(r, len == text.len ? 0 : RECORDS_BAD);
        free(copy);
    }
}

static char *written(const struct records_options *options, const struct record *record)
{
    struct records_writer writer;
    char *text = NULL;
    size_t size = 0;
    const char *reason;
    FILE *file = open_memstream(&text, &size);
    assert_int_equal(records_writer_init(&writer, file, options), 0);
    assert_int_equal(records_write(&writer, record, &reason), 0);
    assert_int_equal(records_flush(&writer), 0);
    records_writer_deinit(&writer);
    fclose(file);
    return text;
}

/* The same bytes as json-c's, which get --json prints; and they read back as the same key. */
static void assert_written_as_by_get(struct slice key, bool is_hex)
{
    struct records_options options = {.format = RECORDS_JSONL, .is_hex = is_hex};
    struct actctl ctl = {.is_hex = is_hex};
    struct record record = {.key = key, .value = UINT64_MAX}, again;
    struct records_fault fault;
    uint8_t *copy;
    char *text = written(&options, &record);
    struct json_object *json = output_json_entry(&ctl, key);
    json_object_object_add(json, "value", output_json_u64(UINT64_MAX));
    size_t len = strlen(text) - 1;
    assert_int_equal(text[len], '\n');
    text[len] = '\0';
    assert_string_equal(text, json_object_to_json_string_ext(
                                  json, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
    assert_int_equal(parse(slice_of(text, len), &options, &copy, &again, &fault), 0);
    assert_true(slice_equal(again.key, key));
    assert_int_equal(again.value, UINT64_MAX);
    json_object_put(json);
    free(copy);
    free(text);
}

static void what_is_written_is_what_get_prints(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 65536; i++) {
        uint8_t key[2] = {(uint8_t)(i >> 8), (uint8_t)i};
        assert_written_as_by_get(slice_of(key, 2), false);
        if (i % 251 == 0)
            assert_written_as_by_get(slice_of(key, 2), true);
    }
    assert_written_as_by_get(slice_of("", 0), false);
    assert_written_as_by_get(slice_of("", 0), true);
    assert_written_as_by_get(BYTES("\xf0\x9f\x98\x80/\"\\\0"), false);
}

static void byte_values_and_keys_alone_are_written(void **state)
{
    (void)state;
    struct records_options options = {.format = RECORDS_JSONL, .is_bytes = true};
    struct record record = {.key = BYTES("a"), .bytes = BYTES("\xff")};
    char *text = written(&options, &record);
    assert_string_equal(text, "{\"key\":\"a\",\"value\":{\"hex\":\"ff\"}}\n");
    free(text);
    options.is_keys_only = true;
    text = written(&options, &record);
    assert_string_equal(text, "{\"key\":\"a\"}\n");
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_are_records),
        cmocka_unit_test(texts_are_unescaped),
        cmocka_unit_test(bad_lines_say_why),
        cmocka_unit_test(values_are_of_the_kind_asked_for),
        cmocka_unit_test(a_line_cut_anywhere_is_bad),
        cmocka_unit_test(what_is_written_is_what_get_prints),
        cmocka_unit_test(byte_values_and_keys_alone_are_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
