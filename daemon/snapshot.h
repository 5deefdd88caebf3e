/*
 * snapshot: one generation of the tree: an opened file, what identifies it, and whether somebody
 * has changed it in place since.
 *
 * The tree is searched through a shared mapping, so bytes that another process writes into the same
 * file appear in the middle of a lookup. After a turn's lookups and before its replies leave,
 * snapshot_unchanged asks once whether the file is still what was opened; if it is not, the turn's
 * results are dropped. Files replaced by rename are a different inode and do not matter here.
 *
 * Counted: the supervisor and the worker hold one reference each. Single-threaded.
 */
#pragma once

#include "act/act.h"
#include "base/slice.h"

#include <sys/types.h>
#include <time.h>

/* Of a file with a longer history the newest are known. */
#define SNAPSHOT_ROOTS_MAX 100

struct snapshot {
    struct act *tree; /* owned */
    int fd;           /* owned; the inode is watched through it */
    char *path;       /* owned */
    unsigned refs;

    uint64_t number;   /* running number, for people */
    uint64_t identity; /* the same on every host that serves the same file */
    dev_t device;
    ino_t inode;
    uint64_t size_bytes; /* as mapped */
    uint64_t root_offset;
    struct timespec mtime;              /* at open */
    uint64_t roots[SNAPSHOT_ROOTS_MAX]; /* that the file has had, newest first */
    size_t n_roots;

    uint64_t seen_size_bytes; /* at the last check that found the tree unharmed */
    struct timespec seen_mtime;
    bool is_settled;    /* nobody had written for a while when that was seen */
    const char *remark; /* NULL, or what is odd about the file and no reason to refuse it */
    const char *damage; /* NULL, or why its answers cannot be trusted any more: static text */
};

/* Opens path as generation number, with a cache of sibling tables of so many bytes. 0; with error
 * filled in: an outcome of act_open_fd, ACT_NOT_BYTES (byte values, merged by a writer that does
 * not know them), or -errno. */
int snapshot_open(const char *path, uint64_t number, size_t table_cache_bytes,
                  struct snapshot **ret, struct act_error *error);

struct snapshot *snapshot_ref(struct snapshot *snapshot);
/* Unmaps and closes with the last reference. NULL is fine. */
void snapshot_unref(struct snapshot *snapshot);

/* May replies made from this snapshot since the last check leave? One fstat where nothing has
 * changed. False: snapshot->damage says why, and stays. */
bool snapshot_unchanged(struct snapshot *snapshot);

/* Tells the log that a check has just failed, and what to do. */
void snapshot_log_damage(const struct snapshot *snapshot);
