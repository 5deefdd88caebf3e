/*
 * verify_object: what a node, its line, its table and its byte value must be like (sections 8, 11).
 *
 * The walk has made sure that the node lies in its place and overlaps nothing.
 */
#include "tree/verify.h"

/* A number in a longer form is accepted by every reader and written by no writer. */
static const char longer_form[] = "a number in a longer form than needed";

#define LINE_UNUSED_BITS (NODE_FIELD & ~LINE_HAS_CHILD)

static int line_node(struct verify *v, const struct frame *frame, const struct strict *node)
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

static int branch_without_children(struct verify *v, const struct frame *frame,
                                   const struct strict *node)
{
    if (frame->is_below_line)
        return verify_fault(v, PLACE_WALK, node->offset, "a line's child without children");
    /* The empty tree's root is no leaf that somebody forgot. */
    if (!node->has_value && frame->parent != 0)
        return verify_note(v, PLACE_WALK, node->offset, NOTE_DANGLING);
    return 0;
}

static int branch(struct verify *v, const struct frame *frame, const struct strict *node)
{
    if (node->field == NODE_FIELD_MASK)
        return node->n_children >= NODE_FIELD_MASK
                   ? 0
                   : verify_fault(v, PLACE_WALK, node->offset, "a mask of fewer than 32 children");
    if (node->field == 0)
        return branch_without_children(v, frame, node);
    if (!strict_set_ascends(node))
        return verify_fault(v, PLACE_WALK, node->offset, "child bytes that do not ascend");
    /* The root of the reference's stream writer is a branch, whatever it has. */
    if (node->field == 1 && !node->has_value && frame->parent != 0)
        return verify_fault(v, PLACE_WALK, node->offset,
                            "a branch of one child and no value, which is not the root");
    return 0;
}

int verify_node(struct verify *v, const struct frame *frame, const struct strict *node)
{
    int r = 0;
    if (node->is_long)
        r = verify_fault(v, PLACE_WALK, node->offset, longer_form);
    if (r == 0)
        r = node->is_line ? line_node(v, frame, node) : branch(v, frame, node);
    return r;
}

/* A string at offset, seen for the first time or again. limit: where it must end. */
static int string_take(struct verify *v, uint64_t offset, const struct strict_string *string,
                       enum act_object kind, const char *overlap)
{
    if (coverage_is_string(&v->coverage, offset))
        return 0;
    if (!coverage_take_string(&v->coverage, offset, string->end))
        return verify_fault(v, PLACE_WALK, offset, overlap);
    v->survey->n_objects[kind]++;
    v->survey->bytes[kind] += string->end - offset;
    v->done_bytes += string->end - offset;
    return string->is_long ? verify_fault(v, PLACE_WALK, offset, longer_form) : 0;
}

int verify_line(struct verify *v, const struct strict *node, uint64_t *ret_len)
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
    return string_take(v, offset, &line, ACT_OBJECT_LINE_DATA,
                       "line data that overlaps another object");
}

int verify_byte_value(struct verify *v, const struct strict *node)
{
    struct strict_string string;
    uint64_t value = node->value, end = v->tree->metadata.objects_end;
    if (value < v->map->tables_begin || value >= end)
        return verify_fault(v, PLACE_WALK, node->offset, "a byte value outside the arena");
    if (!strict_read_string(v->map, value, end, &string))
        return verify_fault(v, PLACE_WALK, value, "a byte value that runs past the arena's end");
    return string_take(v, value, &string, ACT_OBJECT_BYTES,
                       "a byte value that overlaps another object");
}

/* Each entry against where the walk finds the child. What is wrong with the run itself is said when
 * the run is walked. */
static int table_compare(struct verify *v, const struct strict *branch, uint64_t first)
{
    struct strict node;
    uint64_t at = first;
    for (unsigned rank = 1; rank < branch->n_children; rank++) {
        if (strict_read(v->map, at, branch->offset, &node) != NULL)
            return 0;
        at = node.end;
        const uint8_t *entry = map_at(v->map, first - 2 * rank, 2);
        if ((entry[0] | (uint64_t)entry[1] << 8) != at - first)
            return verify_fault(v, PLACE_WALK, first - 2 * rank,
                                "a sibling table's entry that does not lead to its child");
    }
    return 0;
}

int verify_table(struct verify *v, const struct strict *branch, uint64_t first, bool is_shared)
{
    uint64_t bytes = 2 * (uint64_t)(branch->n_children - 1);
    if (branch->is_line || branch->offset >= v->map->tables_end ||
        branch->n_children < v->map->table_min)
        return 0;
    if (first < v->map->tables_begin || bytes > first - v->map->tables_begin)
        return verify_fault(v, PLACE_WALK, first, "a sibling table that runs into the metadata");
    if (is_shared && coverage_has(&v->coverage, first - bytes, first))
        return table_compare(v, branch, first);
    if (!coverage_take(&v->coverage, first - bytes, first))
        return verify_fault(v, PLACE_WALK, first - bytes,
                            "a sibling table that overlaps another object");
    v->survey->n_objects[ACT_OBJECT_TABLE]++;
    v->survey->bytes[ACT_OBJECT_TABLE] += bytes;
    v->done_bytes += bytes;
    return table_compare(v, branch, first);
}

int verify_shared(struct verify *v, const struct strict *parent, uint64_t first)
{
    struct strict node;
    uint64_t at = first;
    bool is_known = true;
    v->survey->n_shared++;
    for (unsigned i = 0; i < parent->n_children; i++) {
        const char *reason = strict_read(v->map, at, parent->offset, &node);
        if (reason)
            return verify_fault(v, PLACE_WALK, at, reason);
        is_known &=
            i == 0 || (coverage_is_node(&v->coverage, at) && !coverage_is_first(&v->coverage, at));
        at = node.end;
    }
    if (parent->is_line && (node.is_line || !node.has_child))
        return verify_fault(v, PLACE_WALK, parent->offset,
                            "a line's child that is no branch with children");
    bool is_longer = coverage_is_node(&v->coverage, at) && !coverage_is_first(&v->coverage, at);
    /* Of a run with a fault the rest was not walked. */
    if ((!is_known || is_longer) && v->survey->n_faults == 0)
        return verify_fault(v, PLACE_WALK, parent->offset,
                            "a run that another branch has with another number of children");
    return verify_note(v, PLACE_WALK, first, NOTE_SHARED);
}
