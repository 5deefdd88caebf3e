/*
 * mappings: lines of /proc, and where this process has mapped a file.
 */
#include "daemon/supervisor/mappings.h"

#include "unit.h"

#include <err.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define N_PAGES    9
#define PAGE       ((size_t)4096)
#define FILE_BYTES (N_PAGES * PAGE - 100)
#define MAP_BYTES  (N_PAGES * PAGE)

struct place {
    int fd;
    struct tree_file file;
    uint8_t *room; /* of 3 * MAP_BYTES, where it may be mapped */
};

static int begin(void **state)
{
    static struct place place;
    char path[] = "/tmp/test_mappings.XXXXXX";
    struct stat st;
    place.fd = mkstemp(path);
    if (place.fd < 0 || unlink(path) < 0 || ftruncate(place.fd, FILE_BYTES) < 0 ||
        fstat(place.fd, &st) < 0)
        err(2, "%s", path);
    struct generation generation = {
        .number = 1, .device = st.st_dev, .inode = st.st_ino, .size_bytes = FILE_BYTES};
    place.file = mappings_file(&generation);
    place.room = mmap(NULL, 3 * MAP_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (place.room == MAP_FAILED)
        err(2, "mmap");
    *state = &place;
    return 0;
}

static int end(void **state)
{
    struct place *place = *state;
    munmap(place->room, 3 * MAP_BYTES);
    close(place->fd);
    return 0;
}

/* Pages of the file, to that page of the room. */
static void map(struct place *place, size_t to, size_t from, size_t n, int flags)
{
    void *p = mmap(place->room + to * PAGE, n * PAGE, PROT_READ, flags | MAP_FIXED, place->fd,
                   (off_t)(from * PAGE));
    assert_true(p != MAP_FAILED);
}

static bool always(void *context)
{
    (void)context;
    return true;
}

static bool never(void *context)
{
    (void)context;
    return false;
}

static int find(const struct place *place, uint64_t *ret_start)
{
    return mappings_find(getpid(), &place->file, always, NULL, ret_start);
}

static void check_found(const struct place *place, size_t page)
{
    uint64_t start = 0;
    assert_int_equal(find(place, &start), 0);
    assert_true(start == (uint64_t)(uintptr_t)place->room + page * PAGE);
}

static void check_not_found(const struct place *place)
{
    uint64_t start = 5;
    assert_int_equal(find(place, &start), MAPPINGS_NONE);
    assert_int_equal(start, 5);
}

static void lines_are_parsed(void **state)
{
    struct mapping mapping;
    (void)state;
    assert_true(mapping_parse("7f0000001000-7f0000003000 r--s 00002000 fd:01 1234567890123 "
                              "                  /srv/a file\n",
                              &mapping));
    assert_true(mapping.start == 0x7f0000001000 && mapping.end == 0x7f0000003000);
    assert_true(mapping.offset == 0x2000 && mapping.inode == 1234567890123);
    assert_true(mapping.device == makedev(0xfd, 1) && mapping.is_shared && !mapping.is_memory);
    assert_true(mapping_parse("1000-2000 rw-p 00000000 00:01 7   /memfd:tree (deleted)", &mapping));
    assert_true(!mapping.is_shared && mapping.is_memory);
    assert_false(mapping_parse("Pss:      12 kB\n", &mapping));
    assert_false(mapping_parse("VmFlags: rd sh mr mw me\n", &mapping));
    assert_false(mapping_parse("", &mapping));
    assert_false(mapping_parse("1000-2000 rw-p 0000", &mapping));
}

static void a_whole_mapping_is_found(void **state)
{
    struct place *place = *state;
    check_not_found(place);
    map(place, 2, 0, N_PAGES, MAP_SHARED);
    check_found(place, 2);
}

static void its_parts_are_one(void **state)
{
    struct place *place = *state;
    map(place, 2, 0, N_PAGES, MAP_SHARED);
    assert_int_equal(mprotect(place->room + 4 * PAGE, 2 * PAGE, PROT_NONE), 0);
    assert_int_equal(madvise(place->room + 8 * PAGE, PAGE, MADV_DONTDUMP), 0);
    check_found(place, 2);
    /* But not where something is missing, or in another order. */
    assert_int_equal(munmap(place->room + 5 * PAGE, PAGE), 0);
    check_not_found(place);
    map(place, 5, 4, 1, MAP_SHARED);
    check_not_found(place);
    map(place, 5, 3, 1, MAP_SHARED);
    check_found(place, 2);
}

static void a_part_is_not_the_file(void **state)
{
    struct place *place = *state;
    map(place, 0, 0, N_PAGES - 1, MAP_SHARED);
    check_not_found(place);
    map(place, N_PAGES, 0, N_PAGES, MAP_PRIVATE);
    check_not_found(place);
    map(place, 2 * N_PAGES, 0, N_PAGES, MAP_SHARED);
    check_found(place, 2 * N_PAGES);
}

/* As a file system shows it that has another device in /proc than to stat. */
static void an_unknown_device_is_taken_where_it_fits(void **state)
{
    struct place *place = *state;
    map(place, 2, 0, N_PAGES, MAP_SHARED);
    place->file.device = makedev(200, 200);
    check_found(place, 2);
    place->file.inode++;
    check_not_found(place);
    place->file.inode = 0;
    check_not_found(place);
}

static void a_process_that_has_ended_is_told_apart(void **state)
{
    struct place *place = *state;
    uint64_t start;
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    siginfo_t info;
    assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
    assert_int_equal(mappings_find(pid, &place->file, always, NULL, &start), MAPPINGS_GONE);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(mappings_find(pid, &place->file, always, NULL, &start), MAPPINGS_GONE);
}

static void it_ends_when_it_is_told_to(void **state)
{
    struct place *place = *state;
    uint64_t start;
    assert_int_equal(mappings_find(getpid(), &place->file, never, NULL, &start), -ECANCELED);
}

#define T(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_parsed),
        T(a_whole_mapping_is_found),
        T(its_parts_are_one),
        T(a_part_is_not_the_file),
        T(an_unknown_device_is_taken_where_it_fits),
        T(a_process_that_has_ended_is_told_apart),
        T(it_ends_when_it_is_told_to),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
