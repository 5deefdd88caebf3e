/*
 * wire: a connected socket with its two buffers: bytes out, messages in.
 *
 * Only wire_turn waits, and it waits for both directions at once. A wire is lost when the server
 * closes it, when the system says so, or when the server's bytes make no sense; then nothing but
 * wire_deinit brings it further.
 */
#pragma once

#include "base/buf.h"
#include "proto/frame.h"

/* Outcomes. */
#define WIRE_TIMEOUT  1
#define WIRE_LOST     2 /* reason is set */
#define WIRE_MORE     3 /* no whole message is there */
#define WIRE_TOO_DEEP 4 /* a message too deep to decode; frame tells its kind and id */

struct wire {
    int fd; /* owned; -1 once lost */
    struct buf_pool in_pool, out_pool;
    struct buf in, out;
    struct frame frame; /* kind and msgid of the message that wire_next gave */
    int send_error;     /* errno: nothing more can be sent, but replies may still be read */
    char reason[192];   /* why it is lost */
};

/* fd: connected, non-blocking; taken. */
void wire_init(struct wire *wire, int fd, size_t max_message_bytes);
void wire_deinit(struct wire *wire);

/* Sends what the socket takes at once. 0, or WIRE_LOST. */
int wire_flush(struct wire *wire);

/* Waits until something can be sent or received and does it once; may do nothing (EINTR). deadline
 * in clock_ms; a deadline that has passed: looks once. 0, WIRE_TIMEOUT, WIRE_LOST or -ENOMEM. */
int wire_turn(struct wire *wire, uint64_t deadline_ms);

/* The next message that was received. *ret_message is valid until the next wire_turn.
 * 0, WIRE_MORE, WIRE_TOO_DEEP or WIRE_LOST. */
int wire_next(struct wire *wire, struct slice *ret_message);
