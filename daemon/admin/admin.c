/*
 * admin: see admin.h.
 *
 * The loop watches libmicrohttpd's epoll descriptor (on_ready) and keeps its next time limit
 * (on_timer); both call MHD_run, which calls on_request for each request.
 *
 * POST /reload waits for what comes of it without holding anybody up: its connection is suspended
 * (ask_reload) until on_reload_done.
 */
#include "daemon/admin/admin.h"

#include "base/log.h"
#include "daemon/admin/render.h"
#include "daemon/admin/render_residency.h"

#include <errno.h>
#include <inttypes.h>
#include <microhttpd.h>
#include <stdlib.h>

static void on_ready(uv_poll_t *poll, int status, int events);
static void on_timer(uv_timer_t *timer);
static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *body,
                                  size_t *body_size, void **state);

static void on_request_end(void *context, struct MHD_Connection *connection, void **state,
                           enum MHD_RequestTerminationCode code);
static void on_reload_done(struct reload_request *request, bool is_accepted, const char *text);

/* Headers and reply of one connection. */
#define CONNECTION_BYTES ((size_t)16 * 1024)

struct admin {
    struct MHD_Daemon *http; /* owned, with the listening descriptor */
    struct listen_socket socket;
    uv_poll_t poll;
    uv_timer_t timer;
    const struct board *board;       /* borrowed */
    struct reload *reload;           /* borrowed */
    struct census *census;           /* borrowed */
    unsigned n_waiting, max_waiting; /* requests that wait for a reload */
};

/* A request between the calls of on_request. */
struct admin_request {
    struct reload_request waiting; /* first: on_reload_done is given it */
    struct admin *admin;
    struct MHD_Connection *connection;
    bool is_suspended;
    unsigned status; /* 0: no answer yet */
    char *text;      /* owned until it is sent */
};

/* A page: its text (owned by the caller) and its HTTP status. */
typedef int (*page_function)(const struct board *board, char **ret_text, unsigned *ret_status);

static int page_livez(const struct board *board, char **ret_text, unsigned *ret_status)
{
    (void)board;
    *ret_status = MHD_HTTP_OK;
    *ret_text = strdup("ok\n");
    return *ret_text ? 0 : -ENOMEM;
}

static int page_readyz(const struct board *board, char **ret_text, unsigned *ret_status)
{
    char line[BOARD_TEXT_BYTES], refusal[BOARD_TEXT_BYTES];
    const struct board_head *head = board->head;
    const char *reason = board_unready_reason(board, line, sizeof line);
    *ret_status = reason ? MHD_HTTP_SERVICE_UNAVAILABLE : MHD_HTTP_OK;
    board_text_get(&head->refusal, refusal, sizeof refusal);
    int n;
    if (refusal[0] != '\0')
        n = asprintf(ret_text, "%s%s\nrefused: %s; generation %" PRIu64 " %s\n",
                     reason ? "not ready: " : "ready", reason ? reason : "", refusal,
                     head->generation.number, head->is_damaged ? "is damaged" : "goes on serving");
    else
        n = asprintf(ret_text, reason ? "not ready: %s\n" : "ready\n", reason);
    return n < 0 ? -ENOMEM : 0;
}

static int page_stats(const struct board *board, char **ret_text, unsigned *ret_status)
{
    *ret_status = MHD_HTTP_OK;
    return render_json(board, ret_text);
}

static int page_metrics(const struct board *board, char **ret_text, unsigned *ret_status)
{
    *ret_status = MHD_HTTP_OK;
    return render_prometheus(board, ret_text);
}

static const struct page {
    const char *url, *type;
    page_function make;
} pages[] = {
    {"/livez", "text/plain; charset=utf-8", page_livez},
    {"/readyz", "text/plain; charset=utf-8", page_readyz},
    {"/stats", "application/json", page_stats},
    {"/metrics", "text/plain; version=0.0.4; charset=utf-8", page_metrics},
};

/* Takes over text. allowed: NULL, or the methods that the page knows. */
static enum MHD_Result respond(struct MHD_Connection *connection, unsigned status, const char *type,
                               char *text, const char *allowed)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE);
    if (!response) {
        free(text);
        return MHD_NO;
    }
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    if (allowed)
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, allowed);
    enum MHD_Result r = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return r;
}

static enum MHD_Result respond_error(struct MHD_Connection *connection, unsigned status,
                                     const char *text)
{
    char *copy = strdup(text);
    return copy ? respond(connection, status, "text/plain; charset=utf-8", copy, NULL) : MHD_NO;
}

static enum MHD_Result respond_not_allowed(struct MHD_Connection *connection, const char *allowed)
{
    char *text;
    if (asprintf(&text, "only %s\n", allowed) < 0)
        return MHD_NO;
    return respond(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "text/plain; charset=utf-8", text,
                   allowed);
}

static void on_reload_done(struct reload_request *waiting, bool is_accepted, const char *text)
{
    struct admin_request *request = (struct admin_request *)waiting;
    struct admin *admin = request->admin;
    request->status = is_accepted                       ? MHD_HTTP_OK
                      : admin->board->head->is_draining ? MHD_HTTP_SERVICE_UNAVAILABLE
                                                        : MHD_HTTP_CONFLICT;
    if (render_reload(admin->board, is_accepted, text, &request->text) < 0)
        request->text = NULL;
    if (!request->is_suspended)
        return; /* in ask_reload, which goes on */
    request->is_suspended = false;
    MHD_resume_connection(request->connection);
    uv_timer_start(&admin->timer, on_timer, 0, 0); /* it goes on in the next run */
}

static enum MHD_Result ask_reload(struct admin *admin, struct admin_request *request)
{
    if (admin->socket.path[0] == '\0')
        return respond_error(request->connection, MHD_HTTP_FORBIDDEN,
                             "a reload can be asked for on the admin endpoint's Unix sockets only "
                             "(admin.unix)\n");
    if (admin->n_waiting == admin->max_waiting)
        return respond_error(request->connection, MHD_HTTP_SERVICE_UNAVAILABLE,
                             "too many requests wait for a reload (admin.max_connections)\n");
    request->waiting.on_done = on_reload_done;
    admin->n_waiting++;
    reload_ask(admin->reload, "POST /reload", &request->waiting);
    /* One that is resumed in the call that suspended it would be forgotten by libmicrohttpd. */
    request->is_suspended = request->status == 0;
    if (request->is_suspended)
        MHD_suspend_connection(request->connection);
    return MHD_YES;
}

static enum MHD_Result on_reload_request(struct admin *admin, struct admin_request *request,
                                         const char *method)
{
    char *text = request->text;
    if (strcmp(method, "POST") != 0)
        return respond_not_allowed(request->connection, "POST");
    if (request->status == 0) {
        enum MHD_Result r = ask_reload(admin, request);
        if (request->status == 0)
            return r;
        text = request->text;
    }
    request->text = NULL;
    return text ? respond(request->connection, request->status, "application/json", text, NULL)
                : MHD_NO;
}

static enum MHD_Result respond_residency(struct admin *admin, struct MHD_Connection *connection)
{
    struct census_view view;
    char *text;
    census_want(admin->census);
    census_get(admin->census, &view);
    if (render_residency(&view, &text) < 0)
        return MHD_NO;
    return respond(connection, MHD_HTTP_OK, "application/json", text, NULL);
}

static void on_request_end(void *context, struct MHD_Connection *connection, void **state,
                           enum MHD_RequestTerminationCode code)
{
    struct admin_request *request = *state;
    struct admin *admin = context;
    (void)connection;
    (void)code;
    if (!request)
        return;
    admin->n_waiting -= request->waiting.on_done != NULL;
    free(request->text);
    free(request);
    *state = NULL;
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *body,
                                  size_t *body_size, void **state)
{
    struct admin *admin = context;
    struct admin_request *request = *state;
    char *text;
    unsigned status;
    (void)version;
    (void)body;
    if (!request) { /* the headers; a reply may follow only on the next call */
        *state = request = calloc(1, sizeof *request);
        if (!request)
            return MHD_NO;
        request->admin = admin;
        request->connection = connection;
        return MHD_YES;
    }
    if (*body_size > 0) { /* read and dropped: a reply amid it could be lost with the connection */
        *body_size = 0;
        return MHD_YES;
    }
    if (strcmp(url, "/reload") == 0)
        return on_reload_request(admin, request, method);
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
        return respond_not_allowed(connection, "GET, HEAD");
    if (strcmp(url, "/residency") == 0)
        return respond_residency(admin, connection);
    for (size_t i = 0; i < sizeof pages / sizeof *pages; i++) {
        if (strcmp(pages[i].url, url) != 0)
            continue;
        if (pages[i].make(admin->board, &text, &status) < 0)
            return MHD_NO;
        return respond(connection, status, pages[i].type, text, NULL);
    }
    return respond_error(
        connection, MHD_HTTP_NOT_FOUND,
        "there is /livez, /readyz, /stats, /metrics, /residency, and POST /reload\n");
}

__attribute__((format(printf, 2, 0))) static void on_http_log(void *context, const char *format,
                                                              va_list args)
{
    char line[512];
    const struct admin *admin = context;
    vsnprintf(line, sizeof line, format, args);
    line[strcspn(line, "\n")] = '\0';
    log_debug("admin endpoint %s: %s", admin->socket.text, line);
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

static void on_ready(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    run(poll->data);
}

static void on_timer(uv_timer_t *timer)
{
    run(timer->data);
}

static struct MHD_Daemon *start_http(struct admin *admin, const struct config *config, int fd)
{
    unsigned timeout_s = (unsigned)((config->admin_timeout_ms + 999) / 1000);
    return MHD_start_daemon(MHD_USE_EPOLL | MHD_USE_ERROR_LOG | MHD_ALLOW_SUSPEND_RESUME, 0, NULL,
                            NULL, on_request, admin, MHD_OPTION_EXTERNAL_LOGGER, on_http_log, admin,
                            MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
                            (unsigned)config->admin_max_connections, MHD_OPTION_CONNECTION_TIMEOUT,
                            timeout_s, MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_BYTES,
                            MHD_OPTION_NOTIFY_COMPLETED, on_request_end, admin, MHD_OPTION_END);
}

static int watch(struct admin *admin, uv_loop_t *loop)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(admin->http, MHD_DAEMON_INFO_EPOLL_FD);
    if (!info)
        return -ENOTSUP;
    int r = uv_poll_init(loop, &admin->poll, info->epoll_fd);
    if (r < 0)
        return r;
    admin->poll.data = admin->timer.data = admin;
    uv_timer_init(loop, &admin->timer);
    uv_poll_start(&admin->poll, UV_READABLE, on_ready);
    return 0;
}

int admin_start(uv_loop_t *loop, struct listen_socket *sock, const struct config *config,
                const struct board *board, struct reload *reload, struct census *census,
                struct admin **ret)
{
    struct admin *admin = calloc(1, sizeof *admin);
    int r = -ENOMEM;
    if (admin) {
        admin->socket = *sock;
        admin->board = board;
        admin->reload = reload;
        admin->census = census;
        admin->max_waiting = (unsigned)(config->admin_max_connections + 1) / 2;
        admin->http = start_http(admin, config, sock->fd);
        r = admin->http ? watch(admin, loop) : -EIO;
    }
    if (r < 0) {
        if (admin && admin->http) {
            MHD_stop_daemon(admin->http); /* closes the descriptor */
            sock->fd = -1;
        }
        listen_socket_close(sock);
        free(admin);
        return r;
    }
    admin->socket.fd = -1; /* now libmicrohttpd's */
    *ret = admin;
    return 0;
}

void admin_stop(struct admin *admin)
{
    uv_close((uv_handle_t *)&admin->poll, NULL);
    uv_close((uv_handle_t *)&admin->timer, NULL);
    MHD_stop_daemon(admin->http);
    admin->http = NULL;
    listen_socket_close(&admin->socket);
}

void admin_free(struct admin *admin)
{
    free(admin);
}
