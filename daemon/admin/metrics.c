/*
 * metrics: see metrics.h. What is unknown is absent, never 0.
 */
#include "daemon/admin/metrics.h"

#include "build_config.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

/* The metrics are printed one after the other, so all workers are looked at before. */
struct collected {
    struct stats_report report;
    struct worker_report *workers; /* owned */
    bool *is_shown;                /* owned: has the worker series of its own? */
    size_t n_workers;
};

/* Of two processes with one number the older one hangs and is on its way out. Its series would have
 * the names of the younger one's; it counts in the sums only. */
static bool has_younger(const struct collected *collected, size_t at)
{
    const struct worker_report *worker = &collected->workers[at];
    uint64_t age = worker->values[WORKER_STAT_process_uptime_ms];
    for (size_t i = 0; i < collected->n_workers; i++) {
        const struct worker_report *other = &collected->workers[i];
        uint64_t other_age = other->values[WORKER_STAT_process_uptime_ms];
        if (i != at && other->number == worker->number &&
            (other_age < age || (other_age == age && i > at)))
            return true;
    }
    return false;
}

static void release(struct collected *collected)
{
    free(collected->workers);
    free(collected->is_shown);
}

static int collect(const struct board *board, struct collected *ret)
{
    unsigned n_slots = board->head->n_slots;
    ret->n_workers = 0;
    ret->workers = calloc(n_slots, sizeof *ret->workers);
    ret->is_shown = calloc(n_slots, sizeof *ret->is_shown);
    if (!ret->workers || !ret->is_shown) {
        release(ret);
        return -ENOMEM;
    }
    stats_begin(board, &ret->report);
    for (unsigned slot = 0; slot < n_slots; slot++)
        if (stats_add_worker(board, slot, &ret->report, &ret->workers[ret->n_workers]))
            ret->n_workers++;
    stats_end(board, &ret->report);
    for (size_t i = 0; i < ret->n_workers; i++)
        ret->is_shown[i] = !has_younger(ret, i);
    return 0;
}

void metrics_print_head(FILE *out, const char *metric, const char *type, const char *help)
{
    fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", metric, help, metric, type);
}

static bool is_in_ms(const struct stat_row *row)
{
    size_t len = strlen(row->name);
    return len > 3 && strcmp(row->name + len - 3, "_ms") == 0;
}

/* Behind its name and labels. */
static void print_value(FILE *out, const struct stat_row *row, uint64_t value)
{
    if (is_in_ms(row))
        fprintf(out, " %" PRIu64 ".%03" PRIu64 "\n", value / 1000, value % 1000);
    else
        fprintf(out, " %" PRIu64 "\n", value);
}

/* Rows of one metric share a head. */
static void print_row_head(FILE *out, const struct stat_row *rows, size_t i)
{
    if (i == 0 || strcmp(rows[i - 1].metric, rows[i].metric) != 0)
        metrics_print_head(out, rows[i].metric, rows[i].type == STAT_COUNTER ? "counter" : "gauge",
                           rows[i].help);
}

static void print_rows(FILE *out, const struct stats_report *report)
{
    for (size_t i = 0; i < N_STATS; i++) {
        const struct stat_row *row = &stat_rows[i];
        if (!*row->metric)
            continue;
        print_row_head(out, stat_rows, i);
        const char *open = *row->labels ? "{" : "", *close = *row->labels ? "}" : "";
        if (report->values[i] == STAT_UNKNOWN)
            continue;
        fprintf(out, "%s%s%s%s", row->metric, open, row->labels, close);
        print_value(out, row, report->values[i]);
    }
}

static void print_worker_rows(FILE *out, const struct collected *collected)
{
    for (size_t i = 0; i < N_WORKER_STATS; i++) {
        const struct stat_row *row = &worker_stat_rows[i];
        if (!*row->metric)
            continue;
        print_row_head(out, worker_stat_rows, i);
        for (size_t w = 0; w < collected->n_workers; w++) {
            const struct worker_report *worker = &collected->workers[w];
            if (!collected->is_shown[w] || worker->values[i] == STAT_UNKNOWN)
                continue;
            fprintf(out, "%s{worker=\"%" PRIu32 "\"%s%s}", row->metric, worker->number,
                    *row->labels ? "," : "", row->labels);
            print_value(out, row, worker->values[i]);
        }
    }
}

static void print_methods(FILE *out, const struct stats_report *report)
{
#define X(name, help, worker_help)                                                                \
    metrics_print_head(out, "actd_method_" #name "_total", "counter", help);                      \
    for (size_t i = 0; i < N_METHODS; i++)                                                        \
        fprintf(out, "actd_method_" #name "_total{method=\"%s\"} %" PRIu64 "\n", method_names[i], \
                report->method[i].name);
    METHOD_STATS(X)
#undef X
}

static void print_worker_method(FILE *out, const char *metric, uint32_t number, size_t method,
                                uint64_t value)
{
    fprintf(out, "%s{worker=\"%" PRIu32 "\",method=\"%s\"} %" PRIu64 "\n", metric, number,
            method_names[method], value);
}

static void print_worker_methods(FILE *out, const struct collected *collected)
{
#define X(name, help, worker_help)                                                                \
    metrics_print_head(out, "actd_worker_" #name "_total", "counter", worker_help);               \
    for (size_t w = 0; w < collected->n_workers; w++)                                             \
        for (size_t i = 0; i < N_METHODS && collected->is_shown[w]; i++)                          \
            print_worker_method(out, "actd_worker_" #name "_total", collected->workers[w].number, \
                                i, collected->workers[w].method[i].name);
    METHOD_STATS(X)
#undef X
}

void metrics_print_seconds(FILE *out, uint64_t ns)
{
    fprintf(out, "%" PRIu64 ".%09" PRIu64, ns / 1000000000, ns % 1000000000);
}

/* Buckets that are told: 1 us to 17 s, each four times the one before. */
#define FIRST_BUCKET 2
#define LAST_BUCKET  26
#define BUCKET_STEP  2

#define DURATION "actd_request_duration_seconds"

static void print_duration(FILE *out, const char *method, const char *pages,
                           const struct latency *latency)
{
    uint64_t n = 0, told = 0;
    unsigned next = FIRST_BUCKET;
    for (unsigned i = 0; i < LATENCY_BUCKETS; i++)
        n += latency->counts[i];
    for (unsigned i = 0; n > 0 && i <= LAST_BUCKET; i++) {
        told += latency->counts[i];
        if (i != next)
            continue;
        next += BUCKET_STEP;
        fprintf(out, DURATION "_bucket{method=\"%s\",pages=\"%s\",le=\"", method, pages);
        metrics_print_seconds(out, LATENCY_LEAST_NS << i);
        fprintf(out, "\"} %" PRIu64 "\n", told);
    }
    if (n == 0)
        return;
    fprintf(out, DURATION "_bucket{method=\"%s\",pages=\"%s\",le=\"+Inf\"} %" PRIu64 "\n", method,
            pages, n);
    fprintf(out, DURATION "_sum{method=\"%s\",pages=\"%s\"} ", method, pages);
    metrics_print_seconds(out, latency->sum_ns);
    fprintf(out, "\n" DURATION "_count{method=\"%s\",pages=\"%s\"} %" PRIu64 "\n", method, pages,
            n);
}

static void print_durations(FILE *out, const struct stats_report *report)
{
    metrics_print_head(
        out, DURATION, "histogram",
        "How long requests took on the server, cold ones that had to wait for pages and "
        "warm ones. Of those in one slice one in 16 is measured and stands for all.");
    for (size_t i = 0; i < N_METHODS; i++) {
        print_duration(out, method_names[i], "warm", &report->latency[i].warm);
        print_duration(out, method_names[i], "cold", &report->latency[i].cold);
    }
}

/* Of one that has come to its end; a file that has taken the place of a bad one is not bad. */
static void print_verify(FILE *out, const struct board_head *head)
{
    enum verify_state state = head->verify.state;
    bool is_served = head->verify.generation == head->generation.number;
    metrics_print_head(out, "actd_verify_faults", "gauge",
                       "1 if the last verification of the served file has found a fault, else 0.");
    if (is_served && (state == VERIFY_GOOD || state == VERIFY_FAULTS))
        fprintf(out, "actd_verify_faults %d\n", state == VERIFY_FAULTS);
}

int metrics_render(const struct board *board, char **ret)
{
    struct collected collected;
    char *text = NULL, line[BOARD_TEXT_BYTES];
    size_t size;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return -ENOMEM;
    int r = collect(board, &collected);
    if (r == 0) {
        print_rows(out, &collected.report);
        print_methods(out, &collected.report);
        print_worker_rows(out, &collected);
        print_worker_methods(out, &collected);
        release(&collected);
        print_durations(out, &collected.report);
        metrics_print_process(out);
        print_verify(out, board->head);
        metrics_print_head(out, "actd_build_info", "gauge", "1; the version is its label.");
        fputs("actd_build_info{version=\"" ACTD_VERSION "\"} 1\n", out);
        metrics_print_head(out, "actd_ready", "gauge", "1 if the service is ready for queries.");
        fprintf(out, "actd_ready %d\n", board_unready_reason(board, line, sizeof line) ? 0 : 1);
        r = ferror(out) ? -ENOMEM : 0;
    }
    if (fclose(out) != 0)
        r = -ENOMEM;
    if (r != 0) {
        free(text);
        return r;
    }
    *ret = text;
    return 0;
}
