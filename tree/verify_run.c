/*
 * verify_run: what a run must be like beside its nodes: its table (section 11), and where another
 * branch has it too.
 */
#include "tree/verify.h"

static const char wrong_entry[] = "a sibling table's entry that does not lead to its child";

static bool is_entry(const struct map *map, uint64_t offset, uint64_t bytes)
{
    const uint8_t *entry = map_at(map, offset, 2);
    return (entry[0] | (uint64_t)entry[1] << 8) == bytes;
}

/* Of a run that is not walked again: another branch has it, and had no table. */
static int table_compare(struct verify *v, const struct strict *branch, uint64_t first)
{
    struct strict node;
    uint64_t at = first;
    for (unsigned rank = 1; rank < branch->n_children; rank++) {
        if (strict_read(v->map, at, branch->offset, &node) != NULL)
            return 0;
        at = node.end;
        if (!is_entry(v->map, first - 2 * rank, at - first))
            return verify_fault(v, PLACE_WALK, first - 2 * rank, wrong_entry);
    }
    return 0;
}

int verify_table_entry(struct verify *v, uint64_t at, uint64_t bytes)
{
    struct frame *frame = v->frames.top;
    uint64_t offset = at - bytes - 2 * (uint64_t)frame->index;
    if (is_entry(v->map, offset, bytes))
        return 0;
    frame->has_table = false; /* what is behind it is wrong as well, most likely */
    /* The table is the parent's, and so is the path that leads there. */
    frames_pop(&v->frames);
    int r = verify_fault(v, PLACE_WALK, offset, wrong_entry);
    frames_push(&v->frames);
    return r;
}

int verify_table(struct verify *v, const struct strict *branch, uint64_t first, bool is_shared,
                 bool *ret_has_table)
{
    uint64_t bytes = 2 * (uint64_t)(branch->n_children - 1);
    if (branch->is_line || branch->offset >= v->map->tables_end ||
        branch->n_children < v->map->table_min)
        return 0;
    if (first < v->map->tables_begin || bytes > first - v->map->tables_begin)
        return verify_fault(v, PLACE_WALK, first, "a sibling table that runs into the metadata");
    /* That of a shared run was seen before. */
    if (is_shared && coverage_kind_at(&v->coverage, first - bytes) == COVERAGE_TABLE)
        return table_compare(v, branch, first);
    if (!coverage_take(&v->coverage, first - bytes, first, COVERAGE_TABLE))
        return verify_fault(v, PLACE_WALK, first - bytes,
                            "a sibling table that overlaps another object");
    v->survey->n_objects[ACT_OBJECT_TABLE]++;
    v->survey->bytes[ACT_OBJECT_TABLE] += bytes;
    v->done_bytes += bytes;
    *ret_has_table = !is_shared;
    return is_shared ? table_compare(v, branch, first) : 0;
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
        is_known &= i == 0 || coverage_kind_at(&v->coverage, at) == COVERAGE_NODE;
        at = node.end;
    }
    if (parent->is_line && (node.is_line || !node.has_child))
        return verify_fault(v, PLACE_WALK, parent->offset,
                            "a line's child that is no branch with children");
    bool is_longer = coverage_kind_at(&v->coverage, at) == COVERAGE_NODE;
    /* Of a run with a fault the rest was not walked. */
    if ((!is_known || is_longer) && v->survey->n_faults == 0)
        return verify_fault(v, PLACE_WALK, parent->offset,
                            "a run that another branch has with another number of children");
    return verify_note(v, PLACE_WALK, first, NOTE_SHARED);
}
