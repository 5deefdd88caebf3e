/*
 * routes: see routes.h.
 */
#include "daemon/admin/routes.h"

#include "base/log.h"
#include "daemon/admin/metrics.h"
#include "daemon/admin/page/page.h"
#include "daemon/admin/render.h"
#include "daemon/admin/render_residency.h"
#include "daemon/supervisor/crew.h"
#include "daemon/supervisor/verify.h"
#include "daemon/supervisor/warmup.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

enum {
    HTTP_OK = 200,
    HTTP_ACCEPTED = 202,
    HTTP_BAD_REQUEST = 400,
    HTTP_NOT_FOUND = 404,
    HTTP_NOT_ALLOWED = 405,
    HTTP_CONFLICT = 409,
    HTTP_UNAVAILABLE = 503,
};

static const struct admin_header page_headers[] = {
    {"Content-Security-Policy", page_policy},
    {"Referrer-Policy", "no-referrer"},
    {NULL, NULL},
};

static int get_page(struct admin_request *request)
{
    request->answer = (struct admin_answer){.status = HTTP_OK,
                                            .type = "text/html; charset=utf-8",
                                            .fixed = page_html,
                                            .fixed_size = page_html_size,
                                            .headers = page_headers};
    return ADMIN_ANSWERED;
}

static int answer_json(struct admin_request *request, unsigned status,
                       int (*render)(const struct board *board, char **ret))
{
    char *text = NULL;
    int r = render(request->sources->board, &text);
    return r < 0 ? r : admin_answer_json(request, status, text);
}

static int get_livez(struct admin_request *request)
{
    return admin_answer(request, HTTP_OK, "ok\n");
}

static int get_readyz(struct admin_request *request)
{
    char line[BOARD_TEXT_BYTES], refusal[BOARD_TEXT_BYTES];
    const struct board *board = request->sources->board;
    const struct board_head *head = board->head;
    const char *reason = board_unready_reason(board, line, sizeof line);
    unsigned status = reason ? HTTP_UNAVAILABLE : HTTP_OK;
    board_text_get(&head->refusal, refusal, sizeof refusal);
    if (refusal[0] == '\0')
        return admin_answer(request, status, reason ? "not ready: %s\n" : "ready\n", reason);
    return admin_answer(request, status, "%s%s\nrefused: %s; generation %" PRIu64 " %s\n",
                        reason ? "not ready: " : "ready", reason ? reason : "", refusal,
                        head->generation.number,
                        head->is_damaged ? "is damaged" : "goes on serving");
}

static int get_stats(struct admin_request *request)
{
    return answer_json(request, HTTP_OK, render_json);
}

static int get_metrics(struct admin_request *request)
{
    char *text = NULL;
    int r = metrics_render(request->sources->board, &text);
    if (r < 0)
        return r;
    r = admin_answer_text(request, HTTP_OK, text);
    request->answer.type = "text/plain; version=0.0.4; charset=utf-8";
    return r;
}

/* What is known, and then more: it is asked for by this. */
static int get_residency(struct admin_request *request)
{
    struct census_view view;
    char *text = NULL;
    census_want(request->sources->census);
    census_get(request->sources->census, &view);
    int r = render_residency(&view, &text);
    return r < 0 ? r : admin_answer_json(request, HTTP_OK, text);
}

static int get_slow(struct admin_request *request)
{
    return answer_json(request, HTTP_OK, render_slow);
}

static void on_reload_done(struct reload_request *waiting, bool is_accepted, const char *text)
{
    struct admin_request *request = (struct admin_request *)waiting;
    const struct board *board = request->sources->board;
    char *json = NULL;
    unsigned status = is_accepted                ? HTTP_OK
                      : board->head->is_draining ? HTTP_UNAVAILABLE
                                                 : HTTP_CONFLICT;
    if (render_reload(board, is_accepted, text, &json) < 0)
        json = NULL;
    (void)admin_answer_json(request, status, json);
    admin_request_wake(request);
}

static int post_reload(struct admin_request *request)
{
    if (!admin_request_may_wait(request))
        return admin_answer(request, HTTP_UNAVAILABLE,
                            "too many requests wait for a reload (admin.max_connections)\n");
    request->waiting.on_done = on_reload_done;
    reload_ask(request->sources->reload, "POST /reload", &request->waiting);
    return ADMIN_LATER;
}

static int get_warm(struct admin_request *request)
{
    return answer_json(request, HTTP_OK, render_warm);
}

/* -1: there is none of that name. */
static int find_mode(const char *name)
{
    for (int i = 0; name && warmup_mode_names[i]; i++)
        if (strcmp(warmup_mode_names[i], name) == 0)
            return i;
    return -1;
}

static int post_warm(struct admin_request *request)
{
    int mode = find_mode(admin_request_argument(request, "mode"));
    if (mode < 0)
        return admin_answer(request, HTTP_BAD_REQUEST,
                            "say how: /warm?mode=willneed, read, traverse or restore; none ends "
                            "the one that runs\n");
    int r = warmup_ask(request->sources->warmup, (enum warmup_mode)mode);
    if (r == 0)
        return answer_json(request, HTTP_ACCEPTED, render_warm);
    bool is_now = r < 0 || r == WARMUP_UNSERVED || r == WARMUP_STOPPING;
    return admin_answer(request, is_now ? HTTP_UNAVAILABLE : HTTP_CONFLICT, "%s\n", warmup_text(r));
}

static int get_verify(struct admin_request *request)
{
    return answer_json(request, HTTP_OK, render_verify);
}

static int post_verify(struct admin_request *request)
{
    int r = verify_ask(request->sources->verify);
    if (r == 0 || r == VERIFY_BUSY)
        return answer_json(request, HTTP_ACCEPTED, render_verify);
    return admin_answer(request, HTTP_UNAVAILABLE, "%s\n",
                        r == VERIFY_UNSERVED   ? "nothing is served yet"
                        : r == VERIFY_STOPPING ? "actd is stopping"
                                               : strerror(-r));
}

static int answer_log_level(struct admin_request *request)
{
    int r = admin_answer(request, HTTP_OK, "{\"level\":\"%s\"}\n", log_level_name(log_get_level()));
    request->answer.type = "application/json";
    return r;
}

static int post_log_level(struct admin_request *request)
{
    const char *name = admin_request_argument(request, "level");
    int level = name ? log_level_from_name(name) : -1;
    const char *before = log_level_name(log_get_level());
    if (level < 0)
        return admin_answer(request, HTTP_BAD_REQUEST,
                            "say which: /log-level?level=error, warning, info or debug\n");
    crew_set_log_level(request->sources->crew, (enum log_level)level);
    /* At the new level, so that it is seen. */
    log_line((enum log_level)level, "log level: %s, was %s (POST /log-level)", name, before);
    return answer_log_level(request);
}

static const struct route {
    const char *url;
    admin_handler get, post; /* NULL: not with this method */
} routes[] = {
    /* clang-format off */
    {"/", get_page, NULL},
    {"/livez", get_livez, NULL},
    {"/readyz", get_readyz, NULL},
    {"/stats", get_stats, NULL},
    {"/metrics", get_metrics, NULL},
    {"/residency", get_residency, NULL},
    {"/slow", get_slow, NULL},
    {"/reload", NULL, post_reload},
    {"/warm", get_warm, post_warm},
    {"/verify", get_verify, post_verify},
    {"/log-level", answer_log_level, post_log_level},
    /* clang-format on */
};
#define N_ROUTES (sizeof routes / sizeof *routes)

static int answer_not_allowed(struct admin_request *request, const struct route *route)
{
    snprintf(request->answer.allow, sizeof request->answer.allow, "%s%s%s",
             route->get ? "GET, HEAD" : "", route->get && route->post ? ", " : "",
             route->post ? "POST" : "");
    return admin_answer(request, HTTP_NOT_ALLOWED, "only %s\n", request->answer.allow);
}

static int answer_not_found(struct admin_request *request)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return -ENOMEM;
    fputs("there is\n", out);
    for (size_t i = 0; i < N_ROUTES; i++)
        fprintf(out, "  %-8s %s\n",
                !routes[i].post ? "GET"
                : routes[i].get ? "GET POST"
                                : "POST",
                routes[i].url);
    if (fclose(out) != 0) {
        free(text);
        return -ENOMEM;
    }
    return admin_answer_text(request, HTTP_NOT_FOUND, text);
}

int routes_run(struct admin_request *request, const char *url, const char *method)
{
    const struct route *route = routes;
    while (route < routes + N_ROUTES && strcmp(route->url, url) != 0)
        route++;
    if (route == routes + N_ROUTES)
        return answer_not_found(request);
    bool is_get = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0;
    admin_handler handler = is_get ? route->get : strcmp(method, "POST") == 0 ? route->post : NULL;
    if (!handler)
        return answer_not_allowed(request, route);
    if (!is_get && !admin_request_may_post(request))
        return request->answer.text ? ADMIN_ANSWERED : -ENOMEM;
    return handler(request);
}
