/*
 * address: where a server listens, as people write it.
 *
 *     unix:PATH            a Unix stream socket
 *     tcp:HOST:PORT        a TCP socket; IPv6 hosts in brackets: tcp:[::1]:7411
 *     tcp:PORT, tcp::PORT  the same on 127.0.0.1
 */
#pragma once

#include "base/slice.h"
#include <sys/socket.h>

#define ADDRESS_TEXT_MAX 320

struct address {
    struct sockaddr_storage sockaddr;
    socklen_t len;
    char text[ADDRESS_TEXT_MAX]; /* as it was given, with the scheme: for messages */
};

/* Outcomes (with *ret_reason, a static text that says what is wrong). */
#define ADDRESS_BAD 1

/* text without a scheme: PATH for unix. 0, or ADDRESS_BAD. */
int address_parse_unix(const char *path, struct address *ret, const char **ret_reason);

/* text without a scheme: HOST:PORT; :PORT or PORT alone is 127.0.0.1. HOST may be a name: this may
 * ask the resolver and so block; the first address that the resolver gives is taken. 0, or
 * ADDRESS_BAD. */
int address_parse_tcp(const char *host_port, struct address *ret, const char **ret_reason);

/* text with the scheme unix: or tcp:. 0, or ADDRESS_BAD. */
int address_parse(const char *text, struct address *ret, const char **ret_reason);

/* Only this machine reaches it: a Unix socket, or TCP on a loopback address. */
bool address_is_local(const struct sockaddr *sockaddr);

/* Writes a bound or connected TCP or Unix socket's own name, with the scheme, into text. */
void address_format(const struct sockaddr *sockaddr, socklen_t len, char *text, size_t size);
