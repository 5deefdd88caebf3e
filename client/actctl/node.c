/*
 * node: the position in the trie that a key leads to.
 */
#include "client/actctl/output.h"

#include <inttypes.h>

static bool has_child(const struct actc_node *node, unsigned byte)
{
    return node->children[byte / 64] >> byte % 64 & 1;
}

static void print_json(const struct actctl *ctl, struct slice key, const struct actc_node *node)
{
    struct json_object *json = output_json_entry(ctl, key);
    struct json_object *children = json_object_new_array();
    for (unsigned byte = 0; byte < 256 && node; byte++)
        if (has_child(node, byte))
            json_object_array_add(children, json_object_new_int((int)byte));
    json_object_object_add(json, "exists", output_json_bool(node != NULL));
    json_object_object_add(json, "value",
                           node && node->has_value ? output_json_u64(node->value) : NULL);
    json_object_object_add(json, "children", children);
    output_json(json);
}

static void print_text(const struct actctl *ctl, const struct actc_node *node)
{
    unsigned n = 0;
    printf("exists    %s\n", node ? "true" : "false");
    if (!node)
        return;
    if (node->has_value)
        printf("value     %" PRIu64 "\n", node->value);
    else
        puts("value     -");
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

int command_node(struct actctl *ctl, char **args, size_t n_args)
{
    (void)n_args;
    struct actc_error error;
    struct actc_node node;
    struct slice key;
    int status = session_key(ctl, args[0], &key);
    if (status == STATUS_FOUND)
        status = session_open(ctl);
    if (status != STATUS_FOUND)
        return status;
    int r = actc_node(ctl->client, key.p, key.len, &node, &error);
    if (r != 0 && r != ACTC_MISS)
        return session_fail_key(ctl, key, r, &error);
    if (ctl->is_json)
        print_json(ctl, key, r == 0 ? &node : NULL);
    else
        print_text(ctl, r == 0 ? &node : NULL);
    return r == 0 ? STATUS_FOUND : STATUS_NOT_FOUND;
}
