/*
 * workertest: see workertest.h.
 */
#include "workertest.h"

#include "daemon/worker/conn.h"
#include "unit.h"
#include "wire.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define QUIET_TURNS 40

static void on_conn_closed(void *context)
{
    ((struct workertest *)context)->n_closed++;
}

static void on_unused(void *context, struct snapshot *snapshot)
{
    ((struct workertest *)context)->n_unused++;
    snapshot_free(snapshot);
}

static void on_damage(void *context, const struct snapshot *snapshot)
{
    (void)context;
    (void)snapshot;
}

void workertest_init(struct workertest *t)
{
    *t = (struct workertest){0};
    config_init(&t->config);
    t->config.limits_linger_timeout_ms = 0;
}

void workertest_begin(struct workertest *t, const char *tree)
{
    signal(SIGPIPE, SIG_IGN); /* as main does */
    assert_int_equal(uv_loop_init(&t->loop), 0);
    assert_int_equal(board_create_private(&t->board, &t->config), 0);
    assert_int_equal(worker_init(&t->worker, &t->loop, &t->board), 0);
    t->worker.on_conn_closed = on_conn_closed;
    t->worker.on_unused = on_unused;
    t->worker.on_damage = on_damage;
    t->worker.context = t;
    workertest_switch(t, tree, 1);
}

void workertest_end(struct workertest *t)
{
    worker_close_all(&t->worker);
    workertest_run(t);
    assert_int_equal(t->worker.stats->connections_open, 0);
    assert_int_equal(t->worker.stats->requests_running, 0);
    assert_int_equal(t->worker.buffers.used_bytes, 0);
    assert_int_equal(t->worker.waiting.n, 0);
    assert_null(t->worker.waiting.first);
    worker_close(&t->worker);
    uv_run(&t->loop, UV_RUN_DEFAULT);
    assert_true(worker_deinit(&t->worker));
    assert_int_equal(uv_loop_close(&t->loop), 0);
    board_detach(&t->board);
    config_deinit(&t->config);
}

struct snapshot *workertest_snapshot(struct workertest *t, const char *tree, uint64_t number)
{
    char path[512];
    struct act_error error;
    struct snapshot *snapshot;
    assert_in_range(number, 1, WORKER_GENERATIONS - 1);
    struct generation *generation = &t->generations[number];
    snprintf(path, sizeof path, "%s/%s", getenv("ACTD_TEST_DATA"), tree);
    int fd = generation_open(path, &error);
    assert_true(fd >= 0);
    assert_int_equal(generation_examine(fd, path, generation, &error), 0);
    generation->number = number;
    assert_int_equal(snapshot_new(fd, path, generation, 0, &snapshot, &error), 0);
    /* The same file again and again is to be another generation each time. */
    generation->identity = snapshot->generation.identity = UINT64_MAX - number;
    return snapshot;
}

void workertest_switch(struct workertest *t, const char *tree, uint64_t number)
{
    struct snapshot *snapshot = workertest_snapshot(t, tree, number);
    worker_switch(&t->worker, snapshot);
}

void workertest_announce(struct workertest *t, uint64_t number)
{
    worker_announce(&t->worker, &t->generations[number]);
}

void workertest_run(struct workertest *t)
{
    for (unsigned i = 0; i < QUIET_TURNS; i++) {
        uv_run(&t->loop, UV_RUN_NOWAIT);
        if (uv_is_active((uv_handle_t *)&t->worker.turns) ||
            uv_is_active((uv_handle_t *)&t->worker.spread))
            i = 0;
    }
}

void workertest_run_for(struct workertest *t, unsigned ms)
{
    uint64_t begin = uv_hrtime();
    while (uv_hrtime() - begin < ms * UINT64_C(1000000)) {
        workertest_run(t);
        usleep(500);
    }
    workertest_run(t);
}

void client_open(struct client *client, struct workertest *t)
{
    int fds[2];
    *client = (struct client){0};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    client->fd = fds[0];
    assert_int_equal(worker_adopt(&t->worker, fds[1]), 0);
}

void client_close(struct client *client)
{
    close(client->fd);
    free(client->received);
}

void client_send(struct client *client, const struct query *query, uint32_t msgid)
{
    msgpack_sbuffer message;
    msgpack_sbuffer_init(&message);
    query_pack(query, msgid, &message);
    assert_int_equal(send(client->fd, message.data, message.size, MSG_NOSIGNAL), message.size);
    msgpack_sbuffer_destroy(&message);
}

/* False: there is nothing now. */
static bool read_some(struct client *client)
{
    if (client->size - client->len < 65536) {
        client->size = 2 * client->size + 65536;
        client->received = realloc(client->received, client->size);
        assert_non_null(client->received);
    }
    ssize_t n = recv(client->fd, client->received + client->len, client->size - client->len, 0);
    client->has_ended |= n == 0 || (n < 0 && errno != EAGAIN);
    client->len += n > 0 ? (size_t)n : 0;
    return n > 0;
}

void client_receive(struct client *client, struct workertest *t)
{
    workertest_run(t);
    while (read_some(client))
        workertest_run(t);
}

bool client_take(struct client *client, struct slice *ret)
{
    static uint8_t *taken;
    struct wire wire = wire_of(slice_of(client->received, client->len));
    wire_skip(&wire);
    if (wire.wrong)
        return false;
    size_t len = client->len - wire.rest.len;
    free(taken);
    taken = malloc(len);
    assert_non_null(taken);
    memcpy(taken, client->received, len);
    client->len -= len;
    memmove(client->received, client->received + len, client->len);
    *ret = slice_of(taken, len);
    return true;
}
