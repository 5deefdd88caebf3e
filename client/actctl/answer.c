/*
 * answer: see answer.h.
 */
#include "client/actctl/answer.h"

#include "proto/request.h"

#include <stdio.h>

static bool is_value(const msgpack_object *value)
{
    struct slice bytes;
    return value->type == MSGPACK_OBJECT_NIL || value->type == MSGPACK_OBJECT_POSITIVE_INTEGER ||
           param_bytes(value, &bytes);
}

/* [index, [number, text]] of one of n keys. */
static bool read_error(const msgpack_object *pair, size_t n, struct answer *answers)
{
    if (pair->type != MSGPACK_OBJECT_ARRAY || pair->via.array.size != 2)
        return false;
    const msgpack_object *index = &pair->via.array.ptr[0], *error = &pair->via.array.ptr[1];
    if (index->type != MSGPACK_OBJECT_POSITIVE_INTEGER || index->via.u64 >= n)
        return false;
    struct answer *answer = &answers[index->via.u64];
    *answer = (struct answer){0};
    if (error->type == MSGPACK_OBJECT_ARRAY && error->via.array.size > 0 &&
        error->via.array.ptr[0].type == MSGPACK_OBJECT_POSITIVE_INTEGER &&
        error->via.array.ptr[0].via.u64 <= UINT32_MAX)
        answer->error_number = (uint32_t)error->via.array.ptr[0].via.u64;
    return true;
}

int answer_bad(const struct actc *client, const char *method, struct actc_error *ret_error)
{
    *ret_error = (struct actc_error){0};
    snprintf(ret_error->message, sizeof ret_error->message,
             "%s: %s: the result is not of the type that actd gives: is this server actd, and not "
             "newer than this client?",
             actc_address(client), method);
    return ACTC_BAD_REPLY;
}

bool answer_read_list(const msgpack_object *result, size_t n, struct answer *ret_answers)
{
    if (result->type != MSGPACK_OBJECT_MAP)
        return false;
    const msgpack_object *values = param_option(result, "values");
    const msgpack_object *errors = param_option(result, "errors");
    if (!values || values->type != MSGPACK_OBJECT_ARRAY || values->via.array.size != n)
        return false;
    if (!errors || errors->type != MSGPACK_OBJECT_ARRAY)
        return false;
    for (size_t i = 0; i < n; i++) {
        ret_answers[i] = (struct answer){.value = &values->via.array.ptr[i]};
        if (!is_value(ret_answers[i].value))
            return false;
    }
    for (uint32_t i = 0; i < errors->via.array.size; i++)
        if (!read_error(&errors->via.array.ptr[i], n, ret_answers))
            return false;
    return true;
}

bool answer_read_node(const msgpack_object *result, bool *ret_exists, struct actc_node *ret_node,
                      const msgpack_object **ret_value)
{
    struct actc_node node = {0};
    struct slice children;
    if (result->type != MSGPACK_OBJECT_MAP)
        return false;
    const msgpack_object *exists = param_option(result, "exists");
    const msgpack_object *value = param_option(result, "value");
    const msgpack_object *bytes = param_option(result, "children");
    if (!exists || exists->type != MSGPACK_OBJECT_BOOLEAN)
        return false;
    *ret_exists = exists->via.boolean;
    if (!exists->via.boolean)
        return true;
    if (!value || !is_value(value) || !bytes || !param_bytes(bytes, &children))
        return false;
    for (size_t i = 0; i < children.len; i++)
        node.children[children.p[i] / 64] |= (uint64_t)1 << children.p[i] % 64;
    node.has_value = value->type != MSGPACK_OBJECT_NIL;
    *ret_node = node;
    *ret_value = value;
    return true;
}
