/*
 * stats: see stats.h.
 */
#include "daemon/stats.h"

#include "base/clock.h"
#include "base/fd.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct stat_row stat_rows[N_STATS] = {
#define X(group, name, type, metric, labels, help) {#group, #name, type, metric, labels, help},
    STATS(X)
#undef X
};

const char *const method_names[N_METHODS] = {
#define X(name, least, most, result) #name,
    METHODS(X)
#undef X
};

/* A line "Name:   123 kB" of /proc/self/status, in bytes. */
static uint64_t status_bytes(const char *status, const char *name)
{
    const char *line = strstr(status, name);
    if (!line)
        return STAT_UNKNOWN;
    return strtoull(line + strlen(name), NULL, 10) * 1024;
}

static uint64_t known_sum(uint64_t a, uint64_t b)
{
    return a == STAT_UNKNOWN || b == STAT_UNKNOWN ? STAT_UNKNOWN : a + b;
}

static void collect_memory(int32_t pid, uint64_t values[N_STATS])
{
    char path[64], status[8192];
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    if (fd_read_file(path, status, sizeof status) < 0)
        status[0] = '\0';
    static const struct {
        enum stat_id id;
        const char *name;
    } rows[] = {
        {STAT_memory_rss_bytes, "\nVmRSS:"},
        {STAT_memory_rss_file_bytes, "\nRssFile:"},
        {STAT_memory_rss_anon_bytes, "\nRssAnon:"},
        {STAT_memory_rss_shmem_bytes, "\nRssShmem:"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        values[rows[i].id] = known_sum(values[rows[i].id], status_bytes(status, rows[i].name));
}

/* Fields 10 and 12 of /proc/PID/stat; the name in parentheses may hold anything. */
bool stats_read_faults(int32_t pid, uint64_t *ret_minor, uint64_t *ret_major)
{
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    const char *rest = fd_read_file(path, text, sizeof text) > 0 ? strrchr(text, ')') : NULL;
    return rest && sscanf(rest, ") %*c %*d %*d %*d %*d %*d %*u %" SCNu64 " %*u %" SCNu64, ret_minor,
                          ret_major) == 2;
}

static void collect_faults(int32_t pid, uint64_t values[N_STATS])
{
    uint64_t minor, major;
    if (!stats_read_faults(pid, &minor, &major))
        minor = major = STAT_UNKNOWN;
    values[STAT_faults_minor] = known_sum(values[STAT_faults_minor], minor);
    values[STAT_faults_major] = known_sum(values[STAT_faults_major], major);
}

static void collect_worker(const struct worker_stats *worker, struct stats_report *report)
{
    uint64_t *values = report->values;
    values[STAT_memory_buffer_bytes] += worker->buffer_bytes;
    values[STAT_connections_open] += worker->connections_open;
    values[STAT_connections_accepted] += worker->connections_accepted;
    values[STAT_connections_timed_out] += worker->connections_timed_out;
    values[STAT_connections_broken] += worker->connections_broken;
    values[STAT_connections_evicted] += worker->connections_evicted;
    values[STAT_requests_sliced] += worker->requests_sliced;
    values[STAT_requests_running] += worker->requests_running;
    values[STAT_traffic_read_bytes] += worker->read_bytes;
    values[STAT_traffic_written_bytes] += worker->written_bytes;
    values[STAT_messages_refused] += worker->refused_requests;
    values[STAT_messages_notifications_ignored] += worker->notifications_ignored;
    values[STAT_messages_responses_ignored] += worker->responses_ignored;
    for (size_t i = 0; i < N_METHODS; i++) {
        report->method[i].requests += worker->method[i].requests;
        report->method[i].errors += worker->method[i].errors;
        report->method[i].hits += worker->method[i].hits;
        report->method[i].misses += worker->method[i].misses;
    }
}

const char *warmup_state_name(const struct warmup_progress *warmup)
{
    switch ((int)warmup->state) {
    case WARMUP_RUNNING:
        return "running";
    case WARMUP_DONE:
        return "done";
    case WARMUP_FAILED:
        return "failed";
    default:
        return "off";
    }
}

void stats_collect(const struct board *board, struct stats_report *ret)
{
    const struct board_head *head = board->head;
    *ret = (struct stats_report){.warmup_state = warmup_state_name(&head->warmup)};
    uint64_t *values = ret->values;
    collect_worker(&head->retired, ret);
    values[STAT_faults_minor] = head->retired_minor_faults;
    values[STAT_faults_major] = head->retired_major_faults;
    for (unsigned i = 0; i < head->n_slots; i++) {
        int32_t pid = board->slots[i].pid;
        if (pid == 0)
            continue;
        collect_worker(&board_page(board, i)->stats, ret);
        collect_faults(pid, values);
        collect_memory(pid, values);
    }
    values[STAT_process_uptime_ms] = clock_ms() - head->started_ms;
    values[STAT_tree_mapped_bytes] = head->generation.size_bytes;
    values[STAT_tree_generation] = head->generation.number;
    values[STAT_tree_damaged] = head->is_damaged;
    values[STAT_warmup_read_bytes] = head->warmup.read_bytes;
    values[STAT_warmup_total_bytes] = head->warmup.total_bytes;
}
