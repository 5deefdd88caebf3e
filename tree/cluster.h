/*
 * cluster: complete branches that are not written yet, so that runs which a lookup passes one after
 * the other come to stand in one page.
 *
 * What is below a branch stands together where it fits into a page: there the plain order is best.
 * Above that, the plain order puts the run of each branch behind all that is below it, so every
 * step at the top of the tree costs a page. These runs wait, and are then laid out together: the
 * ones that most keys lead through share a page with the top, and so on downward.
 *
 * What waits is a stack of records in the plain order. A block is a run; it takes the places of
 * those of its children that waited too. A tail is the line over the block before it.
 */
#pragma once

#include "tree/writer.h"

#define CLUSTER_BYTES 4096 /* a page */

/* What is below a branch stands together up to here: a little less, or it would mostly lie in two
 * pages. (Of 1024 to 4000, this was best for place names, and as good as others for paths.) */
#define CLUSTER_WHOLE_BYTES 3584

/* Where a node's run, or its line data and child, were written. */
struct cluster_place {
    uint64_t line, child;
};

struct cluster_unit; /* a block with its tail, while it is laid out */

struct cluster {
    struct writer *writer; /* borrowed */
    uint8_t *p;            /* owned: the stack of records */
    size_t len, room;
    struct cluster_unit *units; /* owned */
    size_t n_units, units_room;
    uint32_t *open, *heap, *queue; /* owned, as one: units by their indexes; room for all */
};

void cluster_init(struct cluster *cluster, struct writer *writer);
void cluster_deinit(struct cluster *cluster);

/* The run of n nodes, of about that weight, whose sets and tails are the bytes `side`; their
 * offsets in it are counted from side_base. Nodes with `pending` set wait below it. 0 or -ENOMEM.
 */
int cluster_push_block(struct cluster *cluster, const struct description *nodes, size_t n,
                       struct slice side, uint32_t side_base);

/* A line over the branch d, whose block is the last. 0 or -ENOMEM. */
int cluster_push_tail(struct cluster *cluster, const struct description *d, const uint8_t *set,
                      struct slice tail);

/* Writes the records [begin, end) of the stack, which are what waits below one node: in the plain
 * order, or laid out in pages. They stay on the stack. 0 or -errno. */
int cluster_write(struct cluster *cluster, size_t begin, size_t end, bool is_laid_out,
                  struct cluster_place *ret);
