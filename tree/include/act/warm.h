/*
 * act/warm.h: bring a file's pages into memory before somebody needs them.
 *
 * Pages are brought in through a descriptor and never through a mapping: to populate a mapping that
 * is advised for random access is 13 times slower than reading. The caller's thread waits for the
 * disk; have one for it.
 *
 * Threads. Any number of calls at once, each with a descriptor of its own, since read-ahead belongs
 * to an open file.
 */
#ifndef ACT_WARM_H
#define ACT_WARM_H

#include <act/act.h>
#include <act/pages.h>

#ifdef __cplusplus
extern "C" {
#endif

enum act_warm_mode {
    /* The kernel is asked to read all of it, in the order of the file, and not waited for, but
     * where its queue is full: it is there a while after the call. A page that cannot be read is
     * not told of. Takes no CPU time for copying. */
    ACT_WARM_WILLNEED = 0,
    /* All of it is read, in the order of the file. */
    ACT_WARM_READ = 1,
    /* The top of the tree first: the pages that lookups come to with the first byte of the key,
     * then with the second one and so on. What max_bytes leaves when the whole tree was passed, or
     * when going deeper costs too much, is read in the order of the file. Some MB of memory. */
    ACT_WARM_TRAVERSE = 2,
    /* The pages of a set, in the order of the file, each once, and no others. */
    ACT_WARM_PAGES = 3,
};

struct act_warm_progress {
    uint64_t done_bytes;  /* read, whether or not they were there; WILLNEED: asked for */
    uint64_t total_bytes; /* that there will be at most */
};

struct act_warm_options {
    enum act_warm_mode mode;
    uint64_t rate_bytes_per_s; /* 0: as fast as it goes */
    uint64_t max_bytes;        /* 0: no limit. Whole pages count: less than one is none */

    const struct act_pages *pages; /* ACT_WARM_PAGES: of a file of that size; borrowed */

    void *context;
    /* Called before anything is read, and then some times a second while it goes on. False: give
     * up. May be NULL. */
    bool (*on_progress)(void *context, const struct act_warm_progress *progress);
    /* Sleeps for so long, 100 ms at most, because of rate_bytes_per_s; false: give up at once.
     * NULL: it is nanosleep. */
    bool (*on_wait)(void *context, unsigned ms);
};

/*
 * fd            of the file, for this call alone: its read-ahead is changed; borrowed
 * tree          ACT_WARM_TRAVERSE: of that file, mapped (a truncation meanwhile raises SIGBUS in
 *               this thread, as everywhere); else NULL
 * ret_progress  how far it has come, also after a failure; may be NULL
 *
 * 0 (also where the file has become shorter meanwhile); ACT_CORRUPT: the tree is damaged (what
 * could be reached was read, and then the rest); -ECANCELED; -EINVAL: tree or pages are missing,
 * not of that file's size, or the tree is not mapped from a file; -ENOMEM; -EIO and others: the
 * disk has failed.
 */
ACT_PUBLIC int act_warm(int fd, uint64_t size_bytes, const struct act *tree,
                        const struct act_warm_options *options,
                        struct act_warm_progress *ret_progress);

#ifdef __cplusplus
}
#endif

#endif
