/*
 * get, longest-prefix, next, prev: questions about the keys on the command line, each with one
 * entry as its answer, or none; and exists.
 *
 * Each key is asked for by a call of its own, many on their way at a time, so that an error names
 * its key and leaves the others their answers. With --file the same is looked up in the file.
 */
#include "client/actctl/file.h"
#include "client/actctl/output.h"
#include "client/actctl/pin.h"

#include <stdlib.h>

/* Calls on their way at a time. */
#define WINDOW 256

struct question {
    const char *method;
    const char *miss;  /* what is told of a key without an answer */
    bool is_own_entry; /* the answer is the key's own value, not an entry */
    int (*look)(struct actctl *ctl, struct slice key, struct actc_entry *ret_entry); /* file */
};

struct get {
    struct actctl *ctl;
    const struct question *question;
    struct slice *keys; /* owned */
    size_t n_keys;
    uint32_t calls[WINDOW];
};

/* The key's line where the answer is another key's entry; NULL: there is none. */
static void print_found(const struct get *get, struct slice key, const struct actc_entry *entry)
{
    const struct actctl *ctl = get->ctl;
    struct slice found = entry ? slice_of(entry->key.p, entry->key.len) : slice_of(NULL, 0);
    const struct actc_value *value = entry ? &entry->value : NULL;
    if (ctl->is_json) {
        struct json_object *json = output_json_entry(ctl, key);
        json_object_object_add(json, "found", entry ? output_json_key(ctl, found) : NULL);
        json_object_object_add(json, "value", output_json_value(value));
        output_json(json);
        return;
    }
    if (get->n_keys > 1) {
        output_key(ctl, stdout, key);
        putchar('\t');
    }
    output_answer(ctl, found, value, true);
}

/* NULL: there is none. The key's status. */
static int answer(const struct get *get, struct slice key, const struct actc_entry *entry)
{
    const struct actctl *ctl = get->ctl;
    int status = entry ? STATUS_FOUND : session_miss(ctl, key, get->question->miss);
    if (!entry && !ctl->is_json)
        return status;
    if (get->question->is_own_entry)
        output_answer(ctl, key, entry ? &entry->value : NULL, get->n_keys > 1);
    else
        print_found(get, key, entry);
    return status;
}

/* The status of one key. */
static int take(struct get *get, size_t i, bool *ret_is_lost)
{
    struct actctl *ctl = get->ctl;
    struct actc_reply *reply;
    struct actc_error error;
    struct actc_entry entry = {0};
    const msgpack_object *result;
    int r =
        pin_wait_key(ctl, get->question->method, get->calls[i % WINDOW], &reply, &result, &error);
    *ret_is_lost = r == ACTC_LOST;
    if (r != 0)
        return session_fail_key(ctl, get->keys[i], r, &error);
    r = get->question->is_own_entry ? actc_read_value(result, &entry.value)
                                    : actc_read_entry(result, &entry);
    int status = r == ACTC_BAD_REPLY ? session_fail_result(ctl, get->question->method)
                                     : answer(get, get->keys[i], r == 0 ? &entry : NULL);
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
            sending = pin_send_key(get->ctl, get->question->method, key,
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
        struct actc_entry entry;
        int one = get->question->look(get->ctl, get->keys[i], &entry);
        if (one != STATUS_FAILED)
            one = answer(get, get->keys[i], one == STATUS_FOUND ? &entry : NULL);
        status = one > status ? one : status;
    }
    return status;
}

static int ask(struct actctl *ctl, const struct question *question, char **args, size_t n_args)
{
    struct get get = {.ctl = ctl, .question = question, .n_keys = n_args};
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

int command_get(struct actctl *ctl, char **args, size_t n_args)
{
    static const struct question question = {"get", "not found", true, file_get};
    return ask(ctl, &question, args, n_args);
}

int command_longest_prefix(struct actctl *ctl, char **args, size_t n_args)
{
    static const struct question question = {"longest_prefix", "it begins with no key", false,
                                             file_longest_prefix};
    return ask(ctl, &question, args, n_args);
}

int command_next(struct actctl *ctl, char **args, size_t n_args)
{
    static const struct question question = {"next", "no key after it", false, file_next};
    return ask(ctl, &question, args, n_args);
}

int command_prev(struct actctl *ctl, char **args, size_t n_args)
{
    static const struct question question = {"prev", "no key before it", false, file_prev};
    return ask(ctl, &question, args, n_args);
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
