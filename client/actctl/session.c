/*
 * session: the connection to the server, or the file; and what is told when something fails.
 */
#include "client/actctl/actctl.h"
#include "client/actctl/output.h"
#include "client/actctl/signals.h"
#include "client/actctl/text.h"
#include "proto/errors.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static const char *server_meaning(uint32_t number)
{
    switch (number) {
#define X(name, number, meaning) \
    case PROTO_##name:           \
        return #name ": " meaning;
        PROTO_ERRORS(X)
#undef X
    default:
        return "the server could not look it up";
    }
}

static const char *server_remedy(uint32_t number)
{
    switch (number) {
    case PROTO_UNKNOWN_METHOD:
        return "is actd older than this actctl?";
    case PROTO_TOO_LARGE:
        return "ask for less at a time, or see the limits in actd.conf";
    case PROTO_GONE:
        return "another file is served now: actctl info tells its identity";
    case PROTO_CORRUPT:
        return "replace the file by a good copy (rename it over the old one)";
    case PROTO_IO_ERROR:
    case PROTO_UNAVAILABLE:
        return "actd's log tells what is wrong with its file";
    case PROTO_BUSY:
    case PROTO_DRAINING:
        return "try again";
    default:
        return NULL;
    }
}

static const char *remedy_of(int r, const struct actc_error *error)
{
    if (r == ACTC_TIMEOUT)
        return "--timeout-ms allows more";
    return r == ACTC_ERROR ? server_remedy(error->number) : NULL;
}

static void begin_key(const struct actctl *ctl, struct slice key)
{
    fputs(key.len > 0 ? "actctl: " : "actctl: the empty key", stderr);
    output_key(ctl, stderr, key);
    fputs(": ", stderr);
}

int session_key(const struct actctl *ctl, char *arg, struct slice *ret_key)
{
    size_t len = strlen(arg);
    if (ctl->is_hex && text_parse_hex(slice_of(arg, len), (uint8_t *)arg, &len) != 0)
        return session_error(ctl, STATUS_USAGE,
                             "%s: not a key in hex: write two hex digits for each byte", arg);
    *ret_key = slice_of(arg, len);
    return STATUS_FOUND;
}

int session_open_file(struct actctl *ctl, const char *path, struct act_error *ret_error)
{
    struct act_error error;
    signals_guard(ctl, path);
    int r = act_open_path(path, &ctl->tree, &error);
    if (r == 0)
        return STATUS_FOUND;
    if (ret_error)
        *ret_error = error;
    int status = r < 0 || r == ACT_NOT_REGULAR ? STATUS_FAILED : STATUS_FAULTS;
    return session_error(ctl, status, "%s", error.message);
}

const char *session_why_unfinished(int r, char text[SESSION_WHY_SIZE])
{
    const char *directory = getenv("TMPDIR");
    if (r == -ENOMEM)
        snprintf(text, SESSION_WHY_SIZE, "out of memory");
    else
        snprintf(text, SESSION_WHY_SIZE,
                 "no temporary file in %.200s: %s: set TMPDIR to another directory, or allow more "
                 "--memory",
                 directory && *directory ? directory : "/tmp", strerror(-r));
    return text;
}

int session_open(struct actctl *ctl)
{
    struct actc_error error;
    if (ctl->file)
        return session_open_file(ctl, ctl->file, NULL) == STATUS_FOUND ? STATUS_FOUND
                                                                       : STATUS_FAILED;
    struct actc_options options = {.connect_timeout_ms = ctl->timeout_ms,
                                   .call_timeout_ms = ctl->timeout_ms};
    int r = actc_connect(ctl->address, &options, &ctl->client, &error);
    if (r != 0)
        return session_fail(ctl, NULL, r, &error);
    actc_set_pin(ctl->client, ctl->is_pinned ? &ctl->pin : NULL);
    return STATUS_FOUND;
}

static int end_fail(const struct actctl *ctl, int r, const struct actc_error *error)
{
    const char *remedy = remedy_of(r, error);
    text_write(stderr, slice_of_str(error->message), ctl->text_flags);
    fprintf(stderr, "%s%s\n", remedy ? ": " : "", remedy ? remedy : "");
    return STATUS_FAILED;
}

int session_fail(const struct actctl *ctl, const char *about, int r, const struct actc_error *error)
{
    fprintf(stderr, "actctl: %s%s", about ? about : "", about ? ": " : "");
    return end_fail(ctl, r, error);
}

int session_fail_key(const struct actctl *ctl, struct slice key, int r,
                     const struct actc_error *error)
{
    begin_key(ctl, key);
    return end_fail(ctl, r, error);
}

int session_fail_number(const struct actctl *ctl, struct slice key, uint32_t number)
{
    struct actc_error error = {.number = number};
    snprintf(error.message, sizeof error.message, "%s: %s", actc_address(ctl->client),
             server_meaning(number));
    return session_fail_key(ctl, key, ACTC_ERROR, &error);
}

int session_fail_fault(const struct actctl *ctl, const char *path, struct slice key,
                       const struct act_fault *fault)
{
    struct actc_error error = {.number = PROTO_CORRUPT};
    snprintf(error.message, sizeof error.message, "%.500s: damaged at offset %" PRIu64 ": %s", path,
             fault->offset, fault->reason);
    return session_fail_key(ctl, key, ACTC_ERROR, &error);
}

int session_fail_result(const struct actctl *ctl, const char *method)
{
    return session_error(ctl, STATUS_FAILED,
                         "%s: %s: the result is not of the type that actd gives: is this server "
                         "actd, and not newer than this client?",
                         actc_address(ctl->client), method);
}

int session_miss(const struct actctl *ctl, struct slice key, const char *what)
{
    begin_key(ctl, key);
    fprintf(stderr, "%s\n", what);
    return STATUS_NOT_FOUND;
}

int session_error(const struct actctl *ctl, int status, const char *format, ...)
{
    char line[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    fputs("actctl: ", stderr);
    text_write(stderr, slice_of_str(line), ctl->text_flags);
    putc('\n', stderr);
    return status;
}
