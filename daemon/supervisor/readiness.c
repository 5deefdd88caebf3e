/*
 * readiness: see readiness.h.
 */
#include "daemon/supervisor/readiness.h"

#include "base/log.h"
#include "daemon/supervisor/notify.h"

#include <inttypes.h>
#include <stdio.h>

/* Beyond the time that a warm-up may be silent, for the service manager. */
#define NOTICE_MS 60000

static void format_status(const struct readiness *readiness, char *text, size_t size)
{
    char line[BOARD_TEXT_BYTES];
    const struct generation *generation = &readiness->board->head->generation;
    const char *more = board_unready_reason(readiness->board, line, sizeof line);
    if (!more && warmup_is_running(readiness->warmup))
        more = warmup_describe(readiness->warmup, line, sizeof line);
    snprintf(text, size, "generation %" PRIu64 ", %.1f MiB mapped by %u workers: %s%s%s",
             generation->number, (double)generation->size_bytes / (1024 * 1024),
             crew_n_serving(readiness->crew), readiness->config->tree_path, more ? ", " : "",
             more ? more : "");
}

static bool is_awaiting_warmup(const struct readiness *readiness)
{
    return readiness->board->head->is_ready_after_warmup;
}

static void tell_status(struct readiness *readiness)
{
    char status[BOARD_TEXT_BYTES + 512];
    format_status(readiness, status, sizeof status);
    /* A warm-up may take as long as it comes on: warmup ends one that does not. */
    if (is_awaiting_warmup(readiness))
        notify_starting(status, readiness->config->tree_check_timeout_ms + NOTICE_MS);
    else
        notify_status(status);
}

static void say_ready(struct readiness *readiness)
{
    char status[BOARD_TEXT_BYTES + 512];
    format_status(readiness, status, sizeof status);
    notify_ready(status);
    log_info("ready: %s", status);
}

/* warmup.ready = after, and nothing is to be waited for any more. */
static void end_awaiting(struct readiness *readiness)
{
    readiness->board->own_head->is_ready_after_warmup = false;
    say_ready(readiness);
}

/* What is in memory of the served generation may be saved, as soon as that is as it should be. */
static void allow_saving(struct readiness *readiness)
{
    const struct warmup_progress *warmup = &readiness->board->head->warmup;
    bool has_one = warmup->generation == readiness->reload->current.generation.number;
    bool is_done = has_one && warmup->state == WARMUP_DONE;
    bool has_none = !has_one && readiness->config->warmup_mode == WARMUP_NONE;
    if (!warmup_is_running(readiness->warmup))
        census_allow(readiness->census, is_done || has_none,
                     is_done && warmup->mode == WARMUP_RESTORE);
}

/* All workers serve. */
static void get_ready(struct readiness *readiness)
{
    const struct config *config = readiness->config;
    readiness->is_ready = true;
    bool is_warming = warmup_begin(readiness->warmup, &readiness->reload->current, NULL);
    if (is_warming && config->warmup_ready == WARMUP_READY_AFTER) {
        readiness->board->own_head->is_ready_after_warmup = true;
        tell_status(readiness);
    } else {
        say_ready(readiness);
    }
}

void readiness_on_reload(struct readiness *readiness, bool is_accepted)
{
    if (is_accepted && !readiness->is_ready)
        get_ready(readiness);
    else if (is_awaiting_warmup(readiness) && !warmup_is_running(readiness->warmup))
        end_awaiting(readiness);
    else if (readiness->is_ready)
        tell_status(readiness);
    if (is_accepted && readiness->is_ready)
        allow_saving(readiness);
}

void readiness_on_damage(struct readiness *readiness)
{
    tell_status(readiness);
}

void readiness_on_progress(struct readiness *readiness)
{
    tell_status(readiness);
}

void readiness_on_warm(struct readiness *readiness, uint64_t generation)
{
    if (generation == readiness->reload->current.generation.number)
        allow_saving(readiness);
    if (!is_awaiting_warmup(readiness))
        tell_status(readiness);
    else if (readiness->reload->state != RELOAD_WARMING) /* else a candidate's takes its place */
        end_awaiting(readiness);
}

void readiness_on_stop(struct readiness *readiness)
{
    if (readiness->is_ready)
        notify_stopping();
}
