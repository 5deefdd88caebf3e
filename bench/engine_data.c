/*
 * engine_data: makes the key files of bench/engine.
 *
 *     engine_data decimals N      the numbers 0 to N-1 in decimal, each with itself as value
 *     engine_data random8 N       N random keys of 8 bytes (random16: of 16), the same in every
 * run; the value is the key's number in the sequence engine_data lines N         the lines of
 * standard input, at most N different ones; the value is the line's number in sorted order
 *     engine_data contents N      the same of lines with a path, blanks, and a last word
 *     engine_data hex N           lines of hex key, tab, value
 *     engine_data export FILE     a key file as such lines
 *     engine_data sample FILE     SAMPLE_KEYS keys of a key file, the first that are looked up
 *
 * Writes to standard output. Keys that LMDB does not take are left out.
 */
#include "bench/engine_keys.h"

#include <err.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEED        1
#define SAMPLE_KEYS 2000

struct record {
    uint8_t *key; /* owned by the list */
    uint32_t len;
    uint64_t value;
};

struct list {
    struct record *at;
    size_t n, room;
};

static void list_add(struct list *list, const void *key, size_t len, uint64_t value)
{
    if (len == 0 || len > ENGINE_KEY_BYTES_MAX)
        return;
    if (list->n == list->room) {
        list->room = list->room * 2 + 1024;
        list->at = realloc(list->at, list->room * sizeof *list->at);
    }
    uint8_t *copy = malloc(len);
    if (!list->at || !copy)
        err(1, "no memory for the keys");
    memcpy(copy, key, len);
    list->at[list->n++] = (struct record){copy, (uint32_t)len, value};
}

static int compare(const void *a, const void *b)
{
    const struct record *x = a, *y = b;
    int order = memcmp(x->key, y->key, x->len < y->len ? x->len : y->len);
    return order != 0 ? order : (x->len > y->len) - (x->len < y->len);
}

static void make_decimals(struct list *list, size_t n)
{
    char key[24];
    for (size_t i = 0; i < n; i++)
        list_add(list, key, (size_t)snprintf(key, sizeof key, "%zu", i), i);
}

static void make_random(struct list *list, size_t n, size_t words)
{
    uint64_t state = SEED;
    for (size_t i = 0; i < n; i++) {
        uint64_t key[2];
        for (size_t w = 0; w < words; w++)
            key[w] = engine_random(&state);
        list_add(list, key, words * sizeof *key, i);
    }
}

/* One line of hex key, tab, value. */
static void add_hex(struct list *list, char *line)
{
    uint8_t key[ENGINE_KEY_BYTES_MAX];
    char *tab = strchr(line, '\t');
    size_t len = tab ? (size_t)(tab - line) / 2 : 0;
    if (len > sizeof key)
        return;
    for (size_t i = 0; i < len; i++) {
        char digits[] = {line[2 * i], line[2 * i + 1], 0};
        key[i] = (uint8_t)strtoul(digits, NULL, 16);
    }
    if (tab)
        list_add(list, key, len, strtoull(tab + 1, NULL, 10));
}

/* The length of the line without its last word and the blanks before it. */
static size_t path_len(const char *line, size_t len)
{
    while (len > 0 && line[len - 1] != ' ' && line[len - 1] != '\t')
        len--;
    while (len > 0 && (line[len - 1] == ' ' || line[len - 1] == '\t'))
        len--;
    return len;
}

static void read_lines(struct list *list, const char *kind)
{
    bool is_contents = strcmp(kind, "contents") == 0;
    char *line = NULL;
    size_t room = 0;
    ssize_t len;
    while ((len = getline(&line, &room, stdin)) > 0) {
        if (line[len - 1] == '\n')
            line[--len] = 0;
        if (strcmp(kind, "hex") == 0)
            add_hex(list, line);
        else
            list_add(list, line, is_contents ? path_len(line, (size_t)len) : (size_t)len, 0);
    }
    free(line);
}

/* Sorts, and leaves out what comes twice. */
static void list_sort(struct list *list)
{
    size_t n = 0;
    qsort(list->at, list->n, sizeof *list->at, compare);
    for (size_t i = 0; i < list->n; i++) {
        if (n > 0 && compare(&list->at[n - 1], &list->at[i]) == 0)
            free(list->at[i].key);
        else
            list->at[n++] = list->at[i];
    }
    list->n = n;
}

/* Every so manieth, so that max of them are from everywhere. */
static void list_thin(struct list *list, size_t max)
{
    size_t n = 0;
    if (list->n <= max)
        return;
    for (size_t i = 0; i < list->n; i++) {
        if (n < max && i == n * list->n / max)
            list->at[n++] = list->at[i];
        else
            free(list->at[i].key);
    }
    list->n = n;
}

static void write_record(const uint8_t *key, uint32_t len, uint64_t value)
{
    fwrite(&len, sizeof len, 1, stdout);
    fwrite(key, 1, len, stdout);
    fwrite(&value, sizeof value, 1, stdout);
}

static void list_write(const struct list *list, bool is_numbered)
{
    for (size_t i = 0; i < list->n; i++) {
        const struct record *record = &list->at[i];
        write_record(record->key, record->len, is_numbered ? i : record->value);
    }
}

static void sample(const char *path)
{
    struct engine_keys all, keys;
    engine_keys_load(&all, path);
    engine_keys_pick(&keys, &all, SAMPLE_KEYS);
    for (size_t i = 0; i < keys.n; i++)
        write_record(keys.at[i].p, (uint32_t)keys.at[i].len, keys.values[i]);
    engine_keys_deinit(&keys);
    engine_keys_deinit(&all);
}

static void export(const char *path)
{
    struct engine_keys keys;
    engine_keys_load(&keys, path);
    for (size_t i = 0; i < keys.n; i++) {
        char line[2 * ENGINE_KEY_BYTES_MAX + 1];
        for (size_t b = 0; b < keys.at[i].len; b++) {
            line[2 * b] = "0123456789abcdef"[keys.at[i].p[b] >> 4];
            line[2 * b + 1] = "0123456789abcdef"[keys.at[i].p[b] & 15];
        }
        line[2 * keys.at[i].len] = 0;
        printf("%s\t%" PRIu64 "\n", line, keys.values[i]);
    }
    engine_keys_deinit(&keys);
}

int main(int argc, char **argv)
{
    struct list list = {0};
    if (argc != 3)
        errx(2, "usage: %s decimals|random8|random16|lines|contents|hex N, or export|sample FILE",
             argv[0]);
    const char *kind = argv[1];
    size_t n = strtoull(argv[2], NULL, 10);
    if (strcmp(kind, "export") == 0)
        export(argv[2]);
    else if (strcmp(kind, "sample") == 0)
        sample(argv[2]);
    else if (strcmp(kind, "decimals") == 0)
        make_decimals(&list, n);
    else if (strncmp(kind, "random", 6) == 0)
        make_random(&list, n, strcmp(kind, "random8") == 0 ? 1 : 2);
    else
        read_lines(&list, kind);
    if (list.n > 0) {
        list_sort(&list);
        list_thin(&list, n);
        list_write(&list, strcmp(kind, "lines") == 0 || strcmp(kind, "contents") == 0);
    }
    for (size_t i = 0; i < list.n; i++)
        free(list.at[i].key);
    free(list.at);
    return fflush(stdout) != 0 || ferror(stdout);
}
