/*
 * methods: what each method does, from parameters to the result's value in the reply.
 *
 * Each is a function method_NAME, in methods_service.c (about the server), methods_keys.c (by keys)
 * or methods_order.c (in the order of keys); the table in daemon/methods.h names them all.
 */
#pragma once

#include "daemon/worker/call.h"

/* Writes one value and gives 0, or one of the outcomes of call.h. */
#define X(name, least, most, result) int method_##name(struct call *call);
METHODS(X)
#undef X

/* The id of the method of that name, or -1. */
int method_find(struct slice name);

/* Checks the number of parameters and runs the method. */
int method_run(enum method_id id, struct call *call);
