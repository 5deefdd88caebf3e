/*
 * connect: see connect.h.
 *
 * TCP connects without blocking and is polled. A Unix socket whose listener's queue is full cannot
 * be polled for room (a non-blocking connect just says EAGAIN), but a blocking one waits for it and
 * honours SO_SNDTIMEO.
 */
#include "client/connect.h"

#include "base/clock.h"
#include "base/fd.h"
#include "client/error.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <sys/time.h>

/* Outcome of the functions below. */
#define CONNECT_TIMEOUT 1

static uint64_t ms_left(uint64_t deadline_ms)
{
    uint64_t now = clock_ms();
    return deadline_ms > now ? deadline_ms - now : 0;
}

static int set_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return -errno;
    return 0;
}

static int connect_unix(int fd, const struct address *server, uint64_t deadline_ms)
{
    for (;;) {
        uint64_t left = ms_left(deadline_ms);
        if (left == 0)
            return CONNECT_TIMEOUT;
        struct timeval timeout = {.tv_sec = (time_t)(left / 1000),
                                  .tv_usec = (suseconds_t)(left % 1000 * 1000)};
        if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout) < 0)
            return -errno;
        if (connect(fd, (const void *)&server->sockaddr, server->len) == 0)
            return set_nonblocking(fd);
        if (errno != EINTR && errno != EAGAIN)
            return -errno;
    }
}

/* Until the kernel has decided. */
static int poll_connected(int fd, uint64_t deadline_ms)
{
    int error = 0;
    socklen_t len = sizeof error;
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLOUT};
        uint64_t left = ms_left(deadline_ms);
        int r = poll(&p, 1, left > INT_MAX ? INT_MAX : (int)left);
        if (r == 0 && left <= INT_MAX)
            return CONNECT_TIMEOUT;
        if (r < 0 && errno != EINTR)
            return -errno;
        if (r <= 0)
            continue;
        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
            return -errno;
        return -error;
    }
}

static int connect_tcp(int fd, const struct address *server, uint64_t deadline_ms)
{
    int on = 1;
    int r = set_nonblocking(fd);
    if (r != 0)
        return r;
    /* Requests are gathered here; the kernel's own gathering would only delay them. */
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0)
        return -errno;
    if (connect(fd, (const void *)&server->sockaddr, server->len) == 0)
        return 0;
    if (errno != EINPROGRESS && errno != EINTR)
        return -errno;
    return poll_connected(fd, deadline_ms);
}

static int try_connect(const struct address *server, uint32_t timeout_ms, int *ret_fd)
{
    uint64_t deadline_ms = clock_ms() + timeout_ms;
    with_close int fd = socket(server->sockaddr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int r = server->sockaddr.ss_family == AF_UNIX ? connect_unix(fd, server, deadline_ms)
                                                  : connect_tcp(fd, server, deadline_ms);
    if (r == 0)
        *ret_fd = fd_take(&fd);
    return r;
}

static const char *remedy(int error)
{
    switch (error) {
    case ENOENT:
        return "is actd running, and does it listen on this path?";
    case ECONNREFUSED:
        return "nobody listens there: is actd running?";
    case EACCES:
    case EPERM:
        return "may this user use the socket? It belongs to actd's group";
    case ENOTSOCK:
    case EPROTOTYPE:
        return "this is not actd's socket";
    case EMFILE:
    case ENFILE:
    case ENOMEM:
        return "too much is open on this host";
    default:
        return "is the address right, and is the host reachable?";
    }
}

static int refuse(const struct address *server, int r, uint32_t timeout_ms,
                  struct actc_error *ret_error)
{
    char numeric[ADDRESS_TEXT_MAX], resolved[ADDRESS_TEXT_MAX + 16] = "";
    address_format((const void *)&server->sockaddr, server->len, numeric, sizeof numeric);
    if (strcmp(numeric, server->text) != 0)
        snprintf(resolved, sizeof resolved, " (which is %s)", numeric);
    if (r == CONNECT_TIMEOUT)
        return error_set(ret_error, ACTC_TIMEOUT, server->text,
                         "cannot connect%s within %u ms: is the server overloaded or unreachable?",
                         resolved, timeout_ms);
    return error_set(ret_error, r, server->text, "cannot connect%s: %s: %s", resolved, strerror(-r),
                     remedy(-r));
}

int connect_to(const struct address *server, uint32_t timeout_ms, int *ret_fd,
               struct actc_error *ret_error)
{
    int r = try_connect(server, timeout_ms, ret_fd);
    return r == 0 ? 0 : refuse(server, r, timeout_ms, ret_error);
}
