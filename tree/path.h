/*
 * path: a way down from the root: its nodes, decoded, and its key.
 *
 * What a cursor stands on. It leads to a position (section 5), `len` bytes of key deep; the top
 * frame is the last node of it that was needed: a branch that begins there, or a line that begins
 * there, ends there or has the position inside it.
 *
 * A path may also stand in a gap: `gap` is the byte, 0 to 256, that splits what is below its
 * position. The position itself and its children below that byte lie before the gap, the others
 * behind it.
 *
 * Frames begin at strictly growing places of the key (a line has a byte, a branch takes one), so
 * the longest key bounds their number: nothing here can run out of frames.
 */
#pragma once

#include "tree/child.h"

#define GAP_BEHIND_ALL 256 /* every child lies before it */

/* A walk that ends so goes on where it stands when it is called again: it is out of budget, or has
 * come to a page that is not in memory. */
static inline bool is_pause(int r)
{
    return r == ACT_LIMIT || r == ACT_COLD;
}

/* How the children of a branch are gone through in order. */
enum set_kind {
    SET_UNKNOWN, /* not looked at yet */
    SET_LIST,    /* child bytes, strictly ascending: the normal case */
    SET_MASK,
    SET_ODD, /* child bytes, not ascending or repeated: see path_child_from */
};

struct frame {
    struct node node;
    size_t start; /* bytes of the key before the node */
    /* Branch. The first child whose byte is next_byte or above begins at next_offset; after a step
     * to a child these are the byte behind its own and its end, so the walk in order skips nothing.
     * Not for SET_ODD. */
    uint64_t next_offset;
    uint16_t next_byte; /* 0 to 256; the byte behind the one that the path goes on with */
    uint8_t set_kind;
    uint8_t next_index; /* SET_LIST: index of that child's byte in the set */
};

struct path {
    struct view view;
    uint64_t root;
    struct frame *frames; /* room for max_len + 1 */
    uint8_t *key;         /* room for max_len */
    size_t depth;         /* frames in use; 0: it leads nowhere */
    size_t len;           /* bytes of the key to its position */
    size_t max_len;
    unsigned gap;
    uint64_t budget; /* nodes that may still be decoded */
    uint64_t cost;   /* of a node: 1, or 0 for no bound */
};

static inline struct frame *path_top(const struct path *path)
{
    return &path->frames[path->depth - 1];
}

static inline struct slice path_key(const struct path *path)
{
    return slice_of(path->key, path->len);
}

/*
 * Decodes the node at offset, which ends at or before limit, onto the path: start bytes of key lie
 * before it. len and key are the caller's. 0, ACT_CORRUPT, ACT_TOO_LONG, ACT_LIMIT or
 * ACT_COLD.
 */
static inline __attribute__((always_inline)) int path_push(struct path *path, uint64_t offset,
                                                           uint64_t limit, size_t start)
{
    if (start > path->max_len)
        return ACT_TOO_LONG;
    if (path->budget == 0)
        return ACT_LIMIT;
    struct frame *frame = &path->frames[path->depth];
    int r = node_read(&path->view, offset, limit, &frame->node);
    if (r != 0)
        return r;
    path->budget -= path->cost;
    frame->start = start;
    frame->next_offset = frame->node.child;
    frame->next_byte = 0;
    frame->set_kind = SET_UNKNOWN;
    path->depth++;
    return 0;
}

/* The child of the line on top, whose end the path stands at: the same position. Where both have a
 * value, the line's counts (section 10). */
static inline int path_push_line_child(struct path *path)
{
    const struct frame *line = path_top(path);
    int r = path_push(path, line->node.child, line->node.offset, line->start + line->node.line.len);
    struct frame *child = path_top(path);
    if (r == 0 && line->node.has_value && !child->node.is_line) {
        child->node.has_value = true;
        child->node.value = line->node.value;
    }
    return r;
}

/* The path goes on from the branch `parent`, below the top, with that byte to the top. */
static inline void path_enter(struct path *path, struct frame *parent, unsigned byte)
{
    parent->next_offset = path_top(path)->node.end;
    parent->next_byte = (uint16_t)(byte + 1);
    path->key[parent->start] = (uint8_t)byte;
    path->len = parent->start + 1;
}

/* Sets the kind of the branch's set; where that is SET_LIST, next_index, too. */
void frame_know_set(struct frame *branch);

/*
 * The first child of the branch on top whose byte is `from` or above, and where it begins.
 *
 * A set that is not ascending is taken as the lookup takes it: each byte that is a member, in
 * ascending order, leads to child number r, where r members (with repetitions) are smaller. So
 * entries come in order and every one is what a lookup finds.
 *
 * 0, ACT_MISS or ACT_CORRUPT.
 */
int path_child_from(struct path *path, unsigned from, unsigned *ret_byte, uint64_t *ret_offset);

/* The last child whose byte is below `below`, likewise. */
int path_child_below(struct path *path, unsigned below, unsigned *ret_byte, uint64_t *ret_offset);

/* To the root's position. Costs no budget. 0 or ACT_CORRUPT: then the path leads nowhere. */
int path_to_root(struct path *path);

/* Up to the first len bytes of its key; no more than it has. */
void path_cut(struct path *path, size_t len);

/*
 * Down along bytes, as far as there are positions. 0: all of them; ACT_MISS: it stands in the gap
 * where the next byte would lead. ACT_LIMIT: it stands in a gap on the way, and path_follow with
 * the bytes behind what is now its key goes on. ACT_CORRUPT, ACT_TOO_LONG.
 */
int path_follow(struct path *path, struct slice bytes);

/* path_follow from the root, or from as far down as the path fits the key already. */
int path_seek(struct path *path, struct slice key);

/* The bytes that the path's position has to go on with, if it has exactly one child: the rest of a
 * line, or the one byte (in *byte). ACT_MISS: it has not. ACT_LIMIT, ACT_CORRUPT, ACT_TOO_LONG. */
int path_only_way(struct path *path, uint8_t *byte, struct slice *ret_bytes);

/* The value of its position. False: none. */
bool path_value(const struct path *path, uint64_t *ret_value);

/* The set of the bytes that lead on from its position. 0 or ACT_CORRUPT. Costs no budget. */
int path_children(struct path *path, uint64_t children[4]);
