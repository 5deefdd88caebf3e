/*
 * render: see render.h. What is unknown is null in JSON and absent in Prometheus, never 0.
 */
#include "daemon/admin/render.h"

#include "build_config.h"

#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdlib.h>

static json_object *json_number(uint64_t value)
{
    return value == STAT_UNKNOWN ? NULL : json_object_new_uint64(value);
}

static json_object *group_of(json_object *root, const char *name)
{
    json_object *group = NULL;
    if (json_object_object_get_ex(root, name, &group))
        return group;
    group = json_object_new_object();
    json_object_object_add(root, name, group);
    return group;
}

/* The members of an object, one for each group. */
static void json_add_groups(json_object *object, const struct stat_row *rows, size_t n_rows,
                            const uint64_t *values)
{
    for (size_t i = 0; i < n_rows; i++)
        json_object_object_add(group_of(object, rows[i].group), rows[i].name,
                               json_number(values[i]));
}

static json_object *json_method(const struct method_report *stats)
{
    json_object *object = json_object_new_object();
#define X(name, a, b) json_object_object_add(object, #name, json_number(stats->name));
    METHOD_STATS(X)
    METHOD_TIMES(X)
#undef X
    return object;
}

static void json_add_methods(json_object *object, const struct method_report methods[N_METHODS])
{
    for (size_t i = 0; i < N_METHODS; i++)
        json_object_object_add(group_of(object, "methods"), method_names[i],
                               json_method(&methods[i]));
}

static json_object *json_worker(const struct worker_report *worker)
{
    json_object *object = json_object_new_object();
    json_object_object_add(object, "worker", json_object_new_uint64(worker->number));
    json_object_object_add(object, "pid", json_object_new_int(worker->pid));
    json_add_groups(object, worker_stat_rows, N_WORKER_STATS, worker->values);
    json_add_methods(object, worker->method);
    return object;
}

/* null for "". */
static json_object *json_text(const char *text)
{
    return text && *text ? json_object_new_string(text) : NULL;
}

static json_object *json_board_text(const struct board_text *text)
{
    char line[BOARD_TEXT_BYTES];
    board_text_get(text, line, sizeof line);
    return json_text(line);
}

int render_json(const struct board *board, char **ret)
{
    struct stats_report report;
    struct worker_report worker;
    char line[BOARD_TEXT_BYTES];
    json_object *root = json_object_new_object(), *workers = json_object_new_array();
    json_object_object_add(root, "server", json_object_new_string("actd"));
    json_object_object_add(root, "version", json_object_new_string(ACTD_VERSION));
    json_object_object_add(root, "unready",
                           json_text(board_unready_reason(board, line, sizeof line)));
    json_object_object_add(root, "damage", json_board_text(&board->head->damage));
    json_object_object_add(root, "refusal", json_board_text(&board->head->refusal));
    stats_begin(board, &report);
    for (unsigned slot = 0; slot < board->head->n_slots; slot++)
        if (stats_add_worker(board, slot, &report, &worker))
            json_object_array_add(workers, json_worker(&worker));
    stats_end(board, &report);
    json_add_groups(root, stat_rows, N_STATS, report.values);
    json_object_object_add(group_of(root, "warmup"), "state",
                           json_object_new_string(report.warmup_state));
    json_object_object_add(group_of(root, "warmup"), "mode",
                           json_object_new_string(report.warmup_mode));
    json_add_methods(root, report.method);
    json_object_object_add(root, "workers", workers);
    *ret = strdup(json_object_to_json_string_ext(root, JSON_C_TO_STRING_PRETTY));
    json_object_put(root);
    return *ret ? 0 : -ENOMEM;
}

static json_object *json_generation(const struct generation *generation)
{
    json_object *object = json_object_new_object();
    json_object_object_add(object, "number", json_object_new_uint64(generation->number));
    json_object_object_add(object, "identity", json_object_new_uint64(generation->identity));
    return object;
}

int render_reload(const struct board *board, bool is_accepted, const char *text, char **ret)
{
    char damage[BOARD_TEXT_BYTES];
    const struct board_head *head = board->head;
    json_object *root = json_object_new_object();
    json_object *generation = json_generation(&head->generation);
    if (is_accepted) {
        json_object_object_add(root, "generation", generation);
        json_object_object_add(root, "path", json_object_new_string(board->config->tree_path));
        json_object_object_add(root, "size_bytes",
                               json_object_new_uint64(head->generation.size_bytes));
    } else {
        json_object_object_add(root, "error", json_object_new_string(text));
        board_text_get(&head->damage, damage, sizeof damage);
        if (head->is_damaged)
            json_object_object_add(generation, "damage", json_object_new_string(damage));
        json_object_object_add(root, "serving", generation);
    }
    *ret = strdup(json_object_to_json_string_ext(root, JSON_C_TO_STRING_PLAIN |
                                                           JSON_C_TO_STRING_NOSLASHESCAPE));
    json_object_put(root);
    return *ret ? 0 : -ENOMEM;
}

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

static void print_head(FILE *out, const char *metric, const char *type, const char *help)
{
    fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", metric, help, metric, type);
}

/* Rows of one metric share a head. */
static void print_row_head(FILE *out, const struct stat_row *rows, size_t i)
{
    if (i == 0 || strcmp(rows[i - 1].metric, rows[i].metric) != 0)
        print_head(out, rows[i].metric, rows[i].type == STAT_COUNTER ? "counter" : "gauge",
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
        if (report->values[i] != STAT_UNKNOWN)
            fprintf(out, "%s%s%s%s %" PRIu64 "\n", row->metric, open, row->labels, close,
                    report->values[i]);
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
            if (collected->is_shown[w] && worker->values[i] != STAT_UNKNOWN)
                fprintf(out, "%s{worker=\"%" PRIu32 "\"%s%s} %" PRIu64 "\n", row->metric,
                        worker->number, *row->labels ? "," : "", row->labels, worker->values[i]);
        }
    }
}

static void print_methods(FILE *out, const struct stats_report *report)
{
#define X(name, help, worker_help)                                                                \
    print_head(out, "actd_method_" #name "_total", "counter", help);                              \
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
    print_head(out, "actd_worker_" #name "_total", "counter", worker_help);                       \
    for (size_t w = 0; w < collected->n_workers; w++)                                             \
        for (size_t i = 0; i < N_METHODS && collected->is_shown[w]; i++)                          \
            print_worker_method(out, "actd_worker_" #name "_total", collected->workers[w].number, \
                                i, collected->workers[w].method[i].name);
    METHOD_STATS(X)
#undef X
}

int render_prometheus(const struct board *board, char **ret)
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
        print_head(out, "actd_ready", "gauge", "1 if the service is ready for queries.");
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
