/*
 * render_slow: see render.h: the answer to GET /slow.
 */
#include "daemon/admin/render.h"
#include "daemon/admin/render_text.h"

#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>

/* Of those that all workers have: the newest that are told. */
#define SLOW_TOLD 256

struct slow_row {
    struct slow_request request;
    uint32_t worker;
    int32_t pid;
};

static int compare_newest_first(const void *a, const void *b)
{
    uint64_t x = ((const struct slow_row *)a)->request.at_ms;
    uint64_t y = ((const struct slow_row *)b)->request.at_ms;
    return (x < y) - (x > y);
}

/* ret_rows: owned by the caller. 0 or -ENOMEM. */
static int collect_slow(const struct board *board, struct slow_row **ret_rows, size_t *ret_n)
{
    unsigned n_slots = board->head->n_slots;
    struct slow_row *rows = calloc((size_t)n_slots * SLOW_ENTRIES, sizeof *rows);
    size_t n = 0;
    if (!rows)
        return -ENOMEM;
    for (unsigned slot = 0; slot < n_slots; slot++) {
        int32_t pid = board->slots[slot].pid;
        for (unsigned i = 0; i < SLOW_ENTRIES && pid != 0; i++) {
            struct slow_row *row = &rows[n];
            row->worker = board->slots[slot].number;
            row->pid = pid;
            n += slow_get(&board_page(board, slot)->slow, i, &row->request);
        }
    }
    qsort(rows, n, sizeof *rows, compare_newest_first);
    *ret_rows = rows;
    *ret_n = n < SLOW_TOLD ? n : SLOW_TOLD;
    return 0;
}

static json_object *json_hex(const uint8_t *bytes, size_t len)
{
    char hex[2 * SLOW_KEY_BYTES + 1] = "";
    for (size_t i = 0; i < len && i < SLOW_KEY_BYTES; i++)
        snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
    return json_object_new_string(hex);
}

/* Text where it is some; of one that was cut, without the part of a character at its end. */
static json_object *json_key(const struct slow_request *slow)
{
    if (!slow->has_key)
        return NULL;
    bool is_cut = slow->key_bytes > SLOW_KEY_BYTES;
    size_t len = is_cut ? SLOW_KEY_BYTES : slow->key_bytes;
    size_t text_len = render_text_prefix(slow->key, len);
    bool is_text = text_len == len || (is_cut && len - text_len < 4);
    json_object *object = json_object_new_object();
    json_object_object_add(object, is_text ? "text" : "hex",
                           is_text
                               ? json_object_new_string_len((const char *)slow->key, (int)text_len)
                               : json_hex(slow->key, len));
    json_object_object_add(object, "bytes", json_object_new_uint64(slow->key_bytes));
    return object;
}

static json_object *json_slow(const struct slow_row *row)
{
    const struct slow_request *slow = &row->request;
    const char *method = slow->method < N_METHODS ? method_names[slow->method] : NULL;
    json_object *object = json_object_new_object();
    json_object_object_add(object, "at_ms", json_object_new_uint64(slow->at_ms));
    json_object_object_add(object, "worker", json_object_new_uint64(row->worker));
    json_object_object_add(object, "pid", json_object_new_int(row->pid));
    json_object_object_add(object, "method", method ? json_object_new_string(method) : NULL);
    json_object_object_add(object, "key", json_key(slow));
    json_object_object_add(object, "duration_ms", render_thousandths(slow->duration_ns / 1000));
    json_object_object_add(object, "pages_missed", json_object_new_uint64(slow->pages_missed));
    json_object_object_add(object, "loop_faults", json_object_new_uint64(slow->loop_faults));
    json_object_object_add(object, "slices", json_object_new_uint64(slow->slices));
    json_object_object_add(object, "error",
                           slow->error > 0 ? json_object_new_uint64(slow->error) : NULL);
    json_object_object_add(object, "generation", json_object_new_uint64(slow->generation));
    return object;
}

int render_slow(const struct board *board, char **ret)
{
    struct slow_row *rows;
    size_t n;
    if (collect_slow(board, &rows, &n) < 0)
        return -ENOMEM;
    json_object *root = json_object_new_object(), *list = json_object_new_array();
    for (size_t i = 0; i < n; i++)
        json_object_array_add(list, json_slow(&rows[i]));
    free(rows);
    json_object_object_add(root, "slow_ms", json_object_new_uint64(board->config->admin_slow_ms));
    json_object_object_add(root, "requests", list);
    return render_print(root, JSON_C_TO_STRING_PLAIN, ret);
}
