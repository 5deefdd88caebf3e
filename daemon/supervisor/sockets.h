/*
 * sockets: all on which somebody listens for clients or for the admin endpoint.
 *
 *   inherited   from the service manager, by name: as they are
 *   kept        bound by ourselves before a restart, and back from the manager's store: taken where
 *               their address is still configured
 *   bound       whatever else is configured
 *
 * What the manager holds too, inherited or kept, is not emptied at the end: connections that wait
 * in its queue are the next process's.
 */
#pragma once

#include "daemon/admin/admin.h"
#include "daemon/config.h"
#include "daemon/supervisor/inherited.h"
#include "daemon/supervisor/listener.h"
#include "daemon/supervisor/store.h"

enum sockets_role { SOCKETS_DATA, SOCKETS_ADMIN };

/* One of them, on its way. */
struct sockets_place {
    enum sockets_role role;
    const struct address *address; /* borrowed; NULL: inherited */
    unsigned number;               /* among places of the same role and address */
    struct listen_socket socket;   /* fd -1: not open, or handed on */
};

struct sockets {
    const struct config *config;  /* borrowed */
    struct store *store;          /* borrowed */
    struct address fallback;      /* where nothing is configured or inherited */
    struct sockets_place *places; /* owned; room for all that is inherited and configured */
    size_t n_places;
    struct listener *listeners; /* owned, likewise */
    size_t n_listeners;
    struct admin **admin; /* owned, likewise */
    size_t n_admin;
    bool is_store_working; /* known when accepting ends */

    /* Of all listeners; set by the caller before sockets_open. */
    void (*on_connection)(void *context, int fd);
    void (*on_exhausted)(void *context, int error);
    void *context; /* borrowed: the owner's */
};

/* Plans what to listen on, and takes the sockets out of inherited. 0 or -errno. */
int sockets_init(struct sockets *sockets, const struct config *config, struct inherited *inherited,
                 struct store *store);
/* Admin endpoints among what is planned. */
size_t sockets_n_admin(const struct sockets *sockets);
/* Takes kept sockets out of inherited, binds what is missing, and gives the store what it does not
 * have. Admin endpoints answer from now on, listeners accept from sockets_resume on. 0, or -errno
 * with a line for people in error; what is open then stays so until the end. */
int sockets_open(struct sockets *sockets, uv_loop_t *loop, struct inherited *inherited,
                 const struct admin_sources *sources, char *error, size_t error_size);
/* Accepting from all listeners. */
void sockets_resume(struct sockets *sockets);
void sockets_pause(struct sockets *sockets);

/* The end, in two steps: no more clients; then no more admin endpoint. */
void sockets_close_listeners(struct sockets *sockets);
void sockets_close_admin(struct sockets *sockets);
/* After the loop has run the close callbacks. */
void sockets_deinit(struct sockets *sockets);
