/*
 * actctl: foreign text on its way to a terminal, keys in hex, numbers for people, and lines of
 * unknown length.
 */
#include "client/actctl/lines.h"
#include "client/actctl/output.h"
#include "client/actctl/text.h"
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void assert_written(struct slice bytes, unsigned flags, const char *wanted)
{
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);
    text_write(file, bytes, flags);
    assert_int_equal(fclose(file), 0);
    assert_string_equal(text, wanted);
    free(text);
}

static void a_terminal_only_prints(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        unsigned flags;
        const char *wanted;
    } cases[] = {
        {"", 0, ""},
        {"plain ~", 0, "plain ~"},
        {"a\tb\nc\rd", 0, "a\\tb\\nc\\rd"},
        {"\x1b[2J\x07\x7f", TEXT_UTF8, "\\x1b[2J\\x07\\x7f"},
        {"a\\b", TEXT_BACKSLASH, "a\\\\b"},
        {"a\\b", 0, "a\\b"},
        {"\xc3\xbc", TEXT_UTF8, "\xc3\xbc"},
        {"\xc3\xbc", 0, "\\xc3\\xbc"},
        {"\xe2\x82\xac\xf0\x9f\x98\x80", TEXT_UTF8, "\xe2\x82\xac\xf0\x9f\x98\x80"},
        {"\xc2\x9b"
         "2J",
         TEXT_UTF8, "\\xc2\\x9b2J"}, /* CSI as one character */
        {"\x9b"
         "2J",
         TEXT_UTF8, "\\x9b2J"},
        {"\xe2\x80\xae", TEXT_UTF8, "\\xe2\\x80\\xae"}, /* right-to-left override */
        {"\xe2\x80\x8b", TEXT_UTF8, "\\xe2\\x80\\x8b"}, /* zero width space */
        {"\xf3\xa0\x81\x81", TEXT_UTF8, "\\xf3\\xa0\\x81\\x81"},
        {"\xc0\xaf", TEXT_UTF8, "\\xc0\\xaf"}, /* not the shortest form */
        {"\xed\xa0\x80", TEXT_UTF8, "\\xed\\xa0\\x80"},
        {"\xf4\x90\x80\x80", TEXT_UTF8, "\\xf4\\x90\\x80\\x80"},
        {"\xe2\x82", TEXT_UTF8, "\\xe2\\x82"}, /* cut */
        {"\xe2\x82"
         "a\xff",
         TEXT_UTF8, "\\xe2\\x82a\\xff"},
    };
    for (size_t i = 0; i < N_ELEMENTS(cases); i++)
        assert_written(slice_of_str(cases[i].bytes), cases[i].flags, cases[i].wanted);
    assert_written(slice_of("a\0b", 3), TEXT_UTF8, "a\\x00b");
}

/* Whatever comes, only printable ASCII and well-formed UTF-8 goes out. */
static void all_pairs_of_bytes_are_harmless(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 65536; i++) {
        uint8_t bytes[2] = {(uint8_t)(i >> 8), (uint8_t)i};
        char *text = NULL;
        size_t size = 0;
        FILE *file = open_memstream(&text, &size);
        text_write(file, slice_of(bytes, 2), TEXT_UTF8 | TEXT_BACKSLASH);
        fclose(file);
        assert_true(text_is_utf8(slice_of(text, size)));
        for (size_t k = 0; k < size; k++) {
            uint8_t byte = (uint8_t)text[k];
            assert_true(byte >= 0x20 && byte != 0x7f);
            if (byte == 0xc2)
                assert_true((uint8_t)text[k + 1] >= 0xa0);
        }
        free(text);
    }
}

static void utf8_is_told_from_bytes(void **state)
{
    (void)state;
    assert_true(text_is_utf8(slice_of(NULL, 0)));
    assert_true(text_is_utf8(slice_of_str("Z\xc3\xbcrich \xf0\x9f\x98\x80")));
    assert_true(text_is_utf8(slice_of("a\0b", 3)));
    assert_true(text_is_utf8(slice_of_str("\xf4\x8f\xbf\xbf")));
    assert_false(text_is_utf8(slice_of_str("\xff")));
    assert_false(text_is_utf8(slice_of_str("abc\xc3")));
    assert_false(text_is_utf8(slice_of_str("\x80")));
    assert_false(text_is_utf8(slice_of_str("\xe0\x80\x80")));
    assert_false(text_is_utf8(slice_of_str("\xf5\x80\x80\x80")));
}

static void keys_in_hex_are_read_and_written(void **state)
{
    (void)state;
    char text[] = "00fFA5";
    uint8_t bytes[8];
    size_t len = 77;
    assert_int_equal(text_parse_hex(slice_of_str("abc"), bytes, &len), TEXT_BAD);
    assert_int_equal(text_parse_hex(slice_of_str("0g"), bytes, &len), TEXT_BAD);
    assert_int_equal(text_parse_hex(slice_of_str("0x12"), bytes, &len), TEXT_BAD);
    assert_int_equal(text_parse_hex(slice_of_str(" 1"), bytes, &len), TEXT_BAD);
    char bad[] = "6162zz";
    assert_int_equal(text_parse_hex(slice_of_str(bad), (uint8_t *)bad, &len), TEXT_BAD);
    assert_string_equal(bad, "6162zz");
    assert_int_equal(len, 77);
    assert_int_equal(text_parse_hex(slice_of_str(""), bytes, &len), 0);
    assert_int_equal(len, 0);
    assert_int_equal(text_parse_hex(slice_of_str(text), (uint8_t *)text, &len), 0);
    assert_int_equal(len, 3);
    assert_memory_equal(text, "\x00\xff\xa5", 3);

    char *written = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&written, &size);
    text_write_hex(file, slice_of(text, 3));
    fclose(file);
    assert_string_equal(written, "00ffa5");
    free(written);
}

static void numbers_are_grouped(void **state)
{
    (void)state;
    char text[TEXT_GROUPED_SIZE];
    assert_string_equal(text_grouped(0, text), "0");
    assert_string_equal(text_grouped(999, text), "999");
    assert_string_equal(text_grouped(1000, text), "1,000");
    assert_string_equal(text_grouped(12345678, text), "12,345,678");
    assert_string_equal(text_grouped(UINT64_MAX, text), "18,446,744,073,709,551,615");
}

static void json_keeps_every_bit(void **state)
{
    (void)state;
    struct actctl ctl = {0};
    const struct actc_value value = {.number = UINT64_MAX};
    struct json_object *json = output_json_entry(&ctl, slice_of("\xff\x00", 2));
    json_object_object_add(json, "value", output_json_value(&value));
    assert_string_equal(json_object_to_json_string_ext(json, JSON_C_TO_STRING_PLAIN),
                        "{\"key\":{\"hex\":\"ff00\"},\"value\":18446744073709551615}");
    json_object_put(json);
    json = output_json_key(&ctl, slice_of("a\0\n\xc3\xbc", 5));
    assert_string_equal(json_object_to_json_string(json), "\"a\\u0000\\n\xc3\xbc\"");
    json_object_put(json);
    ctl.is_hex = true;
    json = output_json_key(&ctl, slice_of_str("a"));
    assert_string_equal(json_object_to_json_string_ext(json, JSON_C_TO_STRING_PLAIN),
                        "{\"hex\":\"61\"}");
    json_object_put(json);
}

static void assert_line(struct lines *lines, struct slice wanted)
{
    struct slice line;
    assert_int_equal(lines_next(lines, &line), 0);
    assert_true(slice_equal(line, wanted));
}

static void lines_lose_their_newline_only(void **state)
{
    (void)state;
    int fds[2];
    struct lines lines;
    struct slice line;
    assert_int_equal(pipe(fds), 0);
    lines_init(&lines, fds[0], 100);
    assert_true(lines_would_wait(&lines));
    assert_int_equal(write(fds[1], "a\r\n\n\0x \nla", 10), 10);
    assert_false(lines_would_wait(&lines));
    assert_line(&lines, slice_of_str("a\r"));
    assert_false(lines_would_wait(&lines));
    assert_line(&lines, slice_of_str(""));
    assert_line(&lines, slice_of("\0x ", 3));
    assert_true(lines_would_wait(&lines)); /* half a line is no line */
    assert_int_equal(write(fds[1], "st", 2), 2);
    close(fds[1]);
    assert_false(lines_would_wait(&lines));
    assert_line(&lines, slice_of_str("last"));
    assert_int_equal(lines.number, 4);
    assert_int_equal(lines_next(&lines, &line), LINES_END);
    assert_int_equal(lines_next(&lines, &line), LINES_END);
    assert_false(lines_would_wait(&lines));
    lines_deinit(&lines);
    close(fds[0]);
}

static void a_line_too_long_is_named(void **state)
{
    (void)state;
    enum { MAX = 300000 };
    char path[] = "/tmp/test_actctl.XXXXXX";
    struct lines lines;
    struct slice line;
    int fd = mkstemp(path);
    FILE *file = fdopen(fd, "w+");
    assert_non_null(file);
    assert_int_equal(unlink(path), 0);
    fprintf(file, "%0*d\n%0*d\n%0*d\n", MAX - 1, 1, MAX, 2, MAX + 1, 3);
    assert_int_equal(fflush(file), 0);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    lines_init(&lines, fd, MAX);
    assert_int_equal(lines_next(&lines, &line), 0);
    assert_int_equal(line.len, MAX - 1);
    assert_int_equal(lines_next(&lines, &line), 0);
    assert_int_equal(line.len, MAX);
    assert_int_equal(line.p[MAX - 1], '2');
    assert_int_equal(lines_next(&lines, &line), LINES_TOO_LONG);
    assert_int_equal(lines.number, 3);
    lines_deinit(&lines);
    fclose(file);
}

static void a_line_without_end_takes_bounded_memory(void **state)
{
    (void)state;
    struct lines lines;
    struct slice line;
    int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    lines_init(&lines, fd, 1000000);
    assert_int_equal(lines_next(&lines, &line), LINES_TOO_LONG);
    assert_true(lines.pool.used_bytes <= 4000000);
    lines_deinit(&lines);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_terminal_only_prints),
        cmocka_unit_test(all_pairs_of_bytes_are_harmless),
        cmocka_unit_test(utf8_is_told_from_bytes),
        cmocka_unit_test(keys_in_hex_are_read_and_written),
        cmocka_unit_test(numbers_are_grouped),
        cmocka_unit_test(json_keeps_every_bit),
        cmocka_unit_test(lines_lose_their_newline_only),
        cmocka_unit_test(a_line_too_long_is_named),
        cmocka_unit_test(a_line_without_end_takes_bounded_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
