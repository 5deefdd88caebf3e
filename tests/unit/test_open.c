/*
 * open: what is opened, and every refusal with its message.
 */
#include "act/act.h"
#include "bytes.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* The empty key with value 5. */
#define SMALL "41 43 54 72 65 65 30 33 | 10 00 00 00 00 00 00 00 | 40 05 | 00 00 00 00 00 00 00 00"

/* A tree that no call may have touched. */
#define UNTOUCHED ((struct act *)(uintptr_t)0x77)

static char dir[] = "/tmp/test_open.XXXXXX";

static int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) && chmod(dir, 0755) == 0 ? 0 : -1;
}

static const char *path_of(const char *name)
{
    static char path[100];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static int remove_dir(void **state)
{
    (void)state;
    static const char *const names[] = {"file", "fifo", "socket", "dir", "sparse"};
    for (size_t i = 0; i < N_ELEMENTS(names); i++)
        (void)remove(path_of(names[i]));
    return rmdir(dir);
}

static const char *write_file(const void *p, size_t len)
{
    const char *path = path_of("file");
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
    return path;
}

/* The path is refused with that outcome, and the message begins with its name and says why. */
static void assert_path_refused(const char *path, int outcome, const char *why)
{
    struct act *tree = UNTOUCHED;
    struct act_error error = {0};
    assert_int_equal(act_open_path(path, &tree, &error), outcome);
    assert_ptr_equal(tree, UNTOUCHED);
    assert_int_equal(strncmp(error.message, path, strlen(path)), 0);
    if (!strstr(error.message, why))
        fail_msg("\"%s\" does not say \"%s\"", error.message, why);
    assert_int_equal(act_open_path(path, &tree, NULL), outcome);
    assert_ptr_equal(tree, UNTOUCHED);
}

static void assert_memory_refused(const char *hex, int outcome, const char *why)
{
    struct bytes bytes = bytes_from_hex(hex);
    struct act *tree = UNTOUCHED;
    struct act_error error = {0};
    assert_int_equal(act_open_memory(bytes.p, bytes.len, "some name", &tree, &error), outcome);
    assert_ptr_equal(tree, UNTOUCHED);
    assert_int_equal(strncmp(error.message, "some name: ", 11), 0);
    if (!strstr(error.message, why))
        fail_msg("\"%s\" does not say \"%s\"", error.message, why);
    assert_path_refused(write_file(bytes.p, bytes.len), outcome, why);
    bytes_free(&bytes);
}

static void a_tree_is_opened_by_path_descriptor_and_memory(void **state)
{
    (void)state;
    struct bytes bytes = bytes_from_hex(SMALL);
    const char *path = write_file(bytes.p, bytes.len);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct act *trees[3];
    struct act_info info;
    assert_int_equal(act_open_path(path, &trees[0], NULL), 0);
    assert_int_equal(act_open_fd(fd, "fd", &trees[1], NULL), 0);
    assert_int_equal(act_open_memory(bytes.p, bytes.len, "memory", &trees[2], NULL), 0);
    close(fd); /* the tree does not need it */
    for (int i = 0; i < 3; i++) {
        uint64_t value = 0;
        assert_int_equal(act_get(trees[i], NULL, 0, &value, NULL), 0);
        assert_int_equal(value, 5);
        act_info(trees[i], &info);
        assert_string_equal(info.version, "ACTree03");
        assert_int_equal(info.size_bytes, 26);
        assert_int_equal(info.root_offset, 16);
        assert_int_equal(info.mapped_bytes, i == 2 ? 0 : 26);
        assert_int_equal(info.mapping_start != 0, i != 2);
        act_close(trees[i]);
    }
    bytes_free(&bytes);
}

static void closing_nothing_is_fine(void **state)
{
    (void)state;
    act_close(NULL);
}

static void the_position_of_a_descriptor_does_not_matter(void **state)
{
    (void)state;
    struct bytes bytes = bytes_from_hex(SMALL);
    int fd = open(write_file(bytes.p, bytes.len), O_RDONLY | O_CLOEXEC);
    struct act *tree;
    assert_int_equal(lseek(fd, 20, SEEK_SET), 20);
    assert_int_equal(act_open_fd(fd, "fd", &tree, NULL), 0);
    assert_int_equal(lseek(fd, 0, SEEK_CUR), 20);
    act_close(tree);
    close(fd);
    bytes_free(&bytes);
}

static void every_size_below_25_is_too_short(void **state)
{
    (void)state;
    struct bytes bytes = bytes_from_hex(SMALL);
    struct act *tree = UNTOUCHED;
    struct act_error error;
    for (size_t len = 0; len < ACT_MIN_SIZE_BYTES; len++) {
        struct bytes cut = bytes_copy(bytes.p, len);
        assert_int_equal(act_open_memory(cut.p, len, "n", &tree, &error), ACT_TOO_SHORT);
        assert_non_null(strstr(error.message, "too short"));
        assert_path_refused(write_file(cut.p, len), ACT_TOO_SHORT, "too short");
        bytes_free(&cut);
    }
    assert_int_equal(act_open_memory(NULL, 0, "n", &tree, &error), ACT_TOO_SHORT);
    /* 25 bytes suffice. */
    bytes.p[16] = 0;
    assert_int_equal(act_open_memory(bytes.p, 25, "n", &tree, &error), 0);
    act_close(tree);
    bytes_free(&bytes);
}

static void other_magics_are_refused(void **state)
{
    (void)state;
    assert_memory_refused("41 43 54 72 65 65 30 34 | 10 00 00 00 00 00 00 00 | 40 05 |"
                          "00 00 00 00 00 00 00 00",
                          ACT_BAD_MAGIC, "not an ACT file");
    assert_memory_refused("00 00 00 00 00 00 00 00 | 10 00 00 00 00 00 00 00 | 40 05 |"
                          "00 00 00 00 00 00 00 00",
                          ACT_BAD_MAGIC, "not an ACT file");
    assert_memory_refused("41 43 54 72 65 65 30 31 | 10 00 00 00 00 00 00 00 | 40 05 |"
                          "00 00 00 00 00 00 00 00",
                          ACT_OLD_VERSION, "ACTree01");
    assert_memory_refused("41 43 54 72 65 65 30 32 | 10 00 00 00 00 00 00 00 | 40 05 |"
                          "00 00 00 00 00 00 00 00",
                          ACT_OLD_VERSION, "ACTree02");
}

static void each_byte_of_the_magic_counts(void **state)
{
    (void)state;
    struct bytes bytes = bytes_from_hex(SMALL);
    struct act *tree = UNTOUCHED;
    for (int i = 0; i < 8; i++)
        for (int bit = 0; bit < 8; bit++) {
            bytes.p[i] ^= (uint8_t)(1 << bit);
            int r = act_open_memory(bytes.p, bytes.len, "n", &tree, NULL);
            assert_true(r == ACT_BAD_MAGIC || (r == ACT_OLD_VERSION && i == 7));
            bytes.p[i] ^= (uint8_t)(1 << bit);
        }
    bytes_free(&bytes);
}

static void a_root_of_0_is_told_as_unfinished(void **state)
{
    (void)state;
    assert_memory_refused("41 43 54 72 65 65 30 33 | 00 00 00 00 00 00 00 00 | 40 05 |"
                          "00 00 00 00 00 00 00 00",
                          ACT_UNFINISHED, "still being written");
}

static void a_root_outside_the_arena_is_refused(void **state)
{
    (void)state;
    static const uint64_t roots[] = {
        1, 8, 15, 26, 27, UINT32_MAX, (uint64_t)INT64_MAX, UINT64_C(1) << 63, UINT64_MAX};
    for (size_t i = 0; i < N_ELEMENTS(roots); i++) {
        char hex[256], number[32];
        int n = snprintf(hex, sizeof hex, "41 43 54 72 65 65 30 33 |");
        for (int b = 0; b < 8; b++)
            n += snprintf(hex + n, sizeof hex - (size_t)n, " %02x",
                          (unsigned)(roots[i] >> (8 * b) & 0xff));
        snprintf(hex + n, sizeof hex - (size_t)n, "| 40 05 | 00 00 00 00 00 00 00 00");
        snprintf(number, sizeof number, "%llu", (unsigned long long)roots[i]);
        assert_memory_refused(hex, ACT_BAD_ROOT, number);
    }
}

static void the_last_byte_may_be_the_root(void **state)
{
    (void)state;
    struct bytes bytes = bytes_from_hex("41 43 54 72 65 65 30 33 | 18 00 00 00 00 00 00 00 |"
                                        "00 00 00 00 00 00 00 00 | 00");
    struct act *tree;
    assert_int_equal(act_open_memory(bytes.p, bytes.len, "n", &tree, NULL), 0);
    assert_int_equal(act_get(tree, NULL, 0, NULL, NULL), ACT_MISS);
    act_close(tree);
    bytes_free(&bytes);
}

static void what_is_no_regular_file_is_refused(void **state)
{
    (void)state;
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    snprintf(un.sun_path, sizeof un.sun_path, "%s", path_of("socket"));
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof un), 0);
    assert_int_equal(mkfifo(path_of("fifo"), 0600), 0);
    assert_int_equal(mkdir(path_of("dir"), 0700), 0);
    assert_path_refused(path_of("socket"), ACT_NOT_REGULAR, "a socket");
    /* Nobody writes to it: this must not wait for somebody. */
    assert_path_refused(path_of("fifo"), ACT_NOT_REGULAR, "a FIFO");
    assert_path_refused(path_of("dir"), ACT_NOT_REGULAR, "a directory");
    assert_path_refused("/dev/null", ACT_NOT_REGULAR, "a device");
    close(fd);
}

static void a_descriptor_that_is_no_file_is_refused(void **state)
{
    (void)state;
    int fds[2];
    struct act *tree = UNTOUCHED;
    struct act_error error;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(act_open_fd(fds[0], "here", &tree, &error), ACT_NOT_REGULAR);
    assert_string_equal(error.message, "here: not a regular file but a socket");
    close(fds[0]);
    close(fds[1]);
    assert_int_equal(act_open_fd(-1, "here", &tree, &error), -EBADF);
    struct bytes bytes = bytes_from_hex(SMALL);
    int fd = open(write_file(bytes.p, bytes.len), O_WRONLY | O_CLOEXEC);
    assert_int_equal(act_open_fd(fd, "here", &tree, &error), -EBADF);
    assert_ptr_equal(tree, UNTOUCHED);
    close(fd);
    bytes_free(&bytes);
}

static void what_the_system_refuses_is_told_with_its_reason(void **state)
{
    (void)state;
    struct bytes bytes = bytes_from_hex(SMALL);
    assert_path_refused(path_of("absent"), -ENOENT, "No such file");
    assert_path_refused("", -ENOENT, "No such file");
    assert_int_equal(chmod(write_file(bytes.p, bytes.len), 0), 0);
    if (geteuid() == 0)
        assert_int_equal(seteuid(65534), 0);
    assert_path_refused(path_of("file"), -EACCES, "Permission denied");
    if (getuid() == 0)
        assert_int_equal(seteuid(0), 0);
    assert_int_equal(unlink(path_of("file")), 0);
    bytes_free(&bytes);
}

static void a_long_name_keeps_its_end_and_the_reason(void **state)
{
    (void)state;
    struct bytes bytes = bytes_from_hex(SMALL);
    char name[8001];
    struct act *tree = UNTOUCHED;
    bytes.p[0] = 'x';
    for (size_t len = 1; len < sizeof name; len += len < 1100 ? 1 : 1000) {
        struct act_error error;
        memset(name, 'a', sizeof name);
        name[0] = '/';
        memcpy(name + len - 1, "z", 2);
        memset(&error, 0x55, sizeof error);
        assert_int_equal(act_open_memory(bytes.p, bytes.len, name, &tree, &error), ACT_BAD_MAGIC);
        assert_true(strnlen(error.message, sizeof error.message) < sizeof error.message);
        assert_non_null(strstr(error.message, "z: not an ACT file: it does not begin with "));
        assert_int_equal(error.message[0], len > 512 ? '.' : name[0]);
    }
    bytes_free(&bytes);
}

/* A file of 1 TB with these first bytes, and a value at its very end; -1: no room for it here. */
static int make_sparse(struct slice first)
{
    const off_t size = (off_t)1 << 40;
    int fd = open(path_of("sparse"), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    if (ftruncate(fd, size) < 0) {
        close(fd);
        return -1;
    }
    assert_int_equal(pwrite(fd, first.p, first.len, 0), (ssize_t)first.len);
    assert_int_equal(pwrite(fd, "\x40\x09", 2, size - 2), 2);
    return fd;
}

static void the_size_of_a_file_costs_nothing(void **state)
{
    (void)state;
    struct bytes start = bytes_from_hex(SMALL);
    struct bytes end = bytes_from_hex("41 43 54 72 65 65 30 33 | fe ff ff ff ff 00 00 00");
    struct bytes zeros = bytes_from_hex("00 00 00 00 00 00 00 00");
    const struct {
        struct slice first;
        int outcome;
        uint64_t value;
    } cases[] = {
        {slice_of(start.p, start.len), 0, 5},
        {slice_of(end.p, end.len), 0, 9},
        {slice_of(zeros.p, zeros.len), ACT_BAD_MAGIC, 0},
    };
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        struct act *tree = NULL;
        uint64_t value = 0;
        int fd = make_sparse(cases[i].first);
        if (fd < 0)
            skip();
        assert_int_equal(act_open_fd(fd, "sparse", &tree, NULL), cases[i].outcome);
        if (tree)
            assert_int_equal(act_get(tree, NULL, 0, &value, NULL), 0);
        assert_int_equal(value, cases[i].value);
        act_close(tree);
        close(fd);
    }
    bytes_free(&start);
    bytes_free(&end);
    bytes_free(&zeros);
}

static void root_and_size_are_those_at_open(void **state)
{
    (void)state;
    struct bytes bytes = bytes_from_hex(SMALL);
    const char *path = write_file(bytes.p, bytes.len);
    struct act *tree;
    struct act_info info;
    uint64_t value = 0;
    assert_int_equal(act_open_path(path, &tree, NULL), 0);
    /* As a merge does it: append a new root, then write its offset. */
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "\x40\x08\0\0\0\0\0\0\0\0", 10, 26), 10);
    assert_int_equal(pwrite(fd, "\x1a", 1, 8), 1);
    close(fd);
    assert_int_equal(act_get(tree, NULL, 0, &value, NULL), 0);
    assert_int_equal(value, 5);
    act_info(tree, &info);
    assert_int_equal(info.root_offset, 16);
    assert_int_equal(info.size_bytes, 26);
    act_close(tree);
    assert_int_equal(act_open_path(path, &tree, NULL), 0);
    assert_int_equal(act_get(tree, NULL, 0, &value, NULL), 0);
    assert_int_equal(value, 8);
    act_close(tree);
    bytes_free(&bytes);
}

/* They are unmapped in pieces. */
static void nothing_stays_mapped_of_a_large_file(void **state)
{
    (void)state;
    static const size_t sizes[] = {32u << 20, (32u << 20) - 64, (64u << 20) - 4096,
                                   (96u << 20) + 1};
    struct bytes bytes = bytes_from_hex(SMALL);
    const char *path = write_file(bytes.p, bytes.len);
    for (size_t i = 0; i < N_ELEMENTS(sizes); i++) {
        struct act *tree;
        struct act_info info;
        unsigned char resident;
        assert_int_equal(truncate(path, (off_t)sizes[i]), 0);
        assert_int_equal(act_open_path(path, &tree, NULL), 0);
        act_info(tree, &info);
        act_close(tree);
        for (size_t at = 0; at < sizes[i] + 64; at += 4096) {
            void *page = (void *)(uintptr_t)(info.mapping_start + at);
            assert_int_equal(mincore(page, 1, &resident), -1);
            assert_int_equal(errno, ENOMEM);
        }
    }
    bytes_free(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tree_is_opened_by_path_descriptor_and_memory),
        cmocka_unit_test(closing_nothing_is_fine),
        cmocka_unit_test(the_position_of_a_descriptor_does_not_matter),
        cmocka_unit_test(every_size_below_25_is_too_short),
        cmocka_unit_test(other_magics_are_refused),
        cmocka_unit_test(each_byte_of_the_magic_counts),
        cmocka_unit_test(a_root_of_0_is_told_as_unfinished),
        cmocka_unit_test(a_root_outside_the_arena_is_refused),
        cmocka_unit_test(the_last_byte_may_be_the_root),
        cmocka_unit_test(what_is_no_regular_file_is_refused),
        cmocka_unit_test(a_descriptor_that_is_no_file_is_refused),
        cmocka_unit_test(what_the_system_refuses_is_told_with_its_reason),
        cmocka_unit_test(a_long_name_keeps_its_end_and_the_reason),
        cmocka_unit_test(the_size_of_a_file_costs_nothing),
        cmocka_unit_test(root_and_size_are_those_at_open),
        cmocka_unit_test(nothing_stays_mapped_of_a_large_file),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
