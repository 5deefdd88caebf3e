/*
 * scratch: working memory that a whole file needs: in memory up to a limit, beyond it in an
 * unlinked temporary file, whose pages the kernel may write out.
 *
 * The file's blocks are allocated before they are mapped, so a full disk is an error here and not a
 * SIGBUS later.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct scratch {
    const char *directory; /* of the temporary file; borrowed */
    uint64_t memory_left;  /* bytes that may still come from memory */
    uint64_t file_bytes;
    int fd; /* owned; -1: not needed yet */
};

/* directory: NULL is $TMPDIR, or /tmp. Opens nothing. */
void scratch_init(struct scratch *scratch, uint64_t memory_bytes, const char *directory);
/* What was mapped stays until scratch_unmap. */
void scratch_deinit(struct scratch *scratch);

/* What scratch_map takes for so many bytes (at most 2^62). */
uint64_t scratch_bytes(uint64_t bytes);
/* At least `bytes` zeros, page-aligned. 0, -ENOMEM, -ENOSPC, or what else the file system says. */
int scratch_map(struct scratch *scratch, uint64_t bytes, void **ret);
/* Takes the pages of a small mapping now: at their first use, one at a time, they cost several
 * times as much. A larger one has huge pages. */
void scratch_populate(void *p, uint64_t bytes);
/* NULL is fine. What came from memory does not come back to the limit. */
void scratch_unmap(void *p, uint64_t bytes);
