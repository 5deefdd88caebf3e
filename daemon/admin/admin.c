/*
 * admin: see admin.h.
 *
 * The loop watches libmicrohttpd's epoll descriptor (on_ready) and keeps its next time limit
 * (on_timer); both call MHD_run, which calls exchange_on_request for each request. Each connection
 * is a peer (on_connection), whose time is ours to watch: libmicrohttpd's own limit begins anew
 * with every byte.
 */
#include "daemon/admin/admin.h"

#include "base/log.h"
#include "daemon/admin/exchange.h"
#include "daemon/admin/peer.h"

#include <errno.h>
#include <stdlib.h>

static void on_ready(uv_poll_t *poll, int status, int events);
static void on_timer(uv_timer_t *timer);
static void on_connection(void *context, struct MHD_Connection *connection, void **peer,
                          enum MHD_ConnectionNotificationCode code);
static void on_resumed(void *context);

/* Headers and reply of one connection. */
#define CONNECTION_BYTES ((size_t)16 * 1024)
/* Before the next try, where there is no descriptor for a connection. */
#define PAUSE_MS 100

struct admin {
    struct MHD_Daemon *http; /* owned; it accepts from the socket, and does not close it */
    struct listen_socket socket;
    uv_poll_t poll;
    uv_timer_t timer;
    struct peers peers;
    struct exchanges exchanges;
    uint64_t n_begun; /* connections so far */
};

__attribute__((format(printf, 2, 0))) static void on_http_log(void *context, const char *format,
                                                              va_list args)
{
    char line[512];
    const struct admin *admin = context;
    vsnprintf(line, sizeof line, format, args);
    line[strcspn(line, "\n")] = '\0';
    log_debug("admin endpoint %s: %s", admin->socket.text, line);
}

/* Without memory for the peer it has all the time that it wants; there are not many. */
static void on_connection(void *context, struct MHD_Connection *connection, void **peer,
                          enum MHD_ConnectionNotificationCode code)
{
    struct admin *admin = context;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    admin->n_begun += code == MHD_CONNECTION_NOTIFY_STARTED;
    if (code == MHD_CONNECTION_NOTIFY_STARTED && info) {
        *peer = peer_new(&admin->peers, info->connect_fd);
    } else if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        peer_free(*peer);
        *peer = NULL;
    }
}

static void on_resumed(void *context)
{
    struct admin *admin = context;
    uv_timer_start(&admin->timer, on_timer, 0, 0); /* it goes on in the next run */
}

static unsigned n_connections(struct admin *admin)
{
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(admin->http, MHD_DAEMON_INFO_CURRENT_CONNECTIONS);
    return info ? info->num_connections : 0;
}

/* At its limit of connections libmicrohttpd stops watching the listening socket, and it watches it
 * again only at the start of a run: so one that has ended connections is followed by another. */
static void run(struct admin *admin)
{
    MHD_UNSIGNED_LONG_LONG timeout_ms;
    unsigned before;
    do {
        before = n_connections(admin);
        MHD_run(admin->http);
    } while (n_connections(admin) < before);
    if (MHD_get_timeout(admin->http, &timeout_ms) == MHD_YES)
        uv_timer_start(&admin->timer, on_timer, timeout_ms, 0);
    else
        uv_timer_stop(&admin->timer);
}

/* Without a descriptor for a first connection libmicrohttpd goes on trying, and would have us do so
 * all the time: with nobody there, and nobody let in, the next try has time. */
static void on_ready(uv_poll_t *poll, int status, int events)
{
    struct admin *admin = poll->data;
    uint64_t n_begun = admin->n_begun;
    bool was_empty = n_connections(admin) == 0;
    (void)status;
    (void)events;
    run(admin);
    if (was_empty && admin->n_begun == n_begun) {
        uv_poll_stop(poll);
        uv_timer_start(&admin->timer, on_timer, PAUSE_MS, 0);
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct admin *admin = timer->data;
    if (!uv_is_active((uv_handle_t *)&admin->poll))
        uv_poll_start(&admin->poll, UV_READABLE, on_ready);
    run(admin);
}

static struct MHD_Daemon *start_http(struct admin *admin, const struct config *config, int fd)
{
    return MHD_start_daemon(
        MHD_USE_EPOLL | MHD_USE_ERROR_LOG | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL,
        exchange_on_request, &admin->exchanges, MHD_OPTION_EXTERNAL_LOGGER, on_http_log, admin,
        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)config->admin_max_connections, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        CONNECTION_BYTES, MHD_OPTION_NOTIFY_CONNECTION, on_connection, admin,
        MHD_OPTION_NOTIFY_COMPLETED, exchange_on_end, &admin->exchanges, MHD_OPTION_END);
}

/* On failure no handle is open. */
static int watch(struct admin *admin, uv_loop_t *loop, uint64_t timeout_ms)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(admin->http, MHD_DAEMON_INFO_EPOLL_FD);
    if (!info)
        return -ENOTSUP;
    int r = uv_poll_init(loop, &admin->poll, info->epoll_fd);
    if (r < 0)
        return r;
    admin->poll.data = admin->timer.data = admin;
    uv_timer_init(loop, &admin->timer);
    peers_init(&admin->peers, loop, timeout_ms);
    uv_poll_start(&admin->poll, UV_READABLE, on_ready);
    return 0;
}

/* The listening descriptor stays ours: who else holds that socket is to go on with it, and
 * libmicrohttpd might shut it down. */
static void stop_http(struct admin *admin)
{
    (void)MHD_quiesce_daemon(admin->http);
    MHD_stop_daemon(admin->http);
    admin->http = NULL;
}

int admin_start(uv_loop_t *loop, struct listen_socket *sock, const struct admin_sources *sources,
                struct admin **ret)
{
    const struct config *config = sources->config;
    struct admin *admin = calloc(1, sizeof *admin);
    int r = -ENOMEM;
    if (admin) {
        admin->socket = *sock;
        admin->exchanges.sources = sources;
        admin->exchanges.is_local = sock->family == AF_UNIX;
        admin->exchanges.max_waiting = (unsigned)(config->admin_max_connections + 1) / 2;
        admin->exchanges.on_resumed = on_resumed;
        admin->exchanges.context = admin;
        admin->http = start_http(admin, config, sock->fd);
        r = admin->http ? watch(admin, loop, config->admin_timeout_ms) : -EIO;
    }
    if (r < 0) {
        if (admin && admin->http)
            stop_http(admin);
        listen_socket_close(sock);
        free(admin);
        return r;
    }
    *sock = (struct listen_socket){.fd = -1};
    *ret = admin;
    return 0;
}

void admin_stop(struct admin *admin, bool is_store_working)
{
    admin->socket.is_lasting |= is_store_working && admin->socket.is_kept;
    uv_close((uv_handle_t *)&admin->poll, NULL);
    uv_close((uv_handle_t *)&admin->timer, NULL);
    stop_http(admin);
    peers_close(&admin->peers);
    listen_socket_close(&admin->socket);
}

void admin_free(struct admin *admin)
{
    free(admin);
}
