/*
 * meta: the metadata that our builder writes at offset 16, and whether it counts (section 11).
 *
 * The layout is fixed, so that the builder can fill it in at the end, in place.
 */
#pragma once

#include "tree/map.h"

#include <assert.h>

/* Offsets in the structure; all numbers are little-endian. */
enum meta_at {
    META_TAG = 0,          /* f8 00 'a' 'c' 't' 'd' */
    META_VERSION = 6,      /* u8: META_THIS_VERSION */
    META_VALUE_MODE = 7,   /* u8: enum act_values, 0 or 1 */
    META_LENGTH = 8,       /* u32: META_BYTES */
    META_TABLE_MIN = 12,   /* u16: W */
    META_FLAGS = 14,       /* u16: 0 */
    META_ROOT = 16,        /* u64: R */
    META_OBJECTS_END = 24, /* u64: E */
    META_N_KEYS = 32,      /* u64 */
    META_LONGEST_KEY = 40, /* u64, bytes */
    META_CREATED = 48,     /* u64, Unix seconds or 0 */
    META_DIGEST = 56,      /* 16 bytes: XXH3-128 of [16, E), itself and the checksum as zeros */
    META_CHECKSUM = 72,    /* u64: XXH3-64 of the 72 bytes before it */
    META_BYTES = 80
};

#define META_TAG_BYTES    6
#define META_THIS_VERSION 1

extern const uint8_t meta_tag[META_TAG_BYTES];

/* The structure's bytes from what it says; and the other way. meta_parse: 0, ACT_MISS (no metadata)
 * or ACT_CORRUPT (checksum, length, version or offsets are wrong); bytes has META_BYTES. size: of
 * the file. */
void meta_format(const struct act_metadata *metadata, uint8_t bytes[META_BYTES]);
int meta_parse(const uint8_t *bytes, uint64_t size, struct act_metadata *ret);

/* The trailers of merges at the end of a file (section 7), newest first. */
struct trailer {
    uint64_t offset;
    uint64_t previous; /* offset of the trailer before, 0: none */
    uint64_t root;     /* before this merge */
};

/* No chain is followed further. */
#define TRAILERS_MAX 1000

/* *trailer: zeros before the first call, then the one given last. False: the chain ends here, or
 * goes on in what cannot be a trailer. header_root: the newest trailer must lie above it. */
bool trailer_next(const struct map *map, uint64_t header_root, struct trailer *trailer);

/* Sets map's facts about tables from the metadata, as far as it counts for this root, which is the
 * header's or an older one. */
enum act_metadata_state meta_apply(struct map *map, uint64_t header_root, uint64_t root,
                                   const struct act_metadata *metadata);
