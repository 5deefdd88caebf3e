/*
 * dedup: where the strings that were written stand, so that each is written once (section 6).
 *
 * An open hash table from content to offset. A string is known by 80 bits of its hash, with a
 * random seed for each table: with a billion different strings the chance that any two of them are
 * taken for one is one in two million, also where somebody has chosen them. (The reference uses 64
 * bits.)
 *
 * It grows up to its limit; then new strings take the place of old ones, and some are written more
 * than once.
 */
#pragma once

#include "base/slice.h"

struct dedup_slot {
    uint64_t tag;
    uint64_t place; /* offset in the low 48 bits, more of the hash above; 0: free */
};

struct dedup {
    struct dedup_slot *slots; /* owned */
    size_t n_slots;           /* a power of two; 0: none yet */
    size_t n_used;
    uint64_t max_bytes; /* of memory, also while it grows */
    uint64_t seed;
    bool is_full; /* strings have been forgotten */
};

/* No file is longer. */
#define DEDUP_MAX_OFFSET ((UINT64_C(1) << 48) - 1)

void dedup_init(struct dedup *dedup, uint64_t max_bytes);
void dedup_deinit(struct dedup *dedup);

/* Outcomes of dedup_add. */
#define DEDUP_NEW 1
#define DEDUP_FAR 2

/* Strings of different kinds are never taken for one. */
enum dedup_kind { DEDUP_LINE_DATA, DEDUP_BYTE_VALUE };

/*
 * The offset of that content, if it is known to stand at most reach bytes before offset: 0 and
 * *ret_offset. Else it is known from now on to stand at offset: DEDUP_NEW, or DEDUP_FAR and
 * *ret_offset if it was known to stand further away. Or -ENOMEM (never where max_bytes is reached).
 */
int dedup_add(struct dedup *dedup, enum dedup_kind kind, struct slice content, uint64_t offset,
              uint64_t reach, uint64_t *ret_offset);
