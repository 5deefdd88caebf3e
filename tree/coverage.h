/*
 * coverage: which bytes of a file belong to an object already seen, and what begins where.
 *
 * Four bits a byte. The four words for the same 64 bytes stand together, so that an object touches
 * one cache line of them, rarely two.
 */
#pragma once

#include "tree/scratch.h"
#include <stdbool.h>

/* What begins at a byte. A set of bits, one for each word of a cell. */
enum coverage_kind {
    COVERAGE_NONE = 0, /* nothing: it is inside an object, or in none */
    COVERAGE_NODE = 1, /* a node, not the first of its run */
    COVERAGE_LINE_DATA = 2,
    COVERAGE_FIRST_NODE = 3, /* the first node of a run */
    COVERAGE_BYTE_VALUE = 4,
    COVERAGE_TABLE = 5,
};
#define COVERAGE_KIND_BITS 3

struct coverage_cell {
    uint64_t covered;                   /* belongs to an object */
    uint64_t kinds[COVERAGE_KIND_BITS]; /* the bits of what begins there */
};

struct coverage {
    struct coverage_cell *cells; /* owned; one more than size / 64, for objects across two */
    uint64_t n_cells;
};

/* For a file of that size in bytes. Nothing is covered. 0 or as scratch_map. */
int coverage_init(struct coverage *coverage, uint64_t size, struct scratch *scratch);
void coverage_deinit(struct coverage *coverage);
/* As scratch_populate, where most of the file will be covered. */
void coverage_populate(struct coverage *coverage);
/* Nothing is covered any more. */
void coverage_clear(struct coverage *coverage);
/* Memory that coverage_init takes for a file of that size, at most. */
uint64_t coverage_bytes(uint64_t size);

/* Covers [begin, end), which lies in the file, with an object of that kind. False: some of it is
 * covered already; nothing is changed then. */
bool coverage_take(struct coverage *coverage, uint64_t begin, uint64_t end,
                   enum coverage_kind kind);

/* The first stretch at or behind `from` and before `end` that is not covered: [*ret_begin,
 * *ret_end). False: there is none. */
bool coverage_next_hole(const struct coverage *coverage, uint64_t from, uint64_t end,
                        uint64_t *ret_begin, uint64_t *ret_end);

/*
 * What `from` covers, which is for the same file, is covered in `into` too, in cell number i.
 * *ret_both: the bits of that cell that both had.
 *
 * False: more than strings that both have are in both; `into` is not to be used then. Of two
 * objects that overlap and are not the same, the one that begins later begins where the other has
 * no beginning, or one of another kind: a look at each bit's kinds is enough.
 */
static inline bool coverage_merge_cell(struct coverage *into, const struct coverage *from,
                                       uint64_t i, struct coverage_cell *ret_both)
{
    struct coverage_cell *a = &into->cells[i];
    const struct coverage_cell *b = &from->cells[i];
    uint64_t both = a->covered & b->covered, differ = 0;
    ret_both->covered = both;
    a->covered |= b->covered;
    for (unsigned k = 0; k < COVERAGE_KIND_BITS; k++) {
        differ |= a->kinds[k] ^ b->kinds[k];
        ret_both->kinds[k] = b->kinds[k] & both;
        a->kinds[k] |= b->kinds[k];
    }
    /* Nodes and tables have bit 0. */
    return ((differ | ret_both->kinds[0]) & both) == 0;
}

/* coverage_take for a node, which has 1 to 63 bytes. */
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
    cell[0].kinds[0] |= UINT64_C(1) << shift;
    cell[0].kinds[1] |= (uint64_t)is_first << shift;
    if (high != 0)
        cell[1].covered |= high;
    return true;
}

static inline enum coverage_kind coverage_kind_at(const struct coverage *coverage, uint64_t offset)
{
    const struct coverage_cell *cell = &coverage->cells[offset / 64];
    unsigned shift = offset % 64, kind = 0;
    for (unsigned i = 0; i < COVERAGE_KIND_BITS; i++)
        kind |= (unsigned)(cell->kinds[i] >> shift & 1) << i;
    return (enum coverage_kind)kind;
}
