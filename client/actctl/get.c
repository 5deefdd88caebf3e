/*
 * get, exists: questions about the keys on the command line.
 *
 * get asks for each key by a call of its own, many on their way at a time, so that an error names
 * its key and leaves the others their answers. With --file the same is looked up in the file.
 */
#include "client/actctl/file.h"
#include "client/actctl/output.h"

#include <stdlib.h>

/* Calls on their way at a time. */
#define WINDOW 256

struct get {
    struct actctl *ctl;
    struct slice *keys; /* owned */
    size_t n_keys;
    uint32_t calls[WINDOW];
};

/* A value, or nil: there is none. */
static int answer(const struct get *get, struct slice key, const msgpack_object *value)
{
    bool is_miss = value->type == MSGPACK_OBJECT_NIL;
    int status = is_miss ? session_miss(get->ctl, key) : STATUS_FOUND;
    if (!is_miss || get->ctl->is_json)
        output_answer(get->ctl, key, value, get->n_keys > 1);
    return status;
}

/* The status of one key. */
static int take(struct get *get, size_t i, bool *ret_is_lost)
{
    struct actctl *ctl = get->ctl;
    struct actc_reply *reply;
    struct actc_error error;
    int r = actc_wait(ctl->client, get->calls[i % WINDOW], &reply, &error);
    *ret_is_lost = r == ACTC_LOST;
    if (r != 0)
        return session_fail_key(ctl, get->keys[i], r, &error);
    int status = answer(get, get->keys[i], actc_reply_result(reply));
    actc_reply_free(reply);
    return status;
}

static int get_all(struct get *get)
{
    struct actc_error error;
    bool is_lost = false;
    int status = STATUS_FOUND, sending = 0;
    size_t n_keys = get->n_keys, n_sent = 0, n_taken = 0;
    while (n_taken < n_keys && !is_lost) {
        if (n_sent < n_keys && n_sent - n_taken < WINDOW) {
            struct slice key = get->keys[n_sent];
            sending = actc_send_key(get->ctl->client, "get", key.p, key.len,
                                    &get->calls[n_sent % WINDOW], &error);
            n_sent += sending == 0;
            n_keys = sending == 0 ? n_keys : n_sent; /* those before have their answers */
        } else {
            int one = take(get, n_taken++, &is_lost);
            status = one > status ? one : status;
        }
    }
    if (sending != 0 && !is_lost)
        return session_fail_key(get->ctl, get->keys[n_sent], sending, &error);
    return status;
}

static int get_from_file(const struct get *get)
{
    int status = STATUS_FOUND;
    for (size_t i = 0; i < get->n_keys; i++) {
        msgpack_object value;
        int one = file_get(get->ctl, get->keys[i], &value);
        one = one == STATUS_FOUND ? answer(get, get->keys[i], &value) : one;
        status = one > status ? one : status;
    }
    return status;
}

int command_get(struct actctl *ctl, char **args, size_t n_args)
{
    struct get get = {.ctl = ctl, .n_keys = n_args};
    int status = STATUS_FOUND;
    get.keys = calloc(n_args, sizeof *get.keys);
    if (!get.keys)
        return session_error(ctl, STATUS_FAILED, "out of memory");
    for (size_t i = 0; i < n_args && status == STATUS_FOUND; i++)
        status = session_key(ctl, args[i], &get.keys[i]);
    if (status == STATUS_FOUND)
        status = session_open(ctl);
    if (status == STATUS_FOUND)
        status = ctl->tree ? get_from_file(&get) : get_all(&get);
    free(get.keys);
    return status;
}

/* *ret_has: has the key a value? */
static int ask_exists(const struct actctl *ctl, struct slice key, bool *ret_has)
{
    struct actc_error error;
    if (ctl->tree)
        return file_exists(ctl, key, ret_has);
    int r = actc_exists(ctl->client, key.p, key.len, &error);
    if (r != 0 && r != ACTC_MISS)
        return session_fail_key(ctl, key, r, &error);
    *ret_has = r == 0;
    return STATUS_FOUND;
}

int command_exists(struct actctl *ctl, char **args, size_t n_args)
{
    (void)n_args;
    struct slice key;
    bool has = false;
    int status = session_key(ctl, args[0], &key);
    if (status == STATUS_FOUND)
        status = session_open(ctl);
    if (status == STATUS_FOUND)
        status = ask_exists(ctl, key, &has);
    if (status != STATUS_FOUND)
        return status;
    if (ctl->is_json) {
        struct json_object *json = output_json_entry(ctl, key);
        json_object_object_add(json, "exists", output_json_bool(has));
        output_json(json);
    } else {
        puts(has ? "true" : "false");
    }
    return has ? STATUS_FOUND : STATUS_NOT_FOUND;
}
