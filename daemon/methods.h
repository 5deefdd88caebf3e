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
    X(scan, 1, 2, "a page of the entries that begin with a prefix")                 \
    X(range, 2, 3, "a page of the entries between two keys")                        \
    X(mscan, 1, 2, "an array of such pages, one for each prefix")                   \
    X(count, 1, 2, "how many keys begin with a prefix")                             \
    X(longest_prefix, 1, 2, "the longest entry that the key begins with, or nil")   \
    X(prefixes, 1, 2, "all entries that the key begins with")                       \
    X(next, 1, 1, "the first entry behind the key, or nil")                         \
    X(prev, 1, 1, "the last entry before the key, or nil")                          \
    X(explore, 1, 2, "what lies below each byte that follows a prefix")             \
    X(info, 0, 0, "a map: what is served")                                          \
    X(stats, 0, 0, "a map: page faults, resident set, counters")                    \
    X(watch, 0, 0, "true; from then on a notification for each generation")         \
    X(wait_generation, 2, 2, "true: that generation is served; false: not in time")

enum method_id {
#define X(name, least, most, result) METHOD_##name,
    METHODS(X)
#undef X
        N_METHODS
};
