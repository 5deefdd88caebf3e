/*
 * verifier: reads every object of the generation that is served, in a process of its own.
 *
 * The file may be damaged, shrink, or lie on a disk that fails: what happens to this process tells
 * people something and changes nothing for those who serve. The supervisor executes its own binary
 * for each, and cancels by closing its end of the control socket.
 */
#pragma once

/* What it inherits. */
#define VERIFIER_CONTROL_FD 3 /* SOCK_SEQPACKET: control.h */
#define VERIFIER_CONFIG_FD  4 /* config_share */
#define VERIFIER_FILE_FD    5 /* of the generation, or of its copy */

/*
 * The whole life of the process. It is told the generation (CONTROL_GENERATION), sends
 * CONTROL_PROGRESS some times a second while it goes on, and CONTROL_VERIFIED at the end. A page
 * that cannot be had is a fault.
 *
 * The status to exit with: 0, or 2: these are not the descriptors that a supervisor gives.
 */
int verifier_run(void);
