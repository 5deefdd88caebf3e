/*
 * errors: the numbers and names that an error reply carries (docs/PROTOCOL.md, "Errors").
 */
#pragma once

#include <stddef.h>

/* X(NAME, number, meaning): the one table of code, replies and documentation. */
#define PROTO_ERRORS(X)                                                  \
    X(BAD_REQUEST, 1, "the message is not a well-formed request")        \
    X(UNKNOWN_METHOD, 2, "there is no such method")                      \
    X(BAD_PARAMS, 3, "the parameters do not fit the method")             \
    X(TOO_LARGE, 4, "the request or its reply is larger than a limit")   \
    X(LIMIT, 5, "the work budget of the request is used up")             \
    X(CORRUPT, 6, "the tree is damaged on this key's path")              \
    X(IO_ERROR, 7, "the file could not be read or was changed in place") \
    X(BUSY, 8, "the server has no room for this request now")            \
    X(GONE, 9, "the pinned generation is retired")                       \
    X(BAD_CURSOR, 10, "the cursor is malformed or outside its scan")     \
    X(DRAINING, 11, "the server is stopping")                            \
    X(UNAVAILABLE, 12, "no good generation is loaded")

enum proto_error {
    PROTO_OK = 0,
#define X(name, number, meaning) PROTO_##name = (number),
    PROTO_ERRORS(X)
#undef X
};

/* "BAD_REQUEST"...; never NULL for a member of enum proto_error other than PROTO_OK. */
const char *proto_error_name(enum proto_error error);
