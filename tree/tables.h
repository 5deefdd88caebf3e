/*
 * tables: a bounded cache of where the children in a run of siblings begin.
 *
 * A run has no index, so the child step skips every sibling before the one it wants. The first step
 * through a branch walks its whole run once and keeps where some of the children begin, evenly
 * spread: later steps through it skip the few from the nearest of them. A slot of half a cache line
 * has room for twelve, so a look is one cache line, and four MiB serve 100,000 branches. Of wider
 * runs each child's place is kept in an arena, as long as that has room.
 *
 * What comes first stays: every lookup passes the top of the tree, so the runs that all lookups
 * share come first.
 *
 * Allocation-free after tables_new: one anonymous mapping; the kernel gives it memory as it is
 * used. Threads may share it: an entry is written by the one thread that claimed its slot and read
 * only after it was published.
 */
#pragma once

#include "tree/map.h"
#include <assert.h>
#include <stdatomic.h>

/* Of a child whose rank is lower the place is not looked up: it is skipped to as fast. */
#define TABLES_MIN_RANK 2

#define TABLES_MIN_BYTES 4096 /* less is too little to be useful */

#define TABLES_BUCKET_SLOTS 4 /* two cache lines, which come together */
#define TABLES_PLACES       12
#define TABLES_MAX_CHILDREN 256

/* A slot's key: the branch's offset * 256 + the log2 of the step between the children that it has,
 * or TABLES_ARENA; or one of these, which no branch has. */
#define TABLES_FREE    0
#define TABLES_CLAIMED 1
#define TABLES_ARENA   0xff

struct tables_slot {
    _Atomic uint64_t key;
    /* Of child number i << step at i - 1: how far it is from the first. Or, as a u32, where those
     * of all children begin in the arena. Valid once key is published. */
    uint16_t places[TABLES_PLACES];
};

struct tables {
    struct tables_slot *slots; /* owned, with the arena: one mapping */
    uint16_t *arena;
    uint64_t n_buckets;
    uint32_t arena_size; /* places */
    _Atomic uint32_t arena_used;
    size_t mapped_bytes;
};

static_assert(sizeof(struct tables_slot) == 32, "two slots are a cache line");

/* bytes: of the whole cache. NULL: no memory, or less than TABLES_MIN_BYTES. */
struct tables *tables_new(size_t bytes);
void tables_free(struct tables *tables);

/* A child from which on to skip. */
struct tables_place {
    unsigned rank;
    unsigned distance; /* bytes from the first child */
};

/* What the cache has of a branch. */
enum tables_found {
    TABLES_HAS,     /* a place */
    TABLES_HAS_NOT, /* nothing; there is room */
    TABLES_FULL,    /* nothing, and nothing more will come in */
};

static inline struct tables_slot *tables_bucket(const struct tables *tables, uint64_t branch)
{
    uint64_t hash = (branch * UINT64_C(0x9e3779b97f4a7c15)) >> 32;
    return tables->slots + TABLES_BUCKET_SLOTS * ((hash * tables->n_buckets) >> 32);
}

/* The last child of the branch at this offset whose place is known, up to number rank; whether it
 * is there must still be checked, as any offset, if the file can change. */
static inline enum tables_found tables_find(const struct tables *tables, uint64_t branch,
                                            unsigned rank, struct tables_place *ret)
{
    const struct tables_slot *slot = tables_bucket(tables, branch);
    for (unsigned i = 0; i < TABLES_BUCKET_SLOTS; i++, slot++) {
        uint64_t key = atomic_load_explicit(&slot->key, memory_order_acquire);
        if (key == TABLES_FREE)
            return TABLES_HAS_NOT;
        if (key >> 8 != branch)
            continue;
        unsigned step = key & 0xff;
        if (step == TABLES_ARENA) {
            uint32_t begin;
            memcpy(&begin, slot->places, sizeof begin);
            *ret = (struct tables_place){rank, tables->arena[begin + rank]};
            return TABLES_HAS;
        }
        unsigned n = rank >> step < TABLES_PLACES ? rank >> step : TABLES_PLACES;
        *ret = (struct tables_place){n << step, n > 0 ? slot->places[n - 1] : 0};
        return TABLES_HAS;
    }
    return TABLES_FULL;
}

/* Does it have the place of just this child, in the bucket's first cache line? Mostly it does; else
 * tables_find knows more. rank: 1 or above. */
static inline bool tables_find_exactly(const struct tables *tables, uint64_t branch, unsigned rank,
                                       uint64_t *ret_distance)
{
    const struct tables_slot *slot = tables_bucket(tables, branch);
    for (unsigned i = 0; i < 2; i++, slot++) {
        uint64_t key = atomic_load_explicit(&slot->key, memory_order_acquire) ^ branch << 8;
        if (key == 0 && rank <= TABLES_PLACES) {
            *ret_distance = slot->places[rank - 1];
            return true;
        }
        if (key == TABLES_ARENA) {
            uint32_t begin;
            memcpy(&begin, slot->places, sizeof begin);
            *ret_distance = tables->arena[begin + rank];
            return true;
        }
    }
    return false;
}

/* Keeps where the n children of the branch begin, as far as there is room. */
void tables_add(struct tables *tables, uint64_t branch, const uint16_t *distances, unsigned n);
