/*
 * call: one request on its way through its method, and what it keeps from slice to slice.
 *
 * No request may hold the loop for long. A method that could take longer counts its work in units
 * (spend) and ends with CALL_AGAIN when its slice is used up: it is called again with the same
 * request, the same progress and the reply as it was. What it has to remember between the two is in
 * struct progress; the tree's cursor is shared by all requests, so where a walk stands is kept as a
 * mark (act_cursor_mark).
 */
#pragma once

#include "daemon/worker/dispatch.h"
#include "daemon/worker/guard.h"

/* A slice's work: nodes visited, about; 0.03 to 0.2 ms where the tree is in memory. Scans of a
 * thousand entries and lists of two hundred keys mostly need no second one. */
#define SLICE_WORK 2048
/* What a lookup counts for (it may touch several pages that the process has not touched before),
 * and each so many bytes of a key. */
#define LOOKUP_WORK        8
#define WORK_PER_KEY_BYTES 64
/* Of a request, decoded in the time that a unit of work takes. */
#define BYTES_DECODED_PER_WORK 32
/* How much work is a request in the budget of a turn (limits.turn_requests). */
#define REQUEST_WORK 8
/* A slice ends when it has written so much. */
#define SLICE_REPLY_BYTES ((size_t)64 * 1024)

/* A moment of a call at which it could go on later. */
struct checkpoint {
    struct progress progress; /* its mark is not used */
    uint64_t hits, misses;
    size_t reply_len;
};

struct call {
    struct dispatch *dispatch;
    const struct request *request;
    struct session *session; /* NULL from the second slice on */
    enum method_id id;
    struct reply *reply;
    struct progress *progress;
    struct method_stats *stats;
    uint64_t work;                     /* left in this slice */
    uint64_t allowed;                  /* nodes that the walk under way may visit */
    uint64_t walked;                   /* nodes that the last walk has visited */
    size_t reply_begin_len;            /* of the reply, when the slice began */
    uint64_t begin_hits, begin_misses; /* likewise */
    bool has_checkpoint;               /* dispatch->checkpoint is one of this call */
    struct buf scratch;     /* given back by whoever runs the method, which guard_run may leave */
    struct act_fault fault; /* with ACT_CORRUPT */
                            /* dispatch->text with the outcomes below that are errors */
};

/* Outcomes of a method, besides 0 and ACT_CORRUPT. */
#define CALL_BAD_PARAMS 100
#define CALL_TOO_LARGE  101
#define CALL_LIMIT      102
#define CALL_BAD_CURSOR 103
#define CALL_AGAIN      104 /* the slice is used up */
#define CALL_GONE       105
#define CALL_WAIT       106 /* progress->wait_* say for what, and how long */
#define CALL_DRAINING   107 /* it would have to wait */
#define CALL_COLD       108 /* pages are missing; it goes on from where it is */

/* The tree for lookups: with pages that are not in memory it may end in ACT_COLD. A method that
 * hands that up goes on later from its last checkpoint, or else begins anew. */
static inline const struct act *tree_of(const struct call *call)
{
    return snapshot_lookup_tree(call->dispatch->snapshot);
}

/* What the method has done so far stays, should it hand up ACT_COLD. */
void set_checkpoint(struct call *call);

/* Lookups of these keys are about to be made: has the pages read that they miss, as far as that can
 * be told now. */
void want_keys(struct call *call, const msgpack_object_array *keys, uint32_t from);

/* Takes work from the slice. False: it is used up. */
static inline bool spend(struct call *call, uint64_t work)
{
    call->work -= work < call->work ? work : call->work;
    return call->work > 0;
}

static inline uint64_t key_work(struct slice key)
{
    return LOOKUP_WORK + key.len / WORK_PER_KEY_BYTES;
}

/* Is it time to end the slice, by its work, by what it has written, or because the reply failed? */
static inline bool is_slice_over(const struct call *call)
{
    return call->work == 0 || call->reply->failure != 0 ||
           reply_len(call->reply) - call->reply_begin_len >= call->dispatch->slice_reply_bytes;
}

/* Each puts the text into dispatch->text and gives the outcome that it is named for. */
__attribute__((format(printf, 2, 3))) int bad_params(struct call *call, const char *format, ...);
__attribute__((format(printf, 2, 3))) int too_large(struct call *call, const char *format, ...);
int key_too_long(struct call *call); /* of the tree: ACT_TOO_LONG */

/* What is wrong with the number of keys, or of what else is listed. */
int check_list(struct call *call, const msgpack_object *list, const char *what);

/* The key in parameter number index (what: "key", "prefix"). 0 or an outcome. */
int param_key(struct call *call, unsigned index, const char *what, struct slice *ret);
/* Is that a key, and not too long? index: its place in a list, or -1. */
int check_key(struct call *call, const msgpack_object *object, const char *what, int64_t index,
              struct slice *ret);

/* Options that methods share: X(name, kind, field of struct options). */
#define CALL_OPTIONS(X)                              \
    X(limit, OPTION_NUMBER, limit)                   \
    X(max_bytes, OPTION_NUMBER, max_bytes)           \
    X(max_visited_nodes, OPTION_NUMBER, max_visited) \
    X(reverse, OPTION_BOOL, reverse)                 \
    X(keys_only, OPTION_BOOL, keys_only)             \
    X(errors, OPTION_BOOL, errors)                   \
    X(pin, OPTION_IDENTITY, pin)                     \
    X(cursor, OPTION_BYTES, cursor)                  \
    X(cursors, OPTION_ARRAY, cursors)

enum option_id {
#define X(name, kind, field) OPTION_##name,
    CALL_OPTIONS(X)
#undef X
        N_OPTIONS
};

/* Set of options: 1 << OPTION_limit | ... */
#define OPTION_BIT(name) (1u << OPTION_##name)

struct options {
    uint64_t limit, max_bytes, max_visited;
    bool reverse, keys_only, errors, has_pin;
    uint64_t pin;        /* if has_pin: a generation's identity */
    struct slice cursor; /* p is NULL where there is none */
    const msgpack_object *cursors;
};

/* Reads the map in parameter number index, if there is one, into *options, which holds the
 * defaults. 0 or CALL_BAD_PARAMS. */
int read_options(struct call *call, unsigned index, unsigned allowed, struct options *options);

/* An identity: an integer, or decimal text. */
bool param_identity(const msgpack_object *param, uint64_t *ret);
/* The request waits, unless that is over or the server stops: CALL_WAIT, CALL_DRAINING, or 0. */
int begin_wait(struct call *call, enum wait_for what, uint64_t identity, uint64_t most_ms);
/* Before anything is answered: is the generation that the request is pinned to the one that answers
 * it? 0, CALL_GONE, or as begin_wait. */
int check_pin(struct call *call, const struct options *options);

/* What a reply gives for a value: the number, or the byte string that it stands for. */
struct value {
    bool is_bytes;
    uint64_t number;
    struct slice bytes; /* in the map: not to be read outside the guard */
};

/* The value that the tree gives as that number. 0 or ACT_CORRUPT. */
int value_of(const struct call *call, uint64_t number, struct value *ret, struct act_fault *fault);
void reply_value(struct call *call, const struct value *value);
/* [key, value]. 0 or ACT_CORRUPT. */
int reply_entry(struct call *call, struct slice key, uint64_t number);

/* Counts what a lookup found. */
void count_lookup(struct call *call, int outcome);

void reply_pair_text(struct reply *reply, const char *name, const char *value);
void reply_pair_number(struct reply *reply, const char *name, uint64_t value);
/* {number, identity} */
void reply_generation_map(struct reply *reply, const struct generation *generation);
/* "generation": {number, identity} */
void reply_generation(struct reply *reply, const struct snapshot *snapshot);
