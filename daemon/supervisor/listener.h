/*
 * listener: accepting from a listening socket.
 *
 * Accepting is by uv_poll and accept4, not uv_listen: with no descriptor left libuv accepts and
 * closes what is queued; we leave it in the kernel's queue until there is room.
 */
#pragma once

#include "daemon/supervisor/listen_socket.h"

#include <uv.h>

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

/* Takes over socket; on_connection, on_exhausted and context are set by the caller. It accepts from
 * listener_resume on. 0 or -errno. */
int listener_init(struct listener *listener, uv_loop_t *loop, struct listen_socket *socket);
void listener_resume(struct listener *listener);
void listener_pause(struct listener *listener);
/* Accepts what is queued already, unless the socket is lasting; then it is closed. uv_poll's memory
 * goes with the loop's next turn. */
void listener_close(struct listener *listener);
