/*
 * builder: keys that come twice, byte values, and what is refused.
 */
#include "buildertest.h"
#include "randomkeys.h"
#include "treetest.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define KEYS_MAX 12

/* Entries as they are added: the same key may come several times. */
struct sequence {
    struct oracle_entry entries[400];
    uint8_t keys[KEYS_MAX][3];
    size_t n;
};

/* is_sorted: by key, but equal keys stay in the order of their values. */
static void sequence_init(struct sequence *s, struct random *random, size_t n, bool is_sorted)
{
    size_t lens[KEYS_MAX];
    for (size_t k = 0; k < KEYS_MAX; k++) {
        lens[k] = k == 0 ? 0 : 1 + k % 3;
        memcpy(s->keys[k], (const uint8_t[]){(uint8_t)(k / 4), (uint8_t)(k % 5), (uint8_t)k}, 3);
    }
    s->n = n;
    for (size_t i = 0; i < n; i++) {
        size_t k = is_sorted ? i * KEYS_MAX / n : random_below(random, KEYS_MAX);
        s->entries[i] = (struct oracle_entry){
            .key = slice_of(s->keys[k], lens[k]),
            .value = random_below(random, 3) == 0 ? 3 : random_below(random, 1000),
        };
    }
    if (!is_sorted)
        return;
    for (size_t i = 1; i < n; i++) /* stable */
        for (size_t j = i; j > 0 && oracle_compare(s->entries[j - 1].key, s->entries[j].key) > 0;
             j--) {
            struct oracle_entry was = s->entries[j];
            s->entries[j] = s->entries[j - 1];
            s->entries[j - 1] = was;
        }
}

static const struct oracle_entry *entry_of_line(const struct sequence *s, uint64_t line)
{
    assert_in_range(line, 1, s->n);
    return &s->entries[line - 1];
}

/* What must come out where duplicates are allowed. */
static void expect(const struct sequence *s, enum act_duplicates duplicates, struct oracle *ret)
{
    oracle_init(ret);
    for (size_t i = 0; i < s->n; i++) {
        /* The oracle keeps what was added last. */
        const struct oracle_entry *e =
            &s->entries[duplicates == ACT_DUPLICATES_LAST ? i : s->n - 1 - i];
        oracle_add(ret, e->key.p, e->key.len, e->value);
    }
    oracle_sort(ret);
}

static int build_sequence(const struct sequence *s, const struct act_builder_options *options,
                          struct act_builder **ret_builder, int *ret_fd,
                          struct act_builder_summary *ret_summary)
{
    int r = 0;
    *ret_fd = build_memfd();
    assert_int_equal(act_builder_new_fd(*ret_fd, "memory", options, ret_builder, NULL), 0);
    for (size_t i = 0; i < s->n && r == 0; i++)
        r = build_add(*ret_builder, options, &s->entries[i], i + 1);
    return r == 0 ? act_builder_finish(*ret_builder, ret_summary) : r;
}

static void check_allowed(const struct sequence *s, const struct act_builder_options *options)
{
    struct act_builder *builder;
    struct act_builder_summary summary;
    struct oracle oracle;
    int fd;
    expect(s, options->duplicates, &oracle);
    assert_int_equal(build_sequence(s, options, &builder, &fd, &summary), 0);
    act_builder_free(builder);
    struct bytes file = build_take(fd);
    build_check(&file, &oracle, options, &summary, 1);
    assert_int_equal(summary.n_duplicates, s->n - oracle.n);
    /* The same as from these entries alone: nothing of the others is left. */
    struct bytes alone = build_file(&oracle, BUILD_SORTED, options, &summary);
    assert_int_equal(file.len, alone.len);
    assert_memory_equal(file.p, alone.p, file.len);
    bytes_free(&alone);
    bytes_free(&file);
    oracle_deinit(&oracle);
}

static void check_refused(const struct sequence *s, const struct act_builder_options *options)
{
    struct act_builder *builder;
    struct oracle oracle;
    int fd;
    expect(s, ACT_DUPLICATES_LAST, &oracle);
    int r = build_sequence(s, options, &builder, &fd, NULL);
    assert_int_equal(r, oracle.n < s->n ? ACT_DUPLICATE : 0);
    if (r == ACT_DUPLICATE) {
        struct act_duplicate d = act_builder_duplicate(builder);
        struct slice key = slice_of(d.key, d.key_len);
        assert_true(slice_equal(entry_of_line(s, d.line)->key, key));
        assert_true(d.first_line < d.line);
        if (d.first_line > 0)
            assert_true(slice_equal(entry_of_line(s, d.first_line)->key, key));
        assert_string_equal(act_builder_error(builder), "memory: a key came twice");
        assert_int_equal(act_builder_add(builder, "x", 1, 0, 0), ACT_BUILDER_BROKEN);
        assert_int_equal(act_builder_finish(builder, NULL), ACT_BUILDER_BROKEN);
    }
    act_builder_free(builder);
    close(fd);
    oracle_deinit(&oracle);
}

static void keys_that_come_twice_are_settled_as_told(void **state)
{
    (void)state;
    struct random random = {.state = 3};
    for (unsigned round = 0; round < 120; round++) {
        struct sequence s;
        sequence_init(&s, &random, round / 2 % 40 * (round % 5 == 0 ? 10 : 1), round % 2);
        for (unsigned form = 0; form < 3; form++) {
            struct act_builder_options options = {
                .is_plain = form == 1,
                .values = form == 2 ? ACT_VALUES_BYTES : ACT_VALUES_U64,
                .duplicates = ACT_DUPLICATES_FIRST,
                .table_min_children = 2,
            };
            check_allowed(&s, &options);
            options.duplicates = ACT_DUPLICATES_LAST;
            check_allowed(&s, &options);
            options.duplicates = ACT_DUPLICATES_REFUSE;
            check_refused(&s, &options);
        }
    }
}

struct line_case {
    const char *keys[6];
    uint64_t line, first_line;
};

static void the_lines_of_a_key_that_came_twice_are_told(void **state)
{
    (void)state;
    static const struct line_case cases[] = {
        {{"a", "b", "b"}, 3, 2},      {{"", "", "b"}, 2, 1},
        {{"a", "a"}, 2, 1},           {{"c", "b", "a", "b"}, 4, 2},
        {{"a", "b", "c", "a"}, 4, 1}, {{"b", "a", "x", "x", "x"}, 4, 3},
    };
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        struct act_builder *builder;
        int fd = build_memfd(), r = 0;
        assert_int_equal(act_builder_new_fd(fd, "memory", NULL, &builder, NULL), 0);
        for (size_t k = 0; k < 6 && cases[i].keys[k] && r == 0; k++)
            r = act_builder_add(builder, cases[i].keys[k], strlen(cases[i].keys[k]), k, k + 1);
        r = r == 0 ? act_builder_finish(builder, NULL) : r;
        assert_int_equal(r, ACT_DUPLICATE);
        assert_int_equal(act_builder_duplicate(builder).line, cases[i].line);
        assert_int_equal(act_builder_duplicate(builder).first_line, cases[i].first_line);
        act_builder_free(builder);
        close(fd);
    }
}

static void equal_byte_values_are_stored_once(void **state)
{
    (void)state;
    const struct act_builder_options options = {.values = ACT_VALUES_BYTES};
    struct act_builder *builder;
    struct act_builder_summary summary;
    struct act *tree;
    uint64_t offsets[4];
    const uint8_t *p;
    size_t len;
    int fd = build_memfd();
    assert_int_equal(act_builder_new_fd(fd, "memory", &options, &builder, NULL), 0);
    /* Also the text that is line data, which is not shared. */
    assert_int_equal(act_builder_add_bytes(builder, "abcd", 4, "bcd", 3, 1), 0);
    assert_int_equal(act_builder_add_bytes(builder, "b", 1, "", 0, 2), 0);
    assert_int_equal(act_builder_add_bytes(builder, "c", 1, "bcd", 3, 3), 0);
    assert_int_equal(act_builder_add_bytes(builder, "d", 1, NULL, 0, 4), 0);
    assert_int_equal(act_builder_finish(builder, &summary), 0);
    act_builder_free(builder);
    assert_int_equal(summary.n_byte_values, 2);
    assert_int_equal(summary.byte_value_bytes, 3);
    assert_int_equal(summary.n_lines, 1);
    assert_int_equal(act_open_fd(fd, "memory", &tree, NULL), 0);
    assert_int_equal(act_get(tree, "abcd", 4, &offsets[0], NULL), 0);
    for (size_t i = 1; i < 4; i++)
        assert_int_equal(act_get(tree, &"abcd"[i], 1, &offsets[i], NULL), 0);
    assert_int_equal(offsets[0], offsets[2]);
    assert_int_equal(offsets[1], offsets[3]);
    assert_int_equal(act_bytes(tree, offsets[1], &p, &len, NULL), 0);
    assert_non_null(p);
    assert_int_equal(len, 0);
    act_close(tree);
    close(fd);
}

/* As large as can be sorted, in and out of order. */
static void large_byte_values_are_built(void **state)
{
    (void)state;
    const struct act_builder_options options = {
        .values = ACT_VALUES_BYTES,
        .duplicates = ACT_DUPLICATES_LAST,
        .memory_bytes = ACT_BUILDER_MIN_MEMORY_BYTES,
    };
    const size_t size = (size_t)1 << 20;
    uint8_t *value = malloc(size);
    assert_non_null(value);
    for (size_t i = 0; i < size; i++)
        value[i] = (uint8_t)(i * i >> 7);
    for (unsigned is_sorted = 0; is_sorted < 2; is_sorted++) {
        struct act_builder *builder;
        struct act_builder_summary summary;
        struct act *tree;
        int fd = build_memfd();
        assert_int_equal(act_builder_new_fd(fd, "memory", &options, &builder, NULL), 0);
        for (unsigned i = 0; i < 8; i++) {
            uint8_t key = (uint8_t)(is_sorted ? i : (i * 5 + 3) % 8);
            if (act_builder_add_bytes(builder, &key, 1, value + key, size - 8, 0) != 0)
                fail_msg("%s", act_builder_error(builder));
        }
        assert_int_equal(act_builder_finish(builder, &summary), 0);
        act_builder_free(builder);
        assert_int_equal(summary.n_byte_values, 8);
        assert_int_equal(act_open_fd(fd, "memory", &tree, NULL), 0);
        for (uint8_t key = 0; key < 8; key++) {
            uint64_t offset = 0;
            const uint8_t *p = NULL;
            size_t len = 0;
            assert_int_equal(act_get(tree, &key, 1, &offset, NULL), 0);
            assert_int_equal(act_bytes(tree, offset, &p, &len, NULL), 0);
            assert_int_equal(len, size - 8);
            assert_int_equal(memcmp(p, value + key, len), 0);
        }
        act_close(tree);
        close(fd);
    }
    free(value);
}

/* What cannot be sorted in the memory that is allowed is told; in order it is no problem. */
static void an_entry_too_large_to_be_sorted_is_refused(void **state)
{
    (void)state;
    const struct act_builder_options options = {
        .values = ACT_VALUES_BYTES,
        .memory_bytes = ACT_BUILDER_MIN_MEMORY_BYTES,
    };
    const size_t size = ACT_BUILDER_MIN_MEMORY_BYTES / 8;
    uint8_t *value = calloc(1, size);
    for (unsigned is_first = 0; is_first < 2; is_first++) {
        struct act_builder *builder;
        int fd = build_memfd();
        assert_int_equal(act_builder_new_fd(fd, "memory", &options, &builder, NULL), 0);
        assert_int_equal(act_builder_add_bytes(builder, "b", 1, value, is_first ? size : 1, 1), 0);
        int r = act_builder_add_bytes(builder, "a", 1, value, is_first ? 1 : size, 2);
        assert_int_equal(r, -E2BIG);
        assert_non_null(strstr(act_builder_error(builder), "an entry of 1048577 bytes"));
        act_builder_free(builder);
        close(fd);
    }
    free(value);
}

static void assert_options_refused(struct act_builder_options options, const char *why)
{
    struct act_builder *builder = (struct act_builder *)(uintptr_t)0x77;
    struct act_error error = {0};
    int fd = build_memfd();
    assert_int_equal(act_builder_new_fd(fd, "some name", &options, &builder, &error), -EINVAL);
    assert_ptr_equal(builder, (struct act_builder *)(uintptr_t)0x77);
    assert_int_equal(strncmp(error.message, "some name: ", 11), 0);
    if (!strstr(error.message, why))
        fail_msg("\"%s\" does not say \"%s\"", error.message, why);
    assert_int_equal(act_builder_new_fd(fd, "some name", &options, &builder, NULL), -EINVAL);
    close(fd);
}

static void options_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    assert_options_refused((struct act_builder_options){.memory_bytes = 1}, "8388608 are needed");
    assert_options_refused(
        (struct act_builder_options){.memory_bytes = ACT_BUILDER_MIN_MEMORY_BYTES - 1}, "memory");
    assert_options_refused((struct act_builder_options){.memory_bytes = UINT64_MAX}, "memory");
    assert_options_refused((struct act_builder_options){.table_min_children = 1}, "2 to 256");
    assert_options_refused((struct act_builder_options){.table_min_children = 257}, "2 to 256");
    assert_options_refused((struct act_builder_options){.values = ACT_VALUES_MIXED}, "values");
    assert_options_refused(
        (struct act_builder_options){.is_plain = true, .values = ACT_VALUES_BYTES}, "plain");
    assert_options_refused((struct act_builder_options){.duplicates = 3}, "first or the last");
}

static void assert_fd_refused(int fd, int outcome, const char *why)
{
    struct act_builder *builder;
    struct act_error error = {0};
    assert_int_equal(act_builder_new_fd(fd, "here", NULL, &builder, &error), outcome);
    assert_int_equal(strncmp(error.message, "here: ", 6), 0);
    if (!strstr(error.message, why))
        fail_msg("\"%s\" does not say \"%s\"", error.message, why);
}

static void descriptors_that_cannot_be_built_into_are_refused(void **state)
{
    (void)state;
    char path[64];
    int fds[2], fd = build_memfd();
    assert_int_equal(pipe(fds), 0);
    assert_fd_refused(fds[1], ACT_NOT_REGULAR, "not a regular file");
    close(fds[0]);
    close(fds[1]);
    assert_fd_refused(-1, -EBADF, "Bad file descriptor");
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int other = open(path, O_WRONLY | O_CLOEXEC);
    assert_fd_refused(other, -EBADF, "reading and writing");
    close(other);
    other = open(path, O_RDONLY | O_CLOEXEC);
    assert_fd_refused(other, -EBADF, "reading and writing");
    close(other);
    /* Where everything goes to the end nothing can be filled in. */
    other = open(path, O_RDWR | O_APPEND | O_CLOEXEC);
    assert_fd_refused(other, -EINVAL, "appending");
    close(other);
    assert_int_equal(write(fd, "x", 1), 1);
    assert_fd_refused(fd, -EINVAL, "not an empty file");
    close(fd);
}

static void the_other_kind_of_values_is_refused(void **state)
{
    (void)state;
    const struct act_builder_options bytes = {.values = ACT_VALUES_BYTES};
    for (unsigned is_bytes = 0; is_bytes < 2; is_bytes++) {
        struct act_builder *builder;
        int fd = build_memfd();
        assert_int_equal(act_builder_new_fd(fd, "memory", is_bytes ? &bytes : NULL, &builder, NULL),
                         0);
        int r = is_bytes ? act_builder_add(builder, "a", 1, 0, 1)
                         : act_builder_add_bytes(builder, "a", 1, "x", 1, 1);
        assert_int_equal(r, -EINVAL);
        assert_non_null(strstr(act_builder_error(builder), "memory: "));
        assert_int_equal(act_builder_finish(builder, NULL), ACT_BUILDER_BROKEN);
        act_builder_free(builder);
        close(fd);
    }
    act_builder_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_that_come_twice_are_settled_as_told),
        cmocka_unit_test(the_lines_of_a_key_that_came_twice_are_told),
        cmocka_unit_test(equal_byte_values_are_stored_once),
        cmocka_unit_test(large_byte_values_are_built),
        cmocka_unit_test(an_entry_too_large_to_be_sorted_is_refused),
        cmocka_unit_test(options_that_make_no_sense_are_refused),
        cmocka_unit_test(descriptors_that_cannot_be_built_into_are_refused),
        cmocka_unit_test(the_other_kind_of_values_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
