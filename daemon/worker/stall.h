/*
 * stall: whether the loop's thread waits for the disk while it looks up, as the kernel sees it: its
 * major faults and voluntary context switches in turns and slices. Both should stay zero where cold
 * lookups leave the loop (a page that somebody else is reading costs a switch and no fault).
 *
 * Asking takes 0.3 us, so not all turns are measured where there are many: STALL_TURNS_PER_MS.
 */
#pragma once

#include "daemon/board.h"

#include <sys/resource.h>

#define STALL_TURNS_PER_MS 10

struct stall {
    struct cold_stats *stats; /* borrowed: where it is counted */
    uint64_t ms;              /* in which `left` more turns are measured */
    unsigned left;
    bool is_measuring;
    uint64_t faults; /* of the last turn, if it was measured */
    struct rusage before;
};

/* Around each turn, and each slice. */
static inline void stall_begin(struct stall *stall, uint64_t now_ms)
{
    stall->stats->turns++;
    stall->faults = 0;
    if (now_ms != stall->ms) {
        stall->ms = now_ms;
        stall->left = STALL_TURNS_PER_MS;
    }
    stall->is_measuring = stall->left > 0 && getrusage(RUSAGE_THREAD, &stall->before) == 0;
    stall->left -= stall->is_measuring;
}

static inline void stall_end(struct stall *stall)
{
    struct rusage after;
    struct cold_stats *stats = stall->stats;
    if (!stall->is_measuring || getrusage(RUSAGE_THREAD, &after) < 0)
        return;
    stats->turns_measured++;
    stall->faults = (uint64_t)(after.ru_majflt - stall->before.ru_majflt);
    stats->loop_major_faults += stall->faults;
    stats->loop_switches += (uint64_t)(after.ru_nvcsw - stall->before.ru_nvcsw);
}

/* Major faults since the turn began; 0 where it is not measured. */
static inline uint64_t stall_faults(const struct stall *stall)
{
    struct rusage now;
    if (!stall->is_measuring || getrusage(RUSAGE_THREAD, &now) < 0)
        return 0;
    return (uint64_t)(now.ru_majflt - stall->before.ru_majflt);
}
