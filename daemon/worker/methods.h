/*
 * methods: what each method does, from parameters to the result's value in the reply.
 */
#pragma once

#include "daemon/worker/dispatch.h"

/* One request on its way through a method. */
struct call {
    struct dispatch *dispatch;
    const struct request *request;
    struct session *session;
    struct reply *reply;
    struct method_stats *stats;
    unsigned cost;          /* keys looked up */
    struct act_fault fault; /* with ACT_CORRUPT */
                            /* dispatch->text with CALL_BAD_PARAMS and CALL_TOO_LARGE */
};

/* Outcomes of a method, besides 0 and ACT_CORRUPT. */
#define CALL_BAD_PARAMS 100
#define CALL_TOO_LARGE  101

/* "get" for METHOD_get...; the id of the method of that name, or -1. */
int method_find(struct slice name);

/* Checks the number of parameters and runs the method: 0, ACT_CORRUPT or an outcome above. On 0
 * the reply holds one value. */
int method_run(enum method_id id, struct call *call);
