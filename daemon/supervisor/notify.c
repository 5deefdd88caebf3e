/*
 * notify: see notify.h.
 *
 * The socket is not connected: a manager that was started anew, at the same address, is found by
 * the next message. That there is room again cannot be polled for then, so it is tried again.
 */
#include "daemon/supervisor/notify.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#define ALIVE "WATCHDOG=1"

/* Between two tries, while the manager's queue is full. */
#define RETRY_MS 50
/* How long the end waits for it. */
#define END_MS 1000
/* Signs of life in the time that the manager waits for one: one may be late. */
#define WATCHDOG_PARTS 3

#define LINE_BYTES 4096

/* ret: of NOTIFY_SOCKET's value: a path, or @ and a name without one. False: neither. */
static bool read_address(struct notify *notify, const char *text)
{
    size_t len = strlen(text);
    notify->address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if ((text[0] != '/' && text[0] != '@') || len < 2 || len >= sizeof notify->address.sun_path)
        return false;
    memcpy(notify->address.sun_path, text, len);
    notify->address_bytes = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    if (text[0] == '@')
        notify->address.sun_path[0] = '\0';
    else
        notify->address_bytes++; /* and its end */
    return true;
}

static uint64_t read_watchdog(void)
{
    uint64_t usec = 0;
    int r = sd_watchdog_enabled(0, &usec);
    if (r < 0)
        log_warning("no sign of life for the service manager's watchdog: WATCHDOG_USEC or "
                    "WATCHDOG_PID is not a number that it may be: %s",
                    strerror(-r));
    if (r <= 0)
        return 0;
    uint64_t ms = usec / 1000 / WATCHDOG_PARTS;
    return ms > 0 ? ms : 1;
}

void notify_init(struct notify *notify)
{
    const char *text = getenv("NOTIFY_SOCKET");
    *notify = (struct notify){.fd = -1};
    if (!text)
        return;
    if (!read_address(notify, text)) {
        log_warning("cannot notify the service manager: NOTIFY_SOCKET is neither a path nor @ and "
                    "a name");
        return;
    }
    notify->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (notify->fd < 0)
        log_warning("cannot notify the service manager: %s", strerror(errno));
    else
        notify->watchdog_ms = read_watchdog();
}

/* 0 or -errno. */
static int try_send(const struct notify *notify, const char *text, int fd)
{
    union {
        struct cmsghdr header; /* for its alignment */
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec iov = {.iov_base = (void *)(uintptr_t)text, .iov_len = strlen(text)};
    struct msghdr message = {.msg_name = (void *)(uintptr_t)&notify->address,
                             .msg_namelen = notify->address_bytes,
                             .msg_iov = &iov,
                             .msg_iovlen = 1};
    if (fd >= 0) {
        message.msg_control = control.bytes;
        message.msg_controllen = sizeof control.bytes;
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(header), &fd, sizeof fd);
    }
    return sendmsg(notify->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* Once for each reason in a row: signs of life would repeat it for ever. */
static void settle(struct notify *notify, int error)
{
    if (error < 0 && error != notify->error)
        log_warning("cannot notify the service manager: %s", strerror(-error));
    notify->error = error;
}

static struct notify_message *at(struct notify *notify, unsigned i)
{
    return &notify->queue[(notify->first + i) % NOTIFY_QUEUE];
}

static void drop_first(struct notify *notify)
{
    struct notify_message *message = at(notify, 0);
    free(message->text);
    fd_closep(&message->fd);
    notify->first = (notify->first + 1) % NOTIFY_QUEUE;
    notify->n--;
}

/* Until there is no room. */
static void send_waiting(struct notify *notify)
{
    while (notify->n > 0) {
        const struct notify_message *message = at(notify, 0);
        int r = try_send(notify, message->text, message->fd);
        if (r == -EAGAIN)
            return;
        settle(notify, r);
        drop_first(notify);
    }
    notify->n_dropped = 0;
}

static void on_retry(uv_timer_t *timer)
{
    struct notify *notify = timer->data;
    send_waiting(notify);
    if (notify->n == 0)
        uv_timer_stop(timer);
}

/* What is said again and again, of which the last time is enough: the length of its name. */
static size_t repeated_name(const char *text, int fd)
{
    static const char *const names[] = {"STATUS=", "WATCHDOG=", "EXTEND_TIMEOUT_USEC="};
    for (size_t i = 0; i < sizeof names / sizeof *names && fd < 0; i++)
        if (strncmp(text, names[i], strlen(names[i])) == 0)
            return strlen(names[i]);
    return 0;
}

/* An older message that says the same. */
static void drop_older(struct notify *notify, const char *text, int fd)
{
    size_t name = repeated_name(text, fd);
    unsigned to = 0;
    for (unsigned i = 0; i < notify->n; i++) {
        struct notify_message *message = at(notify, i);
        if (name > 0 && message->fd < 0 && strncmp(message->text, text, name) == 0)
            free(message->text);
        else
            *at(notify, to++) = *message;
    }
    notify->n = to;
}

static void enqueue(struct notify *notify, const char *text, int fd)
{
    char *copy = strdup(text);
    int fd_copy = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;
    if (!copy || (fd >= 0 && fd_copy < 0)) {
        settle(notify, copy ? -errno : -ENOMEM);
        fd_closep(&fd_copy);
        free(copy);
        return;
    }
    drop_older(notify, text, fd);
    if (notify->n == NOTIFY_QUEUE) {
        if (notify->n_dropped++ == 0)
            log_warning("the service manager does not read what it is told: the oldest is dropped");
        drop_first(notify);
    }
    *at(notify, notify->n++) = (struct notify_message){.text = copy, .fd = fd_copy};
    if (notify->has_loop && !uv_is_active((uv_handle_t *)&notify->retry))
        uv_timer_start(&notify->retry, on_retry, RETRY_MS, RETRY_MS);
}

void notify_send(struct notify *notify, const char *text, int fd)
{
    if (notify->fd < 0)
        return;
    send_waiting(notify);
    int r = notify->n > 0 ? -EAGAIN : try_send(notify, text, fd);
    if (r == -EAGAIN)
        enqueue(notify, text, fd);
    else
        settle(notify, r);
}

void notify_sendf(struct notify *notify, const char *format, ...)
{
    char text[LINE_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    notify_send(notify, text, -1);
}

void notify_alive(struct notify *notify)
{
    if (notify->watchdog_ms > 0)
        notify_send(notify, ALIVE, -1);
}

/* systemd moves its watchdog's limit along, up to our next sign of life. */
void notify_busy(struct notify *notify, uint64_t within_ms)
{
    notify_sendf(notify, "EXTEND_TIMEOUT_USEC=%" PRIu64, within_ms * 1000);
}

static void on_watchdog(uv_timer_t *timer)
{
    notify_alive(timer->data);
}

void notify_start(struct notify *notify, uv_loop_t *loop)
{
    uv_timer_init(loop, &notify->retry);
    uv_timer_init(loop, &notify->watchdog);
    notify->retry.data = notify->watchdog.data = notify;
    uv_unref((uv_handle_t *)&notify->retry);
    uv_unref((uv_handle_t *)&notify->watchdog);
    notify->has_loop = true;
    if (notify->watchdog_ms > 0)
        uv_timer_start(&notify->watchdog, on_watchdog, 0, notify->watchdog_ms);
}

void notify_end(struct notify *notify)
{
    uint64_t end_ms = clock_ms() + END_MS;
    send_waiting(notify);
    while (notify->n > 0 && clock_ms() < end_ms) {
        (void)poll(NULL, 0, RETRY_MS);
        send_waiting(notify);
    }
    if (notify->n > 0)
        log_warning("the service manager does not read what it is told: %u messages are lost",
                    notify->n);
    while (notify->n > 0)
        drop_first(notify);
    if (notify->has_loop) {
        uv_close((uv_handle_t *)&notify->retry, NULL);
        uv_close((uv_handle_t *)&notify->watchdog, NULL);
    }
    fd_closep(&notify->fd);
}
