/*
 * writer: the objects of a tree, as they go into the file: strings, nodes, runs with their tables.
 *
 * What comes in which order is the shaper's and the cluster's to say.
 */
#pragma once

#include "tree/dedup.h"
#include "tree/description.h"
#include "tree/output.h"

#define MAX_CHILDREN 256

struct writer {
    struct output *output; /* borrowed */
    struct dedup *dedup;   /* borrowed */
    unsigned table_min;    /* runs of so many children get a sibling table; 0: none do */

    uint64_t n_lines, line_bytes;
    uint64_t n_byte_values, byte_value_bytes;
    uint64_t n_tables, table_bytes;
    /* Of all runs of so many nodes: what their tables add, with the longer references over them. */
    uint64_t table_costs[MAX_CHILDREN + 1];
    uint64_t n_short_runs; /* of a few nodes, but not fewer than may have a table */
    bool is_sample;        /* these are wanted */
    uint64_t far_bytes;    /* of line data that was written again, because it was too far away */
    uint64_t repeated_bytes_max;
};

/* All: 0 or -errno of the output, and where it went. */

/* Section 3, each content once. */
int writer_put_line(struct writer *writer, struct slice bytes, uint64_t *ret_offset);

/* Section 11, likewise. */
int writer_put_bytes(struct writer *writer, struct slice bytes, uint64_t *ret_offset);

/* One node that is not in a run of several. Its child set, if it has one: sets + d->set. */
int writer_put_node(struct writer *writer, const struct description *d, const uint8_t *sets,
                    uint64_t *ret_offset);

/* A run of n nodes (1 to 256) and its table, if it has one. */
int writer_put_run(struct writer *writer, const struct description *nodes, size_t n,
                   const uint8_t *sets, uint64_t *ret_first);

/* From how many children on tables pay in a tree like what was written so far, as a sample. 4 to
 * 256. */
unsigned writer_best_table_min(const struct writer *writer);

static inline bool writer_has_table(const struct writer *writer, size_t n)
{
    return writer->table_min > 0 && n >= writer->table_min;
}
