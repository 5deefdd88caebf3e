/*
 * intake: see intake.h.
 */
#include "daemon/supervisor/intake.h"

#include "base/log.h"
#include "daemon/events.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

/* Files beside client connections, in the supervisor or in a worker: standard streams, loops,
 * generations, control sockets of 256 workers and their replacements at worst a part of it, /proc.
 */
#define RESERVED_FILES  32
#define RETRY_ACCEPT_MS 100

/* Raises the soft limit of open files to the hard one, and fits max_connections below it. */
static uint64_t fit_connections(const struct config *config, const struct sockets *sockets,
                                unsigned n_workers)
{
    struct rlimit limit;
    uint64_t reserved = RESERVED_FILES + 4 * n_workers + sockets->n_places +
                        sockets_n_admin(sockets) * (1 + config->admin_max_connections);
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return config->limits_max_connections;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        getrlimit(RLIMIT_NOFILE, &limit);
    uint64_t room = limit.rlim_cur > reserved ? limit.rlim_cur - reserved : 1;
    if (room >= config->limits_max_connections)
        return config->limits_max_connections;
    log_event(&event_connections_limited, LOG_FIELDS(log_field_number("MAX_CONNECTIONS", room)),
              "%" PRIu64 " connections at most, and not limits.max_connections = %" PRIu64
              ": the limit of open files is %" PRIu64 " (LimitNOFILE=, ulimit -n)",
              room, config->limits_max_connections, (uint64_t)limit.rlim_cur);
    return room;
}

/* Clients can have it come and go as often as they like: hence the pace. */
static void tell_paused(const struct intake *intake, struct log_pace *pace, const char *reason,
                        int error)
{
    uint64_t n;
    if (!log_is_due(pace, &n))
        return;
    log_event(&event_connections_paused,
              LOG_FIELDS(log_field_text("REASON", reason),
                         log_field_number("CONNECTIONS", crew_n_connections(intake->crew)),
                         log_field_number("REPEATED", n), log_field_errno(error)),
              "cannot accept connections now, they wait: %s", reason);
}

static void tell_full(struct intake *intake)
{
    char reason[96];
    snprintf(reason, sizeof reason,
             "%" PRIu64 " are open, as many as limits.max_connections allows",
             intake->max_connections);
    tell_paused(intake, &intake->full_pace, reason, 0);
}

void intake_update(struct intake *intake)
{
    struct board_head *head = intake->head;
    if (head->is_draining)
        return;
    bool is_full = crew_n_connections(intake->crew) >= intake->max_connections;
    if (is_full != head->is_full) {
        head->is_full = is_full; /* workers tell from now on; what they closed before we see here */
        atomic_thread_fence(memory_order_seq_cst);
        is_full = crew_n_connections(intake->crew) >= intake->max_connections;
        if (is_full)
            tell_full(intake);
    }
    bool is_wanted = !is_full && !intake->is_exhausted && crew_n_serving(intake->crew) > 0;
    if (is_wanted == intake->is_accepting)
        return;
    intake->is_accepting = is_wanted;
    if (is_wanted)
        sockets_resume(intake->sockets);
    else
        sockets_pause(intake->sockets);
}

static void on_retry(uv_timer_t *timer)
{
    struct intake *intake = timer->data;
    intake->is_exhausted = false;
    intake_update(intake);
}

static void on_connection(void *context, int fd)
{
    struct intake *intake = context;
    crew_pass(intake->crew, fd);
    /* While draining, what was queued before is still taken. */
    intake_update(intake);
}

static void on_exhausted(void *context, int error)
{
    struct intake *intake = context;
    if (!intake->is_exhausted)
        tell_paused(intake, &intake->exhausted_pace, strerror(-error), error);
    intake->is_exhausted = true;
    intake_update(intake);
    uv_timer_start(&intake->retry, on_retry, RETRY_ACCEPT_MS, 0);
}

void intake_init(struct intake *intake, uv_loop_t *loop)
{
    intake->max_connections =
        fit_connections(intake->config, intake->sockets, intake->crew->n_places);
    intake->sockets->on_connection = on_connection;
    intake->sockets->on_exhausted = on_exhausted;
    intake->sockets->context = intake;
    uv_timer_init(loop, &intake->retry);
    intake->retry.data = intake;
}

void intake_stop(struct intake *intake)
{
    uv_close((uv_handle_t *)&intake->retry, NULL);
}
