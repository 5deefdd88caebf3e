/*
 * supervisor: the role that owns configuration, listening sockets, the generation, systemd and the
 * admin endpoint, and hands connections to the worker. It never reads a mapped byte of the tree
 * and never parses what a data client sends.
 *
 * In this version supervisor and worker share one process and one loop.
 */
#pragma once

#include "daemon/config.h"

/* Serves until SIGTERM or SIGINT. Result: the process's exit status. */
int supervisor_run(const struct config *config);
