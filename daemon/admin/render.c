/*
 * render: see render.h. What is unknown is null, never 0.
 */
#include "daemon/admin/render.h"

#include "base/clock.h"
#include "daemon/admin/render_text.h"

#include "build_config.h"

#include <errno.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdlib.h>

static json_object *json_number(uint64_t value)
{
    return value == STAT_UNKNOWN ? NULL : json_object_new_uint64(value);
}

json_object *render_thousandths(uint64_t value)
{
    char text[32];
    snprintf(text, sizeof text, "%" PRIu64 ".%03" PRIu64, value / 1000, value % 1000);
    return json_object_new_double_s((double)value / 1000, text);
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
    return text && *text ? render_text(text) : NULL;
}

static json_object *json_board_text(const struct board_text *text)
{
    char line[BOARD_TEXT_BYTES];
    board_text_get(text, line, sizeof line);
    return json_text(line);
}

static const char *verify_state_name(enum verify_state state)
{
    static const char *const names[] = {[VERIFY_NEVER] = "never",
                                        [VERIFY_RUNNING] = "running",
                                        [VERIFY_GOOD] = "good",
                                        [VERIFY_FAULTS] = "faults",
                                        [VERIFY_FAILED] = "failed"};
    return names[state];
}

static json_object *json_verify(const struct board *board)
{
    const struct verify_progress *verify = &board->head->verify;
    json_object *object = json_object_new_object();
    json_object_object_add(object, "state",
                           json_object_new_string(verify_state_name(verify->state)));
    json_object_object_add(object, "generation", json_object_new_uint64(verify->generation));
    json_object_object_add(object, "checked_bytes", json_object_new_uint64(verify->checked_bytes));
    json_object_object_add(object, "total_bytes", json_object_new_uint64(verify->total_bytes));
    uint64_t end_ms = verify->ended_ms > 0 ? verify->ended_ms : clock_ms();
    json_object_object_add(
        object, "seconds",
        verify->state == VERIFY_NEVER ? NULL : render_thousandths(end_ms - verify->began_ms));
    json_object_object_add(object, "text", json_board_text(&verify->text));
    return object;
}

static json_object *json_warm(const struct board *board)
{
    const struct warmup_progress *warmup = &board->head->warmup;
    json_object *object = json_object_new_object();
    json_object_object_add(object, "state", json_object_new_string(warmup_state_name(warmup)));
    json_object_object_add(object, "mode", json_object_new_string(warmup_mode_name(warmup)));
    json_object_object_add(object, "generation", json_number(warmup->generation));
    json_object_object_add(object, "read_bytes", json_number(warmup->read_bytes));
    json_object_object_add(object, "total_bytes", json_number(warmup->total_bytes));
    json_object_object_add(object, "eta_ms", json_number(warmup->eta_ms));
    return object;
}

int render_print(json_object *root, int flags, char **ret)
{
    const char *text = json_object_to_json_string_ext(root, flags | JSON_C_TO_STRING_NOSLASHESCAPE);
    if (!text || asprintf(ret, "%s\n", text) < 0)
        *ret = NULL;
    json_object_put(root);
    return *ret ? 0 : -ENOMEM;
}

int render_warm(const struct board *board, char **ret)
{
    return render_print(json_warm(board), JSON_C_TO_STRING_PLAIN, ret);
}

int render_verify(const struct board *board, char **ret)
{
    return render_print(json_verify(board), JSON_C_TO_STRING_PLAIN, ret);
}

int render_json(const struct board *board, char **ret)
{
    struct stats_report report;
    struct worker_report worker;
    char line[BOARD_TEXT_BYTES];
    json_object *root = json_object_new_object(), *workers = json_object_new_array();
    json_object_object_add(root, "server", json_object_new_string("actd"));
    json_object_object_add(root, "version", json_object_new_string(ACTD_VERSION));
    json_object_object_add(root, "path", json_text(board->config->tree_path));
    json_object_object_add(root, "unready",
                           json_text(board_unready_reason(board, line, sizeof line)));
    json_object_object_add(root, "damage", json_board_text(&board->head->damage));
    json_object_object_add(root, "refusal", json_board_text(&board->head->refusal));
    json_object_object_add(root, "verify", json_verify(board));
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
    return render_print(root, JSON_C_TO_STRING_PRETTY, ret);
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
        json_object_object_add(root, "path", render_text(board->config->tree_path));
        json_object_object_add(root, "size_bytes",
                               json_object_new_uint64(head->generation.size_bytes));
    } else {
        json_object_object_add(root, "error", render_text(text));
        board_text_get(&head->damage, damage, sizeof damage);
        if (head->is_damaged)
            json_object_object_add(generation, "damage", render_text(damage));
        json_object_object_add(root, "serving", generation);
    }
    return render_print(root, JSON_C_TO_STRING_PLAIN, ret);
}
