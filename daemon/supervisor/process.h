/*
 * process: one worker process, as the supervisor sees it: what it is told, what it says, and the
 * connections that were passed to it.
 *
 * We keep our copy of a passed connection until the worker says that it has it; what a dead worker
 * had not taken is served by another one. Messages keep their order; what the socket has no room
 * for waits here.
 *
 *   STARTING  has no generation yet       SERVING  answers, gets connections
 *   GONE      its control socket ended: its connections are handed back, its end is awaited
 */
#pragma once

#include "base/log.h"
#include "daemon/control.h"

#include <uv.h>

struct crew;

enum process_state { PROCESS_STARTING, PROCESS_SERVING, PROCESS_GONE };

/* A message that waits to be sent, or a connection that was sent and not taken. */
struct outgoing {
    enum control_type type;
    uint64_t number;
    int fd;                          /* owned; -1: none */
    struct control_message *message; /* owned; NULL: it is only type and number */
    struct outgoing *next;
};

struct outgoing_queue {
    struct outgoing *first, *last;
};

struct process {
    struct crew *crew; /* borrowed */
    struct process *next;
    unsigned number, slot;
    enum process_state state;
    bool is_hung;     /* it was given up: another one has its place */
    bool is_draining; /* it was told to end */
    bool is_unfit;    /* it cannot do its work or talks nonsense, and was killed for that */
    bool has_exited;
    bool is_watching_output; /* the poll looks for room to write */
    int64_t exit_status;
    int exit_signal;

    uv_process_t handle;
    int control; /* owned */
    uv_poll_t poll;
    uv_timer_t kill;    /* SIGABRT was not enough, or its exit is awaited */
    uint64_t gone_ms;   /* clock_ms */
    unsigned n_handles; /* still open: freed with the last */

    uint64_t heard_ms;         /* clock_ms: when it last said anything */
    uint64_t n_passed;         /* connections, also those that are still to be sent */
    uint64_t waiting_since_ms; /* clock_ms: there are connections that it has not taken; 0: none */
    struct outgoing_queue unsent, untaken;
    unsigned n_unsaid; /* of the unsent, those that are no connections */

    struct log_pace unsent_pace; /* a connection each may fail to be sent */

    uint64_t mapped;  /* the newest generation that it has mapped */
    uint64_t current; /* the one that it answers from */
};

/* Starts a worker process in that slot. 0 or -errno. */
int process_start(struct crew *crew, unsigned number, unsigned slot, struct process **ret);

void process_say(struct process *process, enum control_type type, uint64_t number);
void process_say_text(struct process *process, enum control_type type, uint64_t number,
                      const char *text);
/* fd: borrowed. 0 or -errno. */
int process_say_generation(struct process *process, const struct generation *generation, int fd);

/* Takes over a connected socket. */
void process_pass(struct process *process, int fd);

/* Takes a connection back that it has not taken, oldest first. -1: there is none (any more). */
int process_take_back(struct process *process);

/* Connections that it has or will have. */
uint64_t process_load(const struct process *process);

/* It does not answer: SIGABRT for a core, SIGCONT since a stopped process does not die of it, and
 * SIGKILL after 2 s. */
void process_abort(struct process *process);
void process_kill(struct process *process);
/* It cannot do its work: killed, since another one may have more luck. */
void process_give_up(struct process *process);
