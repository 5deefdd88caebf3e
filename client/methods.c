/*
 * methods: one function each: parameters out, result in.
 *
 * Views into a result live as long as its reply, which the client holds until the next method call.
 */
#include "client/error.h"
#include "client/params.h"
#include "client/reply.h"
#include "client/result.h"
#include "proto/request.h"

#include <errno.h>

/* Keys in one list of actc_mget, and lists on their way at a time: enough to hide the round trip,
 * far below the server's limit of 10,000 keys. */
#define MGET_LIST_KEYS ((size_t)512)
#define MGET_LISTS     8

static int pack_keys(msgpack_packer *packer, const struct actc_bytes *keys, size_t n_keys)
{
    int r = msgpack_pack_array(packer, n_keys);
    for (size_t i = 0; i < n_keys && r == 0; i++)
        r = params_pack_bytes(packer, keys[i]);
    return r;
}

/* {"errors": true}, and "pin" if calls are pinned. */
static int pack_options(msgpack_packer *packer, const uint64_t *pin)
{
    int r = msgpack_pack_map(packer, pin ? 2 : 1);
    if (r == 0)
        r = params_pack_text(packer, "errors");
    if (r == 0)
        r = msgpack_pack_true(packer);
    return r == 0 && pin ? params_pack_pin(packer, pin) : r;
}

/* A list of keys, and options. */
static int send_list(struct actc *client, const char *method, const struct actc_bytes *keys,
                     size_t n_keys, uint32_t *ret_call, struct actc_error *ret_error)
{
    msgpack_packer packer;
    int r = params_check(client, keys, n_keys, ret_error);
    if (r != 0)
        return r;
    params_begin(client, &packer);
    r = msgpack_pack_array(&packer, 2);
    if (r == 0)
        r = pack_keys(&packer, keys, n_keys);
    if (r == 0)
        r = pack_options(&packer, client->pin);
    return params_send(client, method, r, ret_call, ret_error);
}

/* A key, and the pin. */
static int send_pinned(struct actc *client, const char *method, struct actc_bytes key,
                       uint32_t *ret_call, struct actc_error *ret_error)
{
    msgpack_packer packer;
    int r = params_check(client, &key, 1, ret_error);
    if (r != 0)
        return r;
    params_begin(client, &packer);
    r = msgpack_pack_array(&packer, 2);
    if (r == 0)
        r = params_pack_bytes(&packer, key);
    if (r == 0)
        r = msgpack_pack_map(&packer, 1);
    if (r == 0)
        r = params_pack_pin(&packer, client->pin);
    return params_send(client, method, r, ret_call, ret_error);
}

/* A method that cannot be pinned. An answer from another generation would be a wrong one. */
static int call_key(struct actc *client, const char *method, struct slice key,
                    struct actc_reply **ret_reply, struct actc_error *ret_error)
{
    uint32_t call;
    actc_replies_free(&client->held);
    if (client->pin)
        return error_set(ret_error, -EINVAL, client->server.text,
                         "calls are pinned (actc_set_pin), and %s cannot be", method);
    int r = actc_send_key(client, method, key.p, key.len, &call, ret_error);
    return r != 0 ? r : actc_wait(client, call, ret_reply, ret_error);
}

/* The reply was read, with the outcome r, and is taken. Result: r. */
static int settle(struct actc *client, const char *method, struct actc_reply *reply, int r,
                  struct actc_error *ret_error)
{
    actc_replies_add(&client->held, reply);
    return r == ACTC_BAD_REPLY ? result_bad(client, method, ret_error) : r;
}

/* A method whose result is [key, value] or nil. */
static int call_entry(struct actc *client, const char *method, struct slice key,
                      struct actc_entry *ret_entry, struct actc_error *ret_error)
{
    struct actc_reply *reply;
    int r = call_key(client, method, key, &reply, ret_error);
    if (r != 0)
        return r;
    r = actc_read_entry(actc_reply_result(reply), ret_entry);
    return settle(client, method, reply, r, ret_error);
}

/* Options follow a list of keys only: a list of one. */
static int pinned_longest_prefix(struct actc *client, struct actc_bytes key,
                                 struct actc_entry *ret_entry, struct actc_error *ret_error)
{
    static const char method[] = "longest_prefix";
    const msgpack_object *value = NULL, *error = NULL;
    struct actc_reply *reply;
    uint32_t call;
    actc_replies_free(&client->held);
    int r = send_list(client, method, &key, 1, &call, ret_error);
    if (r == 0)
        r = actc_wait(client, call, &reply, ret_error);
    if (r != 0)
        return r;
    r = result_only(actc_reply_result(reply), &value, &error);
    if (r == 0 && error)
        r = error_set_server(ret_error, client->server.text, error);
    else if (r == 0)
        r = actc_read_entry(value, ret_entry);
    return settle(client, method, reply, r, ret_error);
}

static size_t list_len(size_t n_keys, size_t list)
{
    size_t left = n_keys - list * MGET_LIST_KEYS;
    return left < MGET_LIST_KEYS ? left : MGET_LIST_KEYS;
}

/* actc_wait_mget, beside what is held already. */
static int wait_list(struct actc *client, uint32_t call, size_t n_keys,
                     struct actc_result *ret_results, struct actc_error *ret_error)
{
    struct actc_reply *reply;
    bool has_bytes = false;
    int r = actc_wait(client, call, &reply, ret_error);
    if (r != 0)
        return r;
    r = result_list(actc_reply_result(reply), n_keys, ret_results, &has_bytes);
    if (r == 0 && !has_bytes) /* no views: millions of numbers need no replies */
        actc_reply_free(reply);
    else
        r = settle(client, "mget", reply, r, ret_error);
    return r;
}

int actc_send_key(struct actc *client, const char *method, const void *key, size_t key_len,
                  uint32_t *ret_call, struct actc_error *ret_error)
{
    msgpack_packer packer;
    struct actc_bytes bytes = {key, key_len};
    int r = params_check(client, &bytes, 1, ret_error);
    if (r != 0)
        return r;
    params_begin(client, &packer);
    r = msgpack_pack_array(&packer, 1);
    if (r == 0)
        r = params_pack_bytes(&packer, bytes);
    return params_send(client, method, r, ret_call, ret_error);
}

int actc_send_keys(struct actc *client, const char *method, const struct actc_bytes *keys,
                   size_t n_keys, uint32_t *ret_call, struct actc_error *ret_error)
{
    msgpack_packer packer;
    int r = params_check(client, keys, n_keys, ret_error);
    if (r != 0)
        return r;
    params_begin(client, &packer);
    r = msgpack_pack_array(&packer, 1);
    if (r == 0)
        r = pack_keys(&packer, keys, n_keys);
    return params_send(client, method, r, ret_call, ret_error);
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
    return is_pong ? 0 : result_bad(client, "ping", ret_error);
}

int actc_get(struct actc *client, const void *key, size_t key_len, struct actc_value *ret_value,
             struct actc_error *ret_error)
{
    struct actc_reply *reply;
    struct actc_value value;
    int r = call_key(client, "get", slice_of(key, key_len), &reply, ret_error);
    if (r != 0)
        return r;
    r = actc_read_value(actc_reply_result(reply), ret_value ? ret_value : &value);
    return settle(client, "get", reply, r, ret_error);
}

int actc_exists(struct actc *client, const void *key, size_t key_len, struct actc_error *ret_error)
{
    struct actc_reply *reply;
    int r = call_key(client, "exists", slice_of(key, key_len), &reply, ret_error);
    if (r != 0)
        return r;
    return settle(client, "exists", reply, result_bool(actc_reply_result(reply)), ret_error);
}

int actc_node(struct actc *client, const void *key, size_t key_len, struct actc_node *ret_node,
              struct actc_error *ret_error)
{
    struct actc_reply *reply;
    int r = call_key(client, "node", slice_of(key, key_len), &reply, ret_error);
    if (r != 0)
        return r;
    r = result_node(actc_reply_result(reply), ret_node);
    return settle(client, "node", reply, r, ret_error);
}

int actc_mget(struct actc *client, const struct actc_bytes *keys, size_t n_keys,
              struct actc_result *ret_results, struct actc_error *ret_error)
{
    uint32_t calls[MGET_LISTS];
    size_t n_lists = n_keys / MGET_LIST_KEYS + (n_keys % MGET_LIST_KEYS != 0);
    size_t n_sent = 0, n_taken = 0;
    int r = 0, sending = 0;
    actc_replies_free(&client->held);
    while (r == 0 && n_taken < n_lists) {
        if (n_sent < n_lists && n_sent - n_taken < MGET_LISTS) {
            sending =
                actc_send_mget(client, keys + n_sent * MGET_LIST_KEYS, list_len(n_keys, n_sent),
                               &calls[n_sent % MGET_LISTS], ret_error);
            n_sent += sending == 0;
            n_lists = sending == 0 ? n_lists : n_sent; /* the lists before may tell why */
        } else {
            r = wait_list(client, calls[n_taken % MGET_LISTS], list_len(n_keys, n_taken),
                          ret_results + n_taken * MGET_LIST_KEYS, ret_error);
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
    return send_list(client, "mget", keys, n_keys, ret_call, ret_error);
}

int actc_wait_mget(struct actc *client, uint32_t call, size_t n_keys,
                   struct actc_result *ret_results, struct actc_error *ret_error)
{
    actc_replies_free(&client->held);
    return wait_list(client, call, n_keys, ret_results, ret_error);
}

int actc_longest_prefix(struct actc *client, const void *key, size_t key_len,
                        struct actc_entry *ret_entry, struct actc_error *ret_error)
{
    if (client->pin)
        return pinned_longest_prefix(client, (struct actc_bytes){key, key_len}, ret_entry,
                                     ret_error);
    return call_entry(client, "longest_prefix", slice_of(key, key_len), ret_entry, ret_error);
}

int actc_next(struct actc *client, const void *key, size_t key_len, struct actc_entry *ret_entry,
              struct actc_error *ret_error)
{
    return call_entry(client, "next", slice_of(key, key_len), ret_entry, ret_error);
}

int actc_prev(struct actc *client, const void *key, size_t key_len, struct actc_entry *ret_entry,
              struct actc_error *ret_error)
{
    return call_entry(client, "prev", slice_of(key, key_len), ret_entry, ret_error);
}

int actc_count(struct actc *client, const void *prefix, size_t prefix_len, uint64_t *ret_count,
               bool *ret_is_exact, struct actc_error *ret_error)
{
    struct actc_reply *reply;
    uint32_t call;
    actc_replies_free(&client->held);
    int r = client->pin ? send_pinned(client, "count", (struct actc_bytes){prefix, prefix_len},
                                      &call, ret_error)
                        : actc_send_key(client, "count", prefix, prefix_len, &call, ret_error);
    if (r == 0)
        r = actc_wait(client, call, &reply, ret_error);
    if (r != 0)
        return r;
    r = result_count(actc_reply_result(reply), ret_count, ret_is_exact);
    return settle(client, "count", reply, r, ret_error);
}
