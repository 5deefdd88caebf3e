/*
 * notify: the service manager's protocol (sd_notify): lines of NAME=value, a datagram each, to the
 * socket that NOTIFY_SOCKET names. Without a manager all of it is a no-op.
 *
 * libsystemd's sd_notify waits while the manager's queue is full (a manager that is busy or stuck
 * reads nothing), and the supervisor's loop waits for nobody. So messages are sent from here, by a
 * socket that does not block; what there is no room for waits in a queue, in order, and is sent
 * again until it goes. The queue has a limit: beyond it the oldest is dropped, with a warning.
 *
 * It also keeps the manager's watchdog content: a timer of the loop, so there is a sign of life as
 * long as the loop turns, and only then.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <uv.h>

#define NOTIFY_QUEUE 64

struct notify_message {
    char *text; /* owned */
    int fd;     /* owned; -1: none */
};

struct notify {
    int fd; /* owned; -1: there is no manager */
    struct sockaddr_un address;
    socklen_t address_bytes;
    uint64_t watchdog_ms; /* between two signs of life; 0: nobody waits for them */
    uv_timer_t watchdog, retry;
    bool has_loop;
    struct notify_message queue[NOTIFY_QUEUE];
    unsigned first, n; /* of the queue */
    uint64_t n_dropped;
    int error; /* of the last message; 0: it was sent, or waits */
};

/* Reads the environment. What is wrong with it is logged, and then there is no manager. */
void notify_init(struct notify *notify);
/* From here on what waits is sent by the loop, and the watchdog hears of us. The loop ends without
 * regard to it. */
void notify_start(struct notify *notify, uv_loop_t *loop);

/*
 * text  lines, of which each one's end is ours: see status_clean. Copied
 * fd    goes along; a copy is made where it has to wait. -1: none
 */
void notify_send(struct notify *notify, const char *text, int fd);
/* The same. A line that is too long is cut. */
__attribute__((format(printf, 2, 3))) void notify_sendf(struct notify *notify, const char *format,
                                                        ...);

/* We are alive, if the manager wants to know. */
void notify_alive(struct notify *notify);

/* The loop is about to wait for something, so long at most: neither that nor the silence is to be
 * taken for a hang. */
void notify_busy(struct notify *notify, uint64_t within_ms);

/* The end: what still waits has a second to go, then its number is logged. Closes the handles of
 * the loop, which has to run once more. */
void notify_end(struct notify *notify);
