/*
 * link: see link.h.
 *
 * The happy path: CONTROL_GENERATION -> a thread maps the file (on_opened) -> CONTROL_MAPPED;
 * CONTROL_SWITCH -> worker_switch -> CONTROL_SWITCHED; CONTROL_CONNECTION -> worker_adopt, and one
 * CONTROL_TAKEN for all that came at once, before anything is read from them. A snapshot that
 * nobody uses any more is unmapped by a thread (on_unused).
 *
 * How it ends. CONTROL_DRAIN: when the last connection is closed. The control socket ends: at once,
 * since nobody watches over us any more.
 */
#include "daemon/worker/link.h"

#include "base/fd.h"
#include "base/log.h"
#include "daemon/control.h"
#include "daemon/events.h"
#include "daemon/worker/errand.h"
#include "daemon/worker/keep.h"
#include "daemon/worker/worker.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

static void on_control(uv_poll_t *poll, int status, int events);
static void on_heartbeat(uv_timer_t *timer);
static void on_drain_half(uv_timer_t *timer);
static void on_drain_end(uv_timer_t *timer);
static void on_opened(struct errand *errand);
static void on_unused(void *context, struct snapshot *snapshot);
static void on_freed(struct errand *errand);
static void on_damage(void *context, const struct snapshot *snapshot);
static void on_conn_closed(void *context);

/* Heartbeats in the time after which the supervisor gives us up. */
#define HEARTBEATS 5
/* Messages taken in one turn of the loop, so that a flood of connections leaves room for requests.
 */
#define MESSAGES_PER_TURN 64
/* Messages that wait for the supervisor to read. They are few; beyond this it is as good as dead.
 */
#define OUTBOX_MAX 32

/* A mapped generation that we do not answer from yet. */
struct offered {
    struct snapshot *snapshot; /* one reference */
    struct offered *next;
};

struct link {
    uv_loop_t loop;
    struct config config;
    struct board board;
    struct worker worker;
    int control; /* owned */
    uv_poll_t poll;
    uv_timer_t heartbeat;
    uv_timer_t drain; /* half of the drain's time, then all of it */
    struct offered *offered;
    struct opening *openings; /* on their way */
    uint64_t taken;           /* the last connection that we have */
    bool is_taken_due;        /* not told yet */
    bool is_heartbeat_due;    /* likewise */
    bool is_room_due;         /* likewise */
    uint64_t told_timed_out;  /* requests that the disk has not answered: these are told */
    struct log_pace disk_pace, dropped_pace;
    bool is_draining, is_closed;
    bool is_watching_output; /* the poll looks for room to write */
    struct control_message outbox[OUTBOX_MAX];
    unsigned n_outbox;
};

/* A generation on its way into memory; in a thread, since disks may be slow. */
struct opening {
    struct errand errand; /* first */
    struct link *link;
    struct opening *next;
    bool is_unwanted;
    int fd; /* owned until it is mapped */
    struct generation generation;
    struct snapshot *snapshot; /* the result, */
    int r;                     /* or why there is none */
    struct act_error error;
    struct keep_warning warning;
};

struct burial {
    struct errand errand;      /* first */
    struct snapshot *snapshot; /* owned */
    bool is_retired;           /* its pages go, too */
};

/* Closes everything; connections first. The loop then ends. */
static void end(struct link *link)
{
    worker_close_all(&link->worker);
    if (link->is_closed)
        return;
    link->is_closed = true;
    worker_close(&link->worker);
    uv_close((uv_handle_t *)&link->poll, NULL);
    uv_close((uv_handle_t *)&link->heartbeat, NULL);
    uv_close((uv_handle_t *)&link->drain, NULL);
}

static void watch_control(struct link *link, bool for_output)
{
    link->is_watching_output = for_output;
    uv_poll_start(&link->poll, UV_READABLE | (for_output ? UV_WRITABLE : 0), on_control);
}

/* False: there is no room now; what is due stays due. */
static bool send_one(struct link *link, const struct control_message *message)
{
    int r = control_send(link->control, message, -1);
    if (r < 0 && r != -EPIPE)
        log_with(LOG_LEVEL_ERROR, LOG_ERRNO(r), "cannot speak to the supervisor: %s", strerror(-r));
    return r != CONTROL_FULL; /* that it is gone is seen when we read */
}

static bool send_due(struct link *link, bool *is_due, enum control_type type, uint64_t number)
{
    if (*is_due && !send_one(link, &(struct control_message){.type = type, .number = number}))
        return false;
    *is_due = false;
    return true;
}

static void flush(struct link *link)
{
    unsigned n = 0;
    bool is_done = send_due(link, &link->is_taken_due, CONTROL_TAKEN, link->taken) &&
                   send_due(link, &link->is_room_due, CONTROL_ROOM, 0) &&
                   send_due(link, &link->is_heartbeat_due, CONTROL_HEARTBEAT, 0);
    while (is_done && n < link->n_outbox && (is_done = send_one(link, &link->outbox[n])))
        n++;
    link->n_outbox -= n;
    memmove(link->outbox, link->outbox + n, link->n_outbox * sizeof *link->outbox);
    if (!link->is_closed && link->is_watching_output == is_done)
        watch_control(link, !is_done);
}

/* All is answered. Not before the supervisor knows what we have taken: it would give that to
 * others.
 */
static void end_if_drained(struct link *link)
{
    if (link->is_draining && !link->is_taken_due && link->worker.stats->connections_open == 0)
        end(link);
}

/* Messages that must not be lost. text may be NULL. */
static void say(struct link *link, enum control_type type, uint64_t number, const char *text)
{
    if (link->n_outbox == OUTBOX_MAX) {
        log_error("the supervisor does not read what we tell it");
        end(link);
        return;
    }
    struct control_message *message = &link->outbox[link->n_outbox++];
    *message = (struct control_message){.type = type, .number = number};
    snprintf(message->text, sizeof message->text, "%.*s", CONTROL_TEXT_BYTES - 1, text ? text : "");
    flush(link);
}

static void say_unmappable(struct link *link, uint64_t number, const char *why)
{
    char text[CONTROL_TEXT_BYTES + sizeof(struct act_error)]; /* say cuts it */
    snprintf(text, sizeof text, "%.400s: a worker cannot map it: %s", link->config.tree_path, why);
    say(link, CONTROL_UNMAPPABLE, number, text);
}

static enum act_probe choose_probe(const struct snapshot *snapshot, const struct config *config)
{
    switch ((enum cold_probe)config->cold_probe) {
    case COLD_PROBE_MINCORE:
        return ACT_PROBE_MINCORE;
    case COLD_PROBE_NOWAIT:
        return ACT_PROBE_NOWAIT;
    case COLD_PROBE_NONE:
        return ACT_PROBE_NONE;
    default:
        return act_probe_find(snapshot->fd);
    }
}

/* Not a copy, and not a file that is locked as a whole. */
static bool may_be_cold(const struct snapshot *snapshot, const struct config *config)
{
    const struct generation *generation = &snapshot->generation;
    return config->cold_mode == COLD_OFFLOAD && generation->hold == GENERATION_MAPPED &&
           !(config->tree_mlock == TREE_MLOCK_YES &&
             snapshot->locked_bytes >= generation->size_bytes);
}

static void open_in_thread(struct errand *errand)
{
    struct opening *opening = (struct opening *)errand;
    const struct config *config = &opening->link->config;
    opening->r = snapshot_new(opening->fd, config->tree_path, &opening->generation,
                              config->tree_table_cache_bytes, &opening->snapshot, &opening->error);
    if (opening->r != 0)
        return;
    opening->fd = -1;
    keep_settle(opening->snapshot, config, &opening->warning);
    /* Without memory for that lookups wait, and are as right: tell_pages says so. */
    if (may_be_cold(opening->snapshot, config) &&
        snapshot_watch_pages(opening->snapshot, choose_probe(opening->snapshot, config)) == 0)
        act_residency_limit_values(opening->snapshot->residency, config->limits_max_reply_bytes);
}

/* Why it could not be opened. Whoever tells it names the file. */
static const char *reason_of(const struct opening *opening)
{
    const char *path = opening->link->config.tree_path, *reason = opening->error.message;
    size_t len = strlen(path);
    bool has_name = strncmp(reason, path, len) == 0 && strncmp(reason + len, ": ", 2) == 0;
    return has_name ? reason + len + 2 : reason;
}

/* The file is not what it was when it was checked, or its disk fails: we serve, but not from it.
 * Whoever took our place could do no better. */
static void take_damaged(struct link *link, struct opening *opening)
{
    const struct generation *generation = &opening->generation;
    const char *path = link->config.tree_path, *reason = reason_of(opening);
    if (snapshot_new_damaged(opening->fd, path, generation, reason, &opening->snapshot) != 0)
        return;
    opening->fd = -1;
    say(link, CONTROL_DAMAGED, generation->number, reason);
}

/* The newest that is mapped may be the next one: requests that are pinned to it wait. */
static void tell_offer(struct link *link)
{
    const struct offered *newest = link->offered;
    worker_offer(&link->worker, newest ? &newest->snapshot->generation : NULL);
}

/* How cold lookups are known, or that they are not. */
static void tell_pages(const struct link *link, const struct snapshot *snapshot)
{
    struct act_residency_info info;
    uint64_t number = snapshot->generation.number;
    if (!snapshot->tree)
        return;
    if (!snapshot->residency) {
        if (may_be_cold(snapshot, &link->config))
            log_with(LOG_LEVEL_WARNING, LOG_FIELDS(log_field_number("GENERATION", number)),
                     "%s: no memory for what is known of its pages: lookups wait for the disk",
                     snapshot->path);
        return;
    }
    act_residency_info(snapshot->residency, &info);
    if (info.probe == ACT_PROBE_NONE)
        log_with(LOG_LEVEL_INFO, LOG_FIELDS(log_field_number("GENERATION", number)),
                 "%s: whether a page is in memory cannot be asked here (see cold.probe): each goes "
                 "to the threads once",
                 snapshot->path);
    else
        log_with(LOG_LEVEL_INFO, LOG_FIELDS(log_field_number("GENERATION", number)),
                 "%s: whether a page is in memory is asked by %s", snapshot->path,
                 act_probe_name(info.probe));
}

/* Keeps the mapped file until it is wanted. */
static void offer(struct link *link, struct opening *opening)
{
    uint64_t number = opening->generation.number;
    struct offered *offered = NULL;
    if (opening->r > 0 || opening->r == -EIO)
        take_damaged(link, opening);
    else if (opening->r == 0 && opening->snapshot->damage)
        say(link, CONTROL_DAMAGED, number, opening->snapshot->damage);
    if (opening->snapshot)
        offered = malloc(sizeof *offered);
    if (!offered) {
        say_unmappable(link, number, opening->r < 0 ? reason_of(opening) : "out of memory");
        return;
    }
    if (opening->r == 0 && opening->warning.text[0] != '\0')
        log_event(&event_lock_refused,
                  LOG_FIELDS(log_field_number("GENERATION", number),
                             log_field_text("REASON", opening->warning.text)),
                  "%s", opening->warning.text);
    *offered = (struct offered){.snapshot = opening->snapshot, .next = link->offered};
    link->offered = offered;
    tell_pages(link, opening->snapshot);
    opening->snapshot = NULL;
    tell_offer(link);
    say(link, CONTROL_MAPPED, number, NULL);
}

static void on_opened(struct errand *errand)
{
    struct opening *opening = (struct opening *)errand;
    struct link *link = opening->link;
    struct opening **at = &link->openings;
    while (*at != opening)
        at = &(*at)->next;
    *at = opening->next;
    if (!link->is_closed && !opening->is_unwanted)
        offer(link, opening);
    if (opening->snapshot)
        on_unused(link, opening->snapshot);
    fd_closep(&opening->fd);
    free(opening);
}

/* Takes over fd. */
static void map_generation(struct link *link, const struct generation *generation, int fd)
{
    struct opening *opening = calloc(1, sizeof *opening);
    if (!opening || fd < 0) {
        say_unmappable(link, generation->number,
                       fd < 0 ? "no descriptor is left for it (LimitNOFILE=, ulimit -n)"
                              : "out of memory");
        fd_closep(&fd);
        free(opening);
        return;
    }
    opening->link = link;
    opening->fd = fd;
    opening->generation = *generation;
    opening->errand = (struct errand){.work = open_in_thread, .on_done = on_opened};
    opening->next = link->openings;
    link->openings = opening;
    errand_start(&opening->errand, &link->loop);
}

/* Out of the list; NULL: we do not have it. */
static struct snapshot *take_offered(struct link *link, uint64_t number)
{
    for (struct offered **at = &link->offered; *at; at = &(*at)->next) {
        struct offered *offered = *at;
        struct snapshot *snapshot = offered->snapshot;
        if (snapshot->generation.number != number)
            continue;
        *at = offered->next;
        free(offered);
        return snapshot;
    }
    return NULL;
}

static void switch_to(struct link *link, uint64_t number)
{
    struct snapshot *snapshot = take_offered(link, number);
    if (!snapshot)
        return;
    worker_switch(&link->worker, snapshot);
    link->board.own_page->locked_bytes = snapshot->locked_bytes;
    log_set_context(log_field_number("GENERATION", number));
    tell_offer(link);
    say(link, CONTROL_SWITCHED, number, NULL);
}

static void discard(struct link *link, uint64_t number)
{
    for (struct opening *opening = link->openings; opening; opening = opening->next)
        opening->is_unwanted |= opening->generation.number == number;
    worker_let_go(&link->worker, take_offered(link, number));
    tell_offer(link);
}

/* Takes over fd. */
static void adopt(struct link *link, uint64_t number, int fd)
{
    link->taken = number;
    link->is_taken_due = true;
    uint64_t n;
    int r = fd < 0 ? -EMFILE : worker_adopt(&link->worker, fd);
    if (fd < 0)
        link->board.own_page->connections_closed++;
    if (r < 0 && log_is_due(&link->dropped_pace, &n))
        log_with(LOG_LEVEL_WARNING, LOG_FIELDS(log_field_errno(r), log_field_number("REPEATED", n)),
                 "a connection was dropped: %s", uv_strerror(r));
}

static void drain(struct link *link)
{
    link->is_draining = true;
    uv_timer_start(&link->drain, on_drain_half, link->config.limits_drain_timeout_ms / 2, 0);
    worker_drain(&link->worker);
    end_if_drained(link);
}

static void cut(struct link *link)
{
    uint64_t n = link->worker.stats->connections_open;
    if (n > 0)
        log_warning("cutting %" PRIu64 " connections that are still open", n);
    worker_close_all(&link->worker);
}

static void damage(struct link *link, const struct control_message *message)
{
    struct snapshot *snapshot = link->worker.snapshot;
    if (snapshot && snapshot->generation.number == message->number)
        snapshot_damage(snapshot, message->text);
}

static void announce(struct link *link, uint64_t number)
{
    const struct snapshot *snapshot = link->worker.snapshot;
    if (snapshot && snapshot->generation.number == number)
        worker_announce(&link->worker, &snapshot->generation);
}

static void obey(struct link *link, const struct control_message *message, int passed)
{
    switch ((enum control_type)message->type) {
    case CONTROL_GENERATION:
        map_generation(link, &message->generation, passed);
        return;
    case CONTROL_CONNECTION:
        adopt(link, message->number, passed);
        return;
    case CONTROL_SWITCH:
        switch_to(link, message->number);
        break;
    case CONTROL_DISCARD:
        discard(link, message->number);
        break;
    case CONTROL_ANNOUNCE:
        announce(link, message->number);
        break;
    case CONTROL_DAMAGE:
        damage(link, message);
        break;
    case CONTROL_LOG_LEVEL:
        log_set_level((enum log_level)message->number);
        break;
    case CONTROL_DRAIN:
        drain(link);
        break;
    case CONTROL_CUT:
        cut(link);
        break;
    default:
        log_error("the supervisor sent something unknown (%" PRIu32 ")", message->type);
    }
    fd_closep(&passed);
}

static void hear(struct link *link)
{
    struct control_message message;
    int passed, r = 0;
    for (unsigned i = 0; i < MESSAGES_PER_TURN && !link->is_closed; i++) {
        r = control_receive(link->control, &message, &passed);
        if (r != 0)
            break;
        obey(link, &message, passed);
    }
    if (r == 0 || r == CONTROL_EMPTY)
        return;
    if (r < 0)
        log_with(LOG_LEVEL_ERROR, LOG_ERRNO(r), "the control socket fails: %s", strerror(-r));
    if (!link->is_draining)
        log_warning("the supervisor is gone: ending");
    end(link);
}

static void on_control(uv_poll_t *poll, int status, int events)
{
    struct link *link = poll->data;
    (void)events;
    if (status < 0)
        end(link);
    else
        hear(link);
    flush(link);
    end_if_drained(link);
}

static void look_at(struct link *link, struct snapshot *snapshot)
{
    if (snapshot && !snapshot->damage && !snapshot_unchanged(snapshot))
        worker_tell_damage(&link->worker, snapshot);
}

/* By then they have been answered, with IO_ERROR; clients are not told of more than their own. */
static void tell_disk(struct link *link)
{
    uint64_t asked, now = link->board.own_page->cold.timed_out, n = now - link->told_timed_out;
    uint64_t timeout_ms = link->config.cold_timeout_ms;
    if (n == 0 || !log_is_due(&link->disk_pace, &asked))
        return;
    link->told_timed_out = now;
    log_event(
        &event_disk_slow,
        LOG_FIELDS(log_field_number("REQUESTS", n), log_field_number("TIMEOUT_MS", timeout_ms)),
        "%s: the disk has not answered %" PRIu64 " requests within cold.timeout_ms = %" PRIu64
        ": they got IO_ERROR",
        link->config.tree_path, n, timeout_ms);
}

static void on_heartbeat(uv_timer_t *timer)
{
    struct link *link = timer->data;
    struct rusage usage;
    /* Also where nobody asks, a file that is spoilt is noticed, and a merge before the next one.
     * What is still to be switched to may be warmed up for hours. */
    look_at(link, link->worker.snapshot);
    for (struct offered *offered = link->offered; offered; offered = offered->next)
        look_at(link, offered->snapshot);
    if (getrusage(RUSAGE_SELF, &usage) == 0) {
        link->board.own_page->minor_faults = (uint64_t)usage.ru_minflt;
        link->board.own_page->major_faults = (uint64_t)usage.ru_majflt;
    }
    tell_disk(link);
    link->is_heartbeat_due = true;
    flush(link);
}

static void on_drain_half(uv_timer_t *timer)
{
    struct link *link = timer->data;
    worker_refuse(&link->worker);
    uv_timer_start(timer, on_drain_end, link->config.limits_drain_timeout_ms / 2, 0);
}

static void on_drain_end(uv_timer_t *timer)
{
    cut(timer->data);
}

static void free_in_thread(struct errand *errand)
{
    struct burial *burial = (struct burial *)errand;
    if (burial->is_retired)
        snapshot_bury(burial->snapshot);
    else
        snapshot_free(burial->snapshot);
}

static void on_freed(struct errand *errand)
{
    free(errand);
}

static bool is_same_file(const struct generation *a, const struct generation *b)
{
    return a->device == b->device && a->inode == b->inode;
}

/* It was served, and is not, nor will be: another file has taken its place. A file that was merged
 * into in place, or whose name came back, is the same one; and a candidate that was refused may be
 * tried again. */
static bool is_retired(const struct link *link, const struct generation *generation)
{
    const struct snapshot *current = link->worker.snapshot;
    if (!current || generation->number >= current->generation.number ||
        is_same_file(generation, &current->generation))
        return false;
    for (const struct offered *offered = link->offered; offered; offered = offered->next)
        if (is_same_file(generation, &offered->snapshot->generation))
            return false;
    for (const struct opening *opening = link->openings; opening; opening = opening->next)
        if (is_same_file(generation, &opening->generation))
            return false;
    return true;
}

static void on_unused(void *context, struct snapshot *snapshot)
{
    struct link *link = context;
    struct burial *burial = malloc(sizeof *burial);
    if (!burial) {
        snapshot_free(snapshot);
        return;
    }
    burial->snapshot = snapshot;
    burial->is_retired = is_retired(link, &snapshot->generation);
    burial->errand = (struct errand){.work = free_in_thread, .on_done = on_freed};
    errand_start(&burial->errand, &link->loop);
}

static void on_damage(void *context, const struct snapshot *snapshot)
{
    say(context, CONTROL_DAMAGED, snapshot->generation.number, snapshot->damage);
}

static void on_conn_closed(void *context)
{
    struct link *link = context;
    /* connections_closed is told before is_full is asked, as update_accepting does the reverse: one
     * of the two sees what the other one did. */
    atomic_thread_fence(memory_order_seq_cst);
    if (link->board.head->is_full && !link->is_closed) {
        link->is_room_due = true;
        flush(link);
    }
    end_if_drained(link);
}

/* The supervisor's signals may reach the whole process group; we end when it says so. */
static void ignore_signals(void)
{
    static const int ignored[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGPIPE};
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
        signal(ignored[i], SIG_IGN);
}

static int start(struct link *link, unsigned slot)
{
    int r = config_receive(&link->config, LINK_CONFIG_FD);
    if (r < 0)
        return r;
    log_init((enum log_level)link->config.log_level);
    log_set_context(log_field_text("TREE_PATH", link->config.tree_path));
    if ((r = board_attach(&link->board, &link->config, LINK_BOARD_FD, slot)) < 0 ||
        (r = uv_loop_init(&link->loop)) < 0 ||
        (r = worker_init(&link->worker, &link->loop, &link->board)) < 0)
        return r;
    close(LINK_CONFIG_FD);
    close(LINK_BOARD_FD);
    link->worker.context = link;
    link->worker.on_conn_closed = on_conn_closed;
    link->worker.on_unused = on_unused;
    link->worker.on_damage = on_damage;
    link->control = LINK_CONTROL_FD;
    if ((r = uv_poll_init(&link->loop, &link->poll, link->control)) < 0)
        return r;
    uv_timer_init(&link->loop, &link->heartbeat);
    uv_timer_init(&link->loop, &link->drain);
    link->poll.data = link->heartbeat.data = link->drain.data = link;
    watch_control(link, false);
    uint64_t interval = link->config.daemon_heartbeat_timeout_ms / HEARTBEATS;
    return uv_timer_start(&link->heartbeat, on_heartbeat, interval, interval);
}

/* False: a thread waits for a disk that does not answer. */
static bool deinit(struct link *link)
{
    struct snapshot *snapshot;
    while (link->offered &&
           (snapshot = take_offered(link, link->offered->snapshot->generation.number)))
        snapshot_free(snapshot);
    if (!worker_deinit(&link->worker))
        return false;
    uv_loop_close(&link->loop);
    board_detach(&link->board);
    config_deinit(&link->config);
    fd_closep(&link->control);
    return true;
}

int link_run(unsigned slot)
{
    char name[32];
    struct link *link = calloc(1, sizeof *link);
    int r = -ENOMEM;
    ignore_signals();
    if (link)
        r = start(link, slot);
    if (r < 0) {
        log_with(LOG_LEVEL_ERROR, LOG_ERRNO(r), "a worker cannot start: %s", strerror(-r));
        return EXIT_FAILURE;
    }
    snprintf(name, sizeof name, "worker %" PRIu32, link->board.slots[slot].number);
    log_set_name(name);
    log_set_context(log_field_number("WORKER", link->board.slots[slot].number));
    uv_run(&link->loop, UV_RUN_DEFAULT);
    if (!deinit(link))
        _exit(EXIT_SUCCESS);
    free(link);
    return EXIT_SUCCESS;
}
