/*
 * act/pages.h: sets of pages of a file: which ones are in memory, and files that remember it.
 *
 * A set has a bit for each page of ACT_PAGE_BYTES (3 MB for a file of 100 GB). It is filled by
 * hand, by asking the kernel, or from a profile: a small file in which such a set is kept, so that
 * what was in memory can be brought back after a restart (act/warm.h).
 *
 * Nothing here touches a page of the file or reads its content.
 *
 * Threads. A set is one thread's at a time.
 */
#ifndef ACT_PAGES_H
#define ACT_PAGES_H

#include <act/act.h>
#include <act/residency.h>

#ifdef __cplusplus
extern "C" {
#endif

struct act_pages;

/* An empty set for a file of so many bytes. 0, -ENOMEM, or -EFBIG: no file is that large. */
ACT_PUBLIC int act_pages_new(uint64_t size_bytes, struct act_pages **ret_pages);

/* NULL is fine. */
ACT_PUBLIC void act_pages_free(struct act_pages *pages);

/* Of the file, as given. */
ACT_PUBLIC uint64_t act_pages_size_bytes(const struct act_pages *pages);

/* How many pages the file has; the last one may be a part of one. */
ACT_PUBLIC uint64_t act_pages_total(const struct act_pages *pages);

/* How many are in the set; of the n from first on. What is beyond the file is not in it. */
ACT_PUBLIC uint64_t act_pages_count(const struct act_pages *pages);
ACT_PUBLIC uint64_t act_pages_count_in(const struct act_pages *pages, uint64_t first, uint64_t n);

ACT_PUBLIC bool act_pages_has(const struct act_pages *pages, uint64_t page);

/* Adds n pages from first on, as far as the file has them. */
ACT_PUBLIC void act_pages_add(struct act_pages *pages, uint64_t first, uint64_t n);

/* The first run of pages in the set at or after page `from`, as long as it goes. False: there is
 * none. */
ACT_PUBLIC bool act_pages_next(const struct act_pages *pages, uint64_t from, uint64_t *ret_first,
                               uint64_t *ret_n);

/* Called now and then with how many pages are asked for, of how many. False: give up. */
typedef bool act_pages_go_on(void *context, uint64_t done, uint64_t total);

/*
 * Adds the pages that are in memory: in the kernel's page cache, whoever has brought them there. By
 * mincore on a mapping of the caller's own that nobody touches; a part of the file at a time, so
 * that the address space needed is bounded.
 *
 * The kernel tells the truth only to the file's owner and to who may write it; to others it says
 * that all pages are there. Ask act_probe_find first: only with ACT_PROBE_MINCORE this means
 * anything.
 *
 * fd       of the file; borrowed
 * go_on    may be NULL
 *
 * 0, -ECANCELED: go_on has said so, or -errno. What was found until then is in the set.
 */
ACT_PUBLIC int act_pages_add_resident(struct act_pages *pages, int fd, act_pages_go_on *go_on,
                                      void *context);

/*
 * Adds the pages that a process has mapped and touched, from its /proc/PID/pagemap: a part of those
 * that are in memory, and all that can be known of a file that belongs to somebody else.
 *
 * pagemap_fd     of /proc/PID/pagemap; borrowed
 * mapping_start  address in that process at which the file's first byte is mapped
 *
 * The same.
 */
ACT_PUBLIC int act_pages_add_mapped(struct act_pages *pages, int pagemap_fd, uint64_t mapping_start,
                                    act_pages_go_on *go_on, void *context);

/* Where a set comes from. Stable numbers: they are stored. */
enum act_pages_source {
    ACT_PAGES_UNKNOWN = 0,
    ACT_PAGES_MINCORE = 1, /* act_pages_add_resident */
    ACT_PAGES_PAGEMAP = 2, /* act_pages_add_mapped */
};

/* "unknown", "mincore", "pagemap". */
ACT_PUBLIC const char *act_pages_source_name(enum act_pages_source source);

/* What a profile says beside the set. */
struct act_profile {
    uint64_t identity;    /* the caller's name for the file's content; 0: none */
    uint64_t size_bytes;  /* of the file */
    uint64_t root_offset; /* of the tree */
    enum act_pages_source source;
    uint64_t saved_s; /* seconds since 1970 */
};

/* Outcomes of act_profile_read, beside 0 and -errno. */
enum act_profile_outcome {
    ACT_PROFILE_BROKEN = 40,  /* not a profile, or a damaged one */
    ACT_PROFILE_FOREIGN = 41, /* of another file than wanted */
};

/*
 * Writes a profile as files are written that may not be lost: without a name, synced, then named,
 * or renamed over the old one. What is there and is neither a profile nor empty is not replaced. A
 * kill leaves the old one, or the new one; beside it, if it comes
 * between the last two steps, a hidden name (.act-*) that the next writing removes. A new one may
 * be read by its owner alone.
 *
 * about      size_bytes must be the set's
 * ret_error  filled on failure, names the file and the remedy; may be NULL
 *
 * 0 or -errno (-EEXIST: something else is there).
 */
ACT_PUBLIC int act_profile_write(const char *path, const struct act_profile *about,
                                 const struct act_pages *pages, struct act_error *ret_error);

/*
 * Reads one. Nothing in it is trusted: memory is bounded by the size of the file that is wanted,
 * and what is read is checked against a digest.
 *
 * wanted     size_bytes and root_offset must be the profile's, identity too unless it is 0 here;
 *            what else there is does not count
 * ret_about  what the profile says; may be NULL
 * ret_pages  owned by the caller: act_pages_free
 * ret_error  filled on failure, names the file and the reason; may be NULL
 *
 * 0, an act_profile_outcome, or -errno (-ENOENT: there is none).
 */
ACT_PUBLIC int act_profile_read(const char *path, const struct act_profile *wanted,
                                struct act_profile *ret_about, struct act_pages **ret_pages,
                                struct act_error *ret_error);

#ifdef __cplusplus
}
#endif

#endif
