/*
 * records: tsv and nul, read and written; how the input is cut into reads; what is refused. (jsonl:
 * test_records_json.c.)
 *
 * Bad inputs tried: no tab; an empty line; values that are empty, signed, spaced, in hex, with a
 * fraction, of 2^64 and above; odd and foreign hex digits; a key alone at the end; an end without
 * NUL, of a key and of a value; keys of more than 1 MiB; a record without end; a descriptor that
 * cannot be read. To write: newlines, tabs and NULs where the format has no place for them; a full
 * device.
 */
#include "client/actctl/records_writer.h"
#include "client/actctl/text.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define TSV                   \
    {                         \
        .format = RECORDS_TSV \
    }
#define NUL                   \
    {                         \
        .format = RECORDS_NUL \
    }
#define MiB         ((size_t)1 << 20)
#define BYTES(text) slice_of(text, sizeof text - 1)

/* Each piece is what one read gives. The caller closes it. */
static int descriptor_in_pieces(struct slice text, size_t first, size_t each)
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds), 0);
    for (size_t at = 0, len = first; at < text.len; at += len, len = each) {
        len = len < text.len - at ? len : text.len - at;
        if (len > 0)
            assert_int_equal(write(fds[0], text.p + at, len), len);
    }
    close(fds[0]);
    return fds[1];
}

static void write_end(FILE *file, const struct records *records, int r)
{
    if (r == RECORDS_END) {
        fputs("end", file);
        return;
    }
    assert_int_equal(r, RECORDS_BAD);
    fprintf(file, "%d: ", (int)records->number);
    if (records->fault.has_key)
        text_write(file, records->fault.key, 0);
    if (records->fault.has_value) {
        putc('|', file);
        text_write(file, records->fault.value, 0);
    }
    fprintf(file, ": %s", records->fault.reason);
}

/* All that a reader makes of fd, as one text: "key|value " for each, then how it ended. */
static char *told(int fd, const struct records_options *options)
{
    struct records records;
    struct record record;
    char *text = NULL;
    size_t size = 0;
    int r;
    FILE *file = open_memstream(&text, &size);
    records_init(&records, fd, options);
    while ((r = records_next(&records, &record)) == 0) {
        text_write(file, record.key, 0);
        putc('|', file);
        if (options->is_bytes)
            text_write(file, record.bytes, 0);
        else
            fprintf(file, "%llu", (unsigned long long)record.value);
        putc(' ', file);
    }
    write_end(file, &records, r);
    records_deinit(&records);
    fclose(file);
    return text;
}

/* However the input is cut. */
static void assert_told(struct slice text, const struct records_options *options,
                        const char *wanted)
{
    for (size_t first = 0; first <= text.len; first++) {
        bool is_each = first == text.len; /* every byte alone */
        int fd = descriptor_in_pieces(text, is_each ? 1 : first, is_each ? 1 : text.len);
        char *is = told(fd, options);
        assert_string_equal(is, wanted);
        free(is);
        close(fd);
    }
}

#define NO_TAB    "there is no tab: write key, tab, value (--keys-only takes keys alone)"
#define NO_NUMBER "the value is not a whole number from 0 to 18446744073709551615"

static void tsv_is_a_record_a_line(void **state)
{
    (void)state;
    static const struct {
        struct records_options options;
        const char *text, *wanted;
    } cases[] = {
        {TSV, "", "end"},
        {TSV, "a\t1\n", "a|1 end"},
        {TSV, "a\t1", "a|1 end"},
        {TSV, "a\t1\n\t0\nb\\n\t18446744073709551615\n", "a|1 |0 b\\n|18446744073709551615 end"},
        {TSV, "a\tb\t7\n\t\t8\n", "a\\tb|7 \\t|8 end"},
        {TSV, "a\t007\n", "a|7 end"},
        {TSV, "a\t0000000000000000000000018446744073709551615\n", "a|18446744073709551615 end"},
        {TSV, "a\t1\nb\n", "a|1 2: b: " NO_TAB},
        {TSV, "a\t1\n\n", "a|1 2: : " NO_TAB},
        {TSV, "a 1", "1: a 1: " NO_TAB},
        {TSV, "a\t\n", "1: a|: " NO_NUMBER},
        {TSV, "a\t-1\n", "1: a|-1: " NO_NUMBER},
        {TSV, "a\t+1\n", "1: a|+1: " NO_NUMBER},
        {TSV, "a\t 1\n", "1: a| 1: " NO_NUMBER},
        {TSV, "a\t1 \n", "1: a|1 : " NO_NUMBER},
        {TSV, "a\t1\r\n", "1: a|1\\r: " NO_NUMBER},
        {TSV, "a\t1.0\n", "1: a|1.0: " NO_NUMBER},
        {TSV, "a\t0x1\n", "1: a|0x1: " NO_NUMBER},
        {TSV, "a\t18446744073709551616\n", "1: a|18446744073709551616: " NO_NUMBER},
        {TSV, "a\t18446744073709551620\n", "1: a|18446744073709551620: " NO_NUMBER},
        {TSV, "a\t99999999999999999999\n", "1: a|99999999999999999999: " NO_NUMBER},
        {TSV, "a\t184467440737095516150\n", "1: a|184467440737095516150: " NO_NUMBER},
        {{.is_bytes = true}, "a\tb\tc\r\nd\t\n\tx", "a|b\\tc\\r d| |x end"},
        {{.is_bytes = true}, "a\tb\nab\n", "a|b 2: ab: " NO_TAB},
        {{.is_keys_only = true}, "a\tb\n\nc\r\nd", "a\\tb|0 |0 c\\r|0 d|0 end"},
        {{.is_keys_only = true, .is_bytes = true}, "a\n", "a| end"},
        {{.is_hex = true}, "00fF\t1\n\t2\n", "\\x00\\xff|1 |2 end"},
        {{.is_hex = true, .is_bytes = true}, "61\t6200\n61\t\n", "a|b\\x00 a| end"},
        {{.is_hex = true, .is_keys_only = true}, "6162\n\n63", "ab|0 |0 c|0 end"},
        {{.is_hex = true},
         "61\t1\n6\t1\n",
         "a|1 2: 6: the key is not hex: write two hex digits for each byte"},
        {{.is_hex = true},
         "6g\t1\n",
         "1: 6g: the key is not hex: write two hex digits for each byte"},
        {{.is_hex = true, .is_bytes = true},
         "61\tzz",
         "1: a|zz: the value is not hex: write two hex digits for each byte"},
    };
    for (size_t i = 0; i < N_ELEMENTS(cases); i++)
        assert_told(slice_of_str(cases[i].text), &cases[i].options, cases[i].wanted);
    assert_told(BYTES("a\0b\t1\n"), &(struct records_options)TSV, "a\\x00b|1 end");
}

#define KEY_ALONE "a key without a value (--keys-only takes keys alone)"
#define KEY_CUT   "the key does not end with NUL: the input is cut off"
#define VALUE_CUT "the value does not end with NUL: the input is cut off"

static void nul_ends_keys_and_values(void **state)
{
    (void)state;
    static const struct {
        struct records_options options;
        struct slice text;
        const char *wanted;
    } cases[] = {
        {NUL, {(const uint8_t *)"", 0}, "end"},
#define TEXT(text) {(const uint8_t *)(text), sizeof(text) - 1}
        {NUL, TEXT("a\0001\0"), "a|1 end"},
        {NUL, TEXT("a\tb\n\0001\0\0002\0"), "a\\tb\\n|1 |2 end"},
        {NUL, TEXT("a\0001\0b\0"), "a|1 2: b: " KEY_ALONE},
        {NUL, TEXT("a\0"), "1: a: " KEY_ALONE},
        {NUL, TEXT("a"), "1: a: " KEY_CUT},
        {NUL, TEXT("a\0001"), "1: a: " VALUE_CUT},
        {NUL, TEXT("a\0\0"), "1: a|: " NO_NUMBER},
        {NUL, TEXT("a\0001\n\0"), "1: a|1\\n: " NO_NUMBER},
        {{.format = RECORDS_NUL, .is_bytes = true}, TEXT("a\0b\n\0\0\0c\0\0"), "a|b\\n | c| end"},
        {{.format = RECORDS_NUL, .is_keys_only = true},
         TEXT("/a\n\0\0/b\0"),
         "/a\\n|0 |0 /b|0 end"},
        {{.format = RECORDS_NUL, .is_keys_only = true}, TEXT("a\0b"), "a|0 2: b: " KEY_CUT},
        {{.format = RECORDS_NUL, .is_hex = true, .is_bytes = true},
         TEXT("61\000620a\0"),
         "a|b\\n end"},
        {{.format = RECORDS_NUL, .is_hex = true},
         TEXT("61\n\0001\0"),
         "1: 61\\n: the key is not hex: write two hex digits for each byte"},
#undef TEXT
    };
    for (size_t i = 0; i < N_ELEMENTS(cases); i++)
        assert_told(cases[i].text, &cases[i].options, cases[i].wanted);
}

static void the_input_is_counted(void **state)
{
    (void)state;
    struct records records;
    struct record record;
    int fd = descriptor_in_pieces(slice_of_str("ab\t1\ncd\t2"), 100, 1);
    records_init(&records, fd, &(struct records_options)TSV);
    assert_int_equal(records_next(&records, &record), 0);
    assert_int_equal(records.n_bytes, 5);
    assert_int_equal(records_next(&records, &record), 0);
    assert_int_equal(records.n_bytes, 9);
    assert_int_equal(records.number, 2);
    assert_int_equal(records_next(&records, &record), RECORDS_END);
    assert_int_equal(records_next(&records, &record), RECORDS_END);
    records_deinit(&records);
    close(fd);
}

/* A file of many blocks: every record comes once, wherever the blocks end. */
static void long_inputs_are_cut_anywhere(void **state)
{
    (void)state;
    enum { N = 200000 };
    struct records records;
    struct record record;
    int fd = memfd_create("records", MFD_CLOEXEC);
    FILE *file = fdopen(fd, "w+");
    for (unsigned i = 0; i < N; i++)
        fprintf(file, "%u%.*s\t%u\n", i, (int)(i % 40), "****************************************",
                i);
    assert_int_equal(fflush(file), 0);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    records_init(&records, fd, &(struct records_options)TSV);
    for (unsigned i = 0; i < N; i++) {
        char key[16];
        size_t len = (size_t)snprintf(key, sizeof key, "%u", i);
        assert_int_equal(records_next(&records, &record), 0);
        assert_int_equal(record.value, i);
        assert_int_equal(record.key.len, len + i % 40);
        assert_memory_equal(record.key.p, key, len);
    }
    assert_int_equal(records_next(&records, &record), RECORDS_END);
    assert_true(records.size <= MiB);
    records_deinit(&records);
    fclose(file);
}

/* A file of n bytes 'k', then the rest. */
static int long_key_file(size_t n, const char *rest)
{
    int fd = memfd_create("records", MFD_CLOEXEC);
    char *text = malloc(n);
    memset(text, 'k', n);
    assert_int_equal(write(fd, text, n), n);
    assert_int_equal(write(fd, rest, strlen(rest) + 1), strlen(rest) + 1);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    free(text);
    return fd;
}

static void keys_may_have_a_mebibyte(void **state)
{
    (void)state;
    struct records_options options[] = {TSV, NUL, TSV};
    options[1].is_keys_only = options[2].is_bytes = true;
    for (size_t i = 0; i < N_ELEMENTS(options); i++) {
        for (size_t more = 0; more < 2; more++) {
            struct records records;
            struct record record;
            int fd = long_key_file(MiB + more, i == 1 ? "" : "\t1\n");
            records_init(&records, fd, &options[i]);
            assert_int_equal(records_next(&records, &record), more ? RECORDS_BAD : 0);
            if (more)
                assert_string_equal(records.fault.reason, "the key is longer than 1 MiB");
            else
                assert_int_equal(record.key.len, MiB);
            records_deinit(&records);
            close(fd);
        }
    }
}

static void a_record_without_end_takes_bounded_memory(void **state)
{
    (void)state;
    static const struct records_options options[] = {
        TSV, {.format = RECORDS_NUL, .is_keys_only = true}, {.format = RECORDS_JSONL}};
    for (size_t i = 0; i < N_ELEMENTS(options); i++) {
        struct records records;
        struct record record;
        int fd = open("/dev/zero", O_RDONLY | O_CLOEXEC);
        if (options[i].format == RECORDS_NUL) {
            close(fd);
            fd = long_key_file(RECORDS_MAX_BYTES + 1, "");
        }
        records_init(&records, fd, &options[i]);
        assert_int_equal(records_next(&records, &record), RECORDS_BAD);
        assert_string_equal(records.fault.reason, "longer than 64 MiB");
        assert_int_equal(records.number, 1);
        assert_true(records.size <= 2 * RECORDS_MAX_BYTES);
        records_deinit(&records);
        close(fd);
    }
}

static void a_value_may_be_long(void **state)
{
    (void)state;
    struct records_options options = {.format = RECORDS_NUL, .is_bytes = true};
    struct records records;
    struct record record;
    int fd = memfd_create("records", MFD_CLOEXEC);
    assert_int_equal(write(fd, "key\0", 4), 4);
    assert_int_equal(ftruncate(fd, (off_t)(50 * MiB)), 0); /* a file of NULs: no value there */
    char *text = malloc(40 * MiB);
    memset(text, 'v', 40 * MiB);
    assert_int_equal(pwrite(fd, text, 40 * MiB, 4), 40 * MiB);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    records_init(&records, fd, &options);
    assert_int_equal(records_next(&records, &record), 0);
    assert_int_equal(record.bytes.len, 40 * MiB);
    assert_memory_equal(record.bytes.p, text, 40 * MiB);
    assert_int_equal(records_next(&records, &record), 0);
    assert_int_equal(record.key.len + record.bytes.len, 0);
    records_deinit(&records);
    free(text);
    close(fd);
}

static void what_cannot_be_read_is_told(void **state)
{
    (void)state;
    struct records records;
    struct record record;
    int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    records_init(&records, fd, &(struct records_options)TSV);
    assert_int_equal(records_next(&records, &record), -EISDIR);
    records_deinit(&records);
    close(fd);
}

/* Writes one record, wanted: the text, or the beginning of the reason. */
static void assert_written(const struct records_options *options, struct record record, int r,
                           struct slice wanted)
{
    struct records_writer writer;
    char *text = NULL;
    size_t size = 0;
    const char *reason = "";
    FILE *file = open_memstream(&text, &size);
    assert_int_equal(records_writer_init(&writer, file, options), 0);
    assert_int_equal(records_write(&writer, &record, &reason), r);
    assert_int_equal(records_flush(&writer), 0);
    records_writer_deinit(&writer);
    fclose(file);
    struct slice is = r == 0 ? slice_of(text, size) : slice_of_str(reason);
    assert_true(is.len >= wanted.len);
    assert_memory_equal(is.p, wanted.p, wanted.len);
    assert_int_equal(r == 0 ? is.len : 0, r == 0 ? wanted.len : 0);
    free(text);
}

static struct record number_of(struct slice key, uint64_t value)
{
    return (struct record){.key = key, .value = value};
}

static struct record bytes_of(struct slice key, struct slice bytes)
{
    return (struct record){.key = key, .bytes = bytes};
}

static void what_fits_is_written(void **state)
{
    (void)state;
    struct records_options tsv = TSV, nul = NUL;
    struct slice ab = slice_of_str("ab"), none = {0};
    assert_written(&tsv, number_of(ab, 0), 0, slice_of_str("ab\t0\n"));
    assert_written(&tsv, number_of(none, UINT64_MAX), 0, slice_of_str("\t18446744073709551615\n"));
    assert_written(&tsv, number_of(BYTES("\t\0\r\xff"), 10), 0, BYTES("\t\0\r\xff\t10\n"));
    assert_written(&nul, number_of(BYTES("\n\t"), 10), 0, BYTES("\n\t\00010\0"));
    tsv.is_bytes = nul.is_bytes = true;
    assert_written(&tsv, bytes_of(ab, BYTES("\t\0")), 0, BYTES("ab\t\t\0\n"));
    assert_written(&nul, bytes_of(ab, BYTES("\n")), 0, BYTES("ab\0\n\0"));
    tsv.is_hex = nul.is_hex = true;
    assert_written(&tsv, bytes_of(BYTES("\t\n\0"), BYTES("\n")), 0, slice_of_str("090a00\t0a\n"));
    assert_written(&nul, bytes_of(BYTES("\t\n\0"), BYTES("\0")), 0, BYTES("090a00\00000\0"));
    tsv.is_keys_only = nul.is_keys_only = true;
    assert_written(&tsv, bytes_of(BYTES("\n"), BYTES("\n")), 0, slice_of_str("0a\n"));
    assert_written(&nul, bytes_of(none, BYTES("x")), 0, BYTES("\0"));
    tsv.is_hex = nul.is_hex = false;
    assert_written(&tsv, bytes_of(BYTES("\t"), BYTES("\n")), 0, slice_of_str("\t\n"));
    assert_written(&nul, bytes_of(BYTES("\n"), BYTES("\0")), 0, BYTES("\n\0"));
}

static void what_would_read_back_otherwise_is_refused(void **state)
{
    (void)state;
    struct records_options tsv = TSV, nul = NUL;
    struct slice ab = slice_of_str("ab");
    assert_written(&tsv, number_of(BYTES("a\n"), 1), RECORDS_BAD,
                   slice_of_str("a newline in the key"));
    assert_written(&nul, number_of(BYTES("\0"), 1), RECORDS_BAD, slice_of_str("a NUL in the key"));
    tsv.is_bytes = nul.is_bytes = true;
    assert_written(&tsv, bytes_of(BYTES("\t"), ab), RECORDS_BAD, slice_of_str("a tab in the key"));
    assert_written(&tsv, bytes_of(ab, BYTES("\n")), RECORDS_BAD,
                   slice_of_str("a newline in the value"));
    assert_written(&nul, bytes_of(ab, BYTES("x\0")), RECORDS_BAD,
                   slice_of_str("a NUL in the value"));
    tsv.is_keys_only = nul.is_keys_only = true;
    assert_written(&tsv, bytes_of(BYTES("\n"), ab), RECORDS_BAD,
                   slice_of_str("a newline in the key"));
    assert_written(&nul, bytes_of(BYTES("\0"), ab), RECORDS_BAD, slice_of_str("a NUL in the key"));
}

static void long_records_are_written(void **state)
{
    (void)state;
    struct records_options options = {.is_bytes = true, .is_hex = true};
    uint8_t *bytes = calloc(1, 3 * MiB);
    struct record record = bytes_of(slice_of(bytes, MiB), slice_of(bytes, 3 * MiB));
    char *wanted = malloc(8 * MiB + 2);
    memset(wanted, '0', 8 * MiB + 2);
    wanted[2 * MiB] = '\t';
    wanted[8 * MiB + 1] = '\n';
    assert_written(&options, record, 0, slice_of(wanted, 8 * MiB + 2));
    free(wanted);
    free(bytes);
}

static void a_full_device_is_told(void **state)
{
    (void)state;
    struct records_options options = TSV;
    struct records_writer writer;
    const char *reason;
    FILE *file = fopen("/dev/full", "w");
    struct record record = number_of(slice_of_str("ab"), 1);
    int r = 0;
    assert_int_equal(records_writer_init(&writer, file, &options), 0);
    for (int i = 0; i < 1000000 && r == 0; i++)
        r = records_write(&writer, &record, &reason);
    assert_int_equal(r, -ENOSPC);
    records_writer_deinit(&writer);
    fclose(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tsv_is_a_record_a_line),
        cmocka_unit_test(nul_ends_keys_and_values),
        cmocka_unit_test(the_input_is_counted),
        cmocka_unit_test(long_inputs_are_cut_anywhere),
        cmocka_unit_test(keys_may_have_a_mebibyte),
        cmocka_unit_test(a_record_without_end_takes_bounded_memory),
        cmocka_unit_test(a_value_may_be_long),
        cmocka_unit_test(what_cannot_be_read_is_told),
        cmocka_unit_test(what_fits_is_written),
        cmocka_unit_test(what_would_read_back_otherwise_is_refused),
        cmocka_unit_test(long_records_are_written),
        cmocka_unit_test(a_full_device_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
