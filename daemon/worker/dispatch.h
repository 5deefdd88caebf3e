/*
 * dispatch: from a decoded request to its reply. No sockets: a request, a snapshot and an output
 * buffer are all it needs, so tests and fuzzers drive it as the connection does.
 *
 * Requests that take longer than a slice come back several times (DISPATCH_AGAIN); those that have
 * to wait for another generation come back when it is there (DISPATCH_WAIT).
 */
#pragma once

#include "daemon/board.h"
#include "daemon/snapshot.h"
#include "proto/reply.h"
#include "proto/request.h"

/* What one connection has asked for by hello and watch. */
struct session {
    struct reply_mode mode;
    bool is_watching;
    uint64_t told; /* watching: number of the generation that it was told last; 0: none */
};

/* What a request waits for. */
enum wait_for {
    WAIT_ANNOUNCED, /* all workers answer from that generation */
    WAIT_SWITCHED,  /* this one does: the generation is offered */
};

/* What a request keeps from one slice to the next. Each method has its own use for the fields. */
struct progress {
    uint8_t method;         /* enum method_id */
    bool is_begun;          /* it has had a slice */
    bool is_open;           /* in the middle of a page, or of a list's element */
    bool has_mark;          /* mark is where the tree's cursor goes on */
    uint8_t phase;          /* of the method */
    uint16_t ahead;         /* pages that a scan has read ahead the last time */
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
    enum wait_for wait_for; /* with DISPATCH_WAIT */
    uint64_t wait_identity; /* likewise: of a generation */
    uint64_t wait_ms;       /* likewise: how long at most */
    bool is_overdue;        /* the owner has waited so long */
};

struct dispatch {
    const struct config *config;        /* borrowed */
    const struct board *board;          /* borrowed: for info and stats */
    struct worker_stats *stats;         /* borrowed */
    struct snapshot *snapshot;          /* borrowed: changes only between turns and slices */
    const struct generation *announced; /* borrowed: all workers answer from it; number 0: none */
    const struct generation *offered;   /* borrowed: will perhaps be switched to soon; or NULL */
    bool is_draining;                   /* answer DRAINING */
    bool never_waits;                   /* answer DRAINING instead of waiting */
    uint64_t loop_work;                 /* left for first slices until the owner renews it */
    uint8_t error;                      /* enum proto_error of the last reply; 0: none */
    uint64_t mark_ns;                   /* the owner's: see slow_note; 0: not in use */
    char text[256];                     /* scratch: what is wrong with a request, for people */
    struct checkpoint *checkpoint;      /* owned: scratch for the call under way */
    struct act_cursor *cursor;          /* owned; of no request in particular */
    uint8_t *key;                       /* owned: scratch for a key or a mark */
    size_t key_size;                    /* two bytes more than limits.max_key_bytes */
    uint64_t slice_work;                /* of a slice; dispatch_init sets it, tests may set less */
    size_t slice_reply_bytes;           /* a slice ends when it has written so much; likewise */
};

/* The rest is borrowed and set by the owner. 0 or -ENOMEM. */
int dispatch_init(struct dispatch *dispatch, const struct config *config);
void dispatch_deinit(struct dispatch *dispatch);

void progress_init(struct progress *progress, struct buf_pool *pool);
void progress_deinit(struct progress *progress);

/* The request has not come to its end; what there is of the reply is in out, behind what was there
 * before. dispatch_resume goes on with it. */
#define DISPATCH_AGAIN 1
/* Likewise, but before dispatch_may_go_on or progress->is_overdue there is no use in that. It has
 * seen nothing of the tree, so it may go on with another snapshot. */
#define DISPATCH_WAIT 2
/* Likewise, and there is no use in going on before the pages are in memory that the snapshot's
 * residency lists as missing. */
#define DISPATCH_COLD 3

/* For dispatch_give_up with BUSY. */
#define DISPATCH_QUEUE_FULL "more is asked of the disk than it can read (cold.queue): ask later"

/*
 * progress  from progress_init; with DISPATCH_AGAIN and DISPATCH_WAIT to be kept for
 *           dispatch_resume, otherwise to be let go.
 * ret_cost  of the request, in lookups, at least 1.
 *
 * 0: the reply is in out, with a notification behind it where there is one. DISPATCH_AGAIN,
 * DISPATCH_WAIT, DISPATCH_COLD. -ENOBUFS, -ENOMEM: it is not, and the connection can only be
 * closed.
 */
int dispatch_run(struct dispatch *dispatch, const struct request *request, struct session *session,
                 struct buf *out, struct progress *progress, unsigned *ret_cost);

/* Answers a request that dispatch_run has begun with an error instead. reason: for people. */
int dispatch_give_up(struct dispatch *dispatch, const struct request *request,
                     struct reply_mode mode, enum proto_error error, const char *reason,
                     struct buf *out);

/* Another slice of a request that dispatch_run has begun. out holds nothing but its reply so far;
 * mode is that of its session then. */
int dispatch_resume(struct dispatch *dispatch, const struct request *request,
                    struct reply_mode mode, struct buf *out, struct progress *progress);

/* Is there what a request waits for, or no hope of it any more? */
bool dispatch_may_go_on(const struct dispatch *dispatch, const struct progress *progress);

/* Is there a generation that the connection wants to be told? */
static inline bool dispatch_is_news(const struct dispatch *dispatch, const struct session *session)
{
    return session->is_watching && session->told != dispatch->announced->number;
}
/* Tells it. False: it finds no room, and is news still. */
bool dispatch_tell(struct dispatch *dispatch, struct session *session, struct buf *out);

/* Answers a request that did not get as far as a method. */
int dispatch_refuse(struct dispatch *dispatch, uint32_t msgid, struct reply_mode mode,
                    enum proto_error error, const char *text, struct buf *out);
