/*
 * job: a request that takes longer than a slice, between its slices.
 *
 * It keeps the message, since the input that it came in goes on; the reply so far; and its
 * snapshot. The worker gives one job a slice, then looks at the sockets, then the next one, in
 * turn. Jobs belong to their connection and go with it.
 *
 *   ready     waits for its slice                       worker->jobs
 *   parked    its client does not take what it has, or  conn->jobs only
 *             an older job has to come first
 *   cold      waits for pages of its snapshot           tickets (cold.h)
 *   waiting   for a generation: it has no snapshot      worker->waiting
 *   finished  its reply waits until it can be sent      conn->finished
 */
#pragma once

#include "daemon/worker/dispatch.h"

struct conn;
struct worker;

struct job {
    struct conn *conn;           /* borrowed: the owner */
    struct job *previous, *next; /* in conn->jobs, or next in conn->finished */
    bool is_ready;               /* is in worker->jobs */
    bool is_parked;              /* is counted in conn->n_parked */
    bool is_waiting;             /* is in worker->waiting, and counted in conn->n_waiting */
    bool has_given_up;           /* has waited for a page as long as it may */
    struct job *previous_ready, *next_ready;
    struct job *previous_waiting, *next_waiting;
    struct ticket *tickets;    /* for the pages that it waits for; NULL: none */
    uint64_t cold_since_ms;    /* while it waits for some */
    bool was_cold;             /* it has waited for pages */
    uint64_t begun_ns;         /* clock_ns: when it became a job, or before */
    uint64_t n_slices;         /* that it has had, with the one before it became a job */
    uint64_t pages_missed;     /* that it has waited for */
    uint64_t loop_faults;      /* major faults in its slices, as far as they were measured */
    uint64_t deadline_ms;      /* while it waits for a generation */
    size_t heap_at;            /* its place in worker->waiting.heap */
    struct snapshot *snapshot; /* one reference, or NULL: it has seen nothing of any yet */
    struct reply_mode mode;
    struct progress progress; /* owned */
    struct buf message;       /* owned: the request */
    struct request request;   /* decoded, as long as worker->job_decoder is at number decoded_as */
    uint64_t decoded_as;
    unsigned n_rounds; /* at the head of the worker's queue */
    struct buf out;    /* owned: its reply so far */
    size_t out_bytes;  /* of it, as counted in conn->unfinished_bytes */
};

/* Takes over progress and the reply so far, which is conn->out behind the first out_len bytes.
 * 0: the caller makes it ready or has it wait. BUF_FULL or -ENOMEM: nothing has changed. */
int job_new(struct conn *conn, struct slice message, struct progress *progress, size_t out_len,
            struct job **ret);

/* Has the pages read that its slice has missed: it goes on when they are there. False: there are
 * too many already. */
bool job_wait_for_pages(struct job *job);
/* It has waited for a page for too long: it goes on to its error. */
void job_give_up(struct job *job);

/* Has it wait for what its progress says; where there is no memory for that, it is overdue. */
void job_wait(struct job *job);

/* Takes it out of all lists and frees it. */
void job_free(struct job *job);
/* Frees one that conn_finish_job was given. */
void job_free_unlinked(struct job *job);

/* To the end of the worker's queue, if it is not in it; also one that waits. */
void job_make_ready(struct job *job);

/* Gives the job at the head of the worker's queue a slice, and more while the worker has time. It
 * stays there for some rounds. */
void job_run_next(struct worker *worker);
