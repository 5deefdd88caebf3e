/*
 * dedup: see dedup.h.
 */
#include "tree/dedup.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <xxhash.h>

#define FIRST_SLOTS ((size_t)1 << 12)
#define OFFSET_BITS 48
#define MAX_PROBES  16 /* in a full table */

static uint64_t random_seed(void)
{
    uint64_t seed;
    struct timespec now;
    if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) == sizeof seed)
        return seed;
    clock_gettime(CLOCK_MONOTONIC, &now); /* early at boot: any number that is hard to guess */
    return (uint64_t)now.tv_nsec * UINT64_C(0x9e3779b97f4a7c15) ^ (uint64_t)(uintptr_t)&seed;
}

static struct dedup_slot *slots_new(size_t n)
{
    void *p = mmap(NULL, n * sizeof(struct dedup_slot), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return NULL;
    (void)madvise(p, n * sizeof(struct dedup_slot), MADV_HUGEPAGE);
    return p;
}

static void slots_free(struct dedup_slot *slots, size_t n)
{
    if (slots)
        munmap(slots, n * sizeof *slots);
}

void dedup_init(struct dedup *dedup, uint64_t max_bytes)
{
    *dedup = (struct dedup){.max_bytes = max_bytes, .seed = random_seed()};
}

void dedup_deinit(struct dedup *dedup)
{
    slots_free(dedup->slots, dedup->n_slots);
    dedup->slots = NULL;
    dedup->n_slots = dedup->n_used = 0;
}

/* The slot is found by the tag's own upper bits, so that a table grows without hashing anew. */
static size_t slot_of(size_t n_slots, uint64_t tag)
{
    return (size_t)(tag >> (64 - __builtin_ctzll(n_slots)));
}

static void slots_insert(struct dedup_slot *slots, size_t n_slots, struct dedup_slot slot)
{
    size_t i = slot_of(n_slots, slot.tag);
    while (slots[i].place != 0)
        i = (i + 1) & (n_slots - 1);
    slots[i] = slot;
}

/* 0; -ENOMEM; or 1: it may not grow any more. */
static int grow(struct dedup *dedup)
{
    size_t n = dedup->n_slots ? 2 * dedup->n_slots : FIRST_SLOTS;
    if ((n + dedup->n_slots) * sizeof *dedup->slots > dedup->max_bytes)
        return dedup->n_slots > 0 ? 1 : -ENOMEM;
    struct dedup_slot *slots = slots_new(n);
    if (!slots)
        return -ENOMEM;
    for (size_t i = 0; i < dedup->n_slots; i++)
        if (dedup->slots[i].place != 0)
            slots_insert(slots, n, dedup->slots[i]);
    slots_free(dedup->slots, dedup->n_slots);
    dedup->slots = slots;
    dedup->n_slots = n;
    return 0;
}

static int make_room(struct dedup *dedup)
{
    if (dedup->n_used < dedup->n_slots / 4 * 3)
        return 0;
    int r = dedup->is_full ? 1 : grow(dedup);
    if (r == 1)
        dedup->is_full = true;
    return r < 0 ? r : 0;
}

int dedup_add(struct dedup *dedup, enum dedup_kind kind, struct slice content, uint64_t offset,
              uint64_t reach, uint64_t *ret_offset)
{
    int r = make_room(dedup);
    if (r != 0)
        return r;
    XXH128_hash_t hash = XXH3_128bits_withSeed(content.p, content.len, dedup->seed + kind);
    uint64_t tag = hash.high64, more = hash.low64 << OFFSET_BITS;
    size_t mask = dedup->n_slots - 1, first = slot_of(dedup->n_slots, tag), i = first;
    for (size_t probes = 0; dedup->slots[i].place != 0; i = (i + 1) & mask) {
        const struct dedup_slot *slot = &dedup->slots[i];
        if (slot->tag == tag && slot->place >> OFFSET_BITS == more >> OFFSET_BITS) {
            uint64_t known = slot->place & DEDUP_MAX_OFFSET;
            *ret_offset = known;
            if (offset - known <= reach)
                return 0;
            dedup->slots[i].place = more | offset;
            return DEDUP_FAR;
        }
        if (++probes >= MAX_PROBES && dedup->is_full) {
            /* Any of those that were looked at; which one depends on the string. */
            i = (first + (hash.low64 >> 32) % MAX_PROBES) & mask;
            dedup->n_used--;
            break;
        }
    }
    dedup->slots[i] = (struct dedup_slot){.tag = tag, .place = more | offset};
    dedup->n_used++;
    return DEDUP_NEW;
}
