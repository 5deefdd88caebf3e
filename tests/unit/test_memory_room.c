/*
 * memory_room: below a folder that has what /proc and /sys would have.
 */
#include "unit.h"

#include "base/memory_room.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char root[] = "test_memory_room.XXXXXX";

/* Makes the file, and the folders on the way to it. */
static void put(const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s%s", root, name);
    for (char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(path, 0700);
        *slash = '/';
    }
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void clean(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    assert_int_equal(system(command), 0);
}

static int begin(void **state)
{
    (void)state;
    strcpy(root + strlen(root) - 6, "XXXXXX");
    assert_non_null(mkdtemp(root));
    return 0;
}

static int end(void **state)
{
    (void)state;
    clean();
    return 0;
}

static void nothing_is_known_without_files(void **state)
{
    (void)state;
    assert_true(memory_room_below(root) == UINT64_MAX);
    put("/proc/meminfo", "MemTotal: 100 kB\nMemFree: 50 kB\n");
    assert_true(memory_room_below(root) == UINT64_MAX);
    put("/proc/meminfo", "MemAvailable: many kB\n");
    assert_true(memory_room_below(root) == UINT64_MAX);
    put("/proc/meminfo", "MemAvailable: 18446744073709551615 kB\n");
    assert_true(memory_room_below(root) == UINT64_MAX);
    put("/proc/self/cgroup", "");
    assert_true(memory_room_below(root) == UINT64_MAX);
    put("/proc/self/cgroup", "0::");
    assert_true(memory_room_below(root) == UINT64_MAX);
}

static void the_machine_has_so_much(void **state)
{
    (void)state;
    put("/proc/meminfo",
        "MemTotal:       8000 kB\nXMemAvailable: 1 kB\nMemAvailable:    4000 kB\n");
    assert_int_equal(memory_room_below(root), 4000 * 1024);
    /* Groups without limits change nothing. */
    put("/proc/self/cgroup", "5:memory:/a\n1:name=systemd:/a\n");
    put("/sys/fs/cgroup/a/memory.max", "1\n");
    assert_int_equal(memory_room_below(root), 4000 * 1024);
    put("/proc/self/cgroup", "1:name=systemd:/x\n0::/b\n");
    put("/sys/fs/cgroup/b/memory.max", "max\n");
    put("/sys/fs/cgroup/b/memory.high", "max\n");
    put("/sys/fs/cgroup/b/memory.current", "3000000\n");
    assert_int_equal(memory_room_below(root), 4000 * 1024);
}

static void a_group_has_so_much(void **state)
{
    (void)state;
    put("/proc/meminfo", "MemAvailable: 4000 kB\n");
    put("/proc/self/cgroup", "0::/a/b\n");
    put("/sys/fs/cgroup/a/b/memory.max", "1000000\n");
    assert_int_equal(memory_room_below(root), 1000000); /* of which we do not know what is used */
    put("/sys/fs/cgroup/a/b/memory.current", "600000\n");
    assert_int_equal(memory_room_below(root), 400000);
    put("/sys/fs/cgroup/a/b/memory.stat", "anon 5\nactive_file 100000\ninactive_file 50000\n"
                                          "slab_reclaimable 1000\nworkingset_refault_file 9\n");
    assert_int_equal(memory_room_below(root), 551000);
    put("/sys/fs/cgroup/a/b/memory.high", "700000\n");
    assert_int_equal(memory_room_below(root), 251000);
    /* One above it counts as well, and the root of a namespace. */
    put("/sys/fs/cgroup/a/memory.max", "900000\n");
    put("/sys/fs/cgroup/a/memory.current", "800000\n");
    assert_int_equal(memory_room_below(root), 100000);
    put("/sys/fs/cgroup/memory.max", "5000\n");
    assert_int_equal(memory_room_below(root), 5000);
    put("/sys/fs/cgroup/memory.current", "6000\n");
    assert_int_equal(memory_room_below(root), 0);
    /* More is given back than is used: numbers of two moments. */
    put("/sys/fs/cgroup/memory.stat", "active_file 9999999\n");
    assert_int_equal(memory_room_below(root), 5000);
    /* Its path leads out of the namespace: what begins here is seen. */
    put("/proc/self/cgroup", "0::/../other\n");
    assert_int_equal(memory_room_below(root), 5000);
    put("/proc/self/cgroup", "0::/\n");
    assert_int_equal(memory_room_below(root), 5000);
}

static void a_group_of_the_first_version_has_so_much(void **state)
{
    (void)state;
    put("/proc/meminfo", "MemAvailable: 4000 kB\n");
    put("/proc/self/cgroup", "9:cpu,memoryless:/x\n5:cpu,memory:/a/b\n1:name=systemd:/a\n0::/c\n");
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"); /* none */
    put("/sys/fs/cgroup/memory/memory.usage_in_bytes", "5000000\n");
    put("/sys/fs/cgroup/memory/x/memory.limit_in_bytes", "1\n");
    assert_int_equal(memory_room_below(root), 4000 * 1024);
    put("/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "1000000\n");
    put("/sys/fs/cgroup/memory/a/b/memory.usage_in_bytes", "600000\n");
    put("/sys/fs/cgroup/memory/a/b/memory.stat", "inactive_file 1\ntotal_inactive_file 100000\n"
                                                 "total_active_file 50000\n");
    assert_int_equal(memory_room_below(root), 550000);
    /* In a container the path is that of the machine, and the folder's root is the container. */
    put("/proc/self/cgroup", "5:memory:/docker/0123\n");
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "5300000\n");
    assert_int_equal(memory_room_below(root), 300000);
    /* Memory may be counted by either version. */
    put("/proc/self/cgroup", "5:memory:/a/b\n0::/c\n");
    put("/sys/fs/cgroup/c/memory.max", "7\n");
    assert_int_equal(memory_room_below(root), 7);
}

static void this_machine_has_some(void **state)
{
    (void)state;
    assert_true(memory_room_bytes() > 0);
    assert_true(memory_room_bytes() < UINT64_MAX); /* every Linux since 3.14 tells */
}

/* In a process of its own, since only its mounts may change. */
static void it_is_known_also_without_meminfo(void **state)
{
    (void)state;
    int status;
    pid_t child = fork();
    if (child == 0) {
        if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
            mount("/dev/null", "/proc/meminfo", NULL, MS_BIND, NULL) != 0)
            _exit(77);
        uint64_t room = memory_room_bytes();
        _exit(room > 0 && room < UINT64_MAX ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77 && geteuid() != 0)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_is_known_without_files, begin, end),
        cmocka_unit_test_setup_teardown(the_machine_has_so_much, begin, end),
        cmocka_unit_test_setup_teardown(a_group_has_so_much, begin, end),
        cmocka_unit_test_setup_teardown(a_group_of_the_first_version_has_so_much, begin, end),
        cmocka_unit_test(this_machine_has_some),
        cmocka_unit_test(it_is_known_also_without_meminfo),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
