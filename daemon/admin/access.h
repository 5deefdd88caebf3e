/*
 * access: who may ask over TCP, where anybody may connect that reaches the port.
 *
 * A web page that somebody on this host looks at can send requests to any address, and by a name
 * that its owner lets point here (DNS rebinding) it could read the answers. So the Host of a
 * request has to be an address, localhost, or a name that admin.host lists. What changes something
 * needs a token (admin.token_file) too.
 */
#pragma once

#include "base/slice.h"
#include "daemon/config.h"

#define ACCESS_TOKEN_MIN 16
#define ACCESS_TOKEN_MAX 512

struct access {
    const struct config *config; /* borrowed */
    size_t token_len;            /* 0: nobody has one */
    char token[ACCESS_TOKEN_MAX];
};

/* Reads the token, if the configuration names a file. 0, or -errno with a line for people in error,
 * and nothing changed. */
int access_init(struct access *access, const struct config *config, char *error, size_t error_size);

/* The value of the header Host. */
bool access_knows_host(const struct access *access, struct slice host);

/* The value of the header Authorization. However far it is right, it takes the same time. */
bool access_has_token(const struct access *access, struct slice authorization);
