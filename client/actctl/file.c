/*
 * file: see file.h.
 */
#include "client/actctl/file.h"

#include <inttypes.h>

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
static int value_of(const struct actctl *ctl, struct slice key, uint64_t number,
                    struct actc_value *ret_value)
{
    struct act_fault fault = {0};
    struct act_info info;
    const uint8_t *p;
    size_t len;
    act_info(ctl->tree, &info);
    if (info.values == ACT_VALUES_MIXED)
        return fail_mixed(ctl);
    if (info.values == ACT_VALUES_U64) {
        *ret_value = (struct actc_value){.number = number};
        return STATUS_FOUND;
    }
    if (act_bytes(ctl->tree, number, &p, &len, &fault) != 0)
        return fail(ctl, key, &fault);
    *ret_value = (struct actc_value){.is_bytes = true, .bytes = {p, len}};
    return STATUS_FOUND;
}

/* From the key's place, stored or not, to the entry beside it. */
static int move_from(struct actctl *ctl, struct slice key, int (*move)(struct act_cursor *),
                     struct actc_entry *ret_entry)
{
    int status = file_cursor(ctl);
    if (status != STATUS_FOUND)
        return status;
    int r = act_cursor_seek(ctl->cursor, key.p, key.len);
    return r == 0 || r == ACT_MISS ? file_move(ctl, move, ret_entry) : file_fail_move(ctl, r);
}

int file_entry(const struct actctl *ctl, struct slice key, uint64_t number,
               struct actc_entry *ret_entry)
{
    ret_entry->key = (struct actc_bytes){key.p, key.len};
    return value_of(ctl, key, number, &ret_entry->value);
}

int file_get(struct actctl *ctl, struct slice key, struct actc_entry *ret_entry)
{
    struct act_fault fault = {0};
    uint64_t number;
    int r = act_get(ctl->tree, key.p, key.len, &number, &fault);
    if (r == ACT_MISS)
        return STATUS_NOT_FOUND;
    return r == 0 ? file_entry(ctl, key, number, ret_entry) : fail(ctl, key, &fault);
}

int file_longest_prefix(struct actctl *ctl, struct slice key, struct actc_entry *ret_entry)
{
    struct act_fault fault = {0};
    uint64_t number;
    size_t len;
    int r = act_longest_prefix(ctl->tree, key.p, key.len, &len, &number, &fault);
    if (r == ACT_MISS)
        return STATUS_NOT_FOUND;
    return r == 0 ? file_entry(ctl, slice_of(key.p, len), number, ret_entry)
                  : fail(ctl, key, &fault);
}

int file_next(struct actctl *ctl, struct slice key, struct actc_entry *ret_entry)
{
    return move_from(ctl, key, act_cursor_next, ret_entry);
}

int file_prev(struct actctl *ctl, struct slice key, struct actc_entry *ret_entry)
{
    return move_from(ctl, key, act_cursor_prev, ret_entry);
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

int file_node(const struct actctl *ctl, struct slice key, struct actc_node *ret_node)
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
    return node.has_value ? value_of(ctl, key, node.value, &ret_node->value) : STATUS_FOUND;
}

int file_count(struct actctl *ctl, struct slice prefix, uint64_t *ret_count)
{
    uint64_t n = 0;
    int status = file_cursor(ctl);
    if (status != STATUS_FOUND)
        return status;
    act_cursor_set_prefix(ctl->cursor, prefix.p, prefix.len);
    int r = act_cursor_first(ctl->cursor);
    if (r == 0)
        r = act_cursor_count(ctl->cursor, &n);
    if (r != 0 && r != ACT_MISS)
        return file_fail_move(ctl, r);
    *ret_count = n;
    return STATUS_FOUND;
}

int file_cursor(struct actctl *ctl)
{
    if (ctl->cursor)
        act_cursor_reset(ctl->cursor, ctl->tree);
    else if (act_cursor_new(ctl->tree, 0, &ctl->cursor) != 0)
        return session_error(ctl, STATUS_FAILED, "out of memory");
    return STATUS_FOUND;
}

int file_move(const struct actctl *ctl, int (*move)(struct act_cursor *),
              struct actc_entry *ret_entry)
{
    struct slice key;
    uint64_t number = 0;
    int r = move(ctl->cursor);
    if (r == ACT_MISS)
        return STATUS_NOT_FOUND;
    if (r != 0)
        return file_fail_move(ctl, r);
    key.p = act_cursor_key(ctl->cursor, &key.len);
    if (ctl->records.is_keys_only) {
        *ret_entry = (struct actc_entry){.key = {key.p, key.len}};
        return STATUS_FOUND;
    }
    act_cursor_value(ctl->cursor, &number);
    return file_entry(ctl, key, number, ret_entry);
}

int file_fail_move(const struct actctl *ctl, int r)
{
    if (r == ACT_TOO_LONG)
        return session_error(ctl, STATUS_FAILED, "%s: a key of more than 1 MiB", ctl->file);
    struct act_fault fault = act_cursor_fault(ctl->cursor);
    return session_error(ctl, STATUS_FAILED,
                         "%s: damaged at offset %" PRIu64 ": %s: actctl verify tells more",
                         ctl->file, fault.offset, fault.reason);
}
