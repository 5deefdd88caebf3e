/*
 * warmtest: see warmtest.h.
 */
#include "warmtest.h"

#include "randomkeys.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct reads reads;

static void count(uint8_t *counts, uint64_t offset, uint64_t len)
{
    if (!reads.n_read || len == 0)
        return;
    if (reads.us_per_page > 0) /* a disk that is slow; nobody waits for an event here */
        usleep((useconds_t)((len + PAGE - 1) / PAGE * reads.us_per_page));
    if (len > reads.most_bytes)
        reads.most_bytes = len;
    for (uint64_t page = offset / PAGE; page <= (offset + len - 1) / PAGE; page++) {
        assert_true(page < reads.n_pages);
        if (reads.n_asked[page] == 0 && reads.n_read[page] == 0)
            reads.since_wait += PAGE;
        counts[page]++;
    }
    if (reads.since_wait > reads.most_since_wait)
        reads.most_since_wait = reads.since_wait;
}

ssize_t __wrap_pread64(int fd, void *p, size_t len, off_t offset)
{
    if (reads.n_interrupts > 0) {
        reads.n_interrupts--;
        errno = EINTR;
        return -1;
    }
    if (reads.n_read && (uint64_t)offset >= reads.fail_from) {
        errno = EIO;
        return -1;
    }
    ssize_t n = __real_pread64(fd, p, len, offset);
    if (n > 0)
        count(reads.n_read, (uint64_t)offset, (uint64_t)n);
    return n;
}

int __wrap_posix_fadvise64(int fd, off_t offset, off_t len, int advice)
{
    if (advice == POSIX_FADV_WILLNEED)
        count(reads.n_asked, (uint64_t)offset, (uint64_t)len);
    return __real_posix_fadvise64(fd, offset, len, advice);
}

void reads_end(void)
{
    free(reads.n_read);
    memset(&reads, 0, sizeof reads);
}

void reads_begin(uint64_t size)
{
    reads_end();
    reads.n_pages = (size + PAGE - 1) / PAGE;
    reads.n_read = calloc(2, reads.n_pages + 1);
    assert_non_null(reads.n_read);
    reads.n_asked = reads.n_read + reads.n_pages;
    reads.fail_from = UINT64_MAX;
}

uint64_t reads_pages(const uint8_t *counts)
{
    uint64_t n = 0;
    for (uint64_t i = 0; i < reads.n_pages; i++)
        n += counts[i] > 0;
    return n;
}

void warmtest_drop(const struct warmtest_file *file)
{
    assert_int_equal(fdatasync(file->fd), 0);
    assert_int_equal(__real_posix_fadvise64(file->fd, 0, 0, POSIX_FADV_DONTNEED), 0);
}

struct warmtest_file warmtest_file_of(const void *content, uint64_t size)
{
    struct warmtest_file file = {.path = "test_warm.XXXXXX", .size = size};
    file.fd = mkstemp(file.path);
    assert_true(file.fd >= 0);
    for (uint64_t at = 0; at < size;) {
        ssize_t n = pwrite(file.fd, (const char *)content + at, size - at, (off_t)at);
        assert_true(n > 0);
        at += (uint64_t)n;
    }
    warmtest_drop(&file);
    return file;
}

struct warmtest_file warmtest_random(uint64_t size)
{
    struct random random = {1};
    uint8_t *content = malloc(size);
    assert_non_null(content);
    for (uint64_t i = 0; i < size; i++)
        content[i] = (uint8_t)random_below(&random, 256);
    struct warmtest_file file = warmtest_file_of(content, size);
    free(content);
    return file;
}

void warmtest_end(struct warmtest_file *file)
{
    close(file->fd);
    unlink(file->path);
    reads_end();
}

struct act_pages *warmtest_resident(const struct warmtest_file *file)
{
    struct act_pages *pages;
    assert_int_equal(act_pages_new(file->size, &pages), 0);
    assert_int_equal(act_pages_add_resident(pages, file->fd, NULL, NULL), 0);
    return pages;
}

uint64_t warmtest_n_resident(const struct warmtest_file *file)
{
    struct act_pages *pages = warmtest_resident(file);
    uint64_t n = act_pages_count(pages);
    act_pages_free(pages);
    return n;
}

int warmtest_run(const struct warmtest_file *file, const struct act *tree,
                 const struct act_warm_options *options, struct act_warm_progress *ret_progress)
{
    int fd = open(file->path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    reads_begin(file->size);
    int r = act_warm(fd, file->size, tree, options, ret_progress);
    close(fd);
    return r;
}
