/*
 * stats: the one table of names for what workers count and what the kernel counts.
 *
 * Counters live on the board, where each worker writes its own; stats_collect sums them and joins
 * them with what the kernel tells now. The method stats, /stats and /metrics only print the result.
 */
#pragma once

#include "daemon/board.h"

/* "off", "running", "done", "failed". */
const char *warmup_state_name(const struct warmup_progress *warmup);

#define STAT_UNKNOWN BOARD_UNKNOWN

enum stat_type { STAT_COUNTER, STAT_GAUGE };

/*
 * X(group, name, type, Prometheus name, Prometheus labels, help)
 * Rows of one Prometheus name stand together.
 */
#define STATS(X)                                                                                 \
    X(process, uptime_ms, STAT_GAUGE, "actd_uptime_milliseconds", "", "Time since the start.")   \
    X(faults, minor, STAT_COUNTER, "actd_page_faults_total", "kind=\"minor\"",                   \
      "Page faults of the process: minor found the page in memory, major waited for the disk.")  \
    X(faults, major, STAT_COUNTER, "actd_page_faults_total", "kind=\"major\"", "")               \
    X(memory, rss_bytes, STAT_GAUGE, "actd_resident_bytes", "kind=\"all\"",                      \
      "Resident set: file is mostly the mapped tree, anon is the process's own memory.")         \
    X(memory, rss_file_bytes, STAT_GAUGE, "actd_resident_bytes", "kind=\"file\"", "")            \
    X(memory, rss_anon_bytes, STAT_GAUGE, "actd_resident_bytes", "kind=\"anon\"", "")            \
    X(memory, rss_shmem_bytes, STAT_GAUGE, "actd_resident_bytes", "kind=\"shmem\"", "")          \
    X(memory, buffer_bytes, STAT_GAUGE, "actd_buffer_bytes", "",                                 \
      "Input and output of all connections waiting in memory.")                                  \
    X(tree, mapped_bytes, STAT_GAUGE, "actd_tree_mapped_bytes", "",                              \
      "Size of the mapping: of the file, not of the memory it takes.")                           \
    X(tree, generation, STAT_GAUGE, "actd_tree_generation", "",                                  \
      "Running number of the generation that is served.")                                        \
    X(tree, damaged, STAT_GAUGE, "actd_tree_damaged", "",                                        \
      "1 if the served file was changed in place and cannot be trusted any more.")               \
    X(connections, open, STAT_GAUGE, "actd_connections_open", "", "Client connections now.")     \
    X(connections, accepted, STAT_COUNTER, "actd_connections_accepted_total", "",                \
      "Client connections since the start.")                                                     \
    X(connections, timed_out, STAT_COUNTER, "actd_connections_timed_out_total", "",              \
      "Connections closed by a time limit.")                                                     \
    X(connections, broken, STAT_COUNTER, "actd_connections_broken_total", "",                    \
      "Connections closed because what they sent could not be parsed or was too large.")         \
    X(connections, evicted, STAT_COUNTER, "actd_connections_evicted_total", "",                  \
      "Connections closed because they took their replies slowly while buffers were short.")     \
    X(requests, sliced, STAT_COUNTER, "actd_requests_sliced_total", "",                          \
      "Requests that took more than one slice.")                                                 \
    X(requests, running, STAT_GAUGE, "actd_requests_running", "",                                \
      "Requests that are worked on slice by slice now.")                                         \
    X(traffic, read_bytes, STAT_COUNTER, "actd_read_bytes_total", "", "Bytes from clients.")     \
    X(traffic, written_bytes, STAT_COUNTER, "actd_written_bytes_total", "", "Bytes to clients.") \
    X(messages, refused, STAT_COUNTER, "actd_requests_refused_total", "",                        \
      "Requests answered with an error before a method was found.")                              \
    X(messages, notifications_ignored, STAT_COUNTER, "actd_notifications_ignored_total", "",     \
      "Notifications; there is none that the server knows.")                                     \
    X(messages, responses_ignored, STAT_COUNTER, "actd_responses_ignored_total", "",             \
      "Responses to requests that the server never made.")                                       \
    X(warmup, read_bytes, STAT_GAUGE, "actd_warmup_read_bytes", "",                              \
      "How much of the file the warm-up has read.")                                              \
    X(warmup, total_bytes, STAT_GAUGE, "actd_warmup_total_bytes", "",                            \
      "How much the warm-up is to read; 0 without one.")

enum stat_id {
#define X(group, name, type, metric, labels, help) STAT_##group##_##name,
    STATS(X)
#undef X
        N_STATS
};

struct stat_row {
    const char *group, *name;
    enum stat_type type;
    const char *metric, *labels, *help;
};

extern const struct stat_row stat_rows[N_STATS];
extern const char *const method_names[N_METHODS];

/* The columns of struct method_stats, for printing. */
#define METHOD_STATS(X)                           \
    X(requests, "Requests by method.")            \
    X(errors, "Requests answered with an error.") \
    X(hits, "Keys found.")                        \
    X(misses, "Keys not found.")

struct stats_report {
    uint64_t values[N_STATS]; /* STAT_UNKNOWN where the kernel does not tell */
    struct method_stats method[N_METHODS];
    const char *warmup_state;
};

/* Page faults of a process, also of one that is dead and not yet reaped. False: unknown. */
bool stats_read_faults(int32_t pid, uint64_t *ret_minor, uint64_t *ret_major);

/* Reads /proc and getrusage: tens of microseconds, no allocation. */
void stats_collect(const struct board *board, struct stats_report *ret);
