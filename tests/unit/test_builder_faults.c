/*
 * builder: each call to the system fails once, in builds of every kind. Then there is an error that
 * names the file and the reason, nothing is left over, and the old file is as it was. (That no
 * memory is lost is for the address sanitizer to see.)
 */
#include "buildertest.h"
#include "faults.h"
#include "unit.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define OLD         "the old file"
#define VALUE_BYTES 65536

static char dir[] = "/tmp/test_builder_faults.XXXXXX";
static char path[64];
static uint8_t big_value[VALUE_BYTES];

/* What is built: n keys, number i with the value i. */
struct scenario {
    struct act_builder_options options;
    uint32_t n;
    uint32_t step; /* key number i is i * step % n */
    bool is_spilled;
};

static const struct scenario scenarios[] = {
    {.options = {.is_plain = true}, .n = 4000, .step = 1},
    {.options = {.table_min_children = 2}, .n = 4000, .step = 1},
    /* So large that the builder looks what tables cost, and begins anew with fewer. */
    {.options = {.is_plain = false}, .n = 8000, .step = 1},
    {.options = {.values = ACT_VALUES_BYTES, .duplicates = ACT_DUPLICATES_LAST},
     .n = 50,
     .step = 7},
    {.options = {.table_min_children = 16}, .n = 3000, .step = 1001},
    {.options = {.values = ACT_VALUES_BYTES, .memory_bytes = ACT_BUILDER_MIN_MEMORY_BYTES},
     .n = 150,
     .step = 7,
     .is_spilled = true},
};

static int make_dir(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof path, "%s/file", dir);
    for (size_t i = 0; i < sizeof big_value; i++)
        big_value[i] = (uint8_t)(i * i >> 5);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    (void)unlink(path);
    return rmdir(dir);
}

static int is_entry(const struct dirent *entry)
{
    return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

static int count_entries(void)
{
    struct dirent **entries;
    int n = scandir(dir, &entries, is_entry, alphasort);
    for (int i = 0; i < n; i++)
        free(entries[i]);
    free(entries);
    return n;
}

/* 9 bytes; the middle ones differ much, so that there are many lines. */
static void key_of(const struct scenario *s, uint32_t i, uint8_t key[9])
{
    uint32_t number = (uint32_t)((uint64_t)i * s->step % s->n);
    for (unsigned b = 0; b < 4; b++)
        key[b] = (uint8_t)(number >> (24 - 8 * b));
    number *= 2654435761;
    memcpy(key + 4, &number, 4);
    key[8] = 'x';
}

static int add(struct act_builder *builder, const struct scenario *s, uint32_t i)
{
    uint8_t key[9];
    key_of(s, i, key);
    if (s->options.values == ACT_VALUES_U64)
        return act_builder_add(builder, key, sizeof key, i, i + 1);
    size_t len = s->is_spilled ? VALUE_BYTES - i : i;
    return act_builder_add_bytes(builder, key, sizeof key, big_value + i, len, i + 1);
}

/* 0, or what is told, with the message. */
static int build(const struct scenario *s, struct act_error *error)
{
    struct act_builder *builder;
    struct act_builder_summary summary;
    int r = act_builder_new(path, &s->options, &builder, error);
    if (r != 0)
        return r;
    for (uint32_t i = 0; i < s->n && r == 0; i++)
        r = add(builder, s, i);
    if (r == 0)
        r = act_builder_finish(builder, &summary);
    if (r != 0)
        snprintf(error->message, sizeof error->message, "%s", act_builder_error(builder));
    if (r == 0 && s->is_spilled)
        assert_true(summary.n_sorted_runs > 1);
    act_builder_free(builder);
    return r;
}

static void prepare(bool has_old)
{
    (void)unlink(path);
    if (!has_old)
        return;
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(OLD, f);
    assert_int_equal(fclose(f), 0);
}

static bool is_old(void)
{
    struct bytes file = bytes_read_file(path);
    bool is = slice_equal(slice_of(file.p, file.len), slice_of_str(OLD));
    bytes_free(&file);
    return is;
}

static void assert_complete(const struct scenario *s)
{
    struct act *tree;
    struct act_error error;
    if (act_open_path(path, &tree, &error) != 0)
        fail_msg("%s", error.message);
    for (uint32_t i = 0; i < s->n; i++) {
        uint8_t key[9];
        uint64_t value = 0;
        const uint8_t *p = NULL;
        size_t len = 0;
        key_of(s, i, key);
        assert_int_equal(act_get(tree, key, sizeof key, &value, NULL), 0);
        if (s->options.values == ACT_VALUES_U64) {
            assert_int_equal(value, i);
            continue;
        }
        assert_int_equal(act_bytes(tree, value, &p, &len, NULL), 0);
        assert_int_equal(len, s->is_spilled ? VALUE_BYTES - i : i);
        assert_int_equal(memcmp(p, big_value + i, len), 0);
    }
    act_close(tree);
}

/* One build in which the nth call of that kind fails. False: there are not so many. */
static bool check_fault(const struct scenario *s, enum fault kind, uint64_t nth, bool has_old)
{
    struct act_error error = {0};
    prepare(has_old);
    faults_arm(kind, nth);
    int r = build(s, &error);
    bool has_failed = faults_disarm();
    if (r == 0) {
        assert_complete(s);
        assert_int_equal(count_entries(), 1);
        return has_failed;
    }
    assert_true(has_failed);
    if (r != -fault_error(kind))
        fail_msg("call %d/%d ends in %d: %s", (int)kind, (int)nth, r, error.message);
    if (strncmp(error.message, dir, strlen(dir)) != 0 || !strstr(error.message, strerror(-r)))
        fail_msg("call %d/%d is told so: \"%s\"", (int)kind, (int)nth, error.message);
    /* The last thing is to sync the directory: the new file has its name then. */
    bool is_there = access(path, F_OK) == 0;
    if (kind == FAULT_SYNC && is_there && !(has_old && is_old()))
        assert_complete(s);
    else
        assert_true(has_old ? is_old() : !is_there);
    assert_int_equal(count_entries(), is_there);
    return true;
}

static void sweep(const struct scenario *s, bool has_old, bool is_named)
{
    faults_set_named(is_named);
    for (enum fault kind = 0; kind < FAULT_KINDS; kind++) {
        uint64_t nth = 1;
        while (check_fault(s, kind, nth, has_old))
            nth++;
        /* Each kind of call is there, or the sweep has missed something. */
        bool is_rare = (kind == FAULT_MODE && !has_old) || kind == FAULT_STAT ||
                       kind == FAULT_READ || (kind == FAULT_NAME && is_named && !has_old);
        assert_true(nth > 1 || is_rare);
    }
    faults_set_named(false);
}

static void a_call_that_fails_is_told_and_leaves_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_ELEMENTS(scenarios); i++) {
        sweep(&scenarios[i], true, i % 2 == 0);
        if (!scenarios[i].is_spilled)
            sweep(&scenarios[i], false, i % 2 == 1);
    }
}

/* A file system without O_TMPFILE: under a name of its own meanwhile. */
static void where_every_file_has_a_name_it_is_removed(void **state)
{
    (void)state;
    struct act_error error;
    struct stat st;
    faults_set_named(true);
    for (unsigned has_old = 0; has_old < 2; has_old++) {
        struct act_builder *builder;
        prepare(has_old);
        assert_int_equal(act_builder_new(path, NULL, &builder, &error), 0);
        assert_int_equal(act_builder_add(builder, "b", 1, 1, 1), 0);
        assert_int_equal(count_entries(), has_old + 1);
        assert_int_equal(act_builder_add(builder, "a", 1, 1, 2), 0);
        act_builder_free(builder);
        assert_int_equal(count_entries(), has_old);
        if (has_old) {
            assert_true(is_old());
            assert_int_equal(chmod(path, 0604), 0);
        }
        assert_int_equal(build(&scenarios[4], &error), 0);
        assert_complete(&scenarios[4]);
        assert_int_equal(count_entries(), 1);
        assert_int_equal(stat(path, &st), 0);
        if (has_old)
            assert_int_equal(st.st_mode & 07777, 0604);
    }
    faults_set_named(false);
}

static void short_and_interrupted_reads_and_writes_go_on(void **state)
{
    (void)state;
    struct act_error error;
    for (size_t i = 0; i < N_ELEMENTS(scenarios); i++) {
        prepare(false);
        faults_set_short(scenarios[i].is_spilled ? 100003 : 1009);
        int r = build(&scenarios[i], &error);
        faults_set_short(0);
        if (r != 0)
            fail_msg("%s", error.message);
        assert_complete(&scenarios[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_that_fails_is_told_and_leaves_nothing),
        cmocka_unit_test(where_every_file_has_a_name_it_is_removed),
        cmocka_unit_test(short_and_interrupted_reads_and_writes_go_on),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
