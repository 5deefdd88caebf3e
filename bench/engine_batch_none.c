/*
 * engine_batch_none: in the place of engine_batch.c while libact has no act_get_batch.
 */
#include "bench/engine_rows.h"

bool engine_batch_open(struct engine_row *row, const char *path, const struct engine_keys *keys)
{
    (void)row, (void)path, (void)keys;
    return false;
}

void engine_batch_run(struct engine_row *row, const struct engine_keys *keys, size_t from,
                      size_t to)
{
    (void)keys, (void)to;
    engine_wrong(row, from);
}
