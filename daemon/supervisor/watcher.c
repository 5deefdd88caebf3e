/*
 * watcher: see watcher.h.
 *
 * The thread owns what it has seen; what both sides touch is in struct watch, under its mutex. The
 * last one of the two to leave frees it.
 */
#include "daemon/supervisor/watcher.h"

#include "base/clock.h"
#include "base/fd.h"
#include "daemon/supervisor/trail.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

/* Between two looks, where nothing is heard. */
#define LOOK_MS 500
/* At least, however much is heard: a directory may be busy. */
#define PAUSE_MS 20

/* Until a state that could not be tried is told again: doubled with each time. */
#define AGAIN_MIN_MS 1000
#define AGAIN_MAX_MS 60000

/* How long watcher_stop waits for a thread that is in a system call. */
#define STOP_MS 500

/* What lies at the path; all zeros: nothing. */
struct state {
    dev_t device;
    ino_t inode;
    uint64_t size_bytes;
    struct timespec mtime, ctime;
};

struct watch {
    char *path; /* owned */
    uint64_t settle_ms;
    int wake; /* owned; eventfd: look at the fields below */
    pthread_t thread;

    pthread_mutex_t mutex;
    pthread_cond_t ended;
    uv_async_t *changed; /* borrowed; NULL: watcher_stop has been called */
    bool is_enabled, is_ended;
    bool is_spoilt; /* ctime counts */
    bool is_orphan; /* the thread frees all of it */
    bool is_fresh;  /* enabled since the thread looked last: what it saw before is old */
    bool is_told;   /* the state that the thread sees was told */
    bool is_due;    /* on_change is to be called, for due */
    struct state due;
    struct state tried;
    uint64_t again_ms;      /* clock_ms: when it is told again; 0: not before it changes */
    uint64_t again_wait_ms; /* that was waited for this the last time; 0: not yet */
};

/* The thread's own. */
struct look {
    struct state seen;
    uint64_t since_ms; /* that it was seen first, clock_ms */
    struct trail trail;
};

static bool is_same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

/* but for ctime */
static bool is_same(const struct state *a, const struct state *b)
{
    return a->device == b->device && a->inode == b->inode && a->size_bytes == b->size_bytes &&
           is_same_time(a->mtime, b->mtime);
}

static struct state state_of(const char *path)
{
    struct stat st;
    struct state state = {0};
    if (stat(path, &st) < 0)
        return state;
    state.device = st.st_dev;
    state.inode = st.st_ino;
    state.size_bytes = (uint64_t)st.st_size;
    state.mtime = st.st_mtim;
    state.ctime = st.st_ctim;
    return state;
}

static void watch_free(struct watch *watch)
{
    pthread_mutex_destroy(&watch->mutex);
    pthread_cond_destroy(&watch->ended);
    fd_closep(&watch->wake);
    free(watch->path);
    free(watch);
}

static struct watch *watch_new(const char *path, uint64_t settle_ms, uv_async_t *changed)
{
    struct watch *watch = calloc(1, sizeof *watch);
    if (!watch)
        return NULL;
    pthread_mutex_init(&watch->mutex, NULL);
    pthread_cond_init(&watch->ended, NULL);
    watch->path = strdup(path);
    watch->settle_ms = settle_ms;
    watch->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    watch->changed = changed;
    if (watch->path && watch->wake >= 0)
        return watch;
    watch_free(watch);
    return NULL;
}

static void wake(struct watch *watch)
{
    uint64_t one = 1;
    (void)!write(watch->wake, &one, sizeof one);
}

static bool is_unchanged(const struct watch *watch, const struct state *a, const struct state *b)
{
    return is_same(a, b) && (!watch->is_spoilt || is_same_time(a->ctime, b->ctime));
}

/* With the mutex. In how many milliseconds there is something to do, if nothing is heard. */
static uint64_t judge(struct watch *watch, struct look *look, const struct state *state,
                      uint64_t now)
{
    if (watch->is_fresh || !is_unchanged(watch, state, &look->seen)) {
        look->seen = *state;
        look->since_ms = now;
        watch->is_fresh = watch->is_told = false;
        watch->again_ms = watch->again_wait_ms = 0;
    }
    if (watch->again_ms != 0 && now >= watch->again_ms) {
        watch->again_ms = 0;
        watch->is_told = false;
    }
    if (watch->is_told || state->inode == 0 || is_unchanged(watch, state, &watch->tried))
        return LOOK_MS;
    uint64_t rested = now - look->since_ms;
    if (rested < watch->settle_ms) {
        uint64_t left = watch->settle_ms - rested;
        return left < LOOK_MS ? left : LOOK_MS;
    }
    watch->is_told = watch->is_due = true;
    watch->due = *state;
    uv_async_send(watch->changed);
    return LOOK_MS;
}

/* Until something is heard, at most so long (-1: for ever). */
static void wait(struct watch *watch, struct look *look, int ms)
{
    uint64_t n;
    struct pollfd fds[2] = {{.fd = watch->wake, .events = POLLIN},
                            {.fd = look->trail.fd, .events = POLLIN}};
    if (poll(fds, 2, ms) > 0 && fds[0].revents == 0) {
        (void)poll(fds, 1, PAUSE_MS);
        trail_drain(&look->trail);
    }
    (void)!read(watch->wake, &n, sizeof n);
}

/* With the mutex, which is free meanwhile. */
static void look_once(struct watch *watch, struct look *look)
{
    bool is_enabled = watch->is_enabled;
    uint64_t ms = 0;
    pthread_mutex_unlock(&watch->mutex);
    if (!is_enabled) {
        trail_close(&look->trail);
        wait(watch, look, -1);
        pthread_mutex_lock(&watch->mutex);
        return;
    }
    if (look->trail.fd < 0)
        trail_open(&look->trail);
    /* In this order: what happens behind it is heard. */
    trail_follow(&look->trail, watch->path);
    struct state state = state_of(watch->path);
    pthread_mutex_lock(&watch->mutex);
    if (watch->is_enabled && watch->changed)
        ms = judge(watch, look, &state, clock_ms());
    pthread_mutex_unlock(&watch->mutex);
    wait(watch, look, (int)ms);
    pthread_mutex_lock(&watch->mutex);
}

static void *run(void *context)
{
    struct watch *watch = context;
    struct look look = {.trail.fd = -1};
    pthread_mutex_lock(&watch->mutex);
    while (watch->changed)
        look_once(watch, &look);
    trail_close(&look.trail);
    watch->is_ended = true;
    bool is_orphan = watch->is_orphan;
    pthread_cond_signal(&watch->ended);
    pthread_mutex_unlock(&watch->mutex);
    if (is_orphan)
        watch_free(watch);
    return NULL;
}

static void on_async(uv_async_t *async)
{
    struct watcher *watcher = async->data;
    struct watch *watch = watcher->watch;
    if (!watch)
        return;
    pthread_mutex_lock(&watch->mutex);
    bool is_due = watch->is_due;
    watch->is_due = false;
    pthread_mutex_unlock(&watch->mutex);
    if (is_due)
        watcher->on_change(watcher->context);
}

static int start_thread(struct watch *watch)
{
    sigset_t all, before;
    /* Signals are the loop's. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int r = pthread_create(&watch->thread, NULL, run, watch);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -r;
}

int watcher_start(struct watcher *watcher, uv_loop_t *loop, const char *path, uint64_t settle_ms,
                  void (*on_change)(void *context), void *context)
{
    *watcher = (struct watcher){.on_change = on_change, .context = context};
    struct watch *watch = watch_new(path, settle_ms, &watcher->changed);
    if (!watch)
        return -ENOMEM;
    int r = uv_async_init(loop, &watcher->changed, on_async);
    if (r < 0) {
        watch_free(watch);
        return r;
    }
    watcher->changed.data = watcher;
    r = start_thread(watch);
    if (r != 0) {
        uv_close((uv_handle_t *)&watcher->changed, NULL);
        watch_free(watch);
        return r;
    }
    watcher->watch = watch;
    return 0;
}

void watcher_enable(struct watcher *watcher, bool is_enabled)
{
    struct watch *watch = watcher->watch;
    pthread_mutex_lock(&watch->mutex);
    if (is_enabled && !watch->is_enabled)
        watch->is_fresh = true;
    if (!is_enabled)
        watch->is_due = false;
    watch->is_enabled = is_enabled;
    pthread_mutex_unlock(&watch->mutex);
    wake(watch);
}

void watcher_tried(struct watcher *watcher, const struct generation *generation)
{
    struct watch *watch = watcher->watch;
    struct state tried = {0};
    if (generation->inode != 0) {
        tried.device = generation->device;
        tried.inode = generation->inode;
        tried.size_bytes = generation->size_bytes;
        tried.mtime = generation->mtime;
        tried.ctime = generation->ctime;
    }
    pthread_mutex_lock(&watch->mutex);
    /* Of a file system that tells an open file's time otherwise than its path's, one time more. */
    if (!is_same(&watch->tried, &tried))
        watch->is_told = false;
    watch->tried = tried;
    watch->is_spoilt = false;
    if (is_same(&watch->due, &tried))
        watch->is_due = false;
    pthread_mutex_unlock(&watch->mutex);
}

void watcher_spoilt(struct watcher *watcher)
{
    struct watch *watch = watcher->watch;
    pthread_mutex_lock(&watch->mutex);
    watch->is_spoilt = true;
    pthread_mutex_unlock(&watch->mutex);
    wake(watch);
}

void watcher_again(struct watcher *watcher)
{
    struct watch *watch = watcher->watch;
    pthread_mutex_lock(&watch->mutex);
    uint64_t wait_ms = 2 * watch->again_wait_ms;
    wait_ms = wait_ms < AGAIN_MIN_MS ? AGAIN_MIN_MS : wait_ms;
    watch->again_wait_ms = wait_ms < AGAIN_MAX_MS ? wait_ms : AGAIN_MAX_MS;
    watch->again_ms = clock_ms() + watch->again_wait_ms;
    watch->tried = (struct state){0};
    watch->is_told = true;
    pthread_mutex_unlock(&watch->mutex);
}

void watcher_stop(struct watcher *watcher)
{
    struct watch *watch = watcher->watch;
    struct timespec until;
    int r = 0;
    if (!watch)
        return;
    watcher->watch = NULL;
    pthread_t thread = watch->thread;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += STOP_MS * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_mutex_lock(&watch->mutex);
    watch->changed = NULL;
    wake(watch);
    while (!watch->is_ended && r == 0)
        r = pthread_cond_clockwait(&watch->ended, &watch->mutex, CLOCK_MONOTONIC, &until);
    watch->is_orphan = !watch->is_ended;
    bool is_orphan = watch->is_orphan;
    pthread_mutex_unlock(&watch->mutex);
    if (is_orphan) {
        pthread_detach(thread);
    } else {
        pthread_join(thread, NULL);
        watch_free(watch);
    }
    uv_close((uv_handle_t *)&watcher->changed, NULL);
}
