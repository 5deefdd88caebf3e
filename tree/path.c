/*
 * path: see path.h.
 */
#include "tree/path.h"

#include <assert.h>

static bool is_ascending(const struct node *branch)
{
    for (unsigned i = 1; i < branch->field; i++)
        if (branch->set[i - 1] >= branch->set[i])
            return false;
    return true;
}

void frame_know_set(struct frame *branch)
{
    unsigned index = 0;
    const struct node *node = &branch->node;
    if (node->field == NODE_FIELD_MASK) {
        branch->set_kind = SET_MASK;
        return;
    }
    branch->set_kind = is_ascending(node) ? SET_LIST : SET_ODD;
    while (index < node->field && node->set[index] < branch->next_byte)
        index++;
    branch->next_index = (uint8_t)index;
}

static bool mask_first_from(const uint8_t *mask, unsigned from, unsigned *ret_byte)
{
    for (unsigned i = from / 64; i < 4; i++) {
        uint64_t word = load_le64(mask + 8 * i);
        if (i == from / 64)
            word &= UINT64_MAX << (from % 64);
        if (word != 0) {
            *ret_byte = 64 * i + (unsigned)__builtin_ctzll(word);
            return true;
        }
    }
    return false;
}

static bool mask_last_below(const uint8_t *mask, unsigned below, unsigned *ret_byte)
{
    for (unsigned n = (below + 63) / 64; n > 0; n--) {
        uint64_t word = load_le64(mask + 8 * (n - 1));
        if (n > below / 64)
            word &= (UINT64_C(1) << (below % 64)) - 1;
        if (word != 0) {
            *ret_byte = 64 * n - 1 - (unsigned)__builtin_clzll(word);
            return true;
        }
    }
    return false;
}

static bool list_first_from(const uint8_t *set, unsigned n, unsigned from, unsigned *ret_byte)
{
    unsigned first = 256;
    for (unsigned i = 0; i < n; i++)
        if (set[i] >= from && set[i] < first)
            first = set[i];
    if (first < 256)
        *ret_byte = first;
    return first < 256;
}

static bool list_last_below(const uint8_t *set, unsigned n, unsigned below, unsigned *ret_byte)
{
    bool found = false;
    for (unsigned i = 0; i < n; i++)
        if (set[i] < below && (!found || set[i] > *ret_byte)) {
            *ret_byte = set[i];
            found = true;
        }
    return found;
}

/* Lookup takes the same step: see child.h. The index is found again when it is needed. */
static int child_at(struct path *path, struct frame *branch, unsigned byte, unsigned *ret_byte,
                    uint64_t *ret_offset)
{
    const uint8_t key[] = {(uint8_t)byte};
    branch->set_kind = SET_UNKNOWN;
    *ret_byte = byte;
    return child_step(&path->view, &branch->node, slice_of(key, 1), ret_offset);
}

int path_child_from(struct path *path, unsigned from, unsigned *ret_byte, uint64_t *ret_offset)
{
    struct frame *branch = path_top(path);
    const struct node *node = &branch->node;
    unsigned byte = 0;
    if (node->field == 0)
        return ACT_MISS;
    if (branch->set_kind == SET_UNKNOWN)
        frame_know_set(branch);
    bool found = branch->set_kind == SET_MASK
                     ? mask_first_from(node->set, from, &byte)
                     : list_first_from(node->set, node->field, from, &byte);
    if (!found)
        return ACT_MISS;
    if (from != branch->next_byte || branch->set_kind == SET_ODD)
        return child_at(path, branch, byte, ret_byte, ret_offset);
    *ret_byte = byte;
    *ret_offset = branch->next_offset;
    return 0;
}

int path_child_below(struct path *path, unsigned below, unsigned *ret_byte, uint64_t *ret_offset)
{
    struct frame *branch = path_top(path);
    const struct node *node = &branch->node;
    unsigned byte = 0;
    bool found = node->field == NODE_FIELD_MASK
                     ? mask_last_below(node->set, below, &byte)
                     : list_last_below(node->set, node->field, below, &byte);
    return found ? child_at(path, branch, byte, ret_byte, ret_offset) : ACT_MISS;
}

int path_to_root(struct path *path)
{
    uint64_t budget = path->budget;
    if (path->depth > 0) {
        path_cut(path, 0);
        return 0;
    }
    path->len = 0;
    path->gap = 0;
    path->budget = UINT64_MAX;
    int r = path_push(path, path->root, path->view.map->size, 0);
    path->budget = budget;
    return r;
}

void path_cut(struct path *path, size_t len)
{
    assert(len <= path->len && path->depth > 0);
    while (path_top(path)->start > len)
        path->depth--;
    path->len = len;
    path->gap = 0;
}

static size_t common_len(struct slice a, struct slice b)
{
    size_t i = 0, n = a.len < b.len ? a.len : b.len;
    while (i + 8 <= n && memcmp(a.p + i, b.p + i, 8) == 0)
        i += 8;
    while (i < n && a.p[i] == b.p[i])
        i++;
    return i;
}

/* From the end of the line on top to its child. In a pause before a position whose value is not
 * known yet, the gap lies before that position: one byte up. */
static int follow_line_child(struct path *path, struct slice rest)
{
    int r = path_push_line_child(path);
    if (!is_pause(r))
        return r;
    path->gap = rest.len > 0 ? rest.p[0] : path->key[--path->len];
    return r;
}

/* Along the line on top. *ret_is_done: with the result 0, there is nothing left to go. */
static int follow_line(struct path *path, struct slice *rest, bool *ret_is_done)
{
    const struct frame *line = path_top(path);
    const struct node *node = &line->node;
    size_t used = path->len - line->start;
    size_t n = common_len(*rest, slice_of(node->line.p + used, node->line.len - used));
    if (n > path->max_len - path->len)
        return ACT_TOO_LONG;
    /* The bytes may be the path's own key. */
    memmove(path->key + path->len, node->line.p + used, n);
    path->len += n;
    *rest = slice_of(rest->p + n, rest->len - n);
    bool is_inside = used + n < node->line.len;
    *ret_is_done = rest->len == 0 && (is_inside || node->has_value || node->child == 0);
    if (*ret_is_done)
        return 0;
    if (is_inside || node->child == 0) {
        path->gap = rest->p[0];
        return ACT_MISS;
    }
    return follow_line_child(path, *rest);
}

static int follow_branch(struct path *path, struct slice *rest)
{
    struct frame *branch = path_top(path);
    uint64_t offset;
    uint8_t byte = rest->p[0];
    path->gap = byte;
    if (branch->node.field == 0)
        return ACT_MISS;
    int r = child_step(&path->view, &branch->node, *rest, &offset);
    if (r == 0)
        r = path_push(path, offset, branch->node.offset, branch->start + 1);
    if (r != 0)
        return r;
    branch->set_kind = SET_UNKNOWN;
    path_enter(path, branch, byte);
    *rest = slice_of(rest->p + 1, rest->len - 1);
    return 0;
}

int path_follow(struct path *path, struct slice bytes)
{
    bytes.p = bytes.p ? bytes.p : path->key; /* NULL cannot be added to, not even 0 */
    for (;;) {
        bool is_done = bytes.len == 0;
        int r = 0;
        if (path_top(path)->node.is_line)
            r = follow_line(path, &bytes, &is_done);
        else if (!is_done)
            r = follow_branch(path, &bytes);
        if (r != 0)
            return r;
        if (is_done) {
            path->gap = 0;
            return 0;
        }
    }
}

int path_seek(struct path *path, struct slice key)
{
    int r = 0;
    if (path->depth == 0) {
        path->len = 0;
        r = path_push(path, path->root, path->view.map->size, 0);
    }
    if (r != 0)
        return r;
    size_t common = common_len(path_key(path), key);
    path_cut(path, common);
    key.p = key.p ? key.p + common : NULL;
    return path_follow(path, slice_of(key.p, key.len - common));
}

int path_only_way(struct path *path, uint8_t *byte, struct slice *ret_bytes)
{
    uint64_t children[4];
    const struct frame *top = path_top(path);
    size_t used = path->len - top->start;
    if (top->node.is_line && used == top->node.line.len) {
        int r = top->node.child != 0 ? path_push_line_child(path) : ACT_MISS;
        if (r != 0)
            return r;
        top = path_top(path);
        used = 0;
    }
    if (top->node.is_line) {
        *ret_bytes = slice_of(top->node.line.p + used, top->node.line.len - used);
        return 0;
    }
    if (top->node.field == 0)
        return ACT_MISS;
    node_children(&top->node, children);
    if (bits_count(children) != 1)
        return ACT_MISS;
    for (unsigned i = 0; i < 4; i++)
        if (children[i] != 0)
            *byte = (uint8_t)(64 * i + (unsigned)__builtin_ctzll(children[i]));
    *ret_bytes = slice_of(byte, 1);
    return 0;
}

bool path_value(const struct path *path, uint64_t *ret_value)
{
    const struct frame *frame = path_top(path);
    size_t used = path->len - frame->start;
    if (frame->node.is_line && used < frame->node.line.len) {
        /* Where a line follows a line, its begin is the other's end. */
        if (used > 0 || path->depth < 2 || !frame[-1].node.is_line)
            return false;
        frame--;
    }
    if (frame->node.has_value)
        *ret_value = frame->node.value;
    return frame->node.has_value;
}

int path_children(struct path *path, uint64_t children[4])
{
    struct node node = path_top(path)->node;
    size_t used = path->len - path_top(path)->start;
    memset(children, 0, 4 * sizeof *children);
    if (node.is_line && used == node.line.len) {
        int r = node.child != 0 ? node_read(&path->view, node.child, node.offset, &node) : ACT_MISS;
        if (r != 0)
            return r == ACT_MISS ? 0 : r;
        used = 0;
    }
    if (node.is_line) {
        uint8_t byte = node.line.p[used];
        children[byte >> 6] |= UINT64_C(1) << (byte & 63);
    } else if (node.field > 0) {
        node_children(&node, children);
    }
    return 0;
}
