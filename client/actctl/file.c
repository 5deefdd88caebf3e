/*
 * file: see file.h.
 */
#include "client/actctl/file.h"

static int fail(const struct actctl *ctl, struct slice key, const struct act_fault *fault)
{
    return session_fail_fault(ctl, ctl->file, key, fault);
}

static int fail_mixed(const struct actctl *ctl)
{
    return session_error(ctl, STATUS_FAILED,
                         "%s: byte values, but merged since by a writer that does not know them: "
                         "which are which cannot be told: build it anew",
                         ctl->file);
}

/* The value that a node has. */
static int value_of(const struct actctl *ctl, struct slice key, uint64_t value,
                    msgpack_object *ret_value)
{
    struct act_fault fault = {0};
    struct act_info info;
    const uint8_t *p;
    size_t len;
    act_info(ctl->tree, &info);
    if (info.values == ACT_VALUES_MIXED)
        return fail_mixed(ctl);
    if (info.values == ACT_VALUES_U64) {
        *ret_value = (msgpack_object){.type = MSGPACK_OBJECT_POSITIVE_INTEGER, .via.u64 = value};
        return STATUS_FOUND;
    }
    if (act_bytes(ctl->tree, value, &p, &len, &fault) != 0)
        return fail(ctl, key, &fault);
    if (len > UINT32_MAX)
        return session_error(ctl, STATUS_FAILED, "%s: a value of more than 4 GiB", ctl->file);
    *ret_value = (msgpack_object){.type = MSGPACK_OBJECT_BIN,
                                  .via.bin = {.size = (uint32_t)len, .ptr = (const char *)p}};
    return STATUS_FOUND;
}

int file_get(const struct actctl *ctl, struct slice key, msgpack_object *ret_value)
{
    struct act_fault fault = {0};
    uint64_t value;
    int r = act_get(ctl->tree, key.p, key.len, &value, &fault);
    if (r == ACT_MISS) {
        *ret_value = (msgpack_object){.type = MSGPACK_OBJECT_NIL};
        return STATUS_FOUND;
    }
    return r == 0 ? value_of(ctl, key, value, ret_value) : fail(ctl, key, &fault);
}

int file_exists(const struct actctl *ctl, struct slice key, bool *ret_has)
{
    struct act_fault fault = {0};
    int r = act_exists(ctl->tree, key.p, key.len, &fault);
    if (r == ACT_CORRUPT)
        return fail(ctl, key, &fault);
    *ret_has = r == 0;
    return STATUS_FOUND;
}

int file_node(const struct actctl *ctl, struct slice key, struct actc_node *ret_node,
              msgpack_object *ret_value)
{
    struct act_fault fault = {0};
    struct act_node node;
    int r = act_node(ctl->tree, key.p, key.len, &node, &fault);
    if (r == ACT_CORRUPT)
        return fail(ctl, key, &fault);
    if (r != 0)
        return STATUS_NOT_FOUND;
    *ret_node = (struct actc_node){.has_value = node.has_value};
    memcpy(ret_node->children, node.children, sizeof node.children);
    return node.has_value ? value_of(ctl, key, node.value, ret_value) : STATUS_FOUND;
}
