/*
 * link: a worker process: its loop, and its side of the control socket.
 *
 * The supervisor hands it generations to map, tells it when to answer from them, and passes it
 * connections; see daemon/control.h for the messages and ARCHITECTURE.md for a worker's life.
 */
#pragma once

/* What a worker process is started with: descriptors of these numbers. */
#define LINK_CONTROL_FD 3
#define LINK_CONFIG_FD  4
#define LINK_BOARD_FD   5

/* Runs the worker in that slot of the board until it has drained or the supervisor is gone.
 * Result: the exit status. */
int link_run(unsigned slot);
