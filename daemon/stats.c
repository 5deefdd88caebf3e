/*
 * stats: see stats.h.
 */
#include "daemon/stats.h"

#include "base/clock.h"
#include "base/fd.h"

#include <stdlib.h>
#include <sys/resource.h>

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

static void collect_memory(uint64_t values[N_STATS])
{
    char status[8192];
    if (fd_read_file("/proc/self/status", status, sizeof status) < 0)
        status[0] = '\0';
    values[STAT_memory_rss_bytes] = status_bytes(status, "\nVmRSS:");
    values[STAT_memory_rss_file_bytes] = status_bytes(status, "\nRssFile:");
    values[STAT_memory_rss_anon_bytes] = status_bytes(status, "\nRssAnon:");
    values[STAT_memory_rss_shmem_bytes] = status_bytes(status, "\nRssShmem:");
}

static void collect_faults(uint64_t values[N_STATS])
{
    struct rusage usage;
    bool is_known = getrusage(RUSAGE_SELF, &usage) == 0;
    values[STAT_faults_minor] = is_known ? (uint64_t)usage.ru_minflt : STAT_UNKNOWN;
    values[STAT_faults_major] = is_known ? (uint64_t)usage.ru_majflt : STAT_UNKNOWN;
}

static void collect_worker(const struct worker_stats *worker, uint64_t values[N_STATS])
{
    values[STAT_memory_buffer_bytes] = worker->buffer_bytes;
    values[STAT_connections_open] = worker->connections_open;
    values[STAT_connections_accepted] = worker->connections_accepted;
    values[STAT_connections_timed_out] = worker->connections_timed_out;
    values[STAT_connections_broken] = worker->connections_broken;
    values[STAT_connections_evicted] = worker->connections_evicted;
    values[STAT_requests_sliced] = worker->requests_sliced;
    values[STAT_requests_running] = worker->requests_running;
    values[STAT_traffic_read_bytes] = worker->read_bytes;
    values[STAT_traffic_written_bytes] = worker->written_bytes;
    values[STAT_messages_refused] = worker->refused_requests;
    values[STAT_messages_notifications_ignored] = worker->notifications_ignored;
    values[STAT_messages_responses_ignored] = worker->responses_ignored;
}

const char *service_unready_reason(const struct service *service)
{
    if (service->is_draining)
        return "stopping";
    if (service->snapshot->damage)
        return service->snapshot->damage;
    if (service->config->warmup_ready == WARMUP_READY_AFTER &&
        service->warmup->state == WARMUP_RUNNING)
        return "warming up";
    return NULL;
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

void stats_collect(const struct service *service, struct stats_report *ret)
{
    uint64_t *values = ret->values;
    const struct snapshot *snapshot = service->snapshot;
    collect_faults(values);
    collect_memory(values);
    collect_worker(service->worker, values);
    values[STAT_process_uptime_ms] = clock_ms() - service->started_ms;
    values[STAT_tree_mapped_bytes] = snapshot->size_bytes;
    values[STAT_tree_generation] = snapshot->number;
    values[STAT_tree_damaged] = snapshot->damage ? 1 : 0;
    values[STAT_warmup_read_bytes] = service->warmup->read_bytes;
    values[STAT_warmup_total_bytes] = service->warmup->total_bytes;
    memcpy(ret->method, service->worker->method, sizeof ret->method);
    ret->warmup_state = warmup_state_name(service->warmup);
}
