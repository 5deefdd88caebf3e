/*
 * node: the position in the trie that a key leads to.
 */
#include "client/actctl/file.h"
#include "client/actctl/output.h"

static bool has_child(const struct actc_node *node, unsigned byte)
{
    return node->children[byte / 64] >> byte % 64 & 1;
}

static const struct actc_value *value_of(const struct actc_node *node)
{
    return node && node->has_value ? &node->value : NULL;
}

/* node: NULL: there is no such position. */
static void print_json(const struct actctl *ctl, struct slice key, const struct actc_node *node)
{
    struct json_object *json = output_json_entry(ctl, key);
    struct json_object *children = json_object_new_array();
    for (unsigned byte = 0; byte < 256 && node; byte++)
        if (has_child(node, byte))
            json_object_array_add(children, json_object_new_int((int)byte));
    json_object_object_add(json, "exists", output_json_bool(node != NULL));
    json_object_object_add(json, "value", output_json_value(value_of(node)));
    json_object_object_add(json, "children", children);
    output_json(json);
}

static void print_text(const struct actctl *ctl, const struct actc_node *node)
{
    unsigned n = 0;
    printf("exists    %s\n", node ? "true" : "false");
    if (!node)
        return;
    fputs("value     ", stdout);
    output_value(ctl, stdout, value_of(node));
    putchar('\n');
    for (unsigned byte = 0; byte < 256; byte++)
        n += has_child(node, byte);
    printf("children  %u", n);
    for (unsigned byte = 0; byte < 256; byte++) {
        if (!has_child(node, byte))
            continue;
        fputs(n > 0 ? ": " : " ", stdout);
        n = 0;
        output_byte(ctl, (uint8_t)byte);
    }
    putchar('\n');
}

/* STATUS_NOT_FOUND, untold: there is no such position. */
static int ask(const struct actctl *ctl, struct slice key, struct actc_node *ret_node)
{
    struct actc_error error;
    if (ctl->tree)
        return file_node(ctl, key, ret_node);
    int r = actc_node(ctl->client, key.p, key.len, ret_node, &error);
    if (r == ACTC_MISS)
        return STATUS_NOT_FOUND;
    return r == 0 ? STATUS_FOUND : session_fail_key(ctl, key, r, &error);
}

int command_node(struct actctl *ctl, char **args, size_t n_args)
{
    (void)n_args;
    struct actc_node node;
    struct slice key;
    int status = session_key(ctl, args[0], &key);
    if (status == STATUS_FOUND)
        status = session_open(ctl);
    if (status != STATUS_FOUND)
        return status;
    status = ask(ctl, key, &node);
    const struct actc_node *found = status == STATUS_FOUND ? &node : NULL;
    bool is_known = status == STATUS_FOUND || status == STATUS_NOT_FOUND;
    if (is_known && ctl->is_json)
        print_json(ctl, key, found);
    else if (is_known)
        print_text(ctl, found);
    return status;
}
