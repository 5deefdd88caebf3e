/*
 * supervisor: see supervisor.h.
 *
 * Start: open the tree, bind the sockets, accept; with a warm-up, say ready before it or after it.
 * Whatever fails on the way is logged with its remedy, and the process ends with status 1.
 *
 * Stop: on SIGTERM or SIGINT the listeners are closed after what was queued is accepted; every
 * connection is ended as soon as what has arrived on it is answered. After half of drain_timeout_ms
 * requests are answered with DRAINING, after all of it, or on a second signal, connections are cut.
 */
#include "daemon/supervisor/supervisor.h"

#include "base/clock.h"
#include "base/log.h"
#include "daemon/admin/admin.h"
#include "daemon/supervisor/listener.h"
#include "daemon/supervisor/notify.h"
#include "daemon/supervisor/warmup.h"
#include "daemon/worker/worker.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

/* Files beside client connections: standard streams, the loop's, the tree, the warm-up's, /proc. */
#define RESERVED_FILES  32
#define RETRY_ACCEPT_MS 100

#define N_SIGNALS     3
#define MAX_LISTENERS (2 * CONFIG_MAX_ADDRESSES)

struct supervisor {
    const struct config *config;
    uv_loop_t loop;
    struct worker worker;
    struct warmup warmup;
    struct service service;
    struct listener listeners[MAX_LISTENERS];
    unsigned n_listeners;
    struct admin *admin[MAX_LISTENERS]; /* owned */
    unsigned n_admin;
    uv_signal_t signals[N_SIGNALS];
    uv_timer_t drain; /* half of the drain's time, then all of it */
    uv_timer_t retry; /* accepting again after it was paused */
    uint64_t max_connections;
    bool is_paused;
    bool is_closed;
};

/* Raises the soft limit of open files to the hard one, and fits max_connections below it. */
static uint64_t fit_connections(const struct config *config)
{
    struct rlimit limit;
    uint64_t n_admin = config->admin_tcp.n + config->admin_unix.n;
    uint64_t reserved = RESERVED_FILES + config->listen_tcp.n + config->listen_unix.n +
                        n_admin * (2 + config->admin_max_connections);
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return config->limits_max_connections;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        getrlimit(RLIMIT_NOFILE, &limit);
    uint64_t room = limit.rlim_cur > reserved ? limit.rlim_cur - reserved : 1;
    if (room >= config->limits_max_connections)
        return config->limits_max_connections;
    log_warning("%" PRIu64 " connections at most, and not limits.max_connections = %" PRIu64
                ": the limit of open files is %" PRIu64 " (LimitNOFILE=, ulimit -n)",
                room, config->limits_max_connections, (uint64_t)limit.rlim_cur);
    return room;
}

static void pause_accepting(struct supervisor *supervisor)
{
    supervisor->is_paused = true;
    for (unsigned i = 0; i < supervisor->n_listeners; i++)
        listener_pause(&supervisor->listeners[i]);
}

static void resume_accepting(struct supervisor *supervisor)
{
    if (!supervisor->is_paused || supervisor->service.is_draining ||
        supervisor->worker.stats.connections_open >= supervisor->max_connections)
        return;
    supervisor->is_paused = false;
    for (unsigned i = 0; i < supervisor->n_listeners; i++)
        listener_resume(&supervisor->listeners[i]);
}

static void on_retry(uv_timer_t *timer)
{
    resume_accepting(timer->data);
}

static void on_connection(void *context, int fd)
{
    struct supervisor *supervisor = context;
    int r = worker_adopt(&supervisor->worker, fd);
    if (r < 0)
        log_warning("a connection was dropped: %s", uv_strerror(r));
    /* While draining, what was queued before is still taken. */
    if (supervisor->worker.stats.connections_open >= supervisor->max_connections &&
        !supervisor->service.is_draining)
        pause_accepting(supervisor);
}

static void on_exhausted(void *context, int error)
{
    struct supervisor *supervisor = context;
    if (!supervisor->is_paused)
        log_warning("cannot accept connections now, they wait: %s", strerror(-error));
    pause_accepting(supervisor);
    uv_timer_start(&supervisor->retry, on_retry, RETRY_ACCEPT_MS, 0);
}

static void format_status(const struct supervisor *supervisor, char *text, size_t size)
{
    const struct snapshot *snapshot = supervisor->service.snapshot;
    const char *unready = service_unready_reason(&supervisor->service);
    snprintf(text, size, "generation %" PRIu64 ", %.1f MiB mapped: %s%s%s", snapshot->number,
             (double)snapshot->size_bytes / (1024 * 1024), snapshot->path, unready ? ", " : "",
             unready ? unready : "");
}

static void say_ready(struct supervisor *supervisor)
{
    char status[512];
    format_status(supervisor, status, sizeof status);
    notify_ready(status);
    log_info("ready: %s", status);
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
    sigprocmask(SIG_BLOCK, &set, NULL);
}

/* Closes everything that is not a connection; the loop then ends. */
static void close_handles(struct supervisor *supervisor)
{
    if (supervisor->is_closed)
        return;
    supervisor->is_closed = true;
    block_signals();
    for (unsigned i = 0; i < supervisor->n_admin; i++)
        admin_stop(supervisor->admin[i]);
    warmup_stop(&supervisor->warmup);
    worker_close(&supervisor->worker);
    for (unsigned i = 0; i < N_SIGNALS; i++)
        uv_close((uv_handle_t *)&supervisor->signals[i], NULL);
    uv_close((uv_handle_t *)&supervisor->drain, NULL);
    uv_close((uv_handle_t *)&supervisor->retry, NULL);
}

static void on_conn_closed(void *context)
{
    struct supervisor *supervisor = context;
    if (supervisor->service.is_draining && supervisor->worker.stats.connections_open == 0)
        close_handles(supervisor);
    else
        resume_accepting(supervisor);
}

static void cut_connections(struct supervisor *supervisor)
{
    uint64_t n = supervisor->worker.stats.connections_open;
    if (n > 0)
        log_warning("cutting %" PRIu64 " connections that are still open", n);
    worker_close_all(&supervisor->worker);
}

static void on_drain_end(uv_timer_t *timer)
{
    cut_connections(timer->data);
}

static void on_drain_half(uv_timer_t *timer)
{
    struct supervisor *supervisor = timer->data;
    worker_refuse(&supervisor->worker);
    uv_timer_start(timer, on_drain_end, supervisor->config->limits_drain_timeout_ms / 2, 0);
}

static void drain(struct supervisor *supervisor)
{
    notify_stopping();
    supervisor->service.is_draining = true;
    for (unsigned i = 0; i < supervisor->n_listeners; i++) {
        listener_resume(&supervisor->listeners[i]); /* what waits in its queue is taken too */
        listener_close(&supervisor->listeners[i]);
    }
    uv_timer_start(&supervisor->drain, on_drain_half,
                   supervisor->config->limits_drain_timeout_ms / 2, 0);
    worker_drain(&supervisor->worker);
    if (supervisor->worker.stats.connections_open == 0)
        close_handles(supervisor);
}

static void on_signal(uv_signal_t *handle, int signal)
{
    struct supervisor *supervisor = handle->data;
    if (signal == SIGHUP) {
        log_warning("SIGHUP: this version does not reload; restart actd to serve another file");
        return;
    }
    if (supervisor->service.is_draining) {
        cut_connections(supervisor);
        return;
    }
    log_info("%s: stopping", signal == SIGTERM ? "SIGTERM" : "SIGINT");
    drain(supervisor);
}

static void on_warm(void *context)
{
    struct supervisor *supervisor = context;
    const struct warmup *warmup = &supervisor->warmup;
    if (warmup->progress.state == WARMUP_DONE)
        log_info("warm-up: read %" PRIu64 " bytes", (uint64_t)warmup->progress.read_bytes);
    else
        log_warning("warm-up: stopped after %" PRIu64 " bytes: %s; serving without it",
                    (uint64_t)warmup->progress.read_bytes, strerror(warmup->error));
    if (supervisor->config->warmup_ready == WARMUP_READY_AFTER && !supervisor->service.is_draining)
        say_ready(supervisor);
}

static int start_warmup(struct supervisor *supervisor)
{
    const struct config *config = supervisor->config;
    if (config->warmup_mode == WARMUP_READ) {
        supervisor->warmup.on_done = on_warm;
        supervisor->warmup.context = supervisor;
        int r =
            warmup_start(&supervisor->warmup, &supervisor->loop, supervisor->service.snapshot->fd,
                         supervisor->service.snapshot->size_bytes);
        if (r < 0) {
            log_error("cannot start the warm-up: %s", strerror(-r));
            return r;
        }
        if (config->warmup_ready == WARMUP_READY_AFTER) {
            notify_status("warming up");
            return 0;
        }
    }
    say_ready(supervisor);
    return 0;
}

static int open_listener(struct supervisor *supervisor, const struct address *address)
{
    char error[512];
    struct listen_socket socket;
    struct listener *listener = &supervisor->listeners[supervisor->n_listeners];
    int r = listen_socket_open(&socket, address, (mode_t)supervisor->config->listen_unix_mode,
                               (int)supervisor->config->listen_backlog, error, sizeof error);
    if (r < 0) {
        log_error("%s", error);
        return r;
    }
    listener->on_connection = on_connection;
    listener->on_exhausted = on_exhausted;
    listener->context = supervisor;
    r = listener_init(listener, &supervisor->loop, &socket);
    if (r < 0) {
        log_error("%s: %s", address->text, uv_strerror(r));
        listen_socket_close(&socket);
        return r;
    }
    supervisor->n_listeners++;
    log_info("listening on %s", listener->socket.text);
    return 0;
}

static int open_admin(struct supervisor *supervisor, const struct address *address)
{
    char error[512];
    const struct config *config = supervisor->config;
    struct listen_socket socket;
    int r = listen_socket_open(&socket, address, (mode_t)config->admin_unix_mode, 64, error,
                               sizeof error);
    if (r < 0) {
        log_error("admin endpoint: %s", error);
        return r;
    }
    log_info("admin endpoint on %s", socket.text);
    r = admin_start(&supervisor->loop, &socket, config, &supervisor->service,
                    &supervisor->admin[supervisor->n_admin]);
    if (r < 0) {
        log_error("admin endpoint: %s: cannot start: %s", address->text, strerror(-r));
        return r;
    }
    supervisor->n_admin++;
    return 0;
}

static int open_all(struct supervisor *supervisor, const struct config_addresses *addresses,
                    int (*open_one)(struct supervisor *, const struct address *))
{
    for (unsigned i = 0; i < addresses->n; i++) {
        int r = open_one(supervisor, &addresses->list[i]);
        if (r < 0)
            return r;
    }
    return 0;
}

static int open_sockets(struct supervisor *supervisor)
{
    const struct config *config = supervisor->config;
    int r = open_all(supervisor, &config->listen_unix, open_listener);
    if (r == 0)
        r = open_all(supervisor, &config->listen_tcp, open_listener);
    if (r == 0)
        r = open_all(supervisor, &config->admin_unix, open_admin);
    if (r == 0)
        r = open_all(supervisor, &config->admin_tcp, open_admin);
    return r;
}

static void init_handles(struct supervisor *supervisor)
{
    static const int numbers[N_SIGNALS] = {SIGTERM, SIGINT, SIGHUP};
    uv_timer_init(&supervisor->loop, &supervisor->drain);
    uv_timer_init(&supervisor->loop, &supervisor->retry);
    supervisor->drain.data = supervisor->retry.data = supervisor;
    for (unsigned i = 0; i < N_SIGNALS; i++) {
        uv_signal_init(&supervisor->loop, &supervisor->signals[i]);
        supervisor->signals[i].data = supervisor;
        uv_signal_start(&supervisor->signals[i], on_signal, numbers[i]);
    }
}

/* After the tree is open: the worker, the handles, the sockets; then the loop. */
static int serve(struct supervisor *supervisor)
{
    int r = worker_init(&supervisor->worker, &supervisor->loop, supervisor->config,
                        supervisor->service.snapshot, &supervisor->service);
    if (r < 0) {
        log_error("cannot start: %s", strerror(-r));
        return r;
    }
    supervisor->worker.on_conn_closed = on_conn_closed;
    supervisor->worker.context = supervisor;
    init_handles(supervisor);
    r = open_sockets(supervisor);
    if (r == 0)
        r = start_warmup(supervisor);
    if (r < 0)
        drain(supervisor);
    uv_run(&supervisor->loop, UV_RUN_DEFAULT);
    worker_deinit(&supervisor->worker);
    return r;
}

int supervisor_run(const struct config *config)
{
    struct act_error error;
    struct supervisor *supervisor = calloc(1, sizeof *supervisor);
    if (!supervisor || uv_loop_init(&supervisor->loop) < 0) {
        log_error("cannot start: out of memory or files");
        free(supervisor);
        return EXIT_FAILURE;
    }
    signal(SIGPIPE, SIG_IGN);
    supervisor->config = config;
    supervisor->max_connections = fit_connections(config);
    supervisor->service = (struct service){.config = config,
                                           .worker = &supervisor->worker.stats,
                                           .warmup = &supervisor->warmup.progress,
                                           .started_ms = clock_ms()};
    int r = snapshot_open(config->tree_path, 1, config->tree_table_cache_bytes,
                          &supervisor->service.snapshot, &error);
    if (r == 0 && supervisor->service.snapshot->remark)
        log_warning("%s: %s", config->tree_path, supervisor->service.snapshot->remark);
    if (r != 0)
        log_error("%s", error.message);
    else
        r = serve(supervisor);
    for (unsigned i = 0; i < supervisor->n_admin; i++)
        admin_free(supervisor->admin[i]);
    uv_loop_close(&supervisor->loop);
    snapshot_unref(supervisor->service.snapshot);
    free(supervisor);
    if (r == 0)
        log_info("stopped");
    return r == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
