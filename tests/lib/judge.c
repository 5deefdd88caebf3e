/*
 * judge: see judge.h. Replies, errors, and results of single keys.
 */
#include "judge.h"

#include "buildertest.h"
#include "bytes.h"
#include "judging.h"
#include "proto/errors.h"

#include <inttypes.h>
#include <stdio.h>

#define BIT(error) (1u << PROTO_##error)

bool judge_has_prefix(struct slice key, struct slice prefix)
{
    return key.len >= prefix.len && slice_equal(slice_of(key.p, prefix.len), prefix);
}

/*
 * Values and entries.
 */

/* The byte string that the number stands for in the tree. */
static struct bytes string_of(const struct judge *judge, uint64_t value)
{
    const uint8_t *p;
    size_t len;
    if (judge->oracle)
        return byte_value_of(value);
    int r = act_bytes(judge->snapshot->tree, value, &p, &len, NULL);
    return r == 0 ? bytes_copy(p, len) : bytes_copy("damaged", 7);
}

static bool has_strings(const struct judge *judge)
{
    struct act_info info;
    if (judge->oracle)
        return judge->has_byte_values;
    act_info(judge->snapshot->tree, &info);
    return info.values == ACT_VALUES_BYTES;
}

struct wanted wanted_of(const struct judge *judge, struct slice key)
{
    const uint8_t *p;
    size_t len;
    struct wanted wanted = {.outcome = ACT_MISS};
    if (judge->oracle) {
        const struct oracle_entry *entry = oracle_find(judge->oracle, key);
        return entry ? (struct wanted){.value = entry->value} : wanted;
    }
    const struct act *tree = judge->snapshot->tree;
    wanted.outcome = act_get(tree, key.p, key.len, &wanted.value, NULL);
    if (wanted.outcome == 0 && act_bytes(tree, wanted.value, &p, &len, NULL) == ACT_CORRUPT)
        wanted.outcome = ACT_CORRUPT;
    return wanted;
}

void judge_value(struct judging *j, uint64_t value)
{
    char text[24];
    if (has_strings(j->judge)) {
        struct bytes wanted = string_of(j->judge, value);
        struct slice found = wire_bytes(&j->wire);
        wire_want(&j->wire, slice_equal(found, slice_of(wanted.p, wanted.len)), "another string");
        bytes_free(&wanted);
    } else if (j->judge->u64_as_string) {
        snprintf(text, sizeof text, "%" PRIu64, value);
        wire_want_text(&j->wire, text);
    } else {
        uint64_t found = wire_number(&j->wire);
        wire_want(&j->wire, found == value, "another value");
    }
}

static size_t number_bytes(uint64_t n)
{
    return n < 128 ? 1 : n < 256 ? 2 : n < 65536 ? 3 : n <= UINT32_MAX ? 5 : 9;
}

static size_t head_bytes(size_t len)
{
    return len < 256 ? 2 : len < 65536 ? 3 : 5;
}

size_t judge_value_bytes(const struct judging *j, uint64_t value)
{
    char text[24];
    if (j->judge->u64_as_string && !has_strings(j->judge))
        return 1 + (size_t)snprintf(text, sizeof text, "%" PRIu64, value);
    if (!has_strings(j->judge))
        return number_bytes(value);
    struct bytes string = string_of(j->judge, value);
    size_t len = head_bytes(string.len) + string.len;
    bytes_free(&string);
    return len;
}

struct slice judge_entry(struct judging *j, bool is_key_only)
{
    struct act_info info;
    struct wire *wire = &j->wire;
    if (!is_key_only)
        wire_want_array(wire, 2);
    struct slice key = wire_bytes(wire);
    if (wire->wrong)
        return key;
    struct wanted wanted = wanted_of(j->judge, key);
    act_info(j->judge->snapshot->tree, &info);
    /* With tables, which nothing compares with the run but the verifier, lookups and walks may
     * differ. */
    bool is_sure = j->judge->oracle || info.metadata_state < ACT_METADATA_TABLES;
    wire_want(wire, wanted.outcome == 0 || !is_sure, "an entry that the tree does not have");
    if (is_key_only)
        return key;
    if (wanted.outcome == 0 && is_sure)
        judge_value(j, wanted.value);
    else
        wire_skip(wire);
    return key;
}

void judge_known_entry(struct judging *j, const struct oracle_entry *entry)
{
    if (!entry) {
        wire_nil(&j->wire);
        return;
    }
    wire_want_array(&j->wire, 2);
    struct slice key = wire_bytes(&j->wire);
    wire_want(&j->wire, slice_equal(key, entry->key), "another key");
    judge_value(j, entry->value);
}

static void judge_generation_map(struct judging *j, const struct generation *generation)
{
    char text[24];
    wire_want_map(&j->wire, 2);
    wire_want_text(&j->wire, "number");
    uint64_t number = wire_number(&j->wire);
    wire_want(&j->wire, number == generation->number, "another generation");
    wire_want_text(&j->wire, "identity");
    snprintf(text, sizeof text, "%" PRIu64, generation->identity);
    if (j->judge->u64_as_string)
        wire_want_text(&j->wire, text);
    else
        wire_want(&j->wire, wire_number(&j->wire) == generation->identity, "another identity");
}

void judge_generation(struct judging *j)
{
    wire_want_text(&j->wire, "generation");
    judge_generation_map(j, &j->judge->snapshot->generation);
}

/* true; and behind the response, if there is room, the notification. */
static void judge_watch(struct judging *j)
{
    struct wire *wire = &j->wire;
    wire_want(wire, wire_bool(wire), "watch is not true");
    if (!j->judge->announced || (j->judge->is_pool_small && wire_type(wire) == WIRE_NOTHING))
        return;
    wire_want_array(wire, 3);
    wire_want(wire, wire_number(wire) == 2, "no notification");
    wire_want_text(wire, "generation");
    wire_want_array(wire, 1);
    judge_generation_map(j, j->judge->announced);
}

static bool is_announced(const struct judge *judge, const struct query *query)
{
    return judge->announced && judge->announced->identity == query->identity;
}

/*
 * Results of single keys. What a key must come to; what cannot be answered is ACT_CORRUPT.
 */

typedef int answer_fn(struct judging *j, struct slice key);

static int judge_get(struct judging *j, struct slice key)
{
    struct wanted wanted = wanted_of(j->judge, key);
    if (wanted.outcome == 0)
        judge_value(j, wanted.value);
    else if (wanted.outcome == ACT_MISS)
        wire_nil(&j->wire);
    return wanted.outcome;
}

static int judge_exists(struct judging *j, struct slice key)
{
    uint64_t value;
    int r = wanted_of(j->judge, key).outcome;
    if (!j->judge->oracle) /* whatever its value is */
        r = act_get(j->judge->snapshot->tree, key.p, key.len, &value, NULL);
    if (r == ACT_CORRUPT)
        return r;
    bool exists = wire_bool(&j->wire);
    wire_want(&j->wire, exists == (r == 0), "exists says otherwise");
    return r;
}

/* What node must say. */
static int wanted_node(const struct judge *judge, struct slice key, struct act_node *ret)
{
    size_t first;
    const uint8_t *p;
    size_t len;
    *ret = (struct act_node){0};
    if (judge->oracle) {
        const struct oracle_entry *entry = oracle_find(judge->oracle, key);
        ret->has_value = entry;
        ret->value = entry ? entry->value : 0;
        oracle_children(judge->oracle, key, ret->children);
        bool is_there = key.len == 0 || oracle_prefix_range(judge->oracle, key, &first) > 0;
        return is_there ? 0 : ACT_MISS;
    }
    int r = act_node(judge->snapshot->tree, key.p, key.len, ret, NULL);
    if (r == 0 && ret->has_value &&
        act_bytes(judge->snapshot->tree, ret->value, &p, &len, NULL) == ACT_CORRUPT)
        return ACT_CORRUPT;
    return r;
}

static int judge_node(struct judging *j, struct slice key)
{
    struct act_node node;
    struct wire *wire = &j->wire;
    uint64_t children[4] = {0};
    int r = wanted_node(j->judge, key, &node);
    if (r == ACT_CORRUPT)
        return r;
    wire_want_map(wire, 3);
    wire_want_text(wire, "exists");
    bool exists = wire_bool(wire);
    wire_want(wire, exists == (r == 0), "node has another position");
    wire_want_text(wire, "value");
    if (r == 0 && node.has_value)
        judge_value(j, node.value);
    else
        wire_nil(wire);
    wire_want_text(wire, "children");
    struct slice bytes = wire_bytes(wire);
    for (size_t i = 0; i < bytes.len; i++) {
        wire_want(wire, i == 0 || bytes.p[i - 1] < bytes.p[i], "children out of order");
        children[bytes.p[i] / 64] |= UINT64_C(1) << bytes.p[i] % 64;
    }
    if (r == ACT_MISS)
        memset(node.children, 0, sizeof node.children);
    wire_want(wire, memcmp(children, node.children, sizeof children) == 0, "other children");
    return r;
}

/* Of a tree that nobody knows it is not known which of the beginnings of a key is damaged. */
static int judge_unknown_prefix(struct judging *j, struct slice key)
{
    struct slice found = judge_entry(j, false);
    wire_want(&j->wire, judge_has_prefix(key, found), "no prefix of the key");
    return 0;
}

/* Each beginning of the key that is an entry, from the shortest, by asking for each. */
static int judge_prefixes(struct judging *j, struct slice key)
{
    struct wire *wire = &j->wire;
    bool is_known = j->judge->oracle;
    if (!is_known && wire_type(wire) != WIRE_ARRAY)
        return ACT_CORRUPT;
    size_t n = wire_array(wire), n_found = 0;
    for (size_t i = 0; !is_known && i < n; i++)
        judge_unknown_prefix(j, key);
    for (size_t len = 0; is_known && len <= key.len && !wire->wrong; len++) {
        const struct oracle_entry *entry = oracle_find(j->judge->oracle, slice_of(key.p, len));
        if (!entry)
            continue;
        judge_known_entry(j, entry);
        n_found++;
    }
    wire_want(wire, !is_known || n_found == n, "another number of prefixes");
    return 0;
}

static int judge_longest_prefix(struct judging *j, struct slice key)
{
    const struct oracle_entry *entry = NULL;
    if (!j->judge->oracle && wire_type(&j->wire) == WIRE_ARRAY)
        return judge_unknown_prefix(j, key);
    if (!j->judge->oracle)
        return ACT_CORRUPT; /* or there is none: both may be nil */
    for (size_t len = key.len + 1; len > 0 && !entry; len--)
        entry = oracle_find(j->judge->oracle, slice_of(key.p, len - 1));
    judge_known_entry(j, entry);
    return 0;
}

static answer_fn *answer_of(enum method_id method)
{
    switch (method) {
    case METHOD_get:
    case METHOD_mget:
        return judge_get;
    case METHOD_exists:
        return judge_exists;
    case METHOD_node:
        return judge_node;
    case METHOD_prefixes:
        return judge_prefixes;
    case METHOD_longest_prefix:
        return judge_longest_prefix;
    default:
        return NULL;
    }
}

/* Which of the keys have failed is known for sure. */
static bool is_sure(const struct judging *j)
{
    return j->judge->oracle ||
           (j->query->method != METHOD_prefixes && j->query->method != METHOD_longest_prefix);
}

static void judge_key(struct judging *j, answer_fn *answer)
{
    if (answer(j, j->query->keys[0]) != ACT_CORRUPT)
        return;
    wire_want(&j->wire, !is_sure(j), "a key on a damaged path is answered");
    wire_nil(&j->wire);
}

/* [[index, error]...] of the keys that failed. */
static void judge_list_errors(struct judging *j, const bool failed[], size_t n_failed)
{
    struct wire *wire = &j->wire;
    wire_want_text(wire, "errors");
    size_t n = wire_array(wire);
    wire_want(wire, n <= n_failed && (n == n_failed || !is_sure(j)), "another number of errors");
    for (size_t i = 0, least = 0; i < n && !wire->wrong; i++) {
        wire_want_array(wire, 2);
        size_t index = wire_number(wire);
        wire_want(wire, index >= least && index < j->query->n_keys && failed[index],
                  "an error of a key that has none");
        least = index + 1;
        if (!j->judge->errors_as_string) {
            wire_want_array(wire, 2);
            wire_want(wire, wire_number(wire) == PROTO_CORRUPT, "another error");
        }
        struct slice text = wire_text(wire);
        wire_want(wire, judge_has_prefix(text, slice_of_str("CORRUPT: ")), "another error text");
    }
}

static void judge_list(struct judging *j, answer_fn *answer)
{
    bool failed[QUERY_KEYS_MAX] = {0};
    const struct query *query = j->query;
    size_t n_failed = 0;
    bool with_errors = query->options & QUERY_BIT(ERRORS) && query->errors;
    if (with_errors) {
        wire_want_map(&j->wire, 2);
        wire_want_text(&j->wire, "values");
    }
    wire_want_array(&j->wire, query->n_keys);
    for (size_t i = 0; i < query->n_keys && !j->wire.wrong; i++) {
        failed[i] = answer(j, query->keys[i]) == ACT_CORRUPT;
        n_failed += failed[i];
        if (failed[i])
            wire_nil(&j->wire);
    }
    if (with_errors)
        judge_list_errors(j, failed, n_failed);
}

/*
 * Results about the server.
 */

static void judge_hello(struct judging *j)
{
    struct wire *wire = &j->wire;
    static const char *const limits[] = {"max_request_bytes", "max_reply_bytes",   "max_keys",
                                         "max_key_bytes",     "max_visited_nodes", "max_wait_ms"};
    const struct config *config = j->judge->config;
    const uint64_t values[] = {config->limits_max_request_bytes, config->limits_max_reply_bytes,
                               config->limits_max_keys,          config->limits_max_key_bytes,
                               config->limits_max_visited_nodes, config->limits_max_wait_ms};
    wire_want_map(wire, 6);
    wire_want_text(wire, "server");
    wire_want_text(wire, "actd");
    wire_want_text(wire, "version");
    wire_text(wire);
    wire_want_text(wire, "protocol");
    wire_number(wire);
    wire_want_text(wire, "methods");
    wire_want_array(wire, N_METHODS);
    for (unsigned i = 0; i < N_METHODS; i++)
        wire_text(wire);
    wire_want_text(wire, "limits");
    wire_want_map(wire, 6);
    for (unsigned i = 0; i < 6; i++) {
        wire_want_text(wire, limits[i]);
        wire_want(wire, wire_number(wire) == values[i], "another limit");
    }
    judge_generation(j);
}

static void judge_info(struct judging *j)
{
    struct wire *wire = &j->wire;
    wire_want_map(wire, 6);
    for (unsigned i = 0; i < 3; i++) {
        wire_text(wire);
        wire_skip(wire);
    }
    wire_want_text(wire, "tree");
    wire_want_map(wire, 11);
    for (unsigned i = 0; i < 11; i++) {
        wire_text(wire);
        wire_skip(wire);
    }
    judge_generation(j);
    wire_want_text(wire, "refused");
    wire_skip(wire);
}

static void judge_result(struct judging *j)
{
    answer_fn *answer = answer_of(j->query->method);
    if (answer) {
        if (j->query->is_list)
            judge_list(j, answer);
        else
            judge_key(j, answer);
        return;
    }
    switch (j->query->method) {
    case METHOD_hello:
        judge_hello(j);
        break;
    case METHOD_ping:
        wire_want_text(&j->wire, "pong");
        break;
    case METHOD_info:
        judge_info(j);
        break;
    case METHOD_watch:
        judge_watch(j);
        break;
    case METHOD_wait_generation:
        wire_want(&j->wire, wire_bool(&j->wire) == is_announced(j->judge, j->query),
                  "another generation is announced");
        break;
    case METHOD_scan:
    case METHOD_range:
        judge_scan(j);
        break;
    case METHOD_mscan:
        judge_mscan(j);
        break;
    case METHOD_count:
        judge_count(j);
        break;
    case METHOD_explore:
        judge_explore(j);
        break;
    case METHOD_next:
    case METHOD_prev:
        judge_neighbour(j, j->query->method == METHOD_next);
        break;
    default:
        wire_skip(&j->wire);
    }
}

/*
 * Errors.
 */

static unsigned refused_wait(const struct judge *judge, const struct query *query)
{
    if (query->timeout_ms > judge->config->limits_max_wait_ms)
        return BIT(BAD_PARAMS);
    bool has_to_wait = !is_announced(judge, query) && query->timeout_ms > 0;
    return judge->never_waits && has_to_wait && !judge->is_waited_for ? BIT(DRAINING) : 0;
}

static unsigned refused_pin(const struct judge *judge, const struct query *query)
{
    if (query->identity == judge->snapshot->generation.identity)
        return 0;
    bool is_coming = judge->offered && query->identity == judge->offered->identity;
    return is_coming && judge->never_waits && !judge->is_waited_for ? BIT(DRAINING) : BIT(GONE);
}

/* What a query is refused with, whatever the tree holds; if more is wrong with it, any of them. */
static unsigned refusals(const struct judge *judge, const struct query *query)
{
    unsigned errors = 0;
    bool has_options = query->options != 0;
    if (query->flaw == FLAW_METHOD)
        return BIT(UNKNOWN_METHOD);
    if (query->flaw != FLAW_NONE)
        errors |= BIT(BAD_PARAMS);
    for (size_t i = 0; i < query->n_keys; i++)
        if (query->keys[i].len > judge->config->limits_max_key_bytes)
            errors |= BIT(TOO_LARGE);
    if (query->is_list && query->n_keys > judge->config->limits_max_keys)
        errors |= BIT(TOO_LARGE);
    if ((query->options & QUERY_BIT(LIMIT) && query->limit == 0) ||
        (query->options & QUERY_BIT(MAX_BYTES) && query->max_bytes == 0) ||
        (query->options & QUERY_BIT(MAX_VISITED_NODES) && query->max_visited == 0))
        errors |= BIT(BAD_PARAMS);
    if (query->options & QUERY_BIT(CURSORS) && query->n_cursors != query->n_keys)
        errors |= BIT(BAD_PARAMS);
    if (query->method == METHOD_wait_generation)
        errors |= refused_wait(judge, query);
    if (query->options & QUERY_BIT(PIN))
        errors |= refused_pin(judge, query);
    if (errors == 0 && has_options && judge_refuses_cursors(judge, query))
        errors |= BIT(BAD_CURSOR);
    return errors;
}

static bool is_in_order(enum method_id method)
{
    return method >= METHOD_scan && method <= METHOD_explore && method != METHOD_longest_prefix &&
           method != METHOD_prefixes;
}

static bool needs_tree(const struct query *query)
{
    return query->method < METHOD_info && query->method != METHOD_hello &&
           query->method != METHOD_ping;
}

static bool may_be_corrupt(const struct judge *judge, const struct query *query)
{
    bool has_errors_inside = query->is_list && query->method != METHOD_mscan;
    return !judge->is_whole && needs_tree(query) && !has_errors_inside;
}

/* Errors that may come while it is worked on. Where all keys are short enough, a walk finds none
 * that is not. */
static unsigned failures(const struct judge *judge, const struct query *query,
                         const struct judged *judged)
{
    unsigned errors = 0;
    bool has_long = !judge->oracle || judge->longest_key > judge->config->limits_max_key_bytes;
    if (judged->is_over_length || (has_long && is_in_order(query->method)))
        errors |= BIT(TOO_LARGE);
    if (may_be_corrupt(judge, query))
        errors |= BIT(CORRUPT);
    if (is_in_order(query->method) && query->method != METHOD_count &&
        !judge_has_ample_budget(judge, query))
        errors |= BIT(LIMIT);
    return errors;
}

static const char *judge_error(const struct judge *judge, const struct query *query,
                               const struct judged *judged)
{
    unsigned error = judged->error != 0 ? 1u << judged->error : 0;
    unsigned must = refusals(judge, query);
    unsigned may = (judge->is_pool_small ? BIT(BUSY) : 0) | must;
    if (judge->is_draining)
        return error & (BIT(DRAINING) | (may & BIT(BUSY))) ? NULL : "not DRAINING";
    if (query->flaw != FLAW_METHOD && judge->is_damaged && needs_tree(query))
        return error & (BIT(IO_ERROR) | (may & BIT(BUSY))) ? NULL : "not IO_ERROR";
    if (error == 0)
        return must ? "what should be refused is answered" : NULL;
    /* A bad cursor of a list shows when its turn comes. */
    if (must == 0 || must == BIT(BAD_CURSOR))
        may |= failures(judge, query, judged);
    return error & may ? NULL : "an error that it cannot have";
}

/* A single key fails where its lookup does. */
static const char *judge_failed_key(const struct judging *j)
{
    struct judging dry = *j;
    answer_fn *answer = answer_of(j->query->method);
    if (!answer || j->query->is_list || !is_sure(j) || j->judged->error != PROTO_CORRUPT)
        return NULL;
    return answer(&dry, j->query->keys[0]) == ACT_CORRUPT ? NULL : "a sound key fails";
}

/* "NAME: text", and its number where the mode has numbers. */
static void read_error(const struct judge *judge, struct wire *wire, struct judged *judged)
{
    uint64_t number = 0;
    if (!judge->errors_as_string) {
        wire_want_array(wire, 2);
        number = wire_number(wire);
    }
    struct slice text = wire_text(wire);
    for (unsigned i = PROTO_BAD_REQUEST; i <= PROTO_UNAVAILABLE; i++) {
        struct slice name = slice_of_str(proto_error_name(i));
        if (judge_has_prefix(text, name) && text.len > name.len + 2 &&
            memcmp(text.p + name.len, ": ", 2) == 0)
            judged->error = i;
    }
    wire_want(wire, judged->error != 0, "an error that is none");
    wire_want(wire, judge->errors_as_string || judged->error == number,
              "an error's number is not that of its name");
    judged->is_over_length =
        judged->error == PROTO_TOO_LARGE &&
        memmem(text.p, text.len, "limits.max_reply_bytes", strlen("limits.max_reply_bytes"));
}

bool judge_has_ample_budget(const struct judge *judge, const struct query *query)
{
    uint64_t scans = query->method == METHOD_mscan && query->n_keys > 0 ? query->n_keys : 1;
    return judge->is_whole && judge_budget(judge, query) / scans >= judge->most_nodes;
}

const char *judge_reply(const struct judge *judge, const struct query *query, uint32_t msgid,
                        struct slice reply, struct judged *ret)
{
    *ret = (struct judged){0};
    struct judging j = {.judge = judge, .query = query, .begin = reply.p, .judged = ret};
    struct wire *wire = &j.wire;
    *wire = wire_of(reply);
    wire_want_array(wire, 4);
    wire_want(wire, wire_number(wire) == 1, "no response");
    wire_want(wire, wire_number(wire) == msgid, "a response to another request");
    if (wire_type(wire) == WIRE_NIL) {
        wire_nil(wire);
        wire_want(wire, reply.len <= judge->config->limits_max_reply_bytes,
                  "a reply longer than limits.max_reply_bytes");
    } else {
        read_error(judge, wire, ret);
    }
    if (query && !wire->wrong)
        wire->wrong = judge_error(judge, query, ret);
    if (query && !wire->wrong)
        wire->wrong = judge_failed_key(&j);
    bool is_scan = query && (query->method == METHOD_scan || query->method == METHOD_range);
    if (is_scan && ret->is_over_length && !wire->wrong)
        wire->wrong = judge_long_scan(&j);
    if (is_scan && ret->error == PROTO_CORRUPT && !wire->wrong)
        wire->wrong = judge_failed_scan(&j);
    if (ret->error != 0)
        wire_nil(wire);
    else if (query)
        judge_result(&j);
    else
        wire_skip(wire);
    wire_want_end(wire);
    return wire->wrong;
}
