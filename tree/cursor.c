/*
 * cursor: see act/cursor.h. What a cursor stands at, its bounds, and which walk a move is.
 *
 * Each move is: where does the cursor stand, is that inside the bounds, then a seek (path.h), a
 * walk (walk.h), or both. A seek that runs out of budget goes on by itself when it is made again,
 * since it starts from the path that is there; a walk has to be known to be the same one, so what
 * was sought is kept (`pending`).
 */
#include "tree/tree.h"
#include "tree/walk.h"

#include <assert.h>
#include <errno.h>
#include <sys/mman.h>

enum place {
    AT_POSITION,   /* the path's */
    IN_GAP,        /* the path's */
    BEFORE_BOUNDS, /* before the first entry; the path may lead anywhere */
    BEHIND_BOUNDS, /* behind the last one, likewise */
    NOWHERE,       /* after a failure */
};

/* What the move was that ran out of budget in a walk, or in descend. */
enum move { MOVE_OTHER, MOVE_FIRST, MOVE_LAST, MOVE_AFTER, MOVE_BEFORE, MOVE_DESCEND };

struct act_cursor {
    struct path path;
    struct bounds bounds; /* borrowed */
    enum place place;
    bool is_inside;      /* AT_POSITION: known to be inside the bounds */
    bool is_walking;     /* out of budget in a walk, not in the seek before it */
    enum move pending;   /* goes on when it is called again with the same bytes */
    uint8_t *sought;     /* its bytes: room for max_len + 1, beyond which no walk gets */
    size_t sought_len;   /* at most that */
    size_t far_depth;    /* MOVE_DESCEND: how far the path went beyond where the cursor stands */
    size_t far_len;      /* likewise, bytes of key */
    size_t mapped_bytes; /* all of this is one mapping */
};

/* Where the parts of the mapping begin: the cursor, frames, key, sought bytes. */
struct layout {
    size_t key, sought, end;
};

static bool layout_of(size_t max_len, struct layout *ret)
{
    size_t n, frames;
    return !__builtin_add_overflow(max_len, 1, &n) &&
           !__builtin_mul_overflow(n, sizeof(struct frame), &frames) &&
           !__builtin_add_overflow(frames, sizeof(struct act_cursor), &ret->key) &&
           !__builtin_add_overflow(ret->key, n, &ret->sought) &&
           !__builtin_add_overflow(ret->sought, n, &ret->end);
}

int act_cursor_new(const struct act *tree, size_t max_key_bytes, struct act_cursor **ret_cursor)
{
    struct layout layout;
    size_t max_len = max_key_bytes ? max_key_bytes : ACT_MAX_KEY_BYTES;
    if (!layout_of(max_len, &layout))
        return -ENOMEM;
    uint8_t *memory = mmap(NULL, layout.end, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return -ENOMEM;
    struct act_cursor *cursor = (struct act_cursor *)memory;
    cursor->mapped_bytes = layout.end;
    cursor->sought = memory + layout.sought;
    cursor->path.frames = (struct frame *)(memory + sizeof *cursor);
    cursor->path.key = memory + layout.key;
    cursor->path.max_len = max_len;
    cursor->place = NOWHERE;
    if (tree)
        act_cursor_reset(cursor, tree);
    *ret_cursor = cursor;
    return 0;
}

void act_cursor_free(struct act_cursor *cursor)
{
    if (cursor)
        munmap(cursor, cursor->mapped_bytes);
}

void act_cursor_reset(struct act_cursor *cursor, const struct act *tree)
{
    cursor->path.view = view_of(tree, cursor->path.max_len);
    cursor->path.root = tree->root;
    cursor->path.depth = 0;
    cursor->bounds = (struct bounds){0};
    act_cursor_set_budget(cursor, UINT64_MAX);
    act_cursor_root(cursor);
}

void act_cursor_set_budget(struct act_cursor *cursor, uint64_t nodes)
{
    cursor->path.budget = nodes;
    cursor->path.cost = nodes != UINT64_MAX;
}

uint64_t act_cursor_budget(const struct act_cursor *cursor)
{
    return cursor->path.budget;
}

static void confine(struct act_cursor *cursor, struct bounds bounds)
{
    cursor->bounds = bounds;
    cursor->pending = MOVE_OTHER;
    cursor->place = BEFORE_BOUNDS;
}

void act_cursor_set_prefix(struct act_cursor *cursor, const void *prefix, size_t len)
{
    confine(cursor, (struct bounds){.from = slice_of(prefix, len), .is_prefix = true});
}

void act_cursor_set_range(struct act_cursor *cursor, const void *from, size_t from_len,
                          const void *to, size_t to_len)
{
    confine(cursor, (struct bounds){.from = slice_of(from, from_len),
                                    .to = slice_of(to, to_len),
                                    .has_to = to != NULL});
}

/* The begin of every move. True: it is the one that ran out of budget, called again. */
static bool is_resumed(struct act_cursor *cursor, enum move move, struct slice bytes)
{
    size_t n = bytes.len <= cursor->path.max_len ? bytes.len : cursor->path.max_len + 1;
    bool is_resumed =
        move != MOVE_OTHER && cursor->pending == move &&
        slice_equal(slice_of(bytes.p, n), slice_of(cursor->sought, cursor->sought_len));
    cursor->pending = MOVE_OTHER;
    cursor->is_walking = false;
    return is_resumed;
}

/* Its end, if it ended in ACT_LIMIT in a way that does not go on by itself. */
static void set_pending(struct act_cursor *cursor, enum move move, struct slice bytes)
{
    size_t n = bytes.len <= cursor->path.max_len ? bytes.len : cursor->path.max_len + 1;
    cursor->pending = move;
    cursor->sought_len = n;
    if (n > 0)
        memcpy(cursor->sought, bytes.p, n);
}

static int end_walk(struct act_cursor *cursor, int r, enum move move, struct slice bytes)
{
    if (is_pause(r) && cursor->is_walking)
        set_pending(cursor, move, bytes);
    return r;
}

/* Stands there now. Returns r. */
static int stand(struct act_cursor *cursor, enum place place, int r)
{
    cursor->place = place;
    cursor->is_inside = place == AT_POSITION;
    return r;
}

/* A result that is no answer: a pause, then the cursor stands at that place; or a failure. */
static int give_up(struct act_cursor *cursor, enum place place, int r)
{
    if (is_pause(r)) /* A path without its root has no gap. */
        return stand(cursor, place == IN_GAP && cursor->path.depth == 0 ? BEFORE_BOUNDS : place, r);
    cursor->path.depth = 0;
    return stand(cursor, NOWHERE, r);
}

/* Where a walk in that direction has come to. */
static int end_direction(struct act_cursor *cursor, enum place end, int r)
{
    cursor->is_walking = is_pause(r);
    if (r == 0)
        return stand(cursor, AT_POSITION, 0);
    return r == ACT_MISS ? stand(cursor, end, r) : give_up(cursor, IN_GAP, r);
}

/* From the path's gap, which is not before the bounds. */
static int forward(struct act_cursor *cursor)
{
    const struct bounds *bounds = &cursor->bounds;
    bool is_end = path_is_behind(&cursor->path, true, bounds) ||
                  (bounds->is_prefix && cursor->path.len < bounds->from.len);
    return end_direction(cursor, BEHIND_BOUNDS,
                         is_end ? ACT_MISS : walk_next(&cursor->path, bounds));
}

/* From the path's gap, which is not behind the bounds. */
static int backward(struct act_cursor *cursor)
{
    return end_direction(cursor, BEFORE_BOUNDS, walk_prev(&cursor->path, &cursor->bounds));
}

/* From the path's position. */
static int backward_from_position(struct act_cursor *cursor)
{
    return walk_leave_back(&cursor->path) ? backward(cursor)
                                          : stand(cursor, BEFORE_BOUNDS, ACT_MISS);
}

/* To the first entry at or after a key that is not before the bounds. `origin` is where the cursor
 * stands if it does not come as far as the key. */
static int seek_forward(struct act_cursor *cursor, struct slice key, enum place origin)
{
    uint64_t value;
    struct path *path = &cursor->path;
    int r = path_seek(path, key);
    if (r != 0 && r != ACT_MISS)
        return give_up(cursor, origin, r);
    if (r == 0 && path_is_behind(path, false, &cursor->bounds))
        return stand(cursor, BEHIND_BOUNDS, ACT_MISS);
    if (r == 0 && path_value(path, &value))
        return stand(cursor, AT_POSITION, 0);
    return forward(cursor);
}

/* To the last entry at or before a key that is not behind the bounds. */
static int seek_backward(struct act_cursor *cursor, struct slice key)
{
    uint64_t value;
    struct path *path = &cursor->path;
    int r = path_seek(path, key);
    if (r != 0 && r != ACT_MISS)
        return give_up(cursor, IN_GAP, r);
    if (r == ACT_MISS)
        return backward(cursor);
    if (path_value(path, &value))
        return stand(cursor, AT_POSITION, 0);
    return backward_from_position(cursor);
}

static int go_first(struct act_cursor *cursor)
{
    return seek_forward(cursor, cursor->bounds.from, BEFORE_BOUNDS);
}

static int go_last(struct act_cursor *cursor)
{
    struct path *path = &cursor->path;
    const struct bounds *bounds = &cursor->bounds;
    int r = path_seek(
        path, bounds->has_to ? bounds->to
                             : slice_of(bounds->from.p, bounds->is_prefix ? bounds->from.len : 0));
    if (r != 0 && r != ACT_MISS)
        return give_up(cursor, BEHIND_BOUNDS, r);
    if (r == ACT_MISS)
        return backward(cursor);
    if (bounds->has_to)
        return backward_from_position(cursor);
    path->gap = GAP_BEHIND_ALL;
    return backward(cursor);
}

int act_cursor_first(struct act_cursor *cursor)
{
    struct slice none = slice_of(NULL, 0);
    int r = is_resumed(cursor, MOVE_FIRST, none) ? forward(cursor) : go_first(cursor);
    return end_walk(cursor, r, MOVE_FIRST, none);
}

int act_cursor_last(struct act_cursor *cursor)
{
    struct slice none = slice_of(NULL, 0);
    int r = is_resumed(cursor, MOVE_LAST, none) ? backward(cursor) : go_last(cursor);
    return end_walk(cursor, r, MOVE_LAST, none);
}

static int compare(struct slice a, struct slice b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int order = n > 0 ? memcmp(a.p, b.p, n) : 0;
    return order != 0 ? order : (a.len > b.len) - (a.len < b.len);
}

static bool is_key_before(struct slice key, const struct bounds *bounds)
{
    return bounds->from.len > 0 && compare(key, bounds->from) < 0;
}

static bool is_key_behind(struct slice key, const struct bounds *bounds)
{
    if (bounds->is_prefix) {
        size_t n = key.len < bounds->from.len ? key.len : bounds->from.len;
        return n > 0 && memcmp(key.p, bounds->from.p, n) > 0;
    }
    return bounds->has_to && compare(key, bounds->to) >= 0;
}

int act_cursor_seek(struct act_cursor *cursor, const void *bytes, size_t key_len)
{
    uint64_t value;
    struct slice key = slice_of(bytes, key_len);
    is_resumed(cursor, MOVE_OTHER, key);
    if (is_key_before(key, &cursor->bounds))
        return stand(cursor, BEFORE_BOUNDS, ACT_MISS);
    if (is_key_behind(key, &cursor->bounds))
        return stand(cursor, BEHIND_BOUNDS, ACT_MISS);
    int r = path_seek(&cursor->path, key);
    if (r == 0)
        return stand(cursor, AT_POSITION, path_value(&cursor->path, &value) ? 0 : ACT_MISS);
    return r == ACT_MISS ? stand(cursor, IN_GAP, r) : give_up(cursor, IN_GAP, r);
}

int act_cursor_seek_at_or_after(struct act_cursor *cursor, const void *bytes, size_t key_len)
{
    int r;
    struct slice key = slice_of(bytes, key_len);
    if (is_resumed(cursor, MOVE_AFTER, key))
        r = forward(cursor);
    else if (is_key_before(key, &cursor->bounds))
        r = go_first(cursor);
    else if (is_key_behind(key, &cursor->bounds))
        r = stand(cursor, BEHIND_BOUNDS, ACT_MISS);
    else
        r = seek_forward(cursor, key, IN_GAP);
    return end_walk(cursor, r, MOVE_AFTER, key);
}

int act_cursor_seek_at_or_before(struct act_cursor *cursor, const void *bytes, size_t key_len)
{
    int r;
    struct slice key = slice_of(bytes, key_len);
    if (is_resumed(cursor, MOVE_BEFORE, key))
        r = backward(cursor);
    else if (is_key_behind(key, &cursor->bounds))
        r = go_last(cursor);
    else if (is_key_before(key, &cursor->bounds))
        r = stand(cursor, BEFORE_BOUNDS, ACT_MISS);
    else
        r = seek_backward(cursor, key);
    return end_walk(cursor, r, MOVE_BEFORE, key);
}

/* Where the cursor stands as the walks see it: position moves, and a seek that was not finished,
 * may have left the bounds. */
static enum place place_now(const struct act_cursor *cursor)
{
    bool has_gap = cursor->place == IN_GAP;
    if (cursor->place != IN_GAP && (cursor->place != AT_POSITION || cursor->is_inside))
        return cursor->place;
    if (path_is_before(&cursor->path, has_gap, &cursor->bounds))
        return BEFORE_BOUNDS;
    if (path_is_behind(&cursor->path, has_gap, &cursor->bounds))
        return BEHIND_BOUNDS;
    return cursor->place;
}

int act_cursor_next(struct act_cursor *cursor)
{
    is_resumed(cursor, MOVE_OTHER, slice_of(NULL, 0));
    switch (place_now(cursor)) {
    case AT_POSITION:
        cursor->path.gap = 0;
        return end_direction(cursor, BEHIND_BOUNDS, walk_next(&cursor->path, &cursor->bounds));
    case IN_GAP:
        return forward(cursor);
    case BEFORE_BOUNDS:
        return go_first(cursor);
    case BEHIND_BOUNDS:
        return stand(cursor, BEHIND_BOUNDS, ACT_MISS);
    default:
        return ACT_MISS;
    }
}

int act_cursor_prev(struct act_cursor *cursor)
{
    is_resumed(cursor, MOVE_OTHER, slice_of(NULL, 0));
    switch (place_now(cursor)) {
    case AT_POSITION:
        return backward_from_position(cursor);
    case IN_GAP:
        return backward(cursor);
    case BEFORE_BOUNDS:
        return stand(cursor, BEFORE_BOUNDS, ACT_MISS);
    case BEHIND_BOUNDS:
        return go_last(cursor);
    default:
        return ACT_MISS;
    }
}

/* To the gap before the entries that are to be counted; 1 in *ret_count if there is one in front of
 * it. 0, or ACT_MISS: there is nothing to count; and the others. */
static int begin_count(struct act_cursor *cursor, uint64_t *ret_count)
{
    uint64_t value;
    int r = 0;
    enum place place = place_now(cursor);
    if (place == NOWHERE || place == BEHIND_BOUNDS)
        return stand(cursor, place, ACT_MISS);
    if (place == BEFORE_BOUNDS)
        r = go_first(cursor);
    if (r != 0 || place == IN_GAP)
        return r;
    *ret_count = path_value(&cursor->path, &value);
    cursor->path.gap = 0;
    return 0;
}

int act_cursor_count(struct act_cursor *cursor, uint64_t *ret_count)
{
    uint64_t count = 0;
    is_resumed(cursor, MOVE_OTHER, slice_of(NULL, 0));
    int r = begin_count(cursor, &count);
    bool is_end = cursor->bounds.is_prefix && cursor->path.len < cursor->bounds.from.len;
    if (r == 0)
        r = end_direction(cursor, BEHIND_BOUNDS,
                          is_end ? ACT_MISS : walk_count(&cursor->path, &cursor->bounds, &count));
    *ret_count = count;
    return r == ACT_MISS && cursor->place != NOWHERE ? 0 : r;
}

const uint8_t *act_cursor_key(const struct act_cursor *cursor, size_t *ret_len)
{
    bool is_there = cursor->place == AT_POSITION;
    *ret_len = is_there ? cursor->path.len : 0;
    return is_there ? cursor->path.key : NULL;
}

/* The first len bytes of a key, and one more byte if it is none of a child (GAP_BEHIND_ALL): then
 * what comes behind all that begins with them. */
static int copy_mark(struct slice key, unsigned byte, uint8_t *ret_key, size_t size,
                     size_t *ret_len)
{
    bool has_more = byte < GAP_BEHIND_ALL;
    while (!has_more && key.len > 0 && key.p[key.len - 1] == 0xff)
        key.len--;
    if (!has_more && key.len == 0)
        return ACT_MISS;
    *ret_len = key.len + has_more;
    if (*ret_len > size)
        return ACT_TOO_LONG;
    if (key.len > 0)
        memcpy(ret_key, key.p, key.len);
    if (has_more)
        ret_key[key.len] = (uint8_t)byte;
    else
        ret_key[key.len - 1]++;
    return 0;
}

static int copy_key(struct slice key, uint8_t *ret_key, size_t size, size_t *ret_len)
{
    *ret_len = key.len;
    if (key.len > size)
        return ACT_TOO_LONG;
    if (key.len > 0)
        memcpy(ret_key, key.p, key.len);
    return 0;
}

int act_cursor_mark(const struct act_cursor *cursor, uint8_t *ret_key, size_t size, size_t *ret_len)
{
    const struct bounds *bounds = &cursor->bounds;
    switch (cursor->place) {
    case AT_POSITION:
        return copy_key(path_key(&cursor->path), ret_key, size, ret_len);
    case IN_GAP:
        return copy_mark(path_key(&cursor->path), cursor->path.gap, ret_key, size, ret_len);
    case BEFORE_BOUNDS:
        return copy_key(bounds->from, ret_key, size, ret_len);
    case BEHIND_BOUNDS:
        if (bounds->has_to)
            return copy_key(bounds->to, ret_key, size, ret_len);
        return copy_mark(slice_of(bounds->from.p, bounds->is_prefix ? bounds->from.len : 0),
                         GAP_BEHIND_ALL, ret_key, size, ret_len);
    default:
        return ACT_MISS;
    }
}

int act_cursor_value(const struct act_cursor *cursor, uint64_t *ret_value)
{
    if (cursor->place != AT_POSITION)
        return ACT_MISS;
    return path_value(&cursor->path, ret_value) ? 0 : ACT_MISS;
}

int act_cursor_node(struct act_cursor *cursor, struct act_node *ret_node)
{
    struct act_node node = {0};
    if (cursor->place != AT_POSITION)
        return ACT_MISS;
    node.has_value = path_value(&cursor->path, &node.value);
    int r = path_children(&cursor->path, node.children);
    if (r == 0)
        *ret_node = node;
    return r;
}

/* The end of a position move that has come to the path's position. */
static int stand_unchecked(struct act_cursor *cursor, int r)
{
    stand(cursor, AT_POSITION, r);
    cursor->is_inside = false;
    return r;
}

int act_cursor_root(struct act_cursor *cursor)
{
    is_resumed(cursor, MOVE_OTHER, slice_of(NULL, 0));
    int r = path_to_root(&cursor->path);
    return r == 0 ? stand_unchecked(cursor, 0) : give_up(cursor, NOWHERE, r);
}

int act_cursor_descend(struct act_cursor *cursor, uint8_t byte)
{
    return act_cursor_descend_by(cursor, &byte, 1);
}

int act_cursor_descend_by(struct act_cursor *cursor, const void *p, size_t len)
{
    struct path *path = &cursor->path;
    struct slice bytes = slice_of(p, len), rest = bytes;
    size_t origin = path->len;
    bool is_far = is_resumed(cursor, MOVE_DESCEND, bytes);
    if (cursor->place != AT_POSITION)
        return ACT_MISS;
    if (is_far) {
        rest = slice_of(rest.p + (cursor->far_len - origin), len - (cursor->far_len - origin));
        path->depth = cursor->far_depth;
        path->len = cursor->far_len;
    }
    int r = path_follow(path, rest);
    if (r == 0)
        return stand_unchecked(cursor, 0);
    if (r != ACT_MISS && !is_pause(r))
        return give_up(cursor, NOWHERE, r);
    if (is_pause(r)) {
        set_pending(cursor, MOVE_DESCEND, bytes);
        cursor->far_depth = path->depth;
        cursor->far_len = path->len;
    }
    path_cut(path, origin);
    return r;
}

int act_cursor_descend_chain(struct act_cursor *cursor)
{
    uint64_t value;
    struct slice bytes;
    uint8_t byte;
    struct path *path = &cursor->path;
    is_resumed(cursor, MOVE_OTHER, slice_of(NULL, 0));
    if (cursor->place != AT_POSITION)
        return ACT_MISS;
    for (bool has_moved = false;; has_moved = true) {
        int r = path_only_way(path, &byte, &bytes);
        if (r == ACT_MISS)
            return has_moved ? 0 : ACT_MISS;
        if (r == 0)
            r = path_follow(path, bytes);
        if (r != 0 && !is_pause(r))
            return give_up(cursor, NOWHERE, r);
        stand_unchecked(cursor, r);
        if (r != 0 || path_value(path, &value))
            return r;
    }
}

int act_cursor_ascend(struct act_cursor *cursor, size_t n, size_t *ret_n)
{
    struct path *path = &cursor->path;
    is_resumed(cursor, MOVE_OTHER, slice_of(NULL, 0));
    if (cursor->place != AT_POSITION)
        return ACT_MISS;
    n = n < path->len ? n : path->len;
    path_cut(path, path->len - n);
    stand_unchecked(cursor, 0);
    if (ret_n)
        *ret_n = n;
    return 0;
}

struct act_fault act_cursor_fault(const struct act_cursor *cursor)
{
    return cursor->path.view.fault;
}
