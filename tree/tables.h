/*
 * tables: a bounded cache of where the children in a run of siblings begin.
 *
 * A run has no index, so the child step skips every sibling before the one it wants. The first step
 * through a branch of many children walks its whole run once and keeps the distances; later steps
 * through it are one look. What comes first stays: every lookup passes the top of the tree, so the
 * runs that all lookups share come first.
 *
 * Allocation-free after tables_new: one anonymous mapping, filled by bumping an index; the kernel
 * gives it memory as it is used. Threads may share it: an entry is written by the one thread that
 * claimed its slot and read only after it was published.
 */
#pragma once

#include "tree/map.h"
#include <assert.h>
#include <stdatomic.h>

/* Fewer children than this are skipped as fast as a table is found. */
#define TABLES_MIN_CHILDREN 4

#define TABLES_BUCKET_SLOTS 4
/* A slot's key: the branch's offset, or one of these, which no node has. */
#define TABLES_SLOT_FREE    0
#define TABLES_SLOT_CLAIMED 1

struct tables_slot {
    _Atomic uint64_t branch;
    uint32_t begin; /* of its distances in the arena; valid once branch is published */
    uint32_t unused;
};

/* Slots in buckets of one cache line each, found by a hash of the branch's offset; behind them the
 * arena of distances. */
struct tables {
    struct tables_slot *slots; /* owned, with the arena: one mapping */
    uint16_t *arena;
    uint64_t hash_shift; /* the hash's upper bits are the bucket */
    uint32_t arena_size; /* distances */
    _Atomic uint32_t arena_used;
    size_t mapped_bytes;
};

static_assert(sizeof(struct tables_slot) * TABLES_BUCKET_SLOTS == 64, "a bucket is a cache line");

/* bytes: of the whole cache. NULL: no memory, or too little to be useful. */
struct tables *tables_new(size_t bytes);
void tables_free(struct tables *tables);

/* The first slot of the branch's bucket. */
static inline uint32_t tables_bucket(const struct tables *tables, uint64_t branch)
{
    return (uint32_t)((branch * UINT64_C(0x9e3779b97f4a7c15)) >> tables->hash_shift) *
           TABLES_BUCKET_SLOTS;
}

/* The distances of the run of the branch at this offset, or NULL: child number r begins at
 * first child + distances[r]. Valid until tables_free. */
static inline const uint16_t *tables_find(const struct tables *tables, uint64_t branch)
{
    const struct tables_slot *slot = &tables->slots[tables_bucket(tables, branch)];
    for (unsigned i = 0; i < TABLES_BUCKET_SLOTS; i++, slot++)
        if (atomic_load_explicit(&slot->branch, memory_order_acquire) == branch)
            return tables->arena + slot->begin;
    return NULL;
}

/* Room for n distances of the branch, to be filled and then published; NULL: the cache is full.
 * A claim that is not published (the run is damaged) costs its slot. */
uint16_t *tables_claim(struct tables *tables, uint64_t branch, unsigned n, uint32_t *ret_slot);
void tables_publish(struct tables *tables, uint32_t slot, uint64_t branch);
