/*
 * client: the parts of struct actc.
 */
#pragma once

#include "actc/actc.h"
#include "base/address.h"
#include "client/calls.h"
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
    struct actc_reply *held; /* owned: what the views of the last method call point into */
};
