/*
 * slow_note: which requests are noted as slow (daemon/slow.h).
 *
 * Jobs know when they began. Of the others only those can take long that wait for the disk on the
 * loop, where cold lookups do not leave it (cold.mode = inline): there the clock is read once a
 * request. A request that waits for a generation, since it was asked to, is none.
 */
#pragma once

#include "daemon/slow.h"
#include "proto/request.h"

struct job;
struct worker;

/* A turn of a connection begins. */
void slow_begin_turn(struct worker *worker);
/* A request goes on as a job: what that took so far is not the next one's. */
void slow_begin_next(struct worker *worker);
/* dispatch_run has answered it; only where the clock is read (dispatch.mark_ns). */
void slow_check(struct worker *worker, const struct request *request);
/* The job's reply is whole, and its request still decoded. */
void slow_check_job(const struct job *job, uint64_t duration_ns);
