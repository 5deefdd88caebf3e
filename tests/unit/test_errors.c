/*
 * errors: numbers and names are part of the protocol and never change.
 */
#include "proto/errors.h"
#include "unit.h"

static void numbers_and_names_are_those_of_the_protocol(void **state)
{
    (void)state;
    static const char *const names[] = {
        NULL,         "BAD_REQUEST", "UNKNOWN_METHOD", "BAD_PARAMS", "TOO_LARGE",
        "LIMIT",      "CORRUPT",     "IO_ERROR",       "BUSY",       "GONE",
        "BAD_CURSOR", "DRAINING",    "UNAVAILABLE",
    };
    for (size_t i = 1; i < N_ELEMENTS(names); i++)
        assert_string_equal(proto_error_name((enum proto_error)i), names[i]);
    size_t n = 0;
#define X(name, number, meaning)                 \
    assert_string_equal(names[number], #name);   \
    assert_true(sizeof(meaning) > sizeof "why"); \
    n++;
    PROTO_ERRORS(X)
#undef X
    assert_int_equal(n, N_ELEMENTS(names) - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_and_names_are_those_of_the_protocol),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
