/*
 * dispatch: from a decoded request to its reply. No sockets: a request, a snapshot and an output
 * buffer are all it needs, so tests and fuzzers drive it as the connection does.
 */
#pragma once

#include "daemon/stats.h"
#include "proto/reply.h"
#include "proto/request.h"

/* What one connection has asked for by hello. */
struct session {
    struct reply_mode mode;
};

struct dispatch {
    const struct config *config;   /* borrowed */
    const struct service *service; /* borrowed: for info and stats */
    struct worker_stats *stats;    /* borrowed */
    struct snapshot *snapshot;     /* borrowed: changes only between pump turns */
    bool is_draining;              /* answer DRAINING */
    char text[256];                /* scratch: what is wrong with a request, for people */
};

/* Result of the functions below: the reply is in out (0), or -ENOBUFS, -ENOMEM: it is not, and the
 * connection can only be closed. ret_cost, in keys looked up, is at least 1. */
int dispatch_run(struct dispatch *dispatch, const struct request *request, struct session *session,
                 struct buf *out, unsigned *ret_cost);

/* Answers a request that did not get as far as a method. */
int dispatch_refuse(struct dispatch *dispatch, uint32_t msgid, const struct session *session,
                    enum proto_error error, const char *text, struct buf *out);
