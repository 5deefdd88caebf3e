/*
 * actc/actc.h: ask a running actd.
 *
 * A blocking client: one connection over a Unix or TCP socket, MessagePack-RPC on it. Calls may be
 * pipelined: send as many as you like, then wait for each; the server may answer them in any
 * order. What the methods take and give is the protocol's specification, docs/PROTOCOL.md.
 *
 *     struct actc *client;
 *     struct actc_error error;
 *     struct actc_value value;
 *     if (actc_connect("unix:/run/actd/actd.sock", NULL, &client, &error) != 0)
 *         errx(1, "%s", error.message);
 *     if (actc_get(client, "paris", 5, &value, &error) == 0)
 *         printf("%" PRIu64 "\n", value.number);
 *     actc_close(client);
 *
 * Results. Every function returns 0 when it did what it says, a positive outcome that is named
 * here (ACTC_MISS, ACTC_TIMEOUT, ...), or -errno for what the system refused (-ENOMEM). Where a
 * function takes ret_error, it is filled on every result but 0 and ACTC_MISS, and may be NULL.
 * Other out-parameters are named ret_* and stay untouched on failure.
 *
 * Memory. Byte strings in results (keys, and the values of a tree of byte strings) are views:
 * nothing is copied, and nothing is to be freed. They live until the next method call (those from
 * actc_ping on) with the same client, or actc_close; what a scan gives, until the next call with
 * that scan.
 *
 * What fails what. An error reply, a deadline and a reply that cannot be understood fail their call
 * only; the connection goes on. When the connection is lost, or the server sends bytes that are no
 * MessagePack-RPC message or a message that is too large, every call without an answer fails with
 * ACTC_LOST, and so does every later one: close the client and connect again. Nothing is ever sent
 * twice.
 *
 * Safety. No byte of the server is trusted: every message is held against max_reply_bytes, its
 * nesting and its counts before anything is allocated for it. Decoding a reply then takes at most
 * 24 bytes of memory for each of its bytes (sizeof(msgpack_object), for a list of nothing but nil).
 *
 * Threads. One thread at a time uses a client and the replies it gave; different clients are
 * independent. No function raises SIGPIPE, installs a signal handler or starts a thread.
 */
#ifndef ACTC_ACTC_H
#define ACTC_ACTC_H

#include <msgpack.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#    define ACTC_PUBLIC __attribute__((visibility("default")))
#else
#    define ACTC_PUBLIC
#endif

/* Outcomes. Stable numbers: they may be stored and logged. */
enum actc_outcome {
    ACTC_OK = 0,
    ACTC_MISS = 1,        /* the key has no value, the position does not exist, or: not yet */
    ACTC_ERROR = 2,       /* the server answered with an error: actc_error.number and .text */
    ACTC_TIMEOUT = 3,     /* the deadline passed; the call's reply, if it still comes, is dropped */
    ACTC_LOST = 4,        /* the connection is gone, and all its open calls with it */
    ACTC_FULL = 5,        /* max_calls calls are open: wait for some of them first */
    ACTC_DROPPED = 6,     /* the reply came while max_kept_bytes of others had not been taken */
    ACTC_BAD_REPLY = 7,   /* the reply is not what the method promises */
    ACTC_BAD_ADDRESS = 8, /* connect: not an address, or its host is not known */
};

/* A time without end, where that is allowed. */
#define ACTC_FOREVER UINT32_MAX

/* A connection. */
struct actc;

/* A reply: a decoded result and the memory behind it. */
struct actc_reply;

/* Zero stands for the default, also field by field. */
struct actc_options {
    uint32_t connect_timeout_ms; /* default 10,000 */
    uint32_t call_timeout_ms;    /* of a call, from actc_send on; default 10,000 */
    uint32_t max_calls;          /* open at a time; default 65,536, at most 2^30 */
    size_t max_reply_bytes;      /* of one message from the server; default 64 MiB */
    size_t max_kept_bytes;       /* of replies that nobody took yet; default 128 MiB */
};

/* Why something failed. */
struct actc_error {
    uint32_t number;    /* ACTC_ERROR: the server's error number; 0 if it gave none */
    char text[512];     /* ACTC_ERROR: the server's text, "NAME: text"; else empty */
    char message[1024]; /* one line for people: the server's address, the reason, the remedy */
};

/* A byte string: len bytes at p. As a parameter it is borrowed for the call, and p may be NULL when
 * len is 0. In a result it is a view: see Memory. */
struct actc_bytes {
    const void *p;
    size_t len; /* bytes */
};

/* What a key holds: a number, or in a tree of byte strings one of those. */
struct actc_value {
    bool is_bytes;
    uint64_t number;         /* valid unless is_bytes */
    struct actc_bytes bytes; /* valid if is_bytes */
};

/* What became of one of many keys. */
struct actc_result {
    int outcome;             /* 0: value; ACTC_MISS; ACTC_ERROR: this key could not be looked up */
    uint32_t error_number;   /* ACTC_ERROR: the server's error number, 0 if it gave none */
    struct actc_value value; /* valid if outcome is 0 */
};

/* A key and its value. */
struct actc_entry {
    struct actc_bytes key;
    struct actc_value value;
};

/* A position in the trie. */
struct actc_node {
    bool has_value;
    struct actc_value value; /* valid if has_value */
    uint64_t children[4];    /* set of the bytes that lead on: b is bit b % 64 of word b / 64 */
};

/* What a server serves until it turns to another file. */
struct actc_generation {
    uint64_t number;   /* 1 after the server's start, or what it was before; then counted up */
    uint64_t identity; /* equal where the contents are: see hello in PROTOCOL.md */
};

/* What came without being asked for, since connect. All of it was ignored. */
struct actc_counters {
    uint64_t n_late;          /* replies to calls that had timed out or were forgotten */
    uint64_t n_unknown;       /* replies to calls that were never sent */
    uint64_t n_notifications; /* notifications but for watched ones; requests: none is served */
};

/*
 * Connects to address: `unix:PATH` or `tcp:HOST:PORT` (IPv6 as `tcp:[ADDRESS]:PORT`). A host name
 * is looked up first, which the deadline does not cover; the resolver's first address is taken.
 *
 * options     NULL: all defaults. Copied.
 * ret_client  owned by the caller: actc_close.
 *
 * 0; ACTC_BAD_ADDRESS; ACTC_TIMEOUT: not connected within connect_timeout_ms; -EINVAL: max_calls
 * above 2^30; or -errno (-ENOENT and -ECONNREFUSED: no server there, -EACCES, -ENOMEM).
 */
ACTC_PUBLIC int actc_connect(const char *address, const struct actc_options *options,
                             struct actc **ret_client, struct actc_error *ret_error);

/* Closes the connection and forgets its open calls. Replies that were taken stay valid. NULL is
 * fine. */
ACTC_PUBLIC void actc_close(struct actc *client);

/* The address that the client was connected to, as it was given. Lives as long as the client. */
ACTC_PUBLIC const char *actc_address(const struct actc *client);

/* The deadline of calls sent from now on, milliseconds; 0: the default. */
ACTC_PUBLIC void actc_set_call_timeout(struct actc *client, uint32_t timeout_ms);

/*
 * Pins calls. From now on actc_mget, actc_send_mget, actc_longest_prefix, actc_count and the pages
 * of scans are answered from the generation with this identity (actc_generation.identity) or not at
 * all: once the server serves another one, they end with ACTC_ERROR, and actc_error.number is 9
 * (GONE). So the answers to many calls fit together. Meanwhile actc_get, actc_exists, actc_node,
 * actc_next and actc_prev end with -EINVAL, since the protocol cannot pin them; actc_mget can ask
 * for a single key. Calls whose parameters the caller packs are as he packs them.
 *
 * identity  copied. NULL: calls are answered from what is served, as after connect.
 */
ACTC_PUBLIC void actc_set_pin(struct actc *client, const uint64_t *identity);

/* What was ignored so far. */
ACTC_PUBLIC void actc_counters(const struct actc *client, struct actc_counters *ret_counters);

/*
 * Sends a call and does not wait for its reply. The call's deadline begins here.
 *
 * Small calls gather: they leave once 16 KiB are together, and at the latest at actc_flush or
 * actc_wait. While the socket takes no more this blocks, until the call's deadline, and reads
 * replies to earlier calls meanwhile: a server that reads no further until its replies are taken
 * does not get stuck with us.
 *
 * method      NUL-terminated.
 * params      params_len bytes: one MessagePack array, packed by the caller (msgpack_packer on a
 *             msgpack_sbuffer). Copied, not checked. NULL: the empty array.
 * ret_call    the call's id, never 0, to be given to actc_wait or actc_forget exactly once.
 *
 * 0, ACTC_TIMEOUT (nothing to wait for; the server may see the call all the same), ACTC_LOST,
 * ACTC_FULL, -EMSGSIZE or -ENOMEM.
 */
ACTC_PUBLIC int actc_send(struct actc *client, const char *method, const void *params,
                          size_t params_len, uint32_t *ret_call, struct actc_error *ret_error);

/* actc_send for a method whose only parameter is a key (key_len bytes at key; sent as bin). A key
 * of 4 GiB or more: -EMSGSIZE. */
ACTC_PUBLIC int actc_send_key(struct actc *client, const char *method, const void *key,
                              size_t key_len, uint32_t *ret_call, struct actc_error *ret_error);

/* actc_send for a method whose only parameter is a list of n_keys keys. actd answers lists of more
 * than 10,000 keys with TOO_LARGE. */
ACTC_PUBLIC int actc_send_keys(struct actc *client, const char *method,
                               const struct actc_bytes *keys, size_t n_keys, uint32_t *ret_call,
                               struct actc_error *ret_error);

/*
 * Sends what actc_send gathered. Needed only if the next actc_wait is far away. Blocks as actc_send
 * does, at most call_timeout_ms. 0, ACTC_TIMEOUT (the rest leaves later), ACTC_LOST, or -ENOMEM.
 */
ACTC_PUBLIC int actc_flush(struct actc *client, struct actc_error *ret_error);

/*
 * Waits for the reply to call, until that call's deadline. Replies to other calls that come
 * meanwhile are kept for their own actc_wait. A reply that has arrived is given even when its
 * deadline has passed or the connection is lost since. Whatever the result, the call is over.
 *
 * ret_reply   owned by the caller: actc_reply_free. It may outlive the client. NULL: dropped.
 *
 * 0, ACTC_ERROR, ACTC_TIMEOUT, ACTC_LOST, ACTC_DROPPED, ACTC_BAD_REPLY (not a response, or nested
 * deeper than 8 levels), -EINVAL (there is no such call) or -ENOMEM.
 */
ACTC_PUBLIC int actc_wait(struct actc *client, uint32_t call, struct actc_reply **ret_reply,
                          struct actc_error *ret_error);

/* Gives up a call: its reply, come or coming, is dropped. An id that is not open is ignored. */
ACTC_PUBLIC void actc_forget(struct actc *client, uint32_t call);

/* actc_send and actc_wait in one. Results of both. */
ACTC_PUBLIC int actc_call(struct actc *client, const char *method, const void *params,
                          size_t params_len, struct actc_reply **ret_reply,
                          struct actc_error *ret_error);

/* The reply's result. It and everything it points to live until actc_reply_free. */
ACTC_PUBLIC const msgpack_object *actc_reply_result(const struct actc_reply *reply);

/* Frees a reply. NULL is fine. */
ACTC_PUBLIC void actc_reply_free(struct actc_reply *reply);

/* Read a value, an entry ([key, value]) or a generation ({number, identity}) that stands in a
 * reply's result. Their byte strings live as long as the reply. 0, ACTC_MISS (nil; not of a
 * generation) or ACTC_BAD_REPLY (something else). */
ACTC_PUBLIC int actc_read_value(const msgpack_object *object, struct actc_value *ret_value);
ACTC_PUBLIC int actc_read_entry(const msgpack_object *object, struct actc_entry *ret_entry);
ACTC_PUBLIC int actc_read_generation(const msgpack_object *object,
                                     struct actc_generation *ret_generation);

/*
 * The methods, one call each: sent and waited for, with the deadline call_timeout_ms. Besides what
 * each names they may end as actc_send and actc_wait do.
 */

/* Does the server answer? 0: yes. */
ACTC_PUBLIC int actc_ping(struct actc *client, struct actc_error *ret_error);

/* The value of key. 0, or ACTC_MISS: it has none. ret_value may be NULL. */
ACTC_PUBLIC int actc_get(struct actc *client, const void *key, size_t key_len,
                         struct actc_value *ret_value, struct actc_error *ret_error);

/* Has key a value? 0 (yes) or ACTC_MISS (no). */
ACTC_PUBLIC int actc_exists(struct actc *client, const void *key, size_t key_len,
                            struct actc_error *ret_error);

/* The position that key leads to: it exists if key is a prefix of a stored key, and may or may not
 * have a value. 0, or ACTC_MISS: no such position. */
ACTC_PUBLIC int actc_node(struct actc *client, const void *key, size_t key_len,
                          struct actc_node *ret_node, struct actc_error *ret_error);

/*
 * The values of n_keys keys, any number of them: asked for in lists of 512 keys, pipelined, each
 * list with a deadline of its own. The lists may be answered from different generations of the
 * tree, unless actc_set_pin forbids it.
 *
 * ret_results  n_keys of them, in the order of keys. Unlike elsewhere, a failure leaves some set.
 *
 * 0: each key's own outcome is in its result.
 */
ACTC_PUBLIC int actc_mget(struct actc *client, const struct actc_bytes *keys, size_t n_keys,
                          struct actc_result *ret_results, struct actc_error *ret_error);

/* One list of actc_mget, in two halves, for who pipelines on his own: n_keys keys (as
 * actc_send_keys), and later the results of as many. Results as actc_send_keys and actc_wait. */
ACTC_PUBLIC int actc_send_mget(struct actc *client, const struct actc_bytes *keys, size_t n_keys,
                               uint32_t *ret_call, struct actc_error *ret_error);
ACTC_PUBLIC int actc_wait_mget(struct actc *client, uint32_t call, size_t n_keys,
                               struct actc_result *ret_results, struct actc_error *ret_error);

/* The entry of the longest stored key that key begins with (key itself included). 0, or ACTC_MISS:
 * there is none. */
ACTC_PUBLIC int actc_longest_prefix(struct actc *client, const void *key, size_t key_len,
                                    struct actc_entry *ret_entry, struct actc_error *ret_error);

/* The first entry after key, or the last one before it, in the order of bytes; never key's own. key
 * need not be stored. 0, or ACTC_MISS: there is none. */
ACTC_PUBLIC int actc_next(struct actc *client, const void *key, size_t key_len,
                          struct actc_entry *ret_entry, struct actc_error *ret_error);
ACTC_PUBLIC int actc_prev(struct actc *client, const void *key, size_t key_len,
                          struct actc_entry *ret_entry, struct actc_error *ret_error);

/*
 * How many stored keys begin with prefix (prefix_len bytes; 0: all of them).
 *
 * ret_is_exact  false: the server's budget for one request (limits.max_visited_nodes) was used up,
 *               and there may be more.
 */
ACTC_PUBLIC int actc_count(struct actc *client, const void *prefix, size_t prefix_len,
                           uint64_t *ret_count, bool *ret_is_exact, struct actc_error *ret_error);

/*
 * A scan: the entries with a prefix, or of a range, one after the other in the order of their keys.
 * It asks for a page of them when the last one is used up, so there may be any number.
 *
 *     struct actc_scan_options options = {.prefix = {"par", 3}};
 *     struct actc_entry entry;
 *     struct actc_scan *scan;
 *     int r = actc_scan_new(client, &options, &scan, &error);
 *     if (r != 0)
 *         errx(1, "%s", error.message);
 *     while ((r = actc_scan_next(scan, &entry, &error)) == 0)
 *         printf("%.*s\n", (int)entry.key.len, (const char *)entry.key.p);
 *     if (r != ACTC_MISS)
 *         errx(1, "%s", error.message);
 *     actc_scan_free(scan);
 *
 * Where the server changes to another generation of the tree in between, a page goes on there
 * behind the last key of the page before; a pinned scan ends with ACTC_ERROR, number 9 (GONE).
 */
struct actc_scan;

/* Zero stands for the default, also field by field. */
struct actc_scan_options {
    struct actc_bytes prefix;      /* the keys that begin with it; default: all keys */
    const struct actc_bytes *from; /* or the keys from this one on; default: from the first one */
    const struct actc_bytes *to;   /* up to this one, not included; default: to the last one */
    bool is_reverse;               /* from the last key to the first */
    bool is_keys_only;             /* values are not asked for: they are 0 */
    const uint64_t *pin;           /* identity of the only generation that pages may come from;
                                    * default: what actc_set_pin says when one is asked for */
    uint32_t page_entries;         /* at most so many a page; default 10,000 */
    size_t page_bytes;             /* of a page's entries, but for a single one; default 1 MiB, or
                                    * half of max_reply_bytes if that is less */
};

/*
 * Makes a scan. Nothing is asked for yet.
 *
 * options   NULL: all entries. Copied, with all that it points to. Either a prefix or from and to.
 * ret_scan  owned by the caller: actc_scan_free. It may be freed after the client, but not used.
 *
 * 0, -EINVAL (a prefix and a range), -EMSGSIZE (a key of 4 GiB or more) or -ENOMEM.
 */
ACTC_PUBLIC int actc_scan_new(struct actc *client, const struct actc_scan_options *options,
                              struct actc_scan **ret_scan, struct actc_error *ret_error);

/*
 * The next entry. Any other calls with the client may come in between, also of other scans.
 *
 * 0; ACTC_MISS: there are no more; or what actc_send and actc_wait end with, for the page that was
 * asked for: then the next call asks for it again.
 */
ACTC_PUBLIC int actc_scan_next(struct actc_scan *scan, struct actc_entry *ret_entry,
                               struct actc_error *ret_error);

/* Frees a scan. NULL is fine. */
ACTC_PUBLIC void actc_scan_free(struct actc_scan *scan);

/*
 * Generations (PROTOCOL.md, the methods hello, wait_generation and watch). A server that turns to
 * another file serves another generation from then on: number tells them apart in the order in
 * which they came, identity what is in them, on every server alike (of files without metadata it is
 * made from their size, root and time of modification).
 *
 *     if (actc_watch(client, &error) != 0)
 *         errx(1, "%s", error.message);
 *     while (actc_next_generation(client, ACTC_FOREVER, &generation, &error) == 0)
 *         printf("generation %" PRIu64 "\n", generation.number);
 *     errx(1, "%s", error.message);
 */

/* What is served now (by the method hello, which sets nothing here). 0. */
ACTC_PUBLIC int actc_generation(struct actc *client, struct actc_generation *ret_generation,
                                struct actc_error *ret_error);

/*
 * Waits until the whole server serves the generation with this identity: from then on every
 * connection is answered from it. One that was served before and no longer is does not count.
 *
 * timeout_ms  how long the server waits, milliseconds; 0: it only looks. A server takes at most its
 *             limits.max_wait_ms (by default 600,000), and answers more with ACTC_ERROR, number 3.
 *             The call's own deadline, call_timeout_ms, begins when this time is over.
 *
 * 0: it is served; ACTC_MISS: it is not, and the time is over.
 */
ACTC_PUBLIC int actc_wait_generation(struct actc *client, uint64_t identity, uint32_t timeout_ms,
                                     struct actc_error *ret_error);

/*
 * Asks the server to tell of its generations on this connection from now on: of the one that is
 * served, and then of each one when the whole server serves it. There is no end to it but
 * actc_close.
 *
 * Other calls go on as before. What is told meanwhile is kept, the newest only.
 *
 * 0. After any failure nothing is watched, unless it was before.
 */
ACTC_PUBLIC int actc_watch(struct actc *client, struct actc_error *ret_error);

/*
 * The newest generation that the server has told of and that was not given yet; waits for it. Two
 * that follow each other closely may be given as one, the later one.
 *
 * A server that vanishes without closing (its host lost power, a firewall forgot the connection) is
 * never noticed by waiting alone: whoever waits for long should actc_ping in between. That also
 * keeps the connection from being idle, which actd may close (limits.idle_timeout_ms).
 *
 * timeout_ms  how long to wait, milliseconds; 0: only what has arrived; ACTC_FOREVER: no limit. The
 *             deadlines of calls have no part in it.
 *
 * 0; ACTC_TIMEOUT: no news, and the watch goes on; ACTC_LOST; ACTC_BAD_REPLY: there was news that
 * cannot be understood; -EINVAL: actc_watch was not called; -ENOMEM.
 */
ACTC_PUBLIC int actc_next_generation(struct actc *client, uint32_t timeout_ms,
                                     struct actc_generation *ret_generation,
                                     struct actc_error *ret_error);

#ifdef __cplusplus
}
#endif

#endif
