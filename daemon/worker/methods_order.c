/*
 * methods_order: scan, range, mscan, count, next, prev, explore: in the order of keys.
 *
 * All of them move the one cursor of the worker: see walks.h.
 */
#include "daemon/worker/methods.h"
#include "daemon/worker/walks.h"

#include <endian.h>

/* Nodes that explore may visit unless the client says otherwise. */
#define EXPLORE_NODES 100000
#define SCAN_LIMIT    1000
/* What a step back to the entry before costs more than a step forward: there are no links back. */
#define BACKWARD_WORK 6
#define SCAN_BYTES    (1024 * 1024)

/* How a wire cursor begins: its direction, and the identity of the generation it comes from. */
enum { CURSOR_ASCENDING = 1, CURSOR_DESCENDING = 2 };
#define CURSOR_HEAD_BYTES 9

/* What is left of the entries of a scan, and how much of it makes a page. */
struct page {
    struct slice from, to; /* a prefix in `from`, or a range */
    bool is_prefix, has_to;
    struct slice start; /* if has_start: where the cursor of an earlier page points to */
    bool has_start;
    struct options options;
};

/*
 * Pages.
 */

static void confine(struct call *call, const struct page *page)
{
    struct act_cursor *cursor = call->dispatch->cursor;
    const void *to = page->to.len > 0 ? page->to.p : (const void *)""; /* NULL would be no end */
    guard_cursor_reset(cursor, tree_of(call));
    if (page->is_prefix)
        act_cursor_set_prefix(cursor, page->from.p, page->from.len);
    else
        act_cursor_set_range(cursor, page->from.p, page->from.len, page->has_to ? to : NULL,
                             page->to.len);
}

/* To the entry that the page, or its next slice, begins with. */
static int begin_page(struct call *call, const struct page *page)
{
    const struct options *options = &page->options;
    confine(call, page);
    if (!options->reverse)
        return begin_forward(call, page->has_start ? page->start : page->from,
                             options->max_visited);
    if (page->has_start || call->progress->has_mark)
        return begin_backward(call, page->start, options->max_visited);
    allow_walk(call, options->max_visited, (page->has_to ? page->to.len : page->from.len) + 2);
    return guard_cursor_last(tree_of(call), call->dispatch->cursor);
}

static int compare(struct slice a, struct slice b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int order = n > 0 ? memcmp(a.p, b.p, n) : 0;
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static bool is_inside(const struct page *page, struct slice position)
{
    if (page->is_prefix)
        return position.len >= page->from.len &&
               slice_equal(slice_of(position.p, page->from.len), page->from);
    return compare(position, page->from) >= 0 &&
           (!page->has_to || compare(position, page->to) <= 0);
}

/* The page's end: with a cursor where there are, or may be, more entries. A mark outside the page's
 * bounds has none before it. */
static int end_page(struct call *call, const struct page *page, const struct slice *mark)
{
    uint8_t head[CURSOR_HEAD_BYTES];
    struct reply *reply = call->reply;
    struct progress *progress = call->progress;
    uint64_t identity = htobe64(call->dispatch->snapshot->generation.identity);
    reply_close_array(reply, progress->array_at, progress->n);
    head[0] = page->options.reverse ? CURSOR_DESCENDING : CURSOR_ASCENDING;
    memcpy(head + 1, &identity, sizeof identity);
    reply_text(reply, "cursor");
    if (mark && is_inside(page, *mark))
        reply_bytes_of(reply, slice_of(head, sizeof head), *mark);
    else
        reply_nil(reply);
    reply_generation(reply, call->dispatch->snapshot);
    progress->is_open = progress->has_mark = false;
    return 0;
}

/* Just behind the page's last entry, whose key is in the reply. */
static struct slice mark_behind_last(struct call *call, const struct page *page)
{
    struct dispatch *dispatch = call->dispatch;
    size_t len = call->progress->key_len;
    memcpy(dispatch->key, reply_part(call->reply, call->progress->key_at, len).p, len);
    dispatch->key[len] = 0;
    return slice_of(dispatch->key, len + (page->options.reverse ? 0 : 1));
}

/* There are more entries, or something that cannot be read. */
static int end_page_behind_last(struct call *call, const struct page *page)
{
    struct slice mark = mark_behind_last(call, page);
    return end_page(call, page, &mark);
}

/* What must find room behind the entries: the page's cursor, its generation. */
static size_t tail_bytes(size_t key_len)
{
    return key_len + 96;
}

static size_t bin_head_bytes(size_t len)
{
    return len <= UINT8_MAX ? 2 : len <= UINT16_MAX ? 3 : 5;
}

/* Writes the entry that the cursor stands at. 0; ACT_MISS: the page is full without it; or an
 * outcome. */
static int reply_page_entry(struct call *call, const struct options *options)
{
    struct act_cursor *cursor = call->dispatch->cursor;
    struct progress *progress = call->progress;
    struct reply *reply = call->reply;
    size_t key_len, len = reply_len(reply), entries_at = progress->array_at + 5;
    uint64_t value = 0;
    int r = 0;
    if (progress->n == options->limit)
        return ACT_MISS;
    const uint8_t *key = act_cursor_key(cursor, &key_len);
    act_cursor_value(cursor, &value);
    if (options->keys_only)
        reply_bytes(reply, slice_of(key, key_len));
    else
        r = reply_entry(call, slice_of(key, key_len), value);
    if (r != 0) {
        reply_cut(reply, len);
        return r;
    }
    bool is_over = reply->failure == REPLY_TOO_LARGE ||
                   reply_len(reply) - entries_at > options->max_bytes ||
                   reply_len(reply) + tail_bytes(key_len) > reply->max_bytes;
    if (progress->n > 0 && is_over && reply->failure != REPLY_NO_ROOM) {
        reply_cut(reply, len);
        return ACT_MISS;
    }
    progress->key_at = len + (options->keys_only ? 0 : 1) + bin_head_bytes(key_len);
    progress->key_len = key_len;
    progress->n++;
    return 0;
}

/* The slice ends behind the page's last entry. */
static int pause_page(struct call *call, const struct page *page)
{
    if (call->reply->failure != 0)
        return CALL_AGAIN; /* the reply's failure then counts */
    int r = set_mark(call, mark_behind_last(call, page));
    return r != 0 ? r : CALL_AGAIN;
}

/* The budget of the request or of the slice is used up between entries. */
static int page_limit(struct call *call, const struct page *page)
{
    struct slice mark;
    int r = pause_walk(call, page->options.max_visited);
    if (r != CALL_LIMIT || call->progress->n == 0)
        return r;
    /* What the walk has passed need not be walked again, if there is room to tell it. */
    if (!cursor_mark(call, &mark))
        return end_page(call, page, NULL);
    if (reply_len(call->reply) + tail_bytes(mark.len) > call->reply->max_bytes)
        return end_page_behind_last(call, page);
    return end_page(call, page, &mark);
}

/* A page that is not in memory stands in the way of the walk or, if has_entry, of the value of the
 * entry that it has come to. n_before: entries that the page had before this slice; those since are
 * behind the mark. */
static int page_cold(struct call *call, const struct page *page, bool has_entry, uint64_t n_before)
{
    struct progress *progress = call->progress;
    bool is_reverse = page->options.reverse;
    if (!has_entry && !is_reverse)
        return pause_cold_walk(call, is_reverse);
    progress->visited -= call->walked; /* it is made again */
    if (progress->n > n_before) {
        int r = set_mark(call, mark_behind_last(call, page));
        if (r != 0)
            return r;
    }
    return pause_for_page(call, is_reverse);
}

/* The page is about to be answered: walks through its entries as far as its pages are in memory,
 * and has those read that it misses first. At most n entries. */
static void want_page(struct call *call, const struct page *page, uint64_t n)
{
    uint64_t number;
    struct value value;
    struct act_cursor *cursor = call->dispatch->cursor;
    const struct slice *start = page->has_start ? &page->start : &page->from;
    confine(call, page);
    act_cursor_set_budget(cursor, call->work);
    int r = guard_cursor_seek(tree_of(call), cursor, *start);
    if (r == ACT_MISS)
        r = guard_cursor_next(tree_of(call), cursor);
    for (uint64_t i = 0; i < n && r == 0; i++) {
        act_cursor_value(cursor, &number);
        if (!page->options.keys_only)
            r = value_of(call, number, &value, &call->fault);
        if (r == 0 && i + 1 < n)
            r = guard_cursor_next(tree_of(call), cursor);
    }
    uint64_t left = act_cursor_budget(cursor);
    spend(call, LOOKUP_WORK + (left < call->work ? call->work - left : 0));
}

/* {entries, cursor, generation}, or as much of it as the slice allows. */
static int answer_page(struct call *call, const struct page *page)
{
    struct progress *progress = call->progress;
    const struct options *options = &page->options;
    const struct act *tree = tree_of(call);
    struct act_cursor *cursor = call->dispatch->cursor;
    if (!progress->is_open) {
        progress->is_open = true;
        progress->n = 0;
        reply_map(call->reply, 3);
        reply_text(call->reply, "entries");
        progress->array_at = reply_open_array(call->reply);
    }
    uint64_t n_before = progress->n;
    for (int r = begin_page(call, page);;
         r = options->reverse ? guard_cursor_prev(tree, cursor) : guard_cursor_next(tree, cursor)) {
        if (r == CALL_COLD)
            return r;
        note_walk(call);
        if (r == ACT_LIMIT)
            return page_limit(call, page);
        if (r == ACT_COLD)
            return page_cold(call, page, false, n_before);
        if (r == ACT_MISS)
            return end_page(call, page, NULL);
        r = r == 0 ? reply_page_entry(call, options) : move_failed(call, r);
        if (r == ACT_COLD)
            return page_cold(call, page, true, n_before);
        if (r == ACT_MISS)
            return end_page_behind_last(call, page);
        if (r != 0) /* what can be read comes first; the next page tells what is wrong */
            return progress->n > 0 ? end_page_behind_last(call, page) : r;
        call->stats->hits++;
        if (options->reverse)
            spend(call, BACKWARD_WORK);
        if (is_slice_over(call))
            return pause_page(call, page);
        allow_walk(call, options->max_visited, 0);
    }
}

static int bad_cursor(struct call *call, const char *reason)
{
    snprintf(call->dispatch->text, sizeof call->dispatch->text, "%s", reason);
    return CALL_BAD_CURSOR;
}

static int read_cursor(struct call *call, struct page *page, struct slice cursor)
{
    uint8_t wanted = page->options.reverse ? CURSOR_DESCENDING : CURSOR_ASCENDING;
    if (cursor.len < CURSOR_HEAD_BYTES ||
        cursor.len > CURSOR_HEAD_BYTES + call->dispatch->config->limits_max_key_bytes + 1 ||
        (cursor.p[0] != CURSOR_ASCENDING && cursor.p[0] != CURSOR_DESCENDING))
        return bad_cursor(call, "that is no cursor of this server");
    if (cursor.p[0] != wanted)
        return bad_cursor(call, "the cursor is of a scan in the other direction");
    page->start = slice_of(cursor.p + CURSOR_HEAD_BYTES, cursor.len - CURSOR_HEAD_BYTES);
    page->has_start = true;
    if (!is_inside(page, page->start))
        return bad_cursor(call, "the cursor is outside the scan's prefix or range");
    return 0;
}

#define PAGE_OPTIONS                                                             \
    (OPTION_BIT(limit) | OPTION_BIT(max_bytes) | OPTION_BIT(max_visited_nodes) | \
     OPTION_BIT(reverse) | OPTION_BIT(keys_only) | OPTION_BIT(pin))

#define BUDGET_OPTIONS (OPTION_BIT(max_visited_nodes) | OPTION_BIT(pin))

static struct options default_options(const struct call *call)
{
    return (struct options){.limit = SCAN_LIMIT,
                            .max_bytes = SCAN_BYTES,
                            .max_visited = call->dispatch->config->limits_max_visited_nodes};
}

static int read_budgeted_options(struct call *call, unsigned index, unsigned allowed,
                                 struct options *options)
{
    uint64_t most = call->dispatch->config->limits_max_visited_nodes;
    int r = read_options(call, index, allowed, options);
    if (options->max_visited > most)
        options->max_visited = most;
    return r;
}

static int answer_scan(struct call *call, struct page *page, unsigned options_index)
{
    page->options = default_options(call);
    int r = read_budgeted_options(call, options_index, PAGE_OPTIONS | OPTION_BIT(cursor),
                                  &page->options);
    if (r == 0)
        r = check_pin(call, &page->options);
    if (r == 0 && page->options.cursor.p)
        r = read_cursor(call, page, page->options.cursor);
    return r != 0 ? r : answer_page(call, page);
}

int method_scan(struct call *call)
{
    struct page page = {.is_prefix = true};
    int r = param_key(call, 0, "prefix", &page.from);
    return r != 0 ? r : answer_scan(call, &page, 1);
}

/* A bound of a range: a key, or nil for none. */
static int param_bound(struct call *call, unsigned index, struct slice *ret, bool *ret_has)
{
    *ret_has = call->request->params[index].type != MSGPACK_OBJECT_NIL;
    return *ret_has ? param_key(call, index, "bound", ret) : 0;
}

int method_range(struct call *call)
{
    struct page page = {0};
    bool has_from;
    int r = param_bound(call, 0, &page.from, &has_from);
    if (r == 0)
        r = param_bound(call, 1, &page.to, &page.has_to);
    return r != 0 ? r : answer_scan(call, &page, 2);
}

/* Prefixes and cursors of mscan: all of them, before anything is answered. */
static int check_mscan(struct call *call, const struct options *options)
{
    const msgpack_object *prefixes = &call->request->params[0];
    struct slice key;
    int r = check_list(call, prefixes, "prefixes");
    for (uint32_t i = 0; r == 0 && i < prefixes->via.array.size; i++)
        r = check_key(call, &prefixes->via.array.ptr[i], "prefix", i, &key);
    if (r != 0 || !options->cursors)
        return r;
    if (options->cursors->via.array.size != prefixes->via.array.size)
        return bad_params(call,
                          "the option cursors has not as many elements as there are prefixes");
    for (uint32_t i = 0; i < options->cursors->via.array.size; i++) {
        const msgpack_object *cursor = &options->cursors->via.array.ptr[i];
        if (cursor->type != MSGPACK_OBJECT_NIL && !param_bytes(cursor, &key))
            return bad_params(call, "an element of the option cursors is neither bin nor nil");
    }
    return 0;
}

/* The page of a prefix. */
static int read_mscan_page(struct call *call, const struct options *options, uint32_t index,
                           struct page *ret)
{
    struct slice cursor;
    *ret = (struct page){.is_prefix = true, .options = *options};
    param_bytes(&call->request->params[0].via.array.ptr[index], &ret->from);
    if (options->cursors && param_bytes(&options->cursors->via.array.ptr[index], &cursor))
        return read_cursor(call, ret, cursor);
    return 0;
}

/* That of the prefix that is in work. */
static int answer_mscan_page(struct call *call, const struct options *options)
{
    struct page page;
    int r = read_mscan_page(call, options, call->progress->index, &page);
    return r != 0 ? r : answer_page(call, &page);
}

/* One page has come to a page of the file that is missing; so may those of the prefixes behind it.
 */
static void want_mscan_pages(struct call *call, const struct options *options)
{
    struct page page;
    uint32_t n = call->request->params[0].via.array.size;
    const struct act_residency *residency = call->dispatch->snapshot->residency;
    for (uint32_t i = call->progress->index + 1; i < n; i++) {
        if (!act_residency_has_room(residency) || is_slice_over(call))
            return;
        if (read_mscan_page(call, options, i, &page) == 0 && !options->reverse)
            want_page(call, &page, options->limit);
    }
}

int method_mscan(struct call *call)
{
    const msgpack_object *prefixes = &call->request->params[0];
    struct options options = default_options(call);
    int r = read_budgeted_options(call, 1, PAGE_OPTIONS | OPTION_BIT(cursors), &options);
    if (r != 0)
        return r;
    if (!call->progress->is_begun) {
        if ((r = check_mscan(call, &options)) != 0 || (r = check_pin(call, &options)) != 0)
            return r;
        reply_array(call->reply, prefixes->via.array.size);
    }
    while (call->progress->index < prefixes->via.array.size) {
        if (is_slice_over(call))
            return CALL_AGAIN;
        r = answer_mscan_page(call, &options);
        if (r == CALL_COLD)
            want_mscan_pages(call, &options);
        if (r != 0)
            return r;
        call->progress->index++;
        spend(call, LOOKUP_WORK);
    }
    return 0;
}

/*
 * Counting.
 */

/* Counts on, from the mark or the beginning of the prefix, into progress->n. 0: that are all. */
static int count_on(struct call *call, struct slice prefix, uint64_t max_visited)
{
    uint64_t n;
    struct act_cursor *cursor = call->dispatch->cursor;
    guard_cursor_reset(cursor, tree_of(call));
    act_cursor_set_prefix(cursor, prefix.p, prefix.len);
    int r = seek(call, call->progress->has_mark ? mark_of(call) : prefix);
    if (r != 0 && r != ACT_MISS)
        return move_failed(call, r);
    allow_walk(call, max_visited, 0);
    r = guard_cursor_count(tree_of(call), cursor, &n);
    note_walk(call);
    call->progress->n += n;
    if (r == ACT_LIMIT)
        return pause_walk(call, max_visited);
    if (r == ACT_COLD)
        return pause_cold_walk(call, false);
    return r == ACT_MISS ? 0 : move_failed(call, r);
}

int method_count(struct call *call)
{
    struct slice prefix;
    struct options options = default_options(call);
    int r = param_key(call, 0, "prefix", &prefix);
    if (r == 0)
        r = read_budgeted_options(call, 1, BUDGET_OPTIONS, &options);
    if (r == 0)
        r = check_pin(call, &options);
    if (r == 0)
        r = count_on(call, prefix, options.max_visited);
    if (r != 0 && r != CALL_LIMIT)
        return r;
    reply_map(call->reply, 2);
    reply_pair_number(call->reply, "count", call->progress->n);
    reply_text(call->reply, "exact");
    reply_bool(call->reply, r == 0);
    return 0;
}

/*
 * Neighbours.
 */

static int answer_neighbour(struct call *call, bool is_next)
{
    struct slice key;
    struct act_cursor *cursor = call->dispatch->cursor;
    uint64_t value = 0, max_visited = call->dispatch->config->limits_max_visited_nodes;
    bool is_resumed = call->progress->has_mark;
    int r = param_key(call, 0, "key", &key);
    if (r != 0)
        return r;
    guard_cursor_reset(cursor, tree_of(call));
    r = is_next ? begin_forward(call, key, max_visited) : begin_backward(call, key, max_visited);
    if (r == 0 && is_next && !is_resumed) { /* that may be the key itself: strictly behind it */
        size_t len;
        const uint8_t *p = act_cursor_key(cursor, &len);
        if (slice_equal(slice_of(p, len), key)) {
            allow_walk(call, max_visited, 0);
            r = guard_cursor_next(tree_of(call), cursor);
        }
    }
    if (r == CALL_COLD)
        return r;
    note_walk(call);
    if (r == ACT_LIMIT)
        return pause_walk(call, max_visited);
    if (r == ACT_COLD)
        return pause_cold_walk(call, !is_next);
    count_lookup(call, r);
    if (r == ACT_MISS) {
        reply_nil(call->reply);
        return 0;
    }
    if (r != 0)
        return move_failed(call, r);
    act_cursor_value(cursor, &value);
    key.p = act_cursor_key(cursor, &key.len);
    return reply_entry(call, key, value);
}

int method_next(struct call *call)
{
    return answer_neighbour(call, true);
}

int method_prev(struct call *call)
{
    return answer_neighbour(call, false);
}

/*
 * Exploring: for each byte that follows a prefix, the first entry below and how many there are.
 */

enum explore_phase { EXPLORE_SAMPLE, EXPLORE_COUNT };

static unsigned count_children(const uint64_t set[4])
{
    unsigned n = 0;
    for (unsigned word = 0; word < 4; word++)
        n += (unsigned)__builtin_popcountll(set[word]);
    return n;
}

/* The child that is in work: number `index` of the set. */
static uint8_t child_byte(const uint64_t set[4], unsigned index)
{
    for (unsigned byte = 0; byte < 256; byte++)
        if (set[byte / 64] >> byte % 64 & 1 && index-- == 0)
            return (uint8_t)byte;
    return 0;
}

/* [byte, key, value, as far as that. The cursor then stands at the entry. ACT_MISS: there is none.
 */
static int reply_sample(struct call *call, struct slice below, uint64_t max_visited)
{
    struct value value;
    uint64_t number = 0;
    struct slice key;
    struct act_cursor *cursor = call->dispatch->cursor;
    int r = begin_forward(call, below, max_visited);
    if (r == CALL_COLD)
        return r;
    note_walk(call);
    if (r == ACT_LIMIT)
        return pause_walk(call, max_visited);
    if (r == ACT_COLD)
        return pause_cold_walk(call, false);
    if (r != 0 && r != ACT_MISS)
        return move_failed(call, r);
    reply_array(call->reply, 4);
    reply_number(call->reply, below.p[below.len - 1]);
    if (r == ACT_MISS) {
        reply_nil(call->reply);
        reply_nil(call->reply);
        reply_number(call->reply, 0);
        return r;
    }
    key.p = act_cursor_key(cursor, &key.len);
    act_cursor_value(cursor, &number);
    if ((r = value_of(call, number, &value, &call->fault)) != 0)
        return r;
    reply_bytes(call->reply, key);
    reply_value(call, &value);
    return set_mark(call, key);
}

/* count], or nil where the child's part of the budget does not suffice. */
static int reply_child_count(struct call *call, struct slice below)
{
    struct progress *progress = call->progress;
    uint64_t before = progress->visited;
    int r = count_on(call, below, before + progress->child_budget);
    progress->child_budget -= progress->visited - before;
    if (r == CALL_LIMIT)
        reply_nil(call->reply);
    else if (r == 0)
        reply_number(call->reply, progress->n);
    return r == CALL_LIMIT ? 0 : r;
}

/* [byte, key, value, count] of a child. */
static int explore_child(struct call *call, struct slice below, unsigned n_left,
                         uint64_t max_visited)
{
    struct progress *progress = call->progress;
    guard_cursor_reset(call->dispatch->cursor, tree_of(call));
    act_cursor_set_prefix(call->dispatch->cursor, below.p, below.len);
    if (progress->phase == EXPLORE_SAMPLE) {
        int r = reply_sample(call, below, max_visited);
        if (r != 0)
            return r == ACT_MISS ? 0 : r;
        progress->phase = EXPLORE_COUNT;
        progress->n = 0;
        progress->child_budget = (max_visited - progress->visited) / n_left;
    }
    return reply_child_count(call, below);
}

/* The samples of the children behind the one that has come to a missing page. below: the key of a
 * child. */
static void want_samples(struct call *call, struct buf *below, const uint64_t set[4], unsigned n)
{
    const struct act_residency *residency = call->dispatch->snapshot->residency;
    for (unsigned i = call->progress->index + 1; i < n; i++) {
        if (!act_residency_has_room(residency) || is_slice_over(call))
            return;
        below->p[buf_len(below) - 1] = child_byte(set, i);
        const struct page page = {.is_prefix = true, .from = buf_content(below)};
        want_page(call, &page, 1);
    }
}

static int explore_children(struct call *call, struct slice prefix, const uint64_t set[4],
                            uint64_t max_visited)
{
    struct progress *progress = call->progress;
    unsigned n = count_children(set);
    /* The cursor borrows it for as long as it is confined, while marks use the scratch key. */
    struct buf *below = &call->scratch;
    buf_init(below, call->reply->out->pool);
    int r = buf_reserve(below, prefix.len + 1);
    if (r != 0)
        return r == BUF_FULL ? REPLY_NO_ROOM : r;
    buf_append(below, prefix.p, prefix.len);
    buf_commit(below, 1);
    while (progress->index < n) {
        if (is_slice_over(call))
            return CALL_AGAIN;
        set_checkpoint(call);
        below->p[prefix.len] = child_byte(set, progress->index);
        r = explore_child(call, buf_content(below), n - progress->index, max_visited);
        if (r == CALL_COLD || r == ACT_COLD)
            want_samples(call, below, set, n);
        if (r != 0)
            return r;
        spend(call, LOOKUP_WORK);
        progress->index++;
        progress->has_mark = false;
        progress->phase = EXPLORE_SAMPLE;
    }
    return 0;
}

int method_explore(struct call *call)
{
    struct slice prefix;
    struct act_node node = {0};
    struct options options = {.max_visited = EXPLORE_NODES};
    int r = param_key(call, 0, "prefix", &prefix);
    if (r == 0)
        r = read_budgeted_options(call, 1, BUDGET_OPTIONS, &options);
    if (r == 0)
        r = check_pin(call, &options);
    if (r != 0)
        return r;
    r = guard_node(tree_of(call), prefix, &node, &call->fault);
    if (r != 0 && r != ACT_MISS)
        return r;
    if (!call->progress->is_begun) {
        count_lookup(call, r);
        reply_array(call->reply, count_children(node.children));
    }
    return explore_children(call, prefix, node.children, options.max_visited);
}
