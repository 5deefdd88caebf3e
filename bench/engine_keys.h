/*
 * engine_keys: the keys that bench/engine asks for, with their values.
 *
 * A key file is records of u32 length, key, u64 value (of this machine), in the keys' order.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* LMDB takes keys of 1 to so many bytes; the others are left out of every set. */
#define ENGINE_KEY_BYTES_MAX 511

struct engine_key {
    const uint8_t *p; /* into the bytes of the keys */
    size_t len;
};

struct engine_keys {
    struct engine_key *at; /* owned */
    uint64_t *values;      /* owned */
    size_t n;
    uint8_t *bytes; /* owned */
};

/* The next of a fixed sequence of random numbers (splitmix64). */
uint64_t engine_random(uint64_t *state);

/* All of a key file. Ends the program if it cannot be read. */
void engine_keys_load(struct engine_keys *keys, const char *path);

/* At most n of them, in random order, the same in every run. Their bytes are laid out in that
 * order, so that reading the keys costs every row the same and little. */
void engine_keys_pick(struct engine_keys *picked, const struct engine_keys *from, size_t n);

void engine_keys_deinit(struct engine_keys *keys);
