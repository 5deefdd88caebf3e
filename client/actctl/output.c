/*
 * output: see output.h. Results are at most as deep as the client lets through (8 levels), so
 * walking them may recurse. json-c ends the program where its memory ends: so does this file.
 */
#include "client/actctl/output.h"

#include "client/actctl/text.h"
#include "proto/request.h"

#include <inttypes.h>
#include <stdlib.h>

/* Values begin in one column, unless a name is longer than this. */
#define MAX_NAME_COLUMNS 48

/* One line of output_map. */
struct row {
    char *name;                  /* owned, printable ASCII */
    const msgpack_object *value; /* borrowed */
};

struct rows {
    struct row *p; /* owned */
    size_t n, n_allocated;
};

static void *need(void *p)
{
    if (!p) {
        fputs("actctl: out of memory\n", stderr);
        exit(STATUS_FAILED);
    }
    return p;
}

static bool is_container(const msgpack_object *value)
{
    return value->type == MSGPACK_OBJECT_MAP || value->type == MSGPACK_OBJECT_ARRAY;
}

/* A list with lists or maps in it is spread over lines; others stand on one. */
static bool is_spread(const msgpack_object *value)
{
    if (value->type == MSGPACK_OBJECT_MAP)
        return value->via.map.size > 0;
    if (value->type != MSGPACK_OBJECT_ARRAY)
        return false;
    for (uint32_t i = 0; i < value->via.array.size; i++)
        if (is_container(&value->via.array.ptr[i]))
            return true;
    return false;
}

static char *join_name(const char *section, struct slice name)
{
    char *text = NULL;
    size_t size = 0;
    FILE *file = need(open_memstream(&text, &size));
    fprintf(file, "%s%s", section, *section ? "." : "");
    text_write(file, name, 0);
    fclose(file);
    return need(text);
}

static void add_row(struct rows *rows, char *name, const msgpack_object *value)
{
    if (rows->n == rows->n_allocated) {
        rows->n_allocated = rows->n_allocated ? 2 * rows->n_allocated : 64;
        rows->p = need(reallocarray(rows->p, rows->n_allocated, sizeof *rows->p));
    }
    rows->p[rows->n++] = (struct row){name, value};
}

static void flatten(struct rows *rows, const char *section, const msgpack_object *value);

/* name: taken. */
static void flatten_member(struct rows *rows, char *name, const msgpack_object *value)
{
    if (!is_spread(value)) {
        add_row(rows, name, value);
        return;
    }
    flatten(rows, name, value);
    free(name);
}

static void flatten(struct rows *rows, const char *section, const msgpack_object *value)
{
    if (value->type == MSGPACK_OBJECT_MAP) {
        for (uint32_t i = 0; i < value->via.map.size; i++) {
            const msgpack_object_kv *pair = &value->via.map.ptr[i];
            struct slice name = slice_of_str("?");
            param_bytes(&pair->key, &name);
            flatten_member(rows, join_name(section, name), &pair->val);
        }
        return;
    }
    for (uint32_t i = 0; i < value->via.array.size; i++) {
        char index[16];
        snprintf(index, sizeof index, "%" PRIu32, i);
        flatten_member(rows, join_name(section, slice_of_str(index)), &value->via.array.ptr[i]);
    }
}

static void write_row(const struct actctl *ctl, const struct row *row, int width)
{
    const msgpack_object *value = row->value;
    bool is_list = value->type == MSGPACK_OBJECT_ARRAY && value->via.array.size > 0;
    printf("%-*s ", width, row->name);
    if (is_list) {
        for (uint32_t i = 0; i < value->via.array.size; i++) {
            putchar(' ');
            output_result(ctl, stdout, &value->via.array.ptr[i]);
        }
    } else if (is_container(value)) {
        fputs(" -", stdout);
    } else {
        putchar(' ');
        output_result(ctl, stdout, value);
    }
    putchar('\n');
}

static const char *json_text(struct json_object *json)
{
    const int flags = JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE;
    const char *text = json_object_to_json_string_ext(json, flags);
    if (!text)
        need(NULL);
    return text;
}

static struct json_object *json_bytes(struct slice bytes, bool is_hex)
{
    if (!is_hex && text_is_utf8(bytes) && bytes.len <= INT32_MAX)
        return need(json_object_new_string_len((const char *)bytes.p, (int)bytes.len));
    char *hex = NULL;
    size_t size = 0;
    FILE *file = need(open_memstream(&hex, &size));
    text_write_hex(file, bytes);
    fclose(file);
    struct json_object *json = need(json_object_new_object());
    json_object_object_add(json, "hex", need(json_object_new_string(need(hex))));
    free(hex);
    return json;
}

static struct json_object *json_map(const msgpack_object_map *map)
{
    struct json_object *json = need(json_object_new_object());
    for (uint32_t i = 0; i < map->size; i++) {
        struct slice key = slice_of_str("?");
        param_bytes(&map->ptr[i].key, &key);
        char *name = join_name("", key);
        json_object_object_add(json, name, output_json_result(&map->ptr[i].val));
        free(name);
    }
    return json;
}

void output_key(const struct actctl *ctl, FILE *file, struct slice key)
{
    if (ctl->is_hex)
        text_write_hex(file, key);
    else
        text_write(file, key, ctl->text_flags | TEXT_BACKSLASH);
}

void output_byte(const struct actctl *ctl, uint8_t byte)
{
    if (byte == ' ' && !ctl->is_hex)
        fputs("\\x20", stdout);
    else
        output_key(ctl, stdout, slice_of(&byte, 1));
}

void output_value(const struct actctl *ctl, FILE *file, const struct actc_value *value)
{
    if (!value)
        putc('-', file);
    else if (value->is_bytes)
        text_write(file, slice_of(value->bytes.p, value->bytes.len),
                   ctl->text_flags | TEXT_BACKSLASH);
    else
        fprintf(file, "%" PRIu64, value->number);
}

void output_answer(const struct actctl *ctl, struct slice key, const struct actc_value *value,
                   bool is_of_several)
{
    if (ctl->is_json) {
        struct json_object *json = output_json_entry(ctl, key);
        json_object_object_add(json, "value", output_json_value(value));
        output_json(json);
        return;
    }
    if (is_of_several) {
        output_key(ctl, stdout, key);
        putchar('\t');
    }
    output_value(ctl, stdout, value);
    putchar('\n');
}

void output_entry(const struct actctl *ctl, const struct actc_entry *entry)
{
    struct slice key = slice_of(entry->key.p, entry->key.len);
    if (!ctl->records.is_keys_only) {
        output_answer(ctl, key, &entry->value, true);
    } else if (ctl->is_json) {
        output_json(output_json_entry(ctl, key));
    } else {
        output_key(ctl, stdout, key);
        putchar('\n');
    }
}

void output_result(const struct actctl *ctl, FILE *file, const msgpack_object *result)
{
    struct slice bytes;
    struct json_object *json;
    switch (result->type) {
    case MSGPACK_OBJECT_NIL:
        putc('-', file);
        break;
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
        fprintf(file, "%" PRIu64, result->via.u64);
        break;
    case MSGPACK_OBJECT_STR:
    case MSGPACK_OBJECT_BIN:
        param_bytes(result, &bytes);
        text_write(file, bytes, ctl->text_flags | TEXT_BACKSLASH);
        break;
    default:
        json = output_json_result(result);
        fputs(json_text(json), file);
        json_object_put(json);
    }
}

void output_map(const struct actctl *ctl, const msgpack_object *map)
{
    struct rows rows = {0};
    size_t width = 0;
    if (is_spread(map))
        flatten(&rows, "", map);
    for (size_t i = 0; i < rows.n; i++) {
        size_t len = strlen(rows.p[i].name);
        width = len > width && len <= MAX_NAME_COLUMNS ? len : width;
    }
    for (size_t i = 0; i < rows.n; i++) {
        write_row(ctl, &rows.p[i], (int)width);
        free(rows.p[i].name);
    }
    free(rows.p);
}

struct json_object *output_json_key(const struct actctl *ctl, struct slice key)
{
    return json_bytes(key, ctl->is_hex);
}

struct json_object *output_json_bytes(struct slice bytes)
{
    return json_bytes(bytes, false);
}

struct json_object *output_json_text(const char *text)
{
    return need(json_object_new_string(text));
}

struct json_object *output_json_u64(uint64_t value)
{
    return need(json_object_new_uint64(value));
}

struct json_object *output_json_bool(bool value)
{
    return need(json_object_new_boolean(value));
}

struct json_object *output_json_value(const struct actc_value *value)
{
    if (!value)
        return NULL;
    return value->is_bytes ? json_bytes(slice_of(value->bytes.p, value->bytes.len), false)
                           : output_json_u64(value->number);
}

struct json_object *output_json_result(const msgpack_object *result)
{
    struct json_object *json;
    struct slice bytes;
    switch (result->type) {
    case MSGPACK_OBJECT_BOOLEAN:
        return output_json_bool(result->via.boolean);
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
        return output_json_u64(result->via.u64);
    case MSGPACK_OBJECT_NEGATIVE_INTEGER:
        return need(json_object_new_int64(result->via.i64));
    case MSGPACK_OBJECT_FLOAT32:
    case MSGPACK_OBJECT_FLOAT64:
        return need(json_object_new_double(result->via.f64));
    case MSGPACK_OBJECT_STR:
    case MSGPACK_OBJECT_BIN:
        param_bytes(result, &bytes);
        return json_bytes(bytes, false);
    case MSGPACK_OBJECT_MAP:
        return json_map(&result->via.map);
    case MSGPACK_OBJECT_ARRAY:
        json = need(json_object_new_array());
        for (uint32_t i = 0; i < result->via.array.size; i++)
            json_object_array_add(json, output_json_result(&result->via.array.ptr[i]));
        return json;
    default:
        return NULL; /* nil; ext, which actd does not send */
    }
}

struct json_object *output_json_entry(const struct actctl *ctl, struct slice key)
{
    struct json_object *json = need(json_object_new_object());
    json_object_object_add(json, "key", output_json_key(ctl, key));
    return json;
}

void output_json(struct json_object *json)
{
    output_json_part(json);
    putchar('\n');
}

void output_json_part(struct json_object *json)
{
    fputs(json_text(json), stdout);
    json_object_put(json);
}

/* A scalar as text, or a list of them. */
static void write_fact(const struct actctl *ctl, struct json_object *json)
{
    if (!json) {
        putchar('-');
    } else if (json_object_is_type(json, json_type_string)) {
        struct slice text =
            slice_of(json_object_get_string(json), (size_t)json_object_get_string_len(json));
        text_write(stdout, text, ctl->text_flags | TEXT_BACKSLASH);
    } else if (json_object_is_type(json, json_type_array)) {
        for (size_t i = 0; i < json_object_array_length(json); i++) {
            fputs(i > 0 ? " " : "", stdout);
            write_fact(ctl, json_object_array_get_idx(json, i));
        }
    } else {
        fputs(json_text(json), stdout);
    }
}

void output_facts(const struct actctl *ctl, struct json_object *json)
{
    int width = 0;
    if (ctl->is_json) {
        output_json(json);
        return;
    }
    for (int is_printing = 0; is_printing < 2; is_printing++) {
        json_object_object_foreach(json, section, facts)
        {
            json_object_object_foreach(facts, name, fact)
            {
                int len = (int)(strlen(section) + 1 + strlen(name));
                width = len > width ? len : width;
                if (!is_printing)
                    continue;
                printf("%s.%s%*s  ", section, name, width - len, "");
                write_fact(ctl, fact);
                putchar('\n');
            }
        }
    }
    json_object_put(json);
}
