/*
 * batch: many lookups side by side (section 5). Compiled for each engine: see engine.h.
 *
 * A lookup is a chain of loads, each of which needs the one before: most of its time it waits. Here
 * several walks, the lanes, take turns. At the end of its turn a lane names what it will read next,
 * and that is on its way while the others have theirs.
 */
#include "tree/child.h"
#include "tree/engine.h"
#include "tree/match.h"
#include "tree/tree.h"

#include <assert.h>

/* More walks than memory can be asked for at a time gain nothing. */
#define LANES 16

/* What begins so close behind or before what was just read is most likely there already: the lane
 * goes on without waiting for its next turn. */
#define NEAR_BYTES 64

/* What a lane does in its next turn. */
enum turn {
    TURN_NODE,  /* decode the node at `at` */
    TURN_TABLE, /* look the child up in the branch's table */
    TURN_LINE,  /* compare the line's bytes */
};

struct lane {
    enum turn turn;
    unsigned n, rank;  /* TURN_TABLE: of the children, and of the one that is wanted */
    uint64_t at;       /* TURN_NODE */
    uint64_t limit;    /* the node ends at or before it */
    struct slice rest; /* of the key */
    struct node node;  /* decoded last */
    struct act_result *result;
};

/* Outcomes of a turn: the walk goes on in its next turn, or at once. Others are its end. */
#define LANE_ON     100
#define LANE_ON_NOW 101

static inline int wait_for(const struct view *view, uint64_t offset, uint64_t last)
{
    if (offset - last + NEAR_BYTES < 2 * NEAR_BYTES)
        return LANE_ON_NOW;
    node_prefetch(view->map, offset);
    return LANE_ON;
}

/* last: what was read last. */
static inline int go_to(const struct view *view, struct lane *lane, uint64_t at, uint64_t last)
{
    lane->at = at;
    lane->limit = lane->node.offset;
    lane->turn = TURN_NODE;
    return wait_for(view, at, last);
}

static int end_with(struct lane *lane, bool has_value)
{
    if (!has_value)
        return ACT_MISS;
    lane->result->value = lane->node.value;
    return 0;
}

static inline int turn_branch(struct view *view, struct lane *lane)
{
    const struct node *branch = &lane->node;
    uint64_t at = branch->child;
    if (lane->rest.len == 0)
        return end_with(lane, branch->has_value);
    if (branch->field == 0 || !child_rank(branch, lane->rest.p[0], &lane->rank))
        return ACT_MISS;
    lane->n = child_count(branch);
    lane->rest = slice_of(lane->rest.p + 1, lane->rest.len - 1);
    if (lane->rank > 0 && child_has_table(view->map, branch, lane->n)) {
        lane->turn = TURN_TABLE;
        return wait_for(view, branch->child - 2 * lane->rank, branch->offset);
    }
    int r = lane->rank > 0 ? child_skip(view, branch, lane->n, lane->rank, &at) : 0;
    return r == 0 ? go_to(view, lane, at, branch->offset) : r;
}

static inline int turn_node(struct view *view, struct lane *lane)
{
    int r = node_read_head(view, lane->at, lane->limit, &lane->node);
    if (r != 0)
        return r;
    if (!lane->node.is_line)
        return turn_branch(view, lane);
    node_prefetch_child(view->map, &lane->node);
    lane->turn = TURN_LINE;
    return wait_for(view, lane->node.line_at, lane->node.offset);
}

static inline int turn_table(struct view *view, struct lane *lane)
{
    uint64_t at;
    int r = child_look_up(view, &lane->node, lane->n, lane->rank, &at);
    return r == 0 ? go_to(view, lane, at, lane->node.child - 2 * lane->rank) : r;
}

static inline int turn_line(struct view *view, struct lane *lane)
{
    view->reach = lane->rest.len;
    int r = node_read_line(view, &lane->node);
    if (r != 0)
        return r;
    size_t len = lane->node.line.len;
    switch (match_line(&lane->node, lane->rest)) {
    case MATCH_ON:
        lane->rest = slice_of(lane->rest.p + len, lane->rest.len - len);
        return go_to(view, lane, lane->node.child, lane->node.line_at);
    case MATCH_END:
        return end_with(lane, lane->node.has_value);
    default:
        return ACT_MISS;
    }
}

static inline int take_turn(struct view *view, struct lane *lane)
{
    switch (lane->turn) {
    case TURN_NODE:
        return turn_node(view, lane);
    case TURN_TABLE:
        return turn_table(view, lane);
    default:
        return turn_line(view, lane);
    }
}

static void begin(const struct act *tree, struct lane *lane, const struct act_key *key,
                  struct act_result *result)
{
    assert(key->p || key->len == 0);
    lane->turn = TURN_NODE;
    lane->at = tree->root;
    lane->limit = tree->map.size;
    lane->rest = slice_of(key->p ? key->p : "", key->len);
    lane->result = result;
}

void ENGINE_NAME(get_batch)(const struct act *tree, const struct act_key *keys, size_t n,
                            struct act_result *ret_results)
{
    struct view view = view_of(tree, 0);
    struct lane lanes[LANES];
    size_t n_begun = 0, n_lanes = 0;
    while (n_lanes < LANES && n_begun < n) {
        begin(tree, &lanes[n_lanes++], &keys[n_begun], &ret_results[n_begun]);
        n_begun++;
    }
    for (size_t i = 0; n_lanes > 0; i = i + 1 < n_lanes ? i + 1 : 0) {
        struct lane *lane = &lanes[i];
        int r;
        do
            r = take_turn(&view, lane);
        while (r == LANE_ON_NOW);
        if (r == LANE_ON)
            continue;
        lane->result->outcome = r;
        if (r == ACT_CORRUPT)
            lane->result->fault = view.fault;
        if (n_begun < n) {
            begin(tree, lane, &keys[n_begun], &ret_results[n_begun]);
            n_begun++;
        } else {
            *lane = lanes[--n_lanes];
        }
    }
}
