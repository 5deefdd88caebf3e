/*
 * pages: sets against a plain array with a byte a page; what the kernel tells against what it tells
 * somebody who asks it directly.
 */
#include "randomkeys.h"
#include "tree/pages.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE ((size_t)ACT_PAGE_BYTES)

/* A set and what must be in it. */
struct model {
    struct act_pages *pages;
    uint8_t *has; /* a byte a page */
    uint64_t n;
};

static struct model model_of(uint64_t size_bytes)
{
    struct model m = {0};
    assert_int_equal(act_pages_new(size_bytes, &m.pages), 0);
    assert_int_equal(act_pages_size_bytes(m.pages), size_bytes);
    m.n = act_pages_total(m.pages);
    m.has = calloc(1, m.n + 1);
    assert_non_null(m.has);
    return m;
}

static void model_free(struct model *m)
{
    act_pages_free(m->pages);
    free(m->has);
}

static void model_add(struct model *m, uint64_t first, uint64_t n)
{
    act_pages_add(m->pages, first, n);
    for (uint64_t i = first; i < m->n && i - first < n; i++)
        m->has[i] = 1;
}

static uint64_t model_count(const struct model *m, uint64_t first, uint64_t n)
{
    uint64_t count = 0;
    for (uint64_t i = first; i < m->n && i - first < n; i++)
        count += m->has[i];
    return count;
}

static void check_runs(const struct model *m)
{
    uint64_t at = 0, first = 0, n = 0;
    while (act_pages_next(m->pages, at, &first, &n)) {
        assert_true(n > 0 && first >= at && n <= m->n - first);
        for (; at < first; at++)
            assert_int_equal(m->has[at], 0);
        for (; at < first + n; at++)
            assert_int_equal(m->has[at], 1);
        assert_true(at == m->n || !m->has[at]);
    }
    for (; at < m->n; at++)
        assert_int_equal(m->has[at], 0);
    /* Untouched where there is none. */
    first = n = 77;
    assert_false(act_pages_next(m->pages, m->n, &first, &n));
    assert_false(act_pages_next(m->pages, UINT64_MAX, &first, &n));
    assert_true(first == 77 && n == 77);
}

static void check(const struct model *m, struct random *random)
{
    assert_int_equal(act_pages_count(m->pages), model_count(m, 0, m->n));
    for (uint64_t i = 0; i < m->n + 70; i++)
        assert_int_equal(act_pages_has(m->pages, i), i < m->n && m->has[i]);
    for (unsigned i = 0; i < 20; i++) {
        uint64_t first = random_below(random, (unsigned)m->n + 70);
        uint64_t n = random_below(random, 3) == 0 ? UINT64_MAX : random_below(random, 300);
        assert_int_equal(act_pages_count_in(m->pages, first, n), model_count(m, first, n));
    }
    /* From the middle of a run, the rest of it. */
    uint64_t from = random_below(random, (unsigned)m->n + 1), first, n;
    if (from < m->n && m->has[from]) {
        assert_true(act_pages_next(m->pages, from, &first, &n));
        assert_int_equal(first, from);
    }
    check_runs(m);
}

static void sets_are_as_the_model(void **state)
{
    (void)state;
    struct random random = {1};
    for (unsigned round = 0; round < 300; round++) {
        uint64_t size = random_below(&random, 900 * ACT_PAGE_BYTES);
        struct model m = model_of(size);
        assert_int_equal(m.n, (size + PAGE - 1) / PAGE);
        for (unsigned i = 0; i < 8; i++) {
            uint64_t first = random_below(&random, (unsigned)m.n + 10);
            model_add(&m, first, random_below(&random, random_below(&random, 2) ? 3 : 200));
            check(&m, &random);
        }
        model_free(&m);
    }
}

static void edges_do_not_overflow(void **state)
{
    (void)state;
    struct act_pages *pages = NULL;
    assert_int_equal(act_pages_new((uint64_t)INT64_MAX + 1, &pages), -EFBIG);
    assert_int_equal(act_pages_new(UINT64_MAX, &pages), -EFBIG);
    assert_null(pages);
    act_pages_free(NULL);
    static const uint64_t sizes[] = {0,         1,         PAGE - 1,      PAGE,          PAGE + 1,
                                     63 * PAGE, 64 * PAGE, 64 * PAGE + 1, 128 * PAGE - 1};
    struct random random = {2};
    for (size_t i = 0; i < N_ELEMENTS(sizes); i++) {
        struct model m = model_of(sizes[i]);
        check(&m, &random);
        model_add(&m, UINT64_MAX, UINT64_MAX);
        model_add(&m, m.n, 5);
        check(&m, &random);
        assert_int_equal(act_pages_count(m.pages), 0);
        act_pages_add(m.pages, 0, UINT64_MAX);
        memset(m.has, 1, m.n);
        check(&m, &random);
        model_free(&m);
    }
}

/* A file of n pages on the disk, of which some are in memory then. */
struct disk {
    char path[64];
    int fd;
    size_t size;
};

static struct disk disk_open(size_t n_pages, size_t spare)
{
    struct disk disk = {.path = "/var/tmp/test_pages.XXXXXX", .size = n_pages * PAGE - spare};
    uint8_t *bytes = malloc(n_pages * PAGE);
    assert_non_null(bytes);
    memset(bytes, 'x', n_pages * PAGE);
    disk.fd = mkstemp(disk.path);
    assert_true(disk.fd >= 0);
    assert_int_equal(unlink(disk.path), 0);
    assert_int_equal(write(disk.fd, bytes, disk.size), disk.size);
    assert_int_equal(fsync(disk.fd), 0);
    free(bytes);
    return disk;
}

/* Out of memory, and then every third group of pages read. */
static void disk_part(const struct disk *disk)
{
    char byte;
    assert_int_equal(posix_fadvise(disk->fd, 0, 0, POSIX_FADV_DONTNEED), 0);
    assert_int_equal(posix_fadvise(disk->fd, 0, 0, POSIX_FADV_RANDOM), 0);
    for (size_t at = 0; at < disk->size; at += PAGE)
        if (at / PAGE % 12 < 5)
            assert_int_equal(pread(disk->fd, &byte, 1, (off_t)at), 1);
}

/* What mincore says on one mapping of all of it; *owned* by the caller. */
static unsigned char *ask_directly(const struct disk *disk)
{
    unsigned char *there = malloc(disk->size / PAGE + 1);
    void *p = mmap(NULL, disk->size, PROT_READ, MAP_SHARED, disk->fd, 0);
    assert_true(there && p != MAP_FAILED);
    assert_int_equal(mincore(p, disk->size, there), 0);
    munmap(p, disk->size);
    return there;
}

static bool is_equal(const struct act_pages *pages, const unsigned char *there)
{
    for (uint64_t i = 0; i < act_pages_total(pages); i++)
        if (act_pages_has(pages, i) != (there[i] & 1))
            return false;
    return true;
}

/* Memory may be short just now and pages go between two questions: then it is asked again. */
#define TRIES 20

static void resident_is_what_mincore_says(void **state)
{
    (void)state;
    struct disk disk = disk_open(12000, 100);
    bool is_same = false;
    for (unsigned i = 0; i < TRIES && !is_same; i++) {
        struct act_pages *pages;
        disk_part(&disk);
        assert_int_equal(act_pages_new(disk.size, &pages), 0);
        assert_int_equal(act_pages_add_resident(pages, disk.fd, NULL, NULL), 0);
        unsigned char *there = ask_directly(&disk);
        uint64_t n = act_pages_count(pages);
        is_same = is_equal(pages, there) && n > 12000 / 4 && n < 12000 / 2;
        free(there);
        act_pages_free(pages);
    }
    assert_true(is_same);
    close(disk.fd);
}

static void a_shorter_file_is_asked_as_far_as_it_goes(void **state)
{
    (void)state;
    int fd = memfd_create("short", MFD_CLOEXEC);
    struct act_pages *pages;
    uint8_t page[PAGE];
    memset(page, 'x', sizeof page);
    for (unsigned i = 0; i < 100; i++)
        assert_int_equal(write(fd, page, sizeof page), sizeof page);
    assert_int_equal(act_pages_new(UINT64_C(3) << 30, &pages), 0);
    assert_int_equal(act_pages_add_resident(pages, fd, NULL, NULL), 0);
    assert_int_equal(act_pages_count(pages), 100);
    assert_int_equal(act_pages_count_in(pages, 0, 100), 100);
    act_pages_free(pages);
    /* And a longer one as far as the set goes. */
    assert_int_equal(act_pages_new(30 * PAGE + 1, &pages), 0);
    assert_int_equal(act_pages_add_resident(pages, fd, NULL, NULL), 0);
    assert_int_equal(act_pages_count(pages), 31);
    act_pages_free(pages);
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(act_pages_new(30 * PAGE, &pages), 0);
    assert_int_equal(act_pages_add_resident(pages, fd, NULL, NULL), 0);
    assert_int_equal(act_pages_count(pages), 0);
    close(fd);
    assert_int_equal(act_pages_add_resident(pages, fd, NULL, NULL), -EBADF);
    act_pages_free(pages);
}

/* Pages on both sides of the border between two windows, and far behind it. */
static void large_files_are_asked_window_by_window(void **state)
{
    (void)state;
    static const uint64_t touched[] = {0, 262143, 262144, 262145, 524287, 786431, 786432 - 64};
    uint64_t n_pages = 786433;
    int fd = memfd_create("large", MFD_CLOEXEC);
    struct act_pages *pages;
    assert_int_equal(ftruncate(fd, (off_t)(n_pages * PAGE)), 0);
    for (size_t i = 0; i < N_ELEMENTS(touched); i++)
        assert_int_equal(pwrite(fd, "x", 1, (off_t)(touched[i] * PAGE)), 1);
    assert_int_equal(act_pages_new(n_pages * PAGE, &pages), 0);
    assert_int_equal(act_pages_add_resident(pages, fd, NULL, NULL), 0);
    assert_int_equal(act_pages_count(pages), N_ELEMENTS(touched));
    for (size_t i = 0; i < N_ELEMENTS(touched); i++)
        assert_true(act_pages_has(pages, touched[i]));
    act_pages_free(pages);
    close(fd);
}

/* A file in huge pages is in memory as long as it exists. */
static void huge_pages_are_there(void **state)
{
    (void)state;
    int fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB);
    struct act_pages *pages;
    if (fd < 0)
        skip(); /* a kernel without them */
    assert_int_equal(ftruncate(fd, 4 << 20), 0);
    assert_int_equal(act_pages_new(3 << 20, &pages), 0);
    assert_int_equal(act_pages_add_resident(pages, fd, NULL, NULL), 0);
    assert_int_equal(act_pages_count(pages), (3 << 20) / PAGE);
    act_pages_free(pages);
    close(fd);
}

struct asked {
    uint64_t n, last, total, give_up_at;
};

static bool on_asked(void *context, uint64_t done, uint64_t total)
{
    struct asked *asked = context;
    assert_true(asked->n == 0 || done > asked->last);
    /* Often enough: a progress line, and a stop that does not wait long. */
    assert_true(done - asked->last <= 65536 && done < total);
    asked->last = done;
    asked->total = total;
    asked->n++;
    return done < asked->give_up_at;
}

static void who_waits_is_told_and_may_stop_it(void **state)
{
    (void)state;
    uint64_t n_pages = 600000;
    int fd = memfd_create("asked", MFD_CLOEXEC);
    int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    assert_int_equal(ftruncate(fd, (off_t)(n_pages * PAGE)), 0);
    assert_int_equal(pwrite(fd, "x", 1, 0), 1);
    void *p = mmap(NULL, n_pages * PAGE, PROT_READ, MAP_SHARED, fd, 0);
    assert_true(p != MAP_FAILED && pagemap >= 0);
    (void)*(volatile char *)p;
    for (unsigned i = 0; i < 6; i++) {
        struct asked asked = {.give_up_at = i < 2 ? UINT64_MAX : i < 4 ? 300000 : 0};
        struct act_pages *pages;
        assert_int_equal(act_pages_new(n_pages * PAGE, &pages), 0);
        int r = i % 2 == 0 ? act_pages_add_resident(pages, fd, on_asked, &asked)
                           : act_pages_add_mapped(pages, pagemap, (uintptr_t)p, on_asked, &asked);
        assert_int_equal(r, i < 2 ? 0 : -ECANCELED);
        assert_int_equal(asked.total, n_pages);
        assert_true(asked.n > (i < 2 ? 8U : 0U));
        /* What was found until then is kept. */
        assert_int_equal(act_pages_has(pages, 0), i < 4);
        act_pages_free(pages);
    }
    munmap(p, n_pages * PAGE);
    close(pagemap);
    close(fd);
}

static void mapped_is_what_was_touched(void **state)
{
    (void)state;
    struct random random = {3};
    size_t n_pages = 20000;
    int fd = memfd_create("touched", MFD_CLOEXEC), pagemap;
    assert_int_equal(ftruncate(fd, (off_t)(n_pages * PAGE)), 0);
    volatile char *p = mmap(NULL, n_pages * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true(p != MAP_FAILED);
    pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    assert_true(pagemap >= 0);
    /* Memory that does not exist yet is given for the page that is written to, and no other. */
    struct model m = model_of(n_pages * PAGE);
    for (unsigned i = 0; i < 3000; i++) {
        uint64_t page = random_below(&random, (unsigned)n_pages);
        p[page * PAGE] = 'x';
        m.has[page] = 1;
    }
    assert_int_equal(act_pages_add_mapped(m.pages, pagemap, (uintptr_t)p, NULL, NULL), 0);
    check(&m, &random);
    model_free(&m);

    assert_int_equal(act_pages_new(n_pages * PAGE, &m.pages), 0);
    assert_int_equal(act_pages_add_mapped(m.pages, pagemap, (uintptr_t)p + 1, NULL, NULL), -EINVAL);
    /* Behind all addresses there is nothing, and no error. */
    assert_int_equal(act_pages_add_mapped(m.pages, pagemap, UINT64_MAX - PAGE + 1, NULL, NULL), 0);
    assert_int_equal(act_pages_count(m.pages), 0);
    munmap((void *)(uintptr_t)p, n_pages * PAGE);
    assert_int_equal(act_pages_add_mapped(m.pages, pagemap, (uintptr_t)p, NULL, NULL), 0);
    assert_int_equal(act_pages_count(m.pages), 0);
    close(pagemap);
    assert_int_equal(act_pages_add_mapped(m.pages, pagemap, (uintptr_t)p, NULL, NULL), -EBADF);
    act_pages_free(m.pages);
    close(fd);
}

static void sources_have_names(void **state)
{
    (void)state;
    assert_string_equal(act_pages_source_name(ACT_PAGES_UNKNOWN), "unknown");
    assert_string_equal(act_pages_source_name(ACT_PAGES_MINCORE), "mincore");
    assert_string_equal(act_pages_source_name(ACT_PAGES_PAGEMAP), "pagemap");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets_are_as_the_model),
        cmocka_unit_test(edges_do_not_overflow),
        cmocka_unit_test(resident_is_what_mincore_says),
        cmocka_unit_test(a_shorter_file_is_asked_as_far_as_it_goes),
        cmocka_unit_test(large_files_are_asked_window_by_window),
        cmocka_unit_test(huge_pages_are_there),
        cmocka_unit_test(who_waits_is_told_and_may_stop_it),
        cmocka_unit_test(mapped_is_what_was_touched),
        cmocka_unit_test(sources_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
