/*
 * fd: descriptors that close themselves, and reading small files.
 */
#include "base/fd.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

static void a_descriptor_closes_at_the_end_of_its_scope(void **state)
{
    (void)state;
    int number;
    {
        with_close int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        number = fd;
        assert_true(is_open(number));
        errno = ERANGE;
    }
    assert_int_equal(errno, ERANGE);
    assert_false(is_open(number));
}

static void what_is_taken_stays_open(void **state)
{
    (void)state;
    int taken;
    {
        with_close int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        taken = fd_take(&fd);
        assert_int_equal(fd, -1);
    }
    assert_true(is_open(taken));
    close(taken);
}

static void a_file_is_read_up_to_the_size_of_the_buffer(void **state)
{
    (void)state;
    char path[] = "/tmp/test_fd.XXXXXX", text[16];
    int fd = mkstemp(path);
    assert_int_equal(write(fd, "0123456789", 10), 10);
    close(fd);
    memset(text, 'x', sizeof text);
    assert_int_equal(fd_read_file(path, text, sizeof text), 10);
    assert_string_equal(text, "0123456789");
    assert_int_equal(fd_read_file(path, text, 11), 10);
    assert_int_equal(fd_read_file(path, text, 10), 9);
    assert_string_equal(text, "012345678");
    assert_int_equal(fd_read_file(path, text, 1), 0);
    assert_string_equal(text, "");
    assert_int_equal(truncate(path, 0), 0);
    assert_int_equal(fd_read_file(path, text, sizeof text), 0);
    assert_string_equal(text, "");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(fd_read_file(path, text, sizeof text), -ENOENT);
    assert_int_equal(fd_read_file("/", text, sizeof text), -EISDIR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_descriptor_closes_at_the_end_of_its_scope),
        cmocka_unit_test(what_is_taken_stays_open),
        cmocka_unit_test(a_file_is_read_up_to_the_size_of_the_buffer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
