/*
 * helper: a process of our own binary that does one thing for the supervisor which may block, fault
 * or take long, and says by messages what comes of it.
 *
 *   helper_start -> on_message, any number of times -> on_end, once
 *
 * helper_stop may come at any time, also in a callback: then nothing is called any more, and the
 * process is killed. It also finds its control socket ended, if it is to go before that.
 * One that is silent for too long is let go in the same way: a disk may hang.
 */
#pragma once

#include "daemon/control.h"

#include <uv.h>

struct helper_process;

/* How it has ended. */
struct helper_end {
    int signal; /* 0: by itself, or it was silent */
    /* "checking it ended with status 1", "checking it was ended by signal 9 (Killed)", "nothing has
     * come from the disk for tree.check_timeout_ms = 300000" */
    char text[160];
};

struct helper {
    uv_loop_t *loop;    /* borrowed */
    char **environment; /* borrowed: crew's, without what is for the supervisor alone */
    int config_fd;      /* borrowed: config_share */
    const char *what;   /* borrowed: what it does, for texts: "checking it" */
    /* tree.check_timeout_ms: without a message, and a second at least; 0: no limit. */
    uint64_t silence_ms;
    struct helper_process *running; /* NULL: none */
    /* *passed: the descriptor that came along, or -1; closed afterwards unless it is taken. */
    void (*on_message)(void *context, const struct control_message *message, int *passed);
    /* By itself, killed by somebody else, or silent; after its last message. */
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
