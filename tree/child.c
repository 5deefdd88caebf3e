/*
 * child: see child.h. Skipping siblings, and keeping where they begin.
 */
#include "tree/child.h"

/* What of a sibling is looked at to pass it: its header and the first bytes of its two numbers. */
#define SKIP_BYTES (1 + VARINT_MAX_BYTES + VARINT_MAX_BYTES + 1)

static inline const uint8_t *number_skip(const uint8_t *at)
{
    unsigned first = *at;
    return at + 1 + (first > 247 ? first - 247 : 0);
}

/* Inside a window: what is behind the node at `at`, from its header and the first bytes of its
 * numbers alone. NULL: the child field is invalid. */
static inline const uint8_t *node_skip(const uint8_t *at)
{
    unsigned header = *at++;
    unsigned field = header & NODE_FIELD;
    if (header & NODE_VALUE)
        at = number_skip(at);
    if (header & NODE_LINE) {
        if (header & LINE_HAS_CHILD)
            at = number_skip(at);
        return number_skip(at);
    }
    if (field == 0)
        return at;
    return field > NODE_FIELD_MASK ? NULL : number_skip(at) + field;
}

/* How far the next sibling of the node at `at` is; 0: the child field is invalid. */
static uint64_t node_bytes_last(const struct map *map, uint64_t at)
{
    uint8_t copy[MAP_WINDOW_BYTES];
    const uint8_t *window = node_window_copy(map, at, copy), *end = node_skip(window);
    return end ? (uint64_t)(end - window) : 0;
}

static inline uint64_t node_bytes(const struct map *map, uint64_t at)
{
    const uint8_t *window = map_window(map, at);
    if (!window)
        return node_bytes_last(map, at);
    const uint8_t *end = node_skip(window);
    return end ? (uint64_t)(end - window) : 0;
}

/* One sibling further inside a run that ends at or before limit, which lies in the map. */
static inline int sibling_skip(struct view *view, uint64_t at, uint64_t limit, uint64_t *ret_next)
{
    if (at >= limit)
        return view_corrupt(view, at, "fewer children than the child set says");
    if (!view_may_touch(view, at, SKIP_BYTES))
        return ACT_COLD;
    uint64_t bytes = node_bytes(view->map, at);
    if (bytes == 0)
        return view_corrupt(view, at, "a child field above 32");
    if (bytes > limit - at)
        return view_corrupt(view, at, "a node that runs past its place");
    *ret_next = at + bytes;
    return 0;
}

/* The same step by step, which tells what is wrong. */
static int siblings_skip_slowly(struct view *view, uint64_t at, uint64_t limit, unsigned n,
                                uint64_t *ret)
{
    for (; n > 0; n--) {
        int r = sibling_skip(view, at, limit, &at);
        if (r != 0)
            return r;
    }
    *ret = at;
    return 0;
}

/* Up to there siblings may be skipped without asking again: to the end of the page that the one at
 * `at` ends in. NULL: not even that one. */
static const uint8_t *skippable_end(const struct view *view, uint64_t at)
{
    const struct map *map = view->map;
    if (!view->residency)
        return map->base + map->size;
    if (!view_may_touch(view, at, SKIP_BYTES))
        return NULL;
    uint64_t end = ((at + SKIP_BYTES - 1) | (ACT_PAGE_BYTES - 1)) + 1;
    return map->base + (end < map->size ? end : map->size);
}

/* From the sibling at `at`, which stands before limit or not, `n` further. Where the map has room
 * for the longest nodes there are, it is enough to look at the end whether all lay before limit.
 *
 * Siblings are often alike. So the next one is not looked for where this one's bytes say, for which
 * the processor would have to wait, but as far away as the last one was; it bets on the comparison
 * that this is true, and reads many of them at once. */
static int siblings_skip(struct view *view, uint64_t at, uint64_t limit, unsigned n, uint64_t *ret)
{
    uint64_t room = ((uint64_t)n + 1) * MAP_WINDOW_BYTES;
    const uint8_t *begin = map_at(view->map, at, room), *p = begin, *safe_end = begin;
    size_t likely = 0;
    for (unsigned left = begin ? n : 0; left > 0; left--) {
        if (safe_end < p + SKIP_BYTES) {
            safe_end = skippable_end(view, at + (uint64_t)(p - begin));
            if (!safe_end)
                return ACT_COLD;
        }
        const uint8_t *end = node_skip(p);
        if (!end)
            return siblings_skip_slowly(view, at, limit, n, ret);
        size_t bytes = (size_t)(end - p);
        if (bytes != likely) {
            likely = bytes;
            __asm__ volatile("" : "+r"(likely)); /* else p is made of end after all */
        }
        p += likely;
    }
    if (!begin || at > limit || (uint64_t)(p - begin) > limit - at)
        return siblings_skip_slowly(view, at, limit, n, ret);
    *ret = at + (uint64_t)(p - begin);
    return 0;
}

/* Keeps where a run's children begin. A run with a fault is not kept: what is found then depends on
 * how far a lookup goes, and that is the walk's to say. */
static void run_remember(struct view *view, struct run run)
{
    uint16_t distances[TABLES_MAX_CHILDREN];
    uint64_t at = run.first;
    struct act_fault fault = view->fault;
    for (unsigned i = 0; i < run.n; i++) {
        /* A node takes at most 51 bytes, so 256 of them stay below 64 KiB. */
        distances[i] = (uint16_t)(at - run.first);
        if (sibling_skip(view, at, run.limit, &at) != 0) {
            view->fault = fault;
            return;
        }
    }
    tables_add(view->tables, run.limit, distances, run.n);
}

int run_skip(struct view *view, struct run run, unsigned rank, uint64_t *ret_offset)
{
    struct tables_place from = {0, 0};
    /* A set that is changed meanwhile may have the rank no more. */
    if (view->tables && rank >= TABLES_MIN_RANK && rank < run.n &&
        tables_find(view->tables, run.limit, rank, &from) == TABLES_HAS_NOT)
        run_remember(view, run);
    return siblings_skip(view, run.first + from.distance, run.limit, rank - from.rank, ret_offset);
}
