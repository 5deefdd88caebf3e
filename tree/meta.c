/*
 * meta: see meta.h.
 */
#include "tree/meta.h"

#include "tree/le.h"
#include "tree/node.h"

#include <string.h>
#include <xxhash.h>

const uint8_t meta_tag[META_TAG_BYTES] = {0xf8, 0x00, 'a', 'c', 't', 'd'};

static_assert(META_CHECKSUM + 8 == META_BYTES, "the checksum is the last field");
static_assert(META_DIGEST + sizeof((struct act_metadata *)0)->digest == META_CHECKSUM,
              "the digest stands before it");

#define TRAILER_BYTES 16

void meta_format(const struct act_metadata *metadata, uint8_t bytes[META_BYTES])
{
    memcpy(bytes + META_TAG, meta_tag, META_TAG_BYTES);
    bytes[META_VERSION] = META_THIS_VERSION;
    bytes[META_VALUE_MODE] = metadata->value_mode;
    store_le(bytes + META_LENGTH, META_BYTES, 4);
    store_le(bytes + META_TABLE_MIN, metadata->table_min_children, 2);
    store_le(bytes + META_FLAGS, metadata->flags, 2);
    store_le(bytes + META_ROOT, metadata->root_offset, 8);
    store_le(bytes + META_OBJECTS_END, metadata->objects_end, 8);
    store_le(bytes + META_N_KEYS, metadata->n_keys, 8);
    store_le(bytes + META_LONGEST_KEY, metadata->longest_key_bytes, 8);
    store_le(bytes + META_CREATED, metadata->created_s, 8);
    memcpy(bytes + META_DIGEST, metadata->digest, sizeof metadata->digest);
    store_le(bytes + META_CHECKSUM, XXH3_64bits(bytes, META_CHECKSUM), 8);
}

static bool is_plausible(const struct act_metadata *m, const uint8_t *bytes, uint64_t size)
{
    return load_le(bytes + META_CHECKSUM, 8) == XXH3_64bits(bytes, META_CHECKSUM) &&
           load_le(bytes + META_LENGTH, 4) == META_BYTES && m->version == META_THIS_VERSION &&
           m->value_mode <= ACT_VALUES_BYTES && m->table_min_children >= 2 &&
           m->root_offset >= HEADER_BYTES + META_BYTES && m->root_offset < m->objects_end &&
           size >= 8 && m->objects_end <= size - 8;
}

int meta_parse(const uint8_t *bytes, uint64_t size, struct act_metadata *ret)
{
    if (memcmp(bytes + META_TAG, meta_tag, META_TAG_BYTES) != 0)
        return ACT_MISS;
    struct act_metadata metadata = {
        .version = bytes[META_VERSION],
        .value_mode = bytes[META_VALUE_MODE],
        .table_min_children = (uint16_t)load_le(bytes + META_TABLE_MIN, 2),
        .flags = (uint16_t)load_le(bytes + META_FLAGS, 2),
        .root_offset = load_le64(bytes + META_ROOT),
        .objects_end = load_le64(bytes + META_OBJECTS_END),
        .n_keys = load_le64(bytes + META_N_KEYS),
        .longest_key_bytes = load_le64(bytes + META_LONGEST_KEY),
        .created_s = load_le64(bytes + META_CREATED),
    };
    memcpy(metadata.digest, bytes + META_DIGEST, sizeof metadata.digest);
    if (!is_plausible(&metadata, bytes, size))
        return ACT_CORRUPT;
    *ret = metadata;
    return 0;
}

bool trailer_next(const struct map *map, uint64_t root, struct trailer *trailer)
{
    bool is_first = trailer->offset == 0;
    if (!is_first && trailer->previous == 0)
        return false;
    uint64_t offset = is_first ? map->size - TRAILER_BYTES : trailer->previous;
    uint64_t above = is_first ? root : trailer->root; /* the root that this merge wrote, or later */
    const uint8_t *p = map_at(map, offset, TRAILER_BYTES);
    if (!p || offset <= above || (!is_first && offset >= trailer->offset))
        return false;
    struct trailer next = {
        .offset = offset,
        .previous = load_le64(p),
        .root = load_le64(p + 8),
    };
    /* A root of 0 is the padding of a file that was never merged into. */
    if (next.root < HEADER_BYTES || next.root >= above)
        return false;
    *trailer = next;
    return true;
}

enum act_metadata_state meta_apply(struct map *map, uint64_t header_root, uint64_t root,
                                   const struct act_metadata *metadata)
{
    struct trailer trailer = {0};
    bool is_ours = root == metadata->root_offset;
    for (unsigned i = 0; i < TRAILERS_MAX && !is_ours; i++) {
        if (!trailer_next(map, header_root, &trailer) || trailer.offset < metadata->objects_end + 8)
            break;
        is_ours = trailer.root == metadata->root_offset;
    }
    map->tables_end = is_ours ? metadata->objects_end : 0;
    map->tables_begin = HEADER_BYTES + META_BYTES;
    map->table_min = metadata->table_min_children;
    if (root == metadata->root_offset)
        return ACT_METADATA_FULL;
    return is_ours ? ACT_METADATA_TABLES : ACT_METADATA_FOREIGN;
}
