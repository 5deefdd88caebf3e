/*
 * pages_keys: the keys of the trees that bench/pages measures. They are computed from their number,
 * so that nobody has to read them from anywhere, which would take memory and page faults.
 *
 * Of n keys the one with number i has eight bytes, somewhere in the i-th of n equal parts of their
 * range: they look random, and ascend with i. In a tree of numbers its value is i; in one of byte
 * strings the string begins with i.
 */
#pragma once

#include <endian.h>
#include <stdint.h>
#include <string.h>

#define PAGES_KEY_BYTES 8

/* Mixes the bits of x (splitmix64's last step): neighbours become strangers. */
static inline uint64_t pages_mix(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static inline void pages_key(uint64_t i, uint64_t n, uint8_t ret_key[PAGES_KEY_BYTES])
{
    uint64_t part = UINT64_MAX / n, key = htobe64(i * part + pages_mix(i) % part);
    memcpy(ret_key, &key, PAGES_KEY_BYTES);
}
