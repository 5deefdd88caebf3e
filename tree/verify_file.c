/*
 * verify_file: what is not found by walking: metadata, digest, the end of the file, holes.
 */
#include "tree/verify.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

#define PADDING_BYTES 8
#define TRAILER_BYTES 16

/* How far before the walk the kernel is asked to read: the map itself is for random reads. */
#define AHEAD_BYTES ((uint64_t)16 << 20)

/* Of [16, E), taken beside the walk while the pages are there. */
struct digest {
    XXH3_state_t *state; /* owned */
    uint64_t at;         /* file offset of the next byte */
};

static int digest_new(struct verify *v)
{
    uint8_t head[META_BYTES];
    struct digest *digest = calloc(1, sizeof *digest);
    v->digest = digest;
    if (!digest || !(digest->state = XXH3_createState()))
        return -ENOMEM;
    XXH3_128bits_reset(digest->state);
    memcpy(head, map_at(v->map, HEADER_BYTES, META_BYTES), META_BYTES);
    memset(head + META_DIGEST, 0, META_BYTES - META_DIGEST);
    XXH3_128bits_update(digest->state, head, META_BYTES);
    digest->at = HEADER_BYTES + META_BYTES;
    return 0;
}

/* Up to that file offset. */
static void digest_advance(struct verify *v, uint64_t offset)
{
    struct digest *digest = v->digest;
    uint64_t end = v->tree->metadata.objects_end < offset ? v->tree->metadata.objects_end : offset;
    if (end <= digest->at)
        return;
    XXH3_128bits_update(digest->state, map_at(v->map, digest->at, end - digest->at),
                        end - digest->at);
    digest->at = end;
}

void verify_file_deinit(struct verify *v)
{
    if (v->digest)
        XXH3_freeState(v->digest->state);
    free(v->digest);
}

/* offset: where we are. Ahead of it, and behind what was asked for before, unless that is
 * elsewhere. */
static void read_ahead(struct verify *v, uint64_t offset)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), size = v->map->size;
    uint64_t end = size - offset < AHEAD_BYTES ? size : offset + AHEAD_BYTES;
    bool is_inside = offset >= v->ahead_begin && offset <= v->ahead_end;
    if (v->map->mapped == 0 || (is_inside && end <= v->ahead_end) ||
        (is_inside && v->ahead_end - offset > AHEAD_BYTES / 2))
        return;
    uint64_t begin = (is_inside ? v->ahead_end : offset) / page * page;
    /* Where it is refused, the walk waits for each page. */
    (void)madvise((void *)(uintptr_t)map_at(v->map, begin, end - begin), end - begin,
                  MADV_WILLNEED);
    if (!is_inside)
        v->ahead_begin = begin;
    v->ahead_end = end;
}

void verify_accompany(struct verify *v, uint64_t done_bytes)
{
    uint64_t size = v->map->size;
    /* A walk may begin anew. */
    if (done_bytes < v->next_told)
        return;
    if (v->digest)
        digest_advance(v, done_bytes);
    /* Members of a team count twice what two of them see. */
    if (v->options.on_progress && done_bytes > 0)
        v->options.on_progress(v->options.context, done_bytes < size ? done_bytes : size, size);
    v->next_told = done_bytes + VERIFY_TICK_BYTES;
}

int verify_tick(struct verify *v)
{
    v->next_tick = v->done_bytes + v->tick_bytes;
    read_ahead(v, v->frames.top ? v->frames.top->at : 0);
    if (v->member)
        return verify_team_tick(v->member);
    verify_accompany(v, v->done_bytes);
    return 0;
}

/* Facts in metadata that hold for its own root, whatever root is in use. */
static int metadata_check(struct verify *v)
{
    struct strict root;
    const struct act_metadata *m = &v->tree->metadata;
    int r = 0;
    if (m->flags != 0)
        r = verify_note(v, PLACE_NONE, HEADER_BYTES + META_FLAGS, NOTE_FLAGS);
    if (r == 0 && (strict_read(v->map, m->root_offset, m->objects_end, &root) != NULL ||
                   root.end != m->objects_end))
        r = verify_fault(v, PLACE_NONE, HEADER_BYTES + META_OBJECTS_END,
                         "metadata whose root is not the last of its objects");
    if (r == 0 && v->tree->values == ACT_VALUES_MIXED)
        r = verify_fault(v, PLACE_NONE, HEADER_BYTES + META_VALUE_MODE,
                         "a tree of byte values, merged since by a writer that takes their offsets "
                         "for numbers");
    return r;
}

void verify_cover_metadata(struct verify *v)
{
    coverage_take(&v->coverage, HEADER_BYTES, HEADER_BYTES + META_BYTES, COVERAGE_NONE);
}

int verify_metadata(struct verify *v)
{
    switch (v->tree->metadata_state) {
    case ACT_METADATA_NONE:
        return 0;
    case ACT_METADATA_DAMAGED:
        return verify_fault(v, PLACE_NONE, HEADER_BYTES,
                            "metadata with a wrong checksum, version or offset");
    case ACT_METADATA_FOREIGN:
    case ACT_METADATA_TABLES:
    case ACT_METADATA_FULL:
        break;
    }
    verify_cover_metadata(v);
    v->survey->n_objects[ACT_OBJECT_METADATA] = 1;
    v->survey->bytes[ACT_OBJECT_METADATA] = META_BYTES;
    v->done_bytes += META_BYTES;
    if (v->tree->metadata_state == ACT_METADATA_FOREIGN) {
        int r = verify_note(v, PLACE_NONE, HEADER_BYTES, NOTE_FOREIGN);
        return r == 0 && v->tree->values == ACT_VALUES_MIXED ? metadata_check(v) : r;
    }
    int r = metadata_check(v);
    if (r == 0 && v->tree->metadata_state == ACT_METADATA_FULL && !v->options.is_survey)
        r = digest_new(v);
    return r;
}

/* The trailers that lead down from the one given (zeros: from the end of the file). */
static int trailers_take(struct verify *v, struct trailer trailer)
{
    uint64_t root = v->tree->header_root;
    for (unsigned i = 0; i < TRAILERS_MAX && trailer_next(v->map, root, &trailer); i++) {
        if (!coverage_take(&v->coverage, trailer.offset, trailer.offset + TRAILER_BYTES,
                           COVERAGE_NONE))
            return verify_note(v, PLACE_NONE, trailer.offset, NOTE_CHAIN);
        v->survey->n_objects[ACT_OBJECT_OTHER]++;
        v->survey->bytes[ACT_OBJECT_OTHER] += TRAILER_BYTES;
    }
    return trailer.previous != 0 ? verify_note(v, PLACE_NONE, trailer.offset, NOTE_CHAIN) : 0;
}

/* Bytes that nothing refers to, in [from, end). */
static int holes_find(struct verify *v, uint64_t from, uint64_t end, bool is_base)
{
    int r = 0;
    uint64_t begin;
    /* Behind a fault things are out of reach that are not lost. */
    if (v->survey->n_faults > 0)
        return 0;
    while (r == 0 && coverage_next_hole(&v->coverage, from, end, &begin, &from)) {
        v->survey->n_objects[ACT_OBJECT_UNREACHED]++;
        r = is_base ? verify_fault(v, PLACE_NONE, begin, "bytes that belong to no object")
                    : verify_note(v, PLACE_NONE, begin, NOTE_REMAINS);
    }
    return r;
}

/* The end of the file as its root's writer left it, if that can be told: 8 zero bytes, or the
 * trailer of a merge. Section 7, and 8.11. */
static int end_find(struct verify *v, uint64_t root_end, struct trailer *ret_trailer,
                    uint64_t *ret_end)
{
    uint64_t left = v->map->size - root_end;
    const uint8_t *p = map_at(v->map, root_end, PADDING_BYTES);
    if (!p)
        return verify_fault(v, PLACE_NONE, root_end, "fewer than 8 bytes behind the root");
    struct trailer trailer = {.offset = root_end, .previous = load_le64(p)};
    if (left >= TRAILER_BYTES)
        trailer.root = load_le64(p + 8);
    bool is_trailer =
        trailer.root >= HEADER_BYTES && trailer.root < v->tree->root && trailer.previous < root_end;
    if (!is_trailer && trailer.previous != 0)
        return verify_fault(v, PLACE_NONE, root_end,
                            "neither 8 zero bytes nor a merge trailer behind the root");
    if (is_trailer)
        *ret_trailer = trailer;
    *ret_end = root_end + (is_trailer ? TRAILER_BYTES : PADDING_BYTES);
    return 0;
}

static int newest_end(struct verify *v, uint64_t root_end)
{
    uint64_t end = 0;
    struct trailer trailer = {0};
    int r = end_find(v, root_end, &trailer, &end);
    if (r != 0 || end == 0)
        return r;
    v->survey->n_objects[ACT_OBJECT_OTHER]++;
    v->survey->bytes[ACT_OBJECT_OTHER] += end - root_end;
    if (trailer.offset != 0)
        r = trailers_take(v, trailer);
    if (r == 0)
        r = holes_find(v, HEADER_BYTES, root_end, trailer.offset == 0);
    if (r == 0 && end < v->map->size) {
        v->survey->n_objects[ACT_OBJECT_UNREACHED]++;
        r = verify_note(v, PLACE_NONE, end, NOTE_UNFINISHED);
    }
    return r;
}

int verify_end(struct verify *v)
{
    struct strict root;
    v->survey->n_objects[ACT_OBJECT_OTHER]++;
    v->survey->bytes[ACT_OBJECT_OTHER] += HEADER_BYTES;
    if (strict_read(v->map, v->tree->root, v->map->size, &root) != NULL)
        return 0; /* the walk has said so */
    if (v->tree->root == v->tree->header_root)
        return newest_end(v, root.end);
    /* An older root: what is behind it is another one's. */
    int r = trailers_take(v, (struct trailer){0});
    return r == 0 ? holes_find(v, HEADER_BYTES, v->map->size, false) : r;
}

static int digest_compare(struct verify *v)
{
    XXH128_canonical_t digest;
    const struct act_metadata *m = &v->tree->metadata;
    while (v->digest->at < m->objects_end) {
        read_ahead(v, v->digest->at);
        digest_advance(v, v->digest->at + VERIFY_TICK_BYTES);
    }
    XXH128_canonicalFromHash(&digest, XXH3_128bits_digest(v->digest->state));
    if (memcmp(digest.digest, m->digest, sizeof m->digest) == 0)
        return 0;
    return verify_fault(v, PLACE_NONE, HEADER_BYTES + META_DIGEST,
                        "the digest in the metadata is not that of the objects");
}

int verify_contents(struct verify *v)
{
    const struct act_metadata *m = &v->tree->metadata;
    int r = 0;
    if (v->tree->metadata_state != ACT_METADATA_FULL)
        return 0;
    /* Keys of a shared run are counted once, and on one way to them. */
    if (v->survey->n_shared == 0 && v->survey->n_faults == 0) {
        if (m->n_keys != v->survey->n_values)
            r = verify_fault(v, PLACE_NONE, HEADER_BYTES + META_N_KEYS,
                             "the number of keys in the metadata is not that of the tree");
        if (r == 0 && m->longest_key_bytes != v->longest_key_bytes)
            r = verify_fault(v, PLACE_NONE, HEADER_BYTES + META_LONGEST_KEY,
                             "the longest key in the metadata is not that of the tree");
    }
    return r == 0 && v->digest ? digest_compare(v) : r;
}
