/*
 * sockets: see sockets.h.
 *
 * A kept socket's name tells what it was bound for: kept-ROLE-NUMBER-HASH-DEVICE-INODE-TEXT, where
 * HASH is of the address as it is configured (so that port 0 comes back to the same port), and
 * DEVICE and INODE are of the Unix socket's file. As long as a socket lives no other file gets that
 * inode, so whether the file is still its own is certain. TEXT is for people.
 */
#include "daemon/supervisor/sockets.h"

#include "base/fd.h"
#include "base/log.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

#define ADMIN_BACKLOG 64
/* Of the address, in a kept socket's name. */
#define TEXT_BYTES 100

static const char *const role_names[] = {[SOCKETS_DATA] = "data", [SOCKETS_ADMIN] = "admin"};

static void plan(struct sockets *sockets, enum sockets_role role, const struct address *address)
{
    struct sockets_place *place = &sockets->places[sockets->n_places];
    *place = (struct sockets_place){.role = role, .address = address, .socket.fd = -1};
    for (size_t i = 0; i < sockets->n_places; i++) {
        const struct sockets_place *other = &sockets->places[i];
        place->number += other->role == role && other->address &&
                         strcmp(other->address->text, address->text) == 0;
    }
    sockets->n_places++;
}

static void plan_all(struct sockets *sockets, enum sockets_role role,
                     const struct config_addresses *addresses)
{
    for (unsigned i = 0; i < addresses->n; i++)
        plan(sockets, role, &addresses->list[i]);
}

static void plan_inherited(struct sockets *sockets, struct inherited *inherited)
{
    for (size_t i = 0; i < inherited->n; i++) {
        struct inherited_fd *one = &inherited->list[i];
        if (one->fd < 0 || one->role == INHERITED_KEPT)
            continue;
        struct sockets_place *place = &sockets->places[sockets->n_places++];
        *place = (struct sockets_place){.role = one->role == INHERITED_DATA ? SOCKETS_DATA
                                                                            : SOCKETS_ADMIN};
        listen_socket_inherit(&place->socket, fd_take(&one->fd));
    }
}

static size_t n_of(const struct sockets *sockets, enum sockets_role role)
{
    size_t n = 0;
    for (size_t i = 0; i < sockets->n_places; i++)
        n += sockets->places[i].role == role;
    return n;
}

size_t sockets_n_admin(const struct sockets *sockets)
{
    return n_of(sockets, SOCKETS_ADMIN);
}

int sockets_init(struct sockets *sockets, const struct config *config, struct inherited *inherited,
                 struct store *store)
{
    size_t most = config->listen_tcp.n + config->listen_unix.n + config->admin_tcp.n +
                  config->admin_unix.n + inherited->n + 1;
    *sockets = (struct sockets){.config = config, .store = store};
    sockets->places = calloc(most, sizeof *sockets->places);
    sockets->listeners = calloc(most, sizeof *sockets->listeners);
    sockets->admin = calloc(most, sizeof *sockets->admin);
    if (!sockets->places || !sockets->listeners || !sockets->admin) {
        sockets_deinit(sockets);
        return -ENOMEM;
    }
    plan_inherited(sockets, inherited);
    plan_all(sockets, SOCKETS_DATA, &config->listen_unix);
    plan_all(sockets, SOCKETS_DATA, &config->listen_tcp);
    if (n_of(sockets, SOCKETS_DATA) == 0) {
        config_default_address(&sockets->fallback);
        plan(sockets, SOCKETS_DATA, &sockets->fallback);
    }
    plan_all(sockets, SOCKETS_ADMIN, &config->admin_unix);
    plan_all(sockets, SOCKETS_ADMIN, &config->admin_tcp);
    return 0;
}

/* The part of a kept socket's name that the configuration decides. */
static void name_begin(const struct sockets_place *place, char *name, size_t size)
{
    const char *text = place->address->text;
    snprintf(name, size, "kept-%s-%u-%016" PRIx64 "-", role_names[place->role], place->number,
             (uint64_t)XXH3_64bits(text, strlen(text)));
}

static void name_of(const struct sockets_place *place, char *name, size_t size)
{
    char begin[64], text[TEXT_BYTES];
    name_begin(place, begin, sizeof begin);
    snprintf(text, sizeof text, "%.*s", TEXT_BYTES - 1, place->address->text);
    for (char *p = text; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr("./_-[]", *p))
            *p = '_';
    snprintf(name, size, "%s%" PRIx64 "-%" PRIx64 "-%s", begin, (uint64_t)place->socket.device,
             (uint64_t)place->socket.inode, text);
}

/* "1f-2a-..." behind the beginning. */
static bool parse_file(const char *text, dev_t *ret_device, ino_t *ret_inode)
{
    uint64_t device, inode;
    if (sscanf(text, "%16" SCNx64 "-%16" SCNx64 "-", &device, &inode) != 2)
        return false;
    *ret_device = (dev_t)device;
    *ret_inode = (ino_t)inode;
    return true;
}

static struct listen_options options_of(const struct sockets *sockets,
                                        const struct sockets_place *place)
{
    const struct config *config = sockets->config;
    bool is_data = place->role == SOCKETS_DATA;
    return (struct listen_options){
        .address = place->address,
        .mode = (mode_t)(is_data ? config->listen_unix_mode : config->admin_unix_mode),
        .backlog = is_data ? (int)config->listen_backlog : ADMIN_BACKLOG};
}

/* The inherited socket of the same role on which who connects there arrives. */
static const struct sockets_place *find_cover(const struct sockets *sockets,
                                              const struct sockets_place *place)
{
    for (size_t i = 0; i < sockets->n_places; i++) {
        const struct sockets_place *other = &sockets->places[i];
        if (!other->address && other->role == place->role &&
            listen_socket_covers(&other->socket, place->address))
            return other;
    }
    return NULL;
}

/* What the manager has kept for the place. It is taken only if it is the only one of its name:
 * which of them it is could not be told, nor removed. */
static struct inherited_fd *find_kept(struct inherited *inherited,
                                      const struct sockets_place *place)
{
    char begin[64];
    struct inherited_fd *found = NULL;
    name_begin(place, begin, sizeof begin);
    for (size_t i = 0; i < inherited->n; i++) {
        struct inherited_fd *one = &inherited->list[i];
        if (one->fd < 0 || strncmp(one->name, begin, strlen(begin)) != 0)
            continue;
        if (found)
            return NULL;
        found = one;
    }
    return found;
}

static void reuse(struct sockets *sockets, struct inherited *inherited, struct sockets_place *place)
{
    char begin[64], error[512] = "its name is none of ours";
    dev_t device;
    ino_t inode;
    struct listen_options options = options_of(sockets, place);
    struct inherited_fd *kept = find_kept(inherited, place);
    if (!kept)
        return;
    name_begin(place, begin, sizeof begin);
    if (!parse_file(kept->name + strlen(begin), &device, &inode) ||
        listen_socket_reuse(&place->socket, kept->fd, &options, device, inode, error,
                            sizeof error) < 0) {
        log_warning("%s: the socket that the service manager has kept is not used: %s",
                    place->address->text, error);
        return;
    }
    kept->fd = -1;
    place->socket.is_kept = true;
    log_info("%s: the socket from before the restart, with what is queued on it",
             place->address->text);
}

/* False: it is not to be opened. */
static bool is_needed(const struct sockets *sockets, const struct sockets_place *place)
{
    if (!place->address)
        return false; /* it is open */
    const struct sockets_place *cover = find_cover(sockets, place);
    if (cover)
        log_info("%s: not bound, since %s from the service manager takes its connections",
                 place->address->text, cover->socket.text);
    return !cover;
}

/* Whoever comes to it comes to us no more. */
static void drop_kept(struct sockets *sockets, struct inherited *inherited)
{
    bool is_any = false;
    for (size_t i = 0; i < inherited->n; i++) {
        struct inherited_fd *one = &inherited->list[i];
        char begin[32], kind[512];
        unsigned number;
        uint64_t hash;
        int len = 0;
        dev_t device;
        ino_t inode;
        if (one->fd < 0)
            continue;
        inherited_describe(one->fd, kind, sizeof kind);
        log_info("closing what the service manager has kept from before the restart: %s (%s)", kind,
                 one->name);
        if (sscanf(one->name, "kept-%16[a-z]-%u-%16" SCNx64 "-%n", begin, &number, &hash, &len) ==
                3 &&
            len > 0 && parse_file(one->name + len, &device, &inode))
            listen_socket_unlink(one->fd, device, inode);
        fd_closep(&one->fd);
        store_remove(sockets->store, one->name);
        is_any = true;
    }
    if (is_any) /* else their addresses may still be in use */
        store_settle(sockets->store);
}

static int bind_one(struct sockets *sockets, struct sockets_place *place, char *error, size_t size)
{
    char name[INHERITED_NAME_BYTES], why[1024];
    struct listen_options options = options_of(sockets, place);
    int r = listen_socket_open(&place->socket, &options, why, sizeof why);
    if (r < 0) {
        snprintf(error, size, "%s%s", place->role == SOCKETS_ADMIN ? "admin endpoint: " : "", why);
        return r;
    }
    name_of(place, name, sizeof name);
    place->socket.is_kept = store_keep(sockets->store, name, place->socket.fd);
    return 0;
}

static void warn_if_public(const struct sockets_place *place)
{
    struct sockaddr_storage bound = {0};
    socklen_t len = sizeof bound;
    bool is_data = place->role == SOCKETS_DATA;
    if (getsockname(place->socket.fd, (struct sockaddr *)&bound, &len) < 0 ||
        address_is_local((struct sockaddr *)&bound))
        return;
    log_with(LOG_LEVEL_WARNING, LOG_FIELDS(log_field_text("ADDRESS", place->socket.text)),
             "%s is not an address of this machine alone: anybody who reaches it can read %s. "
             "Listen on 127.0.0.1, or see that only those reach it who may",
             place->socket.text,
             is_data ? "every key" : "all statistics, and keys of slow requests");
}

static int start_listener(struct sockets *sockets, uv_loop_t *loop, struct sockets_place *place,
                          char *error, size_t size)
{
    struct listener *listener = &sockets->listeners[sockets->n_listeners];
    listener->on_connection = sockets->on_connection;
    listener->on_exhausted = sockets->on_exhausted;
    listener->context = sockets->context;
    int r = listener_init(listener, loop, &place->socket);
    if (r < 0) {
        snprintf(error, size, "%s: %s", place->socket.text, uv_strerror(r));
        return r;
    }
    sockets->n_listeners++;
    log_with(LOG_LEVEL_INFO, LOG_FIELDS(log_field_text("ADDRESS", listener->socket.text)),
             "listening on %s%s", listener->socket.text,
             place->address ? "" : ", from the service manager");
    return 0;
}

static int start_admin(struct sockets *sockets, uv_loop_t *loop,
                       const struct admin_sources *sources, struct sockets_place *place,
                       char *error, size_t size)
{
    char text[ADDRESS_TEXT_MAX];
    snprintf(text, sizeof text, "%s", place->socket.text);
    int r = admin_start(loop, &place->socket, sources, &sockets->admin[sockets->n_admin]);
    if (r < 0) {
        snprintf(error, size, "admin endpoint: %s: cannot start: %s", text, strerror(-r));
        return r;
    }
    sockets->n_admin++;
    log_with(LOG_LEVEL_INFO, LOG_FIELDS(log_field_text("ADDRESS", text)), "admin endpoint on %s%s",
             text, place->address ? "" : ", from the service manager");
    return 0;
}

int sockets_open(struct sockets *sockets, uv_loop_t *loop, struct inherited *inherited,
                 const struct admin_sources *sources, char *error, size_t error_size)
{
    size_t n = sockets->n_places;
    int r = 0;
    struct sockets_place *places = sockets->places;
    bool *is_wanted = calloc(n, sizeof *is_wanted);
    if (!is_wanted) {
        snprintf(error, error_size, "out of memory");
        return -ENOMEM;
    }
    for (size_t i = 0; i < n; i++)
        if ((is_wanted[i] = is_needed(sockets, &places[i])))
            reuse(sockets, inherited, &places[i]);
    drop_kept(sockets, inherited);
    for (size_t i = 0; r == 0 && i < n; i++)
        if (is_wanted[i] && places[i].socket.fd < 0)
            r = bind_one(sockets, &places[i], error, error_size);
    free(is_wanted);
    for (size_t i = 0; r == 0 && i < n; i++) {
        if (places[i].socket.fd < 0)
            continue;
        warn_if_public(&places[i]);
        r = places[i].role == SOCKETS_DATA
                ? start_listener(sockets, loop, &places[i], error, error_size)
                : start_admin(sockets, loop, sources, &places[i], error, error_size);
    }
    store_probe(sockets->store);
    return r;
}

void sockets_resume(struct sockets *sockets)
{
    for (size_t i = 0; i < sockets->n_listeners; i++)
        listener_resume(&sockets->listeners[i]);
}

void sockets_pause(struct sockets *sockets)
{
    for (size_t i = 0; i < sockets->n_listeners; i++)
        listener_pause(&sockets->listeners[i]);
}

void sockets_close_listeners(struct sockets *sockets)
{
    /* Whether a restart comes, or this is the end, nobody tells. If it is the end, the manager
     * closes its copies, and the file that stays is one that nobody listens on: the next start
     * replaces it. To remove it would be to turn away who connects during a restart. */
    sockets->is_store_working = store_is_kept(sockets->store);
    for (size_t i = 0; i < sockets->n_listeners; i++) {
        struct listener *listener = &sockets->listeners[i];
        listener->socket.is_lasting |= sockets->is_store_working && listener->socket.is_kept;
        listener_resume(listener); /* what waits in its queue is taken too, unless it is lasting */
        listener_close(listener);
    }
}

void sockets_close_admin(struct sockets *sockets)
{
    for (size_t i = 0; i < sockets->n_admin; i++)
        admin_stop(sockets->admin[i], sockets->is_store_working);
}

void sockets_deinit(struct sockets *sockets)
{
    for (size_t i = 0; i < sockets->n_admin; i++)
        admin_free(sockets->admin[i]);
    /* Those that never came to be listeners: the start has failed. */
    for (size_t i = 0; i < sockets->n_places; i++)
        if (sockets->places[i].socket.fd >= 0)
            listen_socket_close(&sockets->places[i].socket);
    free(sockets->places);
    free(sockets->listeners);
    free(sockets->admin);
    *sockets = (struct sockets){0};
}
