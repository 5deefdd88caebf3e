/*
 * forge: see forge.h.
 */
#include "forge.h"

#include <assert.h>
#include <err.h>
#include <stdlib.h>
#include <xxhash.h>

#define ROOT_AT     8
#define CHECKSUM_AT (FORGE_META + 72)

void forge_put(struct bytes *file, size_t at, uint64_t value, unsigned n)
{
    assert(at + n <= file->len);
    for (unsigned i = 0; i < n; i++)
        file->p[at + i] = (uint8_t)(value >> (8 * i));
}

uint64_t forge_number(const struct bytes *file, size_t at, unsigned n)
{
    uint64_t value = 0;
    assert(at + n <= file->len);
    for (unsigned i = 0; i < n; i++)
        value |= (uint64_t)file->p[at + i] << (8 * i);
    return value;
}

void forge_seal(struct bytes *file)
{
    forge_put(file, CHECKSUM_AT, XXH3_64bits(file->p + FORGE_META, CHECKSUM_AT - FORGE_META), 8);
}

void forge_field(struct bytes *file, size_t at, uint64_t value, unsigned n)
{
    forge_put(file, at, value, n);
    forge_seal(file);
}

static void append(struct bytes *file, const void *p, size_t len)
{
    uint8_t *longer = realloc(file->p, file->len + len);
    if (!longer)
        err(2, "realloc");
    memcpy(longer + file->len, p, len);
    *file = (struct bytes){.p = longer, .len = file->len + len};
}

/* A varint of 9 bytes: longer than needed, which readers take. */
static void append_number(struct bytes *file, uint64_t value)
{
    size_t at = file->len + 1;
    append(file, "\xff\0\0\0\0\0\0\0\0", 9);
    forge_put(file, at, value, 8);
}

void forge_merge(struct bytes *file, uint64_t value, uint64_t previous_suffix,
                 uint64_t previous_root)
{
    uint64_t old_root = forge_number(file, ROOT_AT, 8), line = file->len;
    append(file, "\x01p", 2);
    uint64_t run = file->len;
    append(file, "\x40", 1);
    append_number(file, value);
    uint64_t node = file->len;
    append(file, "\x81", 1);
    append_number(file, node - old_root);
    append_number(file, node - line);
    uint64_t root = file->len;
    append(file, "\x02", 1);
    append_number(file, root - run);
    append(file, "xy", 2);
    uint64_t trailer = file->len;
    append(file, "0123456789abcdef", 16);
    forge_put(file, trailer, previous_suffix, 8);
    forge_put(file, trailer + 8, previous_root, 8);
    forge_put(file, ROOT_AT, root, 8);
}

static uint64_t number_at(const struct bytes *file, size_t at, size_t *ret_end)
{
    unsigned n = file->p[at] < 248 ? 0 : file->p[at] - 247U;
    *ret_end = at + 1 + n;
    return n == 0 ? file->p[at] : forge_number(file, at + 1, n);
}

uint64_t forge_first_child(const struct bytes *file, uint64_t branch)
{
    size_t at = branch + 1;
    assert((file->p[branch] & 0x80) == 0 && (file->p[branch] & 0x3f) != 0);
    if (file->p[branch] & 0x40)
        (void)number_at(file, at, &at);
    return branch - number_at(file, at, &at);
}
