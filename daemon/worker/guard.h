/*
 * guard: tree calls on a mapped file, which may lose its pages at any time.
 *
 * Where a file is truncated in place, or its disk fails, the next touch of a page that is not there
 * raises SIGBUS. In the calls below that does not end the process: the work that made the call is
 * left there and then, and guard_run, which began it, says so.
 *
 * Everything in the worker that reads mapped bytes goes through here. A slice that leads into the
 * map (guard_bytes) is copied by guard_copy and never given to anybody else.
 *
 * The jump goes out of the middle of tree code, over the frames of all that the work has called. So
 * the calls hold nothing but tree code and memcpy, which own nothing; and what the work itself owns
 * while it calls (memory, a lock) must be in the hands of whoever called guard_run, too. Cleanup
 * attributes do not run. A cursor must be reset before its next use.
 *
 * Threads: any number, each with its own work. Work does not nest.
 */
#pragma once

#include "act/act.h"
#include "base/slice.h"

/* Result of guard_run, apart from those of tree, methods and replies. */
#define GUARD_LOST 120

/* Catches SIGBUS where this file says so. Any other ends the process, as without it. To be called
 * before the first guard_run. */
void guard_install(void);

typedef int guard_fn(void *context);

/* Runs work. Its result, or GUARD_LOST: it has touched a page that was not there, and was left.
 * What it has found before may be as wrong: a page that is cut in the middle reads as zeros. */
int guard_run(guard_fn *work, void *context);

/*
 * Only in guard_run. As the functions of act/act.h and act/cursor.h with these names; the others
 * there touch no mapped byte and can be called as they are.
 */
int guard_get(const struct act *tree, struct slice key, uint64_t *ret_value,
              struct act_fault *ret_fault);
void guard_get_batch(const struct act *tree, const struct act_key *keys, size_t n,
                     struct act_result *ret_results);
int guard_exists(const struct act *tree, struct slice key, struct act_fault *ret_fault);
int guard_node(const struct act *tree, struct slice key, struct act_node *ret_node,
               struct act_fault *ret_fault);
int guard_longest_prefix(const struct act *tree, struct slice key, size_t *ret_len,
                         uint64_t *ret_value, struct act_fault *ret_fault);
int guard_prefixes(const struct act *tree, struct slice key, size_t min_len,
                   struct act_prefix *ret_prefixes, size_t max, size_t *ret_n,
                   struct act_fault *ret_fault);

/* ret_bytes leads into the map: for guard_copy. */
int guard_bytes(const struct act *tree, uint64_t value, struct slice *ret_bytes,
                struct act_fault *ret_fault);
/* to: room for all of it. */
void guard_copy(const struct act *tree, void *to, struct slice bytes);
/* Reads the byte at p, whatever a compiler thinks of the use of that: its page is in memory then.
 */
void guard_touch(const struct act *tree, const uint8_t *p);

size_t guard_top(const struct act *tree, struct act_range *ret_ranges, size_t max);

/* tree: the one that the cursor is on. */
void guard_cursor_reset(struct act_cursor *cursor, const struct act *tree);
int guard_cursor_seek(const struct act *tree, struct act_cursor *cursor, struct slice key);
int guard_cursor_last(const struct act *tree, struct act_cursor *cursor);
int guard_cursor_next(const struct act *tree, struct act_cursor *cursor);
int guard_cursor_prev(const struct act *tree, struct act_cursor *cursor);
int guard_cursor_count(const struct act *tree, struct act_cursor *cursor, uint64_t *ret_count);
