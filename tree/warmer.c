/*
 * warmer: see warmer.h.
 */
#include "tree/warmer.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define NS_IN_A_SECOND  1000000000
#define NS_IN_A_MS      1000000
#define PROGRESS_NS     (100 * NS_IN_A_MS)
#define WAIT_MS         100 /* at once: a stop is seen soon */
#define BLOCK_BYTES     ((size_t)1024 * 1024)
#define FIRST_STEP      ((size_t)16 * 1024) /* a slow disk is not known yet */
#define STEP_SLOW_NS    (50 * NS_IN_A_MS)   /* from here on a step is too large */
#define STEP_FAST_NS    (10 * NS_IN_A_MS)   /* below it is smaller than need be */
#define AHEAD_NS        (250 * NS_IN_A_MS)
#define AHEAD_RECKON_NS (20 * NS_IN_A_MS)
#define AHEAD_RUNS      256
/* Of one WILLNEED the kernel reads no more than the device's read-ahead or its largest request,
 * whichever is more; the rest is dropped without a word. This is what Linux has by default. */
#define ASK_BYTES ((uint64_t)128 * 1024)

int warmer_init(struct warmer *warmer, int fd, uint64_t size_bytes,
                const struct act_warm_options *options)
{
    *warmer = (struct warmer){
        .fd = fd,
        .options = options,
        .size = size_bytes,
        .paid_ns = clock_ns(),
        .step = FIRST_STEP,
        .ahead_pages = WARMER_AHEAD_MIN,
    };
    warmer->block = malloc(BLOCK_BYTES);
    return warmer->block ? 0 : -ENOMEM;
}

void warmer_deinit(struct warmer *warmer)
{
    free(warmer->block);
}

int warmer_tell(struct warmer *warmer, bool always)
{
    const struct act_warm_options *options = warmer->options;
    if (!options->on_progress)
        return 0;
    uint64_t now = clock_ns();
    if (!always && now - warmer->told_ns < PROGRESS_NS)
        return 0;
    warmer->told_ns = now;
    return options->on_progress(options->context, &warmer->progress) ? 0 : -ECANCELED;
}

static int wait_ms(struct warmer *warmer, unsigned ms)
{
    const struct act_warm_options *options = warmer->options;
    if (options->on_wait)
        return options->on_wait(options->context, ms) ? 0 : -ECANCELED;
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * NS_IN_A_MS};
    (void)nanosleep(&t, NULL); /* a signal: the clock tells how long it was */
    return 0;
}

/* Time that has passed pays; what is left of it for later is 100 ms at most, so that a disk that
 * was slow for a while is no reason for a burst. */
static void pay(struct warmer *warmer, uint64_t ns)
{
    int64_t credit = -(int64_t)WAIT_MS * NS_IN_A_MS;
    warmer->debt_ns -= ns > INT64_MAX / 4 ? INT64_MAX / 4 : (int64_t)ns;
    if (warmer->debt_ns < credit)
        warmer->debt_ns = credit;
}

static void pay_until_now(struct warmer *warmer)
{
    uint64_t now = clock_ns();
    pay(warmer, now - warmer->paid_ns);
    warmer->paid_ns = now;
}

/* Waits until what was spent is paid. A wait counts as long as was asked for, or longer where the
 * clock says so. 0 or -ECANCELED. */
static int settle(struct warmer *warmer)
{
    if (warmer->options->rate_bytes_per_s == 0)
        return 0;
    pay_until_now(warmer);
    while (warmer->debt_ns > 0) {
        int64_t left_ms = (warmer->debt_ns + NS_IN_A_MS - 1) / NS_IN_A_MS;
        unsigned ms = left_ms < WAIT_MS ? (unsigned)left_ms : WAIT_MS;
        uint64_t asked_ns = (uint64_t)ms * NS_IN_A_MS;
        int r = wait_ms(warmer, ms);
        uint64_t passed_ns = clock_ns() - warmer->paid_ns;
        pay(warmer, passed_ns > asked_ns || !warmer->options->on_wait ? passed_ns : asked_ns);
        warmer->paid_ns += passed_ns;
        if (r == 0)
            r = warmer_tell(warmer, false);
        if (r != 0)
            return r;
    }
    return 0;
}

static bool is_in_debt(struct warmer *warmer)
{
    if (warmer->options->rate_bytes_per_s == 0)
        return false;
    pay_until_now(warmer);
    return warmer->debt_ns > 0;
}

static void spend(struct warmer *warmer, uint64_t bytes)
{
    uint64_t rate = warmer->options->rate_bytes_per_s;
    if (rate == 0)
        return;
    /* Bytes are a block at most; a page at a byte a second is an hour. */
    warmer->debt_ns += (int64_t)(bytes * NS_IN_A_SECOND / rate);
}

/* No more than `bytes` at once: nor more than what the rate allows in 100 ms. Whole pages. */
static uint64_t bounded(const struct warmer *warmer, uint64_t bytes)
{
    uint64_t rate = warmer->options->rate_bytes_per_s;
    uint64_t most = rate == 0 ? bytes : rate / (1000 / WAIT_MS);
    uint64_t n = (bytes < most ? bytes : most) / ACT_PAGE_BYTES * ACT_PAGE_BYTES;
    return n > 0 ? n : ACT_PAGE_BYTES;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void adapt(struct warmer *warmer, uint64_t ns, uint64_t bytes)
{
    if (ns > STEP_SLOW_NS && warmer->step > ACT_PAGE_BYTES)
        warmer->step /= 2;
    else if (ns < STEP_FAST_NS && bytes == warmer->step && warmer->step < BLOCK_BYTES)
        warmer->step *= 2;
    warmer->read_bytes += bytes;
    warmer->read_ns += ns;
    if (warmer->read_ns < AHEAD_RECKON_NS && warmer->read_bytes < BLOCK_BYTES)
        return;
    /* The queue was deep enough to measure with, or it grows until it is. */
    uint64_t pages = warmer->read_bytes * AHEAD_NS / (warmer->read_ns + 1) / ACT_PAGE_BYTES;
    warmer->ahead_pages =
        pages < WARMER_AHEAD_MIN ? WARMER_AHEAD_MIN : least(pages, WARMER_AHEAD_MAX);
    warmer->read_bytes = warmer->read_ns = 0;
}

/* Has the kernel begin to read len bytes. Where its queue is full that takes as long as the disk.
 */
static void ask(struct warmer *warmer, uint64_t offset, uint64_t len)
{
    uint64_t began = clock_ns();
    (void)posix_fadvise(warmer->fd, (off_t)offset, (off_t)len, POSIX_FADV_WILLNEED);
    uint64_t ns = clock_ns() - began;
    warmer->read_ns += ns;
    if (ns > STEP_SLOW_NS && warmer->step > ACT_PAGE_BYTES)
        warmer->step /= 2;
}

static uint64_t ask_bytes(const struct warmer *warmer)
{
    return bounded(warmer, least(warmer->step, ASK_BYTES));
}

/* Reads one piece of len bytes at most, a block at most. 0, WARMER_END, -ECANCELED, -errno. */
static int read_piece(struct warmer *warmer, uint64_t offset, size_t len, size_t *ret_n)
{
    uint64_t began = clock_ns();
    ssize_t n;
    while ((n = pread(warmer->fd, warmer->block, len, (off_t)offset)) < 0 && errno == EINTR)
        if (warmer_tell(warmer, true) != 0)
            return -ECANCELED;
    if (n < 0)
        return -errno;
    if (n == 0)
        return WARMER_END;
    adapt(warmer, clock_ns() - began, (uint64_t)n);
    warmer->progress.done_bytes += (uint64_t)n;
    *ret_n = (size_t)n;
    return warmer_tell(warmer, false);
}

int warmer_ask_all(struct warmer *warmer, uint64_t end)
{
    int r = 0;
    uint64_t n;
    (void)posix_fadvise(warmer->fd, 0, 0, POSIX_FADV_NORMAL);
    for (uint64_t at = 0; at < end && r == 0; at += n) {
        n = least(ask_bytes(warmer), end - at);
        r = settle(warmer);
        if (r != 0)
            return r;
        spend(warmer, n);
        ask(warmer, at, n);
        warmer->progress.done_bytes += n;
        r = warmer_tell(warmer, false);
    }
    return r;
}

int warmer_stream(struct warmer *warmer, uint64_t end)
{
    int r = 0;
    size_t n = 0;
    (void)posix_fadvise(warmer->fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    for (uint64_t at = 0; at < end && r == 0; at += n) {
        uint64_t len = least(bounded(warmer, warmer->step), end - at);
        r = settle(warmer);
        if (r == 0)
            r = read_piece(warmer, at, len, &n);
        if (r == 0)
            spend(warmer, n);
    }
    return r;
}

/* A place in a sequence of runs, in pages. */
struct place {
    warmer_next *next;
    void *source;
    uint64_t at, end; /* of the run it is in; equal: at its end */
    uint64_t left;    /* pages that it may still pass */
    uint64_t n_runs;  /* that it has begun */
};

static bool place_has_more(struct place *place)
{
    uint64_t first, n;
    if (place->left == 0)
        return false;
    if (place->at < place->end)
        return true;
    if (!place->next(place->source, place->end, &first, &n)) {
        place->left = 0;
        return false;
    }
    place->at = first;
    place->end = first + n;
    place->n_runs++;
    return true;
}

/* Pages from place->at on, that it goes behind. */
static uint64_t place_take(struct place *place, uint64_t most)
{
    uint64_t n = least(least(place->end - place->at, place->left), most);
    place->at += n;
    place->left -= n;
    return n;
}

/* Asks for what comes next, as far ahead as it may be. 0 or -ECANCELED. */
static int ask_ahead(struct warmer *warmer, struct place *asked, const struct place *read)
{
    while (asked->left + warmer->ahead_pages > read->left &&
           asked->n_runs < read->n_runs + AHEAD_RUNS && place_has_more(asked)) {
        bool is_behind = asked->left == read->left;
        if (!is_behind && is_in_debt(warmer))
            return 0; /* there is something to be read meanwhile */
        int r = settle(warmer);
        if (r != 0)
            return r;
        uint64_t at = asked->at;
        uint64_t n = place_take(asked, ask_bytes(warmer) / ACT_PAGE_BYTES);
        spend(warmer, n * ACT_PAGE_BYTES);
        ask(warmer, at * ACT_PAGE_BYTES, n * ACT_PAGE_BYTES);
        r = warmer_tell(warmer, false);
        if (r != 0)
            return r;
    }
    return 0;
}

/* The pages from first on, all of them. */
static int read_pages(struct warmer *warmer, uint64_t first, uint64_t n)
{
    uint64_t at = first * ACT_PAGE_BYTES, end = least((first + n) * ACT_PAGE_BYTES, warmer->size);
    size_t done;
    while (at < end) {
        int r = read_piece(warmer, at, least(warmer->step, end - at), &done);
        if (r != 0)
            return r;
        at += done;
    }
    return 0;
}

int warmer_read_runs(struct warmer *warmer, warmer_next *next, void *source, uint64_t max_pages)
{
    struct place asked = {.next = next, .source = source, .left = max_pages};
    struct place read = asked;
    int r = 0;
    /* What is read is what was asked for, and no more. */
    (void)posix_fadvise(warmer->fd, 0, 0, POSIX_FADV_RANDOM);
    while (r == 0 && place_has_more(&read)) {
        r = ask_ahead(warmer, &asked, &read);
        if (r != 0)
            break;
        uint64_t first = read.at;
        r = read_pages(
            warmer, first,
            place_take(&read, least(read.left - asked.left, warmer->step / ACT_PAGE_BYTES)));
    }
    return r;
}
