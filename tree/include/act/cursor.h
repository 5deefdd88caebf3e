/*
 * act/cursor.h: walk a tree in the order of its keys, or position by position.
 *
 * A cursor stands at a *position* (section 5: a prefix of a stored path, which may or may not have
 * a value) or *between* positions, where a move found nothing. The order of keys is that of their
 * bytes, a prefix before what it begins; the sequence of a tree is all its keys with a value, the
 * empty one included.
 *
 * Two families of moves can be mixed freely:
 *
 *   entries    first, last, next, prev, seek: to keys that have a value
 *   positions  node, descend, ascend: along the trie, as a zipper does
 *
 * Memory. A cursor allocates only when it is made: address space for the deepest path, to which the
 * kernel gives memory as it is used. No move allocates, and none recurses.
 *
 * Bounded work. A file in which runs are shared can hold more positions than it has bytes, so a
 * single move may have to pass many positions without a value. act_cursor_set_budget bounds the
 * nodes that moves may visit; a move that has used it up ends with ACT_LIMIT and goes on where it
 * stopped when the same move is called again. Until then the cursor stands in between: next and
 * prev are behind and before all that has been passed, so the opposite move leads back here, too; a
 * seek that did not come to its end stands somewhere on the way to its key. Only a descend stays
 * where it began. Any other move may follow.
 *
 * Results of moves: 0; ACT_MISS: there is no such entry or position; ACT_CORRUPT: act_cursor_fault
 * tells where; ACT_LIMIT; ACT_TOO_LONG: the key there is longer than max_key_bytes. After
 * ACT_CORRUPT and ACT_TOO_LONG the cursor stands nowhere: only first, last, the seeks, root, reset
 * and a confinement lead back; next, prev and the others end in ACT_MISS.
 *
 * With the tree of a residency (act/residency.h) moves may end in ACT_COLD, which is a pause like
 * ACT_LIMIT: the same move, called again when the missing pages are in memory, goes on.
 *
 * Odd trees (section 10) have the entries that act_get finds, in the order of their keys.
 *
 * Threads. A cursor is one thread's. Any number of cursors may walk a tree at once.
 */
#ifndef ACT_CURSOR_H
#define ACT_CURSOR_H

#include <act/act.h>

#ifdef __cplusplus
extern "C" {
#endif

/* max_key_bytes where 0 is given. */
#define ACT_MAX_KEY_BYTES ((size_t)1 << 20)

struct act_cursor;

/*
 * Makes a cursor at the root of tree; if that cannot be read, it stands nowhere.
 *
 * tree           NULL: no byte of a tree is read; act_cursor_reset must be the first call then.
 * max_key_bytes  the longest key that it goes to; 0: ACT_MAX_KEY_BYTES. For each byte of it the
 *                cursor takes some 120 bytes of address space (see above).
 * ret_cursor     owned by the caller: act_cursor_free, before act_close of the tree.
 *
 * 0 or -ENOMEM.
 */
ACT_PUBLIC int act_cursor_new(const struct act *tree, size_t max_key_bytes,
                              struct act_cursor **ret_cursor);

/* NULL is fine. */
ACT_PUBLIC void act_cursor_free(struct act_cursor *cursor);

/* As if it were new, at the root of tree, which may be another tree: no bounds, no budget. Does
 * not allocate. */
ACT_PUBLIC void act_cursor_reset(struct act_cursor *cursor, const struct act *tree);

/* Bounds the nodes that all moves from now on may visit together: each that is decoded counts, not
 * the siblings that are skipped to it. UINT64_MAX: no bound. */
ACT_PUBLIC void act_cursor_set_budget(struct act_cursor *cursor, uint64_t nodes);

/* What is left of it. */
ACT_PUBLIC uint64_t act_cursor_budget(const struct act_cursor *cursor);

/*
 * Confines the entry moves: to the keys that begin with prefix, or to the keys from `from` (itself
 * included) up to `to` (not included; NULL: no end). One confinement holds at a time; an empty
 * prefix takes it away. The cursor then stands before the first entry: next is first. Position
 * moves are not confined.
 *
 * The bytes are borrowed until the next confinement or reset; a view by act_cursor_key is not for
 * this, since the next move changes it.
 */
ACT_PUBLIC void act_cursor_set_prefix(struct act_cursor *cursor, const void *prefix, size_t len);
ACT_PUBLIC void act_cursor_set_range(struct act_cursor *cursor, const void *from, size_t from_len,
                                     const void *to, size_t to_len);

/*
 * To the first or last entry within the confinement. ACT_MISS: there is none.
 */
ACT_PUBLIC int act_cursor_first(struct act_cursor *cursor);
ACT_PUBLIC int act_cursor_last(struct act_cursor *cursor);

/*
 * To the entry of key; to the first one at or after it; to the last one at or before it; always
 * within the confinement. On ACT_MISS the cursor stands where the key would be, or at the key's
 * position if there is one (seek only): next and prev go to the entries on either side.
 */
ACT_PUBLIC int act_cursor_seek(struct act_cursor *cursor, const void *key, size_t key_len);
ACT_PUBLIC int act_cursor_seek_at_or_after(struct act_cursor *cursor, const void *key,
                                           size_t key_len);
ACT_PUBLIC int act_cursor_seek_at_or_before(struct act_cursor *cursor, const void *key,
                                            size_t key_len);

/*
 * To the first entry after, or the last one before, where the cursor stands. From a position
 * without a value too. ACT_MISS: there is none; the cursor then stands behind the last entry, or
 * before the first, and the opposite move leads back to it.
 */
ACT_PUBLIC int act_cursor_next(struct act_cursor *cursor);
ACT_PUBLIC int act_cursor_prev(struct act_cursor *cursor);

/*
 * Counts the entries from where the cursor stands (its own included, if it stands on one) to the
 * end of the confinement, and goes there. To count under a prefix: set_prefix, first, count.
 *
 * ret_count  entries counted by this call, also on ACT_LIMIT: then the count is not exact, and the
 *            next call goes on behind the last one counted.
 *
 * 0: all are counted. ACT_LIMIT, ACT_CORRUPT or ACT_TOO_LONG likewise end a part count. ACT_MISS:
 * the cursor stands nowhere.
 */
ACT_PUBLIC int act_cursor_count(struct act_cursor *cursor, uint64_t *ret_count);

/*
 * The bytes of the key or position that the cursor stands at: a view, valid until the next move.
 * NULL if it stands at none. An empty key is not NULL.
 */
ACT_PUBLIC const uint8_t *act_cursor_key(const struct act_cursor *cursor, size_t *ret_len);

/*
 * Where the cursor stands in the order of all byte strings: the least one that is not before it. At
 * a position that is its key; after a move that found nothing, or ended in ACT_LIMIT, the keys
 * below the mark are before the cursor, the others behind it. Another cursor goes on from there by
 * a seek to the mark, and next or prev: so a walk need not keep its cursor.
 *
 * ret_key  room for size bytes, the caller's; max_key_bytes + 1 are always enough.
 * ret_len  set also on ACT_TOO_LONG: the bytes that it takes.
 *
 * 0; ACT_MISS: every byte string is before it, or it stands nowhere; ACT_TOO_LONG: above size.
 */
ACT_PUBLIC int act_cursor_mark(const struct act_cursor *cursor, uint8_t *ret_key, size_t size,
                               size_t *ret_len);

/* The value there. 0, or ACT_MISS: no value, or the cursor stands at no position. */
ACT_PUBLIC int act_cursor_value(const struct act_cursor *cursor, uint64_t *ret_value);

/* Value and child set of the position, as act_node. 0, ACT_MISS: the cursor stands at none, or
 * ACT_CORRUPT. Does not move; costs no budget. */
ACT_PUBLIC int act_cursor_node(struct act_cursor *cursor, struct act_node *ret_node);

/* To the root's position: the empty key. Costs no budget. 0 or ACT_CORRUPT. */
ACT_PUBLIC int act_cursor_root(struct act_cursor *cursor);

/* Down by one byte, or by all len bytes. ACT_MISS: there is no such position; the cursor stays
 * where it is. */
ACT_PUBLIC int act_cursor_descend(struct act_cursor *cursor, uint8_t byte);
ACT_PUBLIC int act_cursor_descend_by(struct act_cursor *cursor, const void *bytes, size_t len);

/* Down along positions with one child, at least one byte, to the first that has a value or not
 * exactly one child. ACT_MISS: the cursor's own position has not exactly one child; it stays.
 * ACT_LIMIT: it has come a part of the way. */
ACT_PUBLIC int act_cursor_descend_chain(struct act_cursor *cursor);

/* Up by n bytes, at most to the root's position. ACT_MISS: the cursor stands at no position.
 * ret_n  how many bytes that were; may be NULL. */
ACT_PUBLIC int act_cursor_ascend(struct act_cursor *cursor, size_t n, size_t *ret_n);

/* Where and why the last move ended in ACT_CORRUPT. */
ACT_PUBLIC struct act_fault act_cursor_fault(const struct act_cursor *cursor);

#ifdef __cplusplus
}
#endif

#endif
