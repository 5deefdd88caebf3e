/*
 * census: a thread of the supervisor that finds out which pages of the served file are in memory.
 *
 *     census_want  ->  run: look  ->  census_get          the map, for who asks
 *                      run: save                          the profile, now and then
 *     census_begin_last  ->  run: save  ->  on_looked     the last one, before the workers end
 *
 * To look takes 14 ms a GiB of the file, so it is done when somebody asks, not more than once a
 * second, and for one part in twenty of the time at most; the age of a result says the rest.
 *
 * A profile tells what a service that is warm has in memory, and is worth as much as the time that
 * it took to become so. So none is saved before census_allow: what is there at the start, or when a
 * warm-up is ended in its middle, would take the place of a good one. Nor while a warm-up runs, nor
 * of a file that is damaged, nor where nobody knows which pages are there, nor of a copy, which is
 * made by reading all. What was restored of a file of others stays in it for an hour: it is known
 * only as far as workers have come to it since. A disk that hangs keeps the thread, and nobody
 * else: census_stop does not wait for ever.
 */
#pragma once

#include "daemon/supervisor/reload.h"
#include "daemon/supervisor/resident.h"
#include "daemon/supervisor/saver.h"

#include <pthread.h>
#include <uv.h>

#define CENSUS_REGIONS 1024
#define CENSUS_FILES   2

/* Of one generation. */
struct census_generation {
    uint64_t number; /* 0: none */
    uint64_t identity;
    uint64_t size_bytes;
    bool is_served;
    uint64_t region_bytes; /* pages, as many as a power of two */
    uint64_t asked_ms;     /* clock_ms; also where nothing was found out. 0: not yet */
    uint64_t took_ms;
    enum resident_source source;
    /* Unless the source is unknown: */
    uint64_t resident_bytes;          /* whole pages, but for the file's end */
    unsigned n_regions;               /* that the file has; the last one may be a part of one */
    uint32_t regions[CENSUS_REGIONS]; /* pages in memory */
};

struct census_view {
    unsigned n;
    struct census_generation generations[CENSUS_FILES]; /* the served one first */
};

/* What the loop hands over: a file that somebody holds. */
struct census_file {
    struct generation generation; /* number 0: none */
    int fd;                       /* owned; -1: none */
    bool is_served;
};

struct census {
    struct board *board;         /* borrowed */
    const struct reload *reload; /* borrowed: the loop's */
    struct saver saver;          /* the thread's */
    uint64_t save_interval_ms;
    pthread_t thread;
    bool is_running;
    pthread_mutex_t lock;
    pthread_cond_t wake, ended;
    int32_t *pids;             /* owned: the thread's; one a slot */
    uint64_t looked_ms;        /* the thread's: how long it has looked in this job */
    _Atomic uint64_t alive_ms; /* clock_ms: when the last look was last seen to go on */
    uv_async_t news;
    void (*on_saved)(void *context, uint64_t pages); /* how many are in it */
    void (*on_looked)(void *context);                /* the last look needs the workers no more */
    void *context;                                   /* borrowed: the owner's */

    /* Under the lock. */
    struct census_file files[CENSUS_FILES]; /* the served one first */
    struct census_generation results[CENSUS_FILES];
    bool is_wanted;
    bool may_save;
    uint64_t restored_ms;     /* when a profile was restored; 0: none was */
    uint64_t save_ms;         /* when the next save is due */
    uint64_t look_ms;         /* likewise the next look, if it is wanted */
    uint64_t last_save_ms;    /* not before then is the last one made */
    bool is_last_due;         /* the last save is to be made */
    _Atomic bool is_last;     /* it has begun, or is due; also read without the lock */
    _Atomic bool is_late;     /* the workers end, whether it has looked at them or not; likewise */
    _Atomic bool is_stopping; /* likewise */
    bool is_looked, is_saved; /* to be told to the loop */
    bool is_ended;
};

/* All signals are blocked in the thread. Callbacks and context are set by the caller before;
 * reload's callbacks and the board must stay until census_stop. 0 or -errno; the other functions do
 * nothing then. */
int census_start(struct census *census, uv_loop_t *loop, struct board *board,
                 const struct reload *reload);

/* What is served or about to be has changed. */
void census_update(struct census *census);

/* The next census_get is to know more. Costs nothing; for who is asked. */
void census_want(struct census *census);
/* What is known now. */
void census_get(struct census *census, struct census_view *ret);

/*
 * The start's warm-up has ended, or there is none: what is in memory may be saved.
 *
 * is_whole     it has done what it should: a stop may save at once, and a save that is due earlier
 *              than profile_interval_ms from now stays so, however often this is called. Else both
 *              have to wait for so long.
 * is_restored  it has brought in what is in the profile. Where only the workers' mappings tell what
 *              is in memory, that counts as well, for an hour: nobody has touched it yet.
 */
void census_allow(struct census *census, bool is_whole, bool is_restored);

/* Saves for the last time, if there is something to save. True: on_looked will be called when the
 * workers may end. False: they may at once. */
bool census_begin_last(struct census *census);
/* They end now. */
void census_too_late(struct census *census);

/* Ends the thread after the last save, and waits for that; false: not any longer. Then
 * the thread hangs, or looks at a file of TiB, and may use at any time what was lent to it: the
 * process has to end without freeing that. */
bool census_stop(struct census *census);
