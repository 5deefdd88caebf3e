/*
 * peer: the connections of one listener, and how long each may take.
 *
 * A whole request has to be there within the time, and a whole reply has to be taken within it,
 * however busily bytes trickle; in between, while an answer is worked on, no time counts. Who takes
 * longer is shut down, and libmicrohttpd sees the end of the connection.
 *
 * All have the same time, so the list is in the order of its ends.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct peers;

struct peer {
    struct peers *peers; /* borrowed */
    int fd;              /* borrowed: libmicrohttpd's */
    bool is_timed;       /* is in the list */
    uint64_t end_ms;     /* the loop's time */
    struct peer *previous, *next;
};

struct peers {
    uv_timer_t timer;
    uint64_t timeout_ms;
    struct peer *first, *last;
};

void peers_init(struct peers *peers, uv_loop_t *loop, uint64_t timeout_ms);
/* All are gone. The memory is free to go once the loop has run the close callbacks. */
void peers_close(struct peers *peers);

/* NULL: no memory. Its time begins. */
struct peer *peer_new(struct peers *peers, int fd);
void peer_free(struct peer *peer);
/* Its time begins anew, or does not count until it does. */
void peer_begin(struct peer *peer);
void peer_pause(struct peer *peer);
