/*
 * error: fills struct actc_error.
 */
#pragma once

#include "actc/actc.h"

/* Result: outcome, for `return error_set(...)`. error may be NULL. */
__attribute__((format(printf, 4, 5))) int error_set(struct actc_error *error, int outcome,
                                                    const char *address, const char *format, ...);

/* The same for an error of the server's, as it stands in a reply. ACTC_ERROR. */
int error_set_server(struct actc_error *error, const char *address, const msgpack_object *object);
