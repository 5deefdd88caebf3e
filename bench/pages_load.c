/*
 * pages_load: clients of an actd that serves a tree of pages_probe: hot ones beside cold ones.
 *
 *     pages_load mixed ADDRESS KEYS HOT
 *     pages_load touch ADDRESS KEYS STEP CONNECTIONS
 *     pages_load part ADDRESS KEYS BLOCK EVERY
 *
 * mixed: one connection asks for HOT keys in turn, one request at a time; they have been asked
 * before. Others ask for keys from all over the file, each for another page. For each line
 * "MILLISECONDS CONNECTIONS DEPTH" on standard input this goes on for so long, with so many of the
 * others (0: the hot one is alone) and so many requests in flight on each; then all replies that
 * are still to come are awaited, and a line of JSON is printed. Latencies are in microseconds, from
 * before the system call that sends until the reply has been read. Who asks one thing after the
 * other waits once for each standstill of the server, however long it is; any_p99_us is what
 * somebody else would have waited for the end of such a request, who comes at any time.
 *
 * touch: asks on each of the connections for every STEP-th key, so that all of them have read all
 * pages; then prints a line, and keeps the connections until standard input ends.
 *
 * part: the keys are cut into blocks of BLOCK neighbours, and one block in EVERY is asked for, its
 * keys at random. Lines as for mixed; all connections do this.
 *
 * Every value is compared. It sleeps while there is nothing to read: unlike net_load it shares its
 * CPU with the disk and with threads of the server.
 */
#include "base/address.h"
#include "bench/net_format.h"
#include "bench/pages_keys.h"

#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define DEPTH_MAX     64
#define PEERS_MAX     128
#define RECEIVE_BYTES 65536
#define TOUCH_DEPTH   32

/* Where keys come from: their numbers, with the same step each time; or at random from some blocks.
 */
struct source {
    uint64_t at, step;
    uint64_t n;            /* behind it the first ones come again */
    uint64_t left;         /* requests */
    uint64_t block, every; /* block 0: with the step */
};

struct slot {
    uint64_t key, sent_at; /* ns; 0: nothing is in flight here */
};

struct latencies {
    uint64_t *ns; /* owned */
    size_t n, room;
};

/* One connection. */
struct peer {
    int fd;
    struct source *source;
    struct latencies *latencies;
    uint32_t depth, n_in_flight;
    struct slot slots[DEPTH_MAX];
    uint8_t in[RECEIVE_BYTES];
    size_t have;
};

static struct peer peers[PEERS_MAX];
static const char *server;
static uint64_t n_keys;

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void add_latency(struct latencies *latencies, uint64_t ns)
{
    if (latencies->n == latencies->room) {
        latencies->room = latencies->room * 2 + 4096;
        latencies->ns = realloc(latencies->ns, latencies->room * sizeof *latencies->ns);
        if (!latencies->ns)
            errx(1, "out of memory");
    }
    latencies->ns[latencies->n++] = ns;
}

static void peer_open(struct peer *peer, struct source *source, struct latencies *latencies,
                      uint32_t depth)
{
    struct address address;
    const char *reason;
    int on = 1;
    if (address_parse(server, &address, &reason) != 0)
        errx(1, "%s: %s", server, reason);
    peer->fd = socket(address.sockaddr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (peer->fd < 0 || connect(peer->fd, (struct sockaddr *)&address.sockaddr, address.len) < 0)
        err(1, "%s", server);
    setsockopt(peer->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    peer->source = source;
    peer->latencies = latencies;
    peer->depth = depth;
    peer->n_in_flight = 0;
    peer->have = 0;
}

static uint64_t next_key(struct source *source)
{
    uint64_t key = source->at;
    if (source->block == 0) {
        source->at = (source->at + source->step) % source->n;
        return key;
    }
    do
        key = pages_mix(source->at++) % source->n;
    while (pages_mix(~(key / source->block)) % source->every != 0);
    return key;
}

/* Sends what its depth still has room for, at once. */
static void peer_send(struct peer *peer)
{
    uint8_t out[DEPTH_MAX * (NET_REQUEST_BYTES + NET_KEY_BYTES + PAGES_KEY_BYTES)];
    uint8_t key[PAGES_KEY_BYTES];
    size_t len = 0;
    uint64_t now = now_ns();
    for (uint32_t id = 0; id < peer->depth && peer->source->left > 0; id++) {
        struct slot *slot = &peer->slots[id];
        struct source *source = peer->source;
        if (slot->sent_at != 0)
            continue;
        *slot = (struct slot){next_key(source), now};
        source->left--;
        pages_key(slot->key, n_keys, key);
        len += net_actd[0].put(out + len, id, &(struct slice){key, sizeof key}, 1);
        peer->n_in_flight++;
    }
    for (size_t at = 0; at < len;) {
        ssize_t n = write(peer->fd, out + at, len - at);
        if (n < 0)
            err(1, "write");
        at += (size_t)n;
    }
}

static void take_reply(struct peer *peer, const struct net_reply *reply, uint64_t now)
{
    if (reply->id >= peer->depth || peer->slots[reply->id].sent_at == 0)
        errx(1, "a reply to request %" PRIu32 ", which is not in flight", reply->id);
    struct slot *slot = &peer->slots[reply->id];
    if (reply->values[0] != slot->key)
        errx(1, "key %ju has the value %ju", (uintmax_t)slot->key, (uintmax_t)reply->values[0]);
    if (peer->latencies)
        add_latency(peer->latencies, now - slot->sent_at);
    slot->sent_at = 0;
    peer->n_in_flight--;
}

static void peer_receive(struct peer *peer)
{
    static struct net_reply reply;
    ssize_t n = recv(peer->fd, peer->in + peer->have, sizeof peer->in - peer->have, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0)
        errx(1, "the server has closed the connection");
    peer->have += (size_t)n;
    uint64_t now = now_ns();
    size_t at = 0, taken;
    while ((taken = net_actd[0].take(peer->in + at, peer->have - at, &reply)) > 0) {
        take_reply(peer, &reply, now);
        at += taken;
    }
    peer->have -= at;
    memmove(peer->in, peer->in + at, peer->have);
}

/* Until the end, or until the sources have nothing left; then until all replies are there. */
static void run(uint32_t n_peers, uint64_t end_ns)
{
    struct pollfd fds[PEERS_MAX];
    uint32_t n_waiting = 0;
    for (uint32_t i = 0; i < n_peers; i++) {
        peer_send(&peers[i]);
        n_waiting += peers[i].n_in_flight > 0;
    }
    while (n_waiting > 0) {
        for (uint32_t i = 0; i < n_peers; i++)
            fds[i] = (struct pollfd){peers[i].n_in_flight > 0 ? peers[i].fd : -1, POLLIN, 0};
        if (poll(fds, n_peers, -1) < 0)
            err(1, "poll");
        n_waiting = 0;
        for (uint32_t i = 0; i < n_peers; i++) {
            if (fds[i].revents != 0)
                peer_receive(&peers[i]);
            if (fds[i].revents != 0 && now_ns() < end_ns)
                peer_send(&peers[i]);
            n_waiting += peers[i].n_in_flight > 0;
        }
    }
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

static double percentile_us(const struct latencies *latencies, double share)
{
    size_t i = (size_t)(share * (double)latencies->n);
    if (latencies->n == 0)
        return 0;
    return (double)latencies->ns[i < latencies->n ? i : latencies->n - 1] / 1000;
}

/* The remaining time of the request that is in flight at a random moment: a share of all moments
 * has more than this before it. Of one request after the other, sorted. */
static double any_time_us(const struct latencies *latencies, double share)
{
    double sum = 0, longest = 0, n = 0, result = 0;
    for (size_t i = 0; i < latencies->n; i++)
        sum += (double)latencies->ns[i];
    /* Of the n longest ones what lies beyond the result is `longest - n * result`. */
    for (size_t i = latencies->n; i-- > 0 && (double)latencies->ns[i] > result;) {
        longest += (double)latencies->ns[i];
        n++;
        double beyond = (longest - share * sum) / n;
        result = beyond > result ? beyond : result;
    }
    return result / 1000;
}

static void print_latencies(const char *name, struct latencies *latencies, const char *after)
{
    qsort(latencies->ns, latencies->n, sizeof *latencies->ns, compare);
    printf("\"%s\": {\"n\": %zu, \"p50_us\": %.1f, \"p99_us\": %.1f, \"p999_us\": %.1f, "
           "\"max_us\": %.1f, \"any_p99_us\": %.1f}%s",
           name, latencies->n, percentile_us(latencies, 0.5), percentile_us(latencies, 0.99),
           percentile_us(latencies, 0.999), percentile_us(latencies, 1),
           any_time_us(latencies, 0.01), after);
    latencies->n = 0;
}

static void run_mixed(uint64_t n_hot)
{
    static struct latencies hot_latencies, cold_latencies;
    /* Steps of the golden section of all keys: however many there were, none is near another. */
    struct source cold = {.at = 1,
                          .step = (uint64_t)((double)n_keys * 0.6180339887) | 1,
                          .n = n_keys,
                          .left = UINT64_MAX};
    struct source hot = {.step = n_keys / n_hot, .n = n_keys / n_hot * n_hot, .left = 10 * n_hot};
    uint64_t milliseconds;
    uint32_t n_cold, depth;
    peer_open(&peers[0], &hot, NULL, 1);
    run(1, UINT64_MAX);
    peers[0].latencies = &hot_latencies;
    hot.left = UINT64_MAX;
    printf("{}\n");
    fflush(stdout);
    while (scanf("%" SCNu64 " %" SCNu32 " %" SCNu32, &milliseconds, &n_cold, &depth) == 3) {
        if (n_cold >= PEERS_MAX || depth < 1 || depth > DEPTH_MAX)
            errx(2, "at most %d connections, 1 to %d in flight", PEERS_MAX - 1, DEPTH_MAX);
        for (uint32_t i = 1; i <= n_cold; i++)
            peer_open(&peers[i], &cold, &cold_latencies, depth);
        uint64_t begin = now_ns();
        run(n_cold + 1, begin + milliseconds * 1000000);
        printf("{\"seconds\": %.3f, ", (double)(now_ns() - begin) / 1e9);
        print_latencies("hot", &hot_latencies, ", ");
        print_latencies("cold", &cold_latencies, "}\n");
        fflush(stdout);
        for (uint32_t i = 1; i <= n_cold; i++)
            close(peers[i].fd);
    }
}

static void run_part(uint64_t block, uint64_t every)
{
    static struct latencies latencies;
    struct source part = {.n = n_keys, .left = UINT64_MAX, .block = block, .every = every};
    uint64_t milliseconds;
    uint32_t n_peers, depth;
    while (scanf("%" SCNu64 " %" SCNu32 " %" SCNu32, &milliseconds, &n_peers, &depth) == 3) {
        if (n_peers < 1 || n_peers > PEERS_MAX || depth < 1 || depth > DEPTH_MAX)
            errx(2, "1 to %d connections, 1 to %d in flight", PEERS_MAX, DEPTH_MAX);
        for (uint32_t i = 0; i < n_peers; i++)
            peer_open(&peers[i], &part, &latencies, depth);
        run(n_peers, now_ns() + milliseconds * 1000000);
        printf("{");
        print_latencies("part", &latencies, "}\n");
        fflush(stdout);
        for (uint32_t i = 0; i < n_peers; i++)
            close(peers[i].fd);
    }
}

static void run_touch(uint64_t step, uint32_t n_peers)
{
    static struct source sources[PEERS_MAX];
    if (n_peers < 1 || n_peers > PEERS_MAX)
        errx(2, "1 to %d connections", PEERS_MAX);
    for (uint32_t i = 0; i < n_peers; i++) {
        sources[i] = (struct source){.step = step, .n = n_keys, .left = (n_keys + step - 1) / step};
        peer_open(&peers[i], &sources[i], NULL, TOUCH_DEPTH);
    }
    run(n_peers, UINT64_MAX);
    printf("{}\n");
    fflush(stdout);
    while (getchar() != EOF)
        ;
}

int main(int argc, char **argv)
{
    bool is_mixed = argc == 5 && strcmp(argv[1], "mixed") == 0;
    bool is_touch = argc == 6 && strcmp(argv[1], "touch") == 0;
    bool is_part = argc == 6 && strcmp(argv[1], "part") == 0;
    if (!is_mixed && !is_touch && !is_part)
        errx(2, "usage: pages_load mixed ADDRESS KEYS HOT, touch ADDRESS KEYS STEP CONNECTIONS, or "
                "part ADDRESS KEYS BLOCK EVERY");
    server = argv[2];
    n_keys = strtoull(argv[3], NULL, 10);
    uint64_t number = strtoull(argv[4], NULL, 10);
    uint64_t other = is_mixed ? 1 : strtoull(argv[5], NULL, 10);
    if (number < 1 || number > n_keys || other < 1)
        errx(2, "%s: not a number of keys", argv[4]);
    if (is_mixed)
        run_mixed(number);
    else if (is_part)
        run_part(number, other);
    else
        run_touch(number, (uint32_t)other);
    return 0;
}
