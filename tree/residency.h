/*
 * residency: see act/residency.h. What the accessor asks (view_may_touch): mostly a bit of a page
 * that was found in memory before.
 */
#pragma once

#include "act/residency.h"

#include <stdatomic.h>

#define PAGE_SHIFT 12

struct residency_bits {
    _Atomic uint64_t *known; /* a bit a page */
    uint64_t n_pages;
    _Atomic bool is_all_known; /* as far as anybody has looked */
    uint64_t max_value_bytes;  /* what is longer is found, and nobody touches it */
};

static inline bool residency_knows(const struct residency_bits *bits, uint64_t page)
{
    uint64_t word = atomic_load_explicit(&bits->known[page / 64], memory_order_relaxed);
    return word >> (page % 64) & 1;
}

/* Asks about those of the pages that are not known, and lists what is missing. */
bool residency_ask(struct residency_bits *bits, uint64_t first, uint64_t last);

/* Are the len bytes at offset in memory? At least one, beginning in the file. */
static inline bool residency_has(struct residency_bits *bits, uint64_t offset, uint64_t len)
{
    uint64_t page = offset >> PAGE_SHIFT;
    bool is_inside = offset % ACT_PAGE_BYTES + len <= ACT_PAGE_BYTES;
    return __builtin_expect(is_inside && residency_knows(bits, page), 1) ||
           residency_ask(bits, page, (offset + len - 1) >> PAGE_SHIFT);
}
