/*
 * checker: opens and checks the file at tree.path, in a process of its own.
 *
 * The file may be anything: damaged, hostile, being truncated, on a disk that does not answer.
 * Whatever it does to the process that reads it, supervisor and workers are not in there. The
 * supervisor executes its own binary for each candidate, waits for one answer on the control
 * socket, and cancels by closing its end.
 */
#pragma once

#include <stdbool.h>

/* What it inherits. */
#define CHECKER_CONTROL_FD 3 /* SOCK_SEQPACKET: control.h */
#define CHECKER_CONFIG_FD  4 /* config_share */
#define CHECKER_FILE_FD    5 /* what was served before, if that is to be checked */

/*
 * The whole life of the process. is_held: not the path is looked at but a descriptor, which must be
 * the file or copy that a message CONTROL_GENERATION tells of. It answers once, with
 * CONTROL_CANDIDATE (the descriptor of the file or of a copy, and its generation without a number)
 * or CONTROL_REFUSED (a line that names the file, what is wrong and the remedy; of its generation
 * device, inode, size and time of change, as far as they are known), and sends CONTROL_PROGRESS
 * before that, where checking takes long. Without an answer it only ends when the other end of the
 * socket is gone, or by a signal of its own making: a bug.
 *
 * The status to exit with: 0, or 2: these are not the descriptors that a supervisor gives.
 */
int checker_run(bool is_held);
