/*
 * walks: see walks.h.
 */
#include "daemon/worker/walks.h"

/* Pages that are read ahead of a walk, from the first time that it misses one. */
#define AHEAD_FIRST 4
#define AHEAD_MOST  64

int set_mark(struct call *call, struct slice mark)
{
    struct progress *progress = call->progress;
    progress->mark.head = progress->mark.tail = 0;
    progress->has_mark = true;
    progress->more_work = 0;
    int r = buf_append(&progress->mark, mark.p, mark.len);
    return r == BUF_FULL ? REPLY_NO_ROOM : r;
}

bool cursor_mark(struct call *call, struct slice *ret)
{
    struct dispatch *dispatch = call->dispatch;
    size_t len;
    if (act_cursor_mark(dispatch->cursor, dispatch->key, dispatch->key_size, &len) != 0)
        return false;
    *ret = slice_of(dispatch->key, len);
    return true;
}

int move_failed(struct call *call, int r)
{
    if (r == ACT_TOO_LONG)
        return key_too_long(call);
    if (r == ACT_CORRUPT)
        call->fault = act_cursor_fault(call->dispatch->cursor);
    return r;
}

int pause_walk(struct call *call, uint64_t max_visited)
{
    struct progress *progress = call->progress;
    struct slice mark;
    if (progress->visited >= max_visited)
        return CALL_LIMIT;
    bool has_mark = cursor_mark(call, &mark);
    if (!has_mark || (progress->has_mark && slice_equal(mark, mark_of(call)))) {
        progress->more_work += progress->more_work + call->dispatch->slice_work;
        progress->visited -= call->walked;
        return CALL_AGAIN;
    }
    int r = set_mark(call, mark);
    return r != 0 ? r : CALL_AGAIN;
}

int pause_for_page(struct call *call, bool is_reverse)
{
    size_t n_missed, n;
    struct progress *progress = call->progress;
    struct act_residency *residency = call->dispatch->snapshot->residency;
    const uint64_t *wanted = act_residency_wanted(residency, &n_missed, &n);
    progress->ahead = progress->ahead == 0           ? AHEAD_FIRST
                      : progress->ahead < AHEAD_MOST ? (uint16_t)(2 * progress->ahead)
                                                     : AHEAD_MOST;
    if (n_missed > 0)
        act_residency_want(residency, wanted[n_missed - 1], progress->ahead, is_reverse);
    return CALL_COLD;
}

int pause_cold_walk(struct call *call, bool is_reverse)
{
    struct slice mark;
    if (is_reverse || !cursor_mark(call, &mark) ||
        (call->progress->has_mark && slice_equal(mark, mark_of(call)))) {
        call->progress->visited -= call->walked; /* it is made again */
        return pause_for_page(call, is_reverse);
    }
    int r = set_mark(call, mark);
    return r != 0 ? r : pause_for_page(call, is_reverse);
}

int seek(struct call *call, struct slice key)
{
    uint64_t work = key.len / WORK_PER_KEY_BYTES;
    spend(call, work < call->work / 2 ? work : call->work / 2);
    act_cursor_set_budget(call->dispatch->cursor, UINT64_MAX);
    int r = guard_cursor_seek(tree_of(call), call->dispatch->cursor, key);
    return r == ACT_COLD ? CALL_COLD : r;
}

int begin_forward(struct call *call, struct slice start, uint64_t max_visited)
{
    int r = seek(call, call->progress->has_mark ? mark_of(call) : start);
    allow_walk(call, max_visited, 0);
    return r == ACT_MISS ? guard_cursor_next(tree_of(call), call->dispatch->cursor) : r;
}

int begin_backward(struct call *call, struct slice start, uint64_t max_visited)
{
    int r = seek(call, call->progress->has_mark ? mark_of(call) : start);
    allow_walk(call, max_visited, 0);
    if (r != 0 && r != ACT_MISS)
        return r;
    return guard_cursor_prev(tree_of(call), call->dispatch->cursor);
}
