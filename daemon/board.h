/*
 * board: the memory that supervisor and workers share, where each says how it is doing.
 *
 * The supervisor writes the head; every worker process has a slot of its own, which it alone
 * writes. A worker maps everything else read-only, so a worker gone wrong harms nobody's figures
 * but its own; and the supervisor decides nothing by what it reads here but how to spread
 * connections. Numbers are written whole (aligned 64-bit stores), so readers need no lock: a report
 * is not of one instant, but each of its numbers was true in it.
 */
#pragma once

#include "daemon/config.h"
#include "daemon/generation.h"
#include "daemon/latency.h"
#include "daemon/methods.h"
#include "daemon/slow.h"
#include "daemon/usage.h"

#include <stdatomic.h>

struct method_stats {
    uint64_t requests; /* dispatched, whatever came of them */
    uint64_t errors;   /* answered with an error */
    uint64_t hits;     /* keys that have a value (get, mget, exists), positions that exist (node) */
    uint64_t misses;
};

/* Counters, all of them u64. Those that go down again stand first. */
struct worker_stats {
    uint64_t connections_open;
    uint64_t requests_running; /* between their slices now */
    uint64_t buffer_bytes;
    uint64_t connections_accepted;
    uint64_t connections_timed_out;
    uint64_t connections_broken;  /* closed because of what they sent */
    uint64_t connections_evicted; /* closed because they read slowly while buffers were short */
    uint64_t requests_sliced;     /* took more than one slice */
    uint64_t read_bytes, written_bytes;
    uint64_t notifications_ignored, responses_ignored;
    uint64_t notifications_sent;
    uint64_t refused_requests; /* answered before a method was found */
    struct method_stats method[N_METHODS];
};

/* What pages that were not in memory have cost, and the loop's turns, all of them u64: not in
 * struct worker_stats, which a turn on a spoilt file takes back. Those that go down again stand
 * first. */
struct cold_stats {
    uint64_t waiting;     /* requests that wait for a page */
    uint64_t queued;      /* pages that are wanted, and not read yet */
    uint64_t threads;     /* that read them */
    uint64_t known_pages; /* of the served generation: known to be in memory */
    uint64_t probes;      /* questions to the kernel whether a page is */
    uint64_t gone_pages;  /* that were known, and found gone */
    uint64_t pages_read;
    uint64_t pages_shared;   /* wanted while they were on their way for somebody else */
    uint64_t refused;        /* requests, since the queue was full */
    uint64_t timed_out;      /* requests */
    uint64_t major_faults;   /* of the threads */
    uint64_t released_bytes; /* of the mapping: tree.max_resident_bytes */

    /* Turns of connections and slices of jobs on the loop's thread; faults and voluntary context
     * switches in those that were measured. */
    uint64_t turns, turns_measured;
    uint64_t loop_major_faults, loop_switches;
};

/* By method. */
struct method_latency {
    uint64_t offloaded;  /* requests that had to wait for pages */
    struct latency cold; /* of these, from their first slice to their reply */
    struct latency warm; /* of the others; of those in one slice, one in LATENCY_SAMPLED stands for
                          * all */
};
#define LATENCY_SAMPLED 16

#define BOARD_UNKNOWN USAGE_UNKNOWN

/* What the kernel told of a process a while ago, for who cannot ask on the spot. The sampler alone
 * writes it, while the slot around it may change hands: it holds for the process of that pid. */
struct board_sample {
    _Atomic int32_t pid;              /* 0: of nobody */
    _Atomic uint64_t usage[N_USAGE];  /* BOARD_UNKNOWN where it does not tell */
    _Atomic uint64_t usage_asked_ms;  /* clock_ms */
    _Atomic uint64_t tree_generation; /* that tree_pss_bytes is about */
    _Atomic uint64_t tree_pss_bytes;  /* of the mapping of that generation; BOARD_UNKNOWN */
    _Atomic uint64_t tree_asked_ms;   /* clock_ms */
};

/* A worker process. */
struct board_slot {
    /* By the supervisor, in its part of the board. */
    _Atomic int32_t pid; /* 0: the slot is free */
    uint32_t number;
    uint64_t started_ms;             /* clock_ms */
    uint64_t told_minor, told_major; /* faults that its reports have told */
    struct board_sample sample;
};

/* What the worker says of itself. */
struct board_page {
    struct worker_stats stats;
    struct cold_stats cold;
    struct method_latency latency[N_METHODS];
    struct slow_log slow;
    uint64_t connections_closed;         /* of those that it took; never falls back, as stats can */
    uint64_t generation;                 /* the number that it answers from; 0: none yet */
    uint64_t locked_bytes;               /* of the mapping that it answers from */
    uint64_t minor_faults, major_faults; /* at the last heartbeat or report: for when it is dead */
};

/* A line that changes: read it by board_text_get. */
#define BOARD_TEXT_BYTES 768
struct board_text {
    _Atomic uint32_t version; /* odd while it is being written */
    char text[BOARD_TEXT_BYTES];
};

enum warmup_state { WARMUP_OFF, WARMUP_RUNNING, WARMUP_DONE, WARMUP_FAILED, WARMUP_CANCELLED };

/* Of the warm-up that runs, or of the last one. */
struct warmup_progress {
    _Atomic int state;            /* enum warmup_state */
    _Atomic int mode;             /* enum warmup_mode */
    _Atomic uint64_t generation;  /* that it is about: its number; 0: there was none */
    _Atomic uint64_t read_bytes;  /* brought in, or found in memory */
    _Atomic uint64_t total_bytes; /* that there will be at most */
    _Atomic uint64_t eta_ms;      /* until its end; BOARD_UNKNOWN also while there is none */
};

/* "none" before the first one. */
const char *warmup_mode_name(const struct warmup_progress *warmup);
/* "off", "running", "done", "failed", "cancelled". */
const char *warmup_state_name(const struct warmup_progress *warmup);
/* "42 % of 7168.0 MiB, 12 s left", "it begins": of one that runs. In line. */
const char *warmup_progress_text(const struct warmup_progress *warmup, char *line, size_t size);

/* What warmup.profile holds; written by the thread that saves it. */
struct board_profile {
    _Atomic uint64_t pages;
    _Atomic uint64_t saved_ms; /* clock_ms; 0: never */
    _Atomic uint64_t n_saves, n_failures;
};

enum verify_state { VERIFY_NEVER, VERIFY_RUNNING, VERIFY_GOOD, VERIFY_FAULTS, VERIFY_FAILED };

/* Of the verification that runs or ran last; the supervisor's. */
struct verify_progress {
    enum verify_state state;
    uint64_t generation; /* its number */
    uint64_t checked_bytes, total_bytes;
    uint64_t began_ms, ended_ms; /* clock_ms; 0: not yet */
    struct board_text text;      /* the first fault, or why it failed; "" */
};

/* Why a worker process was replaced. */
#define BOARD_RESTARTS(X)                                               \
    X(killed, "It was killed by a signal or crashed.")                  \
    X(exited, "It ended by itself.")                                    \
    X(hung, "It gave no sign of life for daemon.heartbeat_timeout_ms.") \
    X(failed, "It could not be started or map the file, or babbled.")

struct board_restarts {
#define X(name, help) uint64_t name;
    BOARD_RESTARTS(X)
#undef X
};

struct board_head {
    uint64_t started_ms; /* clock_ms */
    int32_t supervisor_pid;
    uint32_t n_workers; /* that there should be */
    uint32_t n_slots;
    _Atomic uint32_t n_serving; /* workers that answer now */
    _Atomic bool is_draining;
    _Atomic bool is_full; /* at limits.max_connections: a worker tells when it closes one */
    _Atomic bool is_ready_after_warmup; /* warmup.ready = after: and not warm yet */

    struct generation generation; /* that is served */
    struct board_text damage;     /* "", or why it cannot be trusted any more */
    struct board_text refusal;    /* "", or why the last candidate was refused */
    _Atomic bool is_damaged;
    uint64_t n_reloads, n_refused; /* candidates that were accepted, and refused */
    _Atomic bool is_reloading;

    struct board_restarts restarts;
    struct worker_stats retired; /* of all workers that are gone: their counters */
    struct cold_stats retired_cold;
    struct method_latency retired_latency[N_METHODS];
    uint64_t retired_minor_faults, retired_major_faults;
    struct board_sample sample; /* of the supervisor; nothing of the tree */
    struct warmup_progress warmup;
    struct board_profile profile;
    _Atomic uint64_t refaults; /* BOARD_UNKNOWN: nobody has told; by the sampler */
    struct verify_progress verify;
};

struct board {
    const struct board_head *head;  /* shared */
    const struct board_slot *slots; /* shared; n_slots */
    const uint8_t *pages;           /* shared: board_page tells where each is */
    struct board_head *own_head;    /* the supervisor's way to write; NULL in workers */
    struct board_slot *own_slots;   /* likewise */
    struct board_page *own_page;    /* a worker's way to write; NULL in the supervisor */
    const struct config *config;    /* borrowed */
    size_t mapped_bytes;
};

/* Slots for n workers: more than workers, since one that hangs keeps its slot until it is gone. */
unsigned board_slots_for(unsigned n_workers);

/* The supervisor's. ret_fd: for workers to inherit, owned by the caller. 0 or -errno. */
int board_create(struct board *board, const struct config *config, unsigned n_workers, int *ret_fd);
/* A worker's. 0 or -errno. */
int board_attach(struct board *board, const struct config *config, int fd, unsigned slot);
/* One of memory that nobody shares, with one slot: for tests. 0 or -errno. */
int board_create_private(struct board *board, const struct config *config);
void board_detach(struct board *board);

const struct board_page *board_page(const struct board *board, unsigned slot);

/* Faults of the slot's process, the most that was told of them: what is added up when it is dead,
 * so that no sum that was told before falls back. */
void board_faults(const struct board *board, unsigned slot, uint64_t *ret_minor,
                  uint64_t *ret_major);

/* The sample, if it is of that process, or NULL. */
const struct board_sample *board_sample_of(const struct board_sample *sample, int32_t pid);
/* Makes it one of that process, of which nothing is known yet. The sampler's. */
void board_sample_begin(struct board_sample *sample, int32_t pid);

/* The process is gone: its counters go to the retired ones, and the slot is free. */
void board_retire(struct board *board, unsigned slot);
/* Prepares a free slot for another process. */
void board_take(struct board *board, unsigned slot, uint32_t number);

void board_text_set(struct board_text *text, const char *line);
/* The line as it was at some moment, cut to fit. */
void board_text_get(const struct board_text *text, char *line, size_t size);

/* Why the service is not ready for queries, or NULL if it is. The text is static or in line. */
const char *board_unready_reason(const struct board *board, char *line, size_t size);
