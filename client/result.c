/*
 * result: see result.h.
 */
#include "client/result.h"

#include "client/error.h"
#include "client/reply.h"
#include "proto/request.h"

static struct actc_bytes bytes_of(const msgpack_object *bin)
{
    return (struct actc_bytes){bin->via.bin.ptr, bin->via.bin.size};
}

/* A member of a map, if it is of that type; else NULL. */
static const msgpack_object *member(const msgpack_object *map, const char *name,
                                    msgpack_object_type type)
{
    const msgpack_object *object = param_option(map, name);
    return object && object->type == type ? object : NULL;
}

/* A number, also in the form that hello gives numbers for clients that would round them: text. */
static bool read_u64(const msgpack_object *object, uint64_t *ret_number)
{
    struct slice text;
    uint64_t number = 0;
    if (object->type == MSGPACK_OBJECT_POSITIVE_INTEGER) {
        *ret_number = object->via.u64;
        return true;
    }
    if (!param_bytes(object, &text) || text.len == 0)
        return false;
    for (size_t i = 0; i < text.len; i++)
        if (text.p[i] < '0' || text.p[i] > '9' || __builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, text.p[i] - '0', &number))
            return false;
    *ret_number = number;
    return true;
}

/* [index, error] of one of n keys. */
static int read_key_error(const msgpack_object *pair, size_t n, struct actc_result *results)
{
    struct slice text;
    if (pair->type != MSGPACK_OBJECT_ARRAY || pair->via.array.size != 2)
        return ACTC_BAD_REPLY;
    const msgpack_object *index = &pair->via.array.ptr[0];
    if (index->type != MSGPACK_OBJECT_POSITIVE_INTEGER || index->via.u64 >= n)
        return ACTC_BAD_REPLY;
    struct actc_result *result = &results[index->via.u64];
    result->outcome = ACTC_ERROR;
    result->error_number = actc_error_number(&pair->via.array.ptr[1], &text);
    return 0;
}

int actc_read_value(const msgpack_object *object, struct actc_value *ret_value)
{
    switch (object->type) {
    case MSGPACK_OBJECT_NIL:
        return ACTC_MISS;
    case MSGPACK_OBJECT_POSITIVE_INTEGER:
        *ret_value = (struct actc_value){.number = object->via.u64};
        return 0;
    case MSGPACK_OBJECT_BIN:
        *ret_value = (struct actc_value){.is_bytes = true, .bytes = bytes_of(object)};
        return 0;
    default:
        return ACTC_BAD_REPLY;
    }
}

int actc_read_entry(const msgpack_object *object, struct actc_entry *ret_entry)
{
    struct actc_entry entry;
    if (object->type == MSGPACK_OBJECT_NIL)
        return ACTC_MISS;
    if (object->type != MSGPACK_OBJECT_ARRAY || object->via.array.size != 2)
        return ACTC_BAD_REPLY;
    const msgpack_object *pair = object->via.array.ptr;
    if (result_key(&pair[0], &entry) != 0 || actc_read_value(&pair[1], &entry.value) != 0)
        return ACTC_BAD_REPLY;
    *ret_entry = entry;
    return 0;
}

int actc_read_generation(const msgpack_object *object, struct actc_generation *ret_generation)
{
    struct actc_generation generation;
    if (object->type != MSGPACK_OBJECT_MAP)
        return ACTC_BAD_REPLY;
    const msgpack_object *number = param_option(object, "number");
    const msgpack_object *identity = param_option(object, "identity");
    if (!number || !read_u64(number, &generation.number) || !identity ||
        !read_u64(identity, &generation.identity))
        return ACTC_BAD_REPLY;
    *ret_generation = generation;
    return 0;
}

int result_bool(const msgpack_object *result)
{
    if (result->type != MSGPACK_OBJECT_BOOLEAN)
        return ACTC_BAD_REPLY;
    return result->via.boolean ? 0 : ACTC_MISS;
}

int result_node(const msgpack_object *result, struct actc_node *ret_node)
{
    struct actc_node node = {0};
    struct slice children;
    if (result->type != MSGPACK_OBJECT_MAP)
        return ACTC_BAD_REPLY;
    const msgpack_object *exists = member(result, "exists", MSGPACK_OBJECT_BOOLEAN);
    const msgpack_object *value = param_option(result, "value");
    const msgpack_object *bytes = param_option(result, "children");
    if (!exists)
        return ACTC_BAD_REPLY;
    if (!exists->via.boolean)
        return ACTC_MISS;
    if (!value || !bytes || !param_bytes(bytes, &children))
        return ACTC_BAD_REPLY;
    int r = actc_read_value(value, &node.value);
    if (r == ACTC_BAD_REPLY)
        return r;
    node.has_value = r == 0;
    for (size_t i = 0; i < children.len; i++)
        node.children[children.p[i] / 64] |= (uint64_t)1 << children.p[i] % 64;
    *ret_node = node;
    return 0;
}

int result_list(const msgpack_object *result, size_t n, struct actc_result *ret_results,
                bool *ret_has_bytes)
{
    bool has_bytes = false;
    if (result->type != MSGPACK_OBJECT_MAP)
        return ACTC_BAD_REPLY;
    const msgpack_object *values = member(result, "values", MSGPACK_OBJECT_ARRAY);
    const msgpack_object *errors = member(result, "errors", MSGPACK_OBJECT_ARRAY);
    if (!values || values->via.array.size != n || !errors)
        return ACTC_BAD_REPLY;
    for (size_t i = 0; i < n; i++) {
        ret_results[i] = (struct actc_result){0};
        int r = actc_read_value(&values->via.array.ptr[i], &ret_results[i].value);
        if (r == ACTC_BAD_REPLY)
            return r;
        ret_results[i].outcome = r;
        has_bytes |= ret_results[i].value.is_bytes;
    }
    for (uint32_t i = 0; i < errors->via.array.size; i++)
        if (read_key_error(&errors->via.array.ptr[i], n, ret_results) != 0)
            return ACTC_BAD_REPLY;
    *ret_has_bytes = has_bytes;
    return 0;
}

int result_only(const msgpack_object *result, const msgpack_object **ret_value,
                const msgpack_object **ret_error)
{
    struct actc_result failed = {0};
    if (result->type != MSGPACK_OBJECT_MAP)
        return ACTC_BAD_REPLY;
    const msgpack_object *values = member(result, "values", MSGPACK_OBJECT_ARRAY);
    const msgpack_object *errors = member(result, "errors", MSGPACK_OBJECT_ARRAY);
    if (!values || values->via.array.size != 1 || !errors || errors->via.array.size > 1)
        return ACTC_BAD_REPLY;
    const msgpack_object *pair = errors->via.array.ptr;
    if (errors->via.array.size == 1 && read_key_error(pair, 1, &failed) != 0)
        return ACTC_BAD_REPLY;
    *ret_value = errors->via.array.size == 1 ? NULL : values->via.array.ptr;
    *ret_error = errors->via.array.size == 1 ? &pair->via.array.ptr[1] : NULL;
    return 0;
}

int result_count(const msgpack_object *result, uint64_t *ret_count, bool *ret_is_exact)
{
    if (result->type != MSGPACK_OBJECT_MAP)
        return ACTC_BAD_REPLY;
    const msgpack_object *count = member(result, "count", MSGPACK_OBJECT_POSITIVE_INTEGER);
    const msgpack_object *exact = member(result, "exact", MSGPACK_OBJECT_BOOLEAN);
    if (!count || !exact)
        return ACTC_BAD_REPLY;
    *ret_count = count->via.u64;
    *ret_is_exact = exact->via.boolean;
    return 0;
}

int result_page(const msgpack_object *result, msgpack_object_array *ret_entries,
                struct slice *ret_cursor)
{
    struct slice cursor = {0};
    if (result->type != MSGPACK_OBJECT_MAP)
        return ACTC_BAD_REPLY;
    const msgpack_object *entries = member(result, "entries", MSGPACK_OBJECT_ARRAY);
    const msgpack_object *next = param_option(result, "cursor");
    if (!entries || !next)
        return ACTC_BAD_REPLY;
    if (next->type != MSGPACK_OBJECT_NIL && !param_bytes(next, &cursor))
        return ACTC_BAD_REPLY;
    /* Nothing and a cursor: whoever follows such pages may never come to an end. */
    if (cursor.p && entries->via.array.size == 0)
        return ACTC_BAD_REPLY;
    *ret_entries = entries->via.array;
    *ret_cursor = cursor;
    return 0;
}

int result_key(const msgpack_object *object, struct actc_entry *ret_entry)
{
    if (object->type != MSGPACK_OBJECT_BIN)
        return ACTC_BAD_REPLY;
    *ret_entry = (struct actc_entry){.key = bytes_of(object)};
    return 0;
}

int result_bad(const struct actc *client, const char *method, struct actc_error *ret_error)
{
    return error_set(ret_error, ACTC_BAD_REPLY, client->server.text,
                     "%s: the result is not of the type that actd gives: is this server actd, "
                     "and not newer than this client?",
                     method);
}
