/*
 * query: see query.h.
 */
#include "query.h"

#include <inttypes.h>
#include <stdio.h>

#define PAGE_OPTIONS                                                                               \
    (QUERY_BIT(LIMIT) | QUERY_BIT(MAX_BYTES) | QUERY_BIT(MAX_VISITED_NODES) | QUERY_BIT(REVERSE) | \
     QUERY_BIT(KEYS_ONLY) | QUERY_BIT(PIN))
#define LIST_OPTIONS   (QUERY_BIT(ERRORS) | QUERY_BIT(PIN))
#define BUDGET_OPTIONS (QUERY_BIT(MAX_VISITED_NODES) | QUERY_BIT(PIN))

/* What methods take. */
static const struct shape {
    size_t n_keys;            /* where they do not come as a list; 2: those of a range */
    bool may_list, must_list; /* an array of keys */
    unsigned options, list_options;
} shapes[N_METHODS] = {
    [METHOD_get] = {.n_keys = 1},
    [METHOD_mget] = {.must_list = true, .list_options = LIST_OPTIONS},
    [METHOD_exists] = {.n_keys = 1},
    [METHOD_node] = {.n_keys = 1},
    [METHOD_scan] = {.n_keys = 1, .options = PAGE_OPTIONS | QUERY_BIT(CURSOR)},
    [METHOD_range] = {.n_keys = 2, .options = PAGE_OPTIONS | QUERY_BIT(CURSOR)},
    [METHOD_mscan] = {.must_list = true, .list_options = PAGE_OPTIONS | QUERY_BIT(CURSORS)},
    [METHOD_count] = {.n_keys = 1, .options = BUDGET_OPTIONS},
    [METHOD_longest_prefix] = {.n_keys = 1, .may_list = true, .list_options = LIST_OPTIONS},
    [METHOD_prefixes] = {.n_keys = 1, .may_list = true, .list_options = LIST_OPTIONS},
    [METHOD_next] = {.n_keys = 1},
    [METHOD_prev] = {.n_keys = 1},
    [METHOD_explore] = {.n_keys = 1, .options = BUDGET_OPTIONS},
};

static const char *const method_texts[] = {
#define X(name, least, most, result) #name,
    METHODS(X)
#undef X
};

static const char *const option_texts[QUERY_OPTIONS] = {
    [QUERY_LIMIT] = "limit",     [QUERY_MAX_BYTES] = "max_bytes",
    [QUERY_REVERSE] = "reverse", [QUERY_MAX_VISITED_NODES] = "max_visited_nodes",
    [QUERY_ERRORS] = "errors",   [QUERY_KEYS_ONLY] = "keys_only",
    [QUERY_CURSOR] = "cursor",   [QUERY_CURSORS] = "cursors",
    [QUERY_PIN] = "pin",
};

unsigned query_allowed(const struct query *query)
{
    const struct shape *shape = &shapes[query->method];
    return query->is_list ? shape->list_options : shape->options;
}

static bool has_options(const struct query *query)
{
    return query->options != 0 || query->has_hello_options;
}

/* Flaws of what is not there are none. */
static bool can_have_flaw(const struct query *query)
{
    switch (query->flaw) {
    case FLAW_KEY_TYPE:
        return query->n_keys > 0 || query->method == METHOD_wait_generation;
    case FLAW_LIST_TYPE:
        return shapes[query->method].must_list;
    case FLAW_NO_PARAMS:
        return query->n_keys > 0 || query->is_list || query->method == METHOD_wait_generation;
    case FLAW_OPTION_TYPE:
    case FLAW_OPTION_TWICE:
        return has_options(query);
    case FLAW_CURSOR_TYPE:
        return query->options & QUERY_BIT(CURSORS) && query->n_cursors > 0;
    default:
        return true;
    }
}

void query_settle(struct query *query)
{
    const struct shape *shape = &shapes[query->method];
    query->is_list = shape->must_list || (shape->may_list && query->is_list);
    if (!query->is_list)
        query->n_keys = shape->n_keys;
    query->options &= query_allowed(query);
    if (query->method != METHOD_hello)
        query->has_hello_options = false;
    if (!can_have_flaw(query))
        query->flaw = FLAW_NONE;
}

static void pack_text(msgpack_packer *packer, const char *text)
{
    msgpack_pack_str_with_body(packer, text, strlen(text));
}

static void pack_bytes(msgpack_packer *packer, struct slice bytes, bool is_text)
{
    if (!bytes.p)
        msgpack_pack_nil(packer);
    else if (is_text)
        msgpack_pack_str_with_body(packer, bytes.p, bytes.len);
    else
        msgpack_pack_bin_with_body(packer, bytes.p, bytes.len);
}

static void pack_bool(msgpack_packer *packer, bool value)
{
    if (value)
        msgpack_pack_true(packer);
    else
        msgpack_pack_false(packer);
}

/* What is right nowhere. */
static void pack_wrong(msgpack_packer *packer, unsigned which)
{
    switch (which % 4) {
    case 0:
        msgpack_pack_int(packer, -1);
        break;
    case 1:
        msgpack_pack_double(packer, 1);
        break;
    case 2:
        msgpack_pack_ext_with_body(packer, "ext", 3, 1);
        break;
    default:
        msgpack_pack_int64(packer, INT64_MIN);
    }
}

static void pack_key(const struct query *query, msgpack_packer *packer, size_t i)
{
    if (query->flaw == FLAW_KEY_TYPE && query->flaw_at % query->n_keys == i)
        pack_wrong(packer, query->flaw_at / 16);
    else
        pack_bytes(packer, query->keys[i], query->is_text);
}

static void pack_identity(const struct query *query, msgpack_packer *packer)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, query->identity);
    if (query->is_identity_text)
        msgpack_pack_str_with_body(packer, text, strlen(text));
    else
        msgpack_pack_uint64(packer, query->identity);
}

static void pack_wait(const struct query *query, msgpack_packer *packer)
{
    bool is_flawed = query->flaw == FLAW_KEY_TYPE;
    if (is_flawed && query->flaw_at & 1)
        pack_wrong(packer, query->flaw_at / 16);
    else
        pack_identity(query, packer);
    if (is_flawed && !(query->flaw_at & 1))
        pack_wrong(packer, query->flaw_at / 16);
    else
        msgpack_pack_uint64(packer, query->timeout_ms);
}

static void pack_keys(const struct query *query, msgpack_packer *packer)
{
    if (query->method == METHOD_wait_generation)
        pack_wait(query, packer);
    if (query->flaw == FLAW_LIST_TYPE) {
        pack_wrong(packer, query->flaw_at);
        return;
    }
    if (query->is_list)
        msgpack_pack_array(packer, query->n_keys);
    for (size_t i = 0; i < query->n_keys; i++)
        pack_key(query, packer, i);
}

static void pack_cursors(const struct query *query, msgpack_packer *packer)
{
    msgpack_pack_array(packer, query->n_cursors);
    for (size_t i = 0; i < query->n_cursors; i++) {
        if (query->flaw == FLAW_CURSOR_TYPE && query->flaw_at % query->n_cursors == i)
            pack_wrong(packer, query->flaw_at / 16);
        else
            pack_bytes(packer, query->cursors[i], false);
    }
}

static void pack_option(const struct query *query, msgpack_packer *packer, enum query_option option)
{
    pack_text(packer, option_texts[option]);
    switch (option) {
    case QUERY_LIMIT:
        msgpack_pack_uint64(packer, query->limit);
        break;
    case QUERY_MAX_BYTES:
        msgpack_pack_uint64(packer, query->max_bytes);
        break;
    case QUERY_MAX_VISITED_NODES:
        msgpack_pack_uint64(packer, query->max_visited);
        break;
    case QUERY_REVERSE:
        pack_bool(packer, query->reverse);
        break;
    case QUERY_KEYS_ONLY:
        pack_bool(packer, query->keys_only);
        break;
    case QUERY_ERRORS:
        pack_bool(packer, query->errors);
        break;
    case QUERY_PIN:
        pack_identity(query, packer);
        break;
    case QUERY_CURSOR:
        pack_bytes(packer, query->cursor, false);
        break;
    default:
        pack_cursors(query, packer);
    }
}

static void pack_hello_options(const struct query *query, msgpack_packer *packer)
{
    pack_text(packer, "errors");
    pack_text(packer, query->errors_as_string ? "string" : "array");
    pack_text(packer, "u64");
    pack_text(packer, query->u64_as_string ? "str" : "int");
}

/* Which of its options has the flaw; -1: one of hello's. */
static int flawed_option(const struct query *query)
{
    unsigned left = query->options;
    if (left == 0)
        return -1;
    for (int i = (int)query->flaw_at / 16 % __builtin_popcount(left); i > 0; i--)
        left &= left - 1;
    return __builtin_ctz(left);
}

/* An option more than there should be, or one with a wrong value. */
static void pack_flawed_option(const struct query *query, msgpack_packer *packer)
{
    unsigned at = query->flaw_at;
    int own = flawed_option(query);
    if (query->flaw == FLAW_OPTION_NAME) {
        pack_wrong(packer, at);
        msgpack_pack_int(packer, 1);
    } else if (query->flaw == FLAW_OPTION_UNKNOWN) {
        unsigned foreign = at % QUERY_OPTIONS;
        bool is_foreign = query->method != METHOD_hello && !(query_allowed(query) >> foreign & 1);
        pack_text(packer, is_foreign ? option_texts[foreign] : "limits");
        msgpack_pack_int(packer, 1);
    } else if (own < 0) { /* hello */
        pack_text(packer, at & 1 ? "u64" : "errors");
        pack_text(packer, query->flaw == FLAW_OPTION_TYPE ? "text" : at & 1 ? "int" : "array");
    } else if (query->flaw == FLAW_OPTION_TYPE) {
        pack_text(packer, option_texts[own]);
        pack_wrong(packer, at);
    } else {
        pack_option(query, packer, (enum query_option)own);
    }
}

static void pack_options(const struct query *query, msgpack_packer *packer)
{
    bool is_flawed = query->flaw >= FLAW_OPTION_NAME && query->flaw <= FLAW_OPTION_TWICE;
    unsigned options = query->options;
    if (query->flaw == FLAW_OPTIONS_TYPE) {
        pack_wrong(packer, query->flaw_at);
        return;
    }
    /* The wrong one comes instead of the right one. */
    if (query->flaw == FLAW_OPTION_TYPE && options != 0)
        options &= ~(1u << flawed_option(query));
    bool has_hello = query->has_hello_options && query->flaw != FLAW_OPTION_TYPE;
    msgpack_pack_map(packer, (size_t)__builtin_popcount(options) + (has_hello ? 2 : 0) + is_flawed);
    if (is_flawed && query->flaw_at & 1)
        pack_flawed_option(query, packer);
    if (has_hello)
        pack_hello_options(query, packer);
    for (unsigned option = 0; option < QUERY_OPTIONS; option++)
        if (options >> option & 1)
            pack_option(query, packer, (enum query_option)option);
    if (is_flawed && !(query->flaw_at & 1))
        pack_flawed_option(query, packer);
}

void query_pack(const struct query *query, uint32_t msgid, msgpack_sbuffer *ret)
{
    msgpack_packer packer;
    const char *name = method_texts[query->method];
    bool is_flawed = query->flaw >= FLAW_OPTIONS_TYPE && query->flaw <= FLAW_OPTION_TWICE;
    bool with_options = has_options(query) || is_flawed;
    size_t n = query->flaw == FLAW_LIST_TYPE || query->is_list ? 1
               : query->method == METHOD_wait_generation       ? 2
                                                               : query->n_keys;
    msgpack_packer_init(&packer, ret, msgpack_sbuffer_write);
    msgpack_pack_array(&packer, 4);
    msgpack_pack_int(&packer, 0);
    msgpack_pack_uint32(&packer, msgid);
    msgpack_pack_str_with_body(&packer, name, strlen(name) - (query->flaw == FLAW_METHOD));
    if (query->flaw == FLAW_NO_PARAMS) {
        msgpack_pack_array(&packer, 0);
        return;
    }
    /* One more than the most that any method takes. */
    size_t more = query->flaw == FLAW_MORE_PARAMS ? 4 - n - with_options : 0;
    msgpack_pack_array(&packer, n + with_options + more);
    pack_keys(query, &packer);
    if (with_options)
        pack_options(query, &packer);
    for (size_t i = 0; i < more; i++)
        msgpack_pack_nil(&packer);
}
