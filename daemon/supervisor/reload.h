/*
 * reload: a generation's way from a path to all workers.
 *
 *   IDLE -> CHECKING   a process of its own opens and checks the file (supervisor/check)
 *        -> MAPPING    all workers map it, and go on answering from the old one
 *        -> WARMING    it is brought into memory, as [warmup] says; then MAPPING again, for workers
 *                      that have come meanwhile
 *        -> SWITCHING  all workers answer from the new one; then it is announced
 *        -> IDLE
 *
 * At the start, where the path holds nothing good, what was served before the restart takes its
 * place, if the service manager has kept it (supervisor/store) and it is still good; then the path
 * is watched.
 *
 * Whatever fails before SWITCHING: everybody stays on the old one; but a warm-up that fails is only
 * missed. Who asks while a file is being checked or mapped gets another round, since that file may
 * be older than the question; and nobody waits for its warm-up any more.
 */
#pragma once

#include "daemon/supervisor/check.h"
#include "daemon/supervisor/crew.h"
#include "daemon/supervisor/held.h"
#include "daemon/supervisor/store.h"
#include "daemon/supervisor/warmup.h"
#include "daemon/supervisor/watcher.h"

enum reload_state {
    RELOAD_IDLE,
    RELOAD_CHECKING,
    RELOAD_MAPPING,
    RELOAD_WARMING,
    RELOAD_SWITCHING
};

/* Somebody who waits for what comes of it. */
struct reload_request {
    /* text: "", or why the file was refused. */
    void (*on_done)(struct reload_request *request, bool is_accepted, const char *text);
    struct reload_request *next;
};

struct reload {
    struct crew *crew;   /* borrowed */
    struct board *board; /* borrowed */
    enum reload_state state;
    struct held current, candidate;
    uint64_t last_number; /* given to a candidate */
    struct store *store;  /* borrowed: set by the caller */
    struct held stored;   /* from before the restart: set by the caller; of the first round only */
    bool is_falling_back; /* stored is being checked */
    char path_error[BOARD_TEXT_BYTES]; /* why it is served; "": the path is good */
    uint64_t announced;
    struct check check;
    struct warmup *warmup; /* borrowed: set by the caller */
    bool is_warmed;        /* the candidate: it was, or is not to be */
    struct watcher watcher;
    uv_timer_t timeout;
    uint64_t began_ms;                 /* clock_ms */
    struct reload_request *asked;      /* wait for the round that runs */
    struct reload_request *asked_next; /* and for the next one */
    bool is_asked_next, is_stopping;
    int error; /* errno of the last round's refusal; 0: it has none */

    void (*on_round)(void *context); /* one begins */
    /* After each round. text as above; is_first: of the start. */
    void (*on_done)(void *context, bool is_accepted, const char *text);
    /* What is served has been damaged. */
    void (*on_damage)(void *context);
    void *context; /* borrowed: the owner's */
};

/* callbacks and context are set by the caller, afterwards. 0 or -errno. */
int reload_init(struct reload *reload, struct crew *crew);
/* Looks at the path again. why: for the log. request: NULL, or who waits; borrowed until on_done.
 */
void reload_ask(struct reload *reload, const char *why, struct reload_request *request);
/* Ends what runs; who waits is told. */
void reload_stop(struct reload *reload);
/* After the loop has run the close callbacks. */
void reload_deinit(struct reload *reload);

/* "generation 3 (identity 1234), 7340032 bytes, serves": what answers, whatever came of a round. */
void reload_describe(const struct reload *reload, char *text, size_t size);

/* From the warm-up: that of this generation has ended. */
void reload_on_warm(struct reload *reload, uint64_t number);

/* From the crew. */
void reload_greet(struct reload *reload, struct process *process);
void reload_on_message(struct reload *reload, struct process *process,
                       const struct control_message *message);
void reload_on_gone(struct reload *reload);
