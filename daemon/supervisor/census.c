/*
 * census: see census.h.
 *
 * The lock guards what both sides use; it is held for no longer than a copy of it takes. A job of
 * the thread works on descriptors of its own, so the loop may let go of a file meanwhile.
 */
#include "daemon/supervisor/census.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* An older result is made anew when somebody asks. */
#define FRESH_MS 1000
/* Which part of the time may be spent in looking. */
#define LOOK_PART 20
/* A save that was due and not possible (a warm-up runs) is tried again after that. */
#define RETRY_MS 1000
/* For so long what was restored counts as in memory, where nobody can tell. */
#define RESTORED_MS (3600 * (uint64_t)1000)
/* What census_stop waits for a disk that may hang; and for a look at a very large file, which goes
 * on, but not so long that people begin to wonder. */
#define STOP_MS      2000
#define STOP_MOST_MS 10000

enum job { JOB_LOOK, JOB_SAVE, JOB_LAST_SAVE, JOB_END };

static void on_news(uv_async_t *async)
{
    struct census *census = async->data;
    pthread_mutex_lock(&census->lock);
    bool is_looked = census->is_looked, is_saved = census->is_saved;
    census->is_looked = census->is_saved = false;
    pthread_mutex_unlock(&census->lock);
    if (is_saved)
        census->on_saved(census->context, census->board->head->profile.pages);
    if (is_looked)
        census->on_looked(census->context);
}

static void tell(struct census *census, bool *what)
{
    pthread_mutex_lock(&census->lock);
    *what = true;
    if (!census->is_stopping) /* else the handle is being closed */
        uv_async_send(&census->news);
    pthread_mutex_unlock(&census->lock);
}

static bool go_on_looking(void *context)
{
    const struct census *census = context;
    return !census->is_stopping && !census->is_last;
}

/* mincore needs no worker, so it may be late. */
static bool go_on_last(void *context)
{
    struct census *census = context;
    census->alive_ms = clock_ms();
    return true;
}

static bool go_on_last_mapped(void *context)
{
    const struct census *census = context;
    return go_on_last(context) && !census->is_late;
}

/* Under the lock. Is there something whose pages are worth to be kept? */
static bool is_worth(const struct census *census)
{
    const struct census_file *file = &census->files[0];
    const struct board_head *head = census->board->head;
    return census->saver.path && file->fd >= 0 && file->is_served && !head->is_damaged &&
           file->generation.hold == GENERATION_MAPPED && head->warmup.state != WARMUP_RUNNING;
}

/* What is to be done, as soon as it is. ret_files: owned by the caller. */
static enum job wait_for_job(struct census *census, struct census_file ret_files[CENSUS_FILES])
{
    enum job job = JOB_END;
    pthread_mutex_lock(&census->lock);
    while (!census->is_last_due && !census->is_stopping) {
        uint64_t never = UINT64_MAX, now = clock_ms();
        bool can_save = census->saver.path && census->may_save && !census->is_last;
        uint64_t save_ms = can_save ? census->save_ms : never;
        uint64_t look_ms = census->is_wanted ? census->look_ms : never;
        uint64_t at = save_ms < look_ms ? save_ms : look_ms;
        if (now >= save_ms && is_worth(census)) {
            job = JOB_SAVE;
            break;
        }
        if (now >= look_ms) {
            job = JOB_LOOK;
            break;
        }
        if (now >= save_ms)
            census->save_ms = now + RETRY_MS;
        struct timespec deadline = {.tv_sec = (time_t)(at / 1000),
                                    .tv_nsec = (long)(at % 1000) * 1000000};
        if (at == never)
            pthread_cond_wait(&census->wake, &census->lock);
        else
            pthread_cond_timedwait(&census->wake, &census->lock, &deadline);
    }
    if (census->is_last_due) {
        job = JOB_LAST_SAVE;
        census->is_last_due = false;
    }
    census->is_wanted = false;
    for (unsigned i = 0; i < CENSUS_FILES; i++) {
        ret_files[i] = census->files[i];
        ret_files[i].fd = -1;
        if (job != JOB_END && census->files[i].fd >= 0)
            ret_files[i].fd = fcntl(census->files[i].fd, F_DUPFD_CLOEXEC, 0);
    }
    pthread_mutex_unlock(&census->lock);
    return job;
}

static uint64_t region_bytes_of(uint64_t size_bytes)
{
    uint64_t bytes = ACT_PAGE_BYTES;
    while (bytes < size_bytes / CENSUS_REGIONS || bytes * CENSUS_REGIONS < size_bytes)
        bytes *= 2;
    return bytes;
}

static void count_regions(const struct act_pages *pages, struct census_generation *ret)
{
    uint64_t total = act_pages_total(pages);
    uint64_t region_pages = region_bytes_of(act_pages_size_bytes(pages)) / ACT_PAGE_BYTES;
    ret->n_regions = (unsigned)((total + region_pages - 1) / region_pages);
    for (unsigned i = 0; i < ret->n_regions; i++)
        ret->regions[i] = (uint32_t)act_pages_count_in(pages, i * region_pages, region_pages);
    ret->resident_bytes = act_pages_count(pages) * ACT_PAGE_BYTES;
    if (total > 0 && act_pages_has(pages, total - 1))
        ret->resident_bytes -= total * ACT_PAGE_BYTES - act_pages_size_bytes(pages);
}

/* The latest word on that file; source: RESIDENT_UNKNOWN, and pages NULL, too. */
static void publish(struct census *census, unsigned which, const struct census_file *file,
                    enum resident_source source, const struct act_pages *pages, uint64_t began_ms)
{
    struct census_generation result = {.number = file->generation.number,
                                       .source = source,
                                       .asked_ms = began_ms,
                                       .took_ms = clock_ms() - began_ms};
    if (source != RESIDENT_UNKNOWN)
        count_regions(pages, &result);
    pthread_mutex_lock(&census->lock);
    census->results[which] = result;
    pthread_mutex_unlock(&census->lock);
}

static unsigned take_pids(struct census *census)
{
    unsigned n = census->board->head->n_slots;
    for (unsigned i = 0; i < n; i++)
        census->pids[i] = census->board->slots[i].pid;
    return n;
}

/* ret_pages: owned by the caller; only where all that the source can tell is in it. 0,
 * RESIDENT_UNKNOWN's -ENODATA, or -errno. */
static int look_at(struct census *census, unsigned which, const struct census_file *file,
                   enum job job, enum resident_source *ret_source, struct act_pages **ret_pages)
{
    struct act_pages *pages;
    bool is_whole = false;
    uint64_t began_ms = clock_ms();
    struct resident_look look = {.generation = &file->generation,
                                 .fd = file->fd,
                                 .pids = census->pids,
                                 .n_pids = take_pids(census),
                                 .go_on = go_on_looking,
                                 .context = census};
    enum resident_source source = resident_source_of(&look), found = RESIDENT_UNKNOWN;
    if (job == JOB_LAST_SAVE) {
        look.go_on = source == RESIDENT_MINCORE ? go_on_last : go_on_last_mapped;
        if (source == RESIDENT_MINCORE)
            tell(census, &census->is_looked);
    }
    int r = act_pages_new(file->generation.size_bytes, &pages);
    if (r < 0)
        return r;
    r = resident_add(&look, source, pages, &found, &is_whole);
    census->looked_ms += clock_ms() - began_ms;
    if (r == 0)
        publish(census, which, file, found, pages, began_ms);
    else if (r != -ECANCELED)
        log_with(LOG_LEVEL_DEBUG, LOG_ERRNO(r), "cannot tell which pages are in memory: %s",
                 strerror(-r));
    if (r == 0 && !is_whole)
        r = -ENODATA;
    if (r < 0) {
        act_pages_free(pages);
        return r;
    }
    *ret_source = found;
    *ret_pages = pages;
    return 0;
}

static void look_at_all(struct census *census, const struct census_file files[CENSUS_FILES])
{
    for (unsigned i = 0; i < CENSUS_FILES && go_on_looking(census); i++) {
        enum resident_source source;
        struct act_pages *pages;
        if (files[i].fd >= 0 && look_at(census, i, &files[i], JOB_LOOK, &source, &pages) == 0)
            act_pages_free(pages);
    }
}

/* Is what was found still to be saved? Where workers were asked, they must have been there. */
static bool is_still_worth(struct census *census, const struct census_file *file, enum job job,
                           enum resident_source source)
{
    struct stat st;
    /* Nobody may have noticed yet that the file was cut off. Without the lock, which the loop
     * needs: a disk that hangs would hold it. */
    bool is_cut = fstat(file->fd, &st) < 0 || (uint64_t)st.st_size < file->generation.size_bytes;
    pthread_mutex_lock(&census->lock);
    bool is_late = job == JOB_LAST_SAVE && source == RESIDENT_PAGEMAP && census->is_late;
    bool is_same = census->files[0].generation.number == file->generation.number;
    /* At the stop it is the loop that has asked, before it ended the warm-up. */
    bool is_worthy = job == JOB_LAST_SAVE ? !census->board->head->is_damaged : is_worth(census);
    pthread_mutex_unlock(&census->lock);
    return !is_late && is_same && is_worthy && !is_cut;
}

/* Adds what the profile has, if it was restored lately. One that cannot be read, or is of another
 * file, has nothing to add. */
static void add_restored(struct census *census, const struct act_profile *about,
                         struct act_pages *pages)
{
    struct act_pages *before;
    uint64_t first, n, at = 0;
    pthread_mutex_lock(&census->lock);
    bool is_lately = census->restored_ms != 0 && clock_ms() - census->restored_ms < RESTORED_MS;
    pthread_mutex_unlock(&census->lock);
    if (!is_lately || act_profile_read(census->saver.path, about, NULL, &before, NULL) != 0)
        return;
    for (; act_pages_next(before, at, &first, &n); at = first + n)
        act_pages_add(pages, first, n);
    act_pages_free(before);
}

static void save(struct census *census, const struct census_file *file, enum job job)
{
    enum resident_source source;
    struct act_pages *pages = NULL;
    struct board_profile *told = &census->board->own_head->profile;
    const struct generation *generation = &file->generation;
    int r = file->fd < 0 ? -EBADF : look_at(census, 0, file, job, &source, &pages);
    if (job == JOB_LAST_SAVE)
        tell(census, &census->is_looked);
    if (r < 0 || !is_still_worth(census, file, job, source)) {
        act_pages_free(pages);
        return;
    }
    struct act_profile about = {.identity = generation->identity,
                                .size_bytes = generation->size_bytes,
                                .root_offset = generation->root_offset,
                                .source = resident_pages_source(source),
                                .saved_s = (uint64_t)time(NULL)};
    if (source == RESIDENT_PAGEMAP)
        add_restored(census, &about, pages);
    if (saver_write(&census->saver, &about, pages) == 0) {
        told->pages = act_pages_count(pages);
        told->saved_ms = clock_ms();
        told->n_saves++;
        tell(census, &census->is_saved);
    } else {
        told->n_failures++;
    }
    act_pages_free(pages);
}

/* When it may look again. What the disk took to save is no time of others. */
static void plan(struct census *census, enum job job, uint64_t began_ms)
{
    uint64_t now = clock_ms(), rest_ms = census->looked_ms * (LOOK_PART - 1);
    census->looked_ms = 0;
    uint64_t look_ms = began_ms + FRESH_MS, save_ms = now + census->save_interval_ms;
    pthread_mutex_lock(&census->lock);
    census->look_ms = look_ms > now + rest_ms ? look_ms : now + rest_ms;
    if (job == JOB_SAVE)
        census->save_ms = save_ms > now + rest_ms ? save_ms : now + rest_ms;
    pthread_mutex_unlock(&census->lock);
}

static void *run(void *context)
{
    struct census *census = context;
    struct census_file files[CENSUS_FILES];
    enum job job;
    if (census->saver.path)
        saver_check(&census->saver);
    while ((job = wait_for_job(census, files)) != JOB_END) {
        uint64_t began_ms = clock_ms();
        if (job == JOB_LOOK)
            look_at_all(census, files);
        else
            save(census, &files[0], job);
        plan(census, job, began_ms);
        for (unsigned i = 0; i < CENSUS_FILES; i++)
            fd_closep(&files[i].fd);
    }
    pthread_mutex_lock(&census->lock);
    census->is_ended = true;
    pthread_cond_signal(&census->ended);
    pthread_mutex_unlock(&census->lock);
    return NULL;
}

static int start_thread(struct census *census)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int r = pthread_create(&census->thread, NULL, run, census);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -r;
}

static void init_lock(struct census *census)
{
    pthread_condattr_t attributes;
    pthread_mutex_init(&census->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC); /* clock_ms's */
    pthread_cond_init(&census->wake, &attributes);
    pthread_cond_init(&census->ended, &attributes);
    pthread_condattr_destroy(&attributes);
}

static void deinit_lock(struct census *census)
{
    pthread_cond_destroy(&census->ended);
    pthread_cond_destroy(&census->wake);
    pthread_mutex_destroy(&census->lock);
}

int census_start(struct census *census, uv_loop_t *loop, struct board *board,
                 const struct reload *reload)
{
    census->board = board;
    census->reload = reload;
    census->saver.path = board->config->warmup_profile;
    census->save_interval_ms = board->config->warmup_profile_interval_ms;
    for (unsigned i = 0; i < CENSUS_FILES; i++)
        census->files[i].fd = -1;
    census->pids = calloc(board->head->n_slots, sizeof *census->pids);
    if (!census->pids)
        return -ENOMEM;
    int r = uv_async_init(loop, &census->news, on_news);
    if (r < 0) {
        free(census->pids);
        return r;
    }
    census->news.data = census;
    init_lock(census);
    r = start_thread(census);
    if (r < 0) {
        uv_close((uv_handle_t *)&census->news, NULL);
        deinit_lock(census);
        free(census->pids);
        return r;
    }
    census->is_running = true;
    return 0;
}

/* Under the lock. */
static void set_file(struct census_file *file, const struct held *held, bool is_served)
{
    file->is_served = is_served;
    if (held->fd >= 0 && file->generation.number == held->generation.number && file->fd >= 0)
        return;
    fd_closep(&file->fd);
    file->generation = held->generation;
    if (held->fd >= 0)
        file->fd = fcntl(held->fd, F_DUPFD_CLOEXEC, 0);
}

void census_update(struct census *census)
{
    if (!census->is_running)
        return;
    pthread_mutex_lock(&census->lock);
    set_file(&census->files[0], &census->reload->current, true);
    set_file(&census->files[1], &census->reload->candidate, false);
    pthread_mutex_unlock(&census->lock);
}

void census_want(struct census *census)
{
    if (!census->is_running)
        return;
    census_update(census);
    pthread_mutex_lock(&census->lock);
    census->is_wanted = true;
    pthread_cond_signal(&census->wake);
    pthread_mutex_unlock(&census->lock);
}

void census_get(struct census *census, struct census_view *ret)
{
    ret->n = 0;
    if (!census->is_running)
        return;
    census_update(census);
    pthread_mutex_lock(&census->lock);
    for (unsigned i = 0; i < CENSUS_FILES; i++) {
        const struct census_file *file = &census->files[i];
        struct census_generation *to = &ret->generations[ret->n];
        if (file->fd < 0)
            continue;
        *to = (struct census_generation){0};
        /* A candidate's may have been made before it was served. */
        for (unsigned from = 0; from < CENSUS_FILES; from++)
            if (census->results[from].number == file->generation.number &&
                census->results[from].asked_ms > to->asked_ms)
                *to = census->results[from];
        to->number = file->generation.number;
        to->identity = file->generation.identity;
        to->size_bytes = file->generation.size_bytes;
        to->region_bytes = region_bytes_of(to->size_bytes);
        to->is_served = file->is_served;
        ret->n++;
    }
    pthread_mutex_unlock(&census->lock);
}

void census_allow(struct census *census, bool is_whole, bool is_restored)
{
    if (!census->is_running || !census->saver.path)
        return;
    census_update(census);
    pthread_mutex_lock(&census->lock);
    const struct generation *generation = &census->files[0].generation;
    if (generation->hold != GENERATION_MAPPED)
        log_info("generation %" PRIu64 " is a copy in memory, so no profile of it is saved",
                 generation->number);
    uint64_t now = clock_ms();
    if (!census->may_save || !is_whole)
        census->save_ms = now + census->save_interval_ms;
    census->may_save = true;
    census->restored_ms = is_restored ? now : 0;
    census->last_save_ms = is_whole ? 0 : census->save_ms;
    pthread_cond_signal(&census->wake);
    pthread_mutex_unlock(&census->lock);
}

bool census_begin_last(struct census *census)
{
    if (!census->is_running)
        return false;
    census_update(census);
    pthread_mutex_lock(&census->lock);
    bool is_due = census->may_save && clock_ms() >= census->last_save_ms && is_worth(census);
    census->is_last = true;
    census->is_last_due = is_due;
    pthread_cond_signal(&census->wake);
    pthread_mutex_unlock(&census->lock);
    return is_due;
}

void census_too_late(struct census *census)
{
    census->is_late = true;
}

/* Under the lock, until the thread has ended, or there is no sign of life. */
static bool wait_for_end(struct census *census)
{
    uint64_t began_ms = clock_ms(), at = began_ms + STOP_MS;
    for (uint64_t now = began_ms; !census->is_ended && now < at; now = clock_ms()) {
        struct timespec deadline = {.tv_sec = (time_t)(at / 1000),
                                    .tv_nsec = (long)(at % 1000) * 1000000};
        pthread_cond_timedwait(&census->ended, &census->lock, &deadline);
        uint64_t alive_ms = census->alive_ms;
        if (alive_ms + STOP_MS > at)
            at = alive_ms + STOP_MS;
        if (at > began_ms + STOP_MOST_MS)
            at = began_ms + STOP_MOST_MS;
    }
    return census->is_ended;
}

bool census_stop(struct census *census)
{
    if (!census->is_running)
        return true;
    census->is_running = false;
    pthread_mutex_lock(&census->lock);
    census->is_stopping = true;
    pthread_cond_signal(&census->wake);
    bool is_ended = wait_for_end(census);
    pthread_mutex_unlock(&census->lock);
    uv_close((uv_handle_t *)&census->news, NULL);
    if (!is_ended) {
        log_warning("%s: it is not done in time: not waiting for it",
                    census->saver.path ? census->saver.path : "looking at what is in memory");
        return false;
    }
    pthread_join(census->thread, NULL);
    for (unsigned i = 0; i < CENSUS_FILES; i++)
        fd_closep(&census->files[i].fd);
    free(census->pids);
    deinit_lock(census);
    return true;
}
