/*
 * generation: what is known of one opened file, and what identifies it: the facts that supervisor,
 * checker and workers share. All of it fits into one control message.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

/* Of a file with a longer history the newest are known. */
#define GENERATION_ROOTS_MAX 100

struct generation {
    uint64_t number;   /* running number, for people; 0: not accepted yet */
    uint64_t identity; /* the same on every host that serves the same file */
    dev_t device;
    ino_t inode;
    uint64_t size_bytes; /* as mapped */
    uint64_t root_offset;
    struct timespec mtime;                /* at open */
    struct timespec ctime;                /* likewise; 0: unknown */
    uint64_t roots[GENERATION_ROOTS_MAX]; /* that the file has had, newest first */
    uint64_t n_roots;
    char remark[256]; /* "", or what is odd about the file and no reason to refuse it */
};
