/*
 * le: little-endian numbers of any number of bytes up to 8, where speed does not count.
 */
#pragma once

#include <stdint.h>

static inline void store_le(uint8_t *p, uint64_t value, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        p[i] = (uint8_t)(value >> (8 * i));
}

static inline uint64_t load_le(const uint8_t *p, unsigned n)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < n; i++)
        value |= (uint64_t)p[i] << (8 * i);
    return value;
}
