/*
 * coverage: which bytes of a file belong to an object already seen, and which objects begin where.
 *
 * Three bits a byte. The three words for the same 64 bytes stand together, so that an object
 * touches one cache line of them, rarely two.
 */
#pragma once

#include "tree/scratch.h"
#include <stdbool.h>

struct coverage_cell {
    uint64_t covered; /* belongs to an object */
    uint64_t nodes;   /* a node begins here */
    uint64_t firsts;  /* with nodes: the first of a run; without: a string begins here */
};

struct coverage {
    struct coverage_cell *cells; /* owned; one more than size / 64, for objects across two */
    uint64_t n_cells;
    uint64_t size; /* of the file, bytes */
};

/* Nothing is covered. 0 or as scratch_map. */
int coverage_init(struct coverage *coverage, uint64_t size, struct scratch *scratch);
void coverage_deinit(struct coverage *coverage);

/* Covers [begin, end), which lies in the file. False: some of it is covered already; nothing is
 * changed then. */
bool coverage_take(struct coverage *coverage, uint64_t begin, uint64_t end);
/* The same for a string. */
bool coverage_take_string(struct coverage *coverage, uint64_t begin, uint64_t end);
/* Is all of [begin, end) covered? */
bool coverage_has(const struct coverage *coverage, uint64_t begin, uint64_t end);

/* The first stretch at or behind `from` and before `end` that is not covered: [*ret_begin,
 * *ret_end). False: there is none. */
bool coverage_next_hole(const struct coverage *coverage, uint64_t from, uint64_t end,
                        uint64_t *ret_begin, uint64_t *ret_end);

/* The same as coverage_take for a node, which has 1 to 63 bytes. */
static inline bool coverage_take_node(struct coverage *coverage, uint64_t begin, uint64_t len,
                                      bool is_first)
{
    struct coverage_cell *cell = &coverage->cells[begin / 64];
    unsigned shift = begin % 64;
    uint64_t bits = (UINT64_C(1) << len) - 1;
    uint64_t low = bits << shift, high = bits >> 1 >> (63 - shift);
    if ((cell[0].covered & low) | (cell[1].covered & high))
        return false;
    cell[0].covered |= low;
    cell[0].nodes |= UINT64_C(1) << shift;
    cell[0].firsts |= (uint64_t)is_first << shift;
    if (high != 0)
        cell[1].covered |= high;
    return true;
}

static inline bool coverage_is_node(const struct coverage *coverage, uint64_t offset)
{
    return coverage->cells[offset / 64].nodes >> (offset % 64) & 1;
}

/* Of a node: is it the first of its run? */
static inline bool coverage_is_first(const struct coverage *coverage, uint64_t offset)
{
    return coverage->cells[offset / 64].firsts >> (offset % 64) & 1;
}

static inline bool coverage_is_string(const struct coverage *coverage, uint64_t offset)
{
    const struct coverage_cell *cell = &coverage->cells[offset / 64];
    return (cell->firsts & ~cell->nodes) >> (offset % 64) & 1;
}
