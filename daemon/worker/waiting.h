/*
 * waiting: the requests that wait for a generation, in the order in which they came, and by when
 * each has waited long enough.
 *
 * They cost nothing while they wait. When something has changed, a round looks at all of them, some
 * at a time, so that a hundred thousand do not hold the loop.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct job;

struct waiting {
    struct job *first, *last;
    struct job *at;    /* that the round looks at next, or NULL: it is over */
    struct job **heap; /* owned: a binary heap of the same jobs, the earliest deadline at 0 */
    size_t n, room;
};

/* A waiting that is all zeros is empty. All jobs must be out of it. */
void waiting_deinit(struct waiting *waiting);

/* 0 or -ENOMEM. */
int waiting_add(struct waiting *waiting, struct job *job, uint64_t deadline_ms);
void waiting_remove(struct waiting *waiting, struct job *job);

/* The job whose time is over first, or NULL. */
struct job *waiting_first(const struct waiting *waiting);

/* Begins a round anew. */
void waiting_look(struct waiting *waiting);
/* The round's next job, or NULL: it is over. Jobs may be removed between two calls. */
struct job *waiting_next(struct waiting *waiting);
