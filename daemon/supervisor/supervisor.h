/*
 * supervisor: the role that owns configuration, listening sockets, the generation, systemd and the
 * admin endpoint, and hands connections to the worker. It never reads a mapped byte of the tree
 * and never parses what a data client sends. Workers, checks and warm-ups are processes of their
 * own.
 */
#pragma once

#include "daemon/config.h"

/* Serves until SIGTERM or SIGINT. Result: the process's exit status. */
int supervisor_run(const struct config *config);

/* Tells the service manager, where there is one, why nothing is served: a line for people. */
void supervisor_refuse(const char *why);
