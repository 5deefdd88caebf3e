/*
 * temporary: where act_verify may put its temporary files, and how large they may become: it needs
 * four bits for each byte of the file, and some bytes for each node of its deepest path; a sparse
 * file of a terabyte must not fill the disk.
 */
#pragma once

#include <stdint.h>
#include <sys/resource.h>

struct temporary {
    const char *directory; /* borrowed from the environment, or static */
    uint64_t bytes;        /* half of what is free there */
    struct rlimit before;  /* of how large files of this process may be */
};

/* From now on they are limited; writing more is an error, not a signal. */
void temporary_begin(struct temporary *temporary);
/* For files that are no temporary ones. */
void temporary_unlimit(const struct temporary *temporary);
void temporary_limit(const struct temporary *temporary);
