/*
 * act/residency.h: look up only in pages that are in memory, and learn which ones are missing.
 *
 * A lookup in a mapped file that touches a page which is not in memory waits for the disk, and with
 * it the whole thread. A residency gives a second handle of the same tree for a thread that must
 * not wait: what is called with it ends in ACT_COLD instead, and the pages that it has come upon
 * and found missing are listed. Somebody else reads them (touches them through the tree itself),
 * and then the same call is made again.
 *
 *     act_residency_new(tree, fd, act_probe_find(fd), &residency);
 *     ...
 *     act_residency_begin(residency);
 *     if (act_get(act_residency_tree(residency), key, len, &value, NULL) == ACT_COLD)
 *         pages = act_residency_wanted(residency, &n);   have them read, then ask again
 *
 * How it knows. A bit for each page says that it was found in memory once. A page without one is
 * asked for (enum act_probe), which takes about half a microsecond, and then mostly never again: a
 * lookup in known pages makes no system call. What the kernel takes back later is not seen by
 * itself; act_residency_check looks again, page after page, at a cost that the caller bounds.
 *
 * A line or byte value that goes over several pages needs all of them (see
 * act_residency_limit_values).
 *
 * Threads. A residency is one thread's, with everything that is called with its tree, but for
 * act_residency_note and act_residency_cool: these may be called by any thread while the residency
 * exists.
 */
#ifndef ACT_RESIDENCY_H
#define ACT_RESIDENCY_H

#include <act/act.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ACT_PAGE_BYTES 4096

/* How the kernel is asked whether a page of a file is in memory. */
enum act_probe {
    /* It is not asked: a page is missing until act_residency_note says that it is there. */
    ACT_PROBE_NONE = 0,
    /* mincore. It tells the truth to who owns the file or may write it; to others all pages are
     * there. */
    ACT_PROBE_MINCORE = 1,
    /* preadv2 with RWF_NOWAIT. Not every file system knows it (FUSE and overlayfs do not); a page
     * that is missing begins to be read. */
    ACT_PROBE_NOWAIT = 2,
};

/* What works, and tells this process the truth, on the file of that descriptor. */
ACT_PUBLIC enum act_probe act_probe_find(int fd);

/* "none", "mincore", "nowait". */
ACT_PUBLIC const char *act_probe_name(enum act_probe probe);

struct act_residency;

/*
 * tree           from act_open_path or act_open_fd; it must outlive the residency. Changes to the
 *                tree (act_cache_tables, act_set_root) must come before.
 * fd             of the tree's file, for ACT_PROBE_NOWAIT; borrowed. Else it may be -1.
 * ret_residency  owned by the caller: act_residency_free.
 *
 * 0, -ENOMEM, or -EINVAL: the tree is not mapped from a file.
 */
ACT_PUBLIC int act_residency_new(const struct act *tree, int fd, enum act_probe probe,
                                 struct act_residency **ret_residency);

/* NULL is fine. */
ACT_PUBLIC void act_residency_free(struct act_residency *residency);

/* The handle that does not wait: for every function that takes a tree, but act_close. Valid as long
 * as the residency. */
ACT_PUBLIC const struct act *act_residency_tree(const struct act_residency *residency);

/*
 * From now on act_bytes gives a byte value that is longer than max_bytes whether or not its pages
 * are in memory: the caller must not touch it. For who can do nothing with so long a one, which
 * would otherwise be read from the disk for nothing. Without this call there is no limit.
 */
ACT_PUBLIC void act_residency_limit_values(struct act_residency *residency, uint64_t max_bytes);

/* Forgets what is listed as missing. */
ACT_PUBLIC void act_residency_begin(struct act_residency *residency);

/*
 * The pages (numbers: offset / ACT_PAGE_BYTES) that calls since act_residency_begin have missed,
 * and behind them those of act_residency_want; each once, at most ACT_WANTED_MAX together.
 *
 * ret_n_missed  how many were missed
 * ret_n         how many there are
 *
 * A view, valid until the next call with the tree.
 */
#define ACT_WANTED_MAX 1024
ACT_PUBLIC const uint64_t *act_residency_wanted(const struct act_residency *residency,
                                                size_t *ret_n_missed, size_t *ret_n);
/* May more be listed? */
ACT_PUBLIC bool act_residency_has_room(const struct act_residency *residency);

/* Lists up to n pages from that one on, too, as far as they are not known to be there; backward:
 * down to it. For who knows what it will want next. */
ACT_PUBLIC void act_residency_want(struct act_residency *residency, uint64_t page, size_t n,
                                   bool backward);

/*
 * Somebody has begun to read that page. Until act_residency_note it is missing, whatever the kernel
 * says: it may be there and still be locked, and a touch would wait for that.
 */
ACT_PUBLIC void act_residency_await(struct act_residency *residency, uint64_t page);

/* That page is in memory now: who calls has just touched it. Thread-safe. */
ACT_PUBLIC void act_residency_note(struct act_residency *residency, uint64_t page);

/*
 * Asks about pages that are known to be there whether they still are, from where the last call
 * ended, round and round.
 *
 * max_asked  system calls at most, about: each for 64 pages (mincore) or for one (RWF_NOWAIT)
 * ret_gone   how many are not there any more; may be NULL
 *
 * The number of pages that it has passed; they may be more than the file has. 0: nothing can be
 * asked (ACT_PROBE_NONE).
 */
ACT_PUBLIC uint64_t act_residency_check(struct act_residency *residency, unsigned max_asked,
                                        uint64_t *ret_gone);

/*
 * Which blocks of 16 pages no lookup has needed lately: of the 512 pages from that one on (a
 * multiple of 512), block number i is bit i of the result. Those that are not in it are forgotten:
 * what is needed will be asked for, and known, again. For who unmaps what is not needed.
 * Thread-safe.
 */
ACT_PUBLIC uint32_t act_residency_cool(struct act_residency *residency, uint64_t page);

/* Forgets everything that it knows: each page is asked for again when it is needed. */
ACT_PUBLIC void act_residency_doubt(struct act_residency *residency);

struct act_residency_info {
    enum act_probe probe;
    uint64_t n_pages;  /* of the file */
    uint64_t n_known;  /* of them found in memory, and not found gone since */
    uint64_t n_probes; /* system calls that have asked */
};
ACT_PUBLIC void act_residency_info(const struct act_residency *residency,
                                   struct act_residency_info *ret_info);

#ifdef __cplusplus
}
#endif

#endif
