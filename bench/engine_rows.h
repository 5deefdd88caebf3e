/*
 * engine_rows: the readers that bench/engine compares. Each runs all lookups in a loop of its own,
 * so that no call through a pointer stands between it and its keys.
 */
#pragma once

#include "bench/engine_keys.h"

#include <stdbool.h>

struct engine_row {
    const char *name;
    const char *suffix; /* of the set's file that open is given */
    void (*open)(struct engine_row *row, const char *path, const struct engine_keys *keys);
    /* Looks up keys [from, to); a miss or a wrong value ends the program. */
    void (*run)(struct engine_row *row, const struct engine_keys *keys, size_t from, size_t to);
    size_t cache_bytes; /* of sibling tables; 0: none */
    void *reader;       /* what open has opened; owned */
    bool is_open;
};

#define ENGINE_ROWS 9

extern struct engine_row engine_rows[ENGINE_ROWS];

/* What every run does when it did not get the value that it knows. Does not return. */
void engine_wrong(const struct engine_row *row, size_t i) __attribute__((noreturn));

/* engine_batch.c */
void engine_batch_open(struct engine_row *row, const char *path, const struct engine_keys *keys);
void engine_batch_run(struct engine_row *row, const struct engine_keys *keys, size_t from,
                      size_t to);
