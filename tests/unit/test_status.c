/*
 * status: the sentence that the service manager shows.
 */
#include "daemon/supervisor/status.h"

#include "unit.h"

#include <stdio.h>
#include <string.h>

#define PATH "/var/lib/actd/tree.act"

/* Nothing is known but that it serves. */
static struct status plain(void)
{
    return (struct status){.path = PATH,
                           .generation = 3,
                           .n_keys = STATUS_UNKNOWN,
                           .resident_percent = 101,
                           .mapped_percent = 101,
                           .n_serving = 2,
                           .n_workers = 2,
                           .eta_ms = STATUS_UNKNOWN,
                           .damage = "",
                           .refusal = ""};
}

static void check(const struct status *status, const char *wanted)
{
    char text[STATUS_BYTES];
    assert_string_equal(status_format(status, text, sizeof text), wanted);
}

static void what_is_unknown_is_left_out(void **state)
{
    struct status status = plain();
    (void)state;
    check(&status, "generation 3: " PATH);
}

static void all_of_it(void **state)
{
    struct status status = plain();
    (void)state;
    status.n_keys = 7310000;
    status.resident_percent = 61;
    status.warming = 3;
    status.warm_bytes = 419;
    status.to_warm_bytes = 1000;
    status.eta_ms = 11001;
    check(&status, "generation 3, 7.3 M keys, 61 % resident, warming 41 % (12 s): " PATH);
    status.n_serving = 1;
    status.damage = "the file was truncated in place";
    status.refusal = PATH ": it is empty";
    check(&status, "generation 3, 7.3 M keys, 61 % resident, serving 1 of 2 workers, warming 41 % "
                   "(12 s): " PATH "; damaged, queries are refused: the file was truncated in "
                   "place; the last reload was refused: " PATH ": it is empty");
}

static void numbers_can_be_read(void **state)
{
    static const struct {
        uint64_t number;
        const char *text;
    } cases[] = {{0, "0 keys"},
                 {1, "1 key"},
                 {950, "950 keys"},
                 {999, "999 keys"},
                 {1000, "1.0 k keys"},
                 {9949, "9.9 k keys"},
                 {9951, "10 k keys"},
                 {12345, "12 k keys"},
                 {999499, "999 k keys"},
                 {999501, "1.0 M keys"},
                 {7300000, "7.3 M keys"},
                 {123456789012, "123 G keys"},
                 {UINT64_MAX - 1, "18 E keys"}};
    (void)state;
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        struct status status = plain();
        char wanted[128];
        status.n_keys = cases[i].number;
        snprintf(wanted, sizeof wanted, "generation 3, %s: " PATH, cases[i].text);
        check(&status, wanted);
    }
}

static void how_much_is_in_memory(void **state)
{
    struct status status = plain();
    (void)state;
    status.resident_percent = 0;
    check(&status, "generation 3, 0 % resident: " PATH);
    status.resident_percent = 100;
    status.mapped_percent = 7;
    check(&status, "generation 3, 100 % resident: " PATH);
    status.resident_percent = 101;
    check(&status, "generation 3, 7 % mapped: " PATH);
}

static void a_round_of_a_reload(void **state)
{
    struct status status = plain();
    (void)state;
    status.round = STATUS_CHECKING;
    check(&status, "generation 3, checking a file: " PATH);
    status.checked_bytes = 999;
    status.to_check_bytes = 1000;
    check(&status, "generation 3, checking a file 99 %: " PATH);
    status.checked_bytes = 2000;
    check(&status, "generation 3, checking a file 100 %: " PATH);
    status.round = STATUS_TAKING;
    check(&status, "generation 3, taking over a file: " PATH);
    status.warming = 4;
    check(&status, "generation 3, warming generation 4: 0 %: " PATH);
}

static void a_start(void **state)
{
    struct status status = plain();
    (void)state;
    status.generation = 0;
    status.round = STATUS_CHECKING;
    check(&status, "starting: checking: " PATH);
    status.checked_bytes = 1;
    status.to_check_bytes = 4;
    check(&status, "starting: checking 25 %: " PATH);
}

/* The manager takes a line for a word of its own, and refuses all of what is not UTF-8. */
static void what_others_have_named_makes_no_line(void **state)
{
    struct status status = plain();
    (void)state;
    status.path = "/a\nREADY=1\x7f\xff\xc3\xa4\xc3";
    status.refusal = "b\r\tc\xed\xa0\x80\xc2\x9b\xc2\xa0";
    check(&status, "generation 3: /a?READY=1??\xc3\xa4?; the last reload was refused: "
                   "b??c?????\xc2\xa0");
}

static void what_is_too_long_is_cut(void **state)
{
    char path[5000], text[STATUS_BYTES], small[20];
    struct status status = plain();
    (void)state;
    memset(path, 'x', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    status.path = status.damage = status.refusal = path;
    status_format(&status, text, sizeof text);
    assert_true(strlen(text) < sizeof text);
    assert_non_null(strstr(text, "x; damaged, queries are refused: x"));
    assert_non_null(strstr(text, "x; the last reload was refused: x"));
    assert_string_equal(status_format(&status, small, sizeof small), "generation 3: xxxxx");
    /* In the middle of a character. */
    status.path = "xxxx\xc3\xa4";
    assert_string_equal(status_format(&status, small, sizeof small), "generation 3: xxxx?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_unknown_is_left_out),
        cmocka_unit_test(all_of_it),
        cmocka_unit_test(numbers_can_be_read),
        cmocka_unit_test(how_much_is_in_memory),
        cmocka_unit_test(a_round_of_a_reload),
        cmocka_unit_test(a_start),
        cmocka_unit_test(what_others_have_named_makes_no_line),
        cmocka_unit_test(what_is_too_long_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
