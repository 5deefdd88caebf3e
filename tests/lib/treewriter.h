/*
 * treewriter: an independent encoder of the format, for tests: section 6 of the specification,
 * written down without thought of speed or size. It recurses once for each fork on a path.
 */
#pragma once

#include "bytes.h"
#include "oracle.h"

/* What the two kinds of the reference's writers do with a root of one child and no value. */
enum treewriter_root {
    TREEWRITER_BRANCH_ROOT, /* the stream writer: always a branch */
    TREEWRITER_LINE_ROOT    /* the zipper writers: a line */
};

/* The tree that holds what the oracle holds. *owned* by the caller. */
struct bytes treewriter_write(const struct oracle *oracle, enum treewriter_root root);
