/*
 * map: see map.h.
 */
#include "tree/map.h"

int varint_read_slow(struct view *view, uint64_t offset, uint64_t limit, uint64_t *ret_value,
                     uint64_t *ret_end)
{
    const uint8_t *first = map_at(view->map, offset, 1);
    if (!first || offset >= limit)
        return view_corrupt(view, offset, "a number lies outside its object");
    uint64_t value = *first;
    uint64_t n = value < 248 ? 0 : value - 247;
    if (n > 0) {
        const uint8_t *p = map_at(view->map, offset + 1, n);
        if (!p || n > limit - offset - 1)
            return view_corrupt(view, offset, "a number runs past the end of its object");
        value = 0;
        for (uint64_t i = 0; i < n; i++)
            value |= (uint64_t)p[i] << (8 * i);
    }
    *ret_value = value;
    *ret_end = offset + 1 + n;
    return 0;
}
