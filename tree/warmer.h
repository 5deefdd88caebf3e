/*
 * warmer: reads parts of a file so that they are in memory, at a bounded rate, and tells how far it
 * is.
 *
 * What is to be read is a sequence of runs of pages in the order of the file. The kernel is asked
 * for the next of them a stretch ahead (WILLNEED), and each is then read behind that: so the disk
 * always has a queue, scattered pages do not cost one latency each, and nothing is read that was
 * not meant, since the kernel's own read-ahead is off. How far ahead depends on what the disk does
 * in a quarter of a second: a queue that takes longer would only be in the way of others.
 */
#pragma once

#include "act/warm.h"

/* Outcome: the file ends before that. */
#define WARMER_END 1

/* Pages that are asked for ahead: fewest, and most. */
#define WARMER_AHEAD_MIN 32
#define WARMER_AHEAD_MAX 1024

struct warmer {
    int fd;                                 /* borrowed */
    const struct act_warm_options *options; /* borrowed */
    uint64_t size;                          /* of the file, bytes */
    struct act_warm_progress progress;
    uint8_t *block; /* owned; what is read is thrown away */

    uint64_t told_ns; /* when on_progress was called last */

    int64_t debt_ns;  /* rate: what was asked for is worth so much more time than has passed */
    uint64_t paid_ns; /* when that was reckoned */

    size_t step;                  /* bytes that are read at once: what takes some 25 ms at most */
    uint64_t ahead_pages;         /* that may be asked for and not read yet */
    uint64_t read_bytes, read_ns; /* since ahead_pages was reckoned */
};

/* The first run of pages at or after `from`. False: there is none. */
typedef bool warmer_next(void *source, uint64_t from, uint64_t *ret_first, uint64_t *ret_n);

/* 0 or -ENOMEM. */
int warmer_init(struct warmer *warmer, int fd, uint64_t size_bytes,
                const struct act_warm_options *options);
void warmer_deinit(struct warmer *warmer);

/* Calls on_progress if it is time to; `always`: in any case. 0 or -ECANCELED. */
int warmer_tell(struct warmer *warmer, bool always);

/* Asks for bytes [0, end), in order, and does not wait for them. 0 or -ECANCELED. */
int warmer_ask_all(struct warmer *warmer, uint64_t end);

/* Reads bytes [0, end) with the kernel's read-ahead, which may go beyond. 0, WARMER_END,
 * -ECANCELED, or -errno. */
int warmer_stream(struct warmer *warmer, uint64_t end);

/* Reads the pages that next gives, max_pages of them at most. The same. */
int warmer_read_runs(struct warmer *warmer, warmer_next *next, void *source, uint64_t max_pages);
