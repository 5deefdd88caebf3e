/*
 * listener: a listening socket, TCP or Unix, and accepting from it.
 *
 * Accepting is by uv_poll and accept4, not uv_listen: with no descriptor left libuv accepts and
 * closes what is queued; we leave it in the kernel's queue until there is room.
 */
#pragma once

#include "base/address.h"

#include <sys/types.h>
#include <uv.h>

/* A bound and listening descriptor, before anything accepts from it. */
struct listen_socket {
    int fd;                      /* owned; -1: none */
    char text[ADDRESS_TEXT_MAX]; /* where it really listens (port 0 resolved) */
    char path[108];              /* Unix: to unlink at the end; "" for TCP */
    dev_t device;                /* of the socket file that we made */
    ino_t inode;
};

/* Binds and listens. A stale Unix socket file is replaced; one on which somebody listens, or a file
 * that is no socket, is left alone. 0, or -errno with a line for people in error. */
int listen_socket_open(struct listen_socket *socket, const struct address *address, mode_t mode,
                       int backlog, char *error, size_t error_size);
/* Closes it and removes the Unix socket file if it is still ours. Idempotent. */
void listen_socket_close(struct listen_socket *socket);

struct listener {
    struct listen_socket socket;
    uv_poll_t poll;
    bool is_accepting;
    /* Takes over the connected, non-blocking socket. */
    void (*on_connection)(void *context, int fd);
    /* accept failed for want of descriptors or memory (error is -errno): pause all listeners. */
    void (*on_exhausted)(void *context, int error);
    void *context; /* borrowed: the owner's */
};

/* Takes over socket; on_connection, on_exhausted and context are set by the caller. 0 or -errno. */
int listener_init(struct listener *listener, uv_loop_t *loop, struct listen_socket *socket);
void listener_resume(struct listener *listener);
void listener_pause(struct listener *listener);
/* Accepts what is queued already; then the socket is closed. uv_poll's memory goes with the loop's
 * next turn. */
void listener_close(struct listener *listener);
