/*
 * serve: a server without sockets, for tests: what comes between a connection's input and its
 * output, as conn.c and job.c do it, with the jobs in the hands of the test.
 */
#pragma once

#include "bytes.h"
#include "daemon/worker/dispatch.h"
#include "proto/frame.h"

/* A tree in memory as a generation. file is borrowed. 0, or an outcome of act_open_memory. */
int serve_snapshot(struct snapshot *snapshot, const struct bytes *file, uint64_t number);
/* Likewise, mapped from a file and with a residency: a page is missing until a request has missed
 * it. What changes the tree (act_cache_tables) comes before serve_watch_pages. */
int serve_snapshot_mapped(struct snapshot *snapshot, const struct bytes *file, uint64_t number);
void serve_watch_pages(struct snapshot *snapshot);
void serve_snapshot_close(struct snapshot *snapshot);

/* A request has missed pages, which the residency lists: has them, or some of them, brought in. */
typedef void serve_bring_fn(void *context, struct act_residency *residency);

struct serve {
    struct config config;
    struct board board;
    struct buf_pool pool;
    struct request_decoder decoder;
    struct dispatch dispatch;
    struct frame frame;
    struct session session;
    struct buf out;
    serve_bring_fn *bring; /* NULL: they are there at once */
    void *bring_context;
    unsigned n_cold; /* how often pages were missed */
};

/* A request between its slices. */
struct serve_job {
    struct snapshot *snapshot; /* NULL: it waits */
    struct reply_mode mode;
    struct progress progress;
    struct buf message, out;
    struct request request; /* as long as the decoder is at number decoded_as */
    uint64_t decoded_as;
};

/* All limits at their defaults. Others may be set from here to serve_begin. */
void serve_init(struct serve *serve);
void serve_begin(struct serve *serve, struct snapshot *snapshot);
/* All jobs must be ended. False: buffers are not given back. */
bool serve_end(struct serve *serve);

/* From now on requests are answered from that generation. */
void serve_switch(struct serve *serve, struct snapshot *snapshot);

/* Outcomes of serve_message; or -errno: the connection cannot go on. */
#define SERVE_REPLIED 0
#define SERVE_SLICED  1 /* *ret_job goes on */
#define SERVE_IGNORED 2
#define SERVE_MORE    3 /* it is no whole message */
#define SERVE_CLOSED  4 /* it is none at all; there may be a reply */
#define SERVE_WAITING 5 /* as SERVE_SLICED, when dispatch_may_go_on says so */

/* One message; its reply, if it is there already, is the end of out. */
int serve_message(struct serve *serve, struct slice message, struct serve_job *ret_job);
/* One slice. 0: job->out is the reply; DISPATCH_AGAIN, also where pages were missed;
 * DISPATCH_WAIT; or -errno. */
int serve_slice(struct serve *serve, struct serve_job *job);
void serve_job_deinit(struct serve_job *job);
