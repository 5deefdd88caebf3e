/*
 * store: what the service manager keeps for us while we are away, in its store of descriptors
 * (FileDescriptorStoreMax=), and gives back at the next start (supervisor/inherited).
 *
 *   kept-data-..., kept-admin-...   sockets that we bound ourselves: what is queued on them waits
 *                                   for the next process (supervisor/sockets)
 *   kept-generation-N, kept-facts-N what is served: its file or copy, and what is known of it
 *   kept-probe                      one end of a pipe, by which we see whether there is a store
 *
 * Without a manager all of it is a no-op. Nothing here waits for the manager, but store_settle.
 */
#pragma once

#include "daemon/supervisor/held.h"
#include "daemon/supervisor/inherited.h"
#include "daemon/supervisor/notify.h"

struct store {
    struct notify *notify; /* borrowed */
    uint64_t generation;   /* the number of the one that is kept; 0: none */
    int probe, barrier;    /* owned: reading ends of pipes; barrier -1: store_probe comes yet */
    unsigned n_removed;    /* before that */
    bool is_silent;        /* the manager did not answer in time, once */
};

void store_init(struct store *store, struct notify *notify);
void store_deinit(struct store *store);

/* False: it is not kept, for certain. That it is only store_is_kept can tell. name: as the manager
 * takes it, printable and without a colon. */
bool store_keep(struct store *store, const char *name, int fd);
void store_remove(struct store *store, const char *name);

/* Asks whether what was put there until now is kept. */
void store_probe(struct store *store);
/* Is it? False also while the manager has not answered. */
bool store_is_kept(const struct store *store);
/* Waits until the manager has done what it was told until now, at most a second, and only the first
 * time: an address is free again only when it has closed its copy of the socket. For the start. */
void store_settle(struct store *store);

/* Keeps this one, served from path, and no longer the one before. */
void store_keep_generation(struct store *store, const struct held *held, const char *path);
/* It is not to come back. */
void store_drop_generation(struct store *store);

/* Takes the generation that was kept for path out of what was inherited, if there is one that holds
 * together: whether its file is good has to be checked. What nobody knows is closed, with a
 * warning, and removed; sockets are left. Nothing may be kept before. ret: fd -1: there is none. */
void store_take_generation(struct store *store, struct inherited *inherited, const char *path,
                           struct held *ret);
