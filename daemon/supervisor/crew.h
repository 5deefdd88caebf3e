/*
 * crew: all worker processes: started, counted, listened for, replaced; and each new connection
 * goes to the one that has the fewest.
 */
#pragma once

#include "base/log.h"
#include "daemon/board.h"
#include "daemon/supervisor/process.h"

struct reload;

/* What one of the n workers is about, whatever process does it now. */
struct place {
    struct process *process; /* NULL: there is none now, restart is running */
    struct crew *crew;       /* borrowed */
    uv_timer_t restart;
    unsigned n_failures; /* processes in a row that died without having served */
};

struct crew {
    uv_loop_t *loop;         /* borrowed */
    struct board *board;     /* borrowed */
    struct reload *reload;   /* borrowed: hears what workers say about generations */
    int board_fd, config_fd; /* owned: for workers to inherit */
    char **environment;      /* owned: theirs */
    struct place *places;    /* owned; n_places */
    unsigned n_places;
    struct process *processes;     /* all, also those that are gone and not yet reaped */
    struct outgoing_queue orphans; /* connections that nobody serves now */
    uv_timer_t watchdog;
    uint64_t watched_ms;          /* clock_ms: of its last round */
    struct log_pace dropped_pace; /* connections, for want of memory */
    bool is_draining, is_closed;

    void (*on_change)(void *context);       /* more or fewer serve, or have room */
    void (*on_never_served)(void *context); /* a worker died at its start */
    void (*on_empty)(void *context);        /* after crew_drain: the last one is gone */
    void *context;                          /* borrowed: the owner's */
};

/* reload, callbacks and context are set by the caller, afterwards. 0 or -errno. */
int crew_init(struct crew *crew, uv_loop_t *loop, struct board *board, int board_fd);
/* Starts all workers. 0 or -errno. */
int crew_start(struct crew *crew);
/* Tells all workers to answer what has arrived and to end. */
void crew_drain(struct crew *crew);
/* Tells them to end their connections at once. */
void crew_cut(struct crew *crew);
void crew_kill(struct crew *crew);
/* After on_empty; the memory is free to go once the loop has run the close callbacks. */
void crew_close(struct crew *crew);
void crew_deinit(struct crew *crew);

/* Takes over a connected socket. */
void crew_pass(struct crew *crew, int fd);

unsigned crew_n_serving(const struct crew *crew);
uint64_t crew_n_connections(const struct crew *crew);

/* What is logged from now on: by us, by all workers, and by those that start later. */
void crew_set_log_level(struct crew *crew, enum log_level level);

/* All that are not gone. */
void crew_say(struct crew *crew, enum control_type type, uint64_t number);
void crew_say_text(struct crew *crew, enum control_type type, uint64_t number, const char *text);

/* From its processes. */
void crew_on_message(struct crew *crew, struct process *process,
                     const struct control_message *message);
void crew_on_gone(struct crew *crew, struct process *process, enum process_state before);
void crew_on_exit(struct crew *crew, struct process *process);
void crew_forget(struct crew *crew, struct process *process);
/* It has answered CONTROL_SWITCHED for the first time. */
void crew_on_serving(struct crew *crew, struct process *process);
