/*
 * forge: files with metadata, changed by hand: fields with a checksum that fits, and merges.
 */
#pragma once

#include "bytes.h"

#define FORGE_META       16 /* where the metadata begins */
#define FORGE_META_BYTES 80

/* Offsets in the file, and how long the fields are: section 11. */
#define FORGE_VERSION     (FORGE_META + 6)
#define FORGE_MODE        (FORGE_META + 7)
#define FORGE_LENGTH      (FORGE_META + 8)
#define FORGE_TABLE_MIN   (FORGE_META + 12)
#define FORGE_FLAGS       (FORGE_META + 14)
#define FORGE_ROOT        (FORGE_META + 16)
#define FORGE_OBJECTS_END (FORGE_META + 24)
#define FORGE_N_KEYS      (FORGE_META + 32)

void forge_put(struct bytes *file, size_t at, uint64_t value, unsigned n);
uint64_t forge_number(const struct bytes *file, size_t at, unsigned n);

/* Makes the checksum fit what the metadata says now. */
void forge_seal(struct bytes *file);

/* The metadata's field of n bytes says that, and the checksum fits. */
void forge_field(struct bytes *file, size_t at, uint64_t value, unsigned n);

/*
 * Appends as a merge does: a root with the key "x" of that value, and with everything that the old
 * root has, below "yp"; then the trailer. The old root must be a branch with children.
 *
 * previous_suffix  offset of the trailer before, 0: none.
 * previous_root    what the trailer says the root was.
 */
void forge_merge(struct bytes *file, uint64_t value, uint64_t previous_suffix,
                 uint64_t previous_root);

/* The offset of the first child of the branch at that offset. */
uint64_t forge_first_child(const struct bytes *file, uint64_t branch);
