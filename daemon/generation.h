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

/* It has no metadata, or was merged into since. */
#define GENERATION_KEYS_UNKNOWN UINT64_MAX

/* What the descriptor that is handed around with it is of. */
enum generation_hold {
    GENERATION_MAPPED = 0, /* the file itself */
    GENERATION_COPIED,     /* a sealed copy in memory: what happens to the file does not matter */
    GENERATION_HUGE,       /* the same in huge pages: longer than the tree */
};

struct generation {
    uint64_t number;   /* running number, for people; 0: not accepted yet */
    uint64_t identity; /* the same on every host that serves the same file */
    dev_t device;
    ino_t inode;
    uint64_t size_bytes; /* as mapped */
    uint64_t n_keys;     /* as the file tells; GENERATION_KEYS_UNKNOWN */
    uint64_t root_offset;
    struct timespec mtime;                /* at open */
    struct timespec ctime;                /* likewise; 0: unknown */
    uint64_t roots[GENERATION_ROOTS_MAX]; /* that the file has had, newest first */
    uint64_t n_roots;
    uint32_t hold;     /* enum generation_hold */
    dev_t copy_device; /* of the copy; all above is about the file */
    ino_t copy_inode;
    char remark[256]; /* "", or what is odd about the file and no reason to refuse it */
};
