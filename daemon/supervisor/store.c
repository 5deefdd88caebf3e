/*
 * store: see store.h.
 *
 * Whether descriptors are really kept the manager does not say, and by default it keeps none. But
 * it closes what it does not keep: so we give it the writing end of a pipe, and another one with
 * the message BARRIER=1, which it closes when everything before is done. Then the first one tells.
 * When we end, the manager sees that nobody reads from it any more, and forgets it by itself.
 */
#include "daemon/supervisor/store.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PROBE_NAME        "kept-probe"
#define GENERATION_PREFIX "kept-generation-"
#define FACTS_PREFIX      "kept-facts-"
#define SOCKET_PREFIXES   "kept-data-", "kept-admin-"

#define SETTLE_MS 1000
/* Fewer than a manager's socket has room for. */
#define REMOVED_AT_ONCE 8

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

/* Another actd may read it: one that does not know this version drops it. Count up with every
 * change of struct generation. */
#define FACTS_MAGIC   "actdkept"
#define FACTS_VERSION 1

struct facts {
    char magic[8];
    uint32_t version;
    uint32_t size_bytes; /* of this struct */
    struct generation generation;
    char path[PATH_MAX]; /* that it was served from */
};

static bool has_manager(const struct store *store)
{
    return store->notify->fd >= 0;
}

void store_init(struct store *store, struct notify *notify)
{
    *store = (struct store){.notify = notify, .probe = -1, .barrier = -1};
}

void store_deinit(struct store *store)
{
    fd_closep(&store->probe);
    fd_closep(&store->barrier);
}

/* Do all writing ends of the pipe belong to nobody any more? */
static bool is_closed(int fd, int wait_ms)
{
    struct pollfd poll_fd = {.fd = fd};
    uint64_t now = clock_ms(), end = now + (uint64_t)wait_ms;
    int n;
    /* Signals come when a check or a worker ends, and are the loop's. */
    while ((n = poll(&poll_fd, 1, (int)(end - now))) < 0 && errno == EINTR) {
        now = clock_ms();
        now = now < end ? now : end;
    }
    return n > 0 && (poll_fd.revents & POLLHUP);
}

/* What it had been given it has closed. */
static bool is_useless(const struct store *store)
{
    return !has_manager(store) || (store->probe >= 0 && is_closed(store->probe, 0));
}

bool store_keep(struct store *store, const char *name, int fd)
{
    char text[INHERITED_NAME_BYTES + 32];
    if (is_useless(store))
        return false;
    snprintf(text, sizeof text, "FDSTORE=1\nFDNAME=%s", name);
    notify_send(store->notify, text, fd);
    return true;
}

/* A line of its own in a message. */
static bool is_plain(const char *name)
{
    for (; *name; name++)
        if (*name < ' ' || *name > '~' || *name == ':')
            return false;
    return true;
}

void store_remove(struct store *store, const char *name)
{
    char text[INHERITED_NAME_BYTES + 32];
    if (!has_manager(store) || !is_plain(name))
        return;
    snprintf(text, sizeof text, "FDSTOREREMOVE=1\nFDNAME=%s", name);
    notify_send(store->notify, text, -1);
    /* At the start there may be many of them, and nobody yet who sends what has to wait. */
    if (store->barrier < 0 && ++store->n_removed % REMOVED_AT_ONCE == 0)
        store_settle(store);
}

/* Hands the manager the writing end of a new pipe. The reading end, or -errno. */
static int hand_pipe(struct store *store, const char *text)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
        return -errno;
    notify_send(store->notify, text, ends[1]);
    fd_closep(&ends[1]);
    return ends[0];
}

/* The first one: the manager logs a warning for each descriptor that it does not keep. */
static void begin_probe(struct store *store)
{
    if (has_manager(store))
        store->probe = hand_pipe(store, "FDSTORE=1\nFDNAME=" PROBE_NAME);
}

void store_probe(struct store *store)
{
    if (!has_manager(store) || store->barrier >= 0)
        return;
    fd_closep(&store->probe);
    store_remove(store, PROBE_NAME);
    begin_probe(store);
    store->barrier = hand_pipe(store, "BARRIER=1");
}

bool store_is_kept(const struct store *store)
{
    return store->probe >= 0 && store->barrier >= 0 && is_closed(store->barrier, 0) &&
           !is_closed(store->probe, 0);
}

void store_settle(struct store *store)
{
    if (!has_manager(store) || store->is_silent)
        return;
    with_close int barrier = hand_pipe(store, "BARRIER=1");
    store->is_silent = barrier < 0 || !is_closed(barrier, SETTLE_MS);
    if (store->is_silent)
        log_warning("the service manager does not answer: not waiting for it");
}

static void remove_generation(struct store *store, uint64_t number)
{
    char name[INHERITED_NAME_BYTES];
    snprintf(name, sizeof name, GENERATION_PREFIX "%" PRIu64, number);
    store_remove(store, name);
    snprintf(name, sizeof name, FACTS_PREFIX "%" PRIu64, number);
    store_remove(store, name);
}

/* The facts as a sealed file in memory, or -errno. */
static int facts_fd(const struct generation *generation, const char *path)
{
    static struct facts facts; /* zeros between its fields, too */
    if (strlen(path) >= sizeof facts.path)
        return -ENAMETOOLONG;
    memset(&facts, 0, sizeof facts);
    memcpy(facts.magic, FACTS_MAGIC, sizeof facts.magic);
    facts.version = FACTS_VERSION;
    facts.size_bytes = sizeof facts;
    facts.generation = *generation;
    memcpy(facts.path, path, strlen(path));
    with_close int fd = memfd_create("actd-facts", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    if (write(fd, &facts, sizeof facts) != (ssize_t)sizeof facts)
        return -EIO;
    if (fcntl(fd, F_ADD_SEALS, SEALS | F_SEAL_SEAL) < 0)
        return -errno;
    return fd_take(&fd);
}

void store_keep_generation(struct store *store, const struct held *held, const char *path)
{
    char name[INHERITED_NAME_BYTES];
    uint64_t before = store->generation, number = held->generation.number;
    if (is_useless(store))
        return;
    with_close int facts = facts_fd(&held->generation, path);
    if (facts < 0)
        log_warning("generation %" PRIu64 " is not given to the service manager: %s", number,
                    strerror(-facts));
    if (before == number)
        remove_generation(store, before);
    if (facts >= 0) {
        snprintf(name, sizeof name, GENERATION_PREFIX "%" PRIu64, number);
        if (store_keep(store, name, held->fd)) {
            snprintf(name, sizeof name, FACTS_PREFIX "%" PRIu64, number);
            store_keep(store, name, facts);
        }
    }
    /* Also where the new one could not be kept: an older one must not come back. */
    if (before != 0 && before != number)
        remove_generation(store, before);
    store->generation = number;
}

void store_drop_generation(struct store *store)
{
    if (store->generation != 0)
        remove_generation(store, store->generation);
    store->generation = 0;
}

/* Why the facts are none that we can use; NULL: ret is filled in. */
static const char *read_facts(int fd, uint64_t number, const char *path, struct generation *ret)
{
    static struct facts facts;
    struct stat st;
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & SEALS) != SEALS)
        return "its facts are no sealed file in memory";
    if (fstat(fd, &st) < 0 || st.st_size < (off_t)offsetof(struct facts, generation) ||
        pread(fd, &facts, sizeof facts, 0) !=
            (st.st_size < (off_t)sizeof facts ? st.st_size : (off_t)sizeof facts))
        return "its facts are cut short";
    if (memcmp(facts.magic, FACTS_MAGIC, sizeof facts.magic) != 0)
        return "its facts are something else";
    if (facts.version != FACTS_VERSION || facts.size_bytes != sizeof facts)
        return "its facts are of another version of actd";
    if (st.st_size != (off_t)sizeof facts)
        return "its facts are cut short";
    const struct generation *generation = &facts.generation;
    if (generation->number != number || number == 0 || number > INT64_MAX ||
        generation->hold > GENERATION_HUGE || generation->n_roots > GENERATION_ROOTS_MAX ||
        generation->size_bytes > INT64_MAX ||
        !memchr(generation->remark, '\0', sizeof generation->remark) ||
        !memchr(facts.path, '\0', sizeof facts.path))
        return "its facts do not make sense";
    if (strcmp(facts.path, path) != 0)
        return "it was served from another path";
    *ret = *generation;
    return NULL;
}

/* "kept-generation-7" -> 7; 0: it is no such name. */
static uint64_t number_of(const char *name, const char *prefix)
{
    char *end;
    size_t len = strlen(prefix);
    if (strncmp(name, prefix, len) != 0 || name[len] < '1' || name[len] > '9')
        return 0;
    errno = 0;
    uint64_t number = strtoull(name + len, &end, 10);
    return errno == 0 && *end == '\0' ? number : 0;
}

static bool is_socket_name(const char *name)
{
    static const char *const prefixes[] = {SOCKET_PREFIXES};
    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++)
        if (strncmp(name, prefixes[i], strlen(prefixes[i])) == 0)
            return true;
    return false;
}

/* The only one of that name; NULL: there is none, or there are or were more. */
static struct inherited_fd *find(struct inherited *inherited, const char *name)
{
    struct inherited_fd *found = NULL;
    for (size_t i = 0; i < inherited->n; i++) {
        struct inherited_fd *one = &inherited->list[i];
        if (strcmp(one->name, name) != 0)
            continue;
        if (found)
            return NULL;
        found = one;
    }
    return found;
}

/* What is wrong with a descriptor of this name; NULL: ret is the generation, and taken. */
static const char *take_one(struct inherited *inherited, struct inherited_fd *one, const char *path,
                            struct held *ret)
{
    char name[INHERITED_NAME_BYTES];
    struct generation generation;
    uint64_t number = number_of(one->name, GENERATION_PREFIX);
    snprintf(name, sizeof name, FACTS_PREFIX "%" PRIu64, number);
    struct inherited_fd *facts = find(inherited, name);
    if (!facts || find(inherited, one->name) != one)
        return "it is there without its facts, or more than once";
    const char *reason = read_facts(facts->fd, number, path, &generation);
    if (reason)
        return reason;
    if (number <= ret->generation.number)
        return "there is a newer one";
    fd_closep(&ret->fd);
    *ret = (struct held){.generation = generation, .fd = fd_take(&one->fd)};
    return NULL;
}

static void refuse(struct store *store, struct inherited_fd *one, const char *reason)
{
    char kind[512];
    inherited_describe(one->fd, kind, sizeof kind);
    log_warning("the service manager has kept %s under the name \"%s\": not used: %s", kind,
                one->name, reason);
    fd_closep(&one->fd);
    store_remove(store, one->name);
}

void store_take_generation(struct store *store, struct inherited *inherited, const char *path,
                           struct held *ret)
{
    struct held taken = {.fd = -1};
    for (size_t i = 0; i < inherited->n; i++) {
        struct inherited_fd *one = &inherited->list[i];
        if (one->fd < 0 || one->role != INHERITED_KEPT)
            continue;
        uint64_t before = taken.generation.number;
        if (number_of(one->name, GENERATION_PREFIX) != 0) {
            const char *reason = take_one(inherited, one, path, &taken);
            if (reason)
                refuse(store, one, reason);
            else if (before != 0)
                remove_generation(store, before);
        }
    }
    for (size_t i = 0; i < inherited->n; i++) {
        struct inherited_fd *one = &inherited->list[i];
        if (one->fd < 0 || one->role != INHERITED_KEPT || is_socket_name(one->name))
            continue;
        uint64_t number = number_of(one->name, FACTS_PREFIX);
        if (strcmp(one->name, PROBE_NAME) == 0)
            store_remove(store, one->name);
        else if (number == 0)
            refuse(store, one, "it is nothing of this actd's");
        else if (number != taken.generation.number)
            store_remove(store, one->name);
        fd_closep(&one->fd);
    }
    store->generation = taken.generation.number;
    *ret = taken;
    begin_probe(store);
}
