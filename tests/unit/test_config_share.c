/*
 * config: handed to another process, and what else may stand where it is expected.
 */
#include "daemon/config.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void a_configuration_arrives_whole(void **state)
{
    (void)state;
    struct config config, copy;
    struct config_error error;
    config_init(&config);
    assert_int_equal(config_set(&config, "tree.path=/srv/tree.act", &error), 0);
    assert_int_equal(config_set(&config, "tree.verify=digest", &error), 0);
    assert_int_equal(config_set(&config, "listen.tcp=127.0.0.1:1", &error), 0);
    assert_int_equal(config_set(&config, "warmup.profile=/srv/profile", &error), 0);
    int fd = config_share(&config);
    assert_true(fd >= 0);
    /* Also a second time, and nobody can change it. */
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(config_receive(&copy, fd), 0);
        assert_string_equal(copy.tree_path, config.tree_path);
        assert_ptr_not_equal(copy.tree_path, config.tree_path);
        assert_string_equal(copy.warmup_profile, config.warmup_profile);
        assert_ptr_not_equal(copy.warmup_profile, config.warmup_profile);
        char *path = copy.tree_path, *profile = copy.warmup_profile;
        copy.tree_path = config.tree_path;
        copy.warmup_profile = config.warmup_profile;
        assert_memory_equal(&copy, &config, sizeof copy);
        free(path);
        free(profile);
    }
    assert_int_equal(pwrite(fd, "x", 1, 0), -1);
    assert_int_equal(ftruncate(fd, 0), -1);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    close(fd);
    config_deinit(&config);
}

static void what_is_none_is_refused(void **state)
{
    (void)state;
    struct config config;
    int pipes[2];
    const off_t sizes[] = {0, 1, sizeof config - 1, sizeof config, sizeof config + 4097, 1 << 30};
    assert_int_equal(config_receive(&config, -1), -EBADF);
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    assert_int_equal(config_receive(&config, pipes[0]), -EBADMSG);
    close(pipes[0]);
    close(pipes[1]);
    for (size_t i = 0; i < N_ELEMENTS(sizes); i++) {
        int fd = memfd_create("config", MFD_CLOEXEC);
        assert_true(fd >= 0);
        assert_int_equal(ftruncate(fd, sizes[i]), 0);
        assert_int_equal(config_receive(&config, fd), -EBADMSG);
        close(fd);
    }
}

/* Paths without their ends, too few and too many of them, too long ones. */
static void texts_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    struct config config, read;
    const struct {
        size_t len;
        const char *text;
    } odd[] = {{1, "x"},    {4, "path"},    {5, "path"},       {3, "a\0b"},
               {4, "a\0b"}, {5, "a\0b\0c"}, {8, "a\0b\0c\0d"}, {7, "a\0b\0c\0"}};
    config_init(&config);
    for (size_t i = 0; i < N_ELEMENTS(odd); i++) {
        int fd = memfd_create("config", MFD_CLOEXEC);
        assert_int_equal(write(fd, &config, sizeof config), sizeof config);
        assert_int_equal(write(fd, odd[i].text, odd[i].len), odd[i].len);
        assert_int_equal(config_receive(&read, fd), -EBADMSG);
        close(fd);
    }
    int fd = memfd_create("config", MFD_CLOEXEC);
    char *text = calloc(1, 4099);
    assert_non_null(text);
    memset(text, 'x', 4096);
    assert_int_equal(write(fd, &config, sizeof config), sizeof config);
    assert_int_equal(write(fd, text, 4098), 4098);
    assert_int_equal(config_receive(&read, fd), -EBADMSG);
    free(text);
    close(fd);
    config_deinit(&config);
}

/* One that is not set stays so. */
static void a_path_that_is_not_set_arrives_as_none(void **state)
{
    (void)state;
    struct config config, copy;
    struct config_error error;
    config_init(&config);
    assert_int_equal(config_set(&config, "tree.path=x", &error), 0);
    int fd = config_share(&config);
    assert_int_equal(config_receive(&copy, fd), 0);
    assert_string_equal(copy.tree_path, "x");
    assert_null(copy.warmup_profile);
    config_deinit(&copy);
    config_deinit(&config);
    close(fd);
}

static void what_cannot_be_read_is_refused(void **state)
{
    (void)state;
    struct config config;
    char path[] = "/tmp/test_config_share.XXXXXX";
    int fd = mkstemp(path);
    assert_int_equal(ftruncate(fd, sizeof config + 10), 0);
    close(fd);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_int_equal(config_receive(&config, fd), -EIO);
    close(fd);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_configuration_arrives_whole),
        cmocka_unit_test(what_is_none_is_refused),
        cmocka_unit_test(texts_that_do_not_fit_are_refused),
        cmocka_unit_test(a_path_that_is_not_set_arrives_as_none),
        cmocka_unit_test(what_cannot_be_read_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
