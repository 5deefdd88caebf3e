/*
 * coverage: see coverage.h.
 */
#include "tree/coverage.h"

#include <string.h>

static uint64_t cells_for(uint64_t size)
{
    return size / 64 + 2;
}

uint64_t coverage_bytes(uint64_t size)
{
    return scratch_bytes(cells_for(size) * sizeof(struct coverage_cell));
}

int coverage_init(struct coverage *coverage, uint64_t size, struct scratch *scratch)
{
    void *p;
    uint64_t n_cells = cells_for(size);
    int r = scratch_map(scratch, n_cells * sizeof *coverage->cells, &p);
    if (r != 0)
        return r;
    *coverage = (struct coverage){.cells = p, .n_cells = n_cells};
    return 0;
}

void coverage_deinit(struct coverage *coverage)
{
    scratch_unmap(coverage->cells, coverage->n_cells * sizeof *coverage->cells);
    *coverage = (struct coverage){0};
}

void coverage_populate(struct coverage *coverage)
{
    scratch_populate(coverage->cells, coverage->n_cells * sizeof *coverage->cells);
}

void coverage_clear(struct coverage *coverage)
{
    memset(coverage->cells, 0, coverage->n_cells * sizeof *coverage->cells);
}

/* The bits of cell number i that stand for [begin, end). */
static uint64_t bits_in(uint64_t i, uint64_t begin, uint64_t end)
{
    uint64_t from = begin > 64 * i ? begin - 64 * i : 0;
    uint64_t to = end - 64 * i;
    uint64_t below = to < 64 ? (UINT64_C(1) << to) - 1 : UINT64_MAX;
    return below & (UINT64_MAX << from);
}

bool coverage_take(struct coverage *coverage, uint64_t begin, uint64_t end, enum coverage_kind kind)
{
    if (begin == end)
        return true;
    uint64_t first = begin / 64, last = (end - 1) / 64;
    for (uint64_t i = first; i <= last; i++)
        if (coverage->cells[i].covered & bits_in(i, begin, end))
            return false;
    for (uint64_t i = first; i <= last; i++)
        coverage->cells[i].covered |= bits_in(i, begin, end);
    for (unsigned i = 0; i < COVERAGE_KIND_BITS; i++)
        coverage->cells[first].kinds[i] |= (uint64_t)(kind >> i & 1) << (begin % 64);
    return true;
}

/* The first byte in [from, end) that is covered, or is not; end: there is none. */
static uint64_t next_of(const struct coverage *coverage, uint64_t from, uint64_t end, bool covered)
{
    while (from < end) {
        uint64_t word = coverage->cells[from / 64].covered;
        word = (covered ? word : ~word) & (UINT64_MAX << (from % 64));
        if (word != 0) {
            uint64_t at = from / 64 * 64 + (unsigned)__builtin_ctzll(word);
            return at < end ? at : end;
        }
        from = (from / 64 + 1) * 64;
    }
    return end;
}

bool coverage_next_hole(const struct coverage *coverage, uint64_t from, uint64_t end,
                        uint64_t *ret_begin, uint64_t *ret_end)
{
    uint64_t begin = next_of(coverage, from, end, false);
    if (begin >= end)
        return false;
    *ret_begin = begin;
    *ret_end = next_of(coverage, begin, end, true);
    return true;
}
