/*
 * snapshot: see snapshot.h.
 *
 * A change in place that harms nobody is the reference's merge: it appends behind the old end and
 * then replaces the 8 bytes of the root. So a file that still holds our root, or whose chain of
 * merge trailers leads to it, still holds our tree. An overwrite that keeps magic and root cannot
 * be told from an unfinished merge.
 */
#include "daemon/snapshot.h"

#include "base/fd.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <xxhash.h>

#define TRAILER_BYTES 16
/* A merge a second for a quarter of an hour between two checks. */
#define TRAILERS_MAX 1000

static bool is_same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static bool read_at(const struct snapshot *snapshot, void *p, size_t len, uint64_t offset)
{
    ssize_t n;
    do
        n = pread(snapshot->fd, p, len, (off_t)offset);
    while (n < 0 && errno == EINTR);
    return n == (ssize_t)len;
}

/* Two u64 at offset: header behind the magic, or trailer. */
static bool read_pair(const struct snapshot *snapshot, uint64_t offset, uint64_t pair[2])
{
    uint64_t raw[2];
    if (!read_at(snapshot, raw, sizeof raw, offset))
        return false;
    pair[0] = le64toh(raw[0]);
    pair[1] = le64toh(raw[1]);
    return true;
}

/* Does the chain of merge trailers at the end of a file of this size lead to our root? */
static bool is_merge_of_ours(const struct snapshot *snapshot, uint64_t size)
{
    uint64_t offset = size - TRAILER_BYTES, trailer[2];
    for (unsigned i = 0; i < TRAILERS_MAX && offset >= snapshot->generation.size_bytes; i++) {
        if (!read_pair(snapshot, offset, trailer))
            return false;
        if (trailer[1] == snapshot->generation.root_offset)
            return true;
        if (trailer[0] == 0 || trailer[0] >= offset)
            return false;
        offset = trailer[0];
    }
    return false;
}

/* NULL: whatever has happened, our tree is still there. */
static const char *find_damage(struct snapshot *snapshot, const struct stat *st)
{
    uint64_t size = (uint64_t)st->st_size, header[2];
    static const char truncated[] = "the file was truncated in place";
    uint64_t magic;
    memcpy(&magic, "ACTree03", sizeof magic);
    if (size < snapshot->generation.size_bytes)
        return truncated;
    if (!read_pair(snapshot, 0, header)) {
        struct stat now; /* it may have gone since st was asked for */
        bool is_shorter = fstat(snapshot->fd, &now) == 0 && now.st_size < st->st_size;
        return is_shorter ? truncated : "the file was changed in place and cannot be read";
    }
    if (header[0] != le64toh(magic))
        return "the file was overwritten in place";
    if (header[1] == snapshot->seen_root)
        return NULL;
    if (header[1] == snapshot->generation.root_offset ||
        (size > snapshot->generation.size_bytes && is_merge_of_ours(snapshot, size))) {
        snapshot->seen_root = header[1]; /* while the next merge appends, its trailer is missing */
        return NULL;
    }
    return "the file was overwritten in place";
}

/* The digest, where the file has one. Else size, root and time of writing: what a faithful copy
 * keeps and another version changes. */
static uint64_t identity_of(const struct generation *generation, const struct act_info *info)
{
    if (info->metadata_state == ACT_METADATA_FULL)
        return XXH3_64bits(info->metadata.digest, sizeof info->metadata.digest);
    uint64_t facts[4] = {htole64(generation->size_bytes), htole64(generation->root_offset),
                         htole64((uint64_t)generation->mtime.tv_sec),
                         htole64((uint64_t)generation->mtime.tv_nsec)};
    return XXH3_64bits(facts, sizeof facts);
}

void generation_remark(struct generation *generation, const char *format, ...)
{
    size_t len = strlen(generation->remark), size = sizeof generation->remark;
    va_list args;
    if (len > 0 && len + 2 < size)
        len += (size_t)snprintf(generation->remark + len, size - len, "; ");
    va_start(args, format);
    vsnprintf(generation->remark + len, size - len, format, args);
    va_end(args);
}

static const struct {
    uint32_t magic; /* f_type of statfs */
    const char *name;
} remote_file_systems[] = {
    {0x6969, "NFS"},       {0xff534d42, "CIFS"}, {0xfe534d42, "SMB2"}, {0x517b, "SMB"},
    {0x01021997, "9P"},    {0x00c36400, "Ceph"}, {0x5346414f, "AFS"},  {0x6b414653, "kAFS"},
    {0x7461636f, "OCFS2"}, {0x01161970, "GFS2"}, {0x73757245, "Coda"}, {0x0bd00bd0, "Lustre"},
    {0x47504653, "GPFS"},
};

/* What is odd, and no reason to refuse the file. */
static void remark_on(struct generation *generation, int fd, const struct act_info *info)
{
    struct statfs fs;
    if (info->metadata_state == ACT_METADATA_DAMAGED)
        generation_remark(generation,
                          "its metadata is damaged: it is served without; write the file again");
    if (info->metadata_state == ACT_METADATA_FOREIGN)
        generation_remark(generation,
                          "its metadata belongs to another root: it is served without; write "
                          "the file again");
    if (fstatfs(fd, &fs) < 0)
        return;
    for (size_t i = 0; i < sizeof remote_file_systems / sizeof *remote_file_systems; i++)
        if ((uint32_t)fs.f_type == remote_file_systems[i].magic)
            generation_remark(
                generation,
                "it lies on a network file system (%s): a page that is not in memory waits "
                "for the network; copy it to a local disk",
                remote_file_systems[i].name);
}

static int fail_errno(struct act_error *error, const char *path, const char *what)
{
    int saved = errno;
    snprintf(error->message, sizeof error->message, "%.512s: %s: %s", path, what, strerror(saved));
    return -saved;
}

static int refuse_mixed(const char *path, struct act_error *error)
{
    snprintf(
        error->message, sizeof error->message,
        "%.512s: its values are byte strings, and it was merged into by a writer that does not "
        "know them: build the file again",
        path);
    return ACT_NOT_BYTES;
}

/* Opening looks for a merge's trailer at the file's end, in the map: where that page cannot be had,
 * a read tells so, and the map would raise SIGBUS. */
static int check_end(int fd, const char *path, const struct stat *st, struct act_error *error)
{
    char trailer[TRAILER_BYTES];
    if (!S_ISREG(st->st_mode) || st->st_size < TRAILER_BYTES)
        return 0;
    if (pread(fd, trailer, sizeof trailer, st->st_size - TRAILER_BYTES) == TRAILER_BYTES)
        return 0;
    snprintf(error->message, sizeof error->message, "%.512s: its end cannot be read", path);
    return -EIO;
}

int generation_open(const char *path, struct act_error *error)
{
    /* O_NONBLOCK: a FIFO without a writer must not hang the open; it is refused afterwards. */
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    return fd >= 0 ? fd : fail_errno(error, path, "cannot open");
}

int generation_examine(int fd, const char *path, struct generation *ret, struct act_error *error)
{
    struct stat st;
    struct act *tree;
    struct act_info info;
    *ret = (struct generation){0};
    if (fstat(fd, &st) < 0)
        return fail_errno(error, path, "cannot stat");
    ret->device = st.st_dev;
    ret->inode = st.st_ino;
    ret->size_bytes = (uint64_t)st.st_size;
    /* Taken before the header is read: a write in between shows as a change. */
    ret->mtime = st.st_mtim;
    ret->ctime = st.st_ctim;
    int r = check_end(fd, path, &st, error);
    if (r != 0 || (r = act_open_fd(fd, path, &tree, error)) != 0)
        return r;
    act_info(tree, &info);
    ret->size_bytes = info.size_bytes;
    ret->root_offset = info.root_offset;
    ret->identity = identity_of(ret, &info);
    ret->n_keys =
        info.metadata_state == ACT_METADATA_FULL ? info.metadata.n_keys : GENERATION_KEYS_UNKNOWN;
    ret->n_roots = act_root_history(tree, ret->roots, GENERATION_ROOTS_MAX);
    if (ret->n_roots > GENERATION_ROOTS_MAX)
        ret->n_roots = GENERATION_ROOTS_MAX;
    remark_on(ret, fd, &info);
    act_close(tree);
    return info.values == ACT_VALUES_MIXED ? refuse_mixed(path, error) : 0;
}

bool generation_is_copy(int fd, const char *path, const struct generation *generation,
                        struct act_error *error)
{
    struct act *tree;
    struct act_info info;
    if (act_open_part(fd, generation->size_bytes, path, &tree, error) != 0)
        return false;
    act_info(tree, &info);
    act_close(tree);
    return info.root_offset == generation->root_offset && info.values != ACT_VALUES_MIXED &&
           identity_of(generation, &info) == generation->identity;
}

static struct snapshot *snapshot_alloc(int fd, const char *path,
                                       const struct generation *generation)
{
    struct snapshot *snapshot = calloc(1, sizeof *snapshot);
    char *copy = strdup(path);
    if (!snapshot || !copy) {
        free(snapshot);
        free(copy);
        return NULL;
    }
    snapshot->generation = *generation;
    snapshot->fd = fd;
    snapshot->path = copy;
    snapshot->refs = 1;
    snapshot->seen_size_bytes = generation->size_bytes;
    snapshot->seen_mtime = generation->mtime;
    snapshot->seen_root = generation->root_offset;
    return snapshot;
}

/* Where others have merged into the file since, our tree is still in it: a worker that starts then
 * serves the same as those that run. False: it is not what it was. */
static bool use_our_root(const struct snapshot *snapshot)
{
    struct act_info info;
    const struct generation *generation = &snapshot->generation;
    act_info(snapshot->tree, &info);
    if (info.size_bytes < generation->size_bytes)
        return false;
    if (info.root_offset == generation->root_offset)
        return true;
    return info.size_bytes > generation->size_bytes &&
           act_set_root(snapshot->tree, generation->root_offset) == 0;
}

/* What is mapped is looked at once more: it may be another day, and another process. */
static int snapshot_map(struct snapshot *snapshot, struct act_error *error)
{
    struct stat st;
    const char *path = snapshot->path;
    const struct generation *generation = &snapshot->generation;
    if (generation->hold != GENERATION_MAPPED)
        return act_open_part(snapshot->fd, generation->size_bytes, path, &snapshot->tree, error);
    int r = fstat(snapshot->fd, &st) < 0 ? fail_errno(error, path, "cannot stat")
                                         : check_end(snapshot->fd, path, &st, error);
    return r != 0 ? r : act_open_fd(snapshot->fd, path, &snapshot->tree, error);
}

int snapshot_new(int fd, const char *path, const struct generation *generation,
                 size_t table_cache_bytes, struct snapshot **ret, struct act_error *error)
{
    struct snapshot *snapshot = snapshot_alloc(fd, path, generation);
    if (!snapshot) {
        errno = ENOMEM;
        return fail_errno(error, path, "cannot map");
    }
    int r = snapshot_map(snapshot, error);
    if (r == 0 && !use_our_root(snapshot)) {
        snprintf(error->message, sizeof error->message, "%.512s: it changed while it was opened",
                 path);
        r = ACT_BAD_ROOT;
    }
    if (r != 0) {
        snapshot->fd = -1;
        snapshot_free(snapshot);
        return r;
    }
    /* Without memory for it lookups are slower and as right. */
    (void)act_cache_tables(snapshot->tree, table_cache_bytes);
    *ret = snapshot;
    return 0;
}

int snapshot_new_damaged(int fd, const char *path, const struct generation *generation,
                         const char *reason, struct snapshot **ret)
{
    struct snapshot *snapshot = snapshot_alloc(fd, path, generation);
    if (!snapshot)
        return -ENOMEM;
    snapshot_damage(snapshot, reason);
    *ret = snapshot;
    return 0;
}

int snapshot_watch_pages(struct snapshot *snapshot, enum act_probe probe)
{
    return act_residency_new(snapshot->tree, snapshot->fd, probe, &snapshot->residency);
}

struct snapshot *snapshot_ref(struct snapshot *snapshot)
{
    snapshot->refs++;
    return snapshot;
}

bool snapshot_unref(struct snapshot *snapshot)
{
    return snapshot && --snapshot->refs == 0;
}

void snapshot_free(struct snapshot *snapshot)
{
    act_residency_free(snapshot->residency);
    act_close(snapshot->tree);
    fd_closep(&snapshot->fd);
    free(snapshot->path);
    free(snapshot);
}

void snapshot_bury(struct snapshot *snapshot)
{
    act_close(snapshot->tree);
    snapshot->tree = NULL;
    /* The memory of a copy goes with its last descriptor. */
    if (snapshot->generation.hold == GENERATION_MAPPED)
        (void)posix_fadvise(snapshot->fd, 0, 0, POSIX_FADV_DONTNEED);
    snapshot_free(snapshot);
}

/* A write sets the time before it copies its bytes, the header's first: a check in between finds
 * our root, and no later one would find another time. So the header is looked at until the last
 * write is so old. By ctime, which nobody can set. */
#define SETTLED_S 2

static bool is_settled(const struct stat *st)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    return now.tv_sec - st->st_ctim.tv_sec >= SETTLED_S;
}

bool snapshot_unchanged(struct snapshot *snapshot)
{
    struct stat st;
    if (snapshot->damage)
        return false;
    if (snapshot->generation.hold != GENERATION_MAPPED)
        return true;
    if (fstat(snapshot->fd, &st) < 0) {
        snapshot->damage = "the file cannot be checked any more";
        return false;
    }
    if (snapshot->is_settled && (uint64_t)st.st_size == snapshot->seen_size_bytes &&
        is_same_time(st.st_mtim, snapshot->seen_mtime))
        return true;
    snapshot->damage = find_damage(snapshot, &st);
    snapshot->seen_size_bytes = (uint64_t)st.st_size;
    snapshot->seen_mtime = st.st_mtim;
    snapshot->is_settled = is_settled(&st);
    return !snapshot->damage;
}

void snapshot_note_fault(struct snapshot *snapshot)
{
    struct stat st;
    const char *damage = NULL;
    if (snapshot->generation.hold != GENERATION_MAPPED) {
        snapshot->damage = "a part of its copy in memory could not be read";
        return;
    }
    bool is_known = fstat(snapshot->fd, &st) == 0;
    if (is_known && ((uint64_t)st.st_size != snapshot->seen_size_bytes ||
                     !is_same_time(st.st_mtim, snapshot->seen_mtime)))
        damage = find_damage(snapshot, &st);
    snapshot->damage = damage ? damage : "a part of the file could not be read";
}

void snapshot_damage(struct snapshot *snapshot, const char *reason)
{
    if (snapshot->damage)
        return;
    snprintf(snapshot->damage_text, sizeof snapshot->damage_text, "%s", reason);
    snapshot->damage = snapshot->damage_text;
}
