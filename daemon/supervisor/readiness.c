/*
 * readiness: see readiness.h.
 */
#include "daemon/supervisor/readiness.h"

#include "base/clock.h"
#include "base/log.h"
#include "daemon/events.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define TICK_MS 1000
/* Between two looks at what is to be told. */
#define TELL_MS 250
/* The manager's limit is moved on so often, to so far ahead. */
#define EXTEND_MS       10000
#define EXTEND_AHEAD_MS 60000
/* Ticks: how often the census is asked for the status alone, when its answer is looked at, and how
 * old (ms) one may be that is told. It takes 14 ms a GiB, in its thread. */
#define CENSUS_TICKS  60
#define CENSUS_OLD_MS 150000

static bool is_awaiting_warmup(const struct readiness *readiness)
{
    return readiness->board->head->is_ready_after_warmup;
}

/* Has the manager been told so? */
static bool is_told_ready(const struct readiness *readiness)
{
    return readiness->is_ready && !is_awaiting_warmup(readiness);
}

/* What the census last found of the served generation, if that is not old. */
static void take_residency(const struct readiness *readiness, struct status *status)
{
    struct census_view view;
    uint64_t size = readiness->reload->current.generation.size_bytes;
    status->resident_percent = status->mapped_percent = UINT_MAX;
    census_get(readiness->census, &view);
    if (view.n == 0 || size == 0)
        return;
    const struct census_generation *found = &view.generations[0];
    if (found->number != readiness->reload->current.generation.number || found->asked_ms == 0 ||
        clock_ms() - found->asked_ms > CENSUS_OLD_MS)
        return;
    uint64_t bytes = found->resident_bytes < size ? found->resident_bytes : size;
    unsigned percent = (unsigned)((double)bytes * 100 / (double)size);
    if (found->source == RESIDENT_MINCORE || found->source == RESIDENT_COPY)
        status->resident_percent = percent;
    else if (found->source == RESIDENT_PAGEMAP)
        status->mapped_percent = percent;
}

static void take_progress(const struct readiness *readiness, struct status *status)
{
    const struct reload *reload = readiness->reload;
    const struct warmup_progress *warmup = &readiness->board->head->warmup;
    if (reload->state == RELOAD_CHECKING) {
        status->round = STATUS_CHECKING;
        status->checked_bytes = reload->check.checked_bytes;
        status->to_check_bytes = reload->check.total_bytes;
    } else if (reload->state == RELOAD_MAPPING || reload->state == RELOAD_SWITCHING) {
        status->round = STATUS_TAKING;
    }
    if (!warmup_is_running(readiness->warmup))
        return;
    status->warming = warmup->generation;
    status->warm_bytes = warmup->read_bytes;
    status->to_warm_bytes = warmup->total_bytes;
    status->eta_ms = warmup->eta_ms;
}

static void format_status(const struct readiness *readiness, char *text, size_t size)
{
    char damage[BOARD_TEXT_BYTES] = "", refusal[BOARD_TEXT_BYTES] = "";
    const struct board_head *head = readiness->board->head;
    const struct held *current = &readiness->reload->current;
    struct status status = {.path = readiness->config->tree_path,
                            .generation = current->fd >= 0 ? current->generation.number : 0,
                            .n_keys = current->generation.n_keys,
                            .n_serving = crew_n_serving(readiness->crew),
                            .n_workers = head->n_workers,
                            .eta_ms = STATUS_UNKNOWN,
                            .damage = damage,
                            .refusal = refusal};
    if (head->is_damaged)
        board_text_get(&head->damage, damage, sizeof damage);
    board_text_get(&head->refusal, refusal, sizeof refusal);
    take_residency(readiness, &status);
    take_progress(readiness, &status);
    status_format(&status, text, size);
}

/* The first generation is mapped, and locked, after it has become what is served. */
static bool is_first_being_mapped(const struct readiness *readiness)
{
    const struct reload *reload = readiness->reload;
    return reload->state == RELOAD_SWITCHING && reload->announced == 0 &&
           clock_ms() - reload->began_ms < readiness->config->tree_check_timeout_ms;
}

/* Is it now doing what may take long, and has a limit of its own? */
static bool is_extending(const struct readiness *readiness)
{
    bool is_busy = readiness->reload->state == RELOAD_CHECKING ||
                   readiness->reload->state == RELOAD_MAPPING || is_first_being_mapped(readiness) ||
                   warmup_is_running(readiness->warmup);
    return is_busy && (!is_told_ready(readiness) || readiness->is_reloading);
}

/* prefix: the lines before it, or "". */
static void say(struct readiness *readiness, const char *prefix)
{
    readiness->looked_ms = clock_ms();
    format_status(readiness, readiness->told, sizeof readiness->told);
    notify_sendf(readiness->notify, "%sSTATUS=%s", prefix, readiness->told);
}

/* The same, and the manager's limit is moved. systemd moves its watchdog's limit along, and a sign
 * of life brings that back. */
static void extend(struct readiness *readiness, const char *prefix)
{
    char lines[160];
    readiness->extended_ms = clock_ms();
    snprintf(lines, sizeof lines, "%sEXTEND_TIMEOUT_USEC=%u\n", prefix, EXTEND_AHEAD_MS * 1000);
    say(readiness, lines);
    notify_alive(readiness->notify);
}

static void look(struct readiness *readiness)
{
    char status[STATUS_BYTES];
    uint64_t now = clock_ms();
    if (readiness->is_stopping)
        return;
    if (is_extending(readiness) &&
        (readiness->extended_ms == 0 || now - readiness->extended_ms >= EXTEND_MS)) {
        extend(readiness, "");
        return;
    }
    readiness->looked_ms = now;
    format_status(readiness, status, sizeof status);
    if (strcmp(status, readiness->told) != 0)
        say(readiness, "");
}

static void on_later(uv_timer_t *timer)
{
    look(timer->data);
}

/* Also what nobody calls us for: how far a check is, and what the census has found. */
static void on_tick(uv_timer_t *timer)
{
    struct readiness *readiness = timer->data;
    if (is_told_ready(readiness) && readiness->n_ticks++ % CENSUS_TICKS == 0)
        census_want(readiness->census);
    look(readiness);
}

/* A start that is quick says nothing before it is ready. */
void readiness_on_change(struct readiness *readiness)
{
    uint64_t passed = clock_ms() - readiness->looked_ms;
    if (!readiness->is_ready || readiness->is_stopping ||
        uv_is_active((uv_handle_t *)&readiness->later))
        return;
    if (passed >= TELL_MS)
        look(readiness);
    else
        uv_timer_start(&readiness->later, on_later, TELL_MS - passed, 0);
}

static void say_ready(struct readiness *readiness)
{
    readiness->n_ticks = 0;
    say(readiness, "READY=1\n");
    log_event(&event_ready,
              LOG_FIELDS(log_field_number("IDENTITY", readiness->board->head->generation.identity),
                         log_field_number("WORKERS", crew_n_serving(readiness->crew))),
              "ready: %s", readiness->told);
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
        extend(readiness, "");
    } else {
        say_ready(readiness);
    }
}

/* The manager takes a round for a reload, whoever has asked for it, and shows it. Its limit for one
 * is that of a start; where it has asked itself, beyond that it would kill the process that waits
 * for us. From 253 on it compares the time with that of its question. */
void readiness_on_round(struct readiness *readiness)
{
    char prefix[96];
    if (!is_told_ready(readiness) || readiness->is_stopping)
        return;
    readiness->is_reloading = true;
    snprintf(prefix, sizeof prefix, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64 "\n", clock_ns() / 1000);
    extend(readiness, prefix);
}

void readiness_on_reload(struct readiness *readiness, bool is_accepted)
{
    if (readiness->is_reloading) {
        readiness->is_reloading = false;
        readiness->n_ticks = 0;
        say(readiness, "READY=1\n");
    } else if (is_accepted && !readiness->is_ready) {
        get_ready(readiness);
    } else if (is_awaiting_warmup(readiness) && !warmup_is_running(readiness->warmup)) {
        end_awaiting(readiness);
    } else {
        readiness_on_change(readiness);
    }
    if (is_accepted && readiness->is_ready)
        allow_saving(readiness);
}

void readiness_on_warm(struct readiness *readiness, uint64_t generation)
{
    if (generation == readiness->reload->current.generation.number)
        allow_saving(readiness);
    if (!is_awaiting_warmup(readiness))
        readiness_on_change(readiness);
    else if (readiness->reload->state != RELOAD_WARMING) /* else a candidate's takes its place */
        end_awaiting(readiness);
}

void readiness_refuse(struct notify *notify, uint64_t within_ms, const char *failure, int error)
{
    static const char begin[] = "cannot start: ";
    char text[1024], code[32] = "";
    if (strncmp(failure, begin, strlen(begin)) == 0)
        failure += strlen(begin);
    snprintf(text, sizeof text, "%s%.900s", begin, failure);
    status_clean(text);
    if (error > 0)
        snprintf(code, sizeof code, "ERRNO=%d\n", error);
    notify_sendf(notify, "STOPPING=1\nEXTEND_TIMEOUT_USEC=%" PRIu64 "\n%sSTATUS=%s",
                 within_ms * 1000, code, text);
    notify_alive(notify);
}

void readiness_on_stop(struct readiness *readiness, uint64_t within_ms, const char *failure,
                       int error)
{
    if (readiness->is_stopping)
        return;
    readiness->is_stopping = true;
    uv_close((uv_handle_t *)&readiness->tick, NULL);
    uv_close((uv_handle_t *)&readiness->later, NULL);
    if (failure) {
        readiness_refuse(readiness->notify, within_ms, failure, error);
        return;
    }
    notify_sendf(readiness->notify,
                 "STOPPING=1\nEXTEND_TIMEOUT_USEC=%" PRIu64
                 "\nSTATUS=stopping: answering what is in flight",
                 within_ms * 1000);
    notify_alive(readiness->notify);
}

void readiness_start(struct readiness *readiness, uv_loop_t *loop)
{
    uv_timer_init(loop, &readiness->tick);
    uv_timer_init(loop, &readiness->later);
    readiness->tick.data = readiness->later.data = readiness;
    uv_timer_start(&readiness->tick, on_tick, TICK_MS, TICK_MS);
}
