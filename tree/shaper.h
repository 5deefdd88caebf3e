/*
 * shaper: from sorted entries to a tree (section 6).
 *
 * The positions on the way to the last key are open: more may come below them. Everything else is
 * written; or waits for a little, to stand in one page with what lookups read before and after it
 * (cluster.h). So memory is bounded by the longest key and the children along it, not by the tree.
 *
 * Results: 0, or -errno of the output, which is the builder's to tell.
 */
#pragma once

#include "tree/cluster.h"

struct shaper_frame; /* an open branch */

struct shaper {
    struct writer writer;
    struct cluster cluster;
    bool is_plain; /* the reference's layout; else in pages */

    uint8_t *key; /* owned: the key that came last */
    size_t key_len, key_room;
    size_t common;               /* with the key that was compared last: so many bytes */
    struct shaper_frame *frames; /* owned stack; the root's is the lowest */
    size_t n_frames, frames_room;
    struct description *nodes; /* owned stack: children of the open branches that are complete */
    size_t n_nodes, nodes_room;
    uint8_t *sets; /* owned stack: child sets of those of them that are branches, and tails */
    size_t sets_len, sets_room;

    bool has_leaf; /* the last key is open too; not so before the first, and for the empty key */
    uint64_t leaf_value;

    uint64_t n_keys, longest_key_bytes;
};

/* table_min: runs of so many children get a sibling table; 0: the plain layout, without tables. */
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

/* Writes what is open, the root last. */
int shaper_finish(struct shaper *shaper, uint64_t *ret_root);
