/*
 * call: see call.h.
 */
#include "daemon/worker/call.h"

#include <inttypes.h>
#include <stdarg.h>

/* A request that is pinned to a generation that comes waits so long. Who knows its identity has it,
 * as a rule, from a worker that has switched, so this one will at once. */
#define PIN_WAIT_MS 10000
/* The most that a u64 has. */
#define IDENTITY_DIGITS 20

int bad_params(struct call *call, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(call->dispatch->text, sizeof call->dispatch->text, format, args);
    va_end(args);
    return CALL_BAD_PARAMS;
}

int too_large(struct call *call, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(call->dispatch->text, sizeof call->dispatch->text, format, args);
    va_end(args);
    return CALL_TOO_LARGE;
}

int key_too_long(struct call *call)
{
    return too_large(call, "there is a key of more than %" PRIu64 " bytes (limits.max_key_bytes)",
                     call->dispatch->config->limits_max_key_bytes);
}

int check_list(struct call *call, const msgpack_object *list, const char *what)
{
    uint64_t max = call->dispatch->config->limits_max_keys;
    if (list->type != MSGPACK_OBJECT_ARRAY)
        return bad_params(call, "the %s are not an array", what);
    if (list->via.array.size <= max)
        return 0;
    return too_large(call,
                     "%" PRIu32 " %s; at most %" PRIu64 " in one request (limits.max_keys): ask in "
                     "several requests",
                     list->via.array.size, what, max);
}

int check_key(struct call *call, const msgpack_object *object, const char *what, int64_t index,
              struct slice *ret)
{
    char name[48];
    uint64_t max = call->dispatch->config->limits_max_key_bytes;
    bool is_key = param_bytes(object, ret);
    if (is_key && ret->len <= max)
        return 0;
    if (index < 0)
        snprintf(name, sizeof name, "the %s", what);
    else
        snprintf(name, sizeof name, "%s %" PRId64, what, index);
    if (!is_key)
        return bad_params(call, "%s is neither str nor bin", name);
    return too_large(call, "%s has %zu bytes, more than %" PRIu64 " (limits.max_key_bytes)", name,
                     ret->len, max);
}

int param_key(struct call *call, unsigned index, const char *what, struct slice *ret)
{
    return check_key(call, &call->request->params[index], what, -1, ret);
}

bool param_identity(const msgpack_object *param, uint64_t *ret)
{
    struct slice text;
    uint64_t identity = 0;
    if (param->type == MSGPACK_OBJECT_POSITIVE_INTEGER) {
        *ret = param->via.u64;
        return true;
    }
    if (!param_bytes(param, &text) || text.len == 0 || text.len > IDENTITY_DIGITS)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        unsigned digit = (unsigned)text.p[i] - '0';
        if (digit > 9 || __builtin_mul_overflow(identity, UINT64_C(10), &identity) ||
            __builtin_add_overflow(identity, (uint64_t)digit, &identity))
            return false;
    }
    *ret = identity;
    return true;
}

int begin_wait(struct call *call, enum wait_for what, uint64_t identity, uint64_t most_ms)
{
    struct progress *progress = call->progress;
    if (progress->is_overdue || most_ms == 0)
        return 0;
    progress->wait_for = what;
    progress->wait_identity = identity;
    progress->wait_ms = most_ms;
    return call->dispatch->never_waits ? CALL_DRAINING : CALL_WAIT;
}

int check_pin(struct call *call, const struct options *options)
{
    const struct generation *current = &call->dispatch->snapshot->generation,
                            *offered = call->dispatch->offered;
    if (!options->has_pin || call->progress->is_begun || options->pin == current->identity)
        return 0;
    int r = 0;
    if (offered && offered->identity == options->pin)
        r = begin_wait(call, WAIT_SWITCHED, options->pin, PIN_WAIT_MS);
    if (r != 0)
        return r;
    snprintf(call->dispatch->text, sizeof call->dispatch->text,
             "generation %" PRIu64 " is not served: %" PRIu64 " is, as number %" PRIu64,
             options->pin, current->identity, current->number);
    return CALL_GONE;
}

enum option_kind { OPTION_NUMBER, OPTION_BOOL, OPTION_BYTES, OPTION_ARRAY, OPTION_IDENTITY };

static const struct {
    const char *name;
    enum option_kind kind;
    size_t offset;
} option_rows[N_OPTIONS] = {
#define X(name, kind, field) {#name, kind, offsetof(struct options, field)},
    CALL_OPTIONS(X)
#undef X
};

static int set_option(struct call *call, enum option_id id, const msgpack_object *value,
                      struct options *options)
{
    const char *name = option_rows[id].name;
    void *field = (char *)options + option_rows[id].offset;
    switch (option_rows[id].kind) {
    case OPTION_NUMBER:
        if (value->type != MSGPACK_OBJECT_POSITIVE_INTEGER || value->via.u64 == 0)
            return bad_params(call, "the option %s is an integer of 1 or more", name);
        *(uint64_t *)field = value->via.u64;
        return 0;
    case OPTION_BOOL:
        if (value->type != MSGPACK_OBJECT_BOOLEAN)
            return bad_params(call, "the option %s is true or false", name);
        *(bool *)field = value->via.boolean;
        return 0;
    case OPTION_BYTES:
        if (value->type == MSGPACK_OBJECT_NIL)
            return 0;
        if (!param_bytes(value, field))
            return bad_params(call, "the option %s is neither bin nor nil", name);
        if (!((struct slice *)field)->p)
            *(struct slice *)field = slice_of_str("");
        return 0;
    case OPTION_IDENTITY:
        if (!param_identity(value, field))
            return bad_params(call, "the option %s is neither an integer nor decimal text", name);
        options->has_pin = true;
        return 0;
    default:
        if (value->type != MSGPACK_OBJECT_ARRAY)
            return bad_params(call, "the option %s is not an array", name);
        *(const msgpack_object **)field = value;
        return 0;
    }
}

/* "limit, reverse and errors": what a method has. */
static void name_options(unsigned allowed, char *text, size_t size)
{
    size_t at = 0;
    text[0] = '\0';
    for (unsigned id = 0; id < N_OPTIONS; id++) {
        if (!(allowed & 1u << id))
            continue;
        unsigned behind = allowed >> (id + 1);
        const char *comma = at == 0 ? "" : behind == 0 ? " and " : ", ";
        at += (size_t)snprintf(text + at, size - at, "%s%s", comma, option_rows[id].name);
    }
}

static int refuse_option(struct call *call, unsigned allowed, struct slice name)
{
    char names[160];
    bool is_one = (allowed & (allowed - 1)) == 0;
    name_options(allowed, names, sizeof names);
    return bad_params(call, "%.*s has the option%s %s, and not \"%.*s\"",
                      (int)call->request->method.len, (const char *)call->request->method.p,
                      is_one ? "" : "s", names, name.len < 40 ? (int)name.len : 40,
                      (const char *)name.p);
}

static int find_option(struct slice name, unsigned allowed)
{
    for (int id = 0; id < N_OPTIONS; id++)
        if ((allowed & 1u << id) && slice_equal(name, slice_of_str(option_rows[id].name)))
            return id;
    return -1;
}

int read_options(struct call *call, unsigned index, unsigned allowed, struct options *options)
{
    if (call->request->n_params <= index)
        return 0;
    const msgpack_object *map = &call->request->params[index];
    if (map->type != MSGPACK_OBJECT_MAP)
        return bad_params(call, "the options are not a map");
    unsigned given = 0;
    for (uint32_t i = 0; i < map->via.map.size; i++) {
        const msgpack_object_kv *option = &map->via.map.ptr[i];
        struct slice name;
        if (!param_bytes(&option->key, &name))
            return bad_params(call, "an option's name is not a string");
        int id = find_option(name, allowed);
        if (id < 0)
            return refuse_option(call, allowed, name);
        if (given & 1u << id)
            return bad_params(call, "the option %s stands twice", option_rows[id].name);
        given |= 1u << id;
        int r = set_option(call, (enum option_id)id, &option->val, options);
        if (r != 0)
            return r;
    }
    return 0;
}

void set_checkpoint(struct call *call)
{
    struct checkpoint *checkpoint = call->dispatch->checkpoint;
    if (!call->dispatch->snapshot->residency)
        return;
    *checkpoint = (struct checkpoint){.progress = *call->progress,
                                      .hits = call->stats->hits,
                                      .misses = call->stats->misses,
                                      .reply_len = reply_len(call->reply)};
    checkpoint->progress.is_begun = true;
    call->has_checkpoint = true;
}

#define WANTED_AT_A_TIME 64

/* The value that a key leads to, as the method means it. */
static void want_value(struct call *call, const struct act_key *key,
                       const struct act_result *result)
{
    size_t len;
    struct value value;
    uint64_t number = result->value;
    bool is_prefix = call->id == METHOD_longest_prefix || call->id == METHOD_prefixes;
    int r = result->outcome;
    if (r == ACT_MISS && is_prefix)
        r = guard_longest_prefix(tree_of(call), slice_of(key->p, key->len), &len, &number, NULL);
    if (r == 0)
        (void)value_of(call, number, &value, NULL);
}

void want_keys(struct call *call, const msgpack_object_array *keys, uint32_t from)
{
    const struct act_residency *residency = call->dispatch->snapshot->residency;
    while (from < keys->size && act_residency_has_room(residency) && !is_slice_over(call)) {
        struct act_key batch[WANTED_AT_A_TIME];
        struct act_result results[WANTED_AT_A_TIME];
        uint32_t n = keys->size - from;
        n = n < WANTED_AT_A_TIME ? n : WANTED_AT_A_TIME;
        for (uint32_t i = 0; i < n; i++) {
            struct slice key = {0};
            param_bytes(&keys->ptr[from + i], &key);
            batch[i] = (struct act_key){key.p, key.len};
            spend(call, key_work(key));
        }
        guard_get_batch(tree_of(call), batch, n, results);
        for (uint32_t i = 0; i < n; i++)
            want_value(call, &batch[i], &results[i]);
        from += n;
    }
}

int value_of(const struct call *call, uint64_t number, struct value *ret, struct act_fault *fault)
{
    struct value value = {.number = number};
    const struct act *tree = tree_of(call);
    int r = 0;
    value.is_bytes = act_values_of(tree) == ACT_VALUES_BYTES;
    if (value.is_bytes)
        r = guard_bytes(tree, number, &value.bytes, fault);
    if (r == 0)
        *ret = value;
    return r;
}

void reply_value(struct call *call, const struct value *value)
{
    if (!value->is_bytes) {
        reply_u64(call->reply, value->number);
        return;
    }
    uint8_t *room = reply_bytes_room(call->reply, value->bytes.len);
    if (room)
        guard_copy(tree_of(call), room, value->bytes);
}

int reply_entry(struct call *call, struct slice key, uint64_t number)
{
    struct value value;
    int r = value_of(call, number, &value, &call->fault);
    if (r != 0)
        return r;
    reply_array(call->reply, 2);
    reply_bytes(call->reply, key);
    reply_value(call, &value);
    return 0;
}

void count_lookup(struct call *call, int outcome)
{
    if (outcome == 0)
        call->stats->hits++;
    else if (outcome == ACT_MISS)
        call->stats->misses++;
}

void reply_pair_text(struct reply *reply, const char *name, const char *value)
{
    reply_text(reply, name);
    reply_text(reply, value);
}

void reply_pair_number(struct reply *reply, const char *name, uint64_t value)
{
    reply_text(reply, name);
    reply_number(reply, value);
}

void reply_generation_map(struct reply *reply, const struct generation *generation)
{
    reply_map(reply, 2);
    reply_pair_number(reply, "number", generation->number);
    reply_text(reply, "identity");
    reply_u64(reply, generation->identity);
}

void reply_generation(struct reply *reply, const struct snapshot *snapshot)
{
    reply_text(reply, "generation");
    reply_generation_map(reply, &snapshot->generation);
}
