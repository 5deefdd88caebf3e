/*
 * client: the parts of struct actc.
 */
#pragma once

#include "actc/actc.h"
#include "base/address.h"
#include "client/calls.h"
#include "client/watch.h"
#include "client/wire.h"

struct actc {
    struct address server;
    struct actc_options options; /* without zeros */
    struct wire wire;
    struct calls calls;
    struct buf_pool scratch_pool;
    struct buf scratch; /* parameters being packed */
    uint32_t awaited;   /* the call that actc_wait is waiting for, or 0 */
    size_t kept_bytes;  /* of the replies in calls */
    struct actc_counters counters;
    struct watch watch;
    uint64_t pinned;
    const uint64_t *pin;     /* &pinned, or NULL: calls are not pinned */
    struct actc_reply *held; /* owned: what the views of the last method call point into */
};

/* The one step that every waiting function repeats: a turn of the wire, then what has arrived finds
 * its call, whoever is waiting. A flood of other messages does not hold up a deadline: after it
 * passed there is one more step, and WIRE_TIMEOUT. 0, WIRE_TIMEOUT, WIRE_LOST or -ENOMEM. */
int client_pump(struct actc *client, uint64_t deadline_ms);

/* The outcome of a wire, as a public function's result. */
int client_explain(const struct actc *client, int r, uint32_t timeout_ms,
                   struct actc_error *ret_error);
