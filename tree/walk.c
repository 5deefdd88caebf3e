/*
 * walk: see walk.h.
 *
 * Forward is a node, then what is below it, child by child: the next child begins where the last
 * one ended. Backward is what is below the last child first; children are found as lookups find
 * them.
 */
#include "tree/walk.h"

/* A step forward that has come to no new position: on to the next step. */
#define STEP_ON 100

/* Order of the path's place and a key; a gap is never equal to one. */
static int compare_place(const struct path *path, bool has_gap, struct slice key)
{
    size_t n = path->len < key.len ? path->len : key.len;
    int order = n > 0 ? memcmp(path->key, key.p, n) : 0;
    if (order != 0)
        return order;
    if (path->len >= key.len)
        return path->len > key.len || has_gap;
    return has_gap && path->gap > key.p[path->len] ? 1 : -1;
}

bool path_is_before(const struct path *path, bool has_gap, const struct bounds *bounds)
{
    return compare_place(path, has_gap, bounds->from) < 0;
}

static bool begins_with(const struct path *path, struct slice prefix)
{
    return path->len >= prefix.len && memcmp(path->key, prefix.p, prefix.len) == 0;
}

bool path_is_behind(const struct path *path, bool has_gap, const struct bounds *bounds)
{
    if (bounds->is_prefix && bounds->from.len > 0 && !begins_with(path, bounds->from))
        return compare_place(path, has_gap, bounds->from) > 0;
    return bounds->has_to && compare_place(path, has_gap, bounds->to) >= 0;
}

/* All that is below the path's position, and the position, lies before the bounds. */
static bool is_wholly_before(const struct path *path, const struct bounds *bounds)
{
    size_t n = path->len < bounds->from.len ? path->len : bounds->from.len;
    return n > 0 && memcmp(path->key, bounds->from.p, n) < 0;
}

/* With what the path has behind a branch that it goes on from, without its key. */
static inline __attribute__((always_inline)) void enter(struct path *path, struct frame *parent,
                                                        unsigned byte, bool is_keyed)
{
    if (is_keyed) {
        path_enter(path, parent, byte);
        return;
    }
    parent->next_offset = parent[1].node.end;
    parent->next_byte = (uint16_t)(byte + 1);
    path->len = parent->start + 1;
}

/* Down to the first child of the branch on top that is behind the gap. ACT_MISS: there is none. */
static inline __attribute__((always_inline)) int step_branch(struct path *path,
                                                             struct frame *branch, bool is_keyed)
{
    unsigned byte;
    uint64_t offset;
    if (branch->set_kind == SET_UNKNOWN && branch->node.field > 0)
        frame_know_set(branch);
    if (branch->set_kind == SET_LIST && path->gap == branch->next_byte) {
        if (branch->next_index >= branch->node.field)
            return ACT_MISS;
        byte = branch->node.set[branch->next_index];
        offset = branch->next_offset;
    } else {
        int r = path_child_from(path, path->gap, &byte, &offset);
        if (r != 0)
            return r;
    }
    int r = path_push(path, offset, branch->node.offset, branch->start + 1);
    if (r != 0) {
        path->gap = byte;
        return r;
    }
    branch->next_index++;
    enter(path, branch, byte, is_keyed);
    path->gap = 0;
    return path_top(path)->node.is_line ? STEP_ON : 0;
}

/* Along the line on top, and to its child: where that is needed to know the value of its end. */
static inline __attribute__((always_inline)) int step_line(struct path *path, struct frame *line,
                                                           bool is_keyed)
{
    const struct node *node = &line->node;
    size_t used = path->len - line->start;
    if (used == node->line.len) {
        if (node->child == 0 || path->gap == GAP_BEHIND_ALL)
            return ACT_MISS;
        int r = path_push_line_child(path);
        return r == 0 ? STEP_ON : r;
    }
    if (path->gap > node->line.p[used])
        return ACT_MISS;
    if (node->line.len > path->max_len - line->start)
        return ACT_TOO_LONG;
    if (!node->has_value && node->child != 0) {
        int r = path_push_line_child(path);
        if (r != 0)
            return r;
    }
    if (is_keyed)
        memcpy(path->key + path->len, node->line.p + used, node->line.len - used);
    path->len = line->start + node->line.len;
    path->gap = 0;
    return path_top(path)->node.is_line && path_top(path) != line ? STEP_ON : 0;
}

/* Up from what is done to a branch with children left, maybe. False: there is none in the bounds.
 */
static inline bool step_up(struct path *path, size_t floor)
{
    struct frame *frame = path_top(path);
    do {
        if (--path->depth == 0)
            return false;
        frame--;
    } while (frame->node.is_line);
    path->len = frame->start;
    path->gap = frame->next_byte;
    return path->len >= floor;
}

/* Up from a leaf at once, to a branch inside the bounds. */
static inline void leave_leaf(struct path *path, size_t floor)
{
    const struct frame *leaf = path_top(path);
    if (leaf->node.child != 0 || path->depth < 2 || leaf[-1].node.is_line || leaf[-1].start < floor)
        return;
    path->depth--;
    path->len = leaf[-1].start;
    path->gap = leaf[-1].next_byte;
}

/* One function for both: with keys to the next entry, without through all of them. */
static inline __attribute__((always_inline)) int walk_forward(struct path *path,
                                                              const struct bounds *bounds,
                                                              uint64_t *count, bool is_keyed)
{
    size_t floor = bounds->is_prefix ? bounds->from.len : 0;
    for (;;) {
        struct frame *top = path_top(path);
        int r =
            top->node.is_line ? step_line(path, top, is_keyed) : step_branch(path, top, is_keyed);
        if (r == ACT_MISS && !step_up(path, floor))
            return ACT_MISS;
        if (r == ACT_MISS || r == STEP_ON)
            continue;
        if (r != 0)
            return r;
        if (is_keyed && bounds->has_to && path_is_behind(path, false, bounds))
            return ACT_MISS;
        bool has_value = path_top(path)->node.has_value;
        if (has_value && is_keyed)
            return 0;
        if (!is_keyed) {
            *count += has_value;
            leave_leaf(path, floor);
        }
    }
}

int walk_next(struct path *path, const struct bounds *bounds)
{
    return walk_forward(path, bounds, NULL, true);
}

/* The key of a path that has been walked without one. */
static void make_key(struct path *path)
{
    for (size_t i = 0; i < path->depth; i++) {
        const struct frame *frame = &path->frames[i];
        size_t end = i + 1 < path->depth ? frame[1].start : path->len;
        if (frame->node.is_line)
            memcpy(path->key + frame->start, frame->node.line.p, end - frame->start);
        else if (end > frame->start)
            path->key[frame->start] = (uint8_t)(frame->next_byte - 1);
    }
}

int walk_count(struct path *path, const struct bounds *bounds, uint64_t *count)
{
    int r;
    if (bounds->has_to) {
        while ((r = walk_next(path, bounds)) == 0)
            ++*count;
        return r;
    }
    r = walk_forward(path, bounds, count, false);
    if (is_pause(r))
        make_key(path);
    else
        path->depth = 0;
    return r;
}

bool walk_leave_back(struct path *path)
{
    for (;;) {
        size_t start = path_top(path)->start;
        bool is_other = path->len > start; /* the position before is another one */
        if (--path->depth == 0)
            return false;
        const struct frame *parent = path_top(path);
        path->len = start;
        if (!parent->node.is_line) {
            path->len = parent->start;
            path->gap = path->key[parent->start];
            return true;
        }
        path->gap = 0;
        if (is_other)
            return true;
    }
}

/* Down to the last child that is before the gap. ACT_MISS: nothing is below the position. */
static int step_back(struct path *path)
{
    struct frame *top = path_top(path);
    const struct node *node = &top->node;
    size_t used = path->len - top->start;
    if (!node->is_line) {
        unsigned byte;
        uint64_t offset;
        int r = node->field == 0 ? ACT_MISS : path_child_below(path, path->gap, &byte, &offset);
        if (r == 0)
            r = path_push(path, offset, node->offset, top->start + 1);
        if (r == 0)
            path_enter(path, top, byte);
        path->gap = r == 0 ? GAP_BEHIND_ALL : path->gap;
        return r;
    }
    if (used == node->line.len)
        return node->child == 0 || path->gap == 0 ? ACT_MISS : path_push_line_child(path);
    if (path->gap <= node->line.p[used])
        return ACT_MISS;
    if (node->line.len > path->max_len - top->start)
        return ACT_TOO_LONG;
    memcpy(path->key + path->len, node->line.p + used, node->line.len - used);
    path->len = top->start + node->line.len;
    path->gap = GAP_BEHIND_ALL;
    return 0;
}

int walk_prev(struct path *path, const struct bounds *bounds)
{
    for (;;) {
        uint64_t value;
        int r = step_back(path);
        if (r != 0 && r != ACT_MISS)
            return r;
        if (bounds->from.len > 0 && is_wholly_before(path, bounds))
            return ACT_MISS;
        if (r == 0)
            continue;
        if (path_value(path, &value))
            return path_is_before(path, false, bounds) ? ACT_MISS : 0;
        if (!walk_leave_back(path))
            return ACT_MISS;
    }
}
