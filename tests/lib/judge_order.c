/*
 * judge_order: see judging.h. Results of methods in the order of keys.
 */
#include "bytes.h"
#include "judging.h"

#include <err.h>
#include <stdlib.h>

/* What the server takes where it is not told. */
#define SCAN_LIMIT    1000
#define SCAN_BYTES    (1024 * 1024)
#define EXPLORE_NODES 100000
/* Of a page, besides its entries and its cursor: heads, names, the generation. */
#define PAGE_REST_BYTES 128
#define CURSOR_HEAD     9

/* What one page of a scan is of. */
struct scan {
    struct slice from, to; /* a prefix in `from`, or a range */
    bool is_prefix, has_to, is_reverse, is_keys_only;
    struct slice cursor; /* nil where p is NULL */
    uint64_t limit, max_bytes;
};

/* The page as it came. */
struct page {
    size_t n, bytes; /* of its entries */
    size_t end;      /* of them, from the reply's begin */
    struct slice last;
    struct slice cursor;
};

uint64_t judge_budget(const struct judge *judge, const struct query *query)
{
    uint64_t most = judge->config->limits_max_visited_nodes;
    uint64_t asked = query->options & QUERY_BIT(MAX_VISITED_NODES) ? query->max_visited
                     : query->method == METHOD_explore             ? EXPLORE_NODES
                                                                   : most;
    return asked < most ? asked : most;
}

/* Number i of the scans that the query asks for. */
static struct scan scan_of(const struct query *query, size_t i)
{
    struct scan scan = {.is_prefix = query->method != METHOD_range,
                        .from = query->keys[i],
                        .limit = SCAN_LIMIT,
                        .max_bytes = SCAN_BYTES,
                        .is_reverse = query->options & QUERY_BIT(REVERSE) && query->reverse,
                        .is_keys_only = query->options & QUERY_BIT(KEYS_ONLY) && query->keys_only};
    if (query->method == METHOD_range) {
        scan.to = query->keys[1];
        scan.has_to = query->keys[1].p;
    }
    if (query->options & QUERY_BIT(LIMIT))
        scan.limit = query->limit;
    if (query->options & QUERY_BIT(MAX_BYTES))
        scan.max_bytes = query->max_bytes;
    if (query->options & QUERY_BIT(CURSOR))
        scan.cursor = query->cursor;
    if (query->options & QUERY_BIT(CURSORS))
        scan.cursor = query->cursors[i];
    return scan;
}

static struct slice position_of(struct slice cursor)
{
    return slice_of(cursor.p + CURSOR_HEAD, cursor.len - CURSOR_HEAD);
}

/* Is that a position of the scan, its end included? */
static bool is_inside(const struct scan *scan, struct slice position)
{
    if (scan->is_prefix)
        return judge_has_prefix(position, scan->from);
    return oracle_compare(position, scan->from) >= 0 &&
           (!scan->has_to || oracle_compare(position, scan->to) <= 0);
}

static bool is_good_cursor(const struct judge *judge, const struct scan *scan, struct slice cursor)
{
    return cursor.len >= CURSOR_HEAD &&
           cursor.len <= CURSOR_HEAD + judge->config->limits_max_key_bytes + 1 &&
           cursor.p[0] == (scan->is_reverse ? 2 : 1) && is_inside(scan, position_of(cursor));
}

static bool refuses(const struct judge *judge, const struct query *query, size_t i)
{
    struct scan scan = scan_of(query, i);
    return scan.cursor.p && !is_good_cursor(judge, &scan, scan.cursor);
}

bool judge_refuses_cursors(const struct judge *judge, const struct query *query)
{
    if (query->method == METHOD_scan || query->method == METHOD_range)
        return refuses(judge, query, 0);
    for (size_t i = 0; i < query->n_keys && query->method == METHOD_mscan; i++)
        if (refuses(judge, query, i))
            return true;
    return false;
}

/* The entries of the oracle that the scan has left: numbers *ret_low to *ret_high - 1. */
static void span_of(const struct oracle *oracle, const struct scan *scan, size_t *ret_low,
                    size_t *ret_high)
{
    size_t low, high = oracle->n;
    if (scan->is_prefix) {
        size_t n = oracle_prefix_range(oracle, scan->from, &low);
        high = low + n;
    } else {
        low = oracle_lower_bound(oracle, scan->from);
        if (scan->has_to)
            high = oracle_lower_bound(oracle, scan->to);
    }
    if (scan->cursor.p) {
        size_t at = oracle_lower_bound(oracle, position_of(scan->cursor));
        if (scan->is_reverse)
            high = at < high ? at : high;
        else
            low = at > low ? at : low;
    }
    *ret_low = low;
    *ret_high = high > low ? high : low;
}

/* What holds of any tree: one entry behind the other, all of them inside, none passed before. */
static void judge_order(struct judging *j, const struct scan *scan, const struct page *page,
                        struct slice key)
{
    int direction = scan->is_reverse ? -1 : 1;
    wire_want(&j->wire, is_inside(scan, key), "an entry outside the scan");
    wire_want(&j->wire, !scan->has_to || oracle_compare(key, scan->to) < 0,
              "an entry behind the range");
    wire_want(&j->wire, page->n == 0 || direction * oracle_compare(key, page->last) > 0,
              "entries out of order");
    if (!scan->cursor.p)
        return;
    bool is_before = oracle_compare(key, position_of(scan->cursor)) < 0;
    wire_want(&j->wire, is_before == scan->is_reverse, "an entry on the cursor's other side");
}

static void judge_entries(struct judging *j, const struct scan *scan, struct page *ret)
{
    size_t low = 0, high = 0;
    const struct oracle *oracle = j->judge->oracle;
    if (oracle)
        span_of(oracle, scan, &low, &high);
    wire_want_text(&j->wire, "entries");
    size_t n = wire_array(&j->wire);
    const uint8_t *begin = j->wire.rest.p;
    wire_want(&j->wire, n <= scan->limit, "more entries than the limit");
    wire_want(&j->wire, !oracle || n <= high - low, "more entries than there are");
    for (; ret->n < n && !j->wire.wrong; ret->n++) {
        struct slice key = judge_entry(j, scan->is_keys_only);
        if (j->wire.wrong)
            return;
        judge_order(j, scan, ret, key);
        size_t index = scan->is_reverse ? high - 1 - ret->n : low + ret->n;
        wire_want(&j->wire, !oracle || slice_equal(oracle->entries[index].key, key),
                  "an entry is missing");
        ret->last = key;
    }
    ret->bytes = (size_t)(j->wire.rest.p - begin);
    ret->end = (size_t)(j->wire.rest.p - j->begin);
    wire_want(&j->wire, n == 1 || ret->bytes <= scan->max_bytes, "a page of too many bytes");
}

static size_t bytes_of(const struct judging *j, const struct scan *scan,
                       const struct oracle_entry *entry)
{
    size_t len = entry->key.len;
    len += len < 256 ? 2 : len < 65536 ? 3 : 5;
    return scan->is_keys_only ? len : 1 + len + judge_value_bytes(j, entry->value);
}

/* Could the next entry not have come too? One that fails comes in a page of its own. */
static bool is_full(const struct judging *j, const struct scan *scan, const struct page *page,
                    const struct oracle_entry *next)
{
    size_t bytes = bytes_of(j, scan, next);
    return page->n == scan->limit || page->bytes + bytes > scan->max_bytes ||
           next->key.len > j->judge->config->limits_max_key_bytes ||
           page->end + bytes + next->key.len + PAGE_REST_BYTES >
               j->judge->config->limits_max_reply_bytes;
}

/* Of a tree that is known: nothing is left out, and the page is no shorter than it must be. */
static void judge_rest(struct judging *j, const struct scan *scan, const struct page *page)
{
    size_t low, high;
    const struct oracle *oracle = j->judge->oracle;
    span_of(oracle, scan, &low, &high);
    size_t left = high - low - page->n;
    if (!page->cursor.p) {
        wire_want(&j->wire, left == 0, "the scan ends too early");
        return;
    }
    struct scan next = *scan;
    next.cursor = page->cursor;
    size_t next_low, next_high;
    span_of(oracle, &next, &next_low, &next_high);
    wire_want(&j->wire, next_high - next_low == left, "a cursor that leads elsewhere");
    wire_want(&j->wire, next_low == (scan->is_reverse ? low : low + page->n) || left == 0,
              "a cursor that leads elsewhere");
    if (!judge_has_ample_budget(j->judge, j->query))
        return;
    wire_want(&j->wire, left > 0, "a cursor where nothing is left");
    const struct oracle_entry *entry =
        &oracle->entries[scan->is_reverse ? next_high - 1 : next_low];
    wire_want(&j->wire, left == 0 || is_full(j, scan, page, entry), "a page that is too short");
}

/* A cursor leads on: it leaves fewer entries than there were before the page. */
static void judge_cursor(struct judging *j, const struct scan *scan, const struct page *page)
{
    struct wire *wire = &j->wire;
    wire_want(wire, page->n > 0, "a page that leads nowhere");
    wire_want(wire, is_good_cursor(j->judge, scan, page->cursor), "a cursor that is refused");
    if (wire->wrong)
        return;
    int order = oracle_compare(position_of(page->cursor), page->last);
    wire_want(wire, scan->is_reverse ? order <= 0 : order > 0, "a cursor that leads back");
    uint64_t identity = 0;
    for (unsigned i = 1; i < CURSOR_HEAD; i++)
        identity = identity << 8 | page->cursor.p[i];
    wire_want(wire, identity == j->judge->snapshot->generation.identity,
              "a cursor of another generation");
}

static void judge_page(struct judging *j, size_t i)
{
    struct scan scan = scan_of(j->query, i);
    struct page page = {0};
    wire_want_map(&j->wire, 3);
    judge_entries(j, &scan, &page);
    wire_want_text(&j->wire, "cursor");
    if (wire_type(&j->wire) == WIRE_NIL)
        wire_nil(&j->wire);
    else
        page.cursor = wire_bytes(&j->wire);
    judge_generation(j);
    if (page.cursor.p && !j->wire.wrong)
        judge_cursor(j, &scan, &page);
    if (j->judge->oracle && !j->wire.wrong)
        judge_rest(j, &scan, &page);
    j->judged->cursors[j->judged->n_cursors++] = page.cursor;
}

/* A scan whose reply is too long has a first entry that is. */
const char *judge_long_scan(const struct judging *j)
{
    size_t low, high;
    const struct oracle *oracle = j->judge->oracle;
    struct scan scan = scan_of(j->query, 0);
    if (!oracle)
        return NULL;
    span_of(oracle, &scan, &low, &high);
    if (low == high)
        return "an empty page is too long";
    const struct oracle_entry *first = &oracle->entries[scan.is_reverse ? high - 1 : low];
    size_t len = bytes_of(j, &scan, first) + first->key.len + 2 * PAGE_REST_BYTES;
    return len > j->judge->config->limits_max_reply_bytes ? NULL : "a page that is not cut";
}

/* To the first entry of the scan. 0, or the outcome of a move. */
static int first_of(const struct scan *scan, struct act_cursor *cursor)
{
    struct slice start = scan->cursor.p ? position_of(scan->cursor) : scan->from;
    const void *to = scan->to.len > 0 ? scan->to.p : (const void *)"";
    if (scan->is_prefix)
        act_cursor_set_prefix(cursor, scan->from.p, scan->from.len);
    else
        act_cursor_set_range(cursor, scan->from.p, scan->from.len, scan->has_to ? to : NULL,
                             scan->to.len);
    if (scan->is_reverse && !scan->cursor.p)
        return act_cursor_last(cursor);
    int r = act_cursor_seek(cursor, start.p, start.len);
    if (scan->is_reverse)
        return r == 0 || r == ACT_MISS ? act_cursor_prev(cursor) : r;
    return r == ACT_MISS ? act_cursor_next(cursor) : r;
}

const char *judge_failed_scan(const struct judging *j)
{
    const uint8_t *p;
    size_t len;
    uint64_t value = 0;
    struct act_cursor *cursor;
    struct scan scan = scan_of(j->query, 0);
    const struct act *tree = j->judge->snapshot->tree;
    if (act_cursor_new(tree, j->judge->config->limits_max_key_bytes, &cursor) != 0)
        err(2, "act_cursor_new");
    act_cursor_set_budget(cursor, judge_budget(j->judge, j->query));
    bool is_there = first_of(&scan, cursor) == 0 && act_cursor_value(cursor, &value) == 0 &&
                    (scan.is_keys_only || act_bytes(tree, value, &p, &len, NULL) != ACT_CORRUPT);
    act_cursor_free(cursor);
    return is_there ? "a page fails that could have an entry" : NULL;
}

void judge_scan(struct judging *j)
{
    judge_page(j, 0);
}

void judge_mscan(struct judging *j)
{
    wire_want_array(&j->wire, j->query->n_keys);
    for (size_t i = 0; i < j->query->n_keys && !j->wire.wrong; i++)
        judge_page(j, i);
}

void judge_count(struct judging *j)
{
    struct wire *wire = &j->wire;
    size_t first, n = 0;
    if (j->judge->oracle)
        n = oracle_prefix_range(j->judge->oracle, j->query->keys[0], &first);
    wire_want_map(wire, 2);
    wire_want_text(wire, "count");
    uint64_t count = wire_number(wire);
    wire_want_text(wire, "exact");
    bool is_exact = wire_bool(wire);
    wire_want(wire, is_exact || !judge_has_ample_budget(j->judge, j->query), "a count not exact");
    if (j->judge->oracle)
        wire_want(wire, is_exact ? count == n : count <= n, "another count");
}

/* [byte, key, value, count] of what begins with below. */
static void judge_child(struct judging *j, struct slice below, bool is_ample)
{
    struct wire *wire = &j->wire;
    const struct oracle *oracle = j->judge->oracle;
    size_t first = 0, n = oracle ? oracle_prefix_range(oracle, below, &first) : 0;
    wire_want_array(wire, 4);
    wire_want(wire, wire_number(wire) == below.p[below.len - 1], "another byte");
    bool is_empty = wire_type(wire) == WIRE_NIL;
    if (is_empty) {
        wire_nil(wire);
        wire_nil(wire);
        wire_want(wire, wire_number(wire) == 0, "a count of no entries");
        wire_want(wire, n == 0, "a byte without its entries");
        return;
    }
    struct slice key = wire_bytes(wire);
    if (wire->wrong)
        return;
    wire_want(wire, judge_has_prefix(key, below), "a sample of another byte");
    wire_want(wire, !oracle || (n > 0 && slice_equal(key, oracle->entries[first].key)),
              "another sample");
    if (oracle && !wire->wrong)
        judge_value(j, oracle->entries[first].value);
    else
        wire_skip(wire);
    if (wire_type(wire) == WIRE_NIL) {
        wire_nil(wire);
        wire_want(wire, !is_ample, "what could be counted is not");
        return;
    }
    uint64_t count = wire_number(wire);
    wire_want(wire, oracle ? count == n : count > 0, "another count");
}

void judge_explore(struct judging *j)
{
    struct slice prefix = j->query->keys[0];
    struct act_node node = {0};
    size_t n = 0;
    if (j->judge->oracle)
        oracle_children(j->judge->oracle, prefix, node.children);
    else if (act_node(j->judge->snapshot->tree, prefix.p, prefix.len, &node, NULL) != 0)
        memset(&node, 0, sizeof node);
    for (unsigned i = 0; i < 4; i++)
        n += (size_t)__builtin_popcountll(node.children[i]);
    bool is_ample = n == 0 || (j->judge->is_whole &&
                               judge_budget(j->judge, j->query) / n >= j->judge->most_nodes);
    struct bytes below = {.p = malloc(prefix.len + 1), .len = prefix.len + 1};
    if (!below.p)
        err(2, "malloc");
    if (prefix.len > 0)
        memcpy(below.p, prefix.p, prefix.len);
    wire_want_array(&j->wire, n);
    for (unsigned byte = 0; byte < 256 && !j->wire.wrong; byte++) {
        if (!(node.children[byte / 64] >> byte % 64 & 1))
            continue;
        below.p[prefix.len] = (uint8_t)byte;
        judge_child(j, slice_of(below.p, below.len), is_ample);
    }
    bytes_free(&below);
}

void judge_neighbour(struct judging *j, bool is_next)
{
    struct slice key = j->query->keys[0];
    const struct oracle *oracle = j->judge->oracle;
    if (oracle) {
        size_t at = oracle_lower_bound(oracle, key);
        bool is_there = at < oracle->n && slice_equal(oracle->entries[at].key, key);
        size_t index = is_next ? at + is_there : at - 1;
        judge_known_entry(j, index < oracle->n ? &oracle->entries[index] : NULL);
        return;
    }
    if (wire_type(&j->wire) == WIRE_NIL) {
        wire_nil(&j->wire);
        return;
    }
    struct slice found = judge_entry(j, false);
    int order = oracle_compare(found, key);
    wire_want(&j->wire, is_next ? order > 0 : order < 0, "an entry on the key's other side");
}
