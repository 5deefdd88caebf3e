/*
 * engine_run: the time of a lookup, by each of the readers in engine_rows.h, in nanoseconds.
 *
 *     engine_run [-k LOOKUPS] [-r ROUNDS] [-o ROW] SET
 *
 * SET is the path of a set's files without their suffixes. Rounds go through the rows in turn, so
 * that what the machine does meanwhile falls on all of them. One round that is not counted comes
 * before them; and before each of its turns a row makes some lookups that do not count either,
 * since the row before has had the caches. Prints a line for each row: name, then the time of each
 * round.
 */
#include "bench/engine_rows.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS_MAX  101
#define WARM_UP_MAX 50000

/* Of this thread's CPU time: what others do meanwhile costs it caches, but no time. */
static double now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static double run_ns(struct engine_row *row, const struct engine_keys *keys)
{
    size_t warm_up = keys->n / 4 < WARM_UP_MAX ? keys->n / 4 : WARM_UP_MAX;
    row->run(row, keys, keys->n - warm_up, keys->n);
    double begin = now_ns();
    row->run(row, keys, 0, keys->n);
    return (now_ns() - begin) / (double)keys->n;
}

static void open_rows(const char *set, const char *only, const struct engine_keys *keys)
{
    char path[4096];
    for (int i = 0; i < ENGINE_ROWS; i++) {
        struct engine_row *row = &engine_rows[i];
        if (only && strcmp(only, row->name) != 0)
            continue;
        snprintf(path, sizeof path, "%s%s", set, row->suffix);
        row->open(row, path, keys);
        row->is_open = true;
    }
}

static void measure(const struct engine_keys *keys, int rounds)
{
    static double ns[ENGINE_ROWS][ROUNDS_MAX];
    for (int round = -1; round < rounds; round++)
        for (int i = 0; i < ENGINE_ROWS; i++)
            if (engine_rows[i].is_open)
                ns[i][round < 0 ? 0 : round] = run_ns(&engine_rows[i], keys);
    for (int i = 0; i < ENGINE_ROWS; i++) {
        if (!engine_rows[i].is_open)
            continue;
        printf("%s", engine_rows[i].name);
        for (int round = 0; round < rounds; round++)
            printf("\t%.1f", ns[i][round]);
        printf("\n");
    }
}

int main(int argc, char **argv)
{
    int option, rounds = 5;
    size_t lookups = 2000000;
    const char *only = NULL;
    char path[4096];
    struct engine_keys all, keys;
    while ((option = getopt(argc, argv, "k:r:o:")) != -1) {
        if (option == 'k')
            lookups = strtoull(optarg, NULL, 10);
        else if (option == 'r')
            rounds = atoi(optarg);
        else if (option == 'o')
            only = optarg;
        else
            optind = argc;
    }
    if (argc - optind != 1 || lookups == 0 || rounds < 1 || rounds > ROUNDS_MAX)
        errx(2, "usage: %s [-k LOOKUPS] [-r ROUNDS] [-o ROW] SET", argv[0]);
    snprintf(path, sizeof path, "%s.keys", argv[optind]);
    engine_keys_load(&all, path);
    engine_keys_pick(&keys, &all, lookups);
    engine_keys_deinit(&all);
    open_rows(argv[optind], only, &keys);
    measure(&keys, rounds);
    engine_keys_deinit(&keys);
    return 0;
}
