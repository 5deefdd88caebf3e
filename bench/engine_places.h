/*
 * engine_places: which different places (pages, cache lines) one lookup touches.
 */
#pragma once

#include <err.h>
#include <stdint.h>

#define PLACES_SLOTS 16384 /* a power of two */

/* A hash table that is emptied by counting its generation up. All zeros: not yet cleared. */
struct places {
    uint64_t at[PLACES_SLOTS];
    uint64_t generations[PLACES_SLOTS];
    uint64_t generation;
    unsigned n;
};

static inline void places_clear(struct places *places)
{
    places->generation++;
    places->n = 0;
}

/* Adds first to last, both included. */
static inline void places_add(struct places *places, uint64_t first, uint64_t last)
{
    for (uint64_t place = first; place <= last; place++) {
        uint64_t slot = (place * UINT64_C(0x9e3779b97f4a7c15)) >> 50;
        while (places->generations[slot] == places->generation && places->at[slot] != place)
            slot = (slot + 1) % PLACES_SLOTS;
        if (places->generations[slot] == places->generation)
            continue;
        places->generations[slot] = places->generation;
        places->at[slot] = place;
        if (++places->n > PLACES_SLOTS / 2)
            errx(1, "a lookup touches more than %d places", PLACES_SLOTS / 2);
    }
}
