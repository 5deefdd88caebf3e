/*
 * log: one line an event, which nothing that is logged can forge.
 */
#include "base/log.h"
#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Standard error goes to a file while a test runs. */
static FILE *captured;
static int saved_stderr;

static int capture(void **state)
{
    (void)state;
    captured = tmpfile();
    saved_stderr = dup(STDERR_FILENO);
    return captured && dup2(fileno(captured), STDERR_FILENO) >= 0 ? 0 : -1;
}

static int release(void **state)
{
    (void)state;
    dup2(saved_stderr, STDERR_FILENO);
    close(saved_stderr);
    fclose(captured);
    unsetenv("JOURNAL_STREAM");
    return 0;
}

/* What was logged since the last call. */
static const char *logged(void)
{
    static char text[16384];
    ssize_t n = pread(fileno(captured), text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    assert_int_equal(ftruncate(fileno(captured), 0), 0);
    assert_int_equal(lseek(fileno(captured), 0, SEEK_SET), 0);
    return text;
}

static void a_line_has_time_level_and_text(void **state)
{
    (void)state;
    int year, n = 0;
    log_init(LOG_LEVEL_INFO);
    log_info("%s has %d keys", "tree", 7);
    const char *text = logged();
    assert_int_equal(sscanf(text, "%4d-%*2d-%*2dT%*2d:%*2d:%*2d.%*3dZ %n", &year, &n), 1);
    assert_string_equal(text + n, "actd info: tree has 7 keys\n");
}

static void lines_below_the_level_are_dropped(void **state)
{
    (void)state;
    log_init(LOG_LEVEL_WARNING);
    log_info("not this");
    log_debug("nor this");
    assert_string_equal(logged(), "");
    log_warning("but this");
    assert_non_null(strstr(logged(), " actd warning: but this\n"));
    log_error("and this");
    assert_non_null(strstr(logged(), " actd error: and this\n"));
    assert_true(log_is_enabled(LOG_LEVEL_ERROR) && !log_is_enabled(LOG_LEVEL_INFO));
    log_set_level(LOG_LEVEL_DEBUG);
    assert_true(log_is_enabled(LOG_LEVEL_DEBUG));
}

static void levels_have_names(void **state)
{
    (void)state;
    assert_int_equal(log_level_from_name("error"), LOG_LEVEL_ERROR);
    assert_int_equal(log_level_from_name("warning"), LOG_LEVEL_WARNING);
    assert_int_equal(log_level_from_name("info"), LOG_LEVEL_INFO);
    assert_int_equal(log_level_from_name("debug"), LOG_LEVEL_DEBUG);
    assert_int_equal(log_level_from_name("Debug"), -1);
    assert_int_equal(log_level_from_name(""), -1);
}

static void control_bytes_cannot_forge_a_line(void **state)
{
    (void)state;
    log_init(LOG_LEVEL_INFO);
    log_info("%s", "a\nb\r\x1b[31m\x7f\xc3\xa4");
    const char *text = logged();
    assert_non_null(strstr(text, "info: a\\x0ab\\x0d\\x1b[31m\\x7f\xc3\xa4\n"));
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
}

static void a_long_line_is_cut_and_ends(void **state)
{
    (void)state;
    char *text = malloc(9001);
    log_init(LOG_LEVEL_INFO);
    for (int byte = 1; byte < 256; byte += 30) {
        memset(text, byte, 9000);
        text[9000] = '\0';
        log_info("%s", text);
        const char *line = logged();
        assert_in_range(strlen(line), 4000, 4200);
        assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
    }
    free(text);
}

static void the_journal_gets_its_own_prefix(void **state)
{
    (void)state;
    struct stat st;
    char stream[64];
    assert_int_equal(fstat(STDERR_FILENO, &st), 0);
    snprintf(stream, sizeof stream, "%llu:%llu", (unsigned long long)st.st_dev,
             (unsigned long long)st.st_ino);
    setenv("JOURNAL_STREAM", stream, 1);
    log_init(LOG_LEVEL_DEBUG);
    log_error("e");
    log_warning("w");
    log_info("i");
    log_debug("d");
    assert_string_equal(logged(), "<3>e\n<4>w\n<6>i\n<7>d\n");
}

/* The variable is inherited by programs whose standard error is something else. */
static void anothers_journal_is_not_ours(void **state)
{
    (void)state;
    static const char *const streams[] = {"1:1", "", "journal", "8:"};
    for (size_t i = 0; i < N_ELEMENTS(streams); i++) {
        setenv("JOURNAL_STREAM", streams[i], 1);
        log_init(LOG_LEVEL_INFO);
        log_info("i");
        assert_non_null(strstr(logged(), " actd info: i\n"));
    }
}

static void errno_survives_a_line(void **state)
{
    (void)state;
    log_init(LOG_LEVEL_INFO);
    dup2(saved_stderr, STDERR_FILENO);
    close(STDERR_FILENO);
    errno = ERANGE;
    log_info("nobody hears this");
    assert_int_equal(errno, ERANGE);
    dup2(fileno(captured), STDERR_FILENO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_line_has_time_level_and_text, capture, release),
        cmocka_unit_test_setup_teardown(lines_below_the_level_are_dropped, capture, release),
        cmocka_unit_test(levels_have_names),
        cmocka_unit_test_setup_teardown(control_bytes_cannot_forge_a_line, capture, release),
        cmocka_unit_test_setup_teardown(a_long_line_is_cut_and_ends, capture, release),
        cmocka_unit_test_setup_teardown(the_journal_gets_its_own_prefix, capture, release),
        cmocka_unit_test_setup_teardown(anothers_journal_is_not_ours, capture, release),
        cmocka_unit_test_setup_teardown(errno_survives_a_line, capture, release),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
