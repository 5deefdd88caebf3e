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

static json_object *json_method(const struct method_stats *stats)
{
    json_object *object = json_object_new_object();
#define X(name, help) json_object_object_add(object, #name, json_number(stats->name));
    METHOD_STATS(X)
#undef X
    return object;
}

int render_json(const struct board *board, char **ret)
{
    struct stats_report report;
    stats_collect(board, &report);
    json_object *root = json_object_new_object();
    json_object_object_add(root, "server", json_object_new_string("actd"));
    json_object_object_add(root, "version", json_object_new_string(ACTD_VERSION));
    for (size_t i = 0; i < N_STATS; i++)
        json_object_object_add(group_of(root, stat_rows[i].group), stat_rows[i].name,
                               json_number(report.values[i]));
    json_object_object_add(group_of(root, "warmup"), "state",
                           json_object_new_string(report.warmup_state));
    for (size_t i = 0; i < N_METHODS; i++)
        json_object_object_add(group_of(root, "methods"), method_names[i],
                               json_method(&report.method[i]));
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

static void print_head(FILE *out, const char *metric, const char *type, const char *help)
{
    fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", metric, help, metric, type);
}

static void print_rows(FILE *out, const struct stats_report *report)
{
    const char *last = "";
    for (size_t i = 0; i < N_STATS; i++) {
        const struct stat_row *row = &stat_rows[i];
        if (strcmp(last, row->metric) != 0)
            print_head(out, row->metric, row->type == STAT_COUNTER ? "counter" : "gauge",
                       row->help);
        last = row->metric;
        if (report->values[i] == STAT_UNKNOWN)
            continue;
        const char *open = *row->labels ? "{" : "", *close = *row->labels ? "}" : "";
        fprintf(out, "%s%s%s%s %" PRIu64 "\n", row->metric, open, row->labels, close,
                report->values[i]);
    }
}

static void print_methods(FILE *out, const struct stats_report *report)
{
#define X(name, help)                                                                             \
    print_head(out, "actd_method_" #name "_total", "counter", help);                              \
    for (size_t i = 0; i < N_METHODS; i++)                                                        \
        fprintf(out, "actd_method_" #name "_total{method=\"%s\"} %" PRIu64 "\n", method_names[i], \
                report->method[i].name);
    METHOD_STATS(X)
#undef X
}

int render_prometheus(const struct board *board, char **ret)
{
    struct stats_report report;
    char *text = NULL;
    size_t size;
    stats_collect(board, &report);
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return -ENOMEM;
    print_rows(out, &report);
    print_methods(out, &report);
    print_head(out, "actd_ready", "gauge", "1 if the service is ready for queries.");
    char line[BOARD_TEXT_BYTES];
    fprintf(out, "actd_ready %d\n", board_unready_reason(board, line, sizeof line) ? 0 : 1);
    bool is_bad = ferror(out);
    if (fclose(out) != 0 || is_bad) {
        free(text);
        return -ENOMEM;
    }
    *ret = text;
    return 0;
}
