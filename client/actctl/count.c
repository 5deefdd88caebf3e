/*
 * count, explore: how many keys begin with a prefix, all of them, or by the byte behind it.
 */
#include "client/actctl/file.h"
#include "client/actctl/output.h"
#include "client/actctl/pin.h"

#include <inttypes.h>

/* The prefix on the command line, or the empty one; and the session. */
static int open_prefix(struct actctl *ctl, char **args, size_t n_args, struct slice *ret_prefix)
{
    struct slice prefix = {0};
    int status = n_args > 0 ? session_key(ctl, args[0], &prefix) : STATUS_FOUND;
    *ret_prefix = prefix;
    return status == STATUS_FOUND ? session_open(ctl) : status;
}

static int ask_count(struct actctl *ctl, struct slice prefix, uint64_t *ret_count,
                     bool *ret_is_exact)
{
    struct actc_error error;
    *ret_is_exact = true;
    if (ctl->tree)
        return file_count(ctl, prefix, ret_count);
    int r = actc_count(ctl->client, prefix.p, prefix.len, ret_count, ret_is_exact, &error);
    return r == 0 ? STATUS_FOUND : session_fail_key(ctl, prefix, r, &error);
}

int command_count(struct actctl *ctl, char **args, size_t n_args)
{
    struct slice prefix;
    uint64_t count = 0;
    bool is_exact;
    int status = open_prefix(ctl, args, n_args, &prefix);
    if (status == STATUS_FOUND)
        status = ask_count(ctl, prefix, &count, &is_exact);
    if (status != STATUS_FOUND)
        return status;
    if (ctl->is_json) {
        struct json_object *json = json_object_new_object();
        json_object_object_add(json, "count", output_json_u64(count));
        json_object_object_add(json, "exact", output_json_bool(is_exact));
        output_json(json);
    } else {
        printf("%s%" PRIu64 "\n", is_exact ? "" : "at least ", count);
    }
    return count > 0 || !is_exact ? STATUS_FOUND : STATUS_NOT_FOUND;
}

/* What explore tells of one byte. */
struct branch {
    uint8_t byte;
    bool has_entry, has_count;
    struct actc_entry entry; /* the first one */
    uint64_t count;
};

/* [byte, key, value, count]; key and value are nil where there is no entry, count where it is not
 * known. */
static bool read_branch(const msgpack_object *object, struct branch *ret_branch)
{
    if (object->type != MSGPACK_OBJECT_ARRAY || object->via.array.size != 4)
        return false;
    const msgpack_object *members = object->via.array.ptr;
    const msgpack_object *byte = &members[0], *key = &members[1], *count = &members[3];
    struct branch branch = {.has_entry = key->type != MSGPACK_OBJECT_NIL,
                            .has_count = count->type != MSGPACK_OBJECT_NIL};
    if (byte->type != MSGPACK_OBJECT_POSITIVE_INTEGER || byte->via.u64 > 255)
        return false;
    if (branch.has_count && count->type != MSGPACK_OBJECT_POSITIVE_INTEGER)
        return false;
    if (branch.has_entry &&
        (key->type != MSGPACK_OBJECT_BIN || actc_read_value(&members[2], &branch.entry.value) != 0))
        return false;
    if (branch.has_entry)
        branch.entry.key = (struct actc_bytes){key->via.bin.ptr, key->via.bin.size};
    branch.byte = (uint8_t)byte->via.u64;
    branch.count = branch.has_count ? count->via.u64 : 0;
    *ret_branch = branch;
    return true;
}

static void print_json(const struct actctl *ctl, const struct branch *branch)
{
    struct slice key = slice_of(branch->entry.key.p, branch->entry.key.len);
    const struct actc_value *value = branch->has_entry ? &branch->entry.value : NULL;
    struct json_object *json = json_object_new_object();
    json_object_object_add(json, "byte", output_json_u64(branch->byte));
    json_object_object_add(json, "count",
                           branch->has_count ? output_json_u64(branch->count) : NULL);
    json_object_object_add(json, "key", branch->has_entry ? output_json_key(ctl, key) : NULL);
    json_object_object_add(json, "value", output_json_value(value));
    output_json(json);
}

static void print_branch(const struct actctl *ctl, const struct branch *branch)
{
    if (ctl->is_json) {
        print_json(ctl, branch);
        return;
    }
    output_byte(ctl, branch->byte);
    if (branch->has_count)
        printf("\t%" PRIu64, branch->count);
    else
        fputs("\t-", stdout);
    if (branch->has_entry) {
        putchar('\t');
        output_entry(ctl, &branch->entry);
    } else {
        putchar('\n');
    }
}

static int print_branches(const struct actctl *ctl, const msgpack_object *list)
{
    struct branch branch;
    if (list->type != MSGPACK_OBJECT_ARRAY)
        return session_fail_result(ctl, "explore");
    for (uint32_t i = 0; i < list->via.array.size; i++) {
        if (!read_branch(&list->via.array.ptr[i], &branch))
            return session_fail_result(ctl, "explore");
        print_branch(ctl, &branch);
    }
    return list->via.array.size > 0 ? STATUS_FOUND : STATUS_NOT_FOUND;
}

int command_explore(struct actctl *ctl, char **args, size_t n_args)
{
    struct slice prefix;
    struct actc_reply *reply;
    struct actc_error error;
    uint32_t call;
    int status = open_prefix(ctl, args, n_args, &prefix);
    if (status != STATUS_FOUND)
        return status;
    int r = pin_send_prefix(ctl, "explore", prefix, &call, &error);
    if (r == 0)
        r = actc_wait(ctl->client, call, &reply, &error);
    if (r != 0)
        return session_fail_key(ctl, prefix, r, &error);
    status = print_branches(ctl, actc_reply_result(reply));
    actc_reply_free(reply);
    return status;
}
