/*
 * admin: the admin endpoint, HTTP on one listening socket.
 *
 *     GET /livez     200 as long as the loop turns
 *     GET /readyz    200, or 503 with the reason
 *     GET /stats     everything, JSON (the same names as the method stats)
 *     GET /metrics   the same, Prometheus text format
 *     GET /residency  which pages of the file are in memory, JSON
 *     POST /reload   on a Unix socket: looks at the file again; answers with what came of it
 *
 * libmicrohttpd speaks HTTP; its epoll descriptor is watched by our loop. One struct admin a
 * listener.
 */
#pragma once

#include "daemon/stats.h"
#include "daemon/supervisor/census.h"
#include "daemon/supervisor/listener.h"
#include "daemon/supervisor/reload.h"

#include <uv.h>

struct admin;

/* Takes over socket, also on failure. 0 or -errno. */
int admin_start(uv_loop_t *loop, struct listen_socket *socket, const struct config *config,
                const struct board *board, struct reload *reload, struct census *census,
                struct admin **ret);
/* All that wait for a reload must have their answer. Closes all connections and the socket; the
 * memory goes with admin_free after the loop has run the close callbacks. */
void admin_stop(struct admin *admin);
void admin_free(struct admin *admin);
