/*
 * refaults: found in the places where kernels have them, in folders of our own.
 */
#include "base/refaults.h"

#include "unit.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char root[64], own[96], cgroups[96], vmstat[96];
static const struct refaults_places places = {own, cgroups, vmstat};

/* Under root, with the folders on the way. */
static void write_file(const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", root, name);
    for (char *slash = strchr(path + strlen(root) + 1, '/'); slash;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(path, 0700);
        *slash = '/';
    }
    FILE *file = fopen(path, "w");
    if (!file || fputs(text, file) < 0 || fclose(file) != 0)
        err(2, "%s", path);
}

static int begin(void **state)
{
    (void)state;
    strcpy(root, "/tmp/test_refaults.XXXXXX");
    if (!mkdtemp(root))
        err(2, "%s", root);
    snprintf(own, sizeof own, "%s/own", root);
    snprintf(cgroups, sizeof cgroups, "%s/cgroup", root);
    snprintf(vmstat, sizeof vmstat, "%s/vmstat", root);
    return 0;
}

static int end(void **state)
{
    char command[128];
    (void)state;
    snprintf(command, sizeof command, "rm -r %s", root);
    return system(command);
}

static void nothing_is_known_without_a_count(void **state)
{
    (void)state;
    assert_true(refaults_read(&places) == REFAULTS_UNKNOWN);
    write_file("own", "0::/system.slice/actd.service\n");
    write_file("vmstat", "nr_free_pages 5\nnot_workingset_refault_file 4\n");
    assert_true(refaults_read(&places) == REFAULTS_UNKNOWN);
}

static void it_is_the_system_where_no_cgroup_counts(void **state)
{
    (void)state;
    write_file("own", "0::/system.slice/actd.service\n");
    write_file("vmstat", "workingset_refault_anon 1\nworkingset_refault_file 22\nx 3\n");
    write_file("cgroup/system.slice/actd.service/cgroup.procs", "");
    assert_int_equal(refaults_read(&places), 22);
}

static void it_is_our_own_cgroup(void **state)
{
    (void)state;
    write_file("own", "0::/system.slice/actd.service\n");
    write_file("vmstat", "workingset_refault_file 22\n");
    write_file("cgroup/memory.stat", "workingset_refault_file 33\n");
    write_file("cgroup/system.slice/actd.service/memory.stat",
               "file 1\nworkingset_refault_file 44\n");
    assert_int_equal(refaults_read(&places), 44);
}

static void it_is_the_next_one_above_that_counts(void **state)
{
    (void)state;
    write_file("vmstat", "workingset_refault_file 22\n");
    write_file("own", "0::/a/b//c/\n");
    write_file("cgroup/a/b/c/cgroup.procs", "");
    write_file("cgroup/a/memory.stat", "workingset_refault_file 55\n");
    assert_int_equal(refaults_read(&places), 55);
    write_file("own", "0::/b/c\n");
    write_file("cgroup/memory.stat", "workingset_refault_file 66\n");
    assert_int_equal(refaults_read(&places), 66);
    write_file("own", "0::/\n");
    assert_int_equal(refaults_read(&places), 66);
}

static void it_is_the_first_version_where_that_counts(void **state)
{
    (void)state;
    write_file("vmstat", "workingset_refault_file 22\n");
    write_file("own", "9:name=systemd:/x\n5:cpu,memory:/service\n3:memoryless:/y\n0::/\n");
    write_file("cgroup/memory/service/memory.stat",
               "workingset_refault_file 7\ntotal_workingset_refault_file 77\n");
    write_file("cgroup/unified/memory.stat", "workingset_refault_file 88\n");
    assert_int_equal(refaults_read(&places), 77);
    write_file("own", "5:cpu:/service\n0::/\n");
    assert_int_equal(refaults_read(&places), 88);
}

static void odd_lines_harm_nobody(void **state)
{
    char line[9000];
    (void)state;
    write_file("vmstat", "workingset_refault_file 22\n");
    write_file("own", "\n:\n::\n0::\n0::relative\nmemory\n0\n");
    assert_int_equal(refaults_read(&places), 22);
    memset(line, 'x', sizeof line - 1);
    memcpy(line, "0::/", 4);
    line[sizeof line - 1] = '\0';
    write_file("own", line);
    assert_int_equal(refaults_read(&places), 22);
}

static void the_kernel_has_one(void **state)
{
    (void)state;
    uint64_t first = refaults_read(&refaults_kernel);
    assert_true(first != REFAULTS_UNKNOWN);
    assert_true(refaults_read(&refaults_kernel) >= first);
}

#define T(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(nothing_is_known_without_a_count),
        T(it_is_the_system_where_no_cgroup_counts),
        T(it_is_our_own_cgroup),
        T(it_is_the_next_one_above_that_counts),
        T(it_is_the_first_version_where_that_counts),
        T(odd_lines_harm_nobody),
        T(the_kernel_has_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
