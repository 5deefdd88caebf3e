/*
 * resident: which pages of a generation's file are in memory, from the best source there is.
 *
 * The kernel's own word (mincore) where it is the truth: for who owns the file or may write it.
 * Else what the workers have mapped (/proc/PID/pagemap), one laid over the other: a part of it.
 * Takes as long as the kernel takes for it, 14 ms a GiB of the file, so it is for a thread.
 */
#pragma once

#include "daemon/supervisor/mappings.h"

#include <act/pages.h>

enum resident_source {
    RESIDENT_UNKNOWN = 0,
    RESIDENT_MINCORE,
    RESIDENT_PAGEMAP,
    RESIDENT_COPY, /* a copy in memory: all of it is there */
};

/* "unknown", "mincore", "pagemap", "copy". */
const char *resident_source_name(enum resident_source source);
/* The source of the library's that it is. */
enum act_pages_source resident_pages_source(enum resident_source source);

struct resident_look {
    const struct generation *generation;
    int fd;              /* of its file, or copy */
    const int32_t *pids; /* of the workers; 0: there is none */
    unsigned n_pids;
    bool (*go_on)(void *context); /* false: give up */
    void *context;
};

/* What it will be, without looking: never RESIDENT_UNKNOWN. */
enum resident_source resident_source_of(const struct resident_look *look);

/*
 * Adds the pages that are in memory.
 *
 * source        from resident_source_of
 * ret_source    that, or RESIDENT_UNKNOWN: no worker could be asked
 * ret_is_whole  false: a worker could not be asked, and what it alone has mapped is missing
 *
 * 0, -ECANCELED: go_on has said so, or -errno.
 */
int resident_add(const struct resident_look *look, enum resident_source source,
                 struct act_pages *pages, enum resident_source *ret_source, bool *ret_is_whole);
