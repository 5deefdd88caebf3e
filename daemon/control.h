/*
 * control: what supervisor, workers and other processes say to each other: messages over a
 * SOCK_SEQPACKET pair, some with a descriptor.
 *
 * Neither end ever waits for the other: a full socket is an outcome, and the sender tries again
 * when it is writable. Both ends are the same binary, so a message is a struct.
 */
#pragma once

#include "daemon/generation.h"

#include <stddef.h>

enum control_type {
    /* To a worker. */
    CONTROL_GENERATION = 1, /* + descriptor: map it */
    CONTROL_SWITCH,         /* answer from the mapped generation `number` from now on */
    CONTROL_DISCARD,        /* forget the mapped generation `number` */
    CONTROL_ANNOUNCE,       /* all workers answer from `number`: tell who watches */
    CONTROL_DAMAGE,         /* generation `number` cannot be trusted any more: text */
    CONTROL_CONNECTION,     /* + descriptor: connection `number` is yours */
    CONTROL_DRAIN,          /* answer what has arrived, then end */
    CONTROL_CUT,            /* end all connections at once */
    CONTROL_LOG_LEVEL,      /* `number`: an enum log_level */
    /* From a worker. */
    CONTROL_MAPPED,     /* generation `number` is mapped */
    CONTROL_UNMAPPABLE, /* generation `number` cannot be mapped here: text */
    CONTROL_SWITCHED,   /* answers from generation `number` */
    CONTROL_DAMAGED,    /* generation `number` cannot be trusted any more: text */
    CONTROL_TAKEN,      /* all connections up to `number` */
    CONTROL_HEARTBEAT,
    CONTROL_ROOM, /* a connection was closed while the board said that all are taken */
    /* From a checker, which gets CONTROL_GENERATION without a descriptor, if it is to check one
     * that was served before. */
    CONTROL_CANDIDATE, /* + descriptor: the file is good */
    CONTROL_REFUSED,  /* it is not: text; number: errno or 0; generation has device, inode, size and
                       * times, if known */
    CONTROL_PROGRESS, /* `number` bytes are checked (or warm), of generation.size_bytes */
    /* From a warmer, which gets CONTROL_GENERATION without a descriptor. */
    CONTROL_PROFILE,    /* there are `number` bytes in the profile that was read */
    CONTROL_WARM,       /* done */
    CONTROL_NO_PROFILE, /* nothing to do, since there is no profile yet: text */
    CONTROL_NOT_WARM,   /* failed: text */
    /* From a verifier, likewise. */
    CONTROL_VERIFIED, /* `number`: an enum verify_state; text: the first fault, or why it failed */
};

#define CONTROL_TEXT_BYTES 640

struct control_message {
    uint32_t type; /* enum control_type */
    uint64_t number;
    struct generation generation;
    char text[CONTROL_TEXT_BYTES];
};

/* A pair of connected, non-blocking sockets, both closed on exec. 0 or -errno. */
int control_pair(int ret_fds[2]);

#define CONTROL_FULL  1 /* control_send: try again when the socket is writable */
#define CONTROL_EMPTY 2 /* control_receive: there is nothing now */
#define CONTROL_END   3 /* the other end is gone, and everything that it said is read */

/* passed: a descriptor that the other end gets a copy of, or -1. 0, CONTROL_FULL, or -errno
 * (-EPIPE: the other end is gone). */
int control_send(int fd, const struct control_message *message, int passed);

/* ret_passed: the descriptor that came along, owned by the caller, or -1: there was none, or there
 * was no room for it. 0, CONTROL_EMPTY, CONTROL_END, or -errno. */
int control_receive(int fd, struct control_message *ret, int *ret_passed);
