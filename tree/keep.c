/*
 * keep: what the kernel is told of a mapping: how to read it, and what to keep.
 */
#include "tree/tree.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MADV_POPULATE_READ
#    define MADV_POPULATE_READ 22
#endif

int act_advise(const struct act *tree, enum act_advice advice)
{
    static const int kernels[] = {[ACT_ADVICE_RANDOM] = MADV_RANDOM,
                                  [ACT_ADVICE_NORMAL] = MADV_NORMAL,
                                  [ACT_ADVICE_SEQUENTIAL] = MADV_SEQUENTIAL};
    if ((size_t)advice >= sizeof kernels / sizeof *kernels)
        return -EINVAL;
    if (tree->map.mapped == 0)
        return 0;
    return madvise((void *)(uintptr_t)tree->map.base, tree->map.mapped, kernels[advice]) == 0
               ? 0
               : -errno;
}

int act_release(const struct act *tree, uint64_t offset, uint64_t len)
{
    if (offset >= tree->map.mapped)
        return 0;
    if (len > tree->map.mapped - offset)
        len = tree->map.mapped - offset;
    const uint8_t *begin = tree->map.base + offset;
    return madvise((void *)(uintptr_t)begin, len, MADV_DONTNEED) == 0 ? 0 : -errno;
}

/* While pages are read into a mapping, whoever wants another one (an allocation, say) may have to
 * wait: so it is done in pieces. */
#define LOCK_BYTES ((uint64_t)32 * 1024 * 1024)

/* Reads pages that are locked as soon as they are there. mlock would do it, but where a page cannot
 * be read Linux tries that one again and again, for ever; only before 5.14 there is nothing else.
 */
static int read_piece(const uint8_t *p, uint64_t len)
{
    if (madvise((void *)(uintptr_t)p, len, MADV_POPULATE_READ) == 0)
        return 0;
    if (errno == EINVAL && mlock2(p, len, 0) == 0)
        return 0;
    return errno == EFAULT || errno == EHWPOISON ? -EIO : -errno;
}

static int read_all(const uint8_t *p, uint64_t len)
{
    int r = 0;
    for (uint64_t at = 0; at < len && r == 0; at += LOCK_BYTES) {
        uint64_t left = len - at;
        r = read_piece(p + at, left < LOCK_BYTES ? left : LOCK_BYTES);
    }
    return r;
}

int act_lock(const struct act *tree, uint64_t offset, uint64_t len, bool is_on_fault)
{
    uint64_t begin = tree->page_bytes > 0 ? offset / tree->page_bytes * tree->page_bytes : 0;
    uint64_t end = offset + len;
    if (tree->map.mapped == 0 || len == 0 || end < len || end > tree->map.mapped)
        return ACT_MISS;
    const uint8_t *p = tree->map.base + begin;
    /* Reads nothing, and the limit is asked for all of it. Not mlock, also because sanitizers make
     * that one do nothing. */
    if (mlock2(p, end - begin, MLOCK_ONFAULT) < 0)
        return -errno;
    return is_on_fault ? 0 : read_all(p, end - begin);
}

void act_unlock(const struct act *tree)
{
    /* Not munlock, for the sanitizers' sake. */
    if (tree->map.mapped > 0)
        (void)syscall(SYS_munlock, tree->map.base, tree->map.mapped);
}
