/*
 * mappings: which mappings of a process are the tree's, as /proc tells them.
 *
 * A mapping is found by its device and inode. Where the file system shows another device in /proc
 * than to stat (btrfs, overlayfs), the inode alone decides, if the mappings that have it are as
 * long as the file; else nothing is known.
 */
#pragma once

#include "daemon/generation.h"

/* The file that is looked for. */
struct tree_file {
    uint64_t generation; /* its running number; 0: none yet */
    dev_t device;
    ino_t inode;
    uint64_t size_bytes;
    bool is_copy; /* device and inode are of a copy in memory */
};

/* Of what is mapped of that generation. An inode of 0: /proc does not tell. */
struct tree_file mappings_file(const struct generation *generation);

/* Longer than a line of maps or smaps, but for the path in it. */
#define MAPPING_LINE_BYTES 256

/* The head of a mapping: a line of maps, or one of those in smaps. */
struct mapping {
    uint64_t start, end; /* addresses */
    uint64_t offset;     /* in the file */
    dev_t device;
    ino_t inode;
    bool is_shared;
    bool is_memory; /* of a memfd */
};

/* False: the line is something else. */
bool mapping_parse(const char *line, struct mapping *ret);
/* Whatever its device is. */
bool mapping_may_be(const struct mapping *mapping, const struct tree_file *file);

enum mappings_outcome {
    MAPPINGS_NONE = 30, /* the process has not mapped the file, or not all of it, or we cannot tell
                         * that it is this file */
    MAPPINGS_GONE = 31, /* the process has ended */
};

/*
 * Where a process has mapped the file as a whole, from its first byte to its last; it may be cut in
 * pieces of different kinds.
 *
 * go_on      false: give up
 * ret_start  address of the first byte
 *
 * 0, an outcome, or -errno (-ECANCELED: go_on has said so).
 */
int mappings_find(pid_t pid, const struct tree_file *file, bool (*go_on)(void *context),
                  void *context, uint64_t *ret_start);
