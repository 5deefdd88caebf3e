/*
 * keep: what is done to a mapping before anything is answered from it: how the kernel is to
 * read it, and what of it stays in memory.
 */
#pragma once

#include "daemon/config.h"
#include "daemon/snapshot.h"

/* Why less is locked than tree.mlock asks for: one line, "" if it is not. */
struct keep_warning {
    char text[1024];
};

/*
 * Does what tree.advice and tree.mlock say, which may take as long as reading the file: not on a
 * loop. The snapshot must be nobody else's yet. Of a copy in memory it does nothing.
 *
 * Nothing that is missing keeps the snapshot from being served, but for its first pages: where
 * those cannot be read it is damaged.
 */
void keep_settle(struct snapshot *snapshot, const struct config *config,
                 struct keep_warning *ret_warning);
