/*
 * calls: the open calls of a connection, found by their message id.
 *
 * A table without probing: an id is given out only if its slot (the id's low bits) is free, so each
 * id has one place to look at, and growing to twice the size keeps that true.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Outcome of calls_add. */
#define CALLS_FULL 1

struct call {
    uint32_t id; /* 0: the slot is free */
    uint32_t timeout_ms;
    uint64_t deadline_ms; /* clock_ms */
    bool is_settled;      /* outcome is known */
    int outcome;          /* 0: reply is there; else an actc_outcome or -errno */
    uint8_t *reply;       /* the whole message, owned; NULL unless settled with 0 */
    size_t reply_len;     /* bytes */
};

struct calls {
    struct call *slots; /* owned */
    uint32_t n_slots;   /* power of 2, or 0 */
    uint32_t n_open;
    uint32_t max_open;
    uint32_t next_id;
    bool has_wrapped; /* every id was given out before */
};

/* max_open: at most 2^30. */
void calls_init(struct calls *calls, uint32_t max_open);
void calls_deinit(struct calls *calls);

/* Opens a call with a fresh id. *ret_call is valid until the next calls_add.
 * 0, CALLS_FULL or -ENOMEM. */
int calls_add(struct calls *calls, struct call **ret_call);

/* The open call with that id, or NULL. */
struct call *calls_find(struct calls *calls, uint32_t id);

/* Frees the call's reply, if it is still there, and its slot. */
void calls_remove(struct calls *calls, struct call *call);

/* Was this id ever given out? */
bool calls_has_issued(const struct calls *calls, uint32_t id);
