/*
 * peer: see peer.h.
 */
#include "daemon/admin/peer.h"

#include <stdlib.h>
#include <sys/socket.h>

static void on_timer(uv_timer_t *timer);

static void set_timer(struct peers *peers)
{
    const struct peer *first = peers->first;
    uint64_t now = uv_now(peers->timer.loop);
    if (first)
        uv_timer_start(&peers->timer, on_timer, first->end_ms > now ? first->end_ms - now : 0, 0);
    else
        uv_timer_stop(&peers->timer);
}

static void on_timer(uv_timer_t *timer)
{
    struct peers *peers = timer->data;
    uint64_t now = uv_now(timer->loop);
    while (peers->first && peers->first->end_ms <= now) {
        struct peer *peer = peers->first;
        peer_pause(peer);
        shutdown(peer->fd, SHUT_RDWR);
    }
    set_timer(peers);
}

void peers_init(struct peers *peers, uv_loop_t *loop, uint64_t timeout_ms)
{
    *peers = (struct peers){.timeout_ms = timeout_ms};
    uv_timer_init(loop, &peers->timer);
    peers->timer.data = peers;
}

void peers_close(struct peers *peers)
{
    uv_close((uv_handle_t *)&peers->timer, NULL);
}

struct peer *peer_new(struct peers *peers, int fd)
{
    struct peer *peer = calloc(1, sizeof *peer);
    if (!peer)
        return NULL;
    peer->peers = peers;
    peer->fd = fd;
    peer_begin(peer);
    return peer;
}

void peer_free(struct peer *peer)
{
    if (peer)
        peer_pause(peer);
    free(peer);
}

void peer_begin(struct peer *peer)
{
    struct peers *peers = peer->peers;
    peer_pause(peer);
    peer->is_timed = true;
    peer->end_ms = uv_now(peers->timer.loop) + peers->timeout_ms;
    peer->previous = peers->last;
    peer->next = NULL;
    if (peers->last)
        peers->last->next = peer;
    else
        peers->first = peer;
    peers->last = peer;
    if (!uv_is_active((uv_handle_t *)&peers->timer))
        set_timer(peers);
}

/* The timer may then come too early, and finds nothing. */
void peer_pause(struct peer *peer)
{
    struct peers *peers = peer->peers;
    if (!peer->is_timed)
        return;
    peer->is_timed = false;
    if (peer->previous)
        peer->previous->next = peer->next;
    else
        peers->first = peer->next;
    if (peer->next)
        peer->next->previous = peer->previous;
    else
        peers->last = peer->previous;
}
