/*
 * keep: advice, locks and the pages that lookups pass first, as the kernel sees them; and a
 * tree that is only a part of its file.
 */
#include "act/act.h"
#include "bytes.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE_BYTES ((uint64_t)sysconf(_SC_PAGESIZE))

static struct bytes data(const char *name)
{
    return bytes_read_file(test_data_path(name));
}

static struct act *open_data(const char *name)
{
    struct act *tree;
    struct act_error error;
    if (act_open_path(test_data_path(name), &tree, &error) != 0)
        fail_msg("%s", error.message);
    return tree;
}

/* A file in memory: the bytes, and zeros behind them. */
static int memory_file(struct bytes bytes, uint64_t size)
{
    int fd = memfd_create("test", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes.p, bytes.len, 0), bytes.len);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    return fd;
}

/* The line of smaps with that name, of the mapping at start. */
static void smaps(uint64_t start, const char *name, char *ret, size_t size)
{
    char line[512], head[32];
    bool is_there = false;
    FILE *file = fopen("/proc/self/smaps", "re");
    assert_non_null(file);
    *ret = '\0';
    snprintf(head, sizeof head, "%llx-", (unsigned long long)start);
    while (*ret == '\0' && fgets(line, sizeof line, file)) {
        if (strncmp(line, head, strlen(head)) == 0)
            is_there = true;
        else if (is_there && strncmp(line, name, strlen(name)) == 0)
            snprintf(ret, size, "%s", line);
    }
    assert_int_equal(fclose(file), 0);
    assert_true(*ret != '\0');
}

static uint64_t start_of(const struct act *tree)
{
    struct act_info info;
    act_info(tree, &info);
    return info.mapping_start;
}

static bool has_flag(const struct act *tree, const char *flag)
{
    char line[512], wanted[8];
    smaps(start_of(tree), "VmFlags:", line, sizeof line);
    snprintf(wanted, sizeof wanted, " %s ", flag);
    return strstr(line, wanted);
}

static uint64_t locked_bytes(void)
{
    char line[256];
    unsigned long long kib = UINT64_MAX;
    FILE *file = fopen("/proc/self/status", "re");
    assert_non_null(file);
    while (fgets(line, sizeof line, file))
        (void)sscanf(line, "VmLck: %llu kB", &kib);
    assert_int_equal(fclose(file), 0);
    return kib * 1024;
}

static void advice_is_what_the_kernel_has(void **state)
{
    (void)state;
    struct act *tree = open_data("cities.act");
    assert_true(has_flag(tree, "rr"));
    assert_int_equal(act_advise(tree, ACT_ADVICE_SEQUENTIAL), 0);
    assert_true(has_flag(tree, "sr") && !has_flag(tree, "rr"));
    assert_int_equal(act_advise(tree, ACT_ADVICE_NORMAL), 0);
    assert_true(!has_flag(tree, "sr") && !has_flag(tree, "rr"));
    assert_int_equal(act_advise(tree, ACT_ADVICE_RANDOM), 0);
    assert_true(has_flag(tree, "rr"));
    assert_int_equal(act_advise(tree, (enum act_advice)3), -EINVAL);
    act_close(tree);
}

static void memory_takes_neither_advice_nor_locks(void **state)
{
    (void)state;
    struct bytes bytes = data("built/e.act");
    struct act *tree;
    struct act_range range;
    assert_int_equal(act_open_memory(bytes.p, bytes.len, "memory", &tree, NULL), 0);
    assert_int_equal(act_advise(tree, ACT_ADVICE_NORMAL), 0);
    assert_int_equal(act_lock(tree, 0, bytes.len, false), ACT_MISS);
    assert_int_equal(act_top(tree, &range, 1), 1);
    assert_int_equal(range.offset, 0);
    assert_int_equal(range.len, bytes.len);
    assert_int_equal(act_top(tree, &range, 0), 0);
    act_unlock(tree);
    act_close(tree);
    bytes_free(&bytes);
}

/* Needs the right to lock a MiB or two: everybody has eight. */
static void locked_is_what_was_asked_for(void **state)
{
    (void)state;
    struct act *tree = open_data("cities.act");
    struct act_info info;
    act_info(tree, &info);
    uint64_t size = info.size_bytes, all = (size + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
    assert_int_equal(locked_bytes(), 0);
    assert_int_equal(act_lock(tree, 0, 0, false), ACT_MISS);
    assert_int_equal(act_lock(tree, 0, size + 1, false), ACT_MISS);
    assert_int_equal(act_lock(tree, size, 1, false), ACT_MISS);
    assert_int_equal(act_lock(tree, 2, UINT64_MAX, false), ACT_MISS);
    assert_int_equal(locked_bytes(), 0);
    /* Two bytes on two pages, and again. */
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(act_lock(tree, PAGE_BYTES - 1, 2, false), 0);
        assert_int_equal(locked_bytes(), 2 * PAGE_BYTES);
    }
    act_unlock(tree);
    assert_int_equal(locked_bytes(), 0);
    assert_int_equal(act_lock(tree, 0, size, true), 0);
    assert_int_equal(locked_bytes(), all);
    assert_true(has_flag(tree, "lo") && has_flag(tree, "lf"));
    assert_int_equal(act_lock(tree, 0, size, false), 0);
    assert_int_equal(locked_bytes(), all);
    assert_true(has_flag(tree, "lo"));
    unsigned char *resident = calloc(1, all / PAGE_BYTES);
    assert_int_equal(mincore((void *)(uintptr_t)info.mapping_start, all, resident), 0);
    for (uint64_t i = 0; i < all / PAGE_BYTES; i++)
        assert_int_equal(resident[i] & 1, 1);
    free(resident);
    act_close(tree);
    assert_int_equal(locked_bytes(), 0);
}

static void more_than_the_limit_is_refused_before_it_is_read(void **state)
{
    (void)state;
    struct act *tree = open_data("cities.act");
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct rlimit limit = {.rlim_cur = 4 * PAGE_BYTES, .rlim_max = 4 * PAGE_BYTES};
        if (setrlimit(RLIMIT_MEMLOCK, &limit) < 0 || (getuid() == 0 && setresuid(1, 1, 1) < 0))
            _exit(1);
        if (act_lock(tree, 0, 100 * PAGE_BYTES, false) != -ENOMEM || locked_bytes() != 0)
            _exit(2);
        if (act_lock(tree, 0, 4 * PAGE_BYTES, false) != 0 || locked_bytes() != 4 * PAGE_BYTES)
            _exit(3);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    act_close(tree);
}

/* Whole pages in order, none next to another, no more than that many. */
static void check_ranges(const struct act *tree, const struct act_range *ranges, size_t n,
                         size_t max)
{
    struct act_info info;
    uint64_t pages = 0, last = 0;
    act_info(tree, &info);
    bool has_root = false;
    for (size_t i = 0; i < n; i++) {
        uint64_t end = ranges[i].offset + ranges[i].len;
        assert_int_equal(ranges[i].offset % PAGE_BYTES, 0);
        assert_true(ranges[i].len > 0 && end <= info.size_bytes);
        assert_true(end % PAGE_BYTES == 0 || end == info.size_bytes);
        assert_true(i == 0 || ranges[i].offset > last);
        pages += (ranges[i].len + PAGE_BYTES - 1) / PAGE_BYTES;
        has_root |= info.root_offset >= ranges[i].offset && info.root_offset < end;
        last = end;
    }
    assert_in_range(pages, 1, max);
    assert_true(has_root);
}

static void the_top_is_around_the_root(void **state)
{
    (void)state;
    static const char *const names[] = {"cities.act", "shakespeare.act", "built/e.act"};
    static const size_t most[] = {1, 2, 7, 64, ACT_TOP_MAX, ACT_TOP_MAX + 50};
    struct act_range ranges[ACT_TOP_MAX + 50];
    for (size_t i = 0; i < N_ELEMENTS(names); i++) {
        struct act *tree = open_data(names[i]);
        for (size_t k = 0; k < N_ELEMENTS(most); k++) {
            size_t n = act_top(tree, ranges, most[k]);
            check_ranges(tree, ranges, n, most[k] < ACT_TOP_MAX ? most[k] : ACT_TOP_MAX);
        }
        act_close(tree);
    }
}

static void the_top_of_a_large_tree_takes_what_it_may(void **state)
{
    (void)state;
    struct bytes bytes = data("cities.act");
    struct act_range ranges[ACT_TOP_MAX];
    struct act *tree = open_data("cities.act");
    size_t n = act_top(tree, ranges, ACT_TOP_MAX);
    uint64_t top = 0;
    for (size_t i = 0; i < n; i++)
        top += ranges[i].len;
    /* The first levels of a tree of many pages: as many as are allowed, less one or two where a
     * node's parts lie on several. */
    assert_in_range(top, (ACT_TOP_MAX - 4) * PAGE_BYTES, ACT_TOP_MAX * PAGE_BYTES);
    assert_true(top < bytes.len);
    act_close(tree);
    bytes_free(&bytes);
}

static void any_bytes_have_a_top(void **state)
{
    (void)state;
    static const char *const names[] = {"built/e.act", "edge/m_base.stream.act", "cities.act"};
    struct act_range ranges[ACT_TOP_MAX];
    uint64_t seed = 88172645463325252u;
    for (size_t k = 0; k < N_ELEMENTS(names); k++) {
        struct bytes bytes = data(names[k]);
        size_t span = bytes.len < 3000 ? bytes.len : 3000;
        for (unsigned i = 0; i < 2000; i++) {
            struct act *tree;
            seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
            size_t at = bytes.len - 1 - seed % span;
            uint8_t before = bytes.p[at];
            bytes.p[at] = (uint8_t)(seed >> 32);
            if (act_open_memory(bytes.p, bytes.len, "odd", &tree, NULL) == 0) {
                size_t n = act_top(tree, ranges, 1 + seed % ACT_TOP_MAX);
                check_ranges(tree, ranges, n, 1 + seed % ACT_TOP_MAX);
                act_close(tree);
            }
            /* Most faults stay, so that they add up. */
            if (i % 8 == 0)
                bytes.p[at] = before;
        }
        bytes_free(&bytes);
    }
}

static void a_tree_may_be_a_part_of_its_file(void **state)
{
    (void)state;
    struct bytes bytes = data("built/e.act");
    struct act *tree;
    struct act_info info;
    struct act_error error;
    uint64_t value;
    int fd = memory_file(bytes, 10 * PAGE_BYTES);
    assert_int_equal(act_open_part(fd, bytes.len, "part", &tree, &error), 0);
    act_info(tree, &info);
    assert_int_equal(info.size_bytes, bytes.len);
    assert_int_equal(info.metadata_state, ACT_METADATA_FULL);
    assert_int_equal(act_get(tree, "", 0, &value, NULL), ACT_MISS);
    act_close(tree);
    assert_int_equal(act_open_part(fd, 10 * PAGE_BYTES + 1, "part", &tree, &error), ACT_TOO_SHORT);
    assert_string_equal(error.message, "part: shorter than the tree: 40960 bytes of 40961");
    assert_int_equal(act_open_part(fd, 24, "part", &tree, &error), ACT_TOO_SHORT);
    assert_int_equal(act_open_part(fd, 60, "part", &tree, &error), ACT_BAD_ROOT);
    close(fd);
    bytes_free(&bytes);
}

/* Of huge pages there may be none here: then there is nothing to map. 21: of 2 MiB. */
static void a_tree_may_lie_in_huge_pages(void **state)
{
    (void)state;
    struct bytes bytes = data("cities.act");
    size_t huge = (size_t)2 << 20, size = (bytes.len + huge - 1) / huge * huge;
    int fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB | 21u << 26);
    void *p = MAP_FAILED;
    if (fd >= 0 && ftruncate(fd, (off_t)size) == 0)
        p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED) {
        close(fd);
        bytes_free(&bytes);
        return;
    }
    memcpy(p, bytes.p, bytes.len);
    munmap(p, size);
    struct act *tree;
    struct act_info info;
    unsigned char resident;
    char line[256];
    assert_int_equal(act_open_part(fd, bytes.len, "huge", &tree, NULL), 0);
    act_info(tree, &info);
    assert_int_equal(info.mapping_start % huge, 0);
    assert_memory_equal((void *)(uintptr_t)info.mapping_start, bytes.p, bytes.len);
    smaps(info.mapping_start, "KernelPageSize:", line, sizeof line);
    assert_non_null(strstr(line, " 2048 kB"));
    act_close(tree);
    for (size_t at = 0; at <= size; at += 4096)
        assert_int_equal(mincore((void *)(uintptr_t)(info.mapping_start + at), 1, &resident), -1);
    close(fd);
    bytes_free(&bytes);
}

static void too_little_address_space_is_named(void **state)
{
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return; /* they take terabytes of it themselves */
#endif
    struct bytes bytes = data("built/e.act");
    struct rlimit before, limit;
    struct act *tree;
    struct act_error error;
    int fd = memory_file(bytes, UINT64_C(1) << 40);
    assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
    limit = before;
    limit.rlim_cur = (rlim_t)1 << 34;
    assert_int_equal(setrlimit(RLIMIT_AS, &limit), 0);
    int r = act_open_fd(fd, "large", &tree, &error);
    assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
    assert_int_equal(r, -ENOMEM);
    assert_string_equal(error.message,
                        "large: cannot map: Cannot allocate memory: this takes 1099511627776 bytes "
                        "of address space beside "
                        "what is in use, and the limit for all of it is 17179869184 bytes "
                        "(RLIMIT_AS): raise LimitAS= of the unit, or ulimit -v");
    /* More than any process has. */
    assert_int_equal(ftruncate(fd, INT64_MAX / 4096 * 4096), 0);
    assert_int_equal(act_open_fd(fd, "large", &tree, &error), -ENOMEM);
    assert_non_null(strstr(error.message, "the system refuses 9223372036854771712 bytes"));
    close(fd);
    bytes_free(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(advice_is_what_the_kernel_has),
        cmocka_unit_test(memory_takes_neither_advice_nor_locks),
        cmocka_unit_test(locked_is_what_was_asked_for),
        cmocka_unit_test(more_than_the_limit_is_refused_before_it_is_read),
        cmocka_unit_test(the_top_is_around_the_root),
        cmocka_unit_test(the_top_of_a_large_tree_takes_what_it_may),
        cmocka_unit_test(any_bytes_have_a_top),
        cmocka_unit_test(a_tree_may_be_a_part_of_its_file),
        cmocka_unit_test(a_tree_may_lie_in_huge_pages),
        cmocka_unit_test(too_little_address_space_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
