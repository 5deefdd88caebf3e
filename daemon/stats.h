/*
 * stats: the tables of names for what workers count and what the kernel counts.
 *
 * Counters live on the board, where each worker writes its own. They are summed here and joined
 * with what the kernel tells of the processes. The method stats, /stats and /metrics only print the
 * result, row by row.
 *
 * The supervisor asks the kernel on the spot. A worker must not hold its loop for that: it asks for
 * itself, and of the other processes it tells what the sampler has left on the board, and how old
 * that is. Nothing here allocates.
 */
#pragma once

#include "daemon/board.h"

#define STAT_UNKNOWN BOARD_UNKNOWN

/* STAT_IDENTITY: a u64 whose every bit matters, not a quantity. */
enum stat_type { STAT_COUNTER, STAT_GAUGE, STAT_IDENTITY };

/*
 * The service as a whole.
 *
 * X(group, name, type, Prometheus name, Prometheus labels, help)
 * Rows of one group, and of one Prometheus name, stand together. A row without a Prometheus name is
 * not in /metrics. Those whose name ends in _ms are seconds there, as all times are.
 */
#define STATS(X)                                                                                  \
    X(process, uptime_ms, STAT_GAUGE, "actd_uptime_seconds", "", "Time since the start.")         \
    X(process, workers, STAT_GAUGE, "actd_workers", "", "Worker processes that there should be.") \
    X(process, serving, STAT_GAUGE, "actd_workers_serving", "",                                   \
      "Worker processes that answer queries now.")                                                \
    X(restarts, killed, STAT_COUNTER, "actd_restarts_total", "reason=\"killed\"",                 \
      "Worker processes that were replaced.")                                                     \
    X(restarts, exited, STAT_COUNTER, "actd_restarts_total", "reason=\"exited\"", "")             \
    X(restarts, hung, STAT_COUNTER, "actd_restarts_total", "reason=\"hung\"", "")                 \
    X(restarts, failed, STAT_COUNTER, "actd_restarts_total", "reason=\"failed\"", "")             \
    X(faults, minor, STAT_COUNTER, "actd_page_faults_total", "kind=\"minor\"",                    \
      "Page faults of workers: minor found the page in memory, major waited for the disk.")       \
    X(faults, major, STAT_COUNTER, "actd_page_faults_total", "kind=\"major\"", "")                \
    X(memory, rss_anon_bytes, STAT_GAUGE, "actd_resident_bytes", "kind=\"anon\"",                 \
      "Memory of the processes' own, of all together. The tree is not in it.")                    \
    X(memory, buffer_bytes, STAT_GAUGE, "actd_buffer_bytes", "",                                  \
      "Input and output of all connections waiting in memory.")                                   \
    X(memory, age_ms, STAT_GAUGE, "", "",                                                         \
      "How long ago the oldest of what the kernel told of faults and memory was asked.")          \
    X(memory, refaults, STAT_COUNTER, "actd_refaults_total", "",                                  \
      "Pages of files that were read again after the kernel had taken them back.")                \
    X(tree, mapped_bytes, STAT_GAUGE, "actd_tree_mapped_bytes", "",                               \
      "Size of the mapping: of the file, not of the memory it takes.")                            \
    X(tree, pss_bytes, STAT_GAUGE, "actd_tree_pss_bytes", "",                                     \
      "Memory that workers have mapped of the tree, each page counted once.")                     \
    X(tree, pss_age_ms, STAT_GAUGE, "actd_tree_pss_age_seconds", "",                              \
      "How long ago the oldest part of actd_tree_pss_bytes was asked.")                           \
    X(tree, locked_bytes, STAT_GAUGE, "actd_tree_locked_bytes", "",                               \
      "How much of the mapping the worker that has locked most keeps in memory.")                 \
    X(tree, generation, STAT_GAUGE, "actd_tree_generation", "",                                   \
      "Running number of the generation that is served.")                                         \
    X(tree, identity, STAT_IDENTITY, "", "", "What tells it from other files, on any host.")      \
    X(tree, damaged, STAT_GAUGE, "actd_tree_damaged", "",                                         \
      "1 if the served file was changed in place and cannot be trusted any more.")                \
    X(tree, reloading, STAT_GAUGE, "actd_tree_reloading", "",                                     \
      "1 while a candidate is checked or handed to the workers.")                                 \
    X(tree, reloads, STAT_COUNTER, "actd_tree_reloads_total", "",                                 \
      "Generations that were accepted, the first one included.")                                  \
    X(tree, refused, STAT_COUNTER, "actd_tree_refused_total", "",                                 \
      "Candidates that were refused; the generation before goes on.")                             \
    X(connections, open, STAT_GAUGE, "actd_connections_open", "", "Client connections now.")      \
    X(connections, accepted, STAT_COUNTER, "actd_connections_accepted_total", "",                 \
      "Client connections since the start.")                                                      \
    X(connections, timed_out, STAT_COUNTER, "actd_connections_timed_out_total", "",               \
      "Connections closed by a time limit.")                                                      \
    X(connections, broken, STAT_COUNTER, "actd_connections_broken_total", "",                     \
      "Connections closed because what they sent could not be parsed or was too large.")          \
    X(connections, evicted, STAT_COUNTER, "actd_connections_evicted_total", "",                   \
      "Connections closed because they took their replies slowly while buffers were short.")      \
    X(requests, sliced, STAT_COUNTER, "actd_requests_sliced_total", "",                           \
      "Requests that took more than one slice.")                                                  \
    X(requests, running, STAT_GAUGE, "actd_requests_running", "",                                 \
      "Requests that are worked on slice by slice now.")                                          \
    X(traffic, read_bytes, STAT_COUNTER, "actd_read_bytes_total", "", "Bytes from clients.")      \
    X(traffic, written_bytes, STAT_COUNTER, "actd_written_bytes_total", "", "Bytes to clients.")  \
    X(messages, refused, STAT_COUNTER, "actd_requests_refused_total", "",                         \
      "Requests answered with an error before a method was found.")                               \
    X(messages, notifications_ignored, STAT_COUNTER, "actd_notifications_ignored_total", "",      \
      "Notifications; there is none that the server knows.")                                      \
    X(messages, responses_ignored, STAT_COUNTER, "actd_responses_ignored_total", "",              \
      "Responses to requests that the server never made.")                                        \
    X(messages, notifications_sent, STAT_COUNTER, "actd_notifications_sent_total", "",            \
      "News of generations.")                                                                     \
    X(cold, waiting, STAT_GAUGE, "actd_cold_waiting_requests", "",                                \
      "Requests that wait for a page which is not in memory.")                                    \
    X(cold, queued, STAT_GAUGE, "actd_cold_queued_pages", "",                                     \
      "Pages that are wanted, and not read yet.")                                                 \
    X(cold, threads, STAT_GAUGE, "actd_cold_threads", "", "Threads that read pages now.")         \
    X(cold, probes, STAT_COUNTER, "actd_cold_probes_total", "",                                   \
      "Questions to the kernel whether pages are in memory.")                                     \
    X(cold, gone_pages, STAT_COUNTER, "actd_cold_gone_pages_total", "",                           \
      "Pages that were in memory, and found gone.")                                               \
    X(cold, pages_read, STAT_COUNTER, "actd_cold_pages_read_total", "",                           \
      "Pages that threads have brought in.")                                                      \
    X(cold, pages_shared, STAT_COUNTER, "actd_cold_pages_shared_total", "",                       \
      "Pages that were wanted while they were on their way already.")                             \
    X(cold, refused, STAT_COUNTER, "actd_cold_refused_total", "",                                 \
      "Requests that got BUSY because cold.queue was full.")                                      \
    X(cold, timed_out, STAT_COUNTER, "actd_cold_timed_out_total", "",                             \
      "Requests that waited longer than cold.timeout_ms for a page.")                             \
    X(cold, released_bytes, STAT_COUNTER, "actd_cold_released_bytes_total", "",                   \
      "Unmapped because of tree.max_resident_bytes.")                                             \
    X(cold, major_faults, STAT_COUNTER, "actd_cold_major_faults_total", "",                       \
      "Major page faults of the threads that read pages.")                                        \
    X(loop, turns, STAT_COUNTER, "actd_loop_turns_total", "",                                     \
      "Turns of connections and slices of long requests.")                                        \
    X(loop, turns_measured, STAT_COUNTER, "actd_loop_turns_measured_total", "",                   \
      "Those of them in which faults and switches were counted.")                                 \
    X(loop, major_faults, STAT_COUNTER, "actd_loop_major_faults_total", "",                       \
      "Major page faults in measured turns: everybody waited for the disk.")                      \
    X(loop, switches, STAT_COUNTER, "actd_loop_switches_total", "",                               \
      "Voluntary context switches in measured turns: everybody waited for something.")            \
    X(warmup, read_bytes, STAT_GAUGE, "actd_warmup_read_bytes", "",                               \
      "How much the warm-up has brought into memory, or found there.")                            \
    X(warmup, total_bytes, STAT_GAUGE, "actd_warmup_total_bytes", "",                             \
      "How much there will be at most; 0 without a warm-up.")                                     \
    X(warmup, eta_ms, STAT_GAUGE, "actd_warmup_eta_seconds", "",                                  \
      "How long it will take until the warm-up is done, at the speed that it has.")               \
    X(warmup, generation, STAT_GAUGE, "actd_warmup_generation", "",                               \
      "Running number of the generation that the warm-up is about; 0 without one.")               \
    X(profile, pages, STAT_GAUGE, "actd_profile_pages", "",                                       \
      "Pages that were in memory when the profile was last saved.")                               \
    X(profile, age_ms, STAT_GAUGE, "actd_profile_age_seconds", "",                                \
      "Time since the profile was last saved.")                                                   \
    X(profile, saves, STAT_COUNTER, "actd_profile_saves_total", "",                               \
      "How often the profile was saved.")                                                         \
    X(profile, failures, STAT_COUNTER, "actd_profile_failures_total", "",                         \
      "How often the profile could not be saved.")

/* One worker process, likewise. The metrics have other names than those of the service, so that a
 * sum over either is right; each sample gets a label with the worker's number. */
#define WORKER_STATS(X)                                                                         \
    X(process, uptime_ms, STAT_GAUGE, "actd_worker_uptime_seconds", "",                         \
      "Time since the worker process was started.")                                             \
    X(faults, minor, STAT_COUNTER, "actd_worker_page_faults_total", "kind=\"minor\"",           \
      "Page faults of the worker process.")                                                     \
    X(faults, major, STAT_COUNTER, "actd_worker_page_faults_total", "kind=\"major\"", "")       \
    X(memory, rss_bytes, STAT_GAUGE, "actd_worker_resident_bytes", "kind=\"all\"",              \
      "Resident set of the worker process. Workers share the pages of file and shmem.")         \
    X(memory, rss_file_bytes, STAT_GAUGE, "actd_worker_resident_bytes", "kind=\"file\"", "")    \
    X(memory, rss_anon_bytes, STAT_GAUGE, "actd_worker_resident_bytes", "kind=\"anon\"", "")    \
    X(memory, rss_shmem_bytes, STAT_GAUGE, "actd_worker_resident_bytes", "kind=\"shmem\"", "")  \
    X(memory, buffer_bytes, STAT_GAUGE, "actd_worker_buffer_bytes", "",                         \
      "Input and output of the worker's connections waiting in memory.")                        \
    X(memory, age_ms, STAT_GAUGE, "", "", "How long ago the kernel was asked for these.")       \
    X(tree, generation, STAT_GAUGE, "actd_worker_generation", "",                               \
      "Running number of the generation that the worker answers from; 0: none yet.")            \
    X(tree, pss_bytes, STAT_GAUGE, "actd_worker_tree_pss_bytes", "",                            \
      "The worker's share of the memory that all have mapped of the tree.")                     \
    X(tree, locked_bytes, STAT_GAUGE, "actd_worker_tree_locked_bytes", "",                      \
      "How much of its mapping the worker has locked.")                                         \
    X(connections, open, STAT_GAUGE, "actd_worker_connections_open", "",                        \
      "The worker's connections now.")                                                          \
    X(connections, accepted, STAT_COUNTER, "actd_worker_connections_accepted_total", "",        \
      "Connections that the worker was given.")                                                 \
    X(connections, timed_out, STAT_COUNTER, "actd_worker_connections_timed_out_total", "",      \
      "Its connections closed by a time limit.")                                                \
    X(connections, broken, STAT_COUNTER, "actd_worker_connections_broken_total", "",            \
      "Its connections closed because of what they sent.")                                      \
    X(connections, evicted, STAT_COUNTER, "actd_worker_connections_evicted_total", "",          \
      "Its connections closed because they took their replies slowly.")                         \
    X(requests, sliced, STAT_COUNTER, "actd_worker_requests_sliced_total", "",                  \
      "Its requests that took more than one slice.")                                            \
    X(requests, running, STAT_GAUGE, "actd_worker_requests_running", "",                        \
      "Its requests that are worked on slice by slice now.")                                    \
    X(traffic, read_bytes, STAT_COUNTER, "actd_worker_read_bytes_total", "",                    \
      "Bytes from its clients.")                                                                \
    X(traffic, written_bytes, STAT_COUNTER, "actd_worker_written_bytes_total", "",              \
      "Bytes to its clients.")                                                                  \
    X(messages, refused, STAT_COUNTER, "actd_worker_requests_refused_total", "",                \
      "Its requests answered with an error before a method was found.")                         \
    X(messages, notifications_ignored, STAT_COUNTER, "actd_worker_notifications_ignored_total", \
      "", "Notifications that it got.")                                                         \
    X(messages, responses_ignored, STAT_COUNTER, "actd_worker_responses_ignored_total", "",     \
      "Responses that it got.")                                                                 \
    X(messages, notifications_sent, STAT_COUNTER, "actd_worker_notifications_sent_total", "",   \
      "News of generations.")                                                                   \
    X(cold, waiting, STAT_GAUGE, "actd_worker_cold_waiting_requests", "",                       \
      "Its requests that wait for a page.")                                                     \
    X(cold, queued, STAT_GAUGE, "actd_worker_cold_queued_pages", "",                            \
      "Pages that it wants, and that are not read yet.")                                        \
    X(cold, threads, STAT_GAUGE, "actd_worker_cold_threads", "",                                \
      "Its threads that read pages now.")                                                       \
    X(cold, known_pages, STAT_GAUGE, "actd_worker_cold_known_pages", "",                        \
      "Pages that it knows to be in memory.")                                                   \
    X(cold, probes, STAT_COUNTER, "actd_worker_cold_probes_total", "",                          \
      "Its questions whether pages are in memory.")                                             \
    X(cold, gone_pages, STAT_COUNTER, "actd_worker_cold_gone_pages_total", "",                  \
      "Pages that it knew, and found gone.")                                                    \
    X(cold, pages_read, STAT_COUNTER, "actd_worker_cold_pages_read_total", "",                  \
      "Pages that its threads have brought in.")                                                \
    X(cold, pages_shared, STAT_COUNTER, "actd_worker_cold_pages_shared_total", "",              \
      "Pages that it wanted while they were on their way already.")                             \
    X(cold, refused, STAT_COUNTER, "actd_worker_cold_refused_total", "",                        \
      "Its requests that got BUSY because cold.queue was full.")                                \
    X(cold, timed_out, STAT_COUNTER, "actd_worker_cold_timed_out_total", "",                    \
      "Its requests that waited longer than cold.timeout_ms.")                                  \
    X(cold, released_bytes, STAT_COUNTER, "actd_worker_cold_released_bytes_total", "",          \
      "What it has unmapped because of tree.max_resident_bytes.")                               \
    X(cold, major_faults, STAT_COUNTER, "actd_worker_cold_major_faults_total", "",              \
      "Major page faults of its threads that read pages.")                                      \
    X(loop, turns, STAT_COUNTER, "actd_worker_loop_turns_total", "",                            \
      "Its turns of connections and slices of long requests.")                                  \
    X(loop, turns_measured, STAT_COUNTER, "actd_worker_loop_turns_measured_total", "",          \
      "Those of them in which faults and switches were counted.")                               \
    X(loop, major_faults, STAT_COUNTER, "actd_worker_loop_major_faults_total", "",              \
      "Major page faults in its measured turns.")                                               \
    X(loop, switches, STAT_COUNTER, "actd_worker_loop_switches_total", "",                      \
      "Voluntary context switches in its measured turns.")

enum stat_id {
#define X(group, name, type, metric, labels, help) STAT_##group##_##name,
    STATS(X)
#undef X
        N_STATS
};

enum worker_stat_id {
#define X(group, name, type, metric, labels, help) WORKER_STAT_##group##_##name,
    WORKER_STATS(X)
#undef X
        N_WORKER_STATS
};

struct stat_row {
    const char *group, *name;
    enum stat_type type;
    const char *metric, *labels, *help;
};

extern const struct stat_row stat_rows[N_STATS];
extern const struct stat_row worker_stat_rows[N_WORKER_STATS];
extern const char *const method_names[N_METHODS];

/* What is counted by method: X(name, help, help for one worker). */
#define METHOD_STATS(X)                                                                   \
    X(requests, "Requests by method.", "The worker's requests by method.")                \
    X(errors, "Requests answered with an error.", "Its requests answered with an error.") \
    X(hits, "Keys found.", "Keys that it found.")                                         \
    X(misses, "Keys not found.", "Keys that it did not find.")                            \
    X(offloaded, "Requests that had to wait for pages.", "Its requests that had to wait for pages.")

/* And how long requests took, as far as that is measured (see LATENCY_SAMPLED): X(name, which of
 * them, percentile). 0: none was. */
#define METHOD_TIMES(X)      \
    X(warm_p50_ns, warm, 50) \
    X(warm_p99_ns, warm, 99) \
    X(cold_p50_ns, cold, 50) \
    X(cold_p99_ns, cold, 99)

struct method_report {
#define X(name, help, worker_help) uint64_t name;
    METHOD_STATS(X)
#undef X
#define X(name, which, percent) uint64_t name;
    METHOD_TIMES(X)
#undef X
};

struct stats_report {
    uint64_t values[N_STATS]; /* STAT_UNKNOWN where it cannot be known */
    struct method_report method[N_METHODS];
    struct method_latency latency[N_METHODS]; /* the workers' so far */
    const char *warmup_state, *warmup_mode;
    unsigned n_workers; /* processes, so far */
};

struct worker_report {
    uint32_t number; /* two processes may have it: one that hangs, and its successor */
    int32_t pid;
    uint64_t values[N_WORKER_STATS];
    struct method_report method[N_METHODS];
};

/*
 * A report is taken worker by worker, since there may be many: stats_begin, then stats_add_worker
 * for each slot of the board, then stats_end. What ret_worker tells and what is added to the report
 * are the same numbers.
 */
void stats_begin(const struct board *board, struct stats_report *ret);
/* False: nobody has that slot. In the supervisor, and for a worker's own slot, some 40 us; else 1.
 */
bool stats_add_worker(const struct board *board, unsigned slot, struct stats_report *report,
                      struct worker_report *ret_worker);
void stats_end(const struct board *board, struct stats_report *report);

/* The sums alone. */
void stats_collect(const struct board *board, struct stats_report *ret);
