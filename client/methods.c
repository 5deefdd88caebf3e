/*
 * methods: parameters and results of the methods, one function each.
 *
 * Parameters are packed into the client's scratch buffer and handed to actc_send. A result of
 * another type than the method promises is ACTC_BAD_REPLY: whatever answers, it is not our actd.
 */
#include "client/client.h"
#include "client/error.h"
#include "client/reply.h"
#include "proto/request.h"

#include <errno.h>

/* Keys in one list of actc_mget, and lists on their way at a time: enough to hide the round trip,
 * far below the server's limit of 10,000 keys. */
#define MGET_LIST_KEYS ((size_t)512)
#define MGET_LISTS     8

static int bad_reply(struct actc *client, const char *method, struct actc_error *ret_error)
{
    return error_set(ret_error, ACTC_BAD_REPLY, client->server.text,
                     "%s: the result is not of the type that actd gives: is this server actd, "
                     "and not newer than this client?",
                     method);
}

static int on_bytes(void *context, const char *p, size_t len)
{
    return buf_append(context, p, len);
}

static int send_scratch(struct actc *client, const char *method, int failure, uint32_t *ret_call,
                        struct actc_error *ret_error)
{
    struct slice params = buf_content(&client->scratch);
    int r = failure != 0 ? error_set(ret_error, -ENOMEM, client->server.text, "out of memory")
                         : actc_send(client, method, params.p, params.len, ret_call, ret_error);
    buf_release(&client->scratch);
    return r;
}

static bool are_packable(const struct actc_bytes *keys, size_t n_keys)
{
    for (size_t i = 0; i < n_keys; i++)
        if (keys[i].len > UINT32_MAX)
            return false;
    return n_keys <= UINT32_MAX;
}

static int pack_keys(msgpack_packer *packer, const struct actc_bytes *keys, size_t n_keys)
{
    int r = msgpack_pack_array(packer, n_keys);
    for (size_t i = 0; i < n_keys && r == 0; i++)
        r = msgpack_pack_bin_with_body(packer, keys[i].p, keys[i].len);
    return r;
}

/* {"errors": true} */
static int pack_options(msgpack_packer *packer)
{
    int r = msgpack_pack_map(packer, 1);
    if (r == 0)
        r = msgpack_pack_str_with_body(packer, "errors", strlen("errors"));
    return r != 0 ? r : msgpack_pack_true(packer);
}

static int call_key(struct actc *client, const char *method, struct slice key,
                    struct actc_reply **ret_reply, struct actc_error *ret_error)
{
    uint32_t call;
    int r = actc_send_key(client, method, key.p, key.len, &call, ret_error);
    return r != 0 ? r : actc_wait(client, call, ret_reply, ret_error);
}

/* A result that is an integer or nil: 0, ACTC_MISS or ACTC_BAD_REPLY. */
static int read_value(const msgpack_object *result, uint64_t *ret_value)
{
    if (result->type == MSGPACK_OBJECT_NIL)
        return ACTC_MISS;
    if (result->type != MSGPACK_OBJECT_POSITIVE_INTEGER)
        return ACTC_BAD_REPLY;
    *ret_value = result->via.u64;
    return 0;
}

/* A map {exists, value, children}: 0, ACTC_MISS or ACTC_BAD_REPLY. */
static int read_node(const msgpack_object *result, struct actc_node *ret_node)
{
    struct actc_node node = {0};
    struct slice children;
    if (result->type != MSGPACK_OBJECT_MAP)
        return ACTC_BAD_REPLY;
    const msgpack_object *exists = param_option(result, "exists");
    const msgpack_object *value = param_option(result, "value");
    const msgpack_object *bytes = param_option(result, "children");
    if (!exists || exists->type != MSGPACK_OBJECT_BOOLEAN)
        return ACTC_BAD_REPLY;
    if (!exists->via.boolean)
        return ACTC_MISS;
    if (!value || !bytes || !param_bytes(bytes, &children))
        return ACTC_BAD_REPLY;
    int r = read_value(value, &node.value);
    if (r == ACTC_BAD_REPLY)
        return r;
    node.has_value = r == 0;
    for (size_t i = 0; i < children.len; i++)
        node.children[children.p[i] / 64] |= (uint64_t)1 << children.p[i] % 64;
    *ret_node = node;
    return 0;
}

/* [index, error] of one of n keys. */
static int read_key_error(const msgpack_object *pair, size_t n, struct actc_value *values)
{
    struct slice text;
    if (pair->type != MSGPACK_OBJECT_ARRAY || pair->via.array.size != 2)
        return ACTC_BAD_REPLY;
    const msgpack_object *index = &pair->via.array.ptr[0];
    if (index->type != MSGPACK_OBJECT_POSITIVE_INTEGER || index->via.u64 >= n)
        return ACTC_BAD_REPLY;
    struct actc_value *value = &values[index->via.u64];
    value->outcome = ACTC_ERROR;
    value->error_number = actc_error_number(&pair->via.array.ptr[1], &text);
    return 0;
}

/* A map {values, errors} of n keys: 0 or ACTC_BAD_REPLY. */
static int read_values(const msgpack_object *result, size_t n, struct actc_value *values)
{
    if (result->type != MSGPACK_OBJECT_MAP)
        return ACTC_BAD_REPLY;
    const msgpack_object *list = param_option(result, "values");
    const msgpack_object *errors = param_option(result, "errors");
    if (!list || list->type != MSGPACK_OBJECT_ARRAY || list->via.array.size != n)
        return ACTC_BAD_REPLY;
    if (!errors || errors->type != MSGPACK_OBJECT_ARRAY)
        return ACTC_BAD_REPLY;
    int r = 0;
    for (size_t i = 0; i < n && r != ACTC_BAD_REPLY; i++) {
        values[i] = (struct actc_value){0};
        r = read_value(&list->via.array.ptr[i], &values[i].value);
        values[i].outcome = r;
    }
    for (uint32_t i = 0; i < errors->via.array.size && r != ACTC_BAD_REPLY; i++)
        r = read_key_error(&errors->via.array.ptr[i], n, values);
    return r == ACTC_BAD_REPLY ? r : 0;
}

static size_t list_len(size_t n_keys, size_t list)
{
    size_t left = n_keys - list * MGET_LIST_KEYS;
    return left < MGET_LIST_KEYS ? left : MGET_LIST_KEYS;
}

int actc_send_key(struct actc *client, const char *method, const void *key, size_t key_len,
                  uint32_t *ret_call, struct actc_error *ret_error)
{
    msgpack_packer packer;
    if (key_len > UINT32_MAX)
        return error_set(ret_error, -EMSGSIZE, client->server.text, "the key is too long");
    msgpack_packer_init(&packer, &client->scratch, on_bytes);
    int r = msgpack_pack_array(&packer, 1);
    if (r == 0)
        r = msgpack_pack_bin_with_body(&packer, key, key_len);
    return send_scratch(client, method, r, ret_call, ret_error);
}

int actc_send_keys(struct actc *client, const char *method, const struct actc_bytes *keys,
                   size_t n_keys, uint32_t *ret_call, struct actc_error *ret_error)
{
    msgpack_packer packer;
    if (!are_packable(keys, n_keys))
        return error_set(ret_error, -EMSGSIZE, client->server.text, "a key is too long");
    msgpack_packer_init(&packer, &client->scratch, on_bytes);
    int r = msgpack_pack_array(&packer, 1);
    if (r == 0)
        r = pack_keys(&packer, keys, n_keys);
    return send_scratch(client, method, r, ret_call, ret_error);
}

int actc_ping(struct actc *client, struct actc_error *ret_error)
{
    struct actc_reply *reply;
    struct slice text;
    int r = actc_call(client, "ping", NULL, 0, &reply, ret_error);
    if (r != 0)
        return r;
    bool is_pong =
        param_bytes(actc_reply_result(reply), &text) && slice_equal(text, slice_of_str("pong"));
    actc_reply_free(reply);
    return is_pong ? 0 : bad_reply(client, "ping", ret_error);
}

int actc_get(struct actc *client, const void *key, size_t key_len, uint64_t *ret_value,
             struct actc_error *ret_error)
{
    struct actc_reply *reply;
    uint64_t value;
    int r = call_key(client, "get", slice_of(key, key_len), &reply, ret_error);
    if (r != 0)
        return r;
    r = read_value(actc_reply_result(reply), &value);
    actc_reply_free(reply);
    if (r == 0 && ret_value)
        *ret_value = value;
    return r == ACTC_BAD_REPLY ? bad_reply(client, "get", ret_error) : r;
}

int actc_exists(struct actc *client, const void *key, size_t key_len, struct actc_error *ret_error)
{
    struct actc_reply *reply;
    int r = call_key(client, "exists", slice_of(key, key_len), &reply, ret_error);
    if (r != 0)
        return r;
    const msgpack_object *result = actc_reply_result(reply);
    r = result->type == MSGPACK_OBJECT_BOOLEAN ? (result->via.boolean ? 0 : ACTC_MISS)
                                               : ACTC_BAD_REPLY;
    actc_reply_free(reply);
    return r == ACTC_BAD_REPLY ? bad_reply(client, "exists", ret_error) : r;
}

int actc_node(struct actc *client, const void *key, size_t key_len, struct actc_node *ret_node,
              struct actc_error *ret_error)
{
    struct actc_reply *reply;
    int r = call_key(client, "node", slice_of(key, key_len), &reply, ret_error);
    if (r != 0)
        return r;
    r = read_node(actc_reply_result(reply), ret_node);
    actc_reply_free(reply);
    return r == ACTC_BAD_REPLY ? bad_reply(client, "node", ret_error) : r;
}

int actc_mget(struct actc *client, const struct actc_bytes *keys, size_t n_keys,
              struct actc_value *ret_values, struct actc_error *ret_error)
{
    uint32_t calls[MGET_LISTS];
    size_t n_lists = n_keys / MGET_LIST_KEYS + (n_keys % MGET_LIST_KEYS != 0);
    size_t n_sent = 0, n_taken = 0;
    int r = 0, sending = 0;
    while (r == 0 && n_taken < n_lists) {
        if (n_sent < n_lists && n_sent - n_taken < MGET_LISTS) {
            sending =
                actc_send_keys(client, "mget", keys + n_sent * MGET_LIST_KEYS,
                               list_len(n_keys, n_sent), &calls[n_sent % MGET_LISTS], ret_error);
            n_sent += sending == 0;
            n_lists = sending == 0 ? n_lists : n_sent; /* the lists before may tell why */
        } else {
            r = actc_wait_mget(client, calls[n_taken % MGET_LISTS], list_len(n_keys, n_taken),
                               ret_values + n_taken * MGET_LIST_KEYS, ret_error);
            n_taken++;
        }
    }
    for (; n_taken < n_sent; n_taken++)
        actc_forget(client, calls[n_taken % MGET_LISTS]);
    return r != 0 ? r : sending;
}

int actc_send_mget(struct actc *client, const struct actc_bytes *keys, size_t n_keys,
                   uint32_t *ret_call, struct actc_error *ret_error)
{
    msgpack_packer packer;
    if (!are_packable(keys, n_keys))
        return error_set(ret_error, -EMSGSIZE, client->server.text, "a key is too long");
    msgpack_packer_init(&packer, &client->scratch, on_bytes);
    int r = msgpack_pack_array(&packer, 2);
    if (r == 0)
        r = pack_keys(&packer, keys, n_keys);
    if (r == 0)
        r = pack_options(&packer);
    return send_scratch(client, "mget", r, ret_call, ret_error);
}

int actc_wait_mget(struct actc *client, uint32_t call, size_t n_keys, struct actc_value *ret_values,
                   struct actc_error *ret_error)
{
    struct actc_reply *reply;
    int r = actc_wait(client, call, &reply, ret_error);
    if (r != 0)
        return r;
    r = read_values(actc_reply_result(reply), n_keys, ret_values);
    actc_reply_free(reply);
    return r == 0 ? 0 : bad_reply(client, "mget", ret_error);
}
