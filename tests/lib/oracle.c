/*
 * oracle: see oracle.h.
 */
#include "oracle.h"

#include "bytes.h"

#include <err.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

int oracle_compare(struct slice a, struct slice b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int r = n > 0 ? memcmp(a.p, b.p, n) : 0;
    if (r != 0)
        return r;
    return (a.len > b.len) - (a.len < b.len);
}

static void free_key(struct oracle_entry *entry)
{
    free((void *)(uintptr_t)entry->key.p);
}

void oracle_init(struct oracle *oracle)
{
    *oracle = (struct oracle){0};
}

void oracle_deinit(struct oracle *oracle)
{
    for (size_t i = 0; i < oracle->n; i++)
        free_key(&oracle->entries[i]);
    free(oracle->entries);
    oracle_init(oracle);
}

void oracle_add(struct oracle *oracle, const void *key, size_t len, uint64_t value)
{
    if (oracle->n == oracle->room) {
        oracle->room = oracle->room ? 2 * oracle->room : 64;
        oracle->entries = realloc(oracle->entries, oracle->room * sizeof *oracle->entries);
        if (!oracle->entries)
            err(2, "realloc");
    }
    struct bytes copy = bytes_copy(key, len);
    oracle->entries[oracle->n++] =
        (struct oracle_entry){.key = slice_of(copy.p, len), .value = value};
}

/* Stable, which qsort does not promise: of equal keys the last one added must come last. */
static void merge_sort(struct oracle_entry *entries, size_t n, struct oracle_entry *scratch)
{
    if (n < 2)
        return;
    size_t half = n / 2;
    merge_sort(entries, half, scratch);
    merge_sort(entries + half, n - half, scratch);
    if (oracle_compare(entries[half - 1].key, entries[half].key) <= 0)
        return;
    memcpy(scratch, entries, half * sizeof *scratch);
    size_t a = 0, b = half, out = 0;
    while (a < half) {
        bool is_right = b < n && oracle_compare(entries[b].key, scratch[a].key) < 0;
        entries[out++] = is_right ? entries[b++] : scratch[a++];
    }
}

void oracle_sort(struct oracle *oracle)
{
    struct oracle_entry *scratch = malloc((oracle->n + 1) * sizeof *scratch);
    if (!scratch)
        err(2, "malloc");
    merge_sort(oracle->entries, oracle->n, scratch);
    free(scratch);
    size_t kept = 0;
    for (size_t i = 0; i < oracle->n; i++) {
        struct oracle_entry *entry = &oracle->entries[i];
        if (i + 1 < oracle->n && slice_equal(entry->key, entry[1].key))
            free_key(entry);
        else
            oracle->entries[kept++] = *entry;
    }
    oracle->n = kept;
}

static FILE *open_lines(const char *path, bool is_compressed)
{
    char command[4200];
    if (!is_compressed)
        return fopen(path, "re");
    snprintf(command, sizeof command, "gzip -dc '%s'", path);
    return popen(command, "re");
}

static void add_line(struct oracle *oracle, char *line, const char *path)
{
    char *tab = strchr(line, '\t');
    if (!tab)
        errx(2, "%s: a line without TAB: %s", path, line);
    *tab = '\0';
    struct bytes key = bytes_from_hex(line);
    oracle_add(oracle, key.p, key.len, strtoumax(tab + 1, NULL, 10));
    bytes_free(&key);
}

void oracle_load(struct oracle *oracle, const char *path)
{
    size_t len = strlen(path), room = 0;
    bool is_compressed = len > 3 && strcmp(path + len - 3, ".gz") == 0;
    FILE *f = open_lines(path, is_compressed);
    char *line = NULL;
    if (!f)
        err(2, "%s", path);
    while (getline(&line, &room, f) > 0)
        add_line(oracle, line, path);
    free(line);
    if ((is_compressed ? pclose(f) : fclose(f)) != 0)
        errx(2, "%s: cannot be read", path);
    oracle_sort(oracle);
}

size_t oracle_lower_bound(const struct oracle *oracle, struct slice key)
{
    size_t low = 0, high = oracle->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (oracle_compare(oracle->entries[middle].key, key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct oracle_entry *oracle_find(const struct oracle *oracle, struct slice key)
{
    size_t i = oracle_lower_bound(oracle, key);
    if (i == oracle->n || !slice_equal(oracle->entries[i].key, key))
        return NULL;
    return &oracle->entries[i];
}

static bool has_prefix(struct slice key, struct slice prefix)
{
    return key.len >= prefix.len && slice_equal(slice_of(key.p, prefix.len), prefix);
}

/* The first entry at or behind begin that does not start with prefix. */
static size_t prefix_end(const struct oracle *oracle, struct slice prefix, size_t begin)
{
    size_t low = begin, high = oracle->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (has_prefix(oracle->entries[middle].key, prefix))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

size_t oracle_prefix_range(const struct oracle *oracle, struct slice prefix, size_t *ret_first)
{
    *ret_first = oracle_lower_bound(oracle, prefix);
    return prefix_end(oracle, prefix, *ret_first) - *ret_first;
}

void oracle_children(const struct oracle *oracle, struct slice prefix, uint64_t children[4])
{
    size_t first, n = oracle_prefix_range(oracle, prefix, &first);
    size_t i = first, end = first + n;
    memset(children, 0, 4 * sizeof *children);
    if (n > 0 && oracle->entries[i].key.len == prefix.len)
        i++;
    while (i < end) {
        struct slice key = oracle->entries[i].key;
        uint8_t byte = key.p[prefix.len];
        children[byte >> 6] |= UINT64_C(1) << (byte & 63);
        i = prefix_end(oracle, slice_of(key.p, prefix.len + 1), i);
    }
}
