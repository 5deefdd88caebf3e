/*
 * snapshot: one generation of the tree: an opened file, what identifies it, and whether somebody
 * has changed it in place since.
 *
 * The tree is searched through a shared mapping, so bytes that another process writes into the same
 * file appear in the middle of a lookup. After a turn's lookups and before its replies leave,
 * snapshot_unchanged asks once whether the file is still what was opened; if it is not, the turn's
 * results are dropped. Files replaced by rename are a different inode and do not matter here.
 *
 * Counted: the worker and each of its jobs hold one reference. Single-threaded, but for opening and
 * freeing one that nobody else knows.
 */
#pragma once

#include "act/act.h"
#include "act/residency.h"
#include "base/slice.h"
#include "daemon/generation.h"

struct snapshot {
    struct generation generation;
    struct act *tree;                /* owned; NULL: it could not be mapped, damage says why */
    struct act_residency *residency; /* owned; NULL: lookups wait for pages that are missing */
    int fd;                          /* owned; the inode is watched through it */
    char *path;                      /* owned */
    unsigned refs;

    uint64_t seen_size_bytes; /* at the last check that found the tree unharmed */
    struct timespec seen_mtime;
    uint64_t seen_root;    /* in the header: ours, or a merge's that leads to ours */
    bool is_settled;       /* nobody had written for a while when that was seen */
    uint64_t locked_bytes; /* of the mapping; by who has locked it */
    const char *damage;    /* NULL, or why its answers cannot be trusted any more */
    char damage_text[256]; /* where damage may point */
};

/* Opens path without waiting for anything that is not a regular file. A descriptor, or -errno with
 * error filled in. */
int generation_open(const char *path, struct act_error *error);

/* The facts about an open file, but for its number. 0; with error filled in: an outcome of
 * act_open_fd, ACT_NOT_BYTES (byte values, merged by a writer that does not know them), or -errno.
 * Device, inode, size and times are there even then, as far as they could be told. */
int generation_examine(int fd, const char *path, struct generation *ret, struct act_error *error);

/* Does this copy in memory hold the tree of that generation, as far as opening it tells? If not,
 * error may say why. */
bool generation_is_copy(int fd, const char *path, const struct generation *generation,
                        struct act_error *error);

/* Adds to what is odd about it, which the log tells when it is served. */
__attribute__((format(printf, 2, 3))) void generation_remark(struct generation *generation,
                                                             const char *format, ...);

/* Maps the file, or its copy, which must be what generation says, with a cache of sibling tables of
 * so many bytes. Takes over fd on success. 0, or as generation_examine; a file that is not what it
 * was gives ACT_BAD_ROOT. */
int snapshot_new(int fd, const char *path, const struct generation *generation,
                 size_t table_cache_bytes, struct snapshot **ret, struct act_error *error);
/* One that answers nothing, where a file that was good cannot be mapped any more. Takes over fd on
 * success. 0 or -ENOMEM. */
int snapshot_new_damaged(int fd, const char *path, const struct generation *generation,
                         const char *reason, struct snapshot **ret);

/* From now on lookups do not wait for pages that are not in memory (snapshot_lookup_tree). To be
 * called before others know it. 0 or -ENOMEM. */
int snapshot_watch_pages(struct snapshot *snapshot, enum act_probe probe);

/* What the loop looks up in: a lookup may end in ACT_COLD. */
static inline const struct act *snapshot_lookup_tree(const struct snapshot *snapshot)
{
    return snapshot->residency ? act_residency_tree(snapshot->residency) : snapshot->tree;
}

struct snapshot *snapshot_ref(struct snapshot *snapshot);
/* True: that was the last reference, and the caller has to call snapshot_free, in whatever thread:
 * unmapping takes long. NULL is fine. */
bool snapshot_unref(struct snapshot *snapshot);
void snapshot_free(struct snapshot *snapshot);
/* The same, and the kernel is told that nobody needs the file's pages any more: whoever does it
 * last frees them, since those that are mapped stay. */
void snapshot_bury(struct snapshot *snapshot);

/* May replies made from this snapshot since the last check leave? One fstat where nothing has
 * changed, and none of a copy, which is sealed. False: snapshot->damage says why, and stays. */
bool snapshot_unchanged(struct snapshot *snapshot);

/* Reading the mapped file has just raised SIGBUS: finds out why. snapshot->damage says so, and
 * stays. */
void snapshot_note_fault(struct snapshot *snapshot);

/* Its answers cannot be trusted any more; the first reason stays. The text is copied. */
void snapshot_damage(struct snapshot *snapshot, const char *reason);
