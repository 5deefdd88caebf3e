/*
 * exchange: one request and its answer, between libmicrohttpd and the routes.
 *
 * on_request is called for the headers, for each piece of the body, and once it is all there: then
 * it is decided who may ask (access), and the route's handler answers, or says that it will:
 * the connection is suspended until admin_request_wake.
 */
#pragma once

#include "daemon/admin/sources.h"

#include <microhttpd.h>

/* Those of one listener. */
struct exchanges {
    const struct admin_sources *sources; /* borrowed */
    bool is_local;                       /* a Unix socket: whoever can connect may ask */
    unsigned n_waiting, max_waiting;     /* answers that come later */
    void (*on_resumed)(void *context);   /* MHD_run has something to do */
    void *context;                       /* borrowed: the owner's */
};

/* For MHD_start_daemon; context: struct exchanges. */
enum MHD_Result exchange_on_request(void *context, struct MHD_Connection *connection,
                                    const char *url, const char *method, const char *version,
                                    const char *body, size_t *body_size, void **state);
/* For MHD_OPTION_NOTIFY_COMPLETED. */
void exchange_on_end(void *context, struct MHD_Connection *connection, void **state,
                     enum MHD_RequestTerminationCode code);
