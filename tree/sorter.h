/*
 * sorter: entries in any order -> entries in the order of their keys, in bounded memory.
 *
 * What fits is sorted in memory. What does not goes, sorted, to a temporary file as a run; runs are
 * merged as they are read back. Entries of equal keys come out in the order in which they went in.
 *
 * Results: 0, an outcome below, or -errno.
 */
#pragma once

#include "base/slice.h"

/* Outcomes. */
#define SORTER_END   1 /* sorter_next: there are no more */
#define SORTER_LARGE 2 /* sorter_add: the entry has more than an eighth of the memory */

struct sorter_entry {
    struct slice key;   /* borrowed until the next call */
    struct slice bytes; /* likewise: its byte value */
    uint64_t value;
    uint64_t line;
};

struct sorter_index; /* an entry in memory */

/* A sorted run in the temporary file. */
struct sorter_run {
    uint64_t start, end;       /* where it stands */
    uint64_t begin;            /* and from where on it has not been read yet */
    uint8_t *p;                /* owned buffer; NULL: not being read */
    size_t size, at, len;      /* its size, and what is left in it: p[at..len) */
    struct sorter_entry entry; /* the next one, in the buffer */
    uint64_t prefix;           /* of its key */
};

struct sorter {
    uint64_t memory_bytes;
    int directory_fd;           /* borrowed: where the temporary file goes, or -1 ... */
    const char *directory_name; /* ... and then this is its path, borrowed */

    uint8_t *arena; /* owned mapping: entries from the start on, their index from the end down */
    size_t arena_bytes, arena_used;
    size_t n_index;
    size_t next_index; /* reading: what comes next, where everything was in memory */

    int fd; /* owned: the temporary file, without a name; -1: none */
    uint64_t file_bytes;
    struct sorter_run *runs; /* owned */
    size_t n_runs, runs_room;
    struct sorter_run **heap; /* owned: reading: runs by their next entry, the smallest first */
    size_t n_heap;
    struct sorter_run *taken; /* whose entry was given last */

    uint64_t n_entries;
    size_t largest_bytes;                   /* the largest entry, with its record */
    uint64_t n_spilled_runs, spilled_bytes; /* in all */
};

/* directory_fd: of the directory for the temporary file, or -1: then it is directory_name. */
int sorter_init(struct sorter *sorter, uint64_t memory_bytes, int directory_fd,
                const char *directory_name);
void sorter_deinit(struct sorter *sorter);

/* Copies the entry. */
int sorter_add(struct sorter *sorter, const struct sorter_entry *entry);

/*
 * The end of adding. From now on at most memory_bytes are used: if what is held is more, it goes to
 * the temporary file.
 */
int sorter_sort(struct sorter *sorter, uint64_t memory_bytes);

/* The next entry in order, or SORTER_END. */
int sorter_next(struct sorter *sorter, struct sorter_entry *ret);
