/*
 * address: see address.h.
 */
#include "base/address.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/un.h>

#define HOST_MAX 256

static bool is_port(const char *text)
{
    unsigned port = 0;
    size_t n = strspn(text, "0123456789");
    if (n == 0 || n > 5 || text[n] != '\0')
        return false;
    for (; *text; text++)
        port = port * 10 + (unsigned)(*text - '0');
    return port <= 65535;
}

/* Where no host is given: this machine only, whatever else it is connected to. One address, and not
 * [::1] too: port 0 would be two ports, and not every machine has IPv6. */
#define LOOPBACK "127.0.0.1"

/* HOST:PORT or [HOST]:PORT -> host (in host[], brackets off) and port (into host_port). :PORT or
 * PORT alone: loopback. */
static const char *split_host_port(const char *text, char host[HOST_MAX], const char **ret_port)
{
    const char *colon = strrchr(text, ':');
    if (colon == text || (!colon && is_port(text))) {
        memcpy(host, LOOPBACK, sizeof LOOPBACK);
        *ret_port = colon ? colon + 1 : text;
        return NULL;
    }
    if (!colon)
        return "no port: write HOST:PORT";
    const char *begin = text, *end = colon;
    if (*text == '[') {
        if (end - begin < 3 || end[-1] != ']')
            return "an IPv6 address is written [ADDRESS]:PORT";
        begin++;
        end--;
    } else if (memchr(text, ':', (size_t)(colon - text))) {
        return "an IPv6 address is written [ADDRESS]:PORT";
    }
    if (end == begin)
        return "no host: write HOST:PORT, such as 127.0.0.1:7411";
    if (end - begin >= HOST_MAX)
        return "the host name is too long";
    memcpy(host, begin, (size_t)(end - begin));
    host[end - begin] = '\0';
    *ret_port = colon + 1;
    return NULL;
}

int address_parse_unix(const char *path, struct address *ret, const char **ret_reason)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    size_t len = strlen(path);
    if (len == 0) {
        *ret_reason = "the socket path is empty";
        return ADDRESS_BAD;
    }
    if (len >= sizeof un.sun_path) {
        *ret_reason = "the socket path is longer than the 107 bytes that the kernel takes";
        return ADDRESS_BAD;
    }
    memcpy(un.sun_path, path, len + 1);
    *ret = (struct address){.len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1)};
    memcpy(&ret->sockaddr, &un, sizeof un);
    snprintf(ret->text, sizeof ret->text, "unix:%s", path);
    return 0;
}

int address_parse_tcp(const char *host_port, struct address *ret, const char **ret_reason)
{
    char host[HOST_MAX];
    const char *port;
    const char *reason = split_host_port(host_port, host, &port);
    if (!reason && !is_port(port))
        reason = "the port is not a number from 0 to 65535";
    if (reason) {
        *ret_reason = reason;
        return ADDRESS_BAD;
    }
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    int r = getaddrinfo(host, port, &hints, &found);
    if (r != 0) {
        *ret_reason = gai_strerror(r);
        return ADDRESS_BAD;
    }
    *ret = (struct address){.len = found->ai_addrlen};
    memcpy(&ret->sockaddr, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    if (strrchr(host_port, ':') > host_port)
        snprintf(ret->text, sizeof ret->text, "tcp:%s", host_port);
    else
        snprintf(ret->text, sizeof ret->text, "tcp:" LOOPBACK ":%s", port);
    return 0;
}

int address_parse(const char *text, struct address *ret, const char **ret_reason)
{
    if (strncmp(text, "unix:", 5) == 0)
        return address_parse_unix(text + 5, ret, ret_reason);
    if (strncmp(text, "tcp:", 4) == 0)
        return address_parse_tcp(text + 4, ret, ret_reason);
    *ret_reason = "an address is written unix:PATH or tcp:HOST:PORT";
    return ADDRESS_BAD;
}

static bool is_loopback_v6(const struct in6_addr *host)
{
    return IN6_IS_ADDR_LOOPBACK(host) || (IN6_IS_ADDR_V4MAPPED(host) && host->s6_addr[12] == 127);
}

bool address_is_local(const struct sockaddr *sockaddr)
{
    if (sockaddr->sa_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)(const void *)sockaddr)->sin_addr.s_addr) >> 24 ==
               IN_LOOPBACKNET;
    if (sockaddr->sa_family == AF_INET6)
        return is_loopback_v6(&((const struct sockaddr_in6 *)(const void *)sockaddr)->sin6_addr);
    return sockaddr->sa_family == AF_UNIX;
}

void address_format(const struct sockaddr *sockaddr, socklen_t len, char *text, size_t size)
{
    char host[NI_MAXHOST], port[NI_MAXSERV];
    if (sockaddr->sa_family == AF_UNIX) {
        const struct sockaddr_un *un = (const void *)sockaddr;
        size_t max = len > offsetof(struct sockaddr_un, sun_path)
                         ? len - offsetof(struct sockaddr_un, sun_path)
                         : 0;
        bool is_abstract =
            max > 1 && un->sun_path[0] == '\0'; /* written @NAME, as in socket units */
        snprintf(text, size, "unix:%s%.*s", is_abstract ? "@" : "", (int)(max - is_abstract),
                 un->sun_path + is_abstract);
    } else if (getnameinfo(sockaddr, len, host, sizeof host, port, sizeof port,
                           NI_NUMERICHOST | NI_NUMERICSERV) == 0) {
        if (sockaddr->sa_family == AF_INET6)
            snprintf(text, size, "tcp:[%s]:%s", host, port);
        else
            snprintf(text, size, "tcp:%s:%s", host, port);
    } else {
        snprintf(text, size, "unknown");
    }
}
