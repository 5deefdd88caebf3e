/*
 * query: a request as a test means it, and its MessagePack; also one with a flaw, that must be
 * refused.
 */
#pragma once

#include "base/slice.h"
#include "daemon/methods.h"

#include <msgpack.h>

#define QUERY_KEYS_MAX 12

/* Set of options that a query has: 1 << QUERY_LIMIT ... */
enum query_option {
    QUERY_LIMIT,
    QUERY_MAX_BYTES,
    QUERY_MAX_VISITED_NODES,
    QUERY_REVERSE,
    QUERY_KEYS_ONLY,
    QUERY_ERRORS,
    QUERY_CURSOR,
    QUERY_CURSORS,
    QUERY_PIN,
    QUERY_OPTIONS
};
#define QUERY_BIT(option) (1u << QUERY_##option)

/* What is wrong with it; each is refused with BAD_PARAMS, if nothing else is wrong, too. */
enum query_flaw {
    FLAW_NONE,
    FLAW_KEY_TYPE, /* of key number flaw_at, or of what else is no option */
    FLAW_LIST_TYPE,
    FLAW_NO_PARAMS,
    FLAW_MORE_PARAMS,
    FLAW_OPTIONS_TYPE,
    FLAW_OPTION_NAME,    /* is no string */
    FLAW_OPTION_UNKNOWN, /* or of another method */
    FLAW_OPTION_TYPE,
    FLAW_OPTION_TWICE,
    FLAW_CURSOR_TYPE, /* of one in a list */
    FLAW_METHOD,      /* there is none of that name: UNKNOWN_METHOD */
    QUERY_FLAWS
};

struct query {
    enum method_id method;
    bool is_list; /* its keys come as an array; always of mget and mscan */
    bool is_text; /* its keys are str, not bin */
    size_t n_keys;
    struct slice keys[QUERY_KEYS_MAX]; /* borrowed; of a range: from and to, nil where p is NULL */

    unsigned options; /* set of those that it has */
    uint64_t limit, max_bytes, max_visited;
    bool reverse, keys_only, errors;
    struct slice cursor;                  /* borrowed; nil where p is NULL */
    struct slice cursors[QUERY_KEYS_MAX]; /* likewise */
    size_t n_cursors;
    bool errors_as_string, u64_as_string; /* hello, which has both options or none */
    bool has_hello_options;
    uint64_t identity; /* of wait_generation, and the option pin */
    bool is_identity_text;
    uint64_t timeout_ms; /* wait_generation */

    enum query_flaw flaw;
    unsigned flaw_at; /* which one, and which wrong value */
};

/* The options that such a query may have. */
unsigned query_allowed(const struct query *query);
/* Takes away what this method does not have, and a flaw that it cannot have. */
void query_settle(struct query *query);

/* ret: initialised; what is there stays. */
void query_pack(const struct query *query, uint32_t msgid, msgpack_sbuffer *ret);
