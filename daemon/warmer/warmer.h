/*
 * warmer: brings a generation's pages into memory, in a process of its own.
 *
 * The file may shrink, its disk may hang or fail, its tree and the profile may be anything: what
 * happens to this process costs a warm-up and nothing else. The supervisor executes its own binary
 * for each, and cancels by closing its end of the control socket.
 */
#pragma once

/* What it inherits. */
#define WARMER_CONTROL_FD 3 /* SOCK_SEQPACKET: control.h */
#define WARMER_CONFIG_FD  4 /* config_share */
#define WARMER_FILE_FD    5 /* of the generation, which others read by, too */

/*
 * The whole life of the process. It is told the generation (CONTROL_GENERATION), sends
 * CONTROL_PROGRESS some times a second while it goes on, CONTROL_PROFILE if it has read one, and at
 * the end CONTROL_WARM, CONTROL_NO_PROFILE or CONTROL_NOT_WARM. A truncation while it goes down the
 * tree ends it by SIGBUS.
 *
 * mode_name  one of warmup_mode_names, and not "none"
 * max_bytes  a number in addition to what the configuration says; "0": no limit
 *
 * The status to exit with: 0, or 2: these are not the arguments or descriptors that a supervisor
 * gives.
 */
int warmer_run(const char *mode_name, const char *max_bytes);
