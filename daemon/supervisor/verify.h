/*
 * verify: has a process of its own (daemon/verifier) read every object of the generation that is
 * served, when somebody asks for it (the admin endpoint). Whatever that finds, the generation goes
 * on being served: who asked, the board and the log are told.
 */
#pragma once

#include "daemon/board.h"
#include "daemon/supervisor/held.h"
#include "daemon/supervisor/helper.h"

struct verify {
    struct helper helper;             /* loop, environment and config_fd are set by the caller */
    const struct config *config;      /* borrowed: set by the caller */
    struct verify_progress *progress; /* borrowed: set by the caller; ours to write */
    const struct held *served;        /* borrowed: set by the caller */
    bool is_stopped;
};

/* What verify_ask comes to, beside 0 and -errno. */
enum verify_outcome {
    VERIFY_BUSY = 1, /* one is running already */
    VERIFY_UNSERVED, /* nothing is served yet */
    VERIFY_STOPPING, /* the service is */
};

/* The fields that the caller sets are set before. */
void verify_init(struct verify *verify);

/* Begins one. 0, an outcome, or -errno: the process cannot be started. */
int verify_ask(struct verify *verify);

/* Ends it for good. */
void verify_stop(struct verify *verify);
