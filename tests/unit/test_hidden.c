/*
 * hidden: below a folder that looks as the sandbox of a service does.
 */
#include "unit.h"

#include "daemon/checker/hidden.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[] = "test_hidden.XXXXXX";

static const char *path_of(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s%s", root, name);
    return path;
}

static void make_folder(const char *name, mode_t mode)
{
    assert_int_equal(mkdir(path_of(name), 0700), 0);
    assert_int_equal(chmod(path_of(name), mode), 0);
}

static void put_mounts(const char *text)
{
    FILE *file = fopen(path_of("/proc/self/mountinfo"), "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static int begin(void **state)
{
    (void)state;
    strcpy(root + strlen(root) - 6, "XXXXXX");
    assert_non_null(mkdtemp(root));
    make_folder("/proc", 0700);
    make_folder("/proc/self", 0700);
    return 0;
}

static int end(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command);
}

static void nothing_is_hidden_without_a_sandbox(void **state)
{
    (void)state;
    assert_null(hidden_reason(root, "/home/tree.act"));
    assert_null(hidden_reason(root, "/tmp/tree.act"));
    make_folder("/home", 0755);
    put_mounts("22 1 8:1 / / rw - ext4 /dev/sda1 rw\n23 22 0:5 / /tmp rw - tmpfs tmpfs rw\n");
    assert_null(hidden_reason(root, "/home/tree.act"));
    assert_null(hidden_reason(root, "/tmp/tree.act"));
}

static void what_is_below_a_closed_home_is_hidden(void **state)
{
    (void)state;
    make_folder("/home", 0);
    make_folder("/root", 0);
    assert_non_null(strstr(hidden_reason(root, "/home/me/tree.act"), "ProtectHome="));
    assert_non_null(strstr(hidden_reason(root, "/root/tree.act"), "/var/lib/actd"));
    assert_null(hidden_reason(root, "/homes/tree.act"));
    assert_null(hidden_reason(root, "/srv/home/tree.act"));
    assert_null(hidden_reason(root, "home/tree.act"));
    assert_null(hidden_reason(root, "/run/user/7/tree.act"));
}

static void what_is_below_a_tmp_of_its_own_is_hidden(void **state)
{
    (void)state;
    put_mounts("22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
               "23 22 8:1 /tmp/systemd-private-0123-actd.service-abc/tmp /tmp rw - ext4 x rw\n");
    assert_non_null(strstr(hidden_reason(root, "/tmp/tree.act"), "PrivateTmp="));
    assert_non_null(strstr(hidden_reason(root, "/var/tmp/tree.act"), "PrivateTmp="));
    assert_null(hidden_reason(root, "/tmpfile"));
    assert_null(hidden_reason(root, "/var/lib/actd/tree.act"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_is_hidden_without_a_sandbox, begin, end),
        cmocka_unit_test_setup_teardown(what_is_below_a_closed_home_is_hidden, begin, end),
        cmocka_unit_test_setup_teardown(what_is_below_a_tmp_of_its_own_is_hidden, begin, end),
    };
    return cmocka_run_group_tests_name("hidden", tests, NULL, NULL);
}
