/*
 * usage: what the kernel tells of one process in /proc: page faults and resident sets.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define USAGE_UNKNOWN UINT64_MAX

enum usage_id {
    USAGE_MINOR_FAULTS, /* since the process began, all its threads */
    USAGE_MAJOR_FAULTS,
    USAGE_RSS, /* bytes, as the next three: their sum */
    USAGE_RSS_FILE,
    USAGE_RSS_ANON,
    USAGE_RSS_SHMEM,
    N_USAGE
};

/* USAGE_UNKNOWN where the kernel does not tell. Two small files, no allocation, nothing that a
 * large mapping makes slow: 30 to 50 us. */
void usage_read(pid_t pid, uint64_t ret[N_USAGE]);
/* Of the calling process: faults by getrusage; 30 us at most. */
void usage_read_own(uint64_t ret[N_USAGE]);
/* Only the faults, also of a process that is dead and not yet reaped. False: the kernel does not
 * tell. */
bool usage_read_faults(pid_t pid, uint64_t *ret_minor, uint64_t *ret_major);
