/*
 * inherited: descriptors that the service manager has given to the process at its start, by name.
 *
 *   tcp, unix   sockets for clients          FileDescriptorName= in their socket units
 *   admin       admin endpoints, of either kind
 *   kept-...    what we had put into the manager's store before the restart (supervisor/store)
 *
 * Sockets of units have to be what their names say: somebody has written them down. What comes out
 * of the store may be anything, and is judged by who uses it.
 */
#pragma once

#include <stddef.h>

enum inherited_role { INHERITED_DATA, INHERITED_ADMIN, INHERITED_KEPT };

#define INHERITED_NAME_BYTES 256 /* the manager has no longer ones */

struct inherited_fd {
    int fd; /* owned; -1: somebody has taken it */
    enum inherited_role role;
    char name[INHERITED_NAME_BYTES];
};

struct inherited {
    struct inherited_fd *list; /* owned */
    size_t n;
};

/* Before anything else is opened, since the environment tells them by number. It is gone from the
 * environment then, so that children do not take it for theirs; the descriptors close on exec and
 * do not block. 0, or -errno with a line for people in error, and all of them closed. */
int inherited_take(struct inherited *ret, char *error, size_t size);
/* Closes what nobody has taken. */
void inherited_deinit(struct inherited *inherited);

/* What a descriptor is, for people: "a directory", "a TCP socket that listens (tcp:[::]:7411)". */
void inherited_describe(int fd, char *text, size_t size);
