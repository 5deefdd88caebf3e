/*
 * listener: see listener.h.
 */
#include "daemon/supervisor/listener.h"

#include "base/log.h"

#include <errno.h>
#include <sys/socket.h>

/* Accepted in one turn of the loop, so that a flood of connections leaves room for requests. */
#define ACCEPTS_PER_TURN 8

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
    while (!listener->socket.is_lasting &&
           accept_some(listener, ACCEPTS_PER_TURN) == ACCEPTS_PER_TURN)
        ;
    listener->is_accepting = false;
    uv_close((uv_handle_t *)&listener->poll, NULL);
    listen_socket_close(&listener->socket);
}
