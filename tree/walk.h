/*
 * walk: from a path to the next or previous entry (a position with a value), and counting.
 *
 * A walk begins in a gap, of which it passes one position after the other until one has a value. It
 * goes on where it was when the budget is used up: it is always in a gap, and each position is
 * either before it or behind it.
 */
#pragma once

#include "tree/path.h"

/* Where a walk ends before the tree does. */
struct bounds {
    struct slice from; /* nothing before it */
    struct slice to;   /* if has_to: nothing at or behind it */
    bool has_to;
    bool is_prefix; /* nothing that does not begin with `from` */
};

/* Does what stands at that key (has_gap: in the path's gap) lie wholly before the bounds? An entry
 * there does so, too, if its key is one that `from` begins with. */
bool path_is_before(const struct path *path, bool has_gap, const struct bounds *bounds);

/* Does it lie behind them? */
bool path_is_behind(const struct path *path, bool has_gap, const struct bounds *bounds);

/*
 * From the path's gap, inside the bounds, to the first entry behind it. 0: the path's position is
 * it. ACT_MISS: there is none, and the path is of no more use. ACT_LIMIT: it stands in a gap, to go
 * on from. ACT_CORRUPT, ACT_TOO_LONG.
 */
int walk_next(struct path *path, const struct bounds *bounds);

/* From the path's gap to the last entry before it, likewise. */
int walk_prev(struct path *path, const struct bounds *bounds);

/* From the path's position to the gap before it. False: nothing is before it. */
bool walk_leave_back(struct path *path);

/* Passes all entries behind the path's gap and adds their number to *count. ACT_MISS: that were
 * all; ACT_LIMIT and the others as walk_next. */
int walk_count(struct path *path, const struct bounds *bounds, uint64_t *count);
