/*
 * copy: see copy.h.
 */
#include "daemon/checker/copy.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

/* Stands in /proc/PID/maps; the sampler knows it. */
#define COPY_NAME "actd-tree"

#define PIECE_BYTES ((size_t)1024 * 1024)

__attribute__((format(printf, 3, 4))) static int fail(struct copy *copy, int outcome,
                                                      const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(copy->reason, sizeof copy->reason, format, args);
    va_end(args);
    return outcome;
}

/* So many bytes at that offset, or what there is of them. -1 with errno. */
static ssize_t read_piece(int fd, void *p, uint64_t offset, uint64_t left)
{
    ssize_t n;
    do
        n = pread(fd, p, left < PIECE_BYTES ? left : PIECE_BYTES, (off_t)offset);
    while (n < 0 && errno == EINTR);
    return n;
}

static int fail_read(struct copy *copy, ssize_t n, uint64_t offset)
{
    if (n == 0)
        return fail(copy, COPY_CUT, "it was truncated while it was copied to memory");
    return fail(copy, COPY_UNREADABLE,
                "it cannot be copied to memory, since it cannot be read at offset %" PRIu64
                ": %s: check the disk",
                offset, strerror(errno));
}

static int fail_write(struct copy *copy, uint64_t size)
{
    const char *remedy = errno == EFBIG ? "raise the limit of file sizes (LimitFSIZE=, ulimit -f)"
                                        : "give it more memory, or set tree.map_min_bytes lower";
    return fail(copy, COPY_NO_MEMORY, "copying it to memory takes %" PRIu64 " bytes: %s: %s", size,
                strerror(errno), remedy);
}

static bool write_all(int fd, const char *p, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, p, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        p += n;
        len -= (size_t)n;
    }
    return true;
}

/* The copy can be written by nobody, and what is handed out cannot even be mapped for it: older
 * kernels refuse a shared mapping of sealed memory through a descriptor for writing. */
static int seal(int fd, struct copy *copy)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0 ||
        (copy->fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
        return fail(copy, COPY_NO_MEMORY, "its copy in memory cannot be sealed: %s",
                    strerror(errno));
    return 0;
}

static int fill(int from, int to, uint64_t size, char *piece, copy_progress *on_progress,
                struct copy *copy)
{
    ssize_t n;
    for (uint64_t at = 0; at < size; at += (uint64_t)n) {
        if ((n = read_piece(from, piece, at, size - at)) <= 0)
            return fail_read(copy, n, at);
        if (!write_all(to, piece, (size_t)n))
            return fail_write(copy, size);
        on_progress(NULL, at + (uint64_t)n, size);
    }
    return 0;
}

int copy_file(int fd, uint64_t size, copy_progress *on_progress, struct copy *ret)
{
    ret->fd = -1;
    with_close int memory = memfd_create(COPY_NAME, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    char *piece = malloc(PIECE_BYTES);
    int r = memory < 0 || !piece ? fail_write(ret, size)
                                 : fill(fd, memory, size, piece, on_progress, ret);
    free(piece);
    return r != 0 ? r : seal(memory, ret);
}

static uint64_t meminfo(const char *text, const char *name)
{
    const char *line = strstr(text, name);
    return line ? strtoull(line + strlen(name), NULL, 10) : 0;
}

static int fail_huge(struct copy *copy, uint64_t n_pages, uint64_t page_bytes)
{
    char text[8192];
    if (fd_read_file("/proc/meminfo", text, sizeof text) < 0)
        text[0] = '\0';
    uint64_t total = meminfo(text, "HugePages_Total:"), free = meminfo(text, "HugePages_Free:");
    uint64_t taken = meminfo(text, "HugePages_Rsvd:");
    free -= taken < free ? taken : free;
    uint64_t wanted = total - (free < total ? free : total) + n_pages;
    return fail(copy, COPY_NO_MEMORY,
                "it takes %" PRIu64 " huge pages of %" PRIu64 " KiB, and %" PRIu64
                " are free: sysctl vm.nr_hugepages=%" PRIu64,
                n_pages, page_bytes / 1024, free, wanted);
}

static int fill_huge(int fd, uint64_t size, char *p, copy_progress *on_progress, struct copy *copy)
{
    ssize_t n;
    for (uint64_t at = 0; at < size; at += (uint64_t)n) {
        n = read_piece(fd, p + at, at, size - at);
        if (n < 0 && errno == EFAULT) /* set aside, and still not given: a limit of the cgroup */
            return fail(copy, COPY_NO_MEMORY, "the limit of huge pages is reached (hugetlb.*.max)");
        if (n <= 0)
            return fail_read(copy, n, at);
        on_progress(NULL, at + (uint64_t)n, size);
    }
    return 0;
}

int copy_file_huge(int fd, uint64_t size, copy_progress *on_progress, struct copy *ret)
{
    struct statfs fs;
    ret->fd = -1;
    with_close int memory = memfd_create(COPY_NAME, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB);
    if (memory < 0 || fstatfs(memory, &fs) < 0)
        return fail(ret, COPY_NO_MEMORY, "this system has no huge pages: %s", strerror(errno));
    uint64_t page_bytes = (uint64_t)fs.f_bsize, n_pages = (size + page_bytes - 1) / page_bytes;
    size_t bytes = n_pages * page_bytes;
    if (ftruncate(memory, (off_t)bytes) < 0)
        return fail_write(ret, size);
    /* Here all of them are set aside for us, or none. */
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
    if (p == MAP_FAILED)
        return fail_huge(ret, n_pages, page_bytes);
    int r = fill_huge(fd, size, p, on_progress, ret);
    munmap(p, bytes);
    return r != 0 ? r : seal(memory, ret);
}
