/*
 * worker: the role that serves clients: its connections, its buffers, the generation it answers
 * from, and the time limits of all connections.
 *
 * It is handed connected sockets and snapshots; it never opens a path, listens, or talks to
 * systemd. One thread, one loop.
 */
#pragma once

#include "base/log.h"
#include "daemon/worker/ageing.h"
#include "daemon/worker/cold.h"
#include "daemon/worker/dispatch.h"
#include "daemon/worker/release.h"
#include "daemon/worker/slow_note.h"
#include "daemon/worker/stall.h"
#include "daemon/worker/waiting.h"

#include <uv.h>

struct conn;
struct job;

/* A round of looks at all connections: for time limits, and for who reads slowly. */
struct sweep {
    struct conn *at;     /* the next one, or NULL: the round is over */
    uint64_t n_refused;  /* buffers.n_refused when the round began */
    uint64_t longest_ms; /* the oldest write in flight that it has met */
    uint64_t evict_ms;   /* writes of that age end their connections */
    uint64_t n_evicted;
    uint64_t n_untold; /* of earlier rounds, that the log does not tell yet */
};

struct worker {
    uv_loop_t *loop;             /* borrowed */
    const struct config *config; /* borrowed */
    const struct board *board;   /* borrowed */
    struct snapshot *snapshot;   /* one reference; NULL before the first worker_switch */
    struct generation announced; /* that all workers answer from; number 0: none yet */
    struct generation offered;   /* if dispatch.offered: that is mapped, to be switched to soon */
    struct worker_stats *stats;  /* borrowed: our part of the board */
    struct buf_pool buffers;
    struct request_decoder decoder;     /* of what has just come */
    struct request_decoder job_decoder; /* of the job that had the last slice */
    struct dispatch dispatch;
    struct conn *conns;    /* all open connections, *owned* */
    struct conn *runnable; /* those that have sent more than a turn answers: a queue */
    struct conn *last_runnable;
    struct job *jobs; /* that wait for their next slice: a queue */
    struct job *last_job;
    struct waiting waiting; /* jobs that wait for a generation */
    struct cold cold;       /* pages that jobs wait for */
    struct ageing ageing;   /* of those that are known to be in memory */
    struct stall stall;
    struct release release;
    uv_timer_t alarm;     /* active while there are some: for the first that is overdue */
    struct conn *telling; /* the next one that is perhaps to be told, or NULL: all are */
    uv_idle_t spread;     /* active while some are, or waiting jobs are looked at */
    uv_prepare_t look; /* renews what first slices may take, before the loop looks at the sockets */
    uv_idle_t turns;   /* active while there are runnable ones or jobs, or until busy_until_ns */
    bool had_job;      /* not turns of connections, when the loop was last busy */
    uint64_t busy_since_ns; /* uv_hrtime: when those began that worker_has_time is about */
    uint64_t busy_until_ns; /* uv_hrtime: until then the loop does not sleep */
    struct sweep sweep;     /* over all connections, some at a time */
    struct log_pace short_pace, evicted_pace;
    uv_timer_t sweep_timer; /* active while there are connections: time limits, starved readers */
    bool is_draining;

    void (*on_conn_closed)(void *context); /* there is room for another; after the last one too */
    /* A snapshot that nobody uses any more, to be freed off the loop. */
    void (*on_unused)(void *context, struct snapshot *snapshot);
    /* The first time that its answers were found to be damaged. */
    void (*on_damage)(void *context, const struct snapshot *snapshot);
    void *context; /* borrowed: the owner's */
};

/* The callbacks and context are set by the caller, afterwards. 0 or -errno. */
int worker_init(struct worker *worker, uv_loop_t *loop, const struct board *board);

/* The loop's time. */
uint64_t worker_now_ms(const struct worker *worker);

/* From now on requests are answered from that generation. Takes over the reference. */
void worker_switch(struct worker *worker, struct snapshot *snapshot);
/* That generation is mapped, and this worker or another one may answer from it soon: requests that
 * are pinned to it wait. NULL: there is none any more. Copied. */
void worker_offer(struct worker *worker, const struct generation *generation);
/* All workers answer from that generation, this one, too: who watches or waits is told. Copied. */
void worker_announce(struct worker *worker, const struct generation *generation);

/* Gives back a reference. NULL is fine. */
void worker_let_go(struct worker *worker, struct snapshot *snapshot);
/* A check has just failed. */
void worker_tell_damage(struct worker *worker, const struct snapshot *snapshot);

/* Takes over a connected, non-blocking socket (closed on failure). 0 or -errno. */
int worker_adopt(struct worker *worker, int fd);

/* The connection has more requests than others should wait for: it comes to the end of the queue of
 * those that are pumped between two looks at the sockets. */
void worker_give_turn(struct worker *worker, struct conn *conn);
/* Takes it out of the queue. */
void worker_take_turn(struct worker *worker, struct conn *conn);

/* May another turn or slice begin before the loop looks at the sockets? */
bool worker_has_time(const struct worker *worker);

/* The connection is closed, since there is no memory for a reply: that is logged. */
void worker_tell_short(struct worker *worker, uint64_t id, int error);

/* A job has come into the queue. */
void worker_wake(struct worker *worker);

/* The job comes to those that wait; it is made ready when it may go on, or its time is over. 0 or
 * -ENOMEM. */
int worker_wait(struct worker *worker, struct job *job);

/* The MessagePack values that a request may have: keys and cursors in lists, and some more. */
uint64_t worker_max_elements(const struct config *config);

/* Requests have come, others may follow at once: look for them for daemon.busy_poll_us. */
void worker_stay_awake(struct worker *worker);

/* Answers what has arrived and ends every connection as soon as it is quiet. */
void worker_drain(struct worker *worker);
/* From now on what still arrives is answered with DRAINING. */
void worker_refuse(struct worker *worker);
/* Ends all connections at once. */
void worker_close_all(struct worker *worker);

/* Closes the worker's own handles; all connections must be gone. The memory is free to go once the
 * loop has run their close callbacks. */
void worker_close(struct worker *worker);
/* False: a thread waits for the disk still, and only the process's end helps. */
bool worker_deinit(struct worker *worker);
