/*
 * rank: which child a byte leads to: how many members of the child set are smaller.
 *
 * The set is taken as it is written, so that get, node and every later walk agree even where a
 * damaged set is not ascending (section 10). A vector unit and a popcount instruction are not on
 * every machine of the architecture: where code is compiled without them, eight bytes are compared
 * at once.
 */
#pragma once

#ifdef __AVX2__
#    include <immintrin.h>
#endif

#include "tree/map.h"

#define EACH_BYTE(b) (UINT64_C(0x0101010101010101) * (b))

/* Eight bytes at once: the high bit of each byte of a that is smaller than that of b. */
static inline uint64_t bytes_smaller(uint64_t a, uint64_t b)
{
    uint64_t difference = (a | EACH_BYTE(0x80)) - (b & EACH_BYTE(0x7f));
    return ((~a & b) | (~(a ^ b) & ~difference)) & EACH_BYTE(0x80);
}

/* How many bytes have their high bit set, where no other bit is. */
static inline unsigned high_bits_count(uint64_t bits)
{
    return (unsigned)(((bits >> 7) * EACH_BYTE(1)) >> 56);
}

/* The n bytes at p, 1 to 8, and what is behind them where has_room says that it can be read. */
static inline uint64_t load_some(const uint8_t *p, unsigned n, bool has_room)
{
    uint64_t word = 0;
    if (has_room)
        return load_le64(p);
    for (unsigned i = 0; i < n; i++)
        word |= (uint64_t)p[i] << (8 * i);
    return word;
}

#ifdef __AVX2__
/* rank_in_bytes where 32 bytes can be read at set; n <= 31. */
static inline bool rank_in_vector(const uint8_t *set, unsigned n, uint8_t byte, unsigned *ret_rank)
{
    __m256i bytes = _mm256_loadu_si256((const __m256i *)(const void *)set);
    __m256i wanted = _mm256_set1_epi8((char)byte);
    __m256i not_smaller = _mm256_cmpeq_epi8(_mm256_max_epu8(bytes, wanted), bytes);
    uint32_t members = (UINT32_C(1) << n) - 1;
    uint32_t equal = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(bytes, wanted));
    uint32_t smaller = ~(uint32_t)_mm256_movemask_epi8(not_smaller) & members;
    *ret_rank = (unsigned)__builtin_popcount(smaller);
    return equal & members;
}
#endif

/* How many members of the set are smaller than byte. False: byte is not a member. The set is taken
 * as it is written, ascending or not. has_room: 32 bytes can be read at set. */
static inline bool rank_in_bytes(const uint8_t *set, unsigned n, bool has_room, uint8_t byte,
                                 unsigned *ret_rank)
{
#ifdef __AVX2__
    if (has_room)
        return rank_in_vector(set, n, byte, ret_rank);
#endif
    unsigned rank = 0;
    uint64_t found = 0, wanted = EACH_BYTE(byte);
    for (unsigned i = 0; i < n; i += 8) {
        unsigned rest = n - i < 8 ? n - i : 8;
        uint64_t members = UINT64_MAX >> (64 - 8 * rest);
        uint64_t word = load_some(set + i, rest, has_room);
        uint64_t other = word ^ wanted;
        rank += high_bits_count(bytes_smaller(word, wanted) & members);
        /* A byte that is 0 in other; what the trick sees wrongly lies above a true one. */
        found |= (other - EACH_BYTE(1)) & ~other & EACH_BYTE(0x80) & members;
    }
    *ret_rank = rank;
    return found;
}

/* The set bits of four words at once. */
static inline unsigned bits_count(const uint64_t words[4])
{
#ifdef __POPCNT__
    unsigned n = 0;
    for (unsigned i = 0; i < 4; i++)
        n += (unsigned)__builtin_popcountll(words[i]);
    return n;
#else
    uint64_t nibbles = 0, bytes = 0;
    for (unsigned i = 0; i < 4; i++) {
        uint64_t pairs = words[i] - ((words[i] >> 1) & EACH_BYTE(0x55));
        nibbles = (pairs & EACH_BYTE(0x33)) + ((pairs >> 2) & EACH_BYTE(0x33));
        bytes += (nibbles & EACH_BYTE(0x0f)) + ((nibbles >> 4) & EACH_BYTE(0x0f));
    }
    /* Up to 32 a byte, 256 in all: one more than the top byte of a product can hold. */
    uint64_t halves =
        (bytes & UINT64_C(0x00ff00ff00ff00ff)) + ((bytes >> 8) & UINT64_C(0x00ff00ff00ff00ff));
    return (unsigned)((halves * UINT64_C(0x0001000100010001)) >> 48);
#endif
}

static inline bool rank_in_mask(const uint8_t *mask, uint8_t byte, unsigned *ret_rank)
{
    unsigned word = byte >> 6;
    uint64_t bit = UINT64_C(1) << (byte & 63);
    uint64_t last = load_le64(mask + 8 * word), below[4];
    for (unsigned i = 0; i < 4; i++)
        below[i] = i < word ? load_le64(mask + 8 * i) : 0;
    below[word] = last & (bit - 1);
    *ret_rank = bits_count(below);
    return last & bit;
}
