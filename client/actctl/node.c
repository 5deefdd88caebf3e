/*
 * node: the position in the trie that a key leads to.
 */
#include "client/actctl/answer.h"
#include "client/actctl/file.h"
#include "client/actctl/output.h"

static bool has_child(const struct actc_node *node, unsigned byte)
{
    return node->children[byte / 64] >> byte % 64 & 1;
}

/* value: nil if it has none. */
static void print_json(const struct actctl *ctl, struct slice key, const struct actc_node *node,
                       const msgpack_object *value)
{
    struct json_object *json = output_json_entry(ctl, key);
    struct json_object *children = json_object_new_array();
    for (unsigned byte = 0; byte < 256 && node; byte++)
        if (has_child(node, byte))
            json_object_array_add(children, json_object_new_int((int)byte));
    json_object_object_add(json, "exists", output_json_bool(node != NULL));
    json_object_object_add(json, "value", output_json_value(value));
    json_object_object_add(json, "children", children);
    output_json(json);
}

static void print_text(const struct actctl *ctl, const struct actc_node *node,
                       const msgpack_object *value)
{
    unsigned n = 0;
    printf("exists    %s\n", node ? "true" : "false");
    if (!node)
        return;
    fputs("value     ", stdout);
    output_value(ctl, stdout, value);
    putchar('\n');
    for (unsigned byte = 0; byte < 256; byte++)
        n += has_child(node, byte);
    printf("children  %u", n);
    for (unsigned byte = 0; byte < 256; byte++) {
        uint8_t child = (uint8_t)byte;
        if (!has_child(node, byte))
            continue;
        fputs(n > 0 ? ": " : " ", stdout);
        n = 0;
        if (byte == ' ' && !ctl->is_hex)
            fputs("\\x20", stdout);
        else
            output_key(ctl, stdout, slice_of(&child, 1));
    }
    putchar('\n');
}

/* The server's word on a key: STATUS_NOT_FOUND, untold: there is no such position. *ret_value lives
 * as long as the reply, which the caller frees. */
static int ask(const struct actctl *ctl, struct slice key, struct actc_reply **ret_reply,
               struct actc_node *ret_node, msgpack_object *ret_value)
{
    struct actc_error error;
    const msgpack_object *value = NULL;
    uint32_t call;
    bool exists = false;
    int r = actc_send_key(ctl->client, "node", key.p, key.len, &call, &error);
    if (r == 0)
        r = actc_wait(ctl->client, call, ret_reply, &error);
    if (r == 0 && !answer_read_node(actc_reply_result(*ret_reply), &exists, ret_node, &value))
        r = answer_bad(ctl->client, "node", &error);
    if (r != 0)
        return session_fail_key(ctl, key, r, &error);
    if (!exists)
        return STATUS_NOT_FOUND;
    *ret_value = *value;
    return STATUS_FOUND;
}

int command_node(struct actctl *ctl, char **args, size_t n_args)
{
    (void)n_args;
    msgpack_object value = {.type = MSGPACK_OBJECT_NIL};
    struct actc_reply *reply = NULL;
    struct actc_node node;
    struct slice key;
    int status = session_key(ctl, args[0], &key);
    if (status == STATUS_FOUND)
        status = session_open(ctl);
    if (status != STATUS_FOUND)
        return status;
    status = ctl->tree ? file_node(ctl, key, &node, &value) : ask(ctl, key, &reply, &node, &value);
    const struct actc_node *found = status == STATUS_FOUND ? &node : NULL;
    bool is_known = status == STATUS_FOUND || status == STATUS_NOT_FOUND;
    if (is_known && ctl->is_json)
        print_json(ctl, key, found, &value);
    else if (is_known)
        print_text(ctl, found, &value);
    actc_reply_free(reply);
    return status;
}
