/*
 * node: one node of the trie, decoded and checked (sections 3 and 4).
 *
 * node_read checks everything that the node itself says: its bytes lie before limit, its references
 * lead down and stay behind the header, its line lies wholly before it. So offsets strictly
 * decrease along every path, and no file can make a walk go round.
 */
#pragma once

#include "tree/map.h"

#define HEADER_BYTES 16 /* magic and root: no reference leads below it */

#define NODE_LINE        0x80
#define NODE_VALUE       0x40
#define NODE_FIELD       0x3f
#define NODE_FIELD_MASK  32 /* child field: a 256-bit mask follows */
#define LINE_HAS_CHILD   0x01
#define CHILD_MASK_BYTES 32

struct node {
    uint64_t offset;
    uint64_t end; /* first byte behind it */
    uint64_t value;
    uint64_t child;     /* offset of the first child; 0: none */
    struct slice line;  /* line node: its bytes, at least one */
    const uint8_t *set; /* branch: child bytes, or the mask if field is NODE_FIELD_MASK */
    uint8_t field;      /* branch: the child field */
    bool is_line;
    bool has_value;
};

/* Decodes the node at offset, which must end at or before limit. 0 or ACT_CORRUPT: then *node is
 * not to be used. */
int node_read(struct view *view, uint64_t offset, uint64_t limit, struct node *node);

/*
 * The child step, for everyone: the offset of the branch's child that byte leads to. Its run ends
 * at or before the branch: read it with limit = branch->offset. 0, ACT_MISS or ACT_CORRUPT.
 */
int node_child(struct view *view, const struct node *branch, uint8_t byte, uint64_t *ret_offset);

/* The set of a branch's child bytes, as in struct act_node. */
void node_children(const struct node *branch, uint64_t children[4]);
