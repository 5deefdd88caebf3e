/*
 * verify_walk: from the root to every object, each once.
 *
 * Depth first, children in ascending order: a subtree's objects stand before its run, so the walk
 * goes through the file forward, but for a step to the end of each subtree. A run that was walked
 * already is not walked again, which makes the time linear in the file's size.
 */
#include "tree/verify.h"

static inline void count_value(struct verify *v, uint64_t key_len)
{
    struct act_survey *survey = v->survey;
    survey->n_values++;
    survey->depth[key_len == 0 ? 0 : 64 - __builtin_clzll(key_len)]++;
    if (key_len > v->longest_key_bytes)
        v->longest_key_bytes = key_len;
}

static inline void count_object(struct verify *v, enum act_object kind, uint64_t bytes)
{
    v->survey->n_objects[kind]++;
    v->survey->bytes[kind] += bytes;
    v->done_bytes += bytes;
}

/* A number in a longer form is accepted by every reader and written by no writer. */
static const char longer_form[] = "a number in a longer form than needed";

#define LINE_UNUSED_BITS (NODE_FIELD & ~LINE_HAS_CHILD)

static int check_line(struct verify *v, const struct frame *frame, const struct strict *node)
{
    int r = 0;
    if (node->header & LINE_UNUSED_BITS)
        r = verify_fault(v, PLACE_WALK, node->offset, "a line node with unused header bits set");
    if (r == 0 && node->has_value && node->has_child)
        r = verify_fault(v, PLACE_WALK, node->offset, "a line node with both a value and a child");
    if (r == 0 && frame->is_below_line)
        r = verify_fault(v, PLACE_WALK, node->offset, "a line node as the child of a line node");
    if (r == 0 && !node->has_value && !node->has_child)
        r = verify_note(v, PLACE_WALK, node->offset, NOTE_DANGLING);
    return r;
}

static int check_leaf(struct verify *v, const struct frame *frame, const struct strict *node)
{
    if (frame->is_below_line)
        return verify_fault(v, PLACE_WALK, node->offset, "a line's child without children");
    /* The empty tree's root is no leaf that somebody forgot. */
    if (!node->has_value && frame->parent != 0)
        return verify_note(v, PLACE_WALK, node->offset, NOTE_DANGLING);
    return 0;
}

static int check_branch(struct verify *v, const struct frame *frame, const struct strict *node)
{
    if (node->field == NODE_FIELD_MASK)
        return node->n_children >= NODE_FIELD_MASK
                   ? 0
                   : verify_fault(v, PLACE_WALK, node->offset, "a mask of fewer than 32 children");
    if (node->field == 0)
        return check_leaf(v, frame, node);
    if (!strict_set_ascends(node))
        return verify_fault(v, PLACE_WALK, node->offset, "child bytes that do not ascend");
    /* The root of the reference's stream writer is a branch, whatever it has. */
    if (node->field == 1 && !node->has_value && frame->parent != 0)
        return verify_fault(v, PLACE_WALK, node->offset,
                            "a branch of one child and no value, which is not the root");
    return 0;
}

static int check_node(struct verify *v, const struct frame *frame, const struct strict *node)
{
    int r = 0;
    if (node->is_long)
        r = verify_fault(v, PLACE_WALK, node->offset, longer_form);
    if (r == 0)
        r = node->is_line ? check_line(v, frame, node) : check_branch(v, frame, node);
    return r;
}

/* A string at offset, seen for the first time or again. */
static int take_string(struct verify *v, uint64_t offset, const struct strict_string *string,
                       enum coverage_kind kind)
{
    bool is_line = kind == COVERAGE_LINE_DATA;
    if (coverage_kind_at(&v->coverage, offset) == kind)
        return 0;
    if (!coverage_take(&v->coverage, offset, string->end, kind))
        return verify_fault(v, PLACE_WALK, offset,
                            is_line ? "line data that overlaps another object"
                                    : "a byte value that overlaps another object");
    count_object(v, is_line ? ACT_OBJECT_LINE_DATA : ACT_OBJECT_BYTES, string->end - offset);
    return string->is_long ? verify_fault(v, PLACE_WALK, offset, longer_form) : 0;
}

/* *ret_len: of the line in bytes; 0 where it cannot be told. */
static int take_line(struct verify *v, const struct strict *node, uint64_t *ret_len)
{
    struct strict_string line;
    uint64_t offset = node->offset - node->line;
    *ret_len = 0;
    if (node->line == 0)
        return verify_fault(v, PLACE_WALK, node->offset, "a reference to the node itself");
    if (node->line > node->offset - HEADER_BYTES)
        return verify_fault(v, PLACE_WALK, node->offset, "a reference that leaves the arena");
    if (!strict_read_string(v->map, offset, node->offset, &line))
        return verify_fault(v, PLACE_WALK, offset, "line data that runs into its node");
    if (line.end == line.begin)
        return verify_fault(v, PLACE_WALK, offset, "line data of length 0");
    *ret_len = line.end - line.begin;
    return take_string(v, offset, &line, COVERAGE_LINE_DATA);
}

static int take_byte_value(struct verify *v, const struct strict *node)
{
    struct strict_string string;
    uint64_t value = node->value, end = v->tree->metadata.objects_end;
    if (value < v->map->tables_begin || value >= end)
        return verify_fault(v, PLACE_WALK, node->offset, "a byte value outside the arena");
    if (!strict_read_string(v->map, value, end, &string))
        return verify_fault(v, PLACE_WALK, value, "a byte value that runs past the arena's end");
    return take_string(v, value, &string, COVERAGE_BYTE_VALUE);
}

/* The run of the parent's children, which begins at first, with keys of key_len bytes. */
static inline int run_push(struct verify *v, const struct strict *parent, uint64_t first,
                           uint64_t key_len, bool has_table)
{
    int r = frames_push(&v->frames);
    if (r != 0)
        return r;
    *v->frames.top = (struct frame){
        .parent = parent->offset,
        .at = first,
        .key_len = key_len,
        .n_left = (uint16_t)parent->n_children,
        .index = UINT8_MAX,
        .is_below_line = parent->is_line,
        .has_table = has_table,
    };
    uint64_t depth = v->depth_below + v->frames.depth;
    if (depth > v->survey->deepest_nodes)
        v->survey->deepest_nodes = depth;
    return 0;
}

/* From a node to its children, whose keys begin with key_len bytes. */
static int descend(struct verify *v, const struct strict *node, uint64_t key_len)
{
    uint64_t first = node->offset - node->child;
    if (node->child == 0)
        return verify_fault(v, PLACE_WALK, node->offset, "a reference to the node itself");
    if (node->child > node->offset - HEADER_BYTES)
        return verify_fault(v, PLACE_WALK, node->offset, "a reference that leaves the arena");
    enum coverage_kind kind = coverage_kind_at(&v->coverage, first);
    bool is_shared = kind == COVERAGE_FIRST_NODE;
    if (kind == COVERAGE_NODE)
        return verify_fault(v, PLACE_WALK, node->offset, "a run that begins inside another run");
    bool has_table = false;
    int r = is_shared ? verify_shared(v, node, first) : 0;
    if (r == 0)
        r = verify_table(v, node, first, is_shared, &has_table);
    if (r != 0 || is_shared)
        return r;
    return run_push(v, node, first, key_len, has_table);
}

/* What the node must be like, and its strings; then its children are next. */
static int node_visit(struct verify *v, const struct frame *frame, const struct strict *node)
{
    uint64_t key_len = frame->key_len, line_len = 0;
    uint64_t n_faults = v->survey->n_faults;
    int r = check_node(v, frame, node);
    if (r == 0 && node->is_line)
        r = take_line(v, node, &line_len);
    if (r == 0 && node->has_value && v->tree->values == ACT_VALUES_BYTES)
        r = take_byte_value(v, node);
    if (r != 0)
        return r;
    key_len += line_len;
    if (node->has_value)
        count_value(v, key_len);
    if (!node->is_line)
        v->survey->fan_out[node->n_children]++;
    if (key_len > v->survey->deepest_bytes)
        v->survey->deepest_bytes = key_len;
    if (node->is_line && line_len == 0 && v->survey->n_faults > n_faults)
        return 0; /* where its child stands in a key is not known */
    return node->has_child && node->n_children > 0 ? descend(v, node, key_len + !node->is_line) : 0;
}

/* The next sibling of the top frame's run. */
static inline int sibling_visit(struct verify *v, struct frame *frame)
{
    struct strict node;
    uint64_t at = frame->at, limit = frame->parent != 0 ? frame->parent : v->map->size;
    const char *reason = strict_read(v->map, at, limit, &node);
    frame->n_left--;
    frame->index++;
    frame->path_end = 0;
    if (!reason && !coverage_take_node(&v->coverage, at, node.end - at, frame->index == 0))
        reason = "a node that overlaps another object";
    if (reason) {
        frame->n_left = 0; /* where the siblings behind it begin is not known */
        return verify_fault(v, PLACE_WALK, at, reason);
    }
    int r = 0;
    if (frame->has_table && frame->index > 0)
        r = verify_table_entry(v, at, frame->run_bytes);
    if (r != 0)
        return r;
    frame->at = node.end;
    frame->run_bytes = (uint16_t)(frame->run_bytes + node.end - at);
    count_object(v,
                 node.is_line     ? ACT_OBJECT_LINE
                 : node.has_child ? ACT_OBJECT_BRANCH
                                  : ACT_OBJECT_LEAF,
                 node.end - at);
    return node_visit(v, frame, &node);
}

int verify_walk_run(struct verify *v, const struct frame *run)
{
    int r = frames_push(&v->frames);
    if (r == 0)
        *v->frames.top = *run;
    while (r == 0 && v->frames.top) {
        if (v->frames.top->n_left == 0) {
            frames_pop(&v->frames);
            continue;
        }
        r = sibling_visit(v, v->frames.top);
        if (v->done_bytes >= v->next_tick && r == 0)
            r = verify_tick(v);
    }
    return r;
}

int verify_walk(struct verify *v)
{
    const struct frame root = {.at = v->tree->root, .n_left = 1, .index = UINT8_MAX};
    v->survey->deepest_nodes = 1;
    int r = verify_team(v) ? 0 : verify_walk_run(v, &root);
    v->survey->n_line_references = v->survey->n_objects[ACT_OBJECT_LINE];
    return r;
}
