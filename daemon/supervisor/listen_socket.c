/*
 * listen_socket: see listen_socket.h.
 */
#include "daemon/supervisor/listen_socket.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* How long other servers that are starting are waited for: 1 s in all, whatever is to be bound. */
#define LOCK_TRIES    100
#define LOCK_RETRY_US 10000

__attribute__((format(printf, 4, 5))) static int fail(char *error, size_t size, int code,
                                                      const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(error, size, format, args);
    va_end(args);
    return code;
}

/* Does somebody listen there? A full queue counts. */
static bool is_live(const struct address *address)
{
    with_close int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return true; /* cannot tell: leave it alone */
    if (connect(fd, (const struct sockaddr *)&address->sockaddr, address->len) == 0)
        return true;
    return errno != ECONNREFUSED && errno != ENOENT;
}

static int remove_stale(const struct address *address, const char *path, char *error, size_t size)
{
    struct stat st;
    if (lstat(path, &st) < 0)
        return errno == ENOENT
                   ? 0
                   : fail(error, size, -errno, "%s: %s", address->text, strerror(errno));
    if (!S_ISSOCK(st.st_mode))
        return fail(error, size, -EEXIST,
                    "%s: the file exists and is not a socket: remove it or choose another path",
                    address->text);
    if (is_live(address))
        return fail(error, size, -EADDRINUSE,
                    "%s: another server listens there: stop it or choose another path",
                    address->text);
    if (unlink(path) < 0 && errno != ENOENT)
        return fail(error, size, -errno, "%s: cannot remove the stale socket: %s", address->text,
                    strerror(errno));
    return 0;
}

/* The directory, locked: of two servers that start at once the second sees the first one's socket
 * when it listens, not between its bind and its listen. */
static int lock_directory(const char *path)
{
    static unsigned n_tries;
    char copy[sizeof(struct sockaddr_un)];
    snprintf(copy, sizeof copy, "%s", path);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* Whoever may read the directory can hold the lock: it must not hold up the start. */
    while (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0 && n_tries < LOCK_TRIES) {
        n_tries++;
        usleep(LOCK_RETRY_US);
    }
    return fd;
}

/* What to do about it, with what parts it from the error; "": the error says it. */
static const char *bind_remedy(int family, int error)
{
    if (family == AF_UNIX && error == EROFS)
        return ": put the socket below /run/actd, or, where it is the service that may not write "
               "there, name the directory in ReadWritePaths= of its unit";
    if (family == AF_UNIX && error == EACCES)
        return ": put the socket into a directory that the user who runs actd may write to, as "
               "/run/actd";
    if (family != AF_UNIX && error == EACCES)
        return ": ports below 1024 take a privilege: let the service manager bind it "
               "(ListenStream= of actd-tcp.socket)";
    return "";
}

static int bind_and_listen(struct listen_socket *socket, const struct listen_options *options,
                           char *error, size_t size)
{
    struct stat st;
    const struct address *address = options->address;
    if (bind(socket->fd, (const struct sockaddr *)&address->sockaddr, address->len) < 0)
        return fail(error, size, -errno, "%s: cannot bind: %s%s", address->text, strerror(errno),
                    bind_remedy(address->sockaddr.ss_family, errno));
    if (socket->path[0] != '\0') {
        if (chmod(socket->path, options->mode) < 0 || lstat(socket->path, &st) < 0)
            return fail(error, size, -errno, "%s: cannot set its mode: %s", address->text,
                        strerror(errno));
        socket->device = st.st_dev;
        socket->inode = st.st_ino;
    }
    if (listen(socket->fd, options->backlog) < 0)
        return fail(error, size, -errno, "%s: cannot listen: %s", address->text, strerror(errno));
    return 0;
}

static int open_unix(struct listen_socket *socket, const struct listen_options *options,
                     char *error, size_t size)
{
    const struct address *address = options->address;
    const struct sockaddr_un *un = (const void *)&address->sockaddr;
    with_close int lock = lock_directory(un->sun_path);
    if (lock < 0)
        return fail(error, size, -errno, "%s: its directory: %s", address->text, strerror(errno));
    int r = remove_stale(address, un->sun_path, error, size);
    if (r != 0)
        return r;
    memcpy(socket->path, un->sun_path, sizeof un->sun_path);
    /* Nobody gets in before the mode is set: the mask takes all permissions. */
    mode_t mask = umask(0777);
    r = bind_and_listen(socket, options, error, size);
    umask(mask);
    return r;
}

static void tell_address(struct listen_socket *sock)
{
    struct sockaddr_storage bound = {0};
    socklen_t len = sizeof bound;
    if (getsockname(sock->fd, (struct sockaddr *)&bound, &len) < 0)
        return;
    sock->family = bound.ss_family;
    address_format((struct sockaddr *)&bound, len, sock->text, sizeof sock->text);
}

static int fail_family(const struct address *address, char *error, size_t size)
{
    return fail(error, size, -EAFNOSUPPORT,
                "%s: %s: the service may not make such sockets (RestrictAddressFamilies= in its "
                "unit), or the kernel has none. Let the service manager do it (systemctl enable "
                "actd-tcp.socket, and restart the service) instead of listen.tcp or admin.tcp, or "
                "allow AF_INET and AF_INET6 there, and the network (PrivateNetwork=no)",
                address->text, strerror(EAFNOSUPPORT));
}

int listen_socket_open(struct listen_socket *sock, const struct listen_options *options,
                       char *error, size_t error_size)
{
    int on = 1;
    const struct address *address = options->address;
    int family = address->sockaddr.ss_family, r;
    *sock = (struct listen_socket){.fd = -1};
    sock->fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (sock->fd < 0 && errno == EAFNOSUPPORT)
        return fail_family(address, error, error_size);
    if (sock->fd < 0)
        return fail(error, error_size, -errno, "%s: %s", address->text, strerror(errno));
    if (family == AF_UNIX) {
        r = open_unix(sock, options, error, error_size);
    } else {
        (void)setsockopt(sock->fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        r = bind_and_listen(sock, options, error, error_size);
    }
    if (r != 0) {
        listen_socket_close(sock);
        return r;
    }
    tell_address(sock);
    return 0;
}

/* Larger than what the kernel fills in, and zeroed before: the path has an end. */
static const char *unix_path(const struct sockaddr_storage *address)
{
    return ((const struct sockaddr_un *)(const void *)address)->sun_path;
}

/* The socket file that we made, and no other one that has taken its place. */
static bool is_file(const char *path, dev_t device, ino_t inode)
{
    struct stat st;
    return inode != 0 && lstat(path, &st) == 0 && S_ISSOCK(st.st_mode) && st.st_dev == device &&
           st.st_ino == inode;
}

static bool is_listening(int fd)
{
    int is_on = 0, type = 0;
    socklen_t len = sizeof is_on;
    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_STREAM &&
           getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &is_on, &len) == 0 && is_on;
}

/* A port that was not chosen is any. */
static bool is_bound_to(const struct sockaddr_storage *bound, const struct address *address)
{
    const struct sockaddr_storage *wanted = &address->sockaddr;
    const struct sockaddr_in *v4 = (const void *)bound, *wanted_v4 = (const void *)wanted;
    const struct sockaddr_in6 *v6 = (const void *)bound, *wanted_v6 = (const void *)wanted;
    if (bound->ss_family != wanted->ss_family)
        return false;
    if (bound->ss_family == AF_UNIX)
        return strcmp(unix_path(bound), unix_path(wanted)) == 0;
    if (bound->ss_family == AF_INET)
        return v4->sin_addr.s_addr == wanted_v4->sin_addr.s_addr &&
               (wanted_v4->sin_port == 0 || v4->sin_port == wanted_v4->sin_port);
    return bound->ss_family == AF_INET6 &&
           IN6_ARE_ADDR_EQUAL(&v6->sin6_addr, &wanted_v6->sin6_addr) &&
           (wanted_v6->sin6_port == 0 || v6->sin6_port == wanted_v6->sin6_port);
}

int listen_socket_reuse(struct listen_socket *sock, int fd, const struct listen_options *options,
                        dev_t device, ino_t inode, char *error, size_t size)
{
    struct sockaddr_storage bound = {0};
    socklen_t len = sizeof bound;
    const char *text = options->address->text;
    if (!is_listening(fd) || getsockname(fd, (struct sockaddr *)&bound, &len) < 0 ||
        !is_bound_to(&bound, options->address))
        return fail(error, size, -EINVAL, "it is no socket that listens on %s", text);
    bool is_unix = bound.ss_family == AF_UNIX;
    const char *path = is_unix ? unix_path(&bound) : "";
    if (is_unix && !is_file(path, device, inode))
        return fail(error, size, -ENOENT, "its file was removed or replaced");
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
        (is_unix && chmod(path, options->mode) < 0) || listen(fd, options->backlog) < 0)
        return fail(error, size, -errno, "%s: %s", text, strerror(errno));
    *sock = (struct listen_socket){.fd = fd};
    if (is_unix) {
        snprintf(sock->path, sizeof sock->path, "%s", path);
        sock->device = device;
        sock->inode = inode;
    }
    tell_address(sock);
    return 0;
}

void listen_socket_inherit(struct listen_socket *sock, int fd)
{
    *sock = (struct listen_socket){.fd = fd, .is_lasting = true};
    tell_address(sock);
}

void listen_socket_unlink(int fd, dev_t device, ino_t inode)
{
    struct sockaddr_storage bound = {0};
    socklen_t len = sizeof bound;
    if (getsockname(fd, (struct sockaddr *)&bound, &len) == 0 && bound.ss_family == AF_UNIX &&
        is_file(unix_path(&bound), device, inode))
        unlink(unix_path(&bound));
}

static bool is_same_path(const char *a, const char *b)
{
    struct stat at_a, at_b;
    if (a[0] == '\0' || b[0] == '\0')
        return false;
    return strcmp(a, b) == 0 || (stat(a, &at_a) == 0 && stat(b, &at_b) == 0 &&
                                 at_a.st_dev == at_b.st_dev && at_a.st_ino == at_b.st_ino);
}

/* [::] takes IPv4, too, unless it was told not to. */
static bool is_any_v6(const struct listen_socket *sock, const struct sockaddr_in6 *bound,
                      int wanted_family)
{
    int is_only = 1;
    socklen_t len = sizeof is_only;
    return IN6_IS_ADDR_UNSPECIFIED(&bound->sin6_addr) &&
           (wanted_family == AF_INET6 ||
            (getsockopt(sock->fd, IPPROTO_IPV6, IPV6_V6ONLY, &is_only, &len) == 0 && !is_only));
}

static uint16_t port_of(const struct sockaddr_storage *address)
{
    return address->ss_family == AF_INET
               ? ((const struct sockaddr_in *)(const void *)address)->sin_port
               : ((const struct sockaddr_in6 *)(const void *)address)->sin6_port;
}

bool listen_socket_covers(const struct listen_socket *sock, const struct address *address)
{
    struct sockaddr_storage bound = {0};
    socklen_t len = sizeof bound;
    const struct sockaddr_storage *at = &bound, *wanted = &address->sockaddr;
    if (getsockname(sock->fd, (struct sockaddr *)&bound, &len) < 0)
        return false;
    if (wanted->ss_family == AF_UNIX || at->ss_family == AF_UNIX)
        return wanted->ss_family == at->ss_family && is_same_path(unix_path(at), unix_path(wanted));
    if (port_of(wanted) == 0 || port_of(wanted) != port_of(at))
        return false;
    if (at->ss_family == AF_INET6 && is_any_v6(sock, (const void *)at, wanted->ss_family))
        return true;
    const struct sockaddr_in *v4 = (const void *)at;
    return is_bound_to(at, address) || (at->ss_family == AF_INET && wanted->ss_family == AF_INET &&
                                        v4->sin_addr.s_addr == htonl(INADDR_ANY));
}

void listen_socket_close(struct listen_socket *sock)
{
    fd_closep(&sock->fd);
    if (!sock->is_lasting && is_file(sock->path, sock->device, sock->inode))
        unlink(sock->path);
    sock->inode = 0;
}
