/*
 * helper: a process of our own binary that does one thing for the supervisor which may block, fault
 * or take long, and says by messages what comes of it.
 *
 *   helper_start -> on_message, any number of times -> on_end, once
 *
 * helper_stop may come at any time, also in a callback: then nothing is called any more, and the
 * process is killed. It also finds its control socket ended, if it is to go before that.
 */
#pragma once

#include "daemon/control.h"

#include <uv.h>

struct helper_process;

/* How it has ended. */
struct helper_end {
    int status; /* exit status, where signal is 0 */
    int signal;
    char text[96]; /* "ended with status 1", "was ended by signal 9 (Killed)" */
};

struct helper {
    uv_loop_t *loop;                /* borrowed */
    int config_fd;                  /* borrowed: config_share */
    struct helper_process *running; /* NULL: none */
    /* *passed: the descriptor that came along, or -1; closed afterwards unless it is taken. */
    void (*on_message)(void *context, const struct control_message *message, int *passed);
    /* By itself, or killed by somebody else; after its last message. */
    void (*on_end)(void *context, const struct helper_end *end);
    void *context; /* borrowed */
};

/*
 * The process inherits the standard streams for output, its end of the control socket as 3, the
 * configuration as 4, and fd as 5, unless that is -1.
 *
 * args  its name and its arguments, NULL at the end: main.c knows the role by the first argument.
 *       Borrowed for the call, as is fd
 *
 * None may be running. 0 or -errno.
 */
int helper_start(struct helper *helper, char *const args[], int fd);

/* 0, CONTROL_FULL or -errno; -ESRCH: none is running. */
int helper_say(struct helper *helper, const struct control_message *message);

/* Forgets the one that runs, if any; it is killed. */
void helper_stop(struct helper *helper);

/* The one that runs; 0: none. */
pid_t helper_pid(const struct helper *helper);
