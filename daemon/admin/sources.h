/*
 * sources: what the admin endpoint tells of, and what it can ask to be done. Filled by the
 * supervisor, which owns it all.
 */
#pragma once

#include "daemon/board.h"

struct access;
struct census;
struct crew;
struct reload;
struct verify;
struct warmup;

struct admin_sources {
    const struct config *config; /* borrowed, as all of these */
    const struct board *board;
    const struct access *access;
    struct reload *reload;
    struct crew *crew;
    struct census *census;
    struct warmup *warmup;
    struct verify *verify;
};
