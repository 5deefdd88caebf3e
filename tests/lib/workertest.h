/*
 * workertest: a worker on a loop of its own and clients on the other ends of socket pairs, all in
 * one thread: what the loop does is done when the test runs it.
 */
#pragma once

#include "daemon/worker/worker.h"
#include "query.h"

#define WORKER_GENERATIONS 8

struct workertest {
    uv_loop_t loop;
    struct config config;
    struct board board;
    struct worker worker;
    struct generation generations[WORKER_GENERATIONS]; /* of snapshots made so far, by number */
    unsigned n_closed;                                 /* connections */
    unsigned n_unused;                                 /* snapshots that were let go */
};

/* A client, with what it has received and not taken yet. */
struct client {
    int fd;
    uint8_t *received; /* owned */
    size_t len, size;
    bool has_ended;
};

/* All limits at their defaults. Others may be set from here to workertest_begin. */
void workertest_init(struct workertest *t);
/* Generation 1, of that file in tests/data. */
void workertest_begin(struct workertest *t, const char *tree);
/* All connections are closed, and everything must be given back. */
void workertest_end(struct workertest *t);

/* Another generation, of the same file. */
struct snapshot *workertest_snapshot(struct workertest *t, const char *tree, uint64_t number);
/* The worker answers from it; what it has told does not change. */
void workertest_switch(struct workertest *t, const char *tree, uint64_t number);
void workertest_announce(struct workertest *t, uint64_t number);

/* Until nothing more happens at once. */
void workertest_run(struct workertest *t);
/* For so long at least. */
void workertest_run_for(struct workertest *t, unsigned ms);

void client_open(struct client *client, struct workertest *t);
void client_close(struct client *client);
void client_send(struct client *client, const struct query *query, uint32_t msgid);
/* Runs the loop and reads whatever comes. */
void client_receive(struct client *client, struct workertest *t);
/* Takes the first message that was received. False: there is none. Valid until the next
 * client_receive. */
bool client_take(struct client *client, struct slice *ret);
