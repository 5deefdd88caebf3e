/*
 * residency: see act/residency.h. What the accessor asks at each object, as cheaply as it can be
 * asked: a bit of a page that was found in memory before.
 */
#pragma once

#include "act/residency.h"

#include <stdatomic.h>

#define PAGE_SHIFT 12

struct residency_bits {
    /* A bit a page, and one page more: a window may reach behind the file. */
    _Atomic uint64_t *known;
    uint64_t n_pages;
};

static inline bool residency_knows(const struct residency_bits *bits, uint64_t page)
{
    uint64_t word = atomic_load_explicit(&bits->known[page / 64], memory_order_relaxed);
    return word >> (page % 64) & 1;
}

/* Asks about those of the pages that are not known, and lists what is missing. */
bool residency_ask(struct residency_bits *bits, uint64_t first, uint64_t last);

/* Are the len bytes at offset in memory? At least one byte, beginning in the file. */
static inline bool residency_has(struct residency_bits *bits, uint64_t offset, uint64_t len)
{
    uint64_t first = offset >> PAGE_SHIFT, last = (offset + len - 1) >> PAGE_SHIFT;
    if (__builtin_expect(first == last && residency_knows(bits, first), 1))
        return true;
    return residency_ask(bits, first, last);
}
