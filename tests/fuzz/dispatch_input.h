/*
 * dispatch_input: what an input of fuzz_dispatch says, byte by byte; after its end come zeros.
 */
#pragma once

#include "dispatch_trees.h"
#include "query.h"

#define CURSORS_MAX 8

/* A cursor of an earlier reply, and the query that led to it. */
struct seen_cursor {
    struct slice cursor; /* nil where p is NULL */
    struct query query;
    size_t index; /* of the scan in an mscan */
};

struct input {
    struct slice rest;
    const struct dispatch_tree *tree; /* that keys are taken from */
    struct seen_cursor cursors[CURSORS_MAX];
    unsigned n_seen;
    size_t max_key_bytes;
    uint64_t identities[2]; /* of the generations that there are */
};

uint8_t input_byte(struct input *input);
unsigned input_u16(struct input *input);
/* Up to len of the bytes that are left. */
struct slice input_bytes(struct input *input, size_t len);

/* A query of that method. */
void input_query(struct input *input, enum method_id method, struct query *ret);
/* One that goes on with an earlier cursor. False: there is none. */
bool input_next_page(struct input *input, struct query *ret);

/* Keeps a cursor for later queries. */
void input_see_cursor(struct input *input, const struct query *query, size_t index,
                      struct slice cursor);

/* A copy that lives until input_forget. Where there is no more room it is empty. */
struct slice input_keep(struct slice bytes);
void input_forget(void);
