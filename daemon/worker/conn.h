/*
 * conn: one client connection, from its socket to its last reply.
 */
#pragma once

#include "daemon/worker/job.h"
#include "daemon/worker/worker.h"
#include "proto/frame.h"

enum conn_state {
    CONN_OPEN,
    CONN_FINISHING, /* reads no more requests; ends when all replies are written */
    CONN_LINGERING, /* our side is shut down; waits for the client to close */
    CONN_CLOSING,   /* uv_close was called */
};

struct conn {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } uv;
    uv_write_t write;
    uv_shutdown_t shutdown;
    struct worker *worker; /* borrowed */
    struct conn *next, *previous;
    struct conn *next_runnable, *previous_runnable;
    uint64_t id; /* for the log */

    enum conn_state state;
    bool is_reading;
    bool is_writing;   /* one write is in flight: its bytes are in `sending` */
    bool is_runnable;  /* is in worker->runnable */
    bool is_starved;   /* reading waits for the buffer pool */
    bool has_ended;    /* the client has sent its last byte */
    bool has_borrowed; /* holds buffers that are of the pool's reserve */

    struct frame frame;
    struct session session;
    struct buf in;        /* received, not yet answered */
    struct buf out;       /* replies; swaps with sending */
    struct buf sending;   /* owned by the write in flight */
    size_t writing_bytes; /* of sending: how much the write in flight has */

    struct job *jobs; /* requests between their slices, newest first, *owned* */
    struct job *oldest_job;
    unsigned n_jobs, n_parked, n_waiting;
    unsigned n_holding;                   /* of those that wait: what is behind them waits, too */
    size_t unfinished_bytes;              /* that they have written so far */
    struct job *finished, *last_finished; /* replies that wait for `out` to be sent, *owned* */
    size_t finished_bytes;

    uint64_t partial_since_ms; /* when the request at in's head began to arrive; 0: none */
    uint64_t write_began_ms;   /* when the write in flight began */
    uint64_t write_since_ms;   /* when the client last took some of it */
    uint64_t untaken_bytes;    /* of the write in flight, when it was last looked at */
    uint64_t last_ms;          /* last byte either way, or the state's change */
};

/* Takes over fd. 0 or -errno (fd is then closed). */
int conn_open(struct worker *worker, int fd);

/* Answers requests until the input, the turn or the room for replies is used up; then writes. */
void conn_pump(struct conn *conn);

/* May the job go on? Not while the client does not take what it has asked for; and where its jobs
 * have written a lot, the oldest alone, so that they do not fill the buffers side by side. */
bool conn_may_work(const struct conn *conn, const struct job *job);

/* Takes over a job whose reply is whole, and sends it. */
void conn_finish_job(struct conn *conn, struct job *job);

/* Ends the connection once what has arrived is answered. */
void conn_drain(struct conn *conn);

/* Closes at once, whatever is pending. Idempotent. */
void conn_close(struct conn *conn);

/* Closes a connection whose time is over; lets one that was starved of buffers read again. */
void conn_sweep(struct conn *conn, uint64_t now_ms);
