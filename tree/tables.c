/*
 * tables: see tables.h.
 */
#include "tree/tables.h"

#include <stdlib.h>
#include <sys/mman.h>

/* Distances behind the last table that are never given out: where a file is changed in place, a
 * branch can have more children now than when its table was made. What is read there is checked as
 * any offset is. */
#define ARENA_SLACK 256

struct tables *tables_new(size_t bytes)
{
    unsigned bucket_bits = 4;
    if (bytes < 4096)
        return NULL;
    /* A quarter for slots: on average a table then has 24 distances. */
    while ((size_t)2 << (bucket_bits + 6) <= bytes / 4 && bucket_bits < 24)
        bucket_bits++;
    size_t slots_bytes = (size_t)1 << (bucket_bits + 6);
    size_t arena_size = (bytes - slots_bytes) / sizeof(uint16_t) - ARENA_SLACK;
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
    uint32_t first = tables_bucket(tables, branch);
    for (uint32_t i = first; i < first + TABLES_BUCKET_SLOTS; i++) {
        uint64_t expected = TABLES_SLOT_FREE;
        /* A look first: a failed exchange would take the cache line from the other threads. */
        if (atomic_load_explicit(&tables->slots[i].branch, memory_order_relaxed) != expected)
            continue;
        if (!atomic_compare_exchange_strong_explicit(&tables->slots[i].branch, &expected,
                                                     TABLES_SLOT_CLAIMED, memory_order_relaxed,
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
