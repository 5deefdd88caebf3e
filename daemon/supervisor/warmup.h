/*
 * warmup: brings a generation's pages into memory by a process of its own (daemon/warmer), one at a
 * time: what is served at the start, a candidate before it is switched to (supervisor/reload), and
 * whatever somebody asks for (the admin endpoint).
 *
 * A process and not a thread: to go down the tree means to touch the mapping, which the supervisor
 * never does; a disk that hangs or a file that shrinks hurts nobody; and it can be killed. How far
 * it is stands on the board. Whatever ends it, the service goes on without it.
 */
#pragma once

#include "daemon/board.h"
#include "daemon/supervisor/held.h"
#include "daemon/supervisor/helper.h"

struct warmup {
    struct helper helper;               /* loop, environment and config_fd are set by the caller */
    const struct config *config;        /* borrowed: set by the caller */
    struct warmup_progress *progress;   /* borrowed: set by the caller; its state is ours */
    const struct held *served;          /* borrowed: set by the caller; what warmup_ask is about */
    void (*on_progress)(void *context); /* while it runs, once a second at most */
    /* It has ended, however: progress->state tells. generation: the number it was about. */
    void (*on_end)(void *context, uint64_t generation);
    void *context; /* borrowed: the owner's */

    uint64_t profile_bytes; /* in memory, by the profile that was last read or saved; 0: unknown */
    uint64_t began_ms, told_ms, logged_ms; /* clock_ms */
    uint64_t speed_ms, speed_bytes;        /* when and where the speed was last taken */
    uint64_t bytes_per_s;                  /* lately; 0: unknown */
    unsigned logged_tenth;                 /* of the whole, when it was last in the log */
    bool is_stopped;
};

/* What warmup_start and warmup_ask come to, beside 0 and -errno. */
enum warmup_outcome {
    WARMUP_BUSY = 1,   /* one is running already */
    WARMUP_UNSERVED,   /* nothing is served yet */
    WARMUP_NEEDLESS,   /* what is served is a copy in memory */
    WARMUP_NO_PROFILE, /* restore, and warmup.profile is not set */
    WARMUP_IDLE,       /* there is none that could be ended */
    WARMUP_STOPPING,   /* the service is */
};

/* The fields that the caller sets are set before. */
void warmup_init(struct warmup *warmup);

/*
 * What the configuration wants of a generation that is served or is about to be. What goes wrong is
 * logged.
 *
 * held      borrowed for the call
 * previous  what was served before, NULL: nothing. The profile is of that one
 *
 * Does one run now?
 */
bool warmup_begin(struct warmup *warmup, const struct held *held, const struct held *previous);

/*
 * For who asks from outside: a warm-up of the served generation, now, whatever the configuration
 * has as mode (its other options hold). WARMUP_NONE: end the one that runs; if it is a
 * candidate's, the reload goes on and switches to it.
 *
 * 0: it has begun, or was ended; an outcome; or -errno: the process cannot be started.
 */
int warmup_ask(struct warmup *warmup, enum warmup_mode mode);

/* A line for people about what warmup_ask has returned: "a warm-up is running already". */
const char *warmup_text(int outcome);

/*
 * Begins one of that generation; one that runs is ended for it.
 *
 * held       borrowed for the call
 * mode       not WARMUP_NONE
 * max_bytes  in addition to what the configuration says; 0: no limit
 *
 * As warmup_ask.
 */
int warmup_start(struct warmup *warmup, const struct held *held, enum warmup_mode mode,
                 uint64_t max_bytes);

/* Ends the one that runs, if any: on_end is called before this returns. */
void warmup_cancel(struct warmup *warmup);

bool warmup_is_running(const struct warmup *warmup);

/* "warming up generation 2: 42 % of 7168.0 MiB, 12 s left". In line. */
const char *warmup_describe(const struct warmup *warmup, char *line, size_t size);

/* Somebody has written a profile with so many bytes in it. */
void warmup_on_profile(struct warmup *warmup, uint64_t bytes);

/* Ends it for good. on_end is not called any more. */
void warmup_stop(struct warmup *warmup);
