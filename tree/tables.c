/*
 * tables: see tables.h.
 */
#include "tree/tables.h"

#include <stdlib.h>
#include <sys/mman.h>

/* The arena's share of the whole. */
#define ARENA_PART 4

/* Places behind the last run's that are never given out: where a file is changed in place, a branch
 * can have more children now than when its places were taken. What is read there is checked as any
 * offset is. */
#define ARENA_SLACK TABLES_MAX_CHILDREN

struct tables *tables_new(size_t bytes)
{
    if (bytes < TABLES_MIN_BYTES)
        return NULL;
    size_t bucket_bytes = sizeof(struct tables_slot) * TABLES_BUCKET_SLOTS;
    size_t n_buckets = (bytes - bytes / ARENA_PART) / bucket_bytes;
    size_t arena_size = (bytes - n_buckets * bucket_bytes) / sizeof(uint16_t) - ARENA_SLACK;
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
        .arena = (uint16_t *)((char *)p + n_buckets * bucket_bytes),
        .n_buckets = n_buckets < UINT32_MAX ? n_buckets : UINT32_MAX,
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

static struct tables_slot *claim(struct tables *tables, uint64_t branch)
{
    struct tables_slot *slot = tables_bucket(tables, branch);
    for (unsigned i = 0; i < TABLES_BUCKET_SLOTS; i++, slot++) {
        uint64_t expected = TABLES_FREE;
        if (atomic_load_explicit(&slot->key, memory_order_relaxed) >> 8 == branch)
            return NULL; /* another thread was faster */
        if (atomic_compare_exchange_strong_explicit(&slot->key, &expected, TABLES_CLAIMED,
                                                    memory_order_relaxed, memory_order_relaxed))
            return slot;
    }
    return NULL;
}

/* Reads no byte of the tree: where a fault there ends a lookup by a jump, no slot stays claimed. */
void tables_add(struct tables *tables, uint64_t branch, const uint16_t *distances, unsigned n)
{
    unsigned step = 0;
    struct tables_slot *slot = n > 1 ? claim(tables, branch) : NULL;
    if (!slot)
        return;
    int64_t begin = n > TABLES_PLACES + 1 ? take_room(tables, n) : -1;
    if (begin >= 0) {
        uint32_t at = (uint32_t)begin;
        memcpy(slot->places, &at, sizeof at);
        memcpy(tables->arena + begin, distances, n * sizeof *distances);
        step = TABLES_ARENA;
    } else {
        while ((n - 1) >> step > TABLES_PLACES)
            step++;
        for (unsigned i = 1; i <= (n - 1) >> step; i++)
            slot->places[i - 1] = distances[i << step];
    }
    atomic_store_explicit(&slot->key, branch << 8 | step, memory_order_release);
}
