/*
 * stats: see stats.h.
 */
#include "daemon/stats.h"

#include "base/clock.h"

#include <assert.h>
#include <string.h>

static_assert(STAT_UNKNOWN == USAGE_UNKNOWN, "it is handed through");

const struct stat_row stat_rows[N_STATS] = {
#define X(group, name, type, metric, labels, help) {#group, #name, type, metric, labels, help},
    STATS(X)
#undef X
};

const struct stat_row worker_stat_rows[N_WORKER_STATS] = {
#define X(group, name, type, metric, labels, help) {#group, #name, type, metric, labels, help},
    WORKER_STATS(X)
#undef X
};

const char *const method_names[N_METHODS] = {
#define X(name, least, most, result) #name,
    METHODS(X)
#undef X
};

/* Rows of both tables and where workers count them: X(group, name, member of worker_stats). */
#define COUNTED(X)                                            \
    X(memory, buffer_bytes, buffer_bytes)                     \
    X(connections, open, connections_open)                    \
    X(connections, accepted, connections_accepted)            \
    X(connections, timed_out, connections_timed_out)          \
    X(connections, broken, connections_broken)                \
    X(connections, evicted, connections_evicted)              \
    X(requests, sliced, requests_sliced)                      \
    X(requests, running, requests_running)                    \
    X(traffic, read_bytes, read_bytes)                        \
    X(traffic, written_bytes, written_bytes)                  \
    X(messages, refused, refused_requests)                    \
    X(messages, notifications_ignored, notifications_ignored) \
    X(messages, responses_ignored, responses_ignored)         \
    X(messages, notifications_sent, notifications_sent)

/* Likewise, members of cold_stats. */
#define COUNTED_COLD(X)                      \
    X(cold, waiting, waiting)                \
    X(cold, queued, queued)                  \
    X(cold, threads, threads)                \
    X(cold, probes, probes)                  \
    X(cold, gone_pages, gone_pages)          \
    X(cold, pages_read, pages_read)          \
    X(cold, pages_shared, pages_shared)      \
    X(cold, refused, refused)                \
    X(cold, timed_out, timed_out)            \
    X(cold, released_bytes, released_bytes)  \
    X(cold, major_faults, major_faults)      \
    X(loop, turns, turns)                    \
    X(loop, turns_measured, turns_measured)  \
    X(loop, major_faults, loop_major_faults) \
    X(loop, switches, loop_switches)

/* What a worker, or all that are gone, have counted. */
struct counters {
    const struct worker_stats *stats;
    const struct cold_stats *cold;
    const struct method_latency *latency;
};

static void read_times(const struct method_latency *latency, struct method_report *report)
{
#define X(name, which, percent) report->name = latency_percentile_ns(&latency->which, percent);
    METHOD_TIMES(X)
#undef X
}

static void copy_counters(const struct counters *counters, struct worker_report *worker)
{
#define X(group, name, member) \
    worker->values[WORKER_STAT_##group##_##name] = counters->stats->member;
    COUNTED(X)
#undef X
#define X(group, name, member) \
    worker->values[WORKER_STAT_##group##_##name] = counters->cold->member;
    COUNTED_COLD(X)
#undef X
    for (size_t i = 0; i < N_METHODS; i++) {
        const struct method_stats *stats = &counters->stats->method[i];
        worker->method[i] = (struct method_report){.requests = stats->requests,
                                                   .errors = stats->errors,
                                                   .hits = stats->hits,
                                                   .misses = stats->misses,
                                                   .offloaded = counters->latency[i].offloaded};
        read_times(&counters->latency[i], &worker->method[i]);
    }
}

/* worker: of those counters. */
static void add_counters(struct stats_report *report, const struct counters *counters,
                         const struct worker_report *worker)
{
#define X(group, name, member) \
    report->values[STAT_##group##_##name] += worker->values[WORKER_STAT_##group##_##name];
    COUNTED(X)
    COUNTED_COLD(X)
#undef X
    for (size_t i = 0; i < N_METHODS; i++) {
        latency_add(&report->latency[i].warm, &counters->latency[i].warm);
        latency_add(&report->latency[i].cold, &counters->latency[i].cold);
#define X(name, help, worker_help) report->method[i].name += worker->method[i].name;
        METHOD_STATS(X)
#undef X
    }
}

static void add_known(uint64_t *sum, uint64_t value)
{
    *sum = *sum == STAT_UNKNOWN || value == STAT_UNKNOWN ? STAT_UNKNOWN : *sum + value;
}

/* The age of a sum is that of its oldest part. */
static void keep_older(uint64_t *age, uint64_t other)
{
    if (*age != STAT_UNKNOWN && (other == STAT_UNKNOWN || other > *age))
        *age = other;
}

static uint64_t age_of(uint64_t asked_ms)
{
    uint64_t now = clock_ms();
    return now > asked_ms ? now - asked_ms : 0;
}

static bool is_supervisor(const struct board *board)
{
    return board->own_head != NULL;
}

/* How old the result is, in ms; STAT_UNKNOWN: there is none. */
static uint64_t usage_of_sample(const struct board_sample *sample, int32_t pid,
                                uint64_t ret[N_USAGE])
{
    uint64_t age = STAT_UNKNOWN;
    if (board_sample_of(sample, pid) && sample->usage_asked_ms > 0) {
        age = age_of(sample->usage_asked_ms);
        for (size_t i = 0; i < N_USAGE; i++)
            ret[i] = sample->usage[i];
    }
    /* Has it become another one's meanwhile? */
    if (age != STAT_UNKNOWN && board_sample_of(sample, pid))
        return age;
    for (size_t i = 0; i < N_USAGE; i++)
        ret[i] = STAT_UNKNOWN;
    return STAT_UNKNOWN;
}

/* What was told must not be taken back when the process is dead: see board_faults. */
static void note_faults(const struct board *board, unsigned slot, const uint64_t usage[N_USAGE])
{
    if (usage[USAGE_MINOR_FAULTS] == USAGE_UNKNOWN)
        return;
    if (is_supervisor(board)) {
        board->own_slots[slot].told_minor = usage[USAGE_MINOR_FAULTS];
        board->own_slots[slot].told_major = usage[USAGE_MAJOR_FAULTS];
    } else {
        board->own_page->minor_faults = usage[USAGE_MINOR_FAULTS];
        board->own_page->major_faults = usage[USAGE_MAJOR_FAULTS];
    }
}

static void collect_usage(const struct board *board, unsigned slot, struct worker_report *worker)
{
    uint64_t usage[N_USAGE], *values = worker->values, age = 0;
    bool is_own = board_page(board, slot) == board->own_page;
    if (is_own)
        usage_read_own(usage);
    else if (is_supervisor(board))
        usage_read(worker->pid, usage);
    else
        age = usage_of_sample(&board->slots[slot].sample, worker->pid, usage);
    if (is_own || is_supervisor(board))
        note_faults(board, slot, usage);
    board_faults(board, slot, &values[WORKER_STAT_faults_minor], &values[WORKER_STAT_faults_major]);
    values[WORKER_STAT_memory_rss_bytes] = usage[USAGE_RSS];
    values[WORKER_STAT_memory_rss_file_bytes] = usage[USAGE_RSS_FILE];
    values[WORKER_STAT_memory_rss_anon_bytes] = usage[USAGE_RSS_ANON];
    values[WORKER_STAT_memory_rss_shmem_bytes] = usage[USAGE_RSS_SHMEM];
    values[WORKER_STAT_memory_age_ms] = age;
}

/* Of another generation than the one that is served nothing is known. */
static bool is_about(const struct board_sample *sample, int32_t pid, uint64_t generation)
{
    return board_sample_of(sample, pid) && sample->tree_generation == generation;
}

/* How old the result is. */
static uint64_t collect_pss(const struct board *board, unsigned slot, struct worker_report *worker)
{
    const struct board_sample *sample = &board->slots[slot].sample;
    uint64_t generation = board->head->generation.number, *ret = worker->values;
    ret[WORKER_STAT_tree_pss_bytes] = STAT_UNKNOWN;
    if (!is_about(sample, worker->pid, generation))
        return STAT_UNKNOWN;
    uint64_t pss = sample->tree_pss_bytes, age = age_of(sample->tree_asked_ms);
    /* Has it become another one's meanwhile? */
    if (pss == STAT_UNKNOWN || !is_about(sample, worker->pid, generation))
        return STAT_UNKNOWN;
    ret[WORKER_STAT_tree_pss_bytes] = pss;
    return age;
}

static void collect_profile(const struct board_profile *profile, uint64_t *values)
{
    bool is_saved = profile->saved_ms != 0;
    values[STAT_profile_pages] = is_saved ? profile->pages : STAT_UNKNOWN;
    values[STAT_profile_age_ms] = is_saved ? age_of(profile->saved_ms) : STAT_UNKNOWN;
    values[STAT_profile_saves] = profile->n_saves;
    values[STAT_profile_failures] = profile->n_failures;
}

/* What the supervisor writes, and what dead workers have left. */
void stats_begin(const struct board *board, struct stats_report *ret)
{
    const struct board_head *head = board->head;
    struct worker_report retired;
    *ret = (struct stats_report){.warmup_state = warmup_state_name(&head->warmup),
                                 .warmup_mode = warmup_mode_name(&head->warmup)};
    uint64_t *values = ret->values;
    const struct counters counters = {&head->retired, &head->retired_cold, head->retired_latency};
    copy_counters(&counters, &retired);
    add_counters(ret, &counters, &retired);
    values[STAT_faults_minor] = head->retired_minor_faults;
    values[STAT_faults_major] = head->retired_major_faults;
    values[STAT_process_uptime_ms] = age_of(head->started_ms);
    values[STAT_process_workers] = head->n_workers;
    values[STAT_process_serving] = head->n_serving;
#define X(name, help) values[STAT_restarts_##name] = head->restarts.name;
    BOARD_RESTARTS(X)
#undef X
    values[STAT_tree_mapped_bytes] = head->generation.size_bytes;
    values[STAT_tree_generation] = head->generation.number;
    values[STAT_tree_identity] = head->generation.identity;
    values[STAT_tree_damaged] = head->is_damaged;
    values[STAT_tree_reloading] = head->is_reloading;
    values[STAT_tree_reloads] = head->n_reloads;
    values[STAT_tree_refused] = head->n_refused;
    values[STAT_warmup_read_bytes] = head->warmup.read_bytes;
    values[STAT_warmup_total_bytes] = head->warmup.total_bytes;
    values[STAT_warmup_eta_ms] = head->warmup.eta_ms;
    values[STAT_warmup_generation] = head->warmup.generation;
    collect_profile(&head->profile, values);
    values[STAT_memory_refaults] = head->refaults;
}

bool stats_add_worker(const struct board *board, unsigned slot, struct stats_report *report,
                      struct worker_report *ret_worker)
{
    const struct board_slot *own = &board->slots[slot];
    const struct board_page *page = board_page(board, slot);
    uint64_t *sums = report->values, *values = ret_worker->values;
    ret_worker->pid = own->pid;
    if (ret_worker->pid == 0)
        return false;
    ret_worker->number = own->number;
    values[WORKER_STAT_process_uptime_ms] = age_of(own->started_ms);
    values[WORKER_STAT_tree_generation] = page->generation;
    values[WORKER_STAT_tree_locked_bytes] = page->locked_bytes;
    /* All lock the same pages. */
    if (page->locked_bytes > sums[STAT_tree_locked_bytes])
        sums[STAT_tree_locked_bytes] = page->locked_bytes;
    const struct counters counters = {&page->stats, &page->cold, page->latency};
    copy_counters(&counters, ret_worker);
    add_counters(report, &counters, ret_worker);
    values[WORKER_STAT_cold_known_pages] = page->cold.known_pages;
    collect_usage(board, slot, ret_worker);
    sums[STAT_faults_minor] += values[WORKER_STAT_faults_minor];
    sums[STAT_faults_major] += values[WORKER_STAT_faults_major];
    add_known(&sums[STAT_memory_rss_anon_bytes], values[WORKER_STAT_memory_rss_anon_bytes]);
    keep_older(&sums[STAT_memory_age_ms], values[WORKER_STAT_memory_age_ms]);
    keep_older(&sums[STAT_tree_pss_age_ms], collect_pss(board, slot, ret_worker));
    add_known(&sums[STAT_tree_pss_bytes], values[WORKER_STAT_tree_pss_bytes]);
    report->n_workers++;
    return true;
}

void stats_end(const struct board *board, struct stats_report *report)
{
    const struct board_head *head = board->head;
    uint64_t usage[N_USAGE], age = 0, *values = report->values;
    if (is_supervisor(board))
        usage_read_own(usage);
    else
        age = usage_of_sample(&head->sample, head->supervisor_pid, usage);
    add_known(&values[STAT_memory_rss_anon_bytes], usage[USAGE_RSS_ANON]);
    keep_older(&values[STAT_memory_age_ms], age);
    for (size_t i = 0; i < N_METHODS; i++)
        read_times(&report->latency[i], &report->method[i]);
    if (report->n_workers == 0) /* nobody who could be asked */
        values[STAT_tree_pss_bytes] = values[STAT_tree_pss_age_ms] = STAT_UNKNOWN;
}

void stats_collect(const struct board *board, struct stats_report *ret)
{
    struct worker_report worker;
    stats_begin(board, ret);
    for (unsigned slot = 0; slot < board->head->n_slots; slot++)
        (void)stats_add_worker(board, slot, ret, &worker);
    stats_end(board, ret);
}
