/*
 * crew: see crew.h.
 *
 * A worker dies: its control socket ends, crew_on_gone hands its untaken connections to others and
 * starts the next process before this one is reaped. Only who dies without having served waits, so
 * that a worker that cannot start does not take the machine. A worker hangs: the watchdog gives its
 * place to another one and ends it.
 */
#include "daemon/supervisor/crew.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "daemon/events.h"
#include "daemon/supervisor/reload.h"
#include "daemon/usage.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

extern char **environ;

/* Between a death without service and the next start: doubled with each one in a row. */
#define RESTART_MIN_MS 50
#define RESTART_MAX_MS 5000
/* Where no slot of the board is free, because those that were given up are not gone yet. */
#define RESTART_SLOT_MS 100
/* A connection that a worker has not taken for so long goes to somebody else if it can. */
#define SLUGGISH_MS 100
/* Rounds of the watchdog in daemon.heartbeat_timeout_ms. */
#define WATCHDOG_ROUNDS 5

static void on_restart(uv_timer_t *timer);

static void change(struct crew *crew)
{
    crew->board->own_head->n_serving = crew_n_serving(crew);
    crew->on_change(crew->context);
}

static int free_slot(const struct crew *crew)
{
    for (unsigned i = 0; i < crew->board->head->n_slots; i++) {
        bool is_used = false;
        for (const struct process *p = crew->processes; p; p = p->next)
            is_used |= p->slot == i && !(p->state == PROCESS_GONE && p->has_exited);
        if (!is_used)
            return (int)i;
    }
    return -1;
}

static void restart_later(struct place *place, uint64_t delay_ms)
{
    uv_timer_start(&place->restart, on_restart, delay_ms, 0);
}

static int fill_place(struct crew *crew, unsigned number)
{
    struct place *place = &crew->places[number];
    struct process *process;
    int slot = free_slot(crew);
    if (slot < 0) {
        restart_later(place, RESTART_SLOT_MS);
        return 0;
    }
    board_take(crew->board, (unsigned)slot, number);
    int r = process_start(crew, number, (unsigned)slot, &process);
    if (r < 0) {
        log_with(LOG_LEVEL_ERROR,
                 LOG_FIELDS(log_field_number("WORKER", number), log_field_errno(r)),
                 "worker %u: cannot start a process: %s", number, uv_strerror(r));
        return r;
    }
    crew->board->own_slots[slot].pid = process->handle.pid;
    process->next = crew->processes;
    crew->processes = process;
    place->process = process;
    if ((uint64_t)log_get_level() != crew->board->config->log_level)
        process_say(process, CONTROL_LOG_LEVEL, (uint64_t)log_get_level());
    reload_greet(crew->reload, process);
    return 0;
}

static uint64_t delay_of(const struct place *place)
{
    unsigned shift = place->n_failures < 10 ? place->n_failures : 10;
    uint64_t delay = ((uint64_t)RESTART_MIN_MS << shift) / 2;
    return delay < RESTART_MAX_MS ? delay : RESTART_MAX_MS;
}

static void on_restart(uv_timer_t *timer)
{
    struct place *place = timer->data;
    unsigned number = (unsigned)(place - place->crew->places);
    if (fill_place(place->crew, number) < 0) {
        place->crew->board->own_head->restarts.failed++;
        place->n_failures++;
        restart_later(place, delay_of(place));
    }
}

/* Another process for the place, at once or later. */
static void replace(struct crew *crew, struct process *process, bool has_served)
{
    struct place *place = &crew->places[process->number];
    if (place->process != process)
        return;
    place->process = NULL;
    place->n_failures = has_served ? 0 : place->n_failures + 1;
    if (crew->is_draining)
        return;
    if (place->n_failures == 0)
        on_restart(&place->restart);
    else
        restart_later(place, delay_of(place));
}

/* The one with the fewest connections; who has been slow to take one only if all are. */
static struct process *choose(const struct crew *crew)
{
    struct process *best = NULL;
    uint64_t best_load = 0, now = clock_ms();
    bool is_best_slow = false;
    for (unsigned i = 0; i < crew->n_places; i++) {
        struct process *process = crew->places[i].process;
        if (!process || process->state != PROCESS_SERVING)
            continue;
        uint64_t load = process_load(process);
        bool is_slow =
            process->waiting_since_ms != 0 && now - process->waiting_since_ms >= SLUGGISH_MS;
        if (best && (is_slow > is_best_slow || (is_slow == is_best_slow && load >= best_load)))
            continue;
        best = process;
        best_load = load;
        is_best_slow = is_slow;
    }
    return best;
}

static void pass_orphans(struct crew *crew)
{
    struct outgoing *orphan;
    struct process *process;
    while ((orphan = crew->orphans.first) && (process = choose(crew))) {
        crew->orphans.first = orphan->next;
        process_pass(process, orphan->fd);
        free(orphan);
    }
}

void crew_pass(struct crew *crew, int fd)
{
    uint64_t n;
    struct process *process = choose(crew);
    if (process) {
        process_pass(process, fd);
        return;
    }
    struct outgoing *orphan = malloc(sizeof *orphan);
    if (!orphan) {
        if (log_is_due(&crew->dropped_pace, &n))
            log_with(LOG_LEVEL_WARNING, LOG_FIELDS(log_field_number("REPEATED", n)),
                     "a connection was dropped: out of memory");
        close(fd);
        return;
    }
    *orphan = (struct outgoing){.type = CONTROL_CONNECTION, .fd = fd};
    if (crew->orphans.first)
        crew->orphans.last->next = orphan;
    else
        crew->orphans.first = orphan;
    crew->orphans.last = orphan;
}

static void drop_orphans(struct crew *crew)
{
    uint64_t n = 0;
    for (struct outgoing *orphan; (orphan = crew->orphans.first); n++) {
        crew->orphans.first = orphan->next;
        close(orphan->fd);
        free(orphan);
    }
    if (n > 0)
        log_warning("%" PRIu64 " connections were dropped: no worker is left to serve them", n);
}

/* The last that the kernel knows of them: a heartbeat may be some time ago. */
static void note_faults(struct crew *crew, const struct process *process)
{
    struct board_page *page =
        (struct board_page *)(uintptr_t)board_page(crew->board, process->slot);
    uint64_t minor, major;
    if (!usage_read_faults(process->handle.pid, &minor, &major))
        return;
    page->minor_faults = minor;
    page->major_faults = major;
}

/* Or could have, for long enough that what has killed it is no fault of its start. */
static bool has_served(const struct crew *crew, const struct process *process,
                       enum process_state before)
{
    uint64_t age_ms = clock_ms() - crew->board->slots[process->slot].started_ms;
    return board_page(crew->board, process->slot)->stats.connections_accepted > 0 ||
           (before == PROCESS_SERVING && age_ms >= RESTART_MAX_MS);
}

static bool is_anybody_left(const struct crew *crew)
{
    for (const struct process *process = crew->processes; process; process = process->next)
        if (!process->has_exited)
            return true;
    return false;
}

void crew_on_gone(struct crew *crew, struct process *process, enum process_state before)
{
    int fd;
    bool served = has_served(crew, process, before);
    note_faults(crew, process);
    board_retire(crew->board, process->slot);
    replace(crew, process, served);
    while ((fd = process_take_back(process)) >= 0)
        crew_pass(crew, fd);
    if (before == PROCESS_STARTING && !crew->is_draining)
        crew->on_never_served(crew->context);
    reload_on_gone(crew->reload);
    change(crew);
}

static void log_exit(const struct crew *crew, const struct process *process)
{
    char reason[96];
    int number = process->exit_signal;
    if (crew->is_draining && number == 0 && process->exit_status == 0)
        return;
    if (number != 0)
        snprintf(reason, sizeof reason, "was ended by signal %d (%s)", number, strsignal(number));
    else
        snprintf(reason, sizeof reason, "ended with status %d", (int)process->exit_status);
    log_event(&event_worker_ended,
              LOG_FIELDS(log_field_number("WORKER", process->number),
                         log_field_number("WORKER_PID", (uint64_t)process->handle.pid),
                         log_field_text("REASON", reason)),
              "worker %u (pid %d)%s %s; %s", process->number, (int)process->handle.pid,
              process->is_hung ? " hung and" : "", reason,
              crew->is_draining ? "stopping" : "it is replaced");
}

void crew_on_exit(struct crew *crew, struct process *process)
{
    struct board_restarts *restarts = &crew->board->own_head->restarts;
    log_exit(crew, process);
    if (crew->is_draining) {
        if (!is_anybody_left(crew))
            crew->on_empty(crew->context);
        return;
    }
    if (process->is_hung)
        restarts->hung++;
    else if (process->is_unfit)
        restarts->failed++;
    else if (process->exit_signal != 0)
        restarts->killed++;
    else
        restarts->exited++;
}

void crew_forget(struct crew *crew, struct process *process)
{
    for (struct process **at = &crew->processes; *at; at = &(*at)->next) {
        if (*at == process) {
            *at = process->next;
            return;
        }
    }
}

void crew_on_serving(struct crew *crew, struct process *process)
{
    process->state = PROCESS_SERVING;
    pass_orphans(crew);
    change(crew);
}

void crew_on_message(struct crew *crew, struct process *process,
                     const struct control_message *message)
{
    if (message->type == CONTROL_ROOM)
        change(crew);
    else
        reload_on_message(crew->reload, process, message);
}

static void tell_hung(const struct process *process, uint64_t silent_ms)
{
    log_event(&event_worker_hung,
              LOG_FIELDS(log_field_number("WORKER", process->number),
                         log_field_number("WORKER_PID", (uint64_t)process->handle.pid),
                         log_field_number("SILENT_MS", silent_ms)),
              "worker %u (pid %d) has given no sign of life for %" PRIu64
              " ms (daemon.heartbeat_timeout_ms): aborting it",
              process->number, (int)process->handle.pid, silent_ms);
}

/* We may have been stopped ourselves, or the whole machine: then nobody is late but we. */
static void on_watchdog(uv_timer_t *timer)
{
    struct crew *crew = timer->data;
    uint64_t now = clock_ms(), timeout = crew->board->config->daemon_heartbeat_timeout_ms;
    bool is_late = now - crew->watched_ms > 2 * timeout / WATCHDOG_ROUNDS;
    crew->watched_ms = now;
    for (struct process *process = crew->processes; process; process = process->next) {
        if (is_late)
            process->heard_ms = now;
        if (process->state == PROCESS_GONE || process->is_hung || now - process->heard_ms < timeout)
            continue;
        tell_hung(process, now - process->heard_ms);
        process_abort(process);
        int fd;
        replace(crew, process, true);
        while ((fd = process_take_back(process)) >= 0)
            crew_pass(crew, fd);
        change(crew);
    }
}

/* Ours, without what is for the supervisor alone. */
static char **worker_environment(void)
{
    static const char *const dropped[] = {"NOTIFY_SOCKET=", "WATCHDOG_", "LISTEN_"};
    size_t n = 0, to = 0;
    while (environ[n])
        n++;
    char **result = calloc(n + 1, sizeof *result);
    for (size_t i = 0; result && i < n; i++) {
        bool is_dropped = false;
        for (size_t j = 0; j < sizeof dropped / sizeof *dropped; j++)
            is_dropped |= strncmp(environ[i], dropped[j], strlen(dropped[j])) == 0;
        if (!is_dropped)
            result[to++] = environ[i];
    }
    return result;
}

int crew_init(struct crew *crew, uv_loop_t *loop, struct board *board, int board_fd)
{
    unsigned n = board->head->n_workers;
    *crew = (struct crew){.loop = loop, .board = board, .board_fd = board_fd, .n_places = n};
    crew->config_fd = config_share(board->config);
    if (crew->config_fd < 0)
        return crew->config_fd;
    crew->environment = worker_environment();
    crew->places = calloc(n, sizeof *crew->places);
    if (!crew->environment || !crew->places)
        return -ENOMEM;
    for (unsigned i = 0; i < n; i++) {
        crew->places[i].crew = crew;
        crew->places[i].restart.data = &crew->places[i];
        uv_timer_init(loop, &crew->places[i].restart);
    }
    uv_timer_init(loop, &crew->watchdog);
    crew->watchdog.data = crew;
    return 0;
}

int crew_start(struct crew *crew)
{
    uint64_t interval = crew->board->config->daemon_heartbeat_timeout_ms / WATCHDOG_ROUNDS;
    crew->watched_ms = clock_ms();
    uv_timer_start(&crew->watchdog, on_watchdog, interval, interval);
    for (unsigned i = 0; i < crew->n_places; i++) {
        int r = fill_place(crew, i);
        if (r < 0)
            return r;
    }
    return 0;
}

void crew_drain(struct crew *crew)
{
    crew->is_draining = true;
    for (unsigned i = 0; i < crew->n_places; i++)
        uv_timer_stop(&crew->places[i].restart);
    for (struct process *process = crew->processes; process; process = process->next)
        process->is_draining = true;
    crew_say(crew, CONTROL_DRAIN, 0);
    if (!is_anybody_left(crew))
        crew->on_empty(crew->context);
}

void crew_cut(struct crew *crew)
{
    crew_say(crew, CONTROL_CUT, 0);
}

void crew_kill(struct crew *crew)
{
    for (struct process *process = crew->processes; process; process = process->next)
        process_kill(process);
}

void crew_close(struct crew *crew)
{
    if (crew->is_closed)
        return;
    crew->is_closed = true;
    drop_orphans(crew);
    uv_close((uv_handle_t *)&crew->watchdog, NULL);
    for (unsigned i = 0; i < crew->n_places; i++)
        uv_close((uv_handle_t *)&crew->places[i].restart, NULL);
}

void crew_deinit(struct crew *crew)
{
    fd_closep(&crew->board_fd);
    fd_closep(&crew->config_fd);
    free(crew->environment);
    free(crew->places);
}

unsigned crew_n_serving(const struct crew *crew)
{
    unsigned n = 0;
    for (unsigned i = 0; i < crew->n_places; i++) {
        const struct process *process = crew->places[i].process;
        n += process && process->state == PROCESS_SERVING;
    }
    return n;
}

uint64_t crew_n_connections(const struct crew *crew)
{
    uint64_t n = 0;
    for (const struct process *process = crew->processes; process; process = process->next)
        if (process->state != PROCESS_GONE)
            n += process_load(process);
    return n;
}

void crew_set_log_level(struct crew *crew, enum log_level level)
{
    log_set_level(level);
    crew_say(crew, CONTROL_LOG_LEVEL, (uint64_t)level);
}

void crew_say(struct crew *crew, enum control_type type, uint64_t number)
{
    for (struct process *process = crew->processes; process; process = process->next)
        if (process->state != PROCESS_GONE && !process->is_hung)
            process_say(process, type, number);
}

void crew_say_text(struct crew *crew, enum control_type type, uint64_t number, const char *text)
{
    for (struct process *process = crew->processes; process; process = process->next)
        if (process->state != PROCESS_GONE && !process->is_hung)
            process_say_text(process, type, number, text);
}
