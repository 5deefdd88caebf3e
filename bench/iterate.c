/*
 * iterate: how fast a cursor goes through whole trees, in entries a second: next and prev with key
 * and value at hand, and count. The median of several runs, files and moves in turn, so that a
 * neighbour's noise falls on all of them.
 *
 *     iterate [-r RUNS] FILE...
 */
#include "act/act.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define RUNS_MAX 101

enum { NEXT, PREV, COUNT, KINDS };

static const char *const kind_names[KINDS] = {"next", "prev", "count"};

struct subject {
    const char *path;
    struct act *tree;
    struct act_cursor *cursor;
    uint64_t n_entries;
    double per_second[KINDS][RUNS_MAX];
};

/* What is read goes in here, so that reading it is not left out. */
static uint64_t checksum;

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void take_entry(const struct act_cursor *cursor)
{
    size_t len;
    uint64_t value;
    const uint8_t *key = act_cursor_key(cursor, &len);
    if (act_cursor_value(cursor, &value) != 0)
        errx(1, "an entry without a value");
    checksum += value + len + (len > 0 ? key[len - 1] : 0);
}

/* How many entries there were. */
static uint64_t go_through(struct act_cursor *cursor, int kind)
{
    uint64_t n = 0;
    int r = kind == PREV ? act_cursor_last(cursor) : act_cursor_first(cursor);
    if (kind == COUNT && r == 0) {
        r = act_cursor_count(cursor, &n);
        if (r == 0)
            return n;
    }
    for (; r == 0; n++) {
        take_entry(cursor);
        r = kind == PREV ? act_cursor_prev(cursor) : act_cursor_next(cursor);
    }
    if (r != ACT_MISS)
        errx(1, "outcome %d at offset %llu", r,
             (unsigned long long)act_cursor_fault(cursor).offset);
    return n;
}

static void run(struct subject *subject, int kind, int i)
{
    double begin = now_s();
    uint64_t n = go_through(subject->cursor, kind);
    subject->per_second[kind][i] = (double)n / (now_s() - begin);
    if (subject->n_entries != n && subject->n_entries != 0)
        errx(1, "%s: %s gives another number of entries", subject->path, kind_names[kind]);
    subject->n_entries = n;
}

static void open_subject(struct subject *subject, const char *path)
{
    struct act_error error;
    *subject = (struct subject){.path = path};
    if (act_open_path(path, &subject->tree, &error) != 0)
        errx(1, "%s", error.message);
    if (act_cursor_new(subject->tree, 0, &subject->cursor) != 0)
        errx(1, "no memory for a cursor");
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_subject(struct subject *subject, int runs)
{
    printf("%s: %llu entries\n", subject->path, (unsigned long long)subject->n_entries);
    for (int kind = 0; kind < KINDS; kind++) {
        double *all = subject->per_second[kind];
        qsort(all, (size_t)runs, sizeof *all, compare);
        printf("  %-5s %8.2f million/s (%.2f..%.2f)\n", kind_names[kind], all[runs / 2] / 1e6,
               all[0] / 1e6, all[runs - 1] / 1e6);
    }
    act_cursor_free(subject->cursor);
    act_close(subject->tree);
}

int main(int argc, char **argv)
{
    int runs = 7, option;
    while ((option = getopt(argc, argv, "r:")) == 'r')
        runs = atoi(optarg);
    int n = argc - optind;
    if (option != -1 || n < 1 || runs < 1 || runs > RUNS_MAX)
        errx(2, "usage: %s [-r RUNS] FILE... (at most %d runs)", argv[0], RUNS_MAX);
    struct subject *subjects = calloc((size_t)n, sizeof *subjects);
    if (!subjects)
        err(1, "calloc");
    for (int s = 0; s < n; s++)
        open_subject(&subjects[s], argv[optind + s]);
    for (int i = 0; i < runs; i++)
        for (int s = 0; s < n; s++)
            for (int kind = 0; kind < KINDS; kind++)
                run(&subjects[s], kind, i);
    for (int s = 0; s < n; s++)
        print_subject(&subjects[s], runs);
    free(subjects);
    return checksum == 0;
}
