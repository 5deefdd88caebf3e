/*
 * methods: see methods.h. Each method is a function method_NAME; the table in daemon/methods.h
 * names them all.
 */
#include "daemon/worker/methods.h"

#include "build_config.h"

#include <assert.h>
#include <inttypes.h>
#include <unistd.h>

#define X(name, least, most, result) static int method_##name(struct call *call);
METHODS(X)
#undef X

static const struct method {
    struct slice name;
    unsigned least, most; /* parameters */
    int (*run)(struct call *call);
} methods[N_METHODS] = {
#define X(name, least, most, result) \
    {{(const uint8_t *)#name, sizeof #name - 1}, least, most, method_##name},
    METHODS(X)
#undef X
};

__attribute__((format(printf, 2, 3))) static int bad_params(struct call *call, const char *format,
                                                            ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(call->dispatch->text, sizeof call->dispatch->text, format, args);
    va_end(args);
    return CALL_BAD_PARAMS;
}

static const struct act *tree_of(const struct call *call)
{
    return call->dispatch->snapshot->tree;
}

static int param_key(struct call *call, struct slice *ret)
{
    if (param_bytes(&call->request->params[0], ret))
        return 0;
    return bad_params(call, "the key is neither str nor bin");
}

/* Counts what a lookup found. */
static void count(struct call *call, int outcome)
{
    if (outcome == 0)
        call->stats->hits++;
    else if (outcome == ACT_MISS)
        call->stats->misses++;
}

static void reply_pair_text(struct reply *reply, const char *name, const char *value)
{
    reply_text(reply, name);
    reply_text(reply, value);
}

static void reply_pair_number(struct reply *reply, const char *name, uint64_t value)
{
    reply_text(reply, name);
    reply_number(reply, value);
}

/* An option of hello: one of two names. */
static int read_choice(struct call *call, const msgpack_object *value, const char *option,
                       const char *off, const char *on, bool *ret)
{
    struct slice text;
    if (param_bytes(value, &text) && slice_equal(text, slice_of_str(on)))
        *ret = true;
    else if (param_bytes(value, &text) && slice_equal(text, slice_of_str(off)))
        *ret = false;
    else
        return bad_params(call, "the option %s is \"%s\" or \"%s\"", option, off, on);
    return 0;
}

static int read_hello_options(struct call *call, struct reply_mode *mode)
{
    if (call->request->n_params == 0)
        return 0;
    const msgpack_object *options = &call->request->params[0];
    if (options->type != MSGPACK_OBJECT_MAP)
        return bad_params(call, "the options are not a map");
    for (uint32_t i = 0; i < options->via.map.size; i++) {
        const msgpack_object_kv *option = &options->via.map.ptr[i];
        struct slice name;
        int r;
        if (!param_bytes(&option->key, &name))
            return bad_params(call, "an option's name is not a string");
        if (slice_equal(name, slice_of_str("errors")))
            r = read_choice(call, &option->val, "errors", "array", "string",
                            &mode->errors_as_string);
        else if (slice_equal(name, slice_of_str("u64")))
            r = read_choice(call, &option->val, "u64", "int", "str", &mode->u64_as_string);
        else
            r = bad_params(call, "hello has the options errors and u64, and not \"%.*s\"",
                           name.len < 40 ? (int)name.len : 40, (const char *)name.p);
        if (r != 0)
            return r;
    }
    return 0;
}

static void reply_generation(struct reply *reply, const struct snapshot *snapshot)
{
    reply_text(reply, "generation");
    reply_map(reply, 2);
    reply_pair_number(reply, "number", snapshot->number);
    reply_text(reply, "identity");
    reply_u64(reply, snapshot->identity);
}

static int method_hello(struct call *call)
{
    struct reply *reply = call->reply;
    const struct config *config = call->dispatch->config;
    struct reply_mode mode = call->session->mode;
    int r = read_hello_options(call, &mode);
    if (r != 0)
        return r;
    call->session->mode = reply->mode = mode;
    reply_map(reply, 6);
    reply_pair_text(reply, "server", "actd");
    reply_pair_text(reply, "version", ACTD_VERSION);
    reply_pair_number(reply, "protocol", 1);
    reply_text(reply, "methods");
    reply_array(reply, N_METHODS);
    for (size_t i = 0; i < N_METHODS; i++)
        reply_text(reply, method_names[i]);
    reply_text(reply, "limits");
    reply_map(reply, 3);
    reply_pair_number(reply, "max_request_bytes", config->limits_max_request_bytes);
    reply_pair_number(reply, "max_reply_bytes", config->limits_max_reply_bytes);
    reply_pair_number(reply, "max_keys", config->limits_max_keys);
    reply_generation(reply, call->dispatch->snapshot);
    return 0;
}

static int method_ping(struct call *call)
{
    reply_text(call->reply, "pong");
    return 0;
}

/* What a reply gives for a value: the number, or the byte string that it stands for. */
struct value {
    bool is_bytes;
    uint64_t number;
    struct slice bytes;
};

/* 0 or ACT_CORRUPT. */
static int value_of(const struct call *call, uint64_t number, struct value *ret,
                    struct act_fault *fault)
{
    struct value value = {.number = number};
    int r = act_bytes(tree_of(call), number, &value.bytes.p, &value.bytes.len, fault);
    value.is_bytes = r == 0;
    if (r == ACT_CORRUPT)
        return r;
    *ret = value;
    return 0;
}

static int look_up(const struct call *call, struct slice key, struct value *ret,
                   struct act_fault *fault)
{
    uint64_t number;
    int r = act_get(tree_of(call), key.p, key.len, &number, fault);
    return r == 0 ? value_of(call, number, ret, fault) : r;
}

static void reply_value(struct reply *reply, const struct value *value)
{
    if (value->is_bytes)
        reply_bytes(reply, value->bytes);
    else
        reply_u64(reply, value->number);
}

static int method_get(struct call *call)
{
    struct slice key;
    struct value value;
    int r = param_key(call, &key);
    if (r != 0)
        return r;
    r = look_up(call, key, &value, &call->fault);
    count(call, r);
    if (r == 0)
        reply_value(call->reply, &value);
    else if (r == ACT_MISS)
        reply_nil(call->reply);
    return r == ACT_MISS ? 0 : r;
}

static int method_exists(struct call *call)
{
    struct slice key;
    int r = param_key(call, &key);
    if (r != 0)
        return r;
    r = act_exists(tree_of(call), key.p, key.len, &call->fault);
    count(call, r);
    if (r == 0 || r == ACT_MISS)
        reply_bool(call->reply, r == 0);
    return r == ACT_MISS ? 0 : r;
}

/* The bytes of the set in ascending order. */
static struct slice children_bytes(const uint64_t set[4], uint8_t bytes[256])
{
    size_t n = 0;
    for (unsigned word = 0; word < 4; word++)
        for (uint64_t left = set[word]; left != 0; left &= left - 1)
            bytes[n++] = (uint8_t)(64 * word + (unsigned)__builtin_ctzll(left));
    return slice_of(bytes, n);
}

static int method_node(struct call *call)
{
    struct slice key;
    struct act_node node = {0};
    struct value value = {0};
    uint8_t bytes[256];
    int r = param_key(call, &key);
    if (r != 0)
        return r;
    r = act_node(tree_of(call), key.p, key.len, &node, &call->fault);
    if (r == 0 && node.has_value)
        r = value_of(call, node.value, &value, &call->fault);
    count(call, r);
    if (r != 0 && r != ACT_MISS)
        return r;
    reply_map(call->reply, 3);
    reply_text(call->reply, "exists");
    reply_bool(call->reply, r == 0);
    reply_text(call->reply, "value");
    if (node.has_value)
        reply_value(call->reply, &value);
    else
        reply_nil(call->reply);
    reply_text(call->reply, "children");
    reply_bytes(call->reply, children_bytes(node.children, bytes));
    return 0;
}

/* The keys of mget: all str or bin, not too many. */
static int check_keys(struct call *call, const msgpack_object *keys)
{
    uint64_t max = call->dispatch->config->limits_max_keys;
    struct slice key;
    if (keys->type != MSGPACK_OBJECT_ARRAY)
        return bad_params(call, "the keys are not an array");
    if (keys->via.array.size > max) {
        snprintf(call->dispatch->text, sizeof call->dispatch->text,
                 "%" PRIu32 " keys; at most %" PRIu64 " in one request (limits.max_keys): ask in "
                 "several requests",
                 keys->via.array.size, max);
        return CALL_TOO_LARGE;
    }
    for (uint32_t i = 0; i < keys->via.array.size; i++)
        if (!param_bytes(&keys->via.array.ptr[i], &key))
            return bad_params(call, "key %" PRIu32 " is neither str nor bin", i);
    return 0;
}

static int read_mget_options(struct call *call, bool *ret_errors)
{
    *ret_errors = false;
    if (call->request->n_params < 2)
        return 0;
    const msgpack_object *options = &call->request->params[1];
    if (options->type != MSGPACK_OBJECT_MAP)
        return bad_params(call, "the options are not a map");
    const msgpack_object *errors = param_option(options, "errors");
    if (options->via.map.size != (errors ? 1 : 0))
        return bad_params(call, "mget has the option errors and no other");
    if (errors && errors->type != MSGPACK_OBJECT_BOOLEAN)
        return bad_params(call, "the option errors is true or false");
    *ret_errors = errors && errors->via.boolean;
    return 0;
}

/* One more look at the keys that failed: damaged files are rare, and their errors need a count
 * before they are encoded. */
static void reply_key_errors(struct call *call, const msgpack_object_array *keys, uint32_t n_failed)
{
    char text[256];
    reply_array(call->reply, n_failed);
    for (uint32_t i = 0; i < keys->size; i++) {
        struct slice key = {0};
        struct value value;
        struct act_fault fault;
        param_bytes(&keys->ptr[i], &key);
        if (look_up(call, key, &value, &fault) != ACT_CORRUPT)
            continue;
        snprintf(text, sizeof text, "CORRUPT: offset %" PRIu64 ": %s", fault.offset, fault.reason);
        reply_array(call->reply, 2);
        reply_number(call->reply, i);
        if (!call->reply->mode.errors_as_string) {
            reply_array(call->reply, 2);
            reply_number(call->reply, PROTO_CORRUPT);
        }
        reply_text(call->reply, text);
    }
}

/* The keys of mget that are looked up side by side. */
#define BATCH 64

/* The value of a key that was looked up, or nil. True: the tree is damaged on its way. */
static bool reply_result(struct call *call, const struct act_result *result)
{
    struct value value;
    int r = result->outcome;
    if (r == 0)
        r = value_of(call, result->value, &value, NULL);
    count(call, r);
    if (r == 0)
        reply_value(call->reply, &value);
    else
        reply_nil(call->reply);
    return r == ACT_CORRUPT;
}

static uint32_t reply_values(struct call *call, const msgpack_object_array *keys)
{
    struct act_key batch[BATCH];
    struct act_result results[BATCH];
    uint32_t n_failed = 0;
    reply_array(call->reply, keys->size);
    for (uint32_t at = 0, n; at < keys->size; at += n) {
        n = keys->size - at < BATCH ? keys->size - at : BATCH;
        for (uint32_t i = 0; i < n; i++) {
            struct slice key = {0};
            param_bytes(&keys->ptr[at + i], &key);
            batch[i] = (struct act_key){key.p, key.len};
        }
        act_get_batch(tree_of(call), batch, n, results);
        for (uint32_t i = 0; i < n; i++)
            n_failed += reply_result(call, &results[i]);
    }
    return n_failed;
}

static int method_mget(struct call *call)
{
    const msgpack_object *keys = &call->request->params[0];
    bool with_errors;
    int r = check_keys(call, keys);
    if (r == 0)
        r = read_mget_options(call, &with_errors);
    if (r != 0)
        return r;
    call->cost = keys->via.array.size;
    if (!with_errors) {
        reply_values(call, &keys->via.array);
        return 0;
    }
    reply_map(call->reply, 2);
    reply_text(call->reply, "values");
    uint32_t n_failed = reply_values(call, &keys->via.array);
    reply_text(call->reply, "errors");
    reply_key_errors(call, &keys->via.array, n_failed);
    return 0;
}

static int method_info(struct call *call)
{
    struct reply *reply = call->reply;
    const struct snapshot *snapshot = call->dispatch->snapshot;
    struct act_info info;
    act_info(snapshot->tree, &info);
    reply_map(reply, 5);
    reply_pair_text(reply, "server", "actd");
    reply_pair_text(reply, "version", ACTD_VERSION);
    reply_pair_number(reply, "pid", (uint64_t)getpid());
    reply_text(reply, "tree");
    reply_map(reply, 7);
    reply_text(reply, "path");
    reply_bytes(reply, slice_of_str(snapshot->path)); /* a path is bytes, not always UTF-8 */
    reply_pair_text(reply, "format", info.version);
    reply_pair_text(reply, "values", info.values == ACT_VALUES_BYTES ? "bytes" : "u64");
    reply_pair_number(reply, "size_bytes", info.size_bytes);
    reply_pair_number(reply, "root_offset", info.root_offset);
    reply_pair_number(reply, "mtime_ms",
                      (uint64_t)snapshot->mtime.tv_sec * 1000 +
                          (uint64_t)snapshot->mtime.tv_nsec / 1000000);
    reply_text(reply, "damage");
    if (snapshot->damage)
        reply_text(reply, snapshot->damage);
    else
        reply_nil(reply);
    reply_generation(reply, snapshot);
    return 0;
}

/* Rows of one group stand together in the table. */
static unsigned group_size(size_t first)
{
    unsigned n = 0;
    while (first + n < N_STATS && strcmp(stat_rows[first + n].group, stat_rows[first].group) == 0)
        n++;
    return n;
}

static unsigned n_groups(void)
{
    unsigned n = 0;
    for (size_t i = 0; i < N_STATS; i += group_size(i))
        n++;
    return n;
}

static void reply_method_stats(struct reply *reply, const struct method_stats *stats)
{
#define X(name, help) +1
    reply_map(reply, 0 METHOD_STATS(X));
#undef X
#define X(name, help) reply_pair_number(reply, #name, stats->name);
    METHOD_STATS(X)
#undef X
}

static int method_stats(struct call *call)
{
    struct reply *reply = call->reply;
    struct stats_report report;
    stats_collect(call->dispatch->service, &report);
    reply_map(reply, n_groups() + 1);
    for (size_t first = 0; first < N_STATS; first += group_size(first)) {
        bool is_warmup = strcmp(stat_rows[first].group, "warmup") == 0;
        reply_text(reply, stat_rows[first].group);
        reply_map(reply, group_size(first) + is_warmup);
        if (is_warmup)
            reply_pair_text(reply, "state", report.warmup_state);
        for (size_t i = first; i < first + group_size(first); i++) {
            reply_text(reply, stat_rows[i].name);
            if (report.values[i] == STAT_UNKNOWN)
                reply_nil(reply);
            else
                reply_number(reply, report.values[i]);
        }
    }
    reply_text(reply, "methods");
    reply_map(reply, N_METHODS);
    for (size_t i = 0; i < N_METHODS; i++) {
        reply_text(reply, method_names[i]);
        reply_method_stats(reply, &report.method[i]);
    }
    return 0;
}

int method_find(struct slice name)
{
    for (int i = 0; i < N_METHODS; i++)
        if (slice_equal(name, methods[i].name))
            return i;
    return -1;
}

static const char *parameters_text(const struct method *method)
{
    if (method->most == 0)
        return "no parameters";
    if (method->least == method->most)
        return "exactly 1 parameter";
    return method->least == 0 ? "at most 1 parameter" : "1 or 2 parameters";
}

int method_run(enum method_id id, struct call *call)
{
    const struct method *method = &methods[id];
    uint32_t n = call->request->n_params;
    if (n < method->least || n > method->most)
        return bad_params(call, "%s takes %s, and not %" PRIu32, method_names[id],
                          parameters_text(method), n);
    return method->run(call);
}
