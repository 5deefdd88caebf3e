/*
 * admin: the admin endpoint, HTTP on one listening socket. routes.c lists what there is.
 *
 * libmicrohttpd speaks HTTP; its epoll descriptor is watched by our loop. One struct admin a
 * listener.
 *
 *   admin     the socket, libmicrohttpd, time limits of connections
 *   exchange  a request's life: its headers, its body, who may ask, the answer
 *   access    who may ask: Host and token
 *   routes    what there is to ask for; the handlers. No HTTP library from here on
 *   render    answers in JSON             metrics  in Prometheus' format
 */
#pragma once

#include "daemon/admin/sources.h"
#include "daemon/supervisor/listen_socket.h"

#include <uv.h>

struct admin;

/* Takes over socket, also on failure. sources: borrowed. 0 or -errno. */
int admin_start(uv_loop_t *loop, struct listen_socket *socket, const struct admin_sources *sources,
                struct admin **ret);
/* All that wait for a reload must have their answer. Closes all connections and the socket;
 * is_store_working: a socket that is kept is lasting. The memory goes with admin_free after the
 * loop has run the close callbacks. */
void admin_stop(struct admin *admin, bool is_store_working);
void admin_free(struct admin *admin);
