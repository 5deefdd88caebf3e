/*
 * verify_run: what a run must be like beside its nodes: its table (section 11), and where another
 * branch has it too.
 */
#include "tree/verify.h"

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
    /* That of a shared run was seen before. */
    if (is_shared && coverage_kind_at(&v->coverage, first - bytes) == COVERAGE_TABLE)
        return table_compare(v, branch, first);
    if (!coverage_take(&v->coverage, first - bytes, first, COVERAGE_TABLE))
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
