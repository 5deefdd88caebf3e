/*
 * readiness: is the service ready, and what the service manager is told of it. Ready is said when
 * all workers serve; with a warm-up before it or after it, as warmup.ready says. It also says when
 * what is in memory may be saved as a profile.
 *
 * It decides nothing else: the supervisor calls it when something has come to pass.
 */
#pragma once

#include "daemon/board.h"
#include "daemon/supervisor/census.h"
#include "daemon/supervisor/crew.h"
#include "daemon/supervisor/reload.h"
#include "daemon/supervisor/warmup.h"

struct readiness {
    const struct config *config; /* borrowed: these are set by the caller */
    struct board *board;         /* borrowed */
    const struct crew *crew;     /* borrowed */
    struct reload *reload;       /* borrowed */
    struct warmup *warmup;       /* borrowed */
    struct census *census;       /* borrowed */
    bool is_ready;               /* it was said, or a warm-up will say it */
};

/* A round of the reload is over, and something is served. */
void readiness_on_reload(struct readiness *readiness, bool is_accepted);
/* What is served has been damaged. */
void readiness_on_damage(struct readiness *readiness);
/* The warm-up that runs has come on. */
void readiness_on_progress(struct readiness *readiness);
/* The warm-up of that generation has ended, however. */
void readiness_on_warm(struct readiness *readiness, uint64_t generation);
/* The service stops, ready or not. */
void readiness_on_stop(struct readiness *readiness);
