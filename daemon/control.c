/*
 * control: see control.h.
 */
#include "daemon/control.h"

#include "base/fd.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

/* Room for the messages of some hundred connections. */
#define SEND_BUFFER_BYTES (256 * 1024)

union passed {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int))];
};

int control_pair(int ret_fds[2])
{
    int bytes = SEND_BUFFER_BYTES;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ret_fds) < 0)
        return -errno;
    for (unsigned i = 0; i < 2; i++)
        (void)setsockopt(ret_fds[i], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    return 0;
}

/* Most messages are a type and a number. */
static size_t length_of(const struct control_message *message)
{
    switch (message->type) {
    case CONTROL_GENERATION:
    case CONTROL_CANDIDATE:
    case CONTROL_PROGRESS:
        return offsetof(struct control_message, text);
    case CONTROL_DAMAGE:
    case CONTROL_DAMAGED:
    case CONTROL_UNMAPPABLE:
    case CONTROL_REFUSED:
    case CONTROL_NO_PROFILE:
    case CONTROL_NOT_WARM:
    case CONTROL_VERIFIED:
        return sizeof *message;
    default:
        return offsetof(struct control_message, generation);
    }
}

int control_send(int fd, const struct control_message *message, int passed)
{
    union passed control = {0};
    struct iovec part = {.iov_base = (void *)(uintptr_t)message, .iov_len = length_of(message)};
    struct msghdr header = {.msg_iov = &part, .msg_iovlen = 1};
    if (passed >= 0) {
        header.msg_control = &control;
        header.msg_controllen = sizeof control;
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(sizeof passed);
        memcpy(CMSG_DATA(&control.header), &passed, sizeof passed);
    }
    ssize_t n;
    do
        n = sendmsg(fd, &header, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n >= 0)
        return 0;
    /* ETOOMANYREFS: too many descriptors are on their way. */
    return errno == EAGAIN || errno == ENOBUFS || errno == ETOOMANYREFS ? CONTROL_FULL : -errno;
}

/* The descriptor in the message, or -1. */
static int take_passed(struct msghdr *header)
{
    int passed = -1;
    struct cmsghdr *control = CMSG_FIRSTHDR(header);
    if (control && control->cmsg_level == SOL_SOCKET && control->cmsg_type == SCM_RIGHTS &&
        control->cmsg_len == CMSG_LEN(sizeof passed))
        memcpy(&passed, CMSG_DATA(control), sizeof passed);
    return passed;
}

int control_receive(int fd, struct control_message *ret, int *ret_passed)
{
    union passed control;
    struct control_message message = {0};
    struct iovec part = {.iov_base = &message, .iov_len = sizeof message};
    struct msghdr header = {.msg_iov = &part,
                            .msg_iovlen = 1,
                            .msg_control = &control,
                            /* Not its padding: a second descriptor would fit in there. */
                            .msg_controllen = CMSG_LEN(sizeof(int))};
    ssize_t n;
    /* ECONNRESET comes once when the other end died with unread messages; its own come behind. */
    do
        n = recvmsg(fd, &header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    while (n < 0 && (errno == EINTR || errno == ECONNRESET));
    if (n < 0)
        return errno == EAGAIN ? CONTROL_EMPTY : -errno;
    if (n == 0)
        return CONTROL_END;
    int passed = take_passed(&header);
    if ((size_t)n < offsetof(struct control_message, generation) ||
        (size_t)n != length_of(&message)) {
        fd_closep(&passed);
        return -EBADMSG;
    }
    message.text[sizeof message.text - 1] = '\0';
    message.generation.remark[sizeof message.generation.remark - 1] = '\0';
    *ret = message;
    *ret_passed = passed;
    return 0;
}
