/*
 * exchange: see exchange.h.
 */
#include "daemon/admin/exchange.h"

#include "daemon/admin/access.h"
#include "daemon/admin/peer.h"
#include "daemon/admin/request.h"
#include "daemon/admin/routes.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <strings.h>

/* No request needs a body. One that is not longer is read and dropped, since a reply amid it could
 * be lost with the connection; so is one that is somewhat longer, to tell that it is too long. */
#define BODY_BYTES         4096
#define BODY_DROPPED_BYTES (16 * BODY_BYTES)

struct exchange {
    struct admin_request request; /* first: handlers know nothing else */
    struct exchanges *owner;      /* borrowed */
    struct MHD_Connection *connection;
    const char *method; /* borrowed from libmicrohttpd, while its callback runs */
    size_t body_bytes;
    bool is_counted; /* in n_waiting */
    bool is_suspended;
};

static struct peer *peer_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

static void begin_time(struct MHD_Connection *connection)
{
    struct peer *peer = peer_of(connection);
    if (peer)
        peer_begin(peer);
}

static void pause_time(struct MHD_Connection *connection)
{
    struct peer *peer = peer_of(connection);
    if (peer)
        peer_pause(peer);
}

/* Takes over the answer's text. */
static struct MHD_Response *response_of(struct admin_answer *answer)
{
    char *text = answer->text;
    answer->text = NULL;
    if (!text)
        return MHD_create_response_from_buffer(answer->fixed_size, (void *)(uintptr_t)answer->fixed,
                                               MHD_RESPMEM_PERSISTENT);
    struct MHD_Response *response =
        MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE);
    if (!response)
        free(text);
    return response;
}

static void add_headers(struct MHD_Response *response, const struct admin_answer *answer)
{
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, answer->type);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    if (answer->allow[0] != '\0')
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, answer->allow);
    for (const struct admin_header *header = answer->headers; header && header->name; header++)
        MHD_add_response_header(response, header->name, header->value);
}

static enum MHD_Result respond(struct exchange *exchange)
{
    struct admin_answer *answer = &exchange->request.answer;
    if (!answer->text && !answer->fixed)
        return MHD_NO; /* there was no memory for it */
    struct MHD_Response *response = response_of(answer);
    if (!response)
        return MHD_NO;
    add_headers(response, answer);
    begin_time(exchange->connection);
    enum MHD_Result r = MHD_queue_response(exchange->connection, answer->status, response);
    MHD_destroy_response(response);
    return r;
}

struct header {
    const char *name;
    unsigned n; /* how often it is there */
    struct slice value;
};

static enum MHD_Result on_header(void *context, enum MHD_ValueKind kind, const char *name,
                                 size_t name_len, const char *value, size_t value_len)
{
    struct header *header = context;
    (void)kind;
    if (name_len != strlen(header->name) || strncasecmp(name, header->name, name_len) != 0)
        return MHD_YES;
    header->n++;
    header->value = (struct slice){(const uint8_t *)(value ? value : ""), value_len};
    return MHD_YES;
}

static bool is_blank(uint8_t byte)
{
    return byte == ' ' || byte == '\t';
}

/* Blanks around the value are no part of it (RFC 9110, 5.5); libmicrohttpd leaves some there. */
static struct header find_header(const struct exchange *exchange, const char *name)
{
    struct header header = {.name = name};
    MHD_get_connection_values_n(exchange->connection, MHD_HEADER_KIND, on_header, &header);
    struct slice *value = &header.value;
    while (value->len > 0 && is_blank(value->p[value->len - 1]))
        value->len--;
    for (; value->len > 0 && is_blank(*value->p); value->len--)
        value->p++;
    return header;
}

/* Beside the outcomes of a handler: it is not answered yet. */
#define GO_ON 2

static int check_host(struct exchange *exchange, const char *version)
{
    struct admin_request *request = &exchange->request;
    struct header host = find_header(exchange, MHD_HTTP_HEADER_HOST);
    bool may_lack = strcmp(version, MHD_HTTP_VERSION_1_1) != 0;
    if (host.n > 1 || (host.n == 0 && !may_lack))
        return admin_answer(request, MHD_HTTP_BAD_REQUEST,
                            "a request has one header Host, not %u\n", host.n);
    if (host.n == 1 && !access_knows_host(request->sources->access, host.value))
        return admin_answer(request, MHD_HTTP_MISDIRECTED_REQUEST,
                            "the header Host has to be an address, localhost or one of the names "
                            "that admin.host lists\n");
    return GO_ON;
}

/* Where a request tells in two ways how long its body is, a proxy between may have taken the other
 * one, and what we took for the next request was somebody's body (RFC 9112, 6.3). */
static int check_length(struct exchange *exchange)
{
    static const struct admin_header end[] = {{MHD_HTTP_HEADER_CONNECTION, "close"}, {0}};
    unsigned n = find_header(exchange, MHD_HTTP_HEADER_CONTENT_LENGTH).n +
                 find_header(exchange, MHD_HTTP_HEADER_TRANSFER_ENCODING).n;
    if (n <= 1)
        return GO_ON;
    exchange->request.answer.headers = end;
    return admin_answer(&exchange->request, MHD_HTTP_BAD_REQUEST,
                        "a request has one Content-Length, or one Transfer-Encoding: chunked\n");
}

/* The request is whole. */
static enum MHD_Result run(struct exchange *exchange, const char *url, const char *version)
{
    struct admin_request *request = &exchange->request;
    pause_time(exchange->connection);
    int r = check_length(exchange);
    if (r == GO_ON && !exchange->owner->is_local)
        r = check_host(exchange, version);
    if (r == GO_ON && exchange->body_bytes > BODY_BYTES)
        r = admin_answer(request, MHD_HTTP_CONTENT_TOO_LARGE,
                         "the body is longer than %d bytes: no request needs one\n", BODY_BYTES);
    if (r == GO_ON)
        r = routes_run(request, url, exchange->method);
    if (r < 0)
        return MHD_NO;
    if (r == ADMIN_ANSWERED || request->answer.status != 0)
        return respond(exchange);
    exchange->is_suspended = true;
    MHD_suspend_connection(exchange->connection);
    return MHD_YES;
}

static struct exchange *begin(struct exchanges *owner, struct MHD_Connection *connection)
{
    struct exchange *exchange = calloc(1, sizeof *exchange);
    if (!exchange)
        return NULL;
    exchange->owner = owner;
    exchange->connection = connection;
    exchange->request.sources = owner->sources;
    return exchange;
}

static enum MHD_Result drop_body(struct exchange *exchange, size_t *size)
{
    exchange->body_bytes += *size;
    *size = 0;
    return exchange->body_bytes <= BODY_DROPPED_BYTES ? MHD_YES : MHD_NO;
}

enum MHD_Result exchange_on_request(void *context, struct MHD_Connection *connection,
                                    const char *url, const char *method, const char *version,
                                    const char *body, size_t *body_size, void **state)
{
    struct exchange *exchange = *state;
    (void)body;
    if (!exchange) { /* the headers; a reply may follow only on the next call */
        *state = exchange = begin(context, connection);
        return exchange ? MHD_YES : MHD_NO;
    }
    if (*body_size > 0)
        return drop_body(exchange, body_size);
    exchange->method = method;
    if (exchange->request.answer.status != 0) /* after admin_request_wake */
        return respond(exchange);
    return run(exchange, url, version);
}

void exchange_on_end(void *context, struct MHD_Connection *connection, void **state,
                     enum MHD_RequestTerminationCode code)
{
    struct exchange *exchange = *state;
    (void)context;
    (void)code;
    *state = NULL;
    if (!exchange)
        return;
    begin_time(connection); /* the next request's */
    exchange->owner->n_waiting -= exchange->is_counted;
    free(exchange->request.answer.text);
    free(exchange);
}

const char *admin_request_argument(const struct admin_request *request, const char *name)
{
    const struct exchange *exchange = (const struct exchange *)request;
    return MHD_lookup_connection_value(exchange->connection, MHD_GET_ARGUMENT_KIND, name);
}

bool admin_request_may_post(struct admin_request *request)
{
    static const struct admin_header ask[] = {{MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer"}, {0}};
    const struct exchange *exchange = (const struct exchange *)request;
    const struct access *access = request->sources->access;
    if (exchange->owner->is_local)
        return true;
    if (access->token_len == 0) {
        (void)admin_answer(request, MHD_HTTP_FORBIDDEN,
                           "POST is answered on the admin endpoint's Unix sockets only "
                           "(admin.unix), and over TCP where there is a token "
                           "(admin.token_file)\n");
        return false;
    }
    struct header header = find_header(exchange, MHD_HTTP_HEADER_AUTHORIZATION);
    if (header.n == 1 && access_has_token(access, header.value))
        return true;
    (void)admin_answer(request, MHD_HTTP_UNAUTHORIZED,
                       "POST needs the token of admin.token_file: "
                       "Authorization: Bearer TOKEN\n");
    request->answer.headers = ask;
    return false;
}

bool admin_request_may_wait(struct admin_request *request)
{
    struct exchange *exchange = (struct exchange *)request;
    struct exchanges *owner = exchange->owner;
    if (owner->n_waiting == owner->max_waiting)
        return false;
    owner->n_waiting++;
    exchange->is_counted = true;
    return true;
}

void admin_request_wake(struct admin_request *request)
{
    struct exchange *exchange = (struct exchange *)request;
    /* One that is resumed in the call that suspended it would be forgotten by libmicrohttpd; run
     * sees that its answer is there already. */
    if (!exchange->is_suspended)
        return;
    exchange->is_suspended = false;
    MHD_resume_connection(exchange->connection);
    exchange->owner->on_resumed(exchange->owner->context);
}

static int answer_with(struct admin_request *request, unsigned status, const char *type, char *text)
{
    free(request->answer.text);
    request->answer.status = status;
    request->answer.type = type;
    request->answer.text = text;
    return text ? ADMIN_ANSWERED : -ENOMEM;
}

int admin_answer_text(struct admin_request *request, unsigned status, char *text)
{
    return answer_with(request, status, "text/plain; charset=utf-8", text);
}

int admin_answer_json(struct admin_request *request, unsigned status, char *text)
{
    return answer_with(request, status, "application/json", text);
}

int admin_answer(struct admin_request *request, unsigned status, const char *format, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, format);
    if (vasprintf(&text, format, args) < 0)
        text = NULL;
    va_end(args);
    return admin_answer_text(request, status, text);
}
