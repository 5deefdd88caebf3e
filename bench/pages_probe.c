/*
 * pages_probe: what a program that uses libact pays for page faults. bench/pages runs it.
 *
 *     pages_probe make FILE BYTES VALUE_BYTES        a tree for the others (pages_keys.h)
 *     pages_probe first FILE KEYS COUNT SEED         COUNT keys, each asked three times, each of a
 *                                                    file that has just been opened and is cold
 *     pages_probe access FILE KEYS PATTERN COUNT SEED
 *                                                    COUNT lookups: sorted, random, clustered (64
 *                                                    neighbours at a time), batched (act_get_batch
 *                                                    of 64 random keys); cold
 *     pages_probe open FILE KEYS HOW STATE SEED      opening, by map or read, and one lookup
 *     pages_probe scan FILE ADVICE STATE             all entries: random, normal or sequential
 *     pages_probe load FILE                          reads the file into memory of its own, says so
 *                                                    and keeps it until standard input ends
 *
 * STATE is cold (dropped from the page cache) or warm (all of it there). KEYS is what make has
 * printed. Each prints lines of JSON: ns, major and minor are what this thread took of time and
 * page faults, left the pages that are not in the state they should be in.
 */
#include "act/act.h"
#include "bench/pages_file.h"
#include "bench/pages_keys.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define GROUP 64

struct subject {
    const char *path;
    uint64_t n_keys;
    struct act *tree;
    uint8_t *loaded; /* owned; the file's bytes, if it was read */
};

static void open_mapped(struct subject *subject)
{
    struct act_error error;
    if (act_open_path(subject->path, &subject->tree, &error) != 0)
        errx(1, "%s", error.message);
}

static void load(struct subject *subject, uint64_t *ret_bytes)
{
    int fd = pages_open(subject->path, ret_bytes);
    subject->loaded = malloc(*ret_bytes);
    if (!subject->loaded)
        errx(1, "no memory for all of %s", subject->path);
    for (uint64_t at = 0; at < *ret_bytes;) {
        ssize_t n = read(fd, subject->loaded + at, *ret_bytes - at);
        if (n <= 0)
            err(1, "%s", subject->path);
        at += (uint64_t)n;
    }
    close(fd);
}

static void open_loaded(struct subject *subject)
{
    uint64_t bytes;
    struct act_error error;
    load(subject, &bytes);
    if (act_open_memory(subject->loaded, bytes, subject->path, &subject->tree, &error) != 0)
        errx(1, "%s", error.message);
}

static void close_subject(struct subject *subject)
{
    act_close(subject->tree);
    free(subject->loaded);
    subject->tree = NULL;
    subject->loaded = NULL;
}

/* One lookup, of what a byte string begins with, too. */
static void look_up(const struct subject *subject, uint64_t i)
{
    uint8_t key[PAGES_KEY_BYTES];
    uint64_t value;
    const uint8_t *bytes;
    size_t len;
    pages_key(i, subject->n_keys, key);
    if (act_get(subject->tree, key, sizeof key, &value, NULL) != 0)
        errx(1, "%s: key %ju is not there", subject->path, (uintmax_t)i);
    if (act_values_of(subject->tree) == ACT_VALUES_BYTES) {
        if (act_bytes(subject->tree, value, &bytes, &len, NULL) != 0 || len < sizeof value)
            errx(1, "%s: the value of key %ju is not there", subject->path, (uintmax_t)i);
        memcpy(&value, bytes, sizeof value);
    }
    if (value != i)
        errx(1, "%s: key %ju has a wrong value", subject->path, (uintmax_t)i);
}

static uint64_t bring_to(const char *path, const char *state)
{
    if (strcmp(state, "cold") == 0)
        return pages_drop(path);
    if (strcmp(state, "warm") == 0)
        return pages_warm(path);
    errx(2, "%s: cold or warm?", state);
}

static void print_cost(const char *before, const struct pages_cost *cost, const char *after)
{
    printf("%s{\"ns\": %ju, \"major\": %ld, \"minor\": %ld}%s", before, (uintmax_t)cost->ns,
           cost->major, cost->minor, after);
}

static void run_make(char **args)
{
    uint64_t bytes;
    uint64_t n = pages_make(args[0], strtoull(args[1], NULL, 10), strtoull(args[2], NULL, 10));
    close(pages_open(args[0], &bytes));
    printf("{\"keys\": %ju, \"bytes\": %ju}\n", (uintmax_t)n, (uintmax_t)bytes);
}

static void run_first(char **args)
{
    struct subject subject = {.path = args[0], .n_keys = strtoull(args[1], NULL, 10)};
    uint64_t count = strtoull(args[2], NULL, 10), seed = strtoull(args[3], NULL, 10);
    for (uint64_t k = 0; k < count; k++) {
        struct pages_cost opening, costs[3];
        uint64_t i = pages_mix(seed * count + k) % subject.n_keys;
        uint64_t left = pages_drop(subject.path);
        pages_begin(&opening);
        open_mapped(&subject);
        pages_end(&opening);
        for (int ask = 0; ask < 3; ask++) {
            pages_begin(&costs[ask]);
            look_up(&subject, i);
            pages_end(&costs[ask]);
        }
        close_subject(&subject);
        print_cost("{\"open\": ", &opening, "");
        print_cost(", \"asked\": [", &costs[0], ", ");
        print_cost("", &costs[1], ", ");
        print_cost("", &costs[2], "]");
        printf(", \"left\": %ju}\n", (uintmax_t)left);
    }
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* The numbers of the keys to look up. */
static uint64_t *choose(const char *pattern, uint64_t count, uint64_t n_keys, uint64_t seed)
{
    uint64_t *chosen = pages_allocate(count, sizeof *chosen);
    bool is_clustered = strcmp(pattern, "clustered") == 0;
    for (uint64_t k = 0; k < count; k++) {
        uint64_t group = is_clustered ? k / GROUP : k;
        chosen[k] = (pages_mix(seed * count + group) + (is_clustered ? k % GROUP : 0)) % n_keys;
    }
    if (strcmp(pattern, "sorted") == 0)
        qsort(chosen, count, sizeof *chosen, compare);
    return chosen;
}

static void look_up_batches(const struct subject *subject, const uint64_t *chosen, uint64_t count)
{
    uint8_t bytes[GROUP][PAGES_KEY_BYTES];
    struct act_key keys[GROUP];
    struct act_result results[GROUP];
    for (uint64_t done = 0; done < count; done += GROUP) {
        size_t n = count - done < GROUP ? count - done : GROUP;
        for (size_t k = 0; k < n; k++) {
            pages_key(chosen[done + k], subject->n_keys, bytes[k]);
            keys[k] = (struct act_key){bytes[k], PAGES_KEY_BYTES};
        }
        act_get_batch(subject->tree, keys, n, results);
        for (size_t k = 0; k < n; k++)
            if (results[k].outcome != 0 || results[k].value != chosen[done + k])
                errx(1, "%s: a lookup of a batch went wrong", subject->path);
    }
}

static void run_access(char **args)
{
    struct subject subject = {.path = args[0], .n_keys = strtoull(args[1], NULL, 10)};
    uint64_t count = strtoull(args[3], NULL, 10), left = pages_drop(subject.path);
    uint64_t *chosen = choose(args[2], count, subject.n_keys, strtoull(args[4], NULL, 10));
    struct pages_cost cost;
    open_mapped(&subject);
    pages_begin(&cost);
    if (strcmp(args[2], "batched") == 0)
        look_up_batches(&subject, chosen, count);
    else
        for (uint64_t k = 0; k < count; k++)
            look_up(&subject, chosen[k]);
    pages_end(&cost);
    print_cost("{\"cost\": ", &cost, "");
    printf(", \"left\": %ju, \"read\": %ju}\n", (uintmax_t)left,
           (uintmax_t)pages_resident(subject.path));
    close_subject(&subject);
    free(chosen);
}

static void run_open(char **args)
{
    struct subject subject = {.path = args[0], .n_keys = strtoull(args[1], NULL, 10)};
    uint64_t left = bring_to(subject.path, args[3]);
    struct pages_cost opening, first;
    pages_begin(&opening);
    if (strcmp(args[2], "read") == 0)
        open_loaded(&subject);
    else
        open_mapped(&subject);
    pages_end(&opening);
    pages_begin(&first);
    look_up(&subject, pages_mix(strtoull(args[4], NULL, 10)) % subject.n_keys);
    pages_end(&first);
    /* A copy may have pushed the file out of memory while it was read. */
    if (strcmp(args[3], "warm") == 0)
        left += pages_missing(subject.path);
    close_subject(&subject);
    print_cost("{\"open\": ", &opening, "");
    print_cost(", \"first\": ", &first, "");
    printf(", \"left\": %ju}\n", (uintmax_t)left);
}

static void advise(const struct subject *subject, const char *name)
{
    static const struct {
        const char *name;
        int advice;
    } all[] = {{"random", MADV_RANDOM}, {"normal", MADV_NORMAL}, {"sequential", MADV_SEQUENTIAL}};
    struct act_info info;
    act_info(subject->tree, &info);
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (strcmp(all[i].name, name) != 0)
            continue;
        if (madvise((void *)(uintptr_t)info.mapping_start, info.mapped_bytes, all[i].advice) != 0)
            err(1, "madvise");
        return;
    }
    errx(2, "%s: no such advice", name);
}

static uint64_t scan(const struct subject *subject)
{
    struct act_cursor *cursor;
    uint64_t n = 0, value, sum = 0;
    if (act_cursor_new(subject->tree, 0, &cursor) != 0)
        errx(1, "no memory for a cursor");
    int r = act_cursor_first(cursor);
    for (; r == 0; r = act_cursor_next(cursor)) {
        if (act_cursor_value(cursor, &value) == 0)
            sum += value;
        n++;
    }
    act_cursor_free(cursor);
    if (r != ACT_MISS || sum != n * (n - 1) / 2)
        errx(1, "%s: the scan went wrong", subject->path);
    return n;
}

static void run_scan(char **args)
{
    struct subject subject = {.path = args[0]};
    uint64_t left = bring_to(subject.path, args[2]);
    struct pages_cost cost;
    open_mapped(&subject);
    advise(&subject, args[1]);
    pages_begin(&cost);
    uint64_t n = scan(&subject);
    pages_end(&cost);
    close_subject(&subject);
    print_cost("{\"cost\": ", &cost, "");
    printf(", \"entries\": %ju, \"left\": %ju}\n", (uintmax_t)n, (uintmax_t)left);
}

static void run_load(char **args)
{
    struct subject subject = {.path = args[0]};
    uint64_t bytes;
    load(&subject, &bytes);
    printf("{\"bytes\": %ju}\n", (uintmax_t)bytes);
    fflush(stdout);
    while (getchar() != EOF)
        ;
    free(subject.loaded);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int n_args;
        void (*run)(char **args);
    } commands[] = {
        {"make", 3, run_make}, {"first", 4, run_first}, {"access", 5, run_access},
        {"open", 5, run_open}, {"scan", 3, run_scan},   {"load", 1, run_load},
    };
    for (size_t i = 0; i < sizeof commands / sizeof *commands && argc > 1; i++) {
        if (strcmp(commands[i].name, argv[1]) != 0 || argc != commands[i].n_args + 2)
            continue;
        commands[i].run(argv + 2);
        return fflush(stdout) != 0 || ferror(stdout);
    }
    errx(2, "usage: pages_probe make|first|access|open|scan|load ARGUMENTS: see its source");
}
