/*
 * slow: the last requests of a worker that took longer than admin.slow_ms, on the board.
 *
 * A ring with one writer. Each entry has a version that is odd while it changes, and a reader skips
 * those that change. It goes with its process: what a dead worker has noted is lost.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define SLOW_ENTRIES   64
#define SLOW_KEY_BYTES 64

struct slow_request {
    uint64_t at_ms; /* since 1970: when it was answered */
    uint64_t duration_ns;
    uint64_t generation;   /* the number of the one that it was answered from */
    uint64_t pages_missed; /* that it waited for */
    uint64_t loop_faults;  /* major faults of the loop in its turn or slices */
    uint64_t slices;
    uint64_t key_bytes; /* of the first key or prefix; 0: there is none, or it is empty */
    uint8_t method;     /* enum method_id */
    uint8_t error;      /* enum proto_error; 0: none */
    bool has_key;
    uint8_t key[SLOW_KEY_BYTES]; /* what fits of it */
};

struct slow_entry {
    _Atomic uint32_t version; /* 0: never used */
    struct slow_request request;
};

struct slow_log {
    uint64_t n; /* noted so far */
    struct slow_entry entries[SLOW_ENTRIES];
};

void slow_note(struct slow_log *log, const struct slow_request *request);

/* Entry i of SLOW_ENTRIES, in no order. False: there is none, or it changes just now. */
bool slow_get(const struct slow_log *log, unsigned i, struct slow_request *ret);
