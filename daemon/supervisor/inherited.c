/*
 * inherited: see inherited.h.
 */
#include "daemon/supervisor/inherited.h"

#include "base/address.h"
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#define KNOWN_NAMES "\"tcp\" and \"unix\" are sockets for clients, \"admin\" is the admin endpoint"

/* A socket as far as it matters here. */
struct kind {
    int family, type;
    int is_listening;
};

static bool is_tcp(int family)
{
    return family == AF_INET || family == AF_INET6;
}

static int option(int fd, int name)
{
    int value = -1;
    socklen_t len = sizeof value;
    return getsockopt(fd, SOL_SOCKET, name, &value, &len) == 0 ? value : -1;
}

static struct kind kind_of(int fd)
{
    return (struct kind){.family = option(fd, SO_DOMAIN),
                         .type = option(fd, SO_TYPE),
                         .is_listening = option(fd, SO_ACCEPTCONN) == 1};
}

static const char *file_kind(mode_t mode)
{
    return S_ISREG(mode)    ? "a regular file"
           : S_ISDIR(mode)  ? "a directory"
           : S_ISFIFO(mode) ? "a FIFO"
           : S_ISCHR(mode)  ? "a character device"
           : S_ISBLK(mode)  ? "a block device"
                            : "no socket";
}

static void describe_socket(int fd, char *text, size_t size)
{
    struct kind kind = kind_of(fd);
    struct sockaddr_storage bound = {0};
    socklen_t len = sizeof bound;
    char address[ADDRESS_TEXT_MAX] = "no address";
    const char *family = kind.family == AF_UNIX ? "Unix " : is_tcp(kind.family) ? "TCP " : "";
    if (kind.type == SOCK_DGRAM)
        family = kind.family == AF_UNIX ? "Unix datagram " : is_tcp(kind.family) ? "UDP " : "";
    else if (kind.type != SOCK_STREAM)
        family = kind.type == SOCK_SEQPACKET ? "packet " : "raw ";
    if (getsockname(fd, (struct sockaddr *)&bound, &len) == 0 && bound.ss_family != AF_UNSPEC)
        address_format((struct sockaddr *)&bound, len, address, sizeof address);
    snprintf(text, size, "a %ssocket that %s (%s)", family,
             kind.is_listening ? "listens" : "does not listen", address);
}

void inherited_describe(int fd, char *text, size_t size)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        snprintf(text, size, "no open file");
    else if (S_ISSOCK(st.st_mode))
        describe_socket(fd, text, size);
    else
        snprintf(text, size, "%s", file_kind(st.st_mode));
}

static int refuse(int fd, const char *name, const char *what, char *error, size_t size)
{
    char kind[ADDRESS_TEXT_MAX + 64];
    inherited_describe(fd, kind, sizeof kind);
    snprintf(error, size, "descriptor %d from the service manager, named \"%.255s\", is %s: %s", fd,
             name, kind, what);
    return -EINVAL;
}

/* Is it what its name says? Its role then. */
static int examine(int fd, const char *name, enum inherited_role *ret, char *error, size_t size)
{
    struct kind kind = kind_of(fd);
    bool is_stream = kind.type == SOCK_STREAM && kind.is_listening;
    bool is_named_tcp = strcmp(name, "tcp") == 0, is_named_unix = strcmp(name, "unix") == 0;
    if (strncmp(name, "kept-", 5) == 0 || strcmp(name, "stored") == 0) {
        *ret = INHERITED_KEPT;
        return 0;
    }
    if (!is_named_tcp && !is_named_unix && strcmp(name, "admin") != 0)
        return refuse(fd, name,
                      "actd does not know that name: " KNOWN_NAMES
                      ". Set FileDescriptorName= in its socket unit to one of these",
                      error, size);
    if (is_named_tcp && !(is_stream && is_tcp(kind.family)))
        return refuse(fd, name,
                      "that name is for TCP sockets that listen. Correct ListenStream= in its "
                      "socket unit, or FileDescriptorName=: " KNOWN_NAMES,
                      error, size);
    if (is_named_unix && !(is_stream && kind.family == AF_UNIX))
        return refuse(fd, name,
                      "that name is for Unix stream sockets that listen. Correct ListenStream= in "
                      "its socket unit, or FileDescriptorName=: " KNOWN_NAMES,
                      error, size);
    if (!(is_stream && (is_tcp(kind.family) || kind.family == AF_UNIX)))
        return refuse(fd, name,
                      "that name is for TCP or Unix stream sockets that listen. Correct "
                      "ListenStream= in its socket unit, which must not have Accept=yes",
                      error, size);
    *ret = is_named_tcp || is_named_unix ? INHERITED_DATA : INHERITED_ADMIN;
    return 0;
}

static int prepare(struct inherited_fd *one, const char *name, char *error, size_t size)
{
    snprintf(one->name, sizeof one->name, "%s", name);
    int r = examine(one->fd, name, &one->role, error, size);
    if (r != 0 || one->role == INHERITED_KEPT)
        return r;
    int flags = fcntl(one->fd, F_GETFL);
    if (flags < 0 || fcntl(one->fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return refuse(one->fd, name, strerror(errno), error, size);
    return 0;
}

static void free_names(char **names)
{
    for (char **name = names; name && *name; name++)
        free(*name);
    free(names);
}

int inherited_take(struct inherited *ret, char *error, size_t size)
{
    char **names = NULL;
    struct inherited inherited = {0};
    int n = sd_listen_fds_with_names(1, &names), r = 0;
    if (n < 0) {
        snprintf(error, size,
                 "LISTEN_FDS and LISTEN_FDNAMES of the environment do not tell of open "
                 "descriptors: %s",
                 strerror(-n));
        return n;
    }
    inherited.list = calloc((size_t)n + 1, sizeof *inherited.list);
    if (!inherited.list) {
        snprintf(error, size, "%s", strerror(ENOMEM));
        free_names(names);
        return -ENOMEM;
    }
    for (; inherited.n < (size_t)n; inherited.n++)
        inherited.list[inherited.n].fd = SD_LISTEN_FDS_START + (int)inherited.n;
    for (size_t i = 0; r == 0 && i < inherited.n; i++)
        r = prepare(&inherited.list[i], names[i], error, size);
    free_names(names);
    if (r == 0)
        *ret = inherited;
    else
        inherited_deinit(&inherited);
    return r;
}

void inherited_deinit(struct inherited *inherited)
{
    for (size_t i = 0; i < inherited->n; i++)
        fd_closep(&inherited->list[i].fd);
    free(inherited->list);
    *inherited = (struct inherited){0};
}
