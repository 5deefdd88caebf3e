/*
 * net_load: asks one server over one connection, with a fixed number of requests in flight, as fast
 * as they come back. The same loop drives all servers, so that they are measured alike.
 *
 *     net_load SERVER METHOD ADDRESS KEYS [COUNT]
 *
 * SERVER is actd, redis or tarantool, METHOD get, mget or scan, ADDRESS as in base/address.h. KEYS
 * is a key file (engine_keys.h) of what the server holds. get asks for its keys in their order,
 * mget for COUNT keys (100) a request in random order. scan reads pages of COUNT entries (1000)
 * from the first key to the last; the keys must be in ascending order.
 *
 * All requests are built before the clock starts. Those of a scan begin where the page before
 * ended, so the pages are read once for that. Every reply is parsed, all its values are compared,
 * and those of a scan's keys, too.
 *
 * For each line "DEPTH MILLISECONDS" on standard input it runs that long (with 0: until every
 * request was sent once), and prints a line:
 *
 *     requests_per_s items_per_s p50_us p99_us p999_us waited
 *
 * Items are keys or entries. waited is the part of the time in which there was nothing to read: if
 * it is nearly 0, the generator was what could not go faster.
 */
#include "bench/net_format.h"

#include "base/address.h"

#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define MAX_DEPTH     4096
#define RECEIVE_BYTES ((size_t)1024 * 1024)
/* Latencies are counted in tenths of a microsecond, the last slot takes the rest. */
#define LATENCY_SLOTS 1000000

struct load {
    int fd;
    const struct net_format *format;
    bool is_scan;
    struct engine_keys keys;
    uint32_t count;    /* items that a request asks for; the last one may ask for less */
    uint32_t n;        /* requests */
    uint8_t *requests; /* all of them, back to back */
    size_t *offsets;   /* n + 1 */
    uint64_t *sent_at; /* ns, for each request; 0 if it is not in flight */
    uint64_t next;     /* how many were sent; they go round */
    uint64_t items;    /* received */
    uint64_t waited_ns;
    uint32_t *latencies;
    uint8_t in[RECEIVE_BYTES];
    size_t have;
};

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void *allocate(size_t n, size_t size)
{
    void *p = calloc(n, size);
    if (!p)
        errx(1, "out of memory");
    return p;
}

static const struct net_format *find_format(const char *server, const char *method)
{
    const struct net_format *all[] = {net_actd, net_redis, net_tarantool};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        for (const struct net_format *f = all[i]; f->server; f++)
            if (strcmp(f->server, server) == 0 && strcmp(f->method, method) == 0)
                return f;
    errx(2, "%s has no %s", server, method);
}

static void load_keys(struct load *load, const char *path, bool is_random)
{
    struct engine_keys keys;
    engine_keys_load(&keys, path);
    if (keys.n == 0)
        errx(1, "%s: no keys", path);
    load->keys = keys;
    if (is_random) {
        engine_keys_pick(&load->keys, &keys, keys.n);
        engine_keys_deinit(&keys);
    }
    load->n = (uint32_t)((load->keys.n + load->count - 1) / load->count);
    load->offsets = allocate(load->n + 1, sizeof *load->offsets);
    load->sent_at = allocate(load->n, sizeof *load->sent_at);
    size_t room = load->n * (size_t)(NET_REQUEST_BYTES + NET_KEY_BYTES + ENGINE_KEY_BYTES_MAX);
    for (size_t i = 0; i < load->keys.n && !load->is_scan; i++)
        room += NET_KEY_BYTES + load->keys.at[i].len;
    load->requests = allocate(room, 1);
}

/* Items that request i asks for. */
static uint32_t items_of(const struct load *load, uint32_t i)
{
    size_t left = load->keys.n - (size_t)i * load->count;
    return left < load->count ? (uint32_t)left : load->count;
}

static void put_request(struct load *load, uint32_t i, const struct slice *keys, uint32_t n)
{
    uint8_t *p = load->requests + load->offsets[i];
    load->offsets[i + 1] = load->offsets[i] + load->format->put(p, i, keys, n);
}

static void build_requests(struct load *load)
{
    struct slice keys[NET_ITEMS_MAX];
    for (uint32_t i = 0; i < load->n; i++) {
        const struct engine_key *first = load->keys.at + (size_t)i * load->count;
        for (uint32_t k = 0; k < items_of(load, i); k++)
            keys[k] = slice_of(first[k].p, first[k].len);
        put_request(load, i, keys, items_of(load, i));
    }
}

/* Spins: the generator has a CPU of its own, and a sleep here would be measured as the server's. */
static void receive(struct load *load)
{
    uint64_t begin = 0;
    for (;;) {
        ssize_t n =
            recv(load->fd, load->in + load->have, sizeof load->in - load->have, MSG_DONTWAIT);
        if (n > 0) {
            load->have += (size_t)n;
            load->waited_ns += begin > 0 ? now_ns() - begin : 0;
            return;
        }
        if (n == 0)
            errx(1, "the server has closed the connection");
        if (errno != EAGAIN)
            err(1, "recv");
        begin = begin > 0 ? begin : now_ns();
    }
}

static void connect_to(struct load *load, const char *text)
{
    struct address address;
    const char *reason;
    int on = 1;
    if (address_parse(text, &address, &reason) != 0)
        errx(1, "%s: %s", text, reason);
    load->fd = socket(address.sockaddr.ss_family, SOCK_STREAM, 0);
    if (load->fd < 0 || connect(load->fd, (struct sockaddr *)&address.sockaddr, address.len) < 0)
        err(1, "%s", text);
    setsockopt(load->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    while (load->have < load->format->greeting_bytes)
        receive(load);
    load->have = 0;
}

/* Sends the next requests, after the last one from the first on again. */
static void send_requests(struct load *load, uint64_t count)
{
    uint64_t now = now_ns();
    while (count > 0) {
        uint32_t from = (uint32_t)(load->next % load->n);
        uint32_t part = count < load->n - from ? (uint32_t)count : load->n - from;
        const uint8_t *p = load->requests + load->offsets[from];
        size_t len = load->offsets[from + part] - load->offsets[from];
        for (uint32_t i = from; i < from + part; i++) {
            if (load->sent_at[i] != 0)
                errx(1, "more in flight than there are requests");
            load->sent_at[i] = now;
        }
        while (len > 0) {
            ssize_t n = write(load->fd, p, len);
            if (n < 0)
                err(1, "write");
            p += n;
            len -= (size_t)n;
        }
        load->next += part;
        count -= part;
    }
}

static void check_reply(const struct load *load, const struct net_reply *reply)
{
    uint32_t i = reply->id;
    if (i >= load->n || load->sent_at[i] == 0)
        errx(1, "a reply to request %" PRIu32 ", which is not in flight", i);
    if (reply->n != items_of(load, i))
        errx(1, "request %" PRIu32 " gets %" PRIu32 " items, and not %" PRIu32, i, reply->n,
             items_of(load, i));
    const struct engine_key *keys = load->keys.at + (size_t)i * load->count;
    const uint64_t *values = load->keys.values + (size_t)i * load->count;
    for (uint32_t k = 0; k < reply->n; k++) {
        if (load->is_scan && !slice_equal(reply->keys[k], slice_of(keys[k].p, keys[k].len)))
            errx(1, "page %" PRIu32 ": entry %" PRIu32 " has another key", i, k);
        if (reply->values[k] != values[k])
            errx(1, "request %" PRIu32 ": value %" PRIu32 " is %" PRIu64 ", and not %" PRIu64, i, k,
                 reply->values[k], values[k]);
    }
}

/* Takes one reply from p on, if it is all there. Result: its bytes, or 0. */
static size_t take_reply(struct load *load, const uint8_t *p, size_t len, uint64_t now,
                         struct net_reply *reply)
{
    size_t taken = load->format->take(p, len, reply);
    if (taken == 0)
        return 0;
    check_reply(load, reply);
    uint64_t latency = (now - load->sent_at[reply->id]) / 100;
    load->latencies[latency < LATENCY_SLOTS ? latency : LATENCY_SLOTS - 1]++;
    load->sent_at[reply->id] = 0;
    load->items += reply->n;
    return taken;
}

/* Takes all replies that are whole. first is the number of the run's first request, *received how
 * many have come since: where replies carry no id, they come in that order. */
static void take_replies(struct load *load, uint64_t *received, uint64_t first)
{
    static struct net_reply reply;
    size_t at = 0, taken;
    uint64_t now = now_ns();
    do {
        reply.id = (uint32_t)((first + *received) % load->n);
        taken = take_reply(load, load->in + at, load->have - at, now, &reply);
        at += taken;
        *received += taken > 0;
    } while (taken > 0);
    load->have -= at;
    memmove(load->in, load->in + at, load->have);
}

/* Reads all pages, one after the other: each request is built from the cursor of the page before.
 */
static void build_pages(struct load *load)
{
    static struct net_reply reply;
    for (uint32_t i = 0; i < load->n; i++) {
        put_request(load, i, &reply.cursor, load->count);
        send_requests(load, 1);
        reply.id = i;
        while (take_reply(load, load->in, load->have, now_ns(), &reply) == 0)
            receive(load);
        load->have = 0;
    }
}

/* A sliding window: for each reply that has come a request is sent. */
static double run(struct load *load, unsigned depth, uint64_t milliseconds)
{
    uint64_t first = load->next, received = 0, begin = now_ns();
    uint64_t end = begin + milliseconds * 1000000;
    uint64_t most = milliseconds > 0 ? UINT64_MAX : load->n;
    memset(load->latencies, 0, LATENCY_SLOTS * sizeof *load->latencies);
    load->items = load->waited_ns = 0;
    send_requests(load, depth < load->n ? depth : load->n);
    while (received < load->next - first) {
        receive(load);
        take_replies(load, &received, first);
        uint64_t sent = load->next - first, more = depth - (sent - received);
        if (more > 0 && sent < most && (milliseconds == 0 || now_ns() < end))
            send_requests(load, more < most - sent ? more : most - sent);
    }
    return (double)received / ((double)(now_ns() - begin) / 1e9);
}

static double percentile(const struct load *load, double share)
{
    uint64_t total = 0, sum = 0;
    for (size_t i = 0; i < LATENCY_SLOTS; i++)
        total += load->latencies[i];
    for (size_t i = 0; i < LATENCY_SLOTS; i++)
        if ((double)(sum += load->latencies[i]) >= share * (double)total)
            return (double)i / 10;
    return 0;
}

static void run_line(struct load *load, unsigned depth, uint64_t milliseconds)
{
    uint64_t begin = now_ns();
    double rate = run(load, depth, milliseconds), seconds = (double)(now_ns() - begin) / 1e9;
    printf("%.0f %.0f %.1f %.1f %.1f %.3f\n", rate, (double)load->items / seconds,
           percentile(load, 0.5), percentile(load, 0.99), percentile(load, 0.999),
           (double)load->waited_ns / 1e9 / seconds);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static struct load load;
    if (argc < 5 || argc > 6)
        errx(2, "usage: net_load SERVER METHOD ADDRESS KEYS [COUNT]");
    bool is_get = strcmp(argv[2], "get") == 0;
    load.format = find_format(argv[1], argv[2]);
    load.is_scan = strcmp(argv[2], "scan") == 0;
    load.count = argc > 5 ? (uint32_t)atoi(argv[5]) : load.is_scan ? 1000 : 100;
    load.count = is_get ? 1 : load.count;
    if (load.count < 1 || load.count > NET_ITEMS_MAX)
        errx(2, "COUNT is 1 to %d", NET_ITEMS_MAX);
    load.latencies = allocate(LATENCY_SLOTS, sizeof *load.latencies);
    load_keys(&load, argv[4], !is_get && !load.is_scan);
    connect_to(&load, argv[3]);
    if (load.is_scan)
        build_pages(&load);
    else
        build_requests(&load);
    unsigned depth;
    uint64_t milliseconds;
    while (scanf("%u %" SCNu64, &depth, &milliseconds) == 2) {
        if (depth < 1 || depth > MAX_DEPTH)
            errx(2, "DEPTH is 1 to %d", MAX_DEPTH);
        run_line(&load, depth, milliseconds);
    }
    close(load.fd);
    return 0;
}
