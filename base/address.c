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

/* HOST:PORT or [HOST]:PORT -> host (in host[], brackets off) and port (into host_port). */
static const char *split_host_port(const char *text, char host[HOST_MAX], const char **ret_port)
{
    const char *colon = strrchr(text, ':');
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
    snprintf(ret->text, sizeof ret->text, "tcp:%s", host_port);
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

void address_format(const struct sockaddr *sockaddr, socklen_t len, char *text, size_t size)
{
    char host[NI_MAXHOST], port[NI_MAXSERV];
    if (sockaddr->sa_family == AF_UNIX) {
        const struct sockaddr_un *un = (const void *)sockaddr;
        size_t max = len > offsetof(struct sockaddr_un, sun_path)
                         ? len - offsetof(struct sockaddr_un, sun_path)
                         : 0;
        snprintf(text, size, "unix:%.*s", (int)max, un->sun_path);
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
