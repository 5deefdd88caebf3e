/*
 * prefixes: all stored keys that a key begins with.
 */
#include "client/actctl/file.h"
#include "client/actctl/output.h"
#include "client/actctl/pin.h"

/* Read from a file at a time. */
#define FOUND_AT_A_TIME 256

static int print_from_file(const struct actctl *ctl, struct slice key)
{
    struct act_prefix found[FOUND_AT_A_TIME];
    size_t min_len = 0, n = FOUND_AT_A_TIME, n_printed = 0;
    while (n == FOUND_AT_A_TIME) {
        struct act_fault fault = {0};
        if (act_prefixes(ctl->tree, key.p, key.len, min_len, found, n, &n, &fault) != 0)
            return session_fail_fault(ctl, ctl->file, key, &fault);
        for (size_t i = 0; i < n; i++) {
            struct actc_entry entry;
            if (file_entry(ctl, slice_of(key.p, found[i].len), found[i].value, &entry) !=
                STATUS_FOUND)
                return STATUS_FAILED;
            output_entry(ctl, &entry);
        }
        n_printed += n;
        min_len = n > 0 ? found[n - 1].len + 1 : 0;
    }
    return n_printed > 0 ? STATUS_FOUND : STATUS_NOT_FOUND;
}

static int print_list(const struct actctl *ctl, const msgpack_object *list)
{
    struct actc_entry entry;
    if (list->type != MSGPACK_OBJECT_ARRAY)
        return session_fail_result(ctl, "prefixes");
    for (uint32_t i = 0; i < list->via.array.size; i++) {
        if (actc_read_entry(&list->via.array.ptr[i], &entry) != 0)
            return session_fail_result(ctl, "prefixes");
        output_entry(ctl, &entry);
    }
    return list->via.array.size > 0 ? STATUS_FOUND : STATUS_NOT_FOUND;
}

static int ask(const struct actctl *ctl, struct slice key)
{
    struct actc_reply *reply;
    struct actc_error error;
    uint32_t call;
    const msgpack_object *result;
    int r = pin_send_key(ctl, "prefixes", key, &call, &error);
    if (r == 0)
        r = pin_wait_key(ctl, "prefixes", call, &reply, &result, &error);
    if (r != 0)
        return session_fail_key(ctl, key, r, &error);
    int status = print_list(ctl, result);
    actc_reply_free(reply);
    return status;
}

int command_prefixes(struct actctl *ctl, char **args, size_t n_args)
{
    (void)n_args;
    struct slice key;
    int status = session_key(ctl, args[0], &key);
    if (status == STATUS_FOUND)
        status = session_open(ctl);
    if (status != STATUS_FOUND)
        return status;
    return ctl->tree ? print_from_file(ctl, key) : ask(ctl, key);
}
