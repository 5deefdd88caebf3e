/*
 * supervisor: see supervisor.h.
 *
 * Start: the workers are started and the file is checked; once it is good the sockets are bound,
 * and connections are accepted as soon as one worker serves. Ready is said when all do; with a
 * warm-up, before it or after it. Whatever fails on the way is logged with its remedy, and the
 * process ends with status 1.
 *
 * Stop: on SIGTERM or SIGINT the listeners are closed after what was queued is passed on; every
 * worker answers what has arrived on its connections and ends. After half of drain_timeout_ms they
 * answer with DRAINING, after all of it, or on a second signal, they cut connections. Who still
 * lives a moment later is killed. What is in memory is saved for the last time meanwhile; where
 * only the workers' mappings tell it, they begin to drain when it has been looked at.
 */
#include "daemon/supervisor/supervisor.h"

#include "base/clock.h"
#include "base/log.h"
#include "daemon/admin/access.h"
#include "daemon/admin/admin.h"
#include "daemon/events.h"
#include "daemon/stats.h"
#include "daemon/supervisor/census.h"
#include "daemon/supervisor/crew.h"
#include "daemon/supervisor/inherited.h"
#include "daemon/supervisor/intake.h"
#include "daemon/supervisor/notify.h"
#include "daemon/supervisor/readiness.h"
#include "daemon/supervisor/reload.h"
#include "daemon/supervisor/sampler.h"
#include "daemon/supervisor/sockets.h"
#include "daemon/supervisor/store.h"
#include "daemon/supervisor/verify.h"
#include "daemon/supervisor/warmup.h"

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

/* What workers get beyond their drain's time before they are killed, and what the rest of the end
 * may take then. */
#define KILL_AFTER_MS 1500
#define END_AFTER_MS  3000
/* What the end's waiting for threads may take, for the service manager. */
#define BUSY_MS 60000
/* How long workers stay as they are for the last look at what they have mapped. */
#define LOOK_MS   2000
#define N_SIGNALS 4

struct supervisor {
    const struct config *config;
    uv_loop_t loop;
    struct board board;
    struct crew crew;
    struct reload reload;
    struct warmup warmup;
    struct verify verify;
    struct sampler sampler;
    struct census census;
    struct readiness readiness;
    struct notify notify;
    unsigned n_sampled;         /* workers that served when the sampler was last asked */
    struct inherited inherited; /* from the service manager, until the sockets are open */
    struct store store;
    struct sockets sockets;
    struct intake intake;
    struct access access;
    struct admin_sources sources;
    uv_signal_t signals[N_SIGNALS];
    uv_timer_t drain;   /* the drain's time, and a little; then the rest of the end */
    bool is_open;       /* the sockets are bound */
    char failure[1024]; /* of the start, or "" */
    int failure_error;  /* its errno; 0: it has none */
    bool is_failed;     /* the start: exit status 1 */
    bool is_crew_draining;
    bool is_closed;
    bool is_stuck; /* a thread does not end, and uses what it was lent */
};

/* One for each CPU that we may use, unless it is said. */
static unsigned count_workers(const struct config *config)
{
    cpu_set_t set;
    if (config->daemon_workers > 0)
        return (unsigned)config->daemon_workers;
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return n < CONFIG_MAX_WORKERS ? (unsigned)n : CONFIG_MAX_WORKERS;
}

/* Closing the handles gives the signals their default action back: one that comes on the last steps
 * would kill a process that has stopped well. */
static void block_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, NULL);
}

/* Somebody hangs in the kernel, where no signal reaches it; we do not wait for it. */
static void on_end(uv_timer_t *timer)
{
    log_error("a process that was killed does not end: not waiting for it");
    uv_stop(timer->loop);
}

/* After the workers: everything else; the loop then ends. */
static void close_handles(struct supervisor *supervisor)
{
    if (supervisor->is_closed)
        return;
    supervisor->is_closed = true;
    block_signals();
    /* For the threads: the last save takes as long as it comes on. */
    notify_busy(&supervisor->notify, BUSY_MS);
    sockets_close_admin(&supervisor->sockets);
    sampler_stop(&supervisor->sampler);
    supervisor->is_stuck = !census_stop(&supervisor->census);
    reload_stop(&supervisor->reload);
    crew_close(&supervisor->crew);
    for (unsigned i = 0; i < N_SIGNALS; i++)
        uv_close((uv_handle_t *)&supervisor->signals[i], NULL);
    intake_stop(&supervisor->intake);
    uv_timer_start(&supervisor->drain, on_end, END_AFTER_MS, 0);
    uv_unref((uv_handle_t *)&supervisor->drain);
}

static void on_crew_stuck(uv_timer_t *timer)
{
    log_error("a worker that was killed does not end: not waiting for it");
    close_handles(timer->data);
}

static void on_drain_end(uv_timer_t *timer)
{
    struct supervisor *supervisor = timer->data;
    log_warning("workers that do not end are killed");
    crew_kill(&supervisor->crew);
    uv_timer_start(timer, on_crew_stuck, END_AFTER_MS, 0);
}

static void on_crew_empty(void *context)
{
    close_handles(context);
}

/* Also where the census has not yet looked at the workers. */
static void drain_crew(struct supervisor *supervisor)
{
    if (supervisor->is_crew_draining)
        return;
    supervisor->is_crew_draining = true;
    census_too_late(&supervisor->census);
    uv_timer_start(&supervisor->drain, on_drain_end,
                   supervisor->config->limits_drain_timeout_ms + KILL_AFTER_MS, 0);
    crew_drain(&supervisor->crew);
}

static void on_looked(void *context)
{
    drain_crew(context);
}

static void on_look_end(uv_timer_t *timer)
{
    drain_crew(timer->data);
}

/* From the begin of the stop to the end of the process, at most. */
static uint64_t end_within_ms(const struct supervisor *supervisor)
{
    return LOOK_MS + supervisor->config->limits_drain_timeout_ms + KILL_AFTER_MS + 3 * END_AFTER_MS;
}

static void drain(struct supervisor *supervisor)
{
    struct board_head *head = supervisor->board.own_head;
    if (head->is_draining)
        return;
    readiness_on_stop(&supervisor->readiness, end_within_ms(supervisor),
                      supervisor->is_failed ? supervisor->failure : NULL,
                      supervisor->failure_error);
    head->is_draining = true;
    bool is_looking = census_begin_last(&supervisor->census); /* it asks whether a warm-up runs */
    warmup_stop(&supervisor->warmup);
    verify_stop(&supervisor->verify);
    reload_stop(&supervisor->reload);
    sockets_close_listeners(&supervisor->sockets);
    if (is_looking)
        uv_timer_start(&supervisor->drain, on_look_end, LOOK_MS, 0);
    else
        drain_crew(supervisor);
}

/* error: errno, or 0: it has none. The log has been told why. */
static void end_failed(struct supervisor *supervisor, const char *why, int error)
{
    if (supervisor->is_failed)
        return;
    snprintf(supervisor->failure, sizeof supervisor->failure, "%s", why);
    supervisor->failure_error = error;
    supervisor->is_failed = true;
    drain(supervisor);
}

static void fail(struct supervisor *supervisor, const char *why, int error)
{
    if (!supervisor->is_failed)
        log_event(&event_cannot_start, LOG_REASON(why, error), "cannot start: %s", why);
    end_failed(supervisor, why, error);
}

static void log_statistics(const struct supervisor *supervisor)
{
    struct stats_report report;
    uint64_t n_requests = 0, n_errors = 0;
    stats_collect(&supervisor->board, &report);
    for (size_t i = 0; i < N_METHODS; i++) {
        n_requests += report.method[i].requests;
        n_errors += report.method[i].errors;
        if (report.method[i].requests > 0)
            log_with(LOG_LEVEL_INFO, LOG_FIELDS(log_field_text("METHOD", method_names[i])),
                     "statistics: %s: %" PRIu64 " requests, %" PRIu64 " errors, %" PRIu64
                     " hits, %" PRIu64 " misses",
                     method_names[i], report.method[i].requests, report.method[i].errors,
                     report.method[i].hits, report.method[i].misses);
    }
    for (size_t i = 0; i < N_STATS; i++)
        if (report.values[i] != STAT_UNKNOWN)
            log_info("statistics: %s.%s: %" PRIu64, stat_rows[i].group, stat_rows[i].name,
                     report.values[i]);
    log_info("statistics: %" PRIu64 " requests, %" PRIu64 " errors, generation %" PRIu64,
             n_requests, n_errors, supervisor->board.head->generation.number);
}

static void on_signal(uv_signal_t *handle, int signal)
{
    struct supervisor *supervisor = handle->data;
    switch (signal) {
    case SIGHUP:
        reload_ask(&supervisor->reload, "SIGHUP", NULL);
        break;
    case SIGUSR1:
        log_statistics(supervisor);
        break;
    default:
        if (supervisor->board.head->is_draining) {
            block_signals(); /* there is nothing more that they could ask for */
            drain_crew(supervisor);
            crew_cut(&supervisor->crew);
            break;
        }
        const char *name = signal == SIGTERM ? "SIGTERM" : "SIGINT";
        log_event(&event_stopping, LOG_FIELDS(log_field_text("SIGNAL", name)), "%s: stopping",
                  name);
        drain(supervisor);
    }
}

static void on_warm_progress(void *context)
{
    struct supervisor *supervisor = context;
    readiness_on_change(&supervisor->readiness);
}

static void on_warm(void *context, uint64_t generation)
{
    struct supervisor *supervisor = context;
    reload_on_warm(&supervisor->reload, generation);
    readiness_on_warm(&supervisor->readiness, generation);
}

static void on_saved(void *context, uint64_t pages)
{
    struct supervisor *supervisor = context;
    warmup_on_profile(&supervisor->warmup, pages * ACT_PAGE_BYTES);
}

/* What the path came to; the first time it decides whether there is anything to serve. */
static void on_reload_done(void *context, bool is_accepted, const char *text)
{
    struct supervisor *supervisor = context;
    if (supervisor->board.head->is_draining)
        return;
    census_update(&supervisor->census);
    if (is_accepted)
        sampler_generation(&supervisor->sampler, &supervisor->board.head->generation);
    if (!is_accepted && supervisor->reload.current.fd < 0)
        end_failed(supervisor, text, supervisor->reload.error);
    else
        readiness_on_reload(&supervisor->readiness, is_accepted);
}

static void on_damage(void *context)
{
    struct supervisor *supervisor = context;
    readiness_on_change(&supervisor->readiness);
}

static void on_round(void *context)
{
    struct supervisor *supervisor = context;
    readiness_on_round(&supervisor->readiness);
}

static void on_crew_change(void *context)
{
    struct supervisor *supervisor = context;
    unsigned n_serving = crew_n_serving(&supervisor->crew);
    if (supervisor->board.head->is_draining)
        return;
    if (n_serving != supervisor->n_sampled) {
        supervisor->n_sampled = n_serving;
        sampler_ask(&supervisor->sampler);
        readiness_on_change(&supervisor->readiness);
    }
    if (!supervisor->is_open && supervisor->reload.current.fd >= 0) {
        supervisor->is_open = true;
        char error[1024];
        int r = sockets_open(&supervisor->sockets, &supervisor->loop, &supervisor->inherited,
                             &supervisor->sources, error, sizeof error);
        if (r < 0) {
            fail(supervisor, error, -r);
            return;
        }
    }
    intake_update(&supervisor->intake);
}

static void on_never_served(void *context)
{
    struct supervisor *supervisor = context;
    if (supervisor->readiness.is_ready)
        return;
    fail(supervisor, "a worker ended before it served: its own line in the log tells why", 0);
}

static void init_handles(struct supervisor *supervisor)
{
    static const int numbers[N_SIGNALS] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1};
    uv_timer_init(&supervisor->loop, &supervisor->drain);
    supervisor->drain.data = supervisor;
    for (unsigned i = 0; i < N_SIGNALS; i++) {
        uv_signal_init(&supervisor->loop, &supervisor->signals[i]);
        supervisor->signals[i].data = supervisor;
        uv_signal_start(&supervisor->signals[i], on_signal, numbers[i]);
    }
}

static struct helper helper_for(struct supervisor *supervisor)
{
    return (struct helper){.loop = &supervisor->loop,
                           .environment = supervisor->crew.environment,
                           .config_fd = supervisor->crew.config_fd};
}

static void init_sources(struct supervisor *supervisor)
{
    supervisor->sources = (struct admin_sources){.config = supervisor->config,
                                                 .board = &supervisor->board,
                                                 .access = &supervisor->access,
                                                 .reload = &supervisor->reload,
                                                 .crew = &supervisor->crew,
                                                 .census = &supervisor->census,
                                                 .warmup = &supervisor->warmup,
                                                 .verify = &supervisor->verify};
}

static void init_readiness(struct supervisor *supervisor)
{
    supervisor->readiness = (struct readiness){.config = supervisor->config,
                                               .board = &supervisor->board,
                                               .crew = &supervisor->crew,
                                               .reload = &supervisor->reload,
                                               .warmup = &supervisor->warmup,
                                               .census = &supervisor->census,
                                               .notify = &supervisor->notify};
    readiness_start(&supervisor->readiness, &supervisor->loop);
}

static void init_intake(struct supervisor *supervisor)
{
    supervisor->intake = (struct intake){.config = supervisor->config,
                                         .head = supervisor->board.own_head,
                                         .crew = &supervisor->crew,
                                         .sockets = &supervisor->sockets};
    intake_init(&supervisor->intake, &supervisor->loop);
}

static void init_warmup(struct supervisor *supervisor)
{
    supervisor->warmup = (struct warmup){
        .helper = helper_for(supervisor),
        .config = supervisor->config,
        .progress = &supervisor->board.own_head->warmup,
        .served = &supervisor->reload.current,
        .on_progress = on_warm_progress,
        .on_end = on_warm,
        .context = supervisor,
    };
    warmup_init(&supervisor->warmup);
    supervisor->reload.warmup = &supervisor->warmup;
}

static void init_verify(struct supervisor *supervisor)
{
    supervisor->verify = (struct verify){
        .helper = helper_for(supervisor),
        .config = supervisor->config,
        .progress = &supervisor->board.own_head->verify,
        .served = &supervisor->reload.current,
    };
    verify_init(&supervisor->verify);
}

/* The workers start while the file is checked. */
static int start(struct supervisor *supervisor)
{
    int board_fd = -1;
    const struct config *config = supervisor->config;
    int r = board_create(&supervisor->board, config, count_workers(config), &board_fd);
    if (r < 0 ||
        (r = crew_init(&supervisor->crew, &supervisor->loop, &supervisor->board, board_fd)) < 0)
        return r;
    supervisor->crew.reload = &supervisor->reload;
    supervisor->crew.on_change = on_crew_change;
    supervisor->crew.on_never_served = on_never_served;
    supervisor->crew.on_empty = on_crew_empty;
    supervisor->crew.context = supervisor;
    if ((r = reload_init(&supervisor->reload, &supervisor->crew)) < 0)
        return r;
    store_take_generation(&supervisor->store, &supervisor->inherited, config->tree_path,
                          &supervisor->reload.stored);
    supervisor->reload.store = &supervisor->store;
    supervisor->reload.on_round = on_round;
    supervisor->reload.on_done = on_reload_done;
    supervisor->reload.on_damage = on_damage;
    supervisor->reload.context = supervisor;
    init_sources(supervisor);
    init_readiness(supervisor);
    init_warmup(supervisor);
    init_verify(supervisor);
    init_intake(supervisor);
    init_handles(supervisor);
    r = sampler_start(&supervisor->sampler, &supervisor->board);
    if (r < 0) /* what it tells is unknown then */
        log_with(LOG_LEVEL_WARNING, LOG_ERRNO(r),
                 "cannot look at what the workers hold in memory: %s", strerror(-r));
    supervisor->census.on_looked = on_looked;
    supervisor->census.on_saved = on_saved;
    supervisor->census.context = supervisor;
    r = census_start(&supervisor->census, &supervisor->loop, &supervisor->board,
                     &supervisor->reload);
    if (r < 0) /* it tells nothing, and saves nothing then */
        log_with(LOG_LEVEL_WARNING, LOG_ERRNO(r), "cannot look at which pages are in memory: %s",
                 strerror(-r));
    r = crew_start(&supervisor->crew);
    if (r < 0) {
        char why[128];
        snprintf(why, sizeof why, "no process for a worker: %s", uv_strerror(r));
        fail(supervisor, why, -r);
    } else {
        reload_ask(&supervisor->reload, "start", NULL);
    }
    return 0;
}

static void deinit(struct supervisor *supervisor)
{
    /* It has watched over the end; the loop frees what it owns only when no handle is open. */
    uv_close((uv_handle_t *)&supervisor->drain, NULL);
    notify_end(&supervisor->notify);
    uv_run(&supervisor->loop, UV_RUN_NOWAIT);
    sockets_deinit(&supervisor->sockets);
    inherited_deinit(&supervisor->inherited);
    store_deinit(&supervisor->store);
    reload_deinit(&supervisor->reload);
    crew_deinit(&supervisor->crew);
    uv_loop_close(&supervisor->loop);
    board_detach(&supervisor->board);
}

/* The loop has not run, so there is nothing yet that would have to be ended. */
static int refuse_to_start(struct supervisor *supervisor, const char *why, int error)
{
    log_event(&event_cannot_start, LOG_REASON(why, error), "cannot start: %s", why);
    readiness_refuse(&supervisor->notify, END_AFTER_MS, why, error);
    notify_end(&supervisor->notify);
    sockets_deinit(&supervisor->sockets);
    inherited_deinit(&supervisor->inherited);
    free(supervisor);
    return EXIT_FAILURE;
}

/* What has to be right before anything is started. 0, or -errno with a line for people. */
static int prepare(struct supervisor *supervisor, const struct config *config, char *error,
                   size_t size)
{
    int r = inherited_take(&supervisor->inherited, error, size);
    notify_init(&supervisor->notify);
    store_init(&supervisor->store, &supervisor->notify);
    if (r < 0 || (r = access_init(&supervisor->access, config, error, size)) < 0)
        return r;
    r = sockets_init(&supervisor->sockets, config, &supervisor->inherited, &supervisor->store);
    if (r < 0 || (r = uv_loop_init(&supervisor->loop)) < 0)
        snprintf(error, size, "%s", uv_strerror(r));
    supervisor->config = config;
    return r;
}

int supervisor_run(const struct config *config)
{
    char error[1024];
    struct supervisor *supervisor = calloc(1, sizeof *supervisor);
    if (!supervisor) {
        log_event(&event_cannot_start, LOG_REASON("out of memory", ENOMEM),
                  "cannot start: out of memory");
        return EXIT_FAILURE;
    }
    int r = prepare(supervisor, config, error, sizeof error);
    if (r < 0)
        return refuse_to_start(supervisor, error, -r);
    notify_start(&supervisor->notify, &supervisor->loop);
    signal(SIGPIPE, SIG_IGN);
    r = start(supervisor);
    if (r < 0)
        return refuse_to_start(supervisor, strerror(-r), -r);
    uv_run(&supervisor->loop, UV_RUN_DEFAULT);
    bool is_failed = supervisor->is_failed;
    bool is_stuck = supervisor->is_stuck;
    if (!is_failed)
        notify_sendf(&supervisor->notify, "STATUS=stopped");
    if (is_stuck) {
        notify_end(&supervisor->notify);
    } else {
        deinit(supervisor);
        free(supervisor);
    }
    if (!is_failed)
        log_event(&event_stopped, LOG_NO_FIELDS, "stopped");
    if (is_stuck) /* with the thread that uses the rest */
        _exit(is_failed ? EXIT_FAILURE : EXIT_SUCCESS);
    return is_failed ? EXIT_FAILURE : EXIT_SUCCESS;
}

void supervisor_refuse(const char *why)
{
    struct notify notify;
    notify_init(&notify);
    readiness_refuse(&notify, END_AFTER_MS, why, 0);
    notify_end(&notify);
}
