/*
 * check: one look at a file by a process of its own (daemon/checker), so that a file that is slow
 * to read, or shrinks while it is read, hurts nobody.
 */
#pragma once

#include "daemon/supervisor/held.h"
#include "daemon/supervisor/helper.h"

/* What came of it. fd: owned by the callee if the file is good, else -1. generation: what is known;
 * text: why it is refused. */
typedef void (*check_callback)(void *context, int fd, const struct generation *generation,
                               const char *text);

struct check {
    struct helper helper;                /* loop, environment and config_fd are set by the caller */
    const char *path;                    /* borrowed: for texts */
    uint64_t checked_bytes, total_bytes; /* of the one that runs */
    int error;                           /* errno of the last refusal; 0: it has none */
    check_callback on_done;
    void *context; /* borrowed */
};

/* At what is at the path, or at what was served before, which must be as it was then; its number is
 * that of then, too. on_done is called once, unless check_cancel comes first. 0 or -errno. */
int check_start(struct check *check);
int check_start_held(struct check *check, const struct held *held);
/* Forgets the one that runs, if any; it is killed. */
void check_cancel(struct check *check);
