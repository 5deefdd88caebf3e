/*
 * net_load: lookups over one connection with a fixed number in flight, as fast as they come back.
 * The same loop drives actd and redis, so that the two are measured alike.
 *
 *     net_load PROTOCOL ADDRESS KEYS DEPTH MILLISECONDS
 *
 * PROTOCOL is actd or redis, ADDRESS as in base/address.h. KEYS is a binary file: for each key a
 * u32 length, the bytes, and the u64 value that must come back (little-endian). All requests are
 * built before the clock starts; every reply is parsed and its value compared. Prints one line:
 *
 *     requests_per_s p50_us p99_us p999_us
 */
#include "base/address.h"

#include <endian.h>
#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define MAX_DEPTH     4096
#define RECEIVE_BYTES ((size_t)256 * 1024)
/* With ids from here on every msgid takes five bytes. */
#define FIRST_MSGID UINT32_C(0x10000)
/* Latencies are counted in tenths of a microsecond, the last slot takes the rest. */
#define LATENCY_SLOTS 1000000

struct protocol {
    size_t (*put)(uint8_t *out, struct slice key, uint32_t index);
    /* Bytes of the reply at p, 0 if it is not complete; *ret_value is what it carries. */
    size_t (*take)(const uint8_t *p, size_t len, uint32_t index, uint64_t *ret_value);
};

struct load {
    int fd;
    const struct protocol *protocol;
    uint32_t n;
    uint8_t *requests; /* all of them, back to back */
    size_t *offsets;   /* n + 1 */
    uint64_t *values;
    uint64_t sent_at[MAX_DEPTH]; /* ns, by request number modulo */
    uint32_t *latencies;
};

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static size_t put_actd(uint8_t *out, struct slice key, uint32_t index)
{
    uint8_t *p = out;
    uint32_t msgid = htobe32(FIRST_MSGID + index);
    memcpy(p, "\x94\x00\xce", 3);
    memcpy(p + 3, &msgid, 4);
    memcpy(p + 7, "\xa3get\x91", 5);
    p += 12;
    *p++ = key.len < 256 ? 0xc4 : 0xc5;
    if (key.len >= 256)
        *p++ = (uint8_t)(key.len >> 8);
    *p++ = (uint8_t)key.len;
    memcpy(p, key.p, key.len);
    return (size_t)(p - out) + key.len;
}

static size_t take_actd(const uint8_t *p, size_t len, uint32_t index, uint64_t *ret_value)
{
    uint32_t msgid = htobe32(FIRST_MSGID + index);
    if (len < 9)
        return 0;
    if (memcmp(p, "\x94\x01\xce", 3) != 0 || memcmp(p + 3, &msgid, 4) != 0 || p[7] != 0xc0)
        errx(1, "reply %" PRIu32 " is not the expected one", index);
    size_t n = p[8] < 0x80 ? 0 : (size_t)1 << (p[8] - 0xcc);
    if (p[8] >= 0x80 && (p[8] < 0xcc || p[8] > 0xcf))
        errx(1, "reply %" PRIu32 " is not a number", index);
    if (len < 9 + n)
        return 0;
    uint64_t value = n == 0 ? p[8] : 0;
    for (size_t i = 0; i < n; i++)
        value = value << 8 | p[9 + i];
    *ret_value = value;
    return 9 + n;
}

static size_t put_redis(uint8_t *out, struct slice key, uint32_t index)
{
    (void)index;
    int n = sprintf((char *)out, "*2\r\n$3\r\nGET\r\n$%zu\r\n", key.len);
    memcpy(out + n, key.p, key.len);
    memcpy(out + (size_t)n + key.len, "\r\n", 2);
    return (size_t)n + key.len + 2;
}

static size_t take_redis(const uint8_t *p, size_t len, uint32_t index, uint64_t *ret_value)
{
    static const size_t size = 4 + 8 + 2;
    if (len < size)
        return 0;
    if (memcmp(p, "$8\r\n", 4) != 0)
        errx(1, "reply %" PRIu32 " is not the expected one", index);
    memcpy(ret_value, p + 4, 8);
    *ret_value = le64toh(*ret_value);
    return size;
}

static void read_keys(struct load *load, const char *path)
{
    struct stat st;
    FILE *f = fopen(path, "rb");
    if (!f || fstat(fileno(f), &st) < 0)
        err(1, "%s", path);
    size_t size = (size_t)st.st_size;
    uint8_t *file = malloc(size);
    /* A request is its key and at most 40 bytes more; a key takes 12 bytes more in the file. */
    load->requests = malloc(4 * size);
    load->offsets = malloc((size / 12 + 2) * sizeof(size_t));
    load->values = malloc((size / 12 + 1) * sizeof(uint64_t));
    if (!file || !load->requests || !load->offsets || !load->values)
        errx(1, "out of memory");
    if (fread(file, 1, size, f) != size)
        err(1, "%s", path);
    fclose(f);
    size_t end = 0;
    for (size_t at = 0; at + 12 <= size; load->n++) {
        uint32_t len;
        memcpy(&len, file + at, 4);
        len = le32toh(len);
        if (len > size - at - 12 || len > 65535)
            errx(1, "%s: bad key length at byte %zu", path, at);
        load->offsets[load->n] = end;
        end += load->protocol->put(load->requests + end, slice_of(file + at + 4, len), load->n);
        memcpy(&load->values[load->n], file + at + 4 + len, 8);
        at += 12 + (size_t)len;
    }
    load->offsets[load->n] = end;
    free(file);
    if (load->n == 0)
        errx(1, "%s: no keys", path);
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
}

/* Sends requests [first, first + count), whose numbers go on behind the last key from the first. */
static void send_requests(struct load *load, uint64_t first, uint64_t count)
{
    uint64_t now = now_ns();
    while (count > 0) {
        uint32_t from = (uint32_t)(first % load->n);
        uint32_t part = count < load->n - from ? (uint32_t)count : load->n - from;
        const uint8_t *p = load->requests + load->offsets[from];
        size_t len = load->offsets[from + part] - load->offsets[from];
        while (len > 0) {
            ssize_t n = write(load->fd, p, len);
            if (n < 0)
                err(1, "write");
            p += n;
            len -= (size_t)n;
        }
        for (uint32_t i = 0; i < part; i++)
            load->sent_at[(first + i) % MAX_DEPTH] = now;
        first += part;
        count -= part;
    }
}

/* Result: how many bytes were whole replies. */
static size_t take_replies(struct load *load, const uint8_t *p, size_t len, uint64_t *received)
{
    size_t at = 0, n;
    uint64_t value, now = now_ns();
    for (;;) {
        uint32_t index = (uint32_t)(*received % load->n);
        n = load->protocol->take(p + at, len - at, index, &value);
        if (n == 0)
            return at;
        if (value != load->values[index])
            errx(1, "key %" PRIu32 ": the value is %" PRIu64 ", and not %" PRIu64, index, value,
                 load->values[index]);
        uint64_t latency = (now - load->sent_at[*received % MAX_DEPTH]) / 100;
        load->latencies[latency < LATENCY_SLOTS ? latency : LATENCY_SLOTS - 1]++;
        at += n;
        ++*received;
    }
}

/* Spins: the generator has a CPU of its own, and a sleep here would be measured as the server's. */
static size_t receive(struct load *load, uint8_t *p, size_t size)
{
    for (;;) {
        ssize_t n = recv(load->fd, p, size, MSG_DONTWAIT);
        if (n > 0)
            return (size_t)n;
        if (n == 0)
            errx(1, "the server has closed the connection");
        if (errno != EAGAIN)
            err(1, "recv");
    }
}

/* A sliding window: for each reply that has come a request is sent. */
static double run(struct load *load, unsigned depth, uint64_t milliseconds)
{
    static uint8_t in[RECEIVE_BYTES];
    size_t have = 0;
    uint64_t sent = depth, received = 0, begin = now_ns(), end = begin + milliseconds * 1000000;
    send_requests(load, 0, depth);
    while (received < sent) {
        have += receive(load, in + have, sizeof in - have);
        size_t used = take_replies(load, in, have, &received);
        have -= used;
        memmove(in, in + used, have);
        if (sent - received < depth && now_ns() < end) {
            uint64_t more = depth - (sent - received);
            send_requests(load, sent, more);
            sent += more;
        }
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

int main(int argc, char **argv)
{
    static const struct protocol actd = {put_actd, take_actd}, redis = {put_redis, take_redis};
    static struct load load;
    if (argc != 6)
        errx(2, "usage: net_load actd|redis ADDRESS KEYS DEPTH MILLISECONDS");
    unsigned depth = (unsigned)atoi(argv[4]);
    if (depth < 1 || depth > MAX_DEPTH)
        errx(2, "DEPTH is 1 to %d", MAX_DEPTH);
    load.protocol = strcmp(argv[1], "redis") == 0 ? &redis : &actd;
    load.latencies = calloc(LATENCY_SLOTS, sizeof(uint32_t));
    if (!load.latencies)
        errx(1, "out of memory");
    read_keys(&load, argv[3]);
    connect_to(&load, argv[2]);
    double rate = run(&load, depth, strtoull(argv[5], NULL, 10));
    printf("%.0f %.1f %.1f %.1f\n", rate, percentile(&load, 0.5), percentile(&load, 0.99),
           percentile(&load, 0.999));
    close(load.fd);
    return 0;
}
