/*
 * warmup: see warmup.h.
 *
 * The process says how far it is, and at the end what came of it; or it dies, or it gives no sign
 * of life for too long, or nobody wants it any more. `conclude` is the one end of all of these.
 */
#include "daemon/supervisor/warmup.h"

#include "base/clock.h"
#include "base/log.h"
#include "daemon/events.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static void on_message(void *context, const struct control_message *message, int *passed);
static void on_end(void *context, const struct helper_end *end);

#define TELL_MS 1000
#define LOG_MS  10000
/* What is there already goes by at once: the time that is left is told from what came lately. */
#define SPEED_MS 500

#define MIB ((double)(1024 * 1024))

static const char *mode_of(const struct warmup *warmup)
{
    return warmup_mode_name(warmup->progress);
}

/* "warm-up (read) of generation 3" */
static const char *name_of(const struct warmup *warmup, char *text, size_t size)
{
    snprintf(text, size, "warm-up (%s) of generation %" PRIu64, mode_of(warmup),
             (uint64_t)warmup->progress->generation);
    return text;
}

bool warmup_is_running(const struct warmup *warmup)
{
    return warmup->helper.running != NULL;
}

const char *warmup_describe(const struct warmup *warmup, char *line, size_t size)
{
    char text[128];
    snprintf(line, size, "warming up generation %" PRIu64 ": %s",
             (uint64_t)warmup->progress->generation,
             warmup_progress_text(warmup->progress, text, sizeof text));
    return line;
}

static void conclude(struct warmup *warmup, enum warmup_state state)
{
    uint64_t generation = warmup->progress->generation;
    helper_stop(&warmup->helper);
    warmup->progress->eta_ms = BOARD_UNKNOWN;
    warmup->progress->state = (int)state;
    if (!warmup->is_stopped)
        warmup->on_end(warmup->context, generation);
}

static void succeed(struct warmup *warmup)
{
    char name[96];
    uint64_t bytes = warmup->progress->read_bytes, ms = clock_ms() - warmup->began_ms;
    double seconds = ms > 0 ? (double)ms / 1000 : 0.001;
    log_with(LOG_LEVEL_INFO, LOG_OF(warmup->progress->generation),
             "%s: %.1f MiB in %.1f s, %.0f MiB/s", name_of(warmup, name, sizeof name),
             (double)bytes / MIB, seconds, (double)bytes / MIB / seconds);
    conclude(warmup, WARMUP_DONE);
}

static void fail(struct warmup *warmup, const char *why)
{
    char name[96];
    log_event(&event_warmup_failed,
              LOG_FIELDS(log_field_number("GENERATION", warmup->progress->generation),
                         log_field_text("REASON", why)),
              "%s: %s, after %.1f MiB; serving without it", name_of(warmup, name, sizeof name), why,
              (double)warmup->progress->read_bytes / MIB);
    conclude(warmup, WARMUP_FAILED);
}

/* Of what came since the last time, and a little of what was before. */
static void take_speed(struct warmup *warmup, uint64_t now)
{
    uint64_t bytes = warmup->progress->read_bytes, ms = now - warmup->speed_ms;
    if (ms < SPEED_MS || bytes < warmup->speed_bytes)
        return;
    double speed = (double)(bytes - warmup->speed_bytes) * 1000 / (double)ms;
    if (warmup->bytes_per_s > 0)
        speed = (3 * speed + (double)warmup->bytes_per_s) / 4;
    warmup->bytes_per_s = (uint64_t)speed;
    warmup->speed_ms = now;
    warmup->speed_bytes = bytes;
    uint64_t total = warmup->progress->total_bytes, left = total > bytes ? total - bytes : 0;
    warmup->progress->eta_ms =
        warmup->bytes_per_s > 0 ? (uint64_t)((double)left * 1000 / speed) : BOARD_UNKNOWN;
}

/* At each tenth of the whole, and not too often. */
static void log_progress(struct warmup *warmup, uint64_t now)
{
    char name[96], line[128];
    uint64_t total = warmup->progress->total_bytes;
    unsigned tenth =
        total > 0 ? (unsigned)((double)warmup->progress->read_bytes * 10 / (double)total) : 0;
    if (tenth <= warmup->logged_tenth || now - warmup->logged_ms < LOG_MS)
        return;
    warmup->logged_tenth = tenth;
    warmup->logged_ms = now;
    log_with(LOG_LEVEL_INFO, LOG_OF(warmup->progress->generation), "%s: %s",
             name_of(warmup, name, sizeof name),
             warmup_progress_text(warmup->progress, line, sizeof line));
}

static void take_progress(struct warmup *warmup, const struct control_message *message)
{
    uint64_t now = clock_ms();
    warmup->progress->read_bytes = message->number;
    warmup->progress->total_bytes = message->generation.size_bytes;
    take_speed(warmup, now);
    log_progress(warmup, now);
    if (now - warmup->told_ms < TELL_MS)
        return;
    warmup->told_ms = now;
    warmup->on_progress(warmup->context);
}

static void on_message(void *context, const struct control_message *message, int *passed)
{
    struct warmup *warmup = context;
    char name[96];
    (void)passed;
    switch ((enum control_type)message->type) {
    case CONTROL_PROGRESS:
        take_progress(warmup, message);
        break;
    case CONTROL_PROFILE:
        warmup->profile_bytes = message->number;
        break;
    case CONTROL_WARM:
        succeed(warmup);
        break;
    case CONTROL_NO_PROFILE:
        log_with(LOG_LEVEL_INFO, LOG_OF(warmup->progress->generation), "%s: %s",
                 name_of(warmup, name, sizeof name), message->text);
        conclude(warmup, WARMUP_DONE);
        break;
    case CONTROL_NOT_WARM:
        fail(warmup, message->text);
        break;
    default:
        fail(warmup, "the process that does it has said something unknown");
    }
}

static void on_end(void *context, const struct helper_end *end)
{
    fail(context, end->signal == SIGBUS
                      ? "the file was truncated while it was read, or reading failed"
                      : end->text);
}

void warmup_init(struct warmup *warmup)
{
    warmup->helper.what = "the process that does it";
    warmup->helper.silence_ms = warmup->config->tree_check_timeout_ms;
    warmup->helper.on_message = on_message;
    warmup->helper.on_end = on_end;
    warmup->helper.context = warmup;
}

/* The process knows nothing but the configuration: the rest are its arguments, where people who
 * look at processes see them too, and the facts in its first message. */
static int spawn(struct warmup *warmup, const struct held *held, enum warmup_mode mode,
                 uint64_t max_bytes)
{
    char mode_text[24], max_text[24];
    char *const args[] = {(char[]){"actd: warmer"}, (char[]){"--warmer"}, mode_text, max_text,
                          NULL};
    struct control_message facts = {.type = CONTROL_GENERATION, .generation = held->generation};
    snprintf(mode_text, sizeof mode_text, "%s", warmup_mode_names[mode]);
    snprintf(max_text, sizeof max_text, "%" PRIu64, max_bytes);
    int r = helper_start(&warmup->helper, args, held->fd);
    if (r == 0 && (r = helper_say(&warmup->helper, &facts)) != 0) {
        helper_stop(&warmup->helper);
        r = r < 0 ? r : -ENOBUFS;
    }
    return r;
}

static int check_start_of(const struct warmup *warmup, const struct held *held,
                          enum warmup_mode mode)
{
    if (warmup->is_stopped)
        return WARMUP_STOPPING;
    if (held->fd < 0)
        return WARMUP_UNSERVED;
    if (held->generation.hold != GENERATION_MAPPED)
        return WARMUP_NEEDLESS;
    return mode == WARMUP_RESTORE && !warmup->config->warmup_profile ? WARMUP_NO_PROFILE : 0;
}

int warmup_start(struct warmup *warmup, const struct held *held, enum warmup_mode mode,
                 uint64_t max_bytes)
{
    struct warmup_progress *progress = warmup->progress;
    char name[96];
    int r = check_start_of(warmup, held, mode);
    if (r != 0)
        return r;
    warmup_cancel(warmup);
    if ((r = spawn(warmup, held, mode, max_bytes)) < 0)
        return r;
    progress->mode = (int)mode;
    progress->generation = held->generation.number;
    progress->read_bytes = progress->total_bytes = 0;
    progress->eta_ms = BOARD_UNKNOWN;
    progress->state = WARMUP_RUNNING;
    warmup->began_ms = warmup->logged_ms = warmup->speed_ms = clock_ms();
    warmup->told_ms = warmup->speed_bytes = warmup->bytes_per_s = 0;
    warmup->logged_tenth = 0;
    log_with(LOG_LEVEL_INFO, LOG_OF(warmup->progress->generation), "%s: begins",
             name_of(warmup, name, sizeof name));
    return 0;
}

/* With the same content at the same place the same pages are needed. */
static bool has_same_profile(const struct generation *a, const struct generation *b)
{
    return a->identity == b->identity && a->size_bytes == b->size_bytes &&
           a->root_offset == b->root_offset;
}

bool warmup_begin(struct warmup *warmup, const struct held *held, const struct held *previous)
{
    const struct generation *generation = &held->generation;
    enum warmup_mode mode = (enum warmup_mode)warmup->config->warmup_mode;
    uint64_t max_bytes = 0;
    if (mode == WARMUP_NONE)
        return false;
    if (mode == WARMUP_RESTORE && previous &&
        !has_same_profile(generation, &previous->generation)) {
        mode = WARMUP_TRAVERSE;
        max_bytes = warmup->profile_bytes;
        if (max_bytes == 0) {
            log_with(LOG_LEVEL_INFO, LOG_OF(generation->number),
                     "no warm-up of generation %" PRIu64 ": there is no profile of the one before, "
                     "so how much is to be in memory is not known",
                     generation->number);
            return false;
        }
        log_with(LOG_LEVEL_INFO, LOG_OF(generation->number),
                 "generation %" PRIu64 " is another file than %.400s is about: the top of the "
                 "tree is warmed up instead, with %" PRIu64 " bytes as that has",
                 generation->number, warmup->config->warmup_profile, max_bytes);
    }
    int r = warmup_start(warmup, held, mode, max_bytes);
    if (r == WARMUP_NEEDLESS)
        log_with(LOG_LEVEL_DEBUG, LOG_OF(generation->number),
                 "no warm-up of generation %" PRIu64 ": it is a copy in memory",
                 generation->number);
    else if (r != 0)
        log_event(&event_warmup_failed,
                  LOG_FIELDS(log_field_number("GENERATION", generation->number),
                             log_field_text("REASON", warmup_text(r))),
                  "cannot start the warm-up of generation %" PRIu64 ": %s; serving without it",
                  generation->number, warmup_text(r));
    return r == 0;
}

int warmup_ask(struct warmup *warmup, enum warmup_mode mode)
{
    bool is_running = warmup_is_running(warmup);
    if (mode != WARMUP_NONE)
        return is_running ? WARMUP_BUSY : warmup_start(warmup, warmup->served, mode, 0);
    warmup_cancel(warmup);
    return is_running ? 0 : WARMUP_IDLE;
}

const char *warmup_text(int outcome)
{
    switch (outcome) {
    case 0:
        return "";
    case WARMUP_BUSY:
        return "a warm-up is running already";
    case WARMUP_UNSERVED:
        return "nothing is served yet";
    case WARMUP_NEEDLESS:
        return "what is served is a copy in memory, which needs no warm-up";
    case WARMUP_NO_PROFILE:
        return "there is nothing to restore from: warmup.profile is not set";
    case WARMUP_IDLE:
        return "no warm-up is running";
    case WARMUP_STOPPING:
        return "actd is stopping";
    default:
        return strerror(-outcome);
    }
}

void warmup_cancel(struct warmup *warmup)
{
    char name[96];
    if (!warmup_is_running(warmup))
        return;
    log_with(LOG_LEVEL_INFO, LOG_OF(warmup->progress->generation),
             "%s: ended early, after %.1f MiB", name_of(warmup, name, sizeof name),
             (double)warmup->progress->read_bytes / MIB);
    conclude(warmup, WARMUP_CANCELLED);
}

void warmup_on_profile(struct warmup *warmup, uint64_t bytes)
{
    warmup->profile_bytes = bytes;
}

void warmup_stop(struct warmup *warmup)
{
    if (warmup->is_stopped || !warmup->progress)
        return;
    warmup->is_stopped = true;
    warmup_cancel(warmup);
}
