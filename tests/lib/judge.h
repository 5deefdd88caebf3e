/*
 * judge: what a reply must be, given the query and what the tree holds: every method's result,
 * every page of a scan, and which errors there may be.
 *
 * Where the contents are known, an oracle says them. In a damaged tree only what holds of any tree
 * is looked at: results of single keys are what the tree's own calls give, scans are in order and
 * within their bounds, and cursors lead on.
 */
#pragma once

#include "daemon/config.h"
#include "daemon/snapshot.h"
#include "oracle.h"
#include "query.h"

struct judge {
    const struct config *config;
    const struct snapshot *snapshot;
    const struct oracle *oracle; /* NULL: the contents are not known */
    bool has_byte_values;        /* values are the strings of byte_value_of */
    bool is_whole;               /* the tree is not damaged */
    uint64_t most_nodes;         /* that a walk over all of it may visit */
    size_t longest_key;          /* in it, if the contents are known */

    /* When the request was worked on. */
    bool errors_as_string, u64_as_string;
    bool is_damaged, is_draining;
    const struct generation *announced, *offered; /* or NULL */
    bool is_waited_for;                           /* the client has waited as long as it said */
    bool never_waits;
    bool is_pool_small; /* BUSY may come at any time */
};

/* What a reply says. */
struct judged {
    unsigned error;                       /* 0: none */
    bool is_over_length;                  /* TOO_LARGE because of limits.max_reply_bytes */
    size_t n_cursors;                     /* of scan and range one, of mscan one for each prefix */
    struct slice cursors[QUERY_KEYS_MAX]; /* in the reply; nil where p is NULL */
};

/* reply: all that was sent. query: NULL if the request was no query: then only what holds of every
 * reply. NULL, or what is wrong, as static text. */
const char *judge_reply(const struct judge *judge, const struct query *query, uint32_t msgid,
                        struct slice reply, struct judged *ret);

/* Would the tree be walked to the end, if the query wanted it, within its budget? */
bool judge_has_ample_budget(const struct judge *judge, const struct query *query);
