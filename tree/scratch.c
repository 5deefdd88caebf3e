/*
 * scratch: see scratch.h.
 */
#include "tree/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* A multiple of every page size, since offsets into the file must be. */
#define GRAIN_BYTES ((uint64_t)64 * 1024)

/* One of these takes about the time of an eighth of it in small ones. */
#define HUGE_PAGE_BYTES ((uint64_t)2 << 20)

void scratch_init(struct scratch *scratch, uint64_t memory_bytes, const char *directory)
{
    *scratch = (struct scratch){.memory_left = memory_bytes, .directory = directory, .fd = -1};
    if (!directory)
        scratch->directory = getenv("TMPDIR");
    if (!scratch->directory || !*scratch->directory)
        scratch->directory = "/tmp";
}

void scratch_deinit(struct scratch *scratch)
{
    if (scratch->fd >= 0)
        close(scratch->fd);
    scratch->fd = -1;
}

/* Where the file system has no files without a name, it has one for a moment. */
static int open_named(const char *directory)
{
    char path[4096];
    int n = snprintf(path, sizeof path, "%s/actXXXXXX", directory);
    if (n < 0 || (size_t)n >= sizeof path)
        return -ENAMETOOLONG;
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0)
        return -errno;
    unlink(path);
    return fd;
}

static int open_file(struct scratch *scratch)
{
    int fd = open(scratch->directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == ENOENT))
        fd = open_named(scratch->directory);
    else if (fd < 0)
        fd = -errno;
    if (fd < 0)
        return fd;
    scratch->fd = fd;
    return 0;
}

static int map_file(struct scratch *scratch, uint64_t bytes, void **ret)
{
    int r = scratch->fd < 0 ? open_file(scratch) : 0;
    if (r != 0)
        return r;
    if (bytes > INT64_MAX - scratch->file_bytes)
        return -EFBIG;
    r = posix_fallocate(scratch->fd, (off_t)scratch->file_bytes, (off_t)bytes);
    if (r != 0)
        return -r;
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, scratch->fd,
                   (off_t)scratch->file_bytes);
    if (p == MAP_FAILED)
        return -errno;
    scratch->file_bytes += bytes;
    *ret = p;
    return 0;
}

uint64_t scratch_bytes(uint64_t bytes)
{
    uint64_t grain = bytes < HUGE_PAGE_BYTES / 8 ? GRAIN_BYTES : HUGE_PAGE_BYTES;
    return (bytes + grain - 1) / grain * grain;
}

int scratch_map(struct scratch *scratch, uint64_t bytes, void **ret)
{
    if (bytes > INT64_MAX - HUGE_PAGE_BYTES)
        return -ENOMEM;
    bytes = scratch_bytes(bytes);
    if (bytes > scratch->memory_left)
        return map_file(scratch, bytes, ret);
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                   -1, 0);
    if (p == MAP_FAILED)
        return -errno;
    /* Fewer faults; where they are not to be had, small pages serve as well. */
    if (bytes >= HUGE_PAGE_BYTES)
        (void)madvise(p, bytes, MADV_HUGEPAGE);
    scratch->memory_left -= bytes;
    *ret = p;
    return 0;
}

void scratch_populate(void *p, uint64_t bytes)
{
    if (bytes < HUGE_PAGE_BYTES)
        (void)madvise(p, bytes, MADV_POPULATE_WRITE);
}

void scratch_unmap(void *p, uint64_t bytes)
{
    if (p)
        munmap(p, scratch_bytes(bytes));
}
