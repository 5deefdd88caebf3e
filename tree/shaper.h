/*
 * shaper: from sorted entries to a tree (section 6).
 *
 * The positions on the way to the last key are open: more may come below them. Everything else is
 * written. So memory is bounded by the longest key and the children along it, not by the tree.
 *
 * Results: 0, or -errno of the output, which is the builder's to tell.
 */
#pragma once

#include "tree/dedup.h"
#include "tree/description.h"
#include "tree/output.h"

struct shaper_frame; /* an open branch */

struct shaper {
    struct output *output; /* borrowed */
    struct dedup *dedup;   /* borrowed */
    unsigned table_min;    /* runs of so many children get a sibling table; 0: none do */

    uint8_t *key; /* owned: the key that came last */
    size_t key_len, key_room;
    size_t common;               /* with the key that was compared last: so many bytes */
    struct shaper_frame *frames; /* owned stack; the root's is the lowest */
    size_t n_frames, frames_room;
    struct description *nodes; /* owned stack: children of the open branches that are complete */
    size_t n_nodes, nodes_room;
    uint8_t *sets; /* owned stack: child sets of those of them that are branches */
    size_t sets_len, sets_room;

    bool has_leaf; /* the last key is open too; not so before the first, and for the empty key */
    uint64_t leaf_value;

    uint64_t n_keys, longest_key_bytes;
    uint64_t n_lines, line_bytes;
    uint64_t n_byte_values, byte_value_bytes;
    uint64_t n_tables, table_bytes;
    uint64_t far_bytes; /* of line data that was written again, because it was too far away */
    uint64_t repeated_bytes_max;
};

int shaper_init(struct shaper *shaper, struct output *output, struct dedup *dedup,
                unsigned table_min);
void shaper_deinit(struct shaper *shaper);

/* Outcomes of shaper_compare. */
#define SHAPER_EQUAL   1 /* the key is the last one */
#define SHAPER_SMALLER 2 /* the key comes before the last one */

/* Where key stands to the one that came last: 0, if it comes after it. */
int shaper_compare(struct shaper *shaper, struct slice key);

/* Adds the key that was just compared, if that gave 0. */
int shaper_add(struct shaper *shaper, struct slice key, uint64_t value);

/* Gives the last key another value. */
void shaper_replace(struct shaper *shaper, uint64_t value);

/* Writes a byte value, unless an equal one stands there, and gives its offset. */
int shaper_put_bytes(struct shaper *shaper, struct slice bytes, uint64_t *ret_offset);

/* Writes what is open, the root last. */
int shaper_finish(struct shaper *shaper, uint64_t *ret_root);
