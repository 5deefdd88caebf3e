/*
 * listener: see listener.h.
 */
#include "daemon/supervisor/listener.h"

#include "base/fd.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* Accepted in one turn of the loop, so that a flood of connections leaves room for requests. */
#define ACCEPTS_PER_TURN 8

/* How long another server that is starting is waited for: 1 s in all. */
#define LOCK_TRIES    100
#define LOCK_RETRY_US 10000

__attribute__((format(printf, 4, 5))) static int fail(char *error, size_t size, int code,
                                                      const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(error, size, format, args);
    va_end(args);
    return code;
}

/* Does somebody listen there? A full queue counts. */
static bool is_live(const struct address *address)
{
    with_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return true; /* cannot tell: leave it alone */
    if (connect(fd, (const struct sockaddr *)&address->sockaddr, address->len) == 0)
        return true;
    return errno != ECONNREFUSED && errno != ENOENT;
}

static int remove_stale(const struct address *address, const char *path, char *error, size_t size)
{
    struct stat st;
    if (lstat(path, &st) < 0)
        return errno == ENOENT
                   ? 0
                   : fail(error, size, -errno, "%s: %s", address->text, strerror(errno));
    if (!S_ISSOCK(st.st_mode))
        return fail(error, size, -EEXIST,
                    "%s: the file exists and is not a socket: remove it or choose another path",
                    address->text);
    if (is_live(address))
        return fail(error, size, -EADDRINUSE,
                    "%s: another server listens there: stop it or choose another path",
                    address->text);
    if (unlink(path) < 0 && errno != ENOENT)
        return fail(error, size, -errno, "%s: cannot remove the stale socket: %s", address->text,
                    strerror(errno));
    return 0;
}

/* The directory, locked: of two servers that start at once the second sees the first one's socket
 * when it listens, not between its bind and its listen. */
static int lock_directory(const char *path)
{
    char copy[sizeof(struct sockaddr_un)];
    snprintf(copy, sizeof copy, "%s", path);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* Whoever may read the directory can hold the lock: it must not hold up the start. */
    for (unsigned i = 0; fd >= 0 && i < LOCK_TRIES && flock(fd, LOCK_EX | LOCK_NB) < 0; i++)
        usleep(LOCK_RETRY_US);
    return fd;
}

static int bind_and_listen(struct listen_socket *socket, const struct address *address, mode_t mode,
                           int backlog, char *error, size_t size)
{
    struct stat st;
    if (bind(socket->fd, (const struct sockaddr *)&address->sockaddr, address->len) < 0)
        return fail(error, size, -errno, "%s: cannot bind: %s", address->text, strerror(errno));
    if (socket->path[0] != '\0') {
        if (chmod(socket->path, mode) < 0 || lstat(socket->path, &st) < 0)
            return fail(error, size, -errno, "%s: cannot set its mode: %s", address->text,
                        strerror(errno));
        socket->device = st.st_dev;
        socket->inode = st.st_ino;
    }
    if (listen(socket->fd, backlog) < 0)
        return fail(error, size, -errno, "%s: cannot listen: %s", address->text, strerror(errno));
    return 0;
}

static int open_unix(struct listen_socket *socket, const struct address *address, mode_t mode,
                     int backlog, char *error, size_t size)
{
    const struct sockaddr_un *un = (const void *)&address->sockaddr;
    with_close int lock = lock_directory(un->sun_path);
    if (lock < 0)
        return fail(error, size, -errno, "%s: its directory: %s", address->text, strerror(errno));
    int r = remove_stale(address, un->sun_path, error, size);
    if (r != 0)
        return r;
    memcpy(socket->path, un->sun_path, sizeof un->sun_path);
    /* Nobody gets in before the mode is set: the mask takes all permissions. */
    mode_t mask = umask(0777);
    r = bind_and_listen(socket, address, mode, backlog, error, size);
    umask(mask);
    return r;
}

int listen_socket_open(struct listen_socket *sock, const struct address *address, mode_t mode,
                       int backlog, char *error, size_t error_size)
{
    int on = 1;
    struct sockaddr_storage bound = {0};
    socklen_t len = sizeof bound;
    int family = address->sockaddr.ss_family, r;
    *sock = (struct listen_socket){.fd = -1};
    sock->fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (sock->fd < 0)
        return fail(error, error_size, -errno, "%s: %s", address->text, strerror(errno));
    if (family == AF_UNIX) {
        r = open_unix(sock, address, mode, backlog, error, error_size);
    } else {
        (void)setsockopt(sock->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        r = bind_and_listen(sock, address, mode, backlog, error, error_size);
    }
    if (r != 0) {
        listen_socket_close(sock);
        return r;
    }
    if (getsockname(sock->fd, (struct sockaddr *)&bound, &len) == 0)
        address_format((struct sockaddr *)&bound, len, sock->text, sizeof sock->text);
    return 0;
}

void listen_socket_close(struct listen_socket *sock)
{
    struct stat st;
    fd_closep(&sock->fd);
    if (sock->inode != 0 && lstat(sock->path, &st) == 0 && st.st_dev == sock->device &&
        st.st_ino == sock->inode)
        unlink(sock->path);
    sock->inode = 0;
}

static bool is_transient(int error)
{
    return error == EINTR || error == ECONNABORTED || error == EPROTO || error == EPERM ||
           error == ENETDOWN || error == ENOPROTOOPT || error == EHOSTDOWN || error == ENONET ||
           error == EHOSTUNREACH || error == EOPNOTSUPP || error == ENETUNREACH;
}

/* Result: how many were accepted. */
static int accept_some(struct listener *listener, int most)
{
    int n = 0;
    while (n < most && listener->is_accepting) {
        int fd = accept4(listener->socket.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            n++;
            listener->on_connection(listener->context, fd);
        } else if (errno == EAGAIN) {
            break;
        } else if (!is_transient(errno)) {
            listener->on_exhausted(listener->context, -errno);
            break;
        }
    }
    return n;
}

static void on_connection(uv_poll_t *poll, int status, int events)
{
    struct listener *listener = poll->data;
    (void)events;
    if (status < 0)
        log_with(
            LOG_LEVEL_ERROR,
            LOG_FIELDS(log_field_text("ADDRESS", listener->socket.text), log_field_errno(status)),
            "%s: cannot wait for connections: %s", listener->socket.text, uv_strerror(status));
    else
        accept_some(listener, ACCEPTS_PER_TURN);
}

int listener_init(struct listener *listener, uv_loop_t *loop, struct listen_socket *sock)
{
    int r = uv_poll_init(loop, &listener->poll, sock->fd);
    if (r < 0)
        return r;
    listener->socket = *sock;
    *sock = (struct listen_socket){.fd = -1};
    listener->poll.data = listener;
    listener_resume(listener);
    return 0;
}

void listener_resume(struct listener *listener)
{
    if (listener->is_accepting || listener->socket.fd < 0)
        return;
    listener->is_accepting = true;
    uv_poll_start(&listener->poll, UV_READABLE, on_connection);
}

void listener_pause(struct listener *listener)
{
    if (!listener->is_accepting)
        return;
    listener->is_accepting = false;
    uv_poll_stop(&listener->poll);
}

void listener_close(struct listener *listener)
{
    if (listener->socket.fd < 0)
        return;
    while (accept_some(listener, ACCEPTS_PER_TURN) == ACCEPTS_PER_TURN)
        ;
    listener->is_accepting = false;
    uv_close((uv_handle_t *)&listener->poll, NULL);
    listen_socket_close(&listener->socket);
}
