/*
 * faults: see faults.h.
 */
#include "faults.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>

static struct {
    bool is_armed, has_failed, is_named, is_interrupted;
    enum fault kind;
    uint64_t left;
    unsigned short_bytes;
} faults;

void faults_arm(enum fault kind, uint64_t nth)
{
    faults.is_armed = true;
    faults.has_failed = false;
    faults.kind = kind;
    faults.left = nth;
}

bool faults_disarm(void)
{
    faults.is_armed = false;
    return faults.has_failed;
}

void faults_set_named(bool is_named)
{
    faults.is_named = is_named;
}

void faults_set_short(unsigned bytes)
{
    faults.short_bytes = bytes;
}

static const int errors[FAULT_KINDS] = {
    [FAULT_MEMORY] = ENOMEM, [FAULT_MAP] = ENOMEM,  [FAULT_OPEN] = EMFILE,
    [FAULT_STAT] = EIO,      [FAULT_READ] = EIO,    [FAULT_WRITE] = ENOSPC,
    [FAULT_SYNC] = EIO,      [FAULT_NAME] = EACCES, [FAULT_MODE] = EPERM,
};

int fault_error(enum fault kind)
{
    return errors[kind];
}

static bool is_due(enum fault kind)
{
    if (!faults.is_armed || kind != faults.kind || faults.left == 0 || --faults.left > 0)
        return false;
    faults.has_failed = true;
    errno = errors[kind];
    return true;
}

/* Short reads and writes: how many bytes this one may have; 0: it is interrupted. */
static size_t cut(size_t len)
{
    if (faults.short_bytes == 0)
        return len;
    faults.is_interrupted = !faults.is_interrupted;
    if (faults.is_interrupted) {
        errno = EINTR;
        return 0;
    }
    return len < faults.short_bytes ? len : faults.short_bytes;
}

/* What takes the place of a call, and what it leads to. */
#define WRAPPED(result, name, ...)     \
    result __real_##name(__VA_ARGS__); \
    result __wrap_##name(__VA_ARGS__); \
    result __wrap_##name(__VA_ARGS__)

struct XXH3_state_s;

WRAPPED(void *, malloc, size_t size)
{
    return is_due(FAULT_MEMORY) ? NULL : __real_malloc(size);
}

WRAPPED(void *, calloc, size_t n, size_t size)
{
    return is_due(FAULT_MEMORY) ? NULL : __real_calloc(n, size);
}

WRAPPED(void *, realloc, void *p, size_t size)
{
    return is_due(FAULT_MEMORY) ? NULL : __real_realloc(p, size);
}

WRAPPED(void *, reallocarray, void *p, size_t n, size_t size)
{
    return is_due(FAULT_MEMORY) ? NULL : __real_reallocarray(p, n, size);
}

WRAPPED(char *, strdup, const char *text)
{
    return is_due(FAULT_MEMORY) ? NULL : __real_strdup(text);
}

WRAPPED(char *, strndup, const char *text, size_t len)
{
    return is_due(FAULT_MEMORY) ? NULL : __real_strndup(text, len);
}

WRAPPED(struct XXH3_state_s *, XXH3_createState, void)
{
    return is_due(FAULT_MEMORY) ? NULL : __real_XXH3_createState();
}

/* From here on by the names that files of more than 2 GiB ask for. */

WRAPPED(void *, mmap64, void *at, size_t len, int protection, int flags, int fd, off_t offset)
{
    return is_due(FAULT_MAP) ? MAP_FAILED : __real_mmap64(at, len, protection, flags, fd, offset);
}

/* The mode is always given, whether it is looked at or not. */
WRAPPED(int, open64, const char *path, int flags, mode_t mode)
{
    if (faults.is_named && (flags & O_TMPFILE) == O_TMPFILE) {
        errno = EOPNOTSUPP;
        return -1;
    }
    return is_due(FAULT_OPEN) ? -1 : __real_open64(path, flags, mode);
}

WRAPPED(int, openat64, int at, const char *path, int flags, mode_t mode)
{
    if (faults.is_named && (flags & O_TMPFILE) == O_TMPFILE) {
        errno = EOPNOTSUPP;
        return -1;
    }
    return is_due(FAULT_OPEN) ? -1 : __real_openat64(at, path, flags, mode);
}

WRAPPED(int, mkostemp64, char *pattern, int flags)
{
    return is_due(FAULT_OPEN) ? -1 : __real_mkostemp64(pattern, flags);
}

WRAPPED(int, fstat64, int fd, struct stat *st)
{
    return is_due(FAULT_STAT) ? -1 : __real_fstat64(fd, st);
}

WRAPPED(ssize_t, pread64, int fd, void *p, size_t len, off_t offset)
{
    if (is_due(FAULT_READ))
        return -1;
    size_t n = cut(len);
    return n > 0 ? __real_pread64(fd, p, n, offset) : -1;
}

WRAPPED(ssize_t, pwrite64, int fd, const void *p, size_t len, off_t offset)
{
    if (is_due(FAULT_WRITE))
        return -1;
    size_t n = cut(len);
    return n > 0 ? __real_pwrite64(fd, p, n, offset) : -1;
}

WRAPPED(int, ftruncate64, int fd, off_t size)
{
    return is_due(FAULT_WRITE) ? -1 : __real_ftruncate64(fd, size);
}

WRAPPED(int, fsync, int fd)
{
    return is_due(FAULT_SYNC) ? -1 : __real_fsync(fd);
}

WRAPPED(int, linkat, int from, const char *old, int to, const char *new, int flags)
{
    return is_due(FAULT_NAME) ? -1 : __real_linkat(from, old, to, new, flags);
}

WRAPPED(int, renameat, int from, const char *old, int to, const char *new)
{
    return is_due(FAULT_NAME) ? -1 : __real_renameat(from, old, to, new);
}

WRAPPED(int, fchmod, int fd, mode_t mode)
{
    return is_due(FAULT_MODE) ? -1 : __real_fchmod(fd, mode);
}
