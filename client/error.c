/*
 * error: see error.h.
 */
#include "client/error.h"

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
