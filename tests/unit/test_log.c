/*
 * log: one line an event, which nothing that is logged can forge.
 */
#include "base/log.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
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
    log_set_sink(NULL);
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

/* Standard error is the journal from now on. */
static void become_a_service(void)
{
    struct stat st;
    char stream[64];
    assert_int_equal(fstat(STDERR_FILENO, &st), 0);
    snprintf(stream, sizeof stream, "%llu:%llu", (unsigned long long)st.st_dev,
             (unsigned long long)st.st_ino);
    setenv("JOURNAL_STREAM", stream, 1);
    log_init(LOG_LEVEL_DEBUG);
}

static void the_journal_gets_its_own_prefix(void **state)
{
    (void)state;
    become_a_service();
    log_error("e");
    log_warning("w");
    log_info("i");
    log_debug("d");
    assert_string_equal(logged(), "<3>e\n<4>w\n<6>i\n<7>d\n");
}

/* The variable is inherited by programs whose standard error is something else. */
/* It may hang on the disk that queries do not wait for. */
static void nobody_waits_for_a_journal_that_does_not_read(void **state)
{
    (void)state;
    int ends[2], n = 0;
    char buffer[4096];
    struct pollfd reader;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    assert_int_equal(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
    become_a_service();
    alarm(60); /* to wait is for ever */
    for (int i = 0; i < 10000; i++)
        log_info("line %d", i);
    alarm(0);
    reader = (struct pollfd){.fd = ends[0], .events = POLLIN};
    while (poll(&reader, 1, 0) > 0 && read(ends[0], buffer, sizeof buffer) > 0)
        n++;
    assert_int_not_equal(n, 0);
    /* It reads again. */
    log_info("again");
    ssize_t len = read(ends[0], buffer, sizeof buffer - 1);
    buffer[len > 0 ? len : 0] = '\0';
    assert_string_equal(buffer, "<6>again\n");
    assert_int_equal(fcntl(ends[1], F_GETFL) & O_NONBLOCK, 0);
    close(ends[0]);
    log_info("and who is gone does no harm");
    close(ends[1]);
}

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

/* A sink that keeps what it was given last. */
static struct {
    struct log_entry entry; /* its fields are those of constants */
    char message[8192], file[256], function[64];
    unsigned n;
    bool is_broken;
} sunk;

static bool keep(const struct log_entry *entry)
{
    sunk.n++;
    if (sunk.is_broken)
        return false;
    sunk.entry = *entry;
    assert_true(entry->message_len < sizeof sunk.message);
    memcpy(sunk.message, entry->message, entry->message_len);
    sunk.message[entry->message_len] = '\0';
    snprintf(sunk.file, sizeof sunk.file, "%s", entry->file);
    snprintf(sunk.function, sizeof sunk.function, "%s", entry->function);
    errno = EBADMSG; /* nobody is to see that */
    return true;
}

static int capture_entries(void **state)
{
    memset(&sunk, 0, sizeof sunk);
    log_set_sink(keep);
    return capture(state);
}

static const struct log_field *field_of(const char *name)
{
    const struct log_field *found = NULL;
    for (size_t i = 0; i < sunk.entry.n_fields; i++) {
        if (strcmp(sunk.entry.fields[i].name, name) == 0) {
            assert_null(found);
            found = &sunk.entry.fields[i];
        }
    }
    return found;
}

static const struct log_event event_test = {"test", "0123456789abcdef0123456789abcdef",
                                            LOG_LEVEL_WARNING};

static void a_sink_gets_text_place_and_fields(void **state)
{
    (void)state;
    become_a_service();
    errno = ENOENT;
    log_info("%s has %d keys", "tree", 7);
    int line = __LINE__ - 1;
    assert_int_equal(errno, ENOENT);
    assert_string_equal(sunk.message, "tree has 7 keys");
    assert_string_equal(sunk.file, "tests/unit/test_log.c");
    assert_string_equal(sunk.function, __func__);
    assert_int_equal(sunk.entry.line, line);
    assert_int_equal(sunk.entry.level, LOG_LEVEL_INFO);
    assert_null(sunk.entry.event);
    assert_int_equal(sunk.entry.n_fields, 0);
    log_event(&event_test, LOG_REASON("why not", -EIO), "%d", 1);
    assert_int_equal(sunk.entry.level, LOG_LEVEL_WARNING);
    assert_ptr_equal(sunk.entry.event, &event_test);
    assert_int_equal(sunk.entry.n_fields, 2);
    assert_string_equal(field_of("REASON")->text, "why not");
    assert_int_equal(field_of("ERRNO")->number, EIO);
    log_with(LOG_LEVEL_ERROR, LOG_ERRNO(EPERM), "x");
    assert_int_equal(field_of("ERRNO")->number, EPERM);
    log_with(LOG_LEVEL_ERROR, LOG_REASON("none", 0), "x");
    assert_int_equal(sunk.entry.n_fields, 1);
    assert_string_equal(logged(), "");
    assert_int_equal(log_level_priority(LOG_LEVEL_ERROR), 3);
    assert_int_equal(log_level_priority(LOG_LEVEL_DEBUG), 7);
}

static void an_event_has_a_level_of_its_own(void **state)
{
    (void)state;
    become_a_service();
    log_set_level(LOG_LEVEL_ERROR);
    log_event(&event_test, LOG_NO_FIELDS, "not this");
    assert_int_equal(sunk.n, 0);
    log_set_level(LOG_LEVEL_WARNING);
    log_event(&event_test, LOG_NO_FIELDS, "but this");
    assert_string_equal(sunk.message, "but this");
}

static void the_context_is_in_every_entry_that_does_not_know_better(void **state)
{
    (void)state;
    become_a_service();
    log_set_context(log_field_number("GENERATION", 1));
    log_set_context(log_field_text("TREE_PATH", "/a\n\xff"));
    log_set_context(log_field_number("GENERATION", 2));
    log_info("x");
    assert_int_equal(sunk.entry.n_fields, 2);
    assert_int_equal(field_of("GENERATION")->number, 2);
    assert_string_equal(field_of("TREE_PATH")->text, "/a\n\xff");
    log_with(LOG_LEVEL_INFO,
             LOG_FIELDS(log_field_number("WORKER", 0), log_field_number("GENERATION", 3)), "x");
    assert_int_equal(sunk.entry.n_fields, 3);
    assert_int_equal(field_of("GENERATION")->number, 3);
    /* No more than there is room for. */
    log_set_context(log_field_number("THIRD", 1));
    log_set_context(log_field_number("FOURTH", 1));
    log_set_context(log_field_number("FIFTH", 1));
    log_info("x");
    assert_int_equal(sunk.entry.n_fields, LOG_CONTEXT_MAX);
    assert_null(field_of("FIFTH"));
}

static void fields_that_are_too_many_are_dropped(void **state)
{
    (void)state;
    static char names[LOG_FIELDS_MAX + 4][8];
    struct log_field fields[LOG_FIELDS_MAX + 5] = {0};
    for (int i = 0; i < LOG_FIELDS_MAX + 4; i++) {
        snprintf(names[i], sizeof names[i], "F%d", i);
        fields[i] = log_field_number(names[i], (uint64_t)i);
    }
    become_a_service();
    log_with(LOG_LEVEL_INFO, .fields = fields, "x");
    assert_int_equal(sunk.entry.n_fields, LOG_FIELDS_MAX);
    assert_int_equal(field_of("F15")->number, 15);
    assert_null(field_of("F16"));
}

/* The journal shows nothing of a message that is not UTF-8. */
static void what_a_sink_gets_is_printable_utf8(void **state)
{
    (void)state;
    static const struct {
        const char *text, *escaped;
    } rows[] = {
        {"a\nb\r\x1b[31m\x7f", "a\\x0ab\\x0d\\x1b[31m\\x7f"},
        {"\xc3\xa4 \xe2\x82\xac \xf0\x9f\x8c\xb3", "\xc3\xa4 \xe2\x82\xac \xf0\x9f\x8c\xb3"},
        {"\xc2\xa0\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf",
         "\xc2\xa0\xed\x9f\xbf\xee\x80\x80\xf4\x8f\xbf\xbf"},
        {"\xff\xfe", "\\xff\\xfe"},
        {"\x80"
         "a",
         "\\x80"
         "a"},
        {"\xc0\x80", "\\xc0\\x80"}, /* longer than it need be */
        {"\xc1\xbf", "\\xc1\\xbf"},
        {"\xe0\x9f\xbf", "\\xe0\\x9f\\xbf"},
        {"\xf0\x8f\xbf\xbf", "\\xf0\\x8f\\xbf\\xbf"},
        {"\xed\xa0\x80", "\\xed\\xa0\\x80"},          /* half of a pair */
        {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"}, /* beyond the last one */
        {"\xf5\x80\x80\x80", "\\xf5\\x80\\x80\\x80"},
        {"\xc2\x9b"
         "31m",
         "\\xc2\\x9b"
         "31m"},                    /* a control character */
        {"\xe2\x82", "\\xe2\\x82"}, /* cut */
        {"\xe2\x82"
         "a",
         "\\xe2\\x82"
         "a"},
        {"\xf0\x9f\x8c", "\\xf0\\x9f\\x8c"},
        {"\xc3", "\\xc3"},
    };
    become_a_service();
    for (size_t i = 0; i < N_ELEMENTS(rows); i++) {
        log_info("%s", rows[i].text);
        assert_string_equal(sunk.message, rows[i].escaped);
    }
}

static void a_long_entry_is_cut(void **state)
{
    (void)state;
    char *text = malloc(9001);
    become_a_service();
    for (int byte = 1; byte < 256; byte += 30) {
        memset(text, byte, 9000);
        text[9000] = '\0';
        log_info("%s", text);
        assert_in_range(strlen(sunk.message), 4000, 4200);
    }
    free(text);
}

static void what_a_sink_does_not_take_is_a_line(void **state)
{
    (void)state;
    become_a_service();
    sunk.is_broken = true;
    log_event(&event_test, LOG_REASON("why not", EIO), "a\nb");
    assert_string_equal(logged(), "<4>a\\x0ab\n");
    sunk.is_broken = false;
    log_info("c");
    assert_string_equal(logged(), "");
    assert_string_equal(sunk.message, "c");
}

static void elsewhere_no_sink_is_asked(void **state)
{
    (void)state;
    log_init(LOG_LEVEL_INFO);
    assert_false(log_is_journal());
    log_event(&event_test, LOG_REASON("why not", EIO), "a");
    assert_int_equal(sunk.n, 0);
    assert_non_null(strstr(logged(), " actd warning: a\n"));
    become_a_service();
    assert_true(log_is_journal());
}

#define N_THREADS 4
#define N_LINES   500
static _Atomic unsigned n_whole;

/* Each entry is whole: its text and its field are of the same thread and line. */
static bool look(const struct log_entry *entry)
{
    unsigned thread, line;
    bool is_whole = sscanf(entry->message, "thread %u line %u", &thread, &line) == 2 &&
                    entry->n_fields >= 2 && entry->fields[0].number == thread &&
                    entry->fields[1].number == line;
    n_whole += is_whole;
    return line % 2 == 0;
}

static void *write_lines(void *context)
{
    unsigned thread = *(unsigned *)context;
    for (unsigned i = 0; i < N_LINES; i++) {
        log_set_context(log_field_number("GENERATION", i));
        log_with(LOG_LEVEL_INFO,
                 LOG_FIELDS(log_field_number("THREAD", thread), log_field_number("LINE", i)),
                 "thread %u line %u", thread, i);
    }
    return NULL;
}

static void threads_do_not_mix_their_entries(void **state)
{
    (void)state;
    pthread_t threads[N_THREADS];
    unsigned numbers[N_THREADS], thread, line, n = 0;
    become_a_service();
    log_set_sink(look);
    for (unsigned i = 0; i < N_THREADS; i++) {
        numbers[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, write_lines, &numbers[i]), 0);
    }
    for (unsigned i = 0; i < N_THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(n_whole, N_THREADS * N_LINES);
    /* Half of them were taken by nobody. */
    rewind(captured);
    for (char text[64]; fgets(text, sizeof text, captured); n++)
        assert_true(sscanf(text, "<6>thread %u line %u\n", &thread, &line) == 2 && line % 2 == 1);
    assert_int_equal(n, N_THREADS * N_LINES / 2);
}

static void what_others_provoke_is_told_at_times(void **state)
{
    (void)state;
    struct log_pace pace = {0};
    uint64_t n = 0;
    assert_true(log_is_due(&pace, &n));
    assert_int_equal(n, 1);
    for (int i = 0; i < 9; i++)
        assert_false(log_is_due(&pace, &n));
    pace.told_ms -= 60000; /* a minute later */
    assert_true(log_is_due(&pace, &n));
    assert_int_equal(n, 10);
    assert_false(log_is_due(&pace, &n));
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
        cmocka_unit_test_setup_teardown(nobody_waits_for_a_journal_that_does_not_read, capture,
                                        release),
        cmocka_unit_test_setup_teardown(anothers_journal_is_not_ours, capture, release),
        cmocka_unit_test_setup_teardown(a_sink_gets_text_place_and_fields, capture_entries,
                                        release),
        cmocka_unit_test_setup_teardown(an_event_has_a_level_of_its_own, capture_entries, release),
        cmocka_unit_test_setup_teardown(fields_that_are_too_many_are_dropped, capture_entries,
                                        release),
        cmocka_unit_test_setup_teardown(what_a_sink_gets_is_printable_utf8, capture_entries,
                                        release),
        cmocka_unit_test_setup_teardown(a_long_entry_is_cut, capture_entries, release),
        cmocka_unit_test_setup_teardown(what_a_sink_does_not_take_is_a_line, capture_entries,
                                        release),
        cmocka_unit_test_setup_teardown(elsewhere_no_sink_is_asked, capture_entries, release),
        cmocka_unit_test_setup_teardown(threads_do_not_mix_their_entries, capture_entries, release),
        cmocka_unit_test_setup_teardown(the_context_is_in_every_entry_that_does_not_know_better,
                                        capture_entries, release),
        cmocka_unit_test(what_others_provoke_is_told_at_times),
        cmocka_unit_test_setup_teardown(errno_survives_a_line, capture, release),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
