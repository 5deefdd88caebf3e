/*
 * methods: the one table of what can be called (docs/PROTOCOL.md, "Methods").
 */
#pragma once

/* X(name, least parameters, most parameters, result) */
#define METHODS(X)                                                                  \
    X(hello, 0, 1, "what the server is, and how this connection wants its replies") \
    X(ping, 0, 0, "\"pong\"")                                                       \
    X(get, 1, 1, "the key's value, or nil")                                         \
    X(mget, 1, 2, "an array of values or nil, in the order asked")                  \
    X(exists, 1, 1, "true if the key has a value")                                  \
    X(node, 1, 1, "a map: exists, value, children")                                 \
    X(info, 0, 0, "a map: what is served")                                          \
    X(stats, 0, 0, "a map: page faults, resident set, counters")

enum method_id {
#define X(name, least, most, result) METHOD_##name,
    METHODS(X)
#undef X
        N_METHODS
};
