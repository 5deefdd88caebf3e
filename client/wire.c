/*
 * wire: see wire.h.
 */
#include "client/wire.h"

#include "base/clock.h"
#include "base/fd.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>

#define READ_BYTES ((size_t)64 * 1024)

/* An input buffer that one large reply has blown up to more than this is given back. */
#define KEPT_INPUT_BYTES ((size_t)1024 * 1024)

__attribute__((format(printf, 2, 3))) static int lose(struct wire *wire, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(wire->reason, sizeof wire->reason, format, args);
    va_end(args);
    fd_closep(&wire->fd);
    buf_release(&wire->in);
    buf_release(&wire->out);
    return WIRE_LOST;
}

static int receive(struct wire *wire)
{
    if (buf_len(&wire->in) == 0 && wire->in.size > KEPT_INPUT_BYTES)
        buf_release(&wire->in);
    int r = buf_reserve(&wire->in, READ_BYTES);
    if (r != 0)
        return -ENOMEM; /* the pool's cap leaves room for every message that the frame admits */
    ssize_t n = recv(wire->fd, wire->in.p + wire->in.tail, buf_free_bytes(&wire->in), 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n < 0)
        return lose(wire, "the connection broke: %s", strerror(errno));
    if (n == 0)
        return lose(wire, "the server closed the connection%s",
                    buf_len(&wire->in) > 0 ? " in the middle of a reply" : "");
    buf_commit(&wire->in, (size_t)n);
    return 0;
}

static int poll_timeout_ms(uint64_t deadline_ms)
{
    uint64_t now = clock_ms();
    if (deadline_ms <= now)
        return 0;
    return deadline_ms - now > INT_MAX ? INT_MAX : (int)(deadline_ms - now);
}

void wire_init(struct wire *wire, int fd, size_t max_message_bytes)
{
    /* Blocks double, and while a buffer grows its old block exists too: below four times as much
     * as is to be held. */
    size_t max = max_message_bytes < SIZE_MAX / 8 ? 4 * (max_message_bytes + READ_BYTES) : SIZE_MAX;
    *wire = (struct wire){.fd = fd};
    buf_pool_init(&wire->in_pool, max);
    buf_pool_init(&wire->out_pool, SIZE_MAX); /* bounded by who fills it */
    buf_init(&wire->in, &wire->in_pool);
    buf_init(&wire->out, &wire->out_pool);
    frame_init(&wire->frame, max_message_bytes, UINT64_MAX);
}

void wire_deinit(struct wire *wire)
{
    fd_closep(&wire->fd);
    buf_release(&wire->in);
    buf_release(&wire->out);
    buf_pool_deinit(&wire->in_pool);
    buf_pool_deinit(&wire->out_pool);
}

int wire_flush(struct wire *wire)
{
    if (wire->fd < 0)
        return WIRE_LOST;
    while (buf_len(&wire->out) > 0) {
        struct slice content = buf_content(&wire->out);
        ssize_t n = send(wire->fd, content.p, content.len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return 0;
        if (n < 0) {
            wire->send_error = errno;
            buf_release(&wire->out);
            return 0;
        }
        buf_consume(&wire->out, (size_t)n);
    }
    return 0;
}

int wire_turn(struct wire *wire, uint64_t deadline_ms)
{
    if (wire->fd < 0)
        return WIRE_LOST;
    bool is_sending = buf_len(&wire->out) > 0;
    struct pollfd p = {.fd = wire->fd, .events = (short)(is_sending ? POLLIN | POLLOUT : POLLIN)};
    /* A server that takes no more may have told why, before it closed. */
    int r = poll(&p, 1, wire->send_error ? 0 : poll_timeout_ms(deadline_ms));
    if (r < 0 && errno != EINTR)
        return lose(wire, "cannot poll: %s", strerror(errno));
    if (r < 0)
        return 0;
    if (r == 0 && wire->send_error)
        return lose(wire, "the connection broke: %s", strerror(wire->send_error));
    if (r == 0) /* poll counts to INT_MAX ms, 24 days */
        return clock_ms() < deadline_ms ? 0 : WIRE_TIMEOUT;
    if (p.revents & POLLOUT)
        wire_flush(wire);
    return p.revents & ~POLLOUT ? receive(wire) : 0;
}

int wire_next(struct wire *wire, struct slice *ret_message)
{
    struct slice message;
    if (wire->fd < 0)
        return WIRE_LOST;
    if (buf_len(&wire->in) == 0)
        return WIRE_MORE;
    switch (frame_next(&wire->frame, buf_content(&wire->in), &message)) {
    case 0:
        buf_consume(&wire->in, message.len);
        *ret_message = message;
        return 0;
    case FRAME_TOO_DEEP:
        buf_consume(&wire->in, message.len);
        return WIRE_TOO_DEEP;
    case FRAME_MORE:
        return WIRE_MORE;
    case FRAME_TOO_LARGE:
        return lose(wire,
                    "the server announced a message of more than %zu bytes (max_reply_bytes): "
                    "ask for less at a time",
                    wire->frame.max_bytes);
    default:
        return lose(wire, "the server's bytes are no MessagePack-RPC (%s): is this actd's port?",
                    wire->frame.reason);
    }
}
