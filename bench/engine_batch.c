/*
 * engine_batch: many keys by one call, 64 at a time.
 */
#include "act/act.h"
#include "bench/engine_rows.h"

#include <err.h>
#include <stdlib.h>

#define BATCH_KEYS 64

struct batch {
    struct act *tree;
    struct act_key *keys; /* as a caller has them: an array of their own */
};

void engine_batch_open(struct engine_row *row, const char *path, const struct engine_keys *keys)
{
    struct act_error error;
    struct batch *batch = calloc(1, sizeof *batch);
    if (!batch || !(batch->keys = calloc(keys->n, sizeof *batch->keys)))
        err(1, "calloc");
    if (act_open_path(path, &batch->tree, &error) != 0)
        errx(1, "%s", error.message);
    if (row->cache_bytes > 0 && act_cache_tables(batch->tree, row->cache_bytes) != 0)
        errx(1, "no memory for a cache");
    for (size_t i = 0; i < keys->n; i++)
        batch->keys[i] = (struct act_key){.p = keys->at[i].p, .len = keys->at[i].len};
    row->reader = batch;
}

void engine_batch_run(struct engine_row *row, const struct engine_keys *keys, size_t from,
                      size_t to)
{
    const struct batch *batch = row->reader;
    struct act_result results[BATCH_KEYS];
    for (size_t at = from; at < to; at += BATCH_KEYS) {
        size_t n = to - at < BATCH_KEYS ? to - at : BATCH_KEYS;
        act_get_batch(batch->tree, batch->keys + at, n, results);
        for (size_t i = 0; i < n; i++)
            if (results[i].outcome != 0 || results[i].value != keys->values[at + i])
                engine_wrong(row, at + i);
    }
}
