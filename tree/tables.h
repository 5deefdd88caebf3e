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

/* Fewer children than this are skipped as fast as a table is found. */
#define TABLES_MIN_CHILDREN 8

struct tables;

/* bytes: of the whole cache. NULL: no memory, or too little to be useful. */
struct tables *tables_new(size_t bytes);
void tables_free(struct tables *tables);

/* The distances of the run of the branch at this offset, or NULL: child number r begins at
 * first child + distances[r]. Valid until tables_free. */
const uint16_t *tables_find(const struct tables *tables, uint64_t branch);

/* Room for n distances of the branch, to be filled and then published; NULL: the cache is full.
 * A claim that is not published (the run is damaged) costs its slot. */
uint16_t *tables_claim(struct tables *tables, uint64_t branch, unsigned n, uint32_t *ret_slot);
void tables_publish(struct tables *tables, uint32_t slot, uint64_t branch);
