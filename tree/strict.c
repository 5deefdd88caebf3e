/*
 * strict: see strict.h. What is rarely needed.
 */
#include "tree/strict.h"

const uint64_t strict_least[9] = {
    0,
    248,
    UINT64_C(1) << 8,
    UINT64_C(1) << 16,
    UINT64_C(1) << 24,
    UINT64_C(1) << 32,
    UINT64_C(1) << 40,
    UINT64_C(1) << 48,
    UINT64_C(1) << 56,
};

uint8_t strict_child_byte(const struct strict *branch, unsigned index)
{
    if (branch->field < NODE_FIELD_MASK)
        return branch->set[index];
    for (unsigned byte = 0; byte < 256; byte++)
        if (branch->set[byte >> 3] >> (byte & 7) & 1 && index-- == 0)
            return (uint8_t)byte;
    return 0;
}

bool strict_read_string_last(const struct map *map, uint64_t offset, uint64_t limit,
                             struct strict_string *ret)
{
    uint8_t copy[MAP_WINDOW_BYTES];
    const uint8_t *window = node_window_copy(map, offset, copy);
    return window && strict_string_in(window, offset, limit, ret);
}
