/*
 * dispatch: from a decoded request to its reply. No sockets: a request, a snapshot and an output
 * buffer are all it needs, so tests and fuzzers drive it as the connection does.
 *
 * Requests that take longer than a slice come back several times (DISPATCH_AGAIN).
 */
#pragma once

#include "daemon/board.h"
#include "daemon/snapshot.h"
#include "proto/reply.h"
#include "proto/request.h"

/* What one connection has asked for by hello. */
struct session {
    struct reply_mode mode;
};

/* What a request keeps from one slice to the next. Each method has its own use for the fields. */
struct progress {
    bool is_begun;          /* it has had a slice */
    bool is_open;           /* in the middle of a page, or of a list's element */
    bool has_mark;          /* mark is where the tree's cursor goes on */
    uint8_t phase;          /* of the method */
    uint32_t index;         /* of the element or child in work */
    uint32_t n_failed;      /* elements */
    uint64_t n;             /* entries of the page, or counted */
    uint64_t visited;       /* nodes, for the budget */
    uint64_t more_work;     /* than a slice has, for a walk that did not come further in one */
    uint64_t child_budget;  /* nodes that the child in work may still visit */
    size_t min_len;         /* of the prefixes that are still to come */
    size_t array_at;        /* in the reply: of reply_open_array */
    size_t key_at, key_len; /* in the reply: of the page's last key */
    size_t element_at;      /* in the reply: where the element in work begins */
    struct buf mark;        /* owned */
};

struct dispatch {
    const struct config *config; /* borrowed */
    const struct board *board;   /* borrowed: for info and stats */
    struct worker_stats *stats;  /* borrowed */
    struct snapshot *snapshot;   /* borrowed: changes only between turns and slices */
    bool is_draining;            /* answer DRAINING */
    uint64_t loop_work;          /* left for first slices until the owner renews it */
    char text[256];              /* scratch: what is wrong with a request, for people */
    struct act_cursor *cursor;   /* owned; of no request in particular */
    uint8_t *key;                /* owned: scratch for a key or a mark */
    size_t key_size;             /* two bytes more than limits.max_key_bytes */
    uint64_t slice_work;         /* of a slice; dispatch_init sets it, tests may set less */
    size_t slice_reply_bytes;    /* a slice ends when it has written so much; likewise */
};

/* The rest is borrowed and set by the owner. 0 or -ENOMEM. */
int dispatch_init(struct dispatch *dispatch, const struct config *config);
void dispatch_deinit(struct dispatch *dispatch);

void progress_init(struct progress *progress, struct buf_pool *pool);
void progress_deinit(struct progress *progress);

/* The request has not come to its end; what there is of the reply is in out, behind what was there
 * before. dispatch_resume goes on with it. */
#define DISPATCH_AGAIN 1

/*
 * progress  from progress_init; with DISPATCH_AGAIN to be kept for dispatch_resume, otherwise to be
 *           let go.
 * ret_cost  of the request, in lookups, at least 1.
 *
 * 0: the reply is in out. DISPATCH_AGAIN. -ENOBUFS, -ENOMEM: it is not, and the connection can only
 * be closed.
 */
int dispatch_run(struct dispatch *dispatch, const struct request *request, struct session *session,
                 struct buf *out, struct progress *progress, unsigned *ret_cost);

/* Answers a request that dispatch_run has begun with BUSY instead. reason: for people. */
int dispatch_give_up(struct dispatch *dispatch, const struct request *request,
                     struct reply_mode mode, const char *reason, struct buf *out);

/* Another slice of a request that dispatch_run has begun. out holds nothing but its reply so far;
 * mode is that of its session then. */
int dispatch_resume(struct dispatch *dispatch, const struct request *request,
                    struct reply_mode mode, struct buf *out, struct progress *progress);

/* Answers a request that did not get as far as a method. */
int dispatch_refuse(struct dispatch *dispatch, uint32_t msgid, struct reply_mode mode,
                    enum proto_error error, const char *text, struct buf *out);
