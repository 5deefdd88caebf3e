/*
 * cold: pages that requests have missed, and the threads that read them.
 *
 * A request that comes to a page which is not in memory (ACT_COLD) leaves the loop: it is a job
 * then, and cold_submit has the pages read that it knows it needs, all at once. The job waits for
 * them, and its slices go on from there; until then its snapshot cannot go. A page that several
 * jobs want is read once.
 *
 * The threads do nothing but touch pages, under the guard. They exist while there is work: a
 * process of one thread is faster at everything that uses descriptors. Whoever asks the kernel
 * whether a page is there is the loop (act/residency.h).
 *
 * How it ends. A page that cannot be read: the snapshot is damaged, and its jobs say so. A disk
 * that does not answer: jobs give up after cold.timeout_ms (conn_sweep), a full queue refuses
 * others. Jobs that go (cold_leave) leave their pages to the threads.
 */
#pragma once

#include "daemon/snapshot.h"

#include <pthread.h>
#include <uv.h>

struct job;
struct worker;
struct page_read;
struct ticket;

/* As many as cold.threads may be, and as many for files of the past. */
#define COLD_THREADS_MAX 512

/* A queue. */
struct page_reads {
    struct page_read *first, *last;
    size_t n;
};

struct cold_thread {
    pthread_t id;
    bool is_there; /* has been started, and not joined */
    /* Under the lock. */
    bool has_ended;
    bool is_reading;
    bool is_in_past; /* reads a file that is not served any more */
    struct cold *cold;
};

struct cold {
    struct worker *worker; /* borrowed */
    uv_async_t done_signal;

    /* The loop's. */
    struct page_read **table; /* those under way, by snapshot and page; a power of two of them */
    size_t table_size;
    struct page_reads begun;       /* since the last cold_hand_over */
    bool lacks_threads;            /* there is work for more than could be started at once */
    struct page_read *unused;      /* kept */
    struct ticket *unused_tickets; /* likewise */
    size_t n_reads, n_tickets;     /* in the table; in use */

    /* Shared, under the lock. */
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct page_reads queue; /* of the file that is served */
    struct page_reads past;  /* of others, that jobs still need */
    struct page_read *done;
    unsigned n_running, n_idle; /* threads; without work */
    unsigned n_busy, n_past;    /* reading; of these, files of the past */
    uint64_t n_faults;          /* major ones, of the threads */
    bool is_closed;
    struct cold_thread threads[COLD_THREADS_MAX];
};

/* 0 or -errno. */
int cold_init(struct cold *cold, struct worker *worker);

/*
 * The job, which is in no queue, goes on when the pages have been read that its snapshot's
 * residency lists as missing, or when it turns out that they cannot be. False: there is no room
 * (cold.queue).
 */
bool cold_submit(struct cold *cold, struct job *job);

/* The job waits no longer: it is freed, or its time is over. */
void cold_leave(struct job *job);

/* What has been submitted goes to the threads. Before the loop looks at the sockets, so that all
 * of it costs one lock. */
void cold_hand_over(struct cold *cold);

/* Before the worker answers from another generation. */
void cold_switch(struct cold *cold);

/* Closes its handle: no job may wait any more. The threads end when they have read what they
 * are reading. */
void cold_close(struct cold *cold);
/* After the close callback. False: a thread still waits for the disk, so nothing can be freed, and
 * only the process's end helps. */
bool cold_deinit(struct cold *cold);
