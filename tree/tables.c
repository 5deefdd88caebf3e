/*
 * tables: see tables.h. Slots in buckets of one cache line each, found by a hash of the branch's
 * offset; behind them the arena of distances.
 */
#include "tree/tables.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

#define BUCKET_SLOTS 4
/* A slot's key: the branch's offset, or one of these, which no node has. */
#define SLOT_FREE    0
#define SLOT_CLAIMED 1

struct slot {
    _Atomic uint64_t branch;
    uint32_t begin; /* of its distances in the arena; valid once branch is published */
    uint32_t unused;
};

struct tables {
    struct slot *slots; /* owned, with the arena: one mapping */
    uint16_t *arena;
    uint64_t hash_shift; /* the hash's upper bits are the bucket */
    uint32_t arena_size; /* distances */
    _Atomic uint32_t arena_used;
    size_t mapped_bytes;
};

static_assert(sizeof(struct slot) * BUCKET_SLOTS == 64, "a bucket is a cache line");

static uint32_t first_slot(const struct tables *tables, uint64_t branch)
{
    return (uint32_t)((branch * UINT64_C(0x9e3779b97f4a7c15)) >> tables->hash_shift) * BUCKET_SLOTS;
}

struct tables *tables_new(size_t bytes)
{
    unsigned bucket_bits = 4;
    if (bytes < 4096)
        return NULL;
    /* A quarter for slots: on average a table then has 24 distances. */
    while ((size_t)2 << (bucket_bits + 6) <= bytes / 4 && bucket_bits < 24)
        bucket_bits++;
    size_t slots_bytes = (size_t)1 << (bucket_bits + 6);
    size_t arena_size = (bytes - slots_bytes) / sizeof(uint16_t);
    struct tables *tables = malloc(sizeof *tables);
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (!tables || p == MAP_FAILED) {
        free(tables);
        if (p != MAP_FAILED)
            munmap(p, bytes);
        return NULL;
    }
    *tables = (struct tables){
        .slots = p,
        .arena = (uint16_t *)((char *)p + slots_bytes),
        .hash_shift = 64 - bucket_bits,
        .arena_size = arena_size < UINT32_MAX / 2 ? (uint32_t)arena_size : UINT32_MAX / 2,
        .mapped_bytes = bytes,
    };
    return tables;
}

void tables_free(struct tables *tables)
{
    if (!tables)
        return;
    munmap(tables->slots, tables->mapped_bytes);
    free(tables);
}

const uint16_t *tables_find(const struct tables *tables, uint64_t branch)
{
    const struct slot *slot = &tables->slots[first_slot(tables, branch)];
    for (unsigned i = 0; i < BUCKET_SLOTS; i++, slot++)
        if (atomic_load_explicit(&slot->branch, memory_order_acquire) == branch)
            return tables->arena + slot->begin;
    return NULL;
}

/* -1: the arena is full. */
static int64_t take_room(struct tables *tables, unsigned n)
{
    uint32_t begin = atomic_load_explicit(&tables->arena_used, memory_order_relaxed);
    do {
        if (n > tables->arena_size - begin)
            return -1;
    } while (!atomic_compare_exchange_weak_explicit(&tables->arena_used, &begin, begin + n,
                                                    memory_order_relaxed, memory_order_relaxed));
    return begin;
}

uint16_t *tables_claim(struct tables *tables, uint64_t branch, unsigned n, uint32_t *ret_slot)
{
    uint32_t first = first_slot(tables, branch);
    for (uint32_t i = first; i < first + BUCKET_SLOTS; i++) {
        uint64_t expected = SLOT_FREE;
        if (!atomic_compare_exchange_strong_explicit(&tables->slots[i].branch, &expected,
                                                     SLOT_CLAIMED, memory_order_relaxed,
                                                     memory_order_relaxed))
            continue;
        int64_t begin = take_room(tables, n);
        if (begin < 0)
            return NULL; /* the slot stays claimed: there is no room for another either */
        tables->slots[i].begin = (uint32_t)begin;
        *ret_slot = i;
        return tables->arena + begin;
    }
    return NULL;
}

void tables_publish(struct tables *tables, uint32_t slot, uint64_t branch)
{
    atomic_store_explicit(&tables->slots[slot].branch, branch, memory_order_release);
}
