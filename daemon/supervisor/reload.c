/*
 * reload: see reload.h.
 *
 * The first round is special only in that there is no old generation: what passes the check is
 * current at once, and workers get it as they do whenever one starts (reload_greet): CONTROL_
 * GENERATION, MAPPED, SWITCH, SWITCHED, and then connections.
 */
#include "daemon/supervisor/reload.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "daemon/events.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static void on_checked(void *context, int fd, const struct generation *generation,
                       const char *text);
static void on_timeout(uv_timer_t *timer);
static void on_path_changed(void *context);
static void begin(struct reload *reload, const char *why);
static bool fall_back(struct reload *reload, const char *text);

static void drop(struct held *held)
{
    fd_closep(&held->fd);
    *held = (struct held){.fd = -1};
}

static void show(struct reload *reload, enum reload_state state)
{
    reload->state = state;
    reload->board->own_head->is_reloading = state != RELOAD_IDLE;
}

static void answer_all(struct reload_request **list, bool is_accepted, const char *text)
{
    for (struct reload_request *request; (request = *list);) {
        *list = request->next;
        request->on_done(request, is_accepted, text);
    }
}

/* The round is over. */
static void finish(struct reload *reload, bool is_accepted, const char *text)
{
    struct board_head *head = reload->board->own_head;
    uv_timer_stop(&reload->timeout);
    show(reload, RELOAD_IDLE);
    if (is_accepted)
        head->n_reloads++;
    else
        head->n_refused++;
    board_text_set(&head->refusal, text);
    answer_all(&reload->asked, is_accepted, text);
    reload->on_done(reload->context, is_accepted, text);
    if (!reload->is_asked_next || reload->is_stopping)
        return;
    reload->is_asked_next = false;
    reload->asked = reload->asked_next;
    reload->asked_next = NULL;
    begin(reload, "asked again");
}

static void refuse(struct reload *reload, const char *text)
{
    char serving[160];
    if (fall_back(reload, text))
        return;
    reload_describe(reload, serving, sizeof serving);
    log_event(reload->current.fd < 0 ? &event_cannot_start : &event_generation_refused,
              LOG_REASON(text, reload->error), "%s; %s", text, serving);
    bool is_warming = reload->state == RELOAD_WARMING;
    if (reload->candidate.fd >= 0)
        crew_say(reload->crew, CONTROL_DISCARD, reload->candidate.generation.number);
    drop(&reload->candidate);
    if (is_warming)
        warmup_cancel(reload->warmup);
    finish(reload, false, text);
}

static const char *held_text(const struct generation *generation)
{
    return generation->hold == GENERATION_COPIED ? ", copied to memory"
           : generation->hold == GENERATION_HUGE ? ", copied to huge pages"
                                                 : "";
}

static void announce(struct reload *reload)
{
    const struct generation *generation = &reload->current.generation;
    reload->announced = generation->number;
    crew_say(reload->crew, CONTROL_ANNOUNCE, generation->number);
    uint64_t took_ms = clock_ms() - reload->began_ms;
    log_event(&event_generation_served,
              LOG_FIELDS(log_field_number("IDENTITY", generation->identity),
                         log_field_number("SIZE_BYTES", generation->size_bytes),
                         log_field_number("DURATION_MS", took_ms)),
              "generation %" PRIu64 " (identity %" PRIu64 "): %s, %" PRIu64
              " bytes%s: all workers serve it, after %" PRIu64 " ms",
              generation->number, generation->identity, reload->board->config->tree_path,
              generation->size_bytes, held_text(generation), took_ms);
    reload->board->own_head->n_refused += reload->path_error[0] != '\0';
    finish(reload, true, reload->path_error);
    reload->path_error[0] = '\0';
}

/* Is every worker as far? Those that are starting come to what is current by themselves, and do not
 * serve before. */
static bool are_all_at(const struct reload *reload, bool is_mapped_enough)
{
    uint64_t number =
        is_mapped_enough ? reload->candidate.generation.number : reload->current.generation.number;
    unsigned n = 0;
    for (unsigned i = 0; i < reload->crew->n_places; i++) {
        const struct process *process = reload->crew->places[i].process;
        if (!process || process->state != PROCESS_SERVING)
            continue;
        n++;
        if ((is_mapped_enough ? process->mapped : process->current) < number)
            return false;
    }
    return n > 0;
}

static void tell_remark(const struct config *config, const struct generation *generation)
{
    bool is_huge_wanted = config->tree_hugepages == TREE_HUGEPAGES_COPY;
    if (generation->remark[0] == '\0')
        return;
    if (is_huge_wanted && generation->hold != GENERATION_HUGE)
        log_event(&event_huge_pages_refused, LOG_REASON(generation->remark, 0), "%s: %s",
                  config->tree_path, generation->remark);
    else
        log_warning("%s: %s", config->tree_path, generation->remark);
}

/* From here on the candidate is what is served, whatever happens to single workers. */
static void make_current(struct reload *reload)
{
    struct board_head *head = reload->board->own_head;
    drop(&reload->current);
    reload->current = reload->candidate;
    reload->candidate = (struct held){.fd = -1};
    head->generation = reload->current.generation;
    head->is_damaged = false;
    board_text_set(&head->damage, "");
    log_set_context(log_field_number("GENERATION", head->generation.number));
    store_keep_generation(reload->store, &reload->current, reload->board->config->tree_path);
    tell_remark(reload->board->config, &head->generation);
    watcher_enable(&reload->watcher, reload->board->config->tree_watch);
    show(reload, RELOAD_SWITCHING);
    warmup_cancel(reload->warmup); /* of what was served before */
}

/* Everybody has mapped it, and nobody answers from it: the time to bring it into memory. False:
 * there is nothing to wait for. */
static bool warm(struct reload *reload)
{
    if (reload->is_warmed)
        return false;
    reload->is_warmed = true;
    uv_timer_stop(&reload->timeout);
    show(reload, RELOAD_WARMING);
    if (!reload->is_asked_next &&
        warmup_begin(reload->warmup, &reload->candidate, &reload->current))
        return true;
    show(reload, RELOAD_MAPPING);
    return false;
}

static void advance(struct reload *reload)
{
    if (reload->is_stopping)
        return;
    if (reload->state == RELOAD_MAPPING && are_all_at(reload, true) && !warm(reload)) {
        uv_timer_stop(&reload->timeout);
        make_current(reload);
        crew_say(reload->crew, CONTROL_SWITCH, reload->current.generation.number);
    }
    if (reload->state == RELOAD_SWITCHING && are_all_at(reload, false)) {
        /* The first one is announced when all that there should be serve it. */
        if (reload->announced > 0 || crew_n_serving(reload->crew) == reload->crew->n_places)
            announce(reload);
    }
}

/* A worker that cannot have what is served is replaced. */
static void hand(struct process *process, const struct held *held)
{
    int r = process_say_generation(process, &held->generation, held->fd);
    if (r == 0)
        return;
    log_with(LOG_LEVEL_ERROR,
             LOG_FIELDS(log_field_number("WORKER", process->number), log_field_errno(r)),
             "worker %u: cannot hand it generation %" PRIu64 ": %s", process->number,
             held->generation.number, strerror(-r));
    process_give_up(process);
}

/* To all. A candidate that not everybody can have is refused. */
static void hand_out(struct reload *reload)
{
    const struct held *held = reload->candidate.fd >= 0 ? &reload->candidate : &reload->current;
    for (struct process *process = reload->crew->processes; process; process = process->next) {
        if (process->state == PROCESS_GONE || process->is_hung)
            continue;
        if (held == &reload->current) {
            hand(process, held);
            continue;
        }
        int r = process_say_generation(process, &held->generation, held->fd);
        if (r < 0) {
            char text[BOARD_TEXT_BYTES];
            snprintf(text, sizeof text, "%.400s: cannot hand it to worker %u: %s",
                     reload->board->config->tree_path, process->number, strerror(-r));
            watcher_again(&reload->watcher);
            refuse(reload, text);
            return;
        }
    }
}

/* The first round, with nothing good at the path. False: there is nothing else either. */
static bool fall_back(struct reload *reload, const char *text)
{
    if (reload->stored.fd < 0)
        return false;
    int r = check_start_held(&reload->check, &reload->stored);
    if (r < 0) {
        log_warning("generation %" PRIu64 " from before the restart cannot be checked: %s",
                    reload->stored.generation.number, strerror(-r));
        return false;
    }
    snprintf(reload->path_error, sizeof reload->path_error, "%s", text);
    reload->is_falling_back = true;
    uv_timer_start(&reload->timeout, on_timeout, reload->board->config->tree_check_timeout_ms, 0);
    return true;
}

static void give_up_stored(struct reload *reload, const char *text)
{
    char path_error[BOARD_TEXT_BYTES];
    memcpy(path_error, reload->path_error, sizeof path_error);
    log_with(LOG_LEVEL_WARNING, LOG_OF(reload->stored.generation.number),
             "generation %" PRIu64 " from before the restart is of no use either: %s",
             reload->stored.generation.number, text);
    store_drop_generation(reload->store);
    drop(&reload->stored);
    reload->is_falling_back = false;
    reload->path_error[0] = '\0';
    refuse(reload, path_error);
}

/* It keeps its number: to clients nothing has happened. */
static void serve_stored(struct reload *reload, int fd, const struct generation *generation)
{
    log_set_context(log_field_number("GENERATION", reload->stored.generation.number));
    log_event(&event_generation_refused, LOG_REASON(reload->path_error, reload->error),
              "%s; generation %" PRIu64 " (identity %" PRIu64 ", %" PRIu64
              " bytes), the last good one from before the restart, is served until a good file "
              "is there",
              reload->path_error, reload->stored.generation.number, generation->identity,
              generation->size_bytes);
    reload->candidate = (struct held){.generation = *generation, .fd = fd};
    reload->candidate.generation.number = reload->last_number = reload->stored.generation.number;
    drop(&reload->stored);
    reload->is_falling_back = false;
    uv_timer_stop(&reload->timeout);
    make_current(reload);
    watcher_enable(&reload->watcher, true);
    hand_out(reload);
}

/* The same file has the same number after a restart; every other one has a higher one. */
static uint64_t next_number(struct reload *reload, const struct generation *generation)
{
    const struct generation *stored = &reload->stored.generation;
    bool is_same = stored->number > 0 && stored->identity == generation->identity;
    if (stored->number > reload->last_number)
        reload->last_number = is_same ? stored->number - 1 : stored->number;
    drop(&reload->stored);
    return ++reload->last_number;
}

static void on_checked(void *context, int fd, const struct generation *generation, const char *text)
{
    struct reload *reload = context;
    if (reload->is_falling_back) {
        if (fd >= 0)
            serve_stored(reload, fd, generation);
        else
            give_up_stored(reload, text);
        return;
    }
    watcher_tried(&reload->watcher, generation);
    if (fd < 0) {
        reload->error = reload->check.error;
        if (generation->inode == 0)
            watcher_again(&reload->watcher);
        refuse(reload, text);
        return;
    }
    reload->candidate = (struct held){.generation = *generation, .fd = fd};
    reload->candidate.generation.number = next_number(reload, generation);
    reload->is_warmed = false;
    bool is_first = reload->current.fd < 0;
    if (is_first) {
        uv_timer_stop(&reload->timeout);
        make_current(reload);
    } else {
        show(reload, RELOAD_MAPPING);
    }
    hand_out(reload);
}

static void on_timeout(uv_timer_t *timer)
{
    struct reload *reload = timer->data;
    char text[BOARD_TEXT_BYTES];
    snprintf(text, sizeof text,
             "%.400s: %s it took longer than tree.check_timeout_ms = %" PRIu64 " allows",
             reload->board->config->tree_path,
             reload->state == RELOAD_CHECKING ? "checking" : "mapping",
             reload->board->config->tree_check_timeout_ms);
    check_cancel(&reload->check);
    if (reload->is_falling_back) {
        give_up_stored(reload, text);
        return;
    }
    reload->error = ETIMEDOUT;
    refuse(reload, text);
}

static void begin(struct reload *reload, const char *why)
{
    const struct config *config = reload->board->config;
    log_debug("%s: looking at %s", why, config->tree_path);
    reload->began_ms = clock_ms();
    reload->error = 0;
    show(reload, RELOAD_CHECKING);
    reload->on_round(reload->context);
    int r = check_start(&reload->check);
    if (r < 0) {
        char text[BOARD_TEXT_BYTES];
        snprintf(text, sizeof text, "%.400s: cannot start a process to check it: %s",
                 config->tree_path, uv_strerror(r));
        reload->error = -r;
        watcher_again(&reload->watcher);
        refuse(reload, text);
        return;
    }
    uv_timer_start(&reload->timeout, on_timeout, config->tree_check_timeout_ms, 0);
}

void reload_ask(struct reload *reload, const char *why, struct reload_request *request)
{
    if (reload->is_stopping) {
        if (request)
            request->on_done(request, false, "actd is stopping");
        return;
    }
    bool is_idle = reload->state == RELOAD_IDLE;
    struct reload_request **list = is_idle ? &reload->asked : &reload->asked_next;
    if (request) {
        request->next = *list;
        *list = request;
    }
    if (is_idle) {
        begin(reload, why);
        return;
    }
    reload->is_asked_next = true;
    if (reload->state == RELOAD_WARMING) {
        log_info("%s: not waiting for the warm-up any more", why);
        warmup_cancel(reload->warmup);
    }
}

static void on_path_changed(void *context)
{
    reload_ask(context, "the path has changed", NULL);
}

void reload_greet(struct reload *reload, struct process *process)
{
    const struct held *current = &reload->current, *candidate = &reload->candidate;
    if (current->fd >= 0)
        hand(process, current);
    if (candidate->fd >= 0)
        hand(process, candidate);
}

void reload_on_warm(struct reload *reload, uint64_t number)
{
    if (reload->state != RELOAD_WARMING || number != reload->candidate.generation.number)
        return;
    show(reload, RELOAD_MAPPING);
    uv_timer_start(&reload->timeout, on_timeout, reload->board->config->tree_check_timeout_ms, 0);
    advance(reload);
}

static void on_mapped(struct reload *reload, struct process *process, uint64_t number)
{
    if (number > process->mapped)
        process->mapped = number;
    if (number == reload->current.generation.number)
        process_say(process, CONTROL_SWITCH, number);
    else if (number != reload->candidate.generation.number)
        process_say(process, CONTROL_DISCARD, number);
    advance(reload);
}

static void on_switched(struct reload *reload, struct process *process, uint64_t number)
{
    process->current = number;
    /* One that was told to switch to what is no longer current comes to that later. */
    if (process->state == PROCESS_STARTING && number == reload->current.generation.number) {
        if (reload->board->head->is_damaged) {
            char text[BOARD_TEXT_BYTES];
            board_text_get(&reload->board->head->damage, text, sizeof text);
            process_say_text(process, CONTROL_DAMAGE, number, text);
        }
        if (reload->announced == number)
            process_say(process, CONTROL_ANNOUNCE, number);
        crew_on_serving(reload->crew, process);
    }
    advance(reload);
}

/* One worker has found it; all of them refuse from now on, and the path is watched for a good file.
 */
static void on_damaged(struct reload *reload, uint64_t number, const char *text)
{
    struct board_head *head = reload->board->own_head;
    if (reload->is_stopping)
        return;
    if (number == reload->candidate.generation.number && reload->candidate.fd >= 0) {
        refuse(reload, text);
        return;
    }
    if (number != reload->current.generation.number || head->is_damaged)
        return;
    board_text_set(&head->damage, text);
    head->is_damaged = true;
    log_event(&event_generation_damaged, LOG_REASON(text, 0),
              "generation %" PRIu64 ": %s: %s; queries are answered with IO_ERROR until a good "
              "file is there. Replace files by rename, never in place",
              number, reload->board->config->tree_path, text);
    crew_say_text(reload->crew, CONTROL_DAMAGE, number, text);
    store_drop_generation(reload->store);
    watcher_spoilt(&reload->watcher);
    watcher_enable(&reload->watcher, true);
    reload->on_damage(reload->context);
}

/* A worker that cannot map what the others serve is replaced; it is the worker that is short of
 * something. A candidate that not everybody can map is refused. */
static void on_unmappable(struct reload *reload, struct process *process, uint64_t number,
                          const char *text)
{
    if (reload->is_stopping)
        return;
    if (number == reload->candidate.generation.number && reload->candidate.fd >= 0) {
        watcher_again(&reload->watcher);
        refuse(reload, text);
    } else if (number == reload->current.generation.number) {
        log_with(LOG_LEVEL_ERROR, LOG_FIELDS(log_field_number("WORKER", process->number)),
                 "worker %u: %s", process->number, text);
        process_give_up(process);
    }
}

void reload_on_message(struct reload *reload, struct process *process,
                       const struct control_message *message)
{
    switch ((enum control_type)message->type) {
    case CONTROL_MAPPED:
        on_mapped(reload, process, message->number);
        break;
    case CONTROL_SWITCHED:
        on_switched(reload, process, message->number);
        break;
    case CONTROL_DAMAGED:
        on_damaged(reload, message->number, message->text);
        break;
    case CONTROL_UNMAPPABLE:
        on_unmappable(reload, process, message->number, message->text);
        break;
    default:
        log_with(LOG_LEVEL_ERROR, LOG_FIELDS(log_field_number("WORKER", process->number)),
                 "worker %u (pid %d) sent something unknown (%" PRIu32 "): killing it",
                 process->number, (int)process->handle.pid, message->type);
        process_give_up(process);
    }
}

void reload_on_gone(struct reload *reload)
{
    advance(reload);
}

void reload_describe(const struct reload *reload, char *text, size_t size)
{
    const struct generation *generation = &reload->current.generation;
    if (reload->current.fd < 0)
        snprintf(text, size, "nothing is served yet");
    else
        snprintf(text, size, "generation %" PRIu64 " (identity %" PRIu64 ", %" PRIu64 " bytes) %s",
                 generation->number, generation->identity, generation->size_bytes,
                 reload->board->head->is_damaged ? "is damaged, and there is no good one"
                                                 : "goes on serving");
}

int reload_init(struct reload *reload, struct crew *crew)
{
    const struct config *config = crew->board->config;
    *reload = (struct reload){.crew = crew, .board = crew->board};
    reload->current.fd = reload->candidate.fd = reload->stored.fd = -1;
    reload->check = (struct check){.helper = {.loop = crew->loop,
                                              .config_fd = crew->config_fd,
                                              .environment = crew->environment},
                                   .path = config->tree_path,
                                   .on_done = on_checked,
                                   .context = reload};
    uv_timer_init(crew->loop, &reload->timeout);
    reload->timeout.data = reload;
    return watcher_start(&reload->watcher, crew->loop, config->tree_path, config->tree_settle_ms,
                         on_path_changed, reload);
}

void reload_stop(struct reload *reload)
{
    if (reload->is_stopping)
        return;
    reload->is_stopping = true;
    check_cancel(&reload->check);
    answer_all(&reload->asked, false, "actd is stopping");
    answer_all(&reload->asked_next, false, "actd is stopping");
    watcher_stop(&reload->watcher);
    uv_close((uv_handle_t *)&reload->timeout, NULL);
}

void reload_deinit(struct reload *reload)
{
    drop(&reload->current);
    drop(&reload->candidate);
    drop(&reload->stored);
}
