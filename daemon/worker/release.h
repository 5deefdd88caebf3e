/*
 * release: holds what the worker has mapped of the tree below tree.max_resident_bytes.
 *
 * The kernel tells how much that is; a thread then unmaps pages (MADV_DONTNEED) of the generation
 * that is served, those first that no lookup has needed since the last time. They stay in the
 * kernel's cache as long as it has room, and come back by a minor fault; what is gained is that it
 * may take them.
 */
#pragma once

#include "daemon/snapshot.h"
#include "daemon/worker/errand.h"

struct worker;

struct release {
    struct errand errand;      /* first */
    struct worker *worker;     /* borrowed */
    struct snapshot *snapshot; /* one reference, while the thread runs */
    uint64_t base_bytes;       /* of files, mapped before any tree was */
    uint64_t asked_ms;         /* when the kernel was asked last */
    uint64_t hand;             /* bytes of the file: where the thread has stopped */
    uint64_t released_bytes;   /* by it */
};

/* To be called before anything is mapped. */
void release_init(struct release *release, struct worker *worker);

/* To be called now and then: is it too much? */
void release_check(struct release *release, uint64_t now_ms);
