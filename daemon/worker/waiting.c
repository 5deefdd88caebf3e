/*
 * waiting: see waiting.h.
 */
#include "daemon/worker/waiting.h"

#include "daemon/worker/job.h"

#include <errno.h>
#include <stdlib.h>

#define LEAST_ROOM 64

static void put(struct waiting *waiting, size_t at, struct job *job)
{
    waiting->heap[at] = job;
    job->heap_at = at;
}

/* Puts the job where it belongs, from place `at`, which is free, towards the top or the bottom. */
static void settle(struct waiting *waiting, size_t at, struct job *job)
{
    struct job **heap = waiting->heap;
    for (; at > 0 && heap[(at - 1) / 2]->deadline_ms > job->deadline_ms; at = (at - 1) / 2)
        put(waiting, at, heap[(at - 1) / 2]);
    for (size_t child = 2 * at + 1; child < waiting->n; child = 2 * at + 1) {
        if (child + 1 < waiting->n && heap[child + 1]->deadline_ms < heap[child]->deadline_ms)
            child++;
        if (heap[child]->deadline_ms >= job->deadline_ms)
            break;
        put(waiting, at, heap[child]);
        at = child;
    }
    put(waiting, at, job);
}

static int grow(struct waiting *waiting)
{
    size_t room = waiting->room > 0 ? 2 * waiting->room : LEAST_ROOM;
    if (waiting->n < waiting->room)
        return 0;
    struct job **heap = reallocarray(waiting->heap, room, sizeof *heap);
    if (!heap)
        return -ENOMEM;
    waiting->heap = heap;
    waiting->room = room;
    return 0;
}

void waiting_deinit(struct waiting *waiting)
{
    free(waiting->heap);
    *waiting = (struct waiting){0};
}

int waiting_add(struct waiting *waiting, struct job *job, uint64_t deadline_ms)
{
    int r = grow(waiting);
    if (r != 0)
        return r;
    job->deadline_ms = deadline_ms;
    settle(waiting, waiting->n++, job);
    job->next_waiting = NULL;
    job->previous_waiting = waiting->last;
    if (waiting->last)
        waiting->last->next_waiting = job;
    else
        waiting->first = job;
    waiting->last = job;
    return 0;
}

void waiting_remove(struct waiting *waiting, struct job *job)
{
    struct job *moved = waiting->heap[--waiting->n];
    if (moved != job)
        settle(waiting, job->heap_at, moved);
    if (waiting->at == job)
        waiting->at = job->next_waiting;
    if (job->next_waiting)
        job->next_waiting->previous_waiting = job->previous_waiting;
    else
        waiting->last = job->previous_waiting;
    if (job->previous_waiting)
        job->previous_waiting->next_waiting = job->next_waiting;
    else
        waiting->first = job->next_waiting;
}

struct job *waiting_first(const struct waiting *waiting)
{
    return waiting->n > 0 ? waiting->heap[0] : NULL;
}

void waiting_look(struct waiting *waiting)
{
    waiting->at = waiting->first;
}

struct job *waiting_next(struct waiting *waiting)
{
    struct job *job = waiting->at;
    if (job)
        waiting->at = job->next_waiting;
    return job;
}
