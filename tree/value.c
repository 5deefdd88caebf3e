/*
 * value: byte values (section 11). A position's number is the offset of a string.
 */
#include "tree/tree.h"

enum act_values act_values_of(const struct act *tree)
{
    return tree->values;
}

int act_bytes(const struct act *tree, uint64_t value, const uint8_t **ret_bytes, size_t *ret_len,
              struct act_fault *ret_fault)
{
    struct view view = view_of(tree, 0);
    uint64_t begin, len = 0, end = tree->metadata.objects_end;
    if (tree->values != ACT_VALUES_BYTES)
        return ACT_NOT_BYTES;
    int r = 0;
    if (value < tree->map.tables_begin || value >= end)
        r = view_corrupt(&view, value, "a byte value outside the arena");
    if (r == 0)
        r = varint_read(&view, value, end, &len, &begin);
    if (r == 0 && len > end - begin)
        r = view_corrupt(&view, value, "a byte value that runs past the arena's end");
    bool is_wanted = len > 0 && view.residency && len <= view.residency->max_value_bytes;
    if (r == 0 && is_wanted && !view_may_touch(&view, begin, len))
        r = ACT_COLD;
    if (r != 0) {
        if (r == ACT_CORRUPT && ret_fault)
            *ret_fault = view.fault;
        return r;
    }
    *ret_bytes = map_at(&tree->map, begin, len);
    *ret_len = (size_t)len;
    return 0;
}
