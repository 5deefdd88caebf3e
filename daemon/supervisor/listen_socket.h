/*
 * listen_socket: a socket that listens, TCP or Unix, before anything accepts from it: bound by us,
 * bound by us before a restart, or the service manager's.
 */
#pragma once

#include "base/address.h"

#include <stdbool.h>
#include <sys/types.h>

struct listen_socket {
    int fd; /* owned; -1: none */
    int family;
    char text[ADDRESS_TEXT_MAX]; /* where it really listens (port 0 resolved) */
    char path[108];              /* Unix: to unlink at the end; "": nothing to unlink */
    dev_t device;                /* of the socket file that we made; inode 0: we made none */
    ino_t inode;
    bool is_kept; /* by the service manager, if it has a store (supervisor/store) */
    /* It has it for certain, and gives it to the next process: what is queued waits for that, and
     * the file stays. */
    bool is_lasting;
};

/* Who wants to listen, and how. */
struct listen_options {
    const struct address *address; /* borrowed */
    mode_t mode;                   /* of a Unix socket's file */
    int backlog;
};

/* Binds and listens. A stale Unix socket file is replaced; one on which somebody listens, or a file
 * that is no socket, is left alone. 0, or -errno with a line for people in error. */
int listen_socket_open(struct listen_socket *socket, const struct listen_options *options,
                       char *error, size_t error_size);
/* The same with one that we have bound to this address earlier, and whose file (of a Unix socket)
 * was this one then. Takes over fd on success; on failure error is why it is of no use. */
int listen_socket_reuse(struct listen_socket *socket, int fd, const struct listen_options *options,
                        dev_t device, ino_t inode, char *error, size_t error_size);
/* One that listens already and is somebody else's. Takes over fd. */
void listen_socket_inherit(struct listen_socket *socket, int fd);
/* Removes the file of a Unix socket that we have bound earlier, if it is still that. */
void listen_socket_unlink(int fd, dev_t device, ino_t inode);
/* Whoever connects to this address comes to that socket. */
bool listen_socket_covers(const struct listen_socket *socket, const struct address *address);
/* Closes it and, unless it is lasting, removes the Unix socket file if it is still ours.
 * Idempotent. */
void listen_socket_close(struct listen_socket *socket);
