/*
 * topdown: brings in the pages of a tree in the order in which lookups come to them: those that its
 * nodes take whose keys have a byte, two, three and so on; what is left of the limit is read in the
 * order of the file.
 *
 * Each depth is a walk from the root, and none is breadth first: a queue of all nodes of a depth
 * has no bound. The walk goes by a residency of its own that knows the pages that were read here,
 * so it does not touch what it would have to wait for: what it comes upon and does not know is put
 * aside, and read when there is a batch of it.
 *
 * What is damaged is passed over, and told of at the end. Runs that are shared may hold more
 * positions than the file has bytes, so the nodes that are looked at have a limit, too; who comes
 * to it reads the rest in the order of the file, which is what deeper walks would end in.
 */
#pragma once

#include "tree/warmer.h"

/* max_pages of the file at most. 0, ACT_CORRUPT, WARMER_END, -ENOMEM, -ECANCELED, or -errno. */
int topdown_run(struct warmer *warmer, const struct act *tree, uint64_t max_pages);
