/*
 * error: see error.h.
 */
#include "client/error.h"

#include "client/reply.h"

#include <stdarg.h>
#include <stdio.h>

int error_set(struct actc_error *error, int outcome, const char *address, const char *format, ...)
{
    if (!error)
        return outcome;
    va_list args;
    va_start(args, format);
    error->number = 0;
    error->text[0] = '\0';
    int n = snprintf(error->message, sizeof error->message,
                     "%.*s: ", (int)(sizeof error->message / 2), address);
    vsnprintf(error->message + n, sizeof error->message - (size_t)n, format, args);
    va_end(args);
    return outcome;
}

int error_set_server(struct actc_error *error, const char *address, const msgpack_object *object)
{
    char text[sizeof error->text] = "";
    struct slice said;
    uint32_t number = actc_error_number(object, &said);
    if (said.len > 0)
        memcpy(text, said.p, said.len < sizeof text ? said.len : sizeof text - 1);
    error_set(error, ACTC_ERROR, address, "%s", text);
    if (error) {
        error->number = number;
        memcpy(error->text, text, sizeof text);
    }
    return ACTC_ERROR;
}
