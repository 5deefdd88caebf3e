/*
 * profile_code: a set of pages to bytes and back. See profile.h, and docs/PROFILE.md for the
 * layout.
 *
 * Decoding trusts nothing. The header is compared with the file that is wanted before anything is
 * allocated, so a profile that lies about its size costs nothing; the digest comes before the
 * chunks, and these are checked all the same, since whoever writes a lie writes its digest too.
 */
#include "tree/le.h"
#include "tree/profile.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* Where the header's fields are. */
enum header {
    HEADER_MAGIC = 0,
    HEADER_VERSION = 8,
    HEADER_SOURCE = 12,
    HEADER_IDENTITY = 16,
    HEADER_SIZE = 24,
    HEADER_ROOT = 32,
    HEADER_SAVED = 40,
    HEADER_N_PAGES = 48, /* in the set */
    HEADER_N_CHUNKS = 56,
    HEADER_PAGE_BYTES = 60,
    HEADER_END = 64,
};

static_assert(HEADER_END == PROFILE_HEADER_BYTES, "one size");

#define THIS_VERSION 1

static const uint8_t magic[8] = {'A', 'C', 'T', 'P', 'R', 'O', 'F', '1'};

/* A part of the file with one representation: 128 MiB. Those without a page are left out. */
#define CHUNK_PAGES 32768
#define CHUNK_WORDS (CHUNK_PAGES / PAGES_WORD)
#define CHUNK_BYTES (CHUNK_PAGES / 8) /* of its bitmap */

/* Before each chunk: its number, its kind, and how many bytes follow. */
enum chunk_header {
    CHUNK_NUMBER = 0,
    CHUNK_KIND = 4,
    CHUNK_LEN = 6,
    CHUNK_HEADER_BYTES = 8,
};

enum chunk_kind {
    KIND_FULL = 1,   /* all pages that the file has there */
    KIND_RUNS = 2,   /* pairs of varints: pages that are not in the set, pages that are */
    KIND_BITMAP = 3, /* a bit a page, the lowest bit of a byte first */
};

/* The longest varint: 7 bits a byte, of a number up to CHUNK_PAGES. */
#define VARINT_BYTES 3

/* Which pages of the file a chunk is about. */
struct chunk {
    uint64_t number;
    uint64_t first;   /* page */
    uint64_t n_pages; /* the last chunk may have fewer than CHUNK_PAGES */
    size_t n_bytes;   /* of its bitmap */
};

static uint64_t n_pages_of(uint64_t size_bytes)
{
    return size_bytes / ACT_PAGE_BYTES + (size_bytes % ACT_PAGE_BYTES != 0);
}

static uint64_t n_chunks_of(uint64_t n_pages)
{
    return n_pages / CHUNK_PAGES + (n_pages % CHUNK_PAGES != 0);
}

static struct chunk chunk_of(const struct act_pages *pages, uint64_t number)
{
    uint64_t first = number * CHUNK_PAGES, left = pages->n_pages - first;
    uint64_t n = left < CHUNK_PAGES ? left : CHUNK_PAGES;
    return (struct chunk){number, first, n, (size_t)((n + 7) / 8)};
}

uint64_t profile_max_bytes(uint64_t size_bytes)
{
    uint64_t n_pages = n_pages_of(size_bytes);
    return PROFILE_HEADER_BYTES + n_chunks_of(n_pages) * CHUNK_HEADER_BYTES + (n_pages + 7) / 8 +
           PROFILE_DIGEST_BYTES;
}

static uint8_t *varint_put(uint8_t *p, uint64_t value)
{
    for (; value >= 0x80; value >>= 7)
        *p++ = (uint8_t)(value | 0x80);
    *p++ = (uint8_t)value;
    return p;
}

/* Where the runs of the chunk end, written from p on; NULL: they would take as much as the bitmap,
 * for which there is room. */
static uint8_t *runs_put(const struct act_pages *pages, const struct chunk *chunk, uint8_t *p)
{
    uint8_t pair[2 * VARINT_BYTES], *limit = p + chunk->n_bytes;
    uint64_t at = chunk->first, end = chunk->first + chunk->n_pages, first, n;
    while (act_pages_next(pages, at, &first, &n) && first < end) {
        uint64_t in_chunk = n < end - first ? n : end - first;
        size_t len = (size_t)(varint_put(varint_put(pair, first - at), in_chunk) - pair);
        if (len >= (size_t)(limit - p))
            return NULL;
        memcpy(p, pair, len);
        p += len;
        at = first + in_chunk;
    }
    return p;
}

static uint8_t *bitmap_put(const struct act_pages *pages, const struct chunk *chunk, uint8_t *p)
{
    const uint64_t *words = pages->words + chunk->first / PAGES_WORD;
    for (size_t i = 0; i < chunk->n_bytes; i++)
        p[i] = (uint8_t)(words[i / 8] >> i % 8 * 8);
    return p + chunk->n_bytes;
}

/* Writes the chunk, whose count pages are in the set, at p. Behind it. */
static uint8_t *chunk_put(const struct act_pages *pages, const struct chunk *chunk, uint64_t count,
                          uint8_t *p)
{
    enum chunk_kind kind = KIND_FULL;
    uint8_t *content = p + CHUNK_HEADER_BYTES, *end = content;
    if (count < chunk->n_pages) {
        kind = KIND_RUNS;
        end = runs_put(pages, chunk, content);
    }
    if (!end) {
        kind = KIND_BITMAP;
        end = bitmap_put(pages, chunk, content);
    }
    store_le(p + CHUNK_NUMBER, chunk->number, 4);
    store_le(p + CHUNK_KIND, kind, 2);
    store_le(p + CHUNK_LEN, (uint64_t)(end - content), 2);
    return end;
}

static void header_put(const struct act_profile *about, uint64_t n_pages, uint64_t n_chunks,
                       uint8_t *p)
{
    memcpy(p + HEADER_MAGIC, magic, sizeof magic);
    store_le(p + HEADER_VERSION, THIS_VERSION, 4);
    store_le(p + HEADER_SOURCE, about->source, 4);
    store_le(p + HEADER_IDENTITY, about->identity, 8);
    store_le(p + HEADER_SIZE, about->size_bytes, 8);
    store_le(p + HEADER_ROOT, about->root_offset, 8);
    store_le(p + HEADER_SAVED, about->saved_s, 8);
    store_le(p + HEADER_N_PAGES, n_pages, 8);
    store_le(p + HEADER_N_CHUNKS, n_chunks, 4);
    store_le(p + HEADER_PAGE_BYTES, ACT_PAGE_BYTES, 4);
}

int profile_encode(const struct act_profile *about, const struct act_pages *pages,
                   uint8_t **ret_data, size_t *ret_len)
{
    uint64_t n_pages = 0, n_chunks = 0, n = n_chunks_of(pages->n_pages);
    if (n > UINT32_MAX)
        return -EFBIG;
    /* What is not written of it takes no memory. */
    uint8_t *data = malloc(profile_max_bytes(pages->size_bytes));
    if (!data)
        return -ENOMEM;
    uint8_t *p = data + PROFILE_HEADER_BYTES;
    for (uint64_t i = 0; i < n; i++) {
        struct chunk chunk = chunk_of(pages, i);
        uint64_t count = act_pages_count_in(pages, chunk.first, chunk.n_pages);
        if (count == 0)
            continue;
        p = chunk_put(pages, &chunk, count, p);
        n_pages += count;
        n_chunks++;
    }
    header_put(about, n_pages, n_chunks, data);
    size_t len = (size_t)(p - data);
    store_le(p, XXH3_64bits(data, len), PROFILE_DIGEST_BYTES);
    *ret_data = data;
    *ret_len = len + PROFILE_DIGEST_BYTES;
    return 0;
}

__attribute__((format(printf, 2, 3))) static int broken(char why[PROFILE_WHY_SIZE],
                                                        const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(why, PROFILE_WHY_SIZE, format, args);
    va_end(args);
    return ACT_PROFILE_BROKEN;
}

static int foreign(char why[PROFILE_WHY_SIZE], const char *what, uint64_t has, uint64_t wanted)
{
    snprintf(why, PROFILE_WHY_SIZE, "of another file: %s %" PRIu64 ", not %" PRIu64, what, has,
             wanted);
    return ACT_PROFILE_FOREIGN;
}

bool profile_may_be_one(const uint8_t *data, size_t len)
{
    return memcmp(data, magic, len < sizeof magic ? len : sizeof magic) == 0;
}

int profile_check_header(const uint8_t *data, size_t len, const struct act_profile *wanted,
                         char why[PROFILE_WHY_SIZE])
{
    if (len < PROFILE_HEADER_BYTES || memcmp(data + HEADER_MAGIC, magic, sizeof magic) != 0)
        return broken(why, "not a profile of pages");
    uint64_t version = load_le(data + HEADER_VERSION, 4);
    if (version != THIS_VERSION)
        return broken(why, "a profile of version %" PRIu64 ", of which only %d is known", version,
                      THIS_VERSION);
    uint64_t size = load_le(data + HEADER_SIZE, 8), root = load_le(data + HEADER_ROOT, 8);
    uint64_t identity = load_le(data + HEADER_IDENTITY, 8);
    if (size != wanted->size_bytes)
        return foreign(why, "its size in bytes is", size, wanted->size_bytes);
    if (root != wanted->root_offset)
        return foreign(why, "the root of its tree is at", root, wanted->root_offset);
    if (wanted->identity != 0 && identity != wanted->identity)
        return foreign(why, "its identity is", identity, wanted->identity);
    if (load_le(data + HEADER_PAGE_BYTES, 4) != ACT_PAGE_BYTES)
        return broken(why, "damaged: pages of another size than %d bytes", ACT_PAGE_BYTES);
    if (load_le(data + HEADER_SOURCE, 4) > ACT_PAGES_PAGEMAP)
        return broken(why, "damaged: an unknown source");
    return 0;
}

/* What is decoded, and how far. */
struct decoder {
    const uint8_t *p, *end; /* end: where the digest begins */
    struct act_pages *pages;
    char *why;
};

/* A number in the shortest form, at most CHUNK_PAGES. */
static bool varint_read(const uint8_t **p, const uint8_t *end, uint64_t *ret_value)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < VARINT_BYTES && *p < end; i++) {
        uint8_t byte = *(*p)++;
        value |= (uint64_t)(byte & 0x7f) << 7 * i;
        if (byte < 0x80) {
            *ret_value = value;
            return value <= CHUNK_PAGES && (byte != 0 || i == 0);
        }
    }
    return false;
}

static bool runs_read(struct decoder *decoder, const struct chunk *chunk, const uint8_t *end)
{
    uint64_t at = 0, gap, n;
    const uint8_t *begin = decoder->p;
    for (const uint8_t *p = begin; p < end;) {
        bool is_first = p == begin;
        if (!varint_read(&p, end, &gap) || !varint_read(&p, end, &n))
            return false;
        if ((gap == 0 && !is_first) || n == 0 || gap > chunk->n_pages - at ||
            n > chunk->n_pages - at - gap)
            return false;
        act_pages_add(decoder->pages, chunk->first + at + gap, n);
        at += gap + n;
    }
    return at > 0;
}

static bool bitmap_read(struct decoder *decoder, const struct chunk *chunk, const uint8_t *end)
{
    uint64_t *words = decoder->pages->words + chunk->first / PAGES_WORD, all = 0;
    uint64_t n_spare = chunk->n_bytes * 8 - chunk->n_pages;
    if ((size_t)(end - decoder->p) != chunk->n_bytes || end[-1] >> (8 - n_spare) != 0)
        return false;
    for (size_t i = 0; i < chunk->n_bytes; i++)
        words[i / 8] |= (uint64_t)decoder->p[i] << i % 8 * 8;
    for (size_t i = 0; i < (chunk->n_bytes + 7) / 8; i++)
        all |= words[i];
    return all != 0;
}

/* The next chunk, whose number must be from *next on: *next is then the one behind it. */
static int chunk_read(struct decoder *decoder, uint64_t *next)
{
    if (decoder->end - decoder->p < CHUNK_HEADER_BYTES)
        return broken(decoder->why, "damaged: it ends too early");
    uint64_t number = load_le(decoder->p + CHUNK_NUMBER, 4);
    uint64_t kind = load_le(decoder->p + CHUNK_KIND, 2), len = load_le(decoder->p + CHUNK_LEN, 2);
    decoder->p += CHUNK_HEADER_BYTES;
    if (number < *next || number >= n_chunks_of(decoder->pages->n_pages))
        return broken(decoder->why, "damaged: chunk %" PRIu64 " is out of place", number);
    if (len > (uint64_t)(decoder->end - decoder->p))
        return broken(decoder->why, "damaged: it ends in chunk %" PRIu64, number);
    struct chunk chunk = chunk_of(decoder->pages, number);
    const uint8_t *end = decoder->p + len;
    bool is_fine = false;
    if (kind == KIND_FULL) {
        is_fine = len == 0;
        act_pages_add(decoder->pages, chunk.first, chunk.n_pages);
    } else if (kind == KIND_RUNS) {
        is_fine = runs_read(decoder, &chunk, end);
    } else if (kind == KIND_BITMAP) {
        is_fine = bitmap_read(decoder, &chunk, end);
    }
    if (!is_fine)
        return broken(decoder->why, "damaged: chunk %" PRIu64 " is wrong", number);
    decoder->p = end;
    *next = number + 1;
    return 0;
}

static int chunks_read(struct decoder *decoder, const uint8_t *data)
{
    uint64_t n_chunks = load_le(data + HEADER_N_CHUNKS, 4), next = 0;
    for (uint64_t i = 0; i < n_chunks; i++) {
        int r = chunk_read(decoder, &next);
        if (r != 0)
            return r;
    }
    if (decoder->p != decoder->end)
        return broken(decoder->why, "damaged: more than its chunks");
    if (act_pages_count(decoder->pages) != load_le(data + HEADER_N_PAGES, 8))
        return broken(decoder->why, "damaged: another number of pages than it says");
    return 0;
}

int profile_decode(const uint8_t *data, size_t len, const struct act_profile *wanted,
                   struct act_profile *ret_about, struct act_pages **ret_pages,
                   char why[PROFILE_WHY_SIZE])
{
    int r = profile_check_header(data, len, wanted, why);
    if (r != 0)
        return r;
    if (len < PROFILE_HEADER_BYTES + PROFILE_DIGEST_BYTES)
        return broken(why, "damaged: it ends too early");
    size_t digest = len - PROFILE_DIGEST_BYTES;
    if (load_le(data + digest, PROFILE_DIGEST_BYTES) != XXH3_64bits(data, digest))
        return broken(why, "damaged: its digest is another one");
    struct decoder decoder = {data + PROFILE_HEADER_BYTES, data + digest, NULL, why};
    r = act_pages_new(wanted->size_bytes, &decoder.pages);
    if (r < 0)
        return r;
    r = chunks_read(&decoder, data);
    if (r != 0) {
        act_pages_free(decoder.pages);
        return r;
    }
    if (ret_about)
        *ret_about = (struct act_profile){
            .identity = load_le(data + HEADER_IDENTITY, 8),
            .size_bytes = wanted->size_bytes,
            .root_offset = wanted->root_offset,
            .source = (enum act_pages_source)load_le(data + HEADER_SOURCE, 4),
            .saved_s = load_le(data + HEADER_SAVED, 8),
        };
    *ret_pages = decoder.pages;
    return 0;
}
