/*
 * pages_file: files for bench/pages, and which of their pages are in memory.
 *
 * Everything here ends the program where it cannot be done: what is measured then would be another
 * thing.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

/* What one measurement took of time and page faults, of the calling thread. */
struct pages_cost {
    uint64_t ns;
    long major, minor;
};

void pages_begin(struct pages_cost *cost);
void pages_end(struct pages_cost *cost);

void *pages_allocate(size_t n, size_t size);

/* Opens for reading. */
int pages_open(const char *path, uint64_t *ret_bytes);

/* Writes a tree of about so many bytes: of numbers, or (value_bytes > 0) of byte strings that long,
 * which no disk can make smaller. Returns the number of its keys. */
uint64_t pages_make(const char *path, uint64_t bytes, uint64_t value_bytes);

/* Pages of the file that are in the page cache. */
uint64_t pages_resident(const char *path);

/* And those that are not. */
uint64_t pages_missing(const char *path);

/* Drops the file from the page cache: nobody may have it mapped. Returns what stays nevertheless,
 * in pages. */
uint64_t pages_drop(const char *path);

/* Reads the whole file, so that it is in the page cache. Returns the pages that are missing
 * nevertheless. */
uint64_t pages_warm(const char *path);
