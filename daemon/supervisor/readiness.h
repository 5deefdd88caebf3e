/*
 * readiness: is the service ready, and what the service manager is told of it.
 *
 * Ready is said when all workers serve; with a warm-up before it or after it, as warmup.ready says.
 * From then on each round of a reload is told, from its begin to its end, however it ends. The
 * status is told when something has changed, four times a second at most. While it checks or warms
 * up, the manager's limit for a start or a reload is moved on as long as our loop turns: what is
 * waited for has limits of its own.
 *
 * It also says when what is in memory may be saved as a profile. It decides nothing else: the
 * supervisor calls it when something has come to pass.
 */
#pragma once

#include "daemon/board.h"
#include "daemon/supervisor/census.h"
#include "daemon/supervisor/crew.h"
#include "daemon/supervisor/notify.h"
#include "daemon/supervisor/reload.h"
#include "daemon/supervisor/status.h"
#include "daemon/supervisor/warmup.h"

struct readiness {
    const struct config *config; /* borrowed: all that is borrowed is set by the caller */
    struct board *board;         /* borrowed */
    const struct crew *crew;     /* borrowed */
    struct reload *reload;       /* borrowed */
    struct warmup *warmup;       /* borrowed */
    struct census *census;       /* borrowed */
    struct notify *notify;       /* borrowed */
    bool is_ready;               /* it was said, or a warm-up will say it */
    bool is_reloading;           /* that was said, and is to be taken back */
    bool is_stopping;
    uv_timer_t tick;      /* a second */
    uv_timer_t later;     /* what is to be told waits for its time */
    uint64_t looked_ms;   /* clock_ms: when the status was last made */
    uint64_t extended_ms; /* likewise: when the manager's limit was last moved; 0: not yet */
    unsigned n_ticks;     /* since the census was asked */
    char told[STATUS_BYTES];
};

/* callbacks of others may come from here on. */
void readiness_start(struct readiness *readiness, uv_loop_t *loop);

/* A round of the reload begins. */
void readiness_on_round(struct readiness *readiness);
/* It is over, and something is served. */
void readiness_on_reload(struct readiness *readiness, bool is_accepted);
/* What is told may have changed: damage, workers, how far the warm-up is. */
void readiness_on_change(struct readiness *readiness);
/* The warm-up of that generation has ended, however. */
void readiness_on_warm(struct readiness *readiness, uint64_t generation);
/*
 * The service stops, ready or not. The timers are closed.
 *
 * within_ms  that it takes at most
 * failure    NULL, or why: the start has failed
 * error      errno of that; 0: it has none
 */
void readiness_on_stop(struct readiness *readiness, uint64_t within_ms, const char *failure,
                       int error);

/* The same of a start that fails before there is anything. */
void readiness_refuse(struct notify *notify, uint64_t within_ms, const char *failure, int error);
