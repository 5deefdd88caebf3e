/*
 * walks: how methods move the worker's cursor, slice by slice.
 *
 * The cursor is shared by all requests, so a slice begins by going to the mark that the last one
 * left (progress->mark), and ends with another one. A walk ends before its time where the slice is
 * used up, or the request's budget (pause_walk), or where it comes to a page that is not in memory
 * (pause_cold_walk, pause_for_page).
 */
#pragma once

#include "daemon/worker/call.h"

static inline struct slice mark_of(const struct call *call)
{
    return buf_content(&call->progress->mark);
}

/* Remembers a position. 0, CALL_AGAIN's failures as a reply's. */
int set_mark(struct call *call, struct slice mark);

/* Where the cursor stands, in scratch memory. False: behind everything, or nowhere. */
bool cursor_mark(struct call *call, struct slice *ret);

/* What a move of the cursor came to, if it is no entry and not the end. */
int move_failed(struct call *call, int r);

/* The nodes that the next move may visit: those that the slice and the request's budget have left,
 * and `way` more that do not count, to come to where the walk begins. */
static inline void allow_walk(struct call *call, uint64_t max_visited, size_t way)
{
    uint64_t left = max_visited - call->progress->visited;
    uint64_t work = call->work + call->progress->more_work;
    call->allowed = left < work ? left : work;
    act_cursor_set_budget(call->dispatch->cursor, call->allowed + way);
}

/* Accounts for the moves since allow_walk. */
static inline void note_walk(struct call *call)
{
    uint64_t left = act_cursor_budget(call->dispatch->cursor);
    uint64_t used = left < call->allowed ? call->allowed - left : 0;
    call->progress->visited += used;
    call->walked = used;
    spend(call, used);
}

/* A seek is no part of the budget: it takes a node for each byte of the key at most. However long
 * the key is, half of what the slice has left is for the walk. Where it misses a page there is
 * nothing to be kept: CALL_COLD. */
int seek(struct call *call, struct slice key);

/* From the mark, or else from `start`, to the first entry at or behind it. */
int begin_forward(struct call *call, struct slice start, uint64_t max_visited);

/* From the mark, or else from `start`, to the last entry before it. */
int begin_backward(struct call *call, struct slice start, uint64_t max_visited);

/* A walk has used up what it may: keeps where it stands. CALL_AGAIN, or CALL_LIMIT where the
 * request's budget is used up, too. A way down to the last entry below a position passes nothing
 * before it is at its end, and then begins anew: it gets more and more until it comes there. */
int pause_walk(struct call *call, uint64_t max_visited);

/* A walk has come to a page that is not in memory. The pages behind it are wanted as well, more of
 * them each time that this happens to a request: what comes in order mostly stands in order. */
int pause_for_page(struct call *call, bool is_reverse);

/* The same in a walk that has to be kept: it goes on from where it stands. In reverse it begins
 * anew, as if it had not been: a way down has passed nothing before its end, and all of it would be
 * charged twice. */
int pause_cold_walk(struct call *call, bool is_reverse);
