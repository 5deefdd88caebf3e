/*
 * sampler: a thread of the supervisor that asks the kernel what the worker processes hold, and
 * leaves it on the board.
 *
 * Once a second: faults and resident sets, some 40 us a process, so that a worker that is asked for
 * statistics need not look at the other ones. And the memory that the mapped tree takes: resident
 * sets count a page in every worker that has it, the proportional set size (Pss) divides it by
 * their number, so its sum over the workers counts the file once. The kernel walks the page tables
 * for that (/proc/PID/smaps, about 6 ms a GiB that was touched), so it is never asked on a loop,
 * and for one part in fifty of the time at most. While it walks, the process goes on and has its
 * page faults, but a change of its mappings (mmap, munmap, brk) waits for the end of the walk.
 *
 * smaps_rollup would be one number, but of everything that is mapped. How the mapping is found:
 * supervisor/mappings.
 */
#pragma once

#include "daemon/board.h"
#include "daemon/supervisor/mappings.h"

#include <pthread.h>

struct look;

struct sampler {
    struct board *board; /* borrowed: its samples are the thread's to write */
    pthread_t thread;
    bool is_running;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    _Atomic bool is_stopping;
    struct look *looks;    /* owned; one a slot: the thread's */
    bool is_asked;         /* under the lock */
    struct tree_file tree; /* likewise */
};

/* All signals are blocked in the thread. board is the supervisor's, and stays until sampler_stop. 0
 * or -errno; the other functions do nothing then. */
int sampler_start(struct sampler *sampler, struct board *board);
/* Ends the thread and waits for it: as long as the kernel takes for one process at most. */
void sampler_stop(struct sampler *sampler);

/* From now on that generation is the tree that is meant, and asked for at once. */
void sampler_generation(struct sampler *sampler, const struct generation *generation);
/* Looks at once, as when workers have come: until then the sum is unknown. */
void sampler_ask(struct sampler *sampler);
