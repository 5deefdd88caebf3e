/*
 * engine_keys: see engine_keys.h.
 */
#include "bench/engine_keys.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define SEED 20240501

uint64_t engine_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static void *allocate(size_t n, size_t size)
{
    void *p = calloc(n + 1, size);
    if (!p)
        err(1, "no memory for the keys");
    return p;
}

static uint8_t *read_all(const char *path, size_t *ret_len)
{
    struct stat st;
    FILE *in = fopen(path, "rb");
    if (!in || fstat(fileno(in), &st) != 0)
        err(1, "%s", path);
    size_t len = (size_t)st.st_size;
    uint8_t *bytes = allocate(len, 1);
    if (fread(bytes, 1, len, in) != len)
        err(1, "%s", path);
    fclose(in);
    *ret_len = len;
    return bytes;
}

static uint32_t record_len(const uint8_t *p, size_t left, const char *path)
{
    uint32_t len = 0;
    if (left >= sizeof len)
        memcpy(&len, p, sizeof len);
    if (len == 0 || len > ENGINE_KEY_BYTES_MAX || left < sizeof len + len + sizeof(uint64_t))
        errx(1, "%s: not a key file", path);
    return len;
}

void engine_keys_load(struct engine_keys *keys, const char *path)
{
    size_t size, n = 0;
    uint8_t *bytes = read_all(path, &size);
    for (size_t at = 0; at < size; n++)
        at += record_len(bytes + at, size - at, path) + 12;
    *keys = (struct engine_keys){
        .at = allocate(n, sizeof *keys->at),
        .values = allocate(n, sizeof *keys->values),
        .n = n,
        .bytes = bytes,
    };
    const uint8_t *p = bytes;
    for (size_t i = 0; i < n; i++) {
        uint32_t len;
        memcpy(&len, p, sizeof len);
        keys->at[i] = (struct engine_key){p + 4, len};
        memcpy(&keys->values[i], p + 4 + len, sizeof keys->values[i]);
        p += len + 12;
    }
}

static uint32_t *shuffled(size_t n)
{
    uint64_t state = SEED;
    uint32_t *order = allocate(n, sizeof *order);
    for (size_t i = 0; i < n; i++) {
        size_t j = engine_random(&state) % (i + 1);
        order[i] = order[j];
        order[j] = (uint32_t)i;
    }
    return order;
}

void engine_keys_pick(struct engine_keys *picked, const struct engine_keys *from, size_t n)
{
    size_t size = 0;
    uint32_t *order = shuffled(from->n);
    n = n < from->n ? n : from->n;
    for (size_t i = 0; i < n; i++)
        size += from->at[order[i]].len;
    *picked = (struct engine_keys){
        .at = allocate(n, sizeof *picked->at),
        .values = allocate(n, sizeof *picked->values),
        .n = n,
        .bytes = allocate(size + 64, 1),
    };
    uint8_t *p = picked->bytes;
    for (size_t i = 0; i < n; i++) {
        const struct engine_key *key = &from->at[order[i]];
        memcpy(p, key->p, key->len);
        picked->at[i] = (struct engine_key){p, key->len};
        picked->values[i] = from->values[order[i]];
        p += key->len;
    }
    free(order);
}

void engine_keys_deinit(struct engine_keys *keys)
{
    free(keys->at);
    free(keys->values);
    free(keys->bytes);
    *keys = (struct engine_keys){0};
}
