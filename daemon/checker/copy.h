/*
 * copy: a file's bytes in memory that nobody can change any more.
 *
 * The copy is a file without a name (memfd) whose seals keep it from being written, grown or cut,
 * also by us. It is read with pread, so a disk that fails is an error here and no SIGBUS.
 */
#pragma once

#include <stdint.h>

/* What came of it, apart from 0. */
#define COPY_UNREADABLE 1 /* the file */
#define COPY_CUT        2 /* the file is shorter than that */
#define COPY_NO_MEMORY  3 /* or no huge pages */

struct copy {
    int fd;           /* only for reading; owned by the caller; -1: none */
    char reason[512]; /* what is missing, and the remedy: after a failure */
};

/* Called after each piece. */
typedef void copy_progress(void *context, uint64_t done, uint64_t total);

/* Copies the first size bytes, of which there is at least one. In huge pages: of the system's usual
 * size, and the copy is a whole number of them. 0, or one of the above. */
int copy_file(int fd, uint64_t size, copy_progress *on_progress, struct copy *ret);
int copy_file_huge(int fd, uint64_t size, copy_progress *on_progress, struct copy *ret);
