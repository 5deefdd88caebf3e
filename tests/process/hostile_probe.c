/*
 * hostile_probe: a client as it should be, that measures how long it waits for each reply.
 *
 *     hostile_probe PATH PORT FILE
 *
 * FILE holds requests with their replies: for each two lengths (4 bytes, little-endian) and as many
 * bytes. For each line on standard input, a number n, it asks for the next n of them one by one, in
 * turn over the Unix socket PATH and over PORT of 127.0.0.1, and prints "P50 P99 MAX" in
 * nanoseconds. Another reply, or an end of a connection, ends it with an error.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define REPLY_BYTES 4096

struct question {
    const uint8_t *request, *reply;
    uint32_t request_len, reply_len;
};

static struct {
    int fds[2];
    struct question *questions;
    size_t n, next;
} probe;

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void open_both(const char *path, const char *port)
{
    struct sockaddr_un unix_address = {.sun_family = AF_UNIX};
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                                  .sin_port = htons((uint16_t)atoi(port))};
    int on = 1;
    strncpy(unix_address.sun_path, path, sizeof unix_address.sun_path - 1);
    probe.fds[0] = socket(AF_UNIX, SOCK_STREAM, 0);
    probe.fds[1] = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(probe.fds[0], (struct sockaddr *)&unix_address, sizeof unix_address) < 0 ||
        connect(probe.fds[1], (struct sockaddr *)&address, sizeof address) < 0)
        err(1, "connect");
    setsockopt(probe.fds[1], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static void load(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END) != 0)
        err(1, "%s", path);
    size_t len = (size_t)ftell(file), at = 0;
    uint8_t *data = malloc(len);
    rewind(file);
    if (!data || fread(data, 1, len, file) != len)
        err(1, "%s", path);
    fclose(file);
    probe.questions = calloc(len / 8, sizeof *probe.questions);
    while (at < len) {
        struct question *question = &probe.questions[probe.n++];
        memcpy(&question->request_len, data + at, 4);
        memcpy(&question->reply_len, data + at + 4, 4);
        question->request = data + at + 8;
        question->reply = question->request + question->request_len;
        at += 8 + question->request_len + question->reply_len;
        if (question->reply_len > REPLY_BYTES)
            errx(2, "a reply is too long");
    }
}

static uint64_t ask(int fd, const struct question *question)
{
    uint8_t in[REPLY_BYTES];
    size_t have = 0;
    uint64_t begin = now_ns();
    if (send(fd, question->request, question->request_len, MSG_NOSIGNAL) !=
        (ssize_t)question->request_len)
        err(1, "send");
    while (have < question->reply_len) {
        ssize_t n = recv(fd, in + have, sizeof in - have, 0);
        if (n < 0)
            err(1, "recv");
        if (n == 0)
            errx(1, "the connection has ended");
        if (memcmp(in + have, question->reply + have,
                   (size_t)n < question->reply_len - have ? (size_t)n : question->reply_len - have))
            errx(1, "not the reply to request %zu: %.*s", probe.next, (int)n, (char *)in);
        have += (size_t)n;
    }
    if (have > question->reply_len)
        errx(1, "more than the reply");
    return now_ns() - begin;
}

static int compare(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

static void measure(size_t n)
{
    uint64_t *times = calloc(n, sizeof *times);
    for (size_t i = 0; i < n; i++) {
        times[i] = ask(probe.fds[i % 2], &probe.questions[probe.next]);
        probe.next = (probe.next + 1) % probe.n;
    }
    qsort(times, n, sizeof *times, compare);
    printf("%ju %ju %ju\n", (uintmax_t)times[n / 2], (uintmax_t)times[n - 1 - n / 100],
           (uintmax_t)times[n - 1]);
    fflush(stdout);
    free(times);
}

int main(int argc, char **argv)
{
    char line[64];
    if (argc != 4)
        errx(2, "hostile_probe PATH PORT FILE");
    open_both(argv[1], argv[2]);
    load(argv[3]);
    while (fgets(line, sizeof line, stdin)) {
        long n = atol(line);
        if (n <= 0)
            errx(2, "how many? %s", line);
        measure((size_t)n);
    }
    return 0;
}
