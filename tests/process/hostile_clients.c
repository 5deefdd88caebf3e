/*
 * hostile_clients: many connections that do a server harm, as fast as one CPU can.
 *
 *     hostile_clients PATH PORT
 *
 * Half of the connections go to the Unix socket PATH, the others to PORT of 127.0.0.1. Commands are
 * lines on standard input:
 *
 *     group N WRITE READ RESET FILE   N more connections that send what is in FILE
 *     on                              opens them all; prints "on" once they are
 *     off                             closes them; prints "off OPENED SENT RECEIVED"
 *
 * WRITE is fast (over and over again), once, or slow (a byte a second). READ is fast, slow, or
 * never. A connection that has received RESET bytes is reset; 0: it is not. One that has ended is
 * opened again. The end of standard input is the end.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

#define MAX_GROUPS 16
/* One system call must not hold the CPU for long: the client that measures runs on it, too. */
#define AT_ONCE ((size_t)32 * 1024)
/* A slow connection's byte comes in one of so many parts of a second. */
#define PARTS       100
#define SMALL_QUEUE 4096

enum speed { FAST, ONCE, SLOW, NEVER };

struct group {
    unsigned n;
    enum speed write, read;
    uint64_t reset; /* bytes received */
    uint8_t *data;
    size_t len;
};

struct client {
    const struct group *group;
    unsigned index;
    int fd;
    size_t sent; /* of the group's data */
    uint64_t received;
};

static struct {
    struct sockaddr_un path;
    struct sockaddr_in port;
    struct group groups[MAX_GROUPS];
    unsigned n_groups, n_clients, part;
    struct client *clients;
    int epoll, timer;
    bool is_on;
    uint64_t opened, sent, received;
} all;

static void open_client(struct client *client)
{
    const struct group *group = client->group;
    struct linger reset = {.l_onoff = 1};
    int small = SMALL_QUEUE;
    bool is_tcp = client->index % 2 != 0;
    int fd = socket(is_tcp ? AF_INET : AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        err(1, "socket");
    if (is_tcp) {
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        if (group->read != FAST)
            setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    }
    if (is_tcp ? connect(fd, (struct sockaddr *)&all.port, sizeof all.port) < 0
               : connect(fd, (struct sockaddr *)&all.path, sizeof all.path) < 0)
        err(1, "connect");
    fcntl(fd, F_SETFL, O_NONBLOCK);
    client->fd = fd;
    client->sent = 0;
    client->received = 0;
    all.opened++;
    struct epoll_event event = {.events = EPOLLRDHUP, .data.ptr = client};
    if (group->write == FAST || group->write == ONCE)
        event.events |= EPOLLOUT;
    if (group->read == FAST)
        event.events |= EPOLLIN;
    if (epoll_ctl(all.epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        err(1, "epoll_ctl");
}

static void reopen(struct client *client)
{
    close(client->fd);
    open_client(client);
}

/* False: the connection has ended. */
static bool is_alive(ssize_t n)
{
    return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

static bool send_some(struct client *client, size_t most)
{
    const struct group *group = client->group;
    size_t left = group->len - client->sent;
    ssize_t n = send(client->fd, group->data + client->sent, left < most ? left : most,
                     MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n <= 0)
        return is_alive(n);
    all.sent += (uint64_t)n;
    client->sent += (size_t)n;
    if (client->sent < group->len)
        return true;
    if (group->write != ONCE) {
        client->sent = 0;
        return true;
    }
    struct epoll_event event = {.events = EPOLLRDHUP, .data.ptr = client};
    if (group->read == FAST)
        event.events |= EPOLLIN;
    return epoll_ctl(all.epoll, EPOLL_CTL_MOD, client->fd, &event) == 0;
}

static bool receive_some(struct client *client, size_t most)
{
    static uint8_t in[AT_ONCE];
    ssize_t n = recv(client->fd, in, most, MSG_DONTWAIT);
    if (n <= 0)
        return is_alive(n);
    all.received += (uint64_t)n;
    client->received += (uint64_t)n;
    return client->group->reset == 0 || client->received < client->group->reset;
}

static void serve(struct client *client, uint32_t events)
{
    bool goes_on = !(events & (EPOLLERR | EPOLLHUP | EPOLLRDHUP));
    if (goes_on && (events & EPOLLIN))
        goes_on = receive_some(client, AT_ONCE);
    if (goes_on && (events & EPOLLOUT))
        goes_on = send_some(client, AT_ONCE);
    if (!goes_on)
        reopen(client);
}

/* The slow ones whose part of the second it is. */
static void on_tick(void)
{
    uint64_t ticks;
    if (read(all.timer, &ticks, sizeof ticks) != sizeof ticks || !all.is_on)
        return;
    all.part = (all.part + 1) % PARTS;
    for (unsigned i = all.part; i < all.n_clients; i += PARTS) {
        struct client *client = &all.clients[i];
        bool goes_on = true;
        if (client->group->write == SLOW)
            goes_on = send_some(client, 1);
        if (goes_on && client->group->read == SLOW)
            goes_on = receive_some(client, 1);
        if (!goes_on)
            reopen(client);
    }
}

static void turn_on(void)
{
    unsigned n = 0;
    for (unsigned i = 0; i < all.n_groups; i++)
        n += all.groups[i].n;
    all.clients = calloc(n, sizeof *all.clients);
    all.opened = all.sent = all.received = all.n_clients = 0;
    for (unsigned i = 0; i < all.n_groups; i++) {
        for (unsigned j = 0; j < all.groups[i].n; j++) {
            struct client *client = &all.clients[all.n_clients++];
            client->group = &all.groups[i];
            client->index = j;
            open_client(client);
        }
    }
    all.is_on = true;
    printf("on\n");
}

static void turn_off(void)
{
    for (unsigned i = 0; i < all.n_clients; i++)
        close(all.clients[i].fd);
    free(all.clients);
    all.is_on = false;
    printf("off %ju %ju %ju\n", (uintmax_t)all.opened, (uintmax_t)all.sent,
           (uintmax_t)all.received);
}

static enum speed speed_of(const char *name)
{
    static const char *const names[] = {"fast", "once", "slow", "never"};
    for (int i = FAST; i <= NEVER; i++)
        if (strcmp(names[i], name) == 0)
            return (enum speed)i;
    errx(2, "no speed: %s", name);
}

static void add_group(const char *line)
{
    char write[8], read[8], path[256];
    struct group *group = &all.groups[all.n_groups++];
    if (all.n_groups > MAX_GROUPS || sscanf(line, "group %u %7s %7s %ju %255s", &group->n, write,
                                            read, &group->reset, path) != 5)
        errx(2, "no group: %s", line);
    group->write = speed_of(write);
    group->read = speed_of(read);
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END) != 0)
        err(1, "%s", path);
    group->len = (size_t)ftell(file);
    rewind(file);
    group->data = malloc(group->len + 1);
    if (!group->data || fread(group->data, 1, group->len, file) != group->len)
        err(1, "%s", path);
    fclose(file);
    if (group->len == 0)
        group->write = NEVER;
}

static void on_command(void)
{
    char line[512];
    if (!fgets(line, sizeof line, stdin))
        exit(0);
    if (strcmp(line, "on\n") == 0)
        turn_on();
    else if (strcmp(line, "off\n") == 0)
        turn_off();
    else
        add_group(line);
}

static void watch(int fd, void *what)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = what};
    if (epoll_ctl(all.epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        err(1, "epoll_ctl");
}

/* After "off" there may be events of connections that are closed. */
static void dispatch(const struct epoll_event *events, int n)
{
    for (int i = 0; i < n; i++) {
        if (events[i].data.ptr == stdin) {
            on_command();
            return;
        }
        if (events[i].data.ptr == &all.timer)
            on_tick();
        else
            serve(events[i].data.ptr, events[i].events);
    }
}

int main(int argc, char **argv)
{
    const struct itimerspec ticks = {.it_value.tv_nsec = 1000000000 / PARTS,
                                     .it_interval.tv_nsec = 1000000000 / PARTS};
    if (argc != 3)
        errx(2, "hostile_clients PATH PORT");
    all.path.sun_family = AF_UNIX;
    strncpy(all.path.sun_path, argv[1], sizeof all.path.sun_path - 1);
    all.port.sin_family = AF_INET;
    all.port.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    all.port.sin_port = htons((uint16_t)atoi(argv[2]));
    setvbuf(stdin, NULL, _IONBF, 0);
    setvbuf(stdout, NULL, _IOLBF, 0);
    all.epoll = epoll_create1(EPOLL_CLOEXEC);
    all.timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
    if (all.epoll < 0 || all.timer < 0 || timerfd_settime(all.timer, 0, &ticks, NULL) < 0)
        err(1, "epoll, timer");
    watch(STDIN_FILENO, stdin);
    watch(all.timer, &all.timer);
    for (;;) {
        struct epoll_event events[64];
        int n = epoll_wait(all.epoll, events, 64, -1);
        if (n < 0 && errno != EINTR)
            err(1, "epoll_wait");
        dispatch(events, n);
    }
}
