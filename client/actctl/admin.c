/*
 * admin: see admin.h.
 */
#include "client/actctl/admin.h"

#include "base/address.h"
#include "base/buf.h"
#include "client/actctl/progress.h"

#include <curl/curl.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/un.h>

#define CURL_LIBRARY "libcurl.so.4"

#define DEFAULT_CONNECT_TIMEOUT_MS 10000

/* Of a reply's body. */
#define MAX_REPLY_BYTES ((size_t)1024 * 1024)

/* What is told on a terminal from so many seconds on. */
#define QUIET_S 2

/* X(name): the functions of libcurl that are used, without curl_. */
#define CURL_FUNCTIONS(X) \
    X(easy_init)          \
    X(easy_setopt)        \
    X(easy_perform)       \
    X(easy_getinfo)       \
    X(easy_strerror)      \
    X(easy_cleanup)

struct curl {
#define X(name) __typeof__(curl_##name) *name;
    CURL_FUNCTIONS(X)
#undef X
};

struct exchange {
    const struct actctl *ctl;
    struct curl curl;
    CURL *easy; /* owned */
    struct sockaddr_un server;
    struct buf_pool pool;
    struct buf body;
    struct progress progress;
    const char *doing; /* borrowed */
    char reason[CURL_ERROR_SIZE];
};

/* Called about once a second while nothing comes. */
static int on_progress(void *context, curl_off_t down_total, curl_off_t down, curl_off_t up_total,
                       curl_off_t up)
{
    struct exchange *exchange = context;
    struct progress *progress = &exchange->progress;
    (void)down_total, (void)down, (void)up_total, (void)up;
    double seconds = progress_seconds(progress);
    if (seconds >= QUIET_S && progress_is_due(progress))
        progress_show(progress, 0, 0, "%s, %d s", exchange->doing, (int)seconds);
    return 0;
}

/* Less than n: the transfer ends with CURLE_WRITE_ERROR. */
static size_t on_body(char *bytes, size_t size, size_t n, void *context)
{
    struct exchange *exchange = context;
    (void)size; /* 1 */
    if (n > MAX_REPLY_BYTES - buf_len(&exchange->body))
        return 0;
    return buf_append(&exchange->body, bytes, n) == 0 ? n : 0;
}

/* The library stays until the end. */
static int load(const struct actctl *ctl, struct curl *curl)
{
    bool is_whole = true;
    void *library = dlopen(CURL_LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (!library)
        return session_error(ctl, STATUS_FAILED, "%s: install libcurl (Debian: libcurl4)",
                             dlerror());
#define X(name)                                                         \
    curl->name = (__typeof__(curl->name))dlsym(library, "curl_" #name); \
    is_whole = is_whole && curl->name;
    CURL_FUNCTIONS(X)
#undef X
    return is_whole ? STATUS_FOUND
                    : session_error(ctl, STATUS_FAILED, CURL_LIBRARY ": this is not libcurl");
}

static int find_server(struct exchange *exchange)
{
    static const char scheme[] = "unix:";
    const char *text = exchange->ctl->admin, *reason = "reload is only possible on a Unix socket";
    struct address address;
    if (strncmp(text, scheme, sizeof scheme - 1) != 0 ||
        address_parse(text, &address, &reason) != 0)
        return session_error(exchange->ctl, STATUS_USAGE,
                             "%s: %s: --admin takes unix:PATH, which admin.unix in actd.conf names",
                             text, reason);
    memcpy(&exchange->server, &address.sockaddr, sizeof exchange->server);
    return STATUS_FOUND;
}

static CURLcode set_up(struct exchange *exchange, const char *path, uint64_t timeout_ms)
{
    char url[100];
    CURL *easy = exchange->easy;
    __typeof__(curl_easy_setopt) *set = exchange->curl.easy_setopt;
    uint32_t connect_ms = exchange->ctl->timeout_ms;
    snprintf(url, sizeof url, "http://localhost%s", path);
    CURLcode r = set(easy, CURLOPT_URL, url);
    r = r ? r : set(easy, CURLOPT_UNIX_SOCKET_PATH, exchange->server.sun_path);
    r = r ? r : set(easy, CURLOPT_PROXY, ""); /* whatever the environment says */
    r = r ? r : set(easy, CURLOPT_POST, 1L);
    r = r ? r : set(easy, CURLOPT_POSTFIELDS, "");
    r = r ? r : set(easy, CURLOPT_POSTFIELDSIZE, 0L);
    r = r ? r
          : set(easy, CURLOPT_CONNECTTIMEOUT_MS,
                (long)(connect_ms ? connect_ms : DEFAULT_CONNECT_TIMEOUT_MS));
    r = r ? r : set(easy, CURLOPT_TIMEOUT_MS, (long)timeout_ms);
    r = r ? r : set(easy, CURLOPT_NOSIGNAL, 1L);
    r = r ? r : set(easy, CURLOPT_ERRORBUFFER, exchange->reason);
    r = r ? r : set(easy, CURLOPT_WRITEFUNCTION, on_body);
    r = r ? r : set(easy, CURLOPT_WRITEDATA, exchange);
    r = r ? r : set(easy, CURLOPT_NOPROGRESS, 0L);
    r = r ? r : set(easy, CURLOPT_XFERINFOFUNCTION, on_progress);
    return r ? r : set(easy, CURLOPT_XFERINFODATA, exchange);
}

static const char *connect_remedy(const struct exchange *exchange, int error)
{
    struct stat st;
    if (stat(exchange->server.sun_path, &st) == 0 && !S_ISSOCK(st.st_mode))
        return "this is no socket: --admin takes what admin.unix in actd.conf names";
    switch (error) {
    case ENOENT:
        return "is actd running, and is this its admin socket? It is made by actd-admin.socket, or "
               "named by admin.unix in actd.conf; --admin takes another one";
    case EACCES:
    case EPERM:
        return "its group may connect: actd-admin, where it is actd-admin.socket's; else see "
               "admin.unix_mode in actd.conf";
    default:
        return "is actd running?";
    }
}

static int fail(const struct exchange *exchange, CURLcode r)
{
    const struct actctl *ctl = exchange->ctl;
    const char *reason = *exchange->reason ? exchange->reason : exchange->curl.easy_strerror(r);
    long error = 0;
    exchange->curl.easy_getinfo(exchange->easy, CURLINFO_OS_ERRNO, &error);
    if (r == CURLE_COULDNT_CONNECT)
        return session_error(ctl, STATUS_FAILED, "%s: cannot connect: %s: %s", ctl->admin,
                             error ? strerror((int)error) : reason,
                             connect_remedy(exchange, (int)error));
    if (r == CURLE_OPERATION_TIMEDOUT)
        return session_error(ctl, STATUS_FAILED,
                             "%s: no reply in time: actd may still be at it, its log tells",
                             ctl->admin);
    if (r == CURLE_WRITE_ERROR)
        return session_error(ctl, STATUS_FAILED,
                             "%s: the reply is longer than 1 MiB: is this actd's admin endpoint?",
                             ctl->admin);
    return session_error(ctl, STATUS_FAILED,
                         "%s: %s: is this actd's admin endpoint, and does actd still run?",
                         ctl->admin, reason);
}

/* The body, if it is a JSON object and nothing else. */
static struct json_object *parse(struct slice body)
{
    struct json_tokener *tokener = json_tokener_new();
    struct json_object *json = NULL;
    if (!tokener)
        return NULL;
    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    if (body.len > 0)
        json = json_tokener_parse_ex(tokener, (const char *)body.p, (int)body.len);
    json_tokener_free(tokener);
    if (json_object_is_type(json, json_type_object))
        return json;
    json_object_put(json);
    return NULL;
}

static int perform(struct exchange *exchange, const char *path, uint64_t timeout_ms,
                   struct admin_reply *ret_reply)
{
    long status = 0;
    CURLcode r = set_up(exchange, path, timeout_ms);
    if (r == CURLE_OK)
        r = exchange->curl.easy_perform(exchange->easy);
    progress_clear(&exchange->progress);
    if (r != CURLE_OK)
        return fail(exchange, r);
    exchange->curl.easy_getinfo(exchange->easy, CURLINFO_RESPONSE_CODE, &status);
    *ret_reply =
        (struct admin_reply){.status = status, .json = parse(buf_content(&exchange->body))};
    return STATUS_FOUND;
}

int admin_post(const struct actctl *ctl, const char *path, uint64_t timeout_ms, const char *doing,
               struct admin_reply *ret_reply)
{
    struct exchange exchange = {.ctl = ctl, .doing = doing};
    int status = find_server(&exchange);
    if (status == STATUS_FOUND)
        status = load(ctl, &exchange.curl);
    if (status != STATUS_FOUND)
        return status;
    exchange.easy = exchange.curl.easy_init();
    if (!exchange.easy)
        return session_error(ctl, STATUS_FAILED, "libcurl cannot start: out of memory?");
    progress_init(&exchange.progress, path);
    buf_pool_init(&exchange.pool, SIZE_MAX); /* on_body bounds it */
    buf_init(&exchange.body, &exchange.pool);
    status = perform(&exchange, path, timeout_ms, ret_reply);
    exchange.curl.easy_cleanup(exchange.easy);
    buf_release(&exchange.body);
    buf_pool_deinit(&exchange.pool);
    return status;
}
