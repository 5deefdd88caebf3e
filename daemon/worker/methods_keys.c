/*
 * methods_keys: get, mget, exists, node, longest_prefix, prefixes: by keys that the client names.
 */
#include "daemon/worker/methods.h"

#include <inttypes.h>

static int look_up(const struct call *call, struct slice key, struct value *ret,
                   struct act_fault *fault)
{
    uint64_t number;
    int r = guard_get(tree_of(call), key, &number, fault);
    return r == 0 ? value_of(call, number, ret, fault) : r;
}

/* The key's value or nil. 0, ACT_CORRUPT or ACT_COLD. */
static int answer_get(struct call *call, struct slice key)
{
    struct value value;
    int r = look_up(call, key, &value, &call->fault);
    count_lookup(call, r);
    if (r == 0)
        reply_value(call, &value);
    else if (r == ACT_MISS)
        reply_nil(call->reply);
    return r == ACT_MISS ? 0 : r;
}

int method_get(struct call *call)
{
    struct slice key;
    int r = param_key(call, 0, "key", &key);
    return r != 0 ? r : answer_get(call, key);
}

int method_exists(struct call *call)
{
    struct slice key;
    int r = param_key(call, 0, "key", &key);
    if (r != 0)
        return r;
    r = guard_exists(tree_of(call), key, &call->fault);
    count_lookup(call, r);
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

int method_node(struct call *call)
{
    struct slice key;
    struct act_node node = {0};
    struct value value = {0};
    uint8_t bytes[256];
    int r = param_key(call, 0, "key", &key);
    if (r != 0)
        return r;
    r = guard_node(tree_of(call), key, &node, &call->fault);
    if (r == 0 && node.has_value)
        r = value_of(call, node.value, &value, &call->fault);
    count_lookup(call, r);
    if (r != 0 && r != ACT_MISS)
        return r;
    reply_map(call->reply, 3);
    reply_text(call->reply, "exists");
    reply_bool(call->reply, r == 0);
    reply_text(call->reply, "value");
    if (node.has_value)
        reply_value(call, &value);
    else
        reply_nil(call->reply);
    reply_text(call->reply, "children");
    reply_bytes(call->reply, children_bytes(node.children, bytes));
    return 0;
}

/* [key, value] or nil. 0, ACT_CORRUPT or ACT_COLD. */
static int answer_longest_prefix(struct call *call, struct slice key)
{
    size_t len;
    uint64_t value;
    int r = guard_longest_prefix(tree_of(call), key, &len, &value, &call->fault);
    if (r == 0)
        r = reply_entry(call, slice_of(key.p, len), value);
    count_lookup(call, r);
    if (r == ACT_MISS)
        reply_nil(call->reply);
    return r == ACT_MISS ? 0 : r;
}

#define PREFIXES_AT_A_TIME 256

/* [[key, value]...]. 0, ACT_CORRUPT, ACT_COLD or CALL_AGAIN. */
static int answer_prefixes(struct call *call, struct slice key)
{
    struct act_prefix found[PREFIXES_AT_A_TIME];
    struct progress *progress = call->progress;
    size_t n = PREFIXES_AT_A_TIME;
    if (!progress->is_open) {
        progress->is_open = true;
        progress->n = progress->min_len = 0;
        progress->array_at = reply_open_array(call->reply);
    }
    while (n == PREFIXES_AT_A_TIME) {
        if (is_slice_over(call))
            return CALL_AGAIN;
        set_checkpoint(call);
        int r = guard_prefixes(tree_of(call), key, progress->min_len, found, PREFIXES_AT_A_TIME, &n,
                               &call->fault);
        for (size_t i = 0; i < n && r == 0; i++)
            r = reply_entry(call, slice_of(key.p, found[i].len), found[i].value);
        if (r != 0)
            return r;
        progress->n += n;
        progress->min_len = n > 0 ? found[n - 1].len + 1 : 0;
        spend(call, key_work(key) + n);
    }
    progress->is_open = false;
    count_lookup(call, progress->n > 0 ? 0 : ACT_MISS);
    reply_close_array(call->reply, progress->array_at, progress->n);
    return 0;
}

/*
 * Lists of keys: mget, and the prefix methods given an array. One result for each key, nil where it
 * fails; then, where the client wants to know, the errors of those that failed.
 */

/* Writes a key's result. 0, CALL_AGAIN (with progress->is_open), ACT_COLD, or ACT_CORRUPT: what it
 * has written is to be taken back. */
typedef int answer_fn(struct call *call, struct slice key);

enum list_phase { LIST_RESULTS, LIST_ERRORS };

/* The keys of a list that are looked up side by side. */
#define BATCH 64

static int check_keys(struct call *call, const msgpack_object *keys)
{
    struct slice key;
    int r = check_list(call, keys, "keys");
    for (uint32_t i = 0; r == 0 && i < keys->via.array.size; i++)
        r = check_key(call, &keys->via.array.ptr[i], "key", i, &key);
    return r;
}

/* What the keys that were looked up have for values. Does one of them need a page that is not in
 * memory? */
static bool find_values(const struct call *call, struct act_result *results, uint32_t n,
                        struct value *values)
{
    bool is_cold = false;
    for (uint32_t i = 0; i < n; i++) {
        if (results[i].outcome == 0)
            results[i].outcome = value_of(call, results[i].value, &values[i], NULL);
        is_cold |= results[i].outcome == ACT_COLD;
    }
    return is_cold;
}

/* The value of a key that was looked up, or nil. True: the tree is damaged on its way. */
static bool reply_result(struct call *call, int outcome, const struct value *value)
{
    count_lookup(call, outcome);
    if (outcome == 0)
        reply_value(call, value);
    else
        reply_nil(call->reply);
    return outcome == ACT_CORRUPT;
}

/* The next keys of mget, as many as go side by side. 0 or ACT_COLD. */
static int answer_batch(struct call *call, const msgpack_object_array *keys)
{
    struct act_key batch[BATCH] = {{0}};
    struct act_result results[BATCH];
    struct value values[BATCH];
    struct progress *progress = call->progress;
    uint32_t left = keys->size - progress->index, n = left < BATCH ? left : BATCH;
    for (uint32_t i = 0; i < n; i++) {
        struct slice key = {0};
        param_bytes(&keys->ptr[progress->index + i], &key);
        batch[i] = (struct act_key){key.p, key.len};
        spend(call, key_work(key));
    }
    guard_get_batch(tree_of(call), batch, n, results);
    if (find_values(call, results, n, values))
        return ACT_COLD;
    for (uint32_t i = 0; i < n; i++)
        progress->n_failed += reply_result(call, results[i].outcome, &values[i]);
    progress->index += n;
    return 0;
}

/* The next key, or as much of it as the slice allows: its result, or nil. Gives what the answer is.
 */
static int answer_one(struct call *call, const msgpack_object_array *keys, answer_fn *answer)
{
    struct slice key = {0};
    struct progress *progress = call->progress;
    param_bytes(&keys->ptr[progress->index], &key);
    if (!progress->is_open)
        progress->element_at = reply_len(call->reply);
    int r = answer(call, key);
    spend(call, key_work(key));
    if (r == CALL_AGAIN || r == ACT_COLD)
        return r;
    progress->is_open = false;
    progress->index++;
    if (r == ACT_CORRUPT && call->reply->failure == 0) {
        reply_cut(call->reply, progress->element_at);
        reply_nil(call->reply);
        progress->n_failed++;
    }
    return r;
}

/* [index, error] of the next key, if it failed: damaged files are rare, so it is asked again. 0 or
 * ACT_COLD. */
static int reply_key_error(struct call *call, const msgpack_object_array *keys, answer_fn *answer)
{
    char text[256];
    struct reply *reply = call->reply;
    struct method_stats counted = *call->stats;
    uint32_t index = call->progress->index;
    int r = answer_one(call, keys, answer);
    *call->stats = counted;
    if (r == ACT_COLD)
        return r;
    if (reply->failure != 0 || r == CALL_AGAIN)
        return 0;
    reply_cut(reply, call->progress->element_at);
    if (r != ACT_CORRUPT)
        return 0;
    snprintf(text, sizeof text, "CORRUPT: offset %" PRIu64 ": %s", call->fault.offset,
             call->fault.reason);
    reply_array(reply, 2);
    reply_number(reply, index);
    if (!reply->mode.errors_as_string) {
        reply_array(reply, 2);
        reply_number(reply, PROTO_CORRUPT);
    }
    reply_text(reply, text);
    return 0;
}

/* The next key, or keys. 0, CALL_AGAIN or ACT_COLD. */
static int answer_some(struct call *call, const msgpack_object_array *keys, answer_fn *answer)
{
    uint32_t index = call->progress->index;
    if (is_slice_over(call))
        return CALL_AGAIN;
    set_checkpoint(call);
    int r = answer == answer_get ? answer_batch(call, keys) : answer_one(call, keys, answer);
    if (r == ACT_COLD)
        want_keys(call, keys, index + (answer == answer_get ? BATCH : 1));
    return r == ACT_COLD || r == CALL_AGAIN ? r : 0;
}

static int go_on_with_list(struct call *call, const msgpack_object_array *keys, answer_fn *answer,
                           bool with_errors)
{
    struct progress *progress = call->progress;
    int r = 0;
    while (progress->phase == LIST_RESULTS && progress->index < keys->size)
        if ((r = answer_some(call, keys, answer)) != 0)
            return r;
    if (!with_errors)
        return 0;
    if (progress->phase == LIST_RESULTS) {
        progress->phase = LIST_ERRORS;
        progress->index = progress->n_failed > 0 ? 0 : keys->size;
        reply_text(call->reply, "errors");
        reply_array(call->reply, progress->n_failed);
    }
    while (progress->index < keys->size) {
        if (is_slice_over(call))
            return CALL_AGAIN;
        set_checkpoint(call);
        if ((r = reply_key_error(call, keys, answer)) != 0)
            return r;
    }
    return 0;
}

static int answer_list(struct call *call, answer_fn *answer)
{
    const msgpack_object *keys = &call->request->params[0];
    struct options options = {0};
    int r = read_options(call, 1, OPTION_BIT(errors) | OPTION_BIT(pin), &options);
    if (r != 0)
        return r;
    if (!call->progress->is_begun) {
        if ((r = check_keys(call, keys)) != 0 || (r = check_pin(call, &options)) != 0)
            return r;
        if (options.errors) {
            reply_map(call->reply, 2);
            reply_text(call->reply, "values");
        }
        reply_array(call->reply, keys->via.array.size);
    }
    return go_on_with_list(call, &keys->via.array, answer, options.errors);
}

int method_mget(struct call *call)
{
    return answer_list(call, answer_get);
}

/* One key, or a list of them. */
static int answer_one_or_list(struct call *call, answer_fn *answer)
{
    struct slice key;
    if (call->request->params[0].type == MSGPACK_OBJECT_ARRAY)
        return answer_list(call, answer);
    if (call->request->n_params > 1)
        return bad_params(call, "options go with a list of keys only");
    int r = param_key(call, 0, "key", &key);
    return r != 0 ? r : answer(call, key);
}

int method_longest_prefix(struct call *call)
{
    return answer_one_or_list(call, answer_longest_prefix);
}

int method_prefixes(struct call *call)
{
    return answer_one_or_list(call, answer_prefixes);
}
