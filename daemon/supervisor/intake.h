/*
 * intake: when connections are accepted: while there is room for them and somebody to serve them.
 * Else they wait in the kernel's queue.
 */
#pragma once

#include "daemon/supervisor/crew.h"
#include "daemon/supervisor/sockets.h"

struct intake {
    const struct config *config; /* borrowed, as what follows; set by the caller */
    struct board_head *head;
    struct crew *crew;
    struct sockets *sockets;

    uint64_t max_connections;
    uv_timer_t retry; /* accepting again after it was paused */
    struct log_pace full_pace, exhausted_pace;
    bool is_exhausted; /* no descriptors: accepting waits for retry */
    bool is_accepting;
};

/* When what is listened on is planned, before it is open. Raises the limit of open files as far as
 * it goes. */
void intake_init(struct intake *intake, uv_loop_t *loop);
/* Workers have come or gone, or connections have ended. */
void intake_update(struct intake *intake);
/* Closes its handle. */
void intake_stop(struct intake *intake);
