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
#include "base/log.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
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
    for (unsigned i = 0; i < TRAILERS_MAX && offset >= snapshot->size_bytes; i++) {
        if (!read_pair(snapshot, offset, trailer))
            return false;
        if (trailer[1] == snapshot->root_offset)
            return true;
        if (trailer[0] == 0 || trailer[0] >= offset)
            return false;
        offset = trailer[0];
    }
    return false;
}

/* NULL: whatever has happened, our tree is still there. */
static const char *find_damage(const struct snapshot *snapshot, const struct stat *st)
{
    uint64_t size = (uint64_t)st->st_size, header[2];
    uint64_t magic;
    memcpy(&magic, "ACTree03", sizeof magic);
    if (size < snapshot->size_bytes)
        return "the file was truncated in place";
    if (!read_pair(snapshot, 0, header))
        return "the file was changed in place and cannot be read";
    if (header[0] != le64toh(magic))
        return "the file was overwritten in place";
    if (header[1] == snapshot->root_offset)
        return NULL;
    if (size > snapshot->size_bytes && is_merge_of_ours(snapshot, size))
        return NULL;
    return "the file was overwritten in place";
}

/* The digest, where the file has one. Else size, root and time of writing: what a faithful copy
 * keeps and another version changes. */
static uint64_t identity_of(const struct snapshot *snapshot, const struct act_info *info)
{
    if (info->metadata_state == ACT_METADATA_FULL)
        return XXH3_64bits(info->metadata.digest, sizeof info->metadata.digest);
    uint64_t facts[4] = {htole64(snapshot->size_bytes), htole64(snapshot->root_offset),
                         htole64((uint64_t)snapshot->mtime.tv_sec),
                         htole64((uint64_t)snapshot->mtime.tv_nsec)};
    return XXH3_64bits(facts, sizeof facts);
}

static const char *remark_on(const struct act_info *info)
{
    switch (info->metadata_state) {
    case ACT_METADATA_DAMAGED:
        return "its metadata is damaged: it is served without; write the file again";
    case ACT_METADATA_FOREIGN:
        return "its metadata belongs to another root: it is served without; write the file again";
    default:
        return NULL;
    }
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

static int snapshot_fill(struct snapshot *snapshot, const char *path, struct act_error *error)
{
    struct stat st;
    struct act_info info;
    /* O_NONBLOCK: a FIFO without a writer must not hang the open; act_open_fd then refuses it. */
    snapshot->fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (snapshot->fd < 0 || fstat(snapshot->fd, &st) < 0) {
        int saved = errno;
        snprintf(error->message, sizeof error->message, "%.512s: cannot open: %s", path,
                 strerror(saved));
        return -saved;
    }
    int r = act_open_fd(snapshot->fd, path, &snapshot->tree, error);
    if (r != 0)
        return r;
    act_info(snapshot->tree, &info);
    if (info.values == ACT_VALUES_MIXED)
        return refuse_mixed(path, error);
    snapshot->remark = remark_on(&info);
    snapshot->device = st.st_dev;
    snapshot->inode = st.st_ino;
    snapshot->size_bytes = info.size_bytes;
    snapshot->root_offset = info.root_offset;
    /* mtime was taken before the header was read: a write in between shows as a change. */
    snapshot->mtime = snapshot->seen_mtime = st.st_mtim;
    snapshot->seen_size_bytes = info.size_bytes;
    snapshot->identity = identity_of(snapshot, &info);
    snapshot->n_roots = act_root_history(snapshot->tree, snapshot->roots, SNAPSHOT_ROOTS_MAX);
    if (snapshot->n_roots > SNAPSHOT_ROOTS_MAX)
        snapshot->n_roots = SNAPSHOT_ROOTS_MAX;
    return 0;
}

int snapshot_open(const char *path, uint64_t number, size_t table_cache_bytes,
                  struct snapshot **ret, struct act_error *error)
{
    struct snapshot *snapshot = malloc(sizeof *snapshot);
    char *copy = strdup(path);
    if (!snapshot || !copy) {
        free(snapshot);
        free(copy);
        snprintf(error->message, sizeof error->message, "%.512s: out of memory", path);
        return -ENOMEM;
    }
    *snapshot = (struct snapshot){.fd = -1, .path = copy, .refs = 1, .number = number};
    int r = snapshot_fill(snapshot, path, error);
    if (r != 0) {
        snapshot_unref(snapshot);
        return r;
    }
    /* Without memory for it lookups are slower and as right. */
    (void)act_cache_tables(snapshot->tree, table_cache_bytes);
    *ret = snapshot;
    return 0;
}

struct snapshot *snapshot_ref(struct snapshot *snapshot)
{
    snapshot->refs++;
    return snapshot;
}

void snapshot_unref(struct snapshot *snapshot)
{
    if (!snapshot || --snapshot->refs > 0)
        return;
    act_close(snapshot->tree);
    fd_closep(&snapshot->fd);
    free(snapshot->path);
    free(snapshot);
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

void snapshot_log_damage(const struct snapshot *snapshot)
{
    log_error("generation %llu: %s: %s; queries are answered with IO_ERROR. Replace files by "
              "rename, and restart actd",
              (unsigned long long)snapshot->number, snapshot->path, snapshot->damage);
}
