/*
 * net_format: how requests and replies look on the wire, for each server and method that net_load
 * knows. The loop that sends and receives is the same for all of them.
 */
#pragma once

#include "base/slice.h"
#include "bench/engine_keys.h"

/* Keys that a request may ask for, entries that a page may hold. */
#define NET_ITEMS_MAX 1000
/* A request needs no more room than so many bytes, and so many more for each of its keys, beside
 * the keys themselves. */
#define NET_REQUEST_BYTES 80
#define NET_KEY_BYTES     16

struct net_reply {
    uint32_t id; /* of the request that is answered; where replies carry none, as the caller set it:
                    the oldest that is not answered */
    uint32_t n;
    uint64_t values[NET_ITEMS_MAX];
    struct slice keys[NET_ITEMS_MAX]; /* of scans only; borrowed from the input */
    struct slice cursor;              /* of scans only: where the next page begins; borrowed */
};

struct net_format {
    const char *server, *method;
    /* Writes the request for n keys and returns its length. Of a scan: keys is one cursor, empty at
     * the beginning, and n the page's limit. */
    size_t (*put)(uint8_t *out, uint32_t id, const struct slice *keys, uint32_t n);
    /* Bytes of the reply at p, 0 if it is not complete. Ends the program if it is none, or is an
     * error. */
    size_t (*take)(const uint8_t *p, size_t len, struct net_reply *reply);
    /* Bytes that the server sends before it was asked. */
    size_t greeting_bytes;
};

/* The tables end with an entry without a server. */
extern const struct net_format net_actd[], net_redis[], net_tarantool[];
