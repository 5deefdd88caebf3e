/*
 * warm: what is read, page by page, how fast, and what the kernel then has in memory.
 *
 * What act_warm promises is held against its reads, and the kernel is asked whether it sees it so,
 * too. It may take pages back at any time: what it says is tried some times.
 */
#include "randomkeys.h"
#include "unit.h"
#include "warmtest.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#define TRIES 20

static uint64_t n_both(const struct act_pages *a, const struct act_pages *b)
{
    uint64_t n = 0;
    for (uint64_t i = 0; i < act_pages_total(a); i++)
        n += act_pages_has(a, i) && act_pages_has(b, i);
    return n;
}

#define FILE_BYTES (8 * 1024 * 1024 + 123)
#define FILE_PAGES (FILE_BYTES / ACT_PAGE_BYTES + 1)

static void all_of_it_is_read_once(void **state)
{
    struct act_warm_options options = {.mode = ACT_WARM_READ};
    struct act_warm_progress progress;
    struct warmtest_file file = warmtest_random(FILE_BYTES);
    uint64_t n = 0;
    (void)state;
    for (unsigned i = 0; i < TRIES && n < FILE_PAGES; i++) {
        warmtest_drop(&file);
        assert_int_equal(warmtest_run(&file, NULL, &options, &progress), 0);
        n = warmtest_n_resident(&file);
        for (uint64_t page = 0; page < FILE_PAGES; page++)
            assert_int_equal(reads.n_read[page], 1);
        assert_int_equal(progress.done_bytes, FILE_BYTES);
        assert_int_equal(progress.total_bytes, FILE_BYTES);
    }
    assert_int_equal(n, FILE_PAGES);
    warmtest_end(&file);
}

static void all_of_it_is_asked_for(void **state)
{
    struct act_warm_options options = {.mode = ACT_WARM_WILLNEED};
    struct act_warm_progress progress;
    struct warmtest_file file = warmtest_random(FILE_BYTES);
    uint64_t n = 0, deadline = clock_ms() + 60000;
    (void)state;
    warmtest_drop(&file);
    assert_int_equal(warmtest_run(&file, NULL, &options, &progress), 0);
    for (uint64_t page = 0; page < FILE_PAGES; page++)
        assert_true(reads.n_asked[page] == 1 && reads.n_read[page] == 0);
    assert_int_equal(progress.done_bytes, FILE_BYTES);
    while (n < FILE_PAGES && clock_ms() < deadline) {
        uint64_t before = n;
        n = warmtest_n_resident(&file);
        if (n <= before) /* the kernel has taken some back */
            assert_int_equal(warmtest_run(&file, NULL, &options, &progress), 0);
    }
    assert_int_equal(n, FILE_PAGES);
    warmtest_end(&file);
}

/* With a limit the first pages of the file are there, and no other one. */
static void a_limit_is_kept(void **state)
{
    static const uint64_t limits[][2] = {
        {1, 0},
        {PAGE - 1, 0},
        {PAGE, 1},
        {PAGE + 1, 1},
        {10 * PAGE, 10},
        {FILE_BYTES / 2, FILE_PAGES / 2},
        {FILE_BYTES - 1, FILE_PAGES - 1},
        {FILE_BYTES, FILE_PAGES},
        {UINT64_MAX, FILE_PAGES},
    };
    static const enum act_warm_mode modes[] = {ACT_WARM_WILLNEED, ACT_WARM_READ};
    struct warmtest_file file = warmtest_random(FILE_BYTES);
    (void)state;
    for (size_t i = 0; i < N_ELEMENTS(limits) * N_ELEMENTS(modes); i++) {
        const uint64_t *limit = limits[i / N_ELEMENTS(modes)];
        struct act_warm_options options = {.mode = modes[i % N_ELEMENTS(modes)],
                                           .max_bytes = limit[0]};
        struct act_warm_progress progress;
        warmtest_drop(&file);
        assert_int_equal(warmtest_run(&file, NULL, &options, &progress), 0);
        assert_int_equal(progress.done_bytes, progress.total_bytes);
        assert_int_equal((progress.total_bytes + PAGE - 1) / PAGE, limit[1]);
        assert_int_equal(reads_pages(options.mode == ACT_WARM_READ ? reads.n_read : reads.n_asked),
                         limit[1]);
        struct act_pages *pages = warmtest_resident(&file);
        assert_int_equal(act_pages_count_in(pages, limit[1], UINT64_MAX), 0);
        act_pages_free(pages);
    }
    warmtest_end(&file);
}

/* Runs of 1 to max pages, with gaps of 1 to max between them. */
static struct act_pages *random_set(struct random *random, uint64_t size, unsigned max)
{
    struct act_pages *pages;
    assert_int_equal(act_pages_new(size, &pages), 0);
    for (uint64_t at = random_below(random, max); at < act_pages_total(pages);) {
        uint64_t n = 1 + random_below(random, max);
        act_pages_add(pages, at, n);
        at += n + 1 + random_below(random, max);
    }
    return pages;
}

/* Each page of the set once, and no other one: not by us, and not by the kernel. */
static void check_set(const struct warmtest_file *file, const struct act_pages *set,
                      uint64_t max_pages)
{
    struct act_warm_options options = {
        .mode = ACT_WARM_PAGES, .pages = set, .max_bytes = max_pages * PAGE};
    struct act_warm_progress progress;
    uint64_t n = act_pages_count(set), found = 0;
    if (max_pages > 0 && n > max_pages)
        n = max_pages;
    for (unsigned i = 0; i < TRIES && found < n; i++) {
        warmtest_drop(file);
        assert_int_equal(warmtest_run(file, NULL, &options, &progress), 0);
        struct act_pages *pages = warmtest_resident(file);
        found = n_both(set, pages);
        assert_true(act_pages_count(pages) <= n); /* and so it is nothing else */
        act_pages_free(pages);
        assert_int_equal(reads_pages(reads.n_read), n);
        assert_int_equal(progress.done_bytes, progress.total_bytes);
        for (uint64_t page = 0, left = n; page < reads.n_pages; page++) {
            bool is_in = left > 0 && act_pages_has(set, page);
            left -= is_in;
            assert_int_equal(reads.n_read[page], is_in);
            assert_int_equal(reads.n_asked[page], is_in);
        }
    }
    assert_int_equal(found, n);
}

static void a_set_is_read_and_nothing_else(void **state)
{
    static const unsigned runs[] = {1, 2, 7, 100, 1000};
    struct warmtest_file file = warmtest_random(FILE_BYTES);
    struct random random = {2};
    (void)state;
    for (size_t i = 0; i < N_ELEMENTS(runs); i++) {
        struct act_pages *set = random_set(&random, FILE_BYTES, runs[i]);
        check_set(&file, set, 0);
        check_set(&file, set, 1);
        check_set(&file, set, act_pages_count(set) / 3);
        act_pages_add(set, 0, UINT64_MAX);
        check_set(&file, set, 0);
        act_pages_free(set);
    }
    struct act_pages *none;
    assert_int_equal(act_pages_new(FILE_BYTES, &none), 0);
    check_set(&file, none, 0);
    act_pages_add(none, FILE_PAGES - 1, 1); /* a part of a page */
    check_set(&file, none, 0);
    act_pages_free(none);
    warmtest_end(&file);
}

/* What the callbacks have been asked. */
struct calls {
    unsigned n_progress, n_waits;
    unsigned end_progress, end_wait; /* give up in this call; 0: never */
    uint64_t waited_ms, done_bytes;
    uint64_t most_bytes; /* between two calls of on_progress */
    unsigned longest_ms;
};

static bool on_progress(void *context, const struct act_warm_progress *progress)
{
    struct calls *calls = context;
    assert_true(progress->done_bytes >= calls->done_bytes);
    assert_true(progress->done_bytes <= progress->total_bytes);
    uint64_t bytes = progress->done_bytes - calls->done_bytes;
    calls->most_bytes = bytes > calls->most_bytes ? bytes : calls->most_bytes;
    calls->done_bytes = progress->done_bytes;
    return ++calls->n_progress != calls->end_progress;
}

static bool on_wait(void *context, unsigned ms)
{
    struct calls *calls = context;
    calls->waited_ms += ms;
    if (ms > calls->longest_ms)
        calls->longest_ms = ms;
    reads.since_wait = 0;
    return ++calls->n_waits != calls->end_wait;
}

/* Nobody sleeps here: what was waited, and what it really took, is what the rate wants. */
static void check_rate(const struct warmtest_file *file, struct act_warm_options options,
                       uint64_t rate)
{
    struct calls calls = {0};
    struct act_warm_progress progress;
    options.context = &calls;
    options.on_progress = on_progress;
    options.on_wait = on_wait;
    options.rate_bytes_per_s = rate;
    uint64_t began = clock_ms();
    assert_int_equal(warmtest_run(file, NULL, &options, &progress), 0);
    uint64_t took_ms = clock_ms() - began;
    uint64_t wanted_ms = progress.done_bytes * 1000 / rate;
    uint64_t piece = rate / 10 < PAGE ? PAGE : rate / 10, piece_ms = piece * 1000 / rate;
    /* The last piece is not waited for; each wait is a whole number of milliseconds. */
    assert_true(calls.waited_ms <= wanted_ms + 1);
    assert_true(calls.waited_ms + took_ms + piece_ms + 100 >= wanted_ms);
    assert_true(calls.longest_ms <= 100);
    /* At once no more than 100 ms are worth, and what the last 100 ms have left. */
    assert_true(reads.most_since_wait <= 2 * piece + PAGE + rate * took_ms / 1000);
}

static void the_rate_is_kept(void **state)
{
    static const uint64_t rates[] = {1, 100, 4096, 100000, 1 << 20, 10 << 20, 1 << 30};
    static const enum act_warm_mode modes[] = {ACT_WARM_WILLNEED, ACT_WARM_READ, ACT_WARM_PAGES};
    struct warmtest_file file = warmtest_random(FILE_BYTES);
    struct random random = {3};
    struct act_pages *set = random_set(&random, FILE_BYTES, 3);
    (void)state;
    for (size_t i = 0; i < N_ELEMENTS(rates) * N_ELEMENTS(modes); i++) {
        uint64_t rate = rates[i / N_ELEMENTS(modes)];
        struct act_warm_options options = {.mode = modes[i % N_ELEMENTS(modes)], .pages = set};
        if (rate < PAGE)
            options.max_bytes = 8 * PAGE;
        check_rate(&file, options, rate);
    }
    act_pages_free(set);
    warmtest_end(&file);
}

static void who_gives_up_is_obeyed_at_once(void **state)
{
    struct warmtest_file file = warmtest_random(FILE_BYTES);
    struct random random = {4};
    struct act_pages *set = random_set(&random, FILE_BYTES, 3);
    (void)state;
    for (unsigned mode = ACT_WARM_WILLNEED; mode <= ACT_WARM_PAGES; mode++) {
        struct calls calls = {.end_progress = 1};
        struct act_warm_options options = {.mode = (enum act_warm_mode)mode,
                                           .pages = set,
                                           .context = &calls,
                                           .on_progress = on_progress,
                                           .on_wait = on_wait};
        struct act_warm_progress progress;
        if (mode == ACT_WARM_TRAVERSE)
            continue; /* below */
        assert_int_equal(warmtest_run(&file, NULL, &options, &progress), -ECANCELED);
        assert_true(reads_pages(reads.n_read) == 0 && reads_pages(reads.n_asked) == 0);
        assert_true(progress.done_bytes == 0 && progress.total_bytes > 0);

        options.rate_bytes_per_s = 1 << 20;
        calls = (struct calls){.end_wait = 3};
        assert_int_equal(warmtest_run(&file, NULL, &options, &progress), -ECANCELED);
        assert_int_equal(calls.n_waits, 3);
        assert_true(progress.done_bytes <= (1 << 20) && progress.done_bytes > 0);
    }
    /* A signal that interrupts a read is a reason to ask, and else none to stop. */
    struct calls calls = {.end_progress = 2};
    struct act_warm_options options = {
        .mode = ACT_WARM_READ, .context = &calls, .on_progress = on_progress};
    int fd = open(file.path, O_RDONLY | O_CLOEXEC);
    reads_begin(file.size);
    reads.n_interrupts = 1;
    assert_int_equal(act_warm(fd, file.size, NULL, &options, NULL), -ECANCELED);
    assert_int_equal(reads_pages(reads.n_read), 0);
    calls = (struct calls){0};
    reads.n_interrupts = 3;
    assert_int_equal(act_warm(fd, file.size, NULL, &options, NULL), 0);
    assert_int_equal(reads_pages(reads.n_read), FILE_PAGES);
    close(fd);
    act_pages_free(set);
    warmtest_end(&file);
}

/* On a slow disk pieces are small, so that it is never long until the next word. */
static void a_slow_disk_is_no_reason_for_silence(void **state)
{
    static const enum act_warm_mode modes[] = {ACT_WARM_WILLNEED, ACT_WARM_READ, ACT_WARM_PAGES};
    struct warmtest_file file = warmtest_random(200 * PAGE);
    struct act_pages *set;
    (void)state;
    assert_int_equal(act_pages_new(file.size, &set), 0);
    act_pages_add(set, 0, UINT64_MAX);
    for (size_t i = 0; i < N_ELEMENTS(modes); i++) {
        struct calls calls = {0};
        struct act_warm_options options = {
            .mode = modes[i], .pages = set, .context = &calls, .on_progress = on_progress};
        int fd = open(file.path, O_RDONLY | O_CLOEXEC);
        reads_begin(file.size);
        reads.us_per_page = 2000;
        assert_int_equal(act_warm(fd, file.size, NULL, &options, NULL), 0);
        assert_true(reads.most_bytes <= 25 * PAGE); /* 50 ms */
        assert_true(calls.most_bytes <= 75 * PAGE); /* 100 ms, and one piece */
        close(fd);
    }
    act_pages_free(set);
    warmtest_end(&file);
}

static void what_cannot_be_read_is_told(void **state)
{
    struct warmtest_file file = warmtest_random(FILE_BYTES);
    struct act_pages *set;
    struct act_warm_progress progress;
    (void)state;
    assert_int_equal(act_pages_new(FILE_BYTES, &set), 0);
    act_pages_add(set, 0, UINT64_MAX);
    static const enum act_warm_mode modes[] = {ACT_WARM_READ, ACT_WARM_PAGES};
    for (size_t i = 0; i < N_ELEMENTS(modes); i++) {
        struct act_warm_options options = {.mode = modes[i], .pages = set};
        int fd = open(file.path, O_RDONLY | O_CLOEXEC);
        reads_begin(file.size);
        reads.fail_from = FILE_BYTES / 2;
        assert_int_equal(act_warm(fd, file.size, NULL, &options, &progress), -EIO);
        assert_true(progress.done_bytes >= FILE_BYTES / 2 - (1 << 20));
        assert_true(progress.done_bytes < FILE_BYTES / 2 + (1 << 20));
        close(fd);
        reads_end();
    }
    /* A file that was cut meanwhile: what is left of it is read, and that is all. */
    assert_int_equal(ftruncate(file.fd, FILE_BYTES / 2), 0);
    for (unsigned mode = ACT_WARM_WILLNEED; mode <= ACT_WARM_PAGES; mode++) {
        struct act_warm_options options = {.mode = (enum act_warm_mode)mode, .pages = set};
        if (mode == ACT_WARM_TRAVERSE)
            continue;
        assert_int_equal(warmtest_run(&file, NULL, &options, &progress), 0);
        if (mode != ACT_WARM_WILLNEED)
            assert_int_equal(progress.done_bytes, FILE_BYTES / 2);
    }
    act_pages_free(set);
    warmtest_end(&file);
}

static void what_makes_no_sense_is_refused(void **state)
{
    struct warmtest_file file = warmtest_random(PAGE);
    struct act_pages *other;
    (void)state;
    assert_int_equal(act_pages_new(PAGE + 1, &other), 0);
    struct act_warm_options options = {.mode = ACT_WARM_PAGES, .pages = other};
    struct act_warm_progress progress = {7, 7};
    assert_int_equal(warmtest_run(&file, NULL, &options, &progress), -EINVAL);
    assert_true(progress.done_bytes == 0 && progress.total_bytes == 0);
    options.pages = NULL;
    assert_int_equal(warmtest_run(&file, NULL, &options, NULL), -EINVAL);
    options.mode = ACT_WARM_TRAVERSE;
    assert_int_equal(warmtest_run(&file, NULL, &options, NULL), -EINVAL);
    options.mode = (enum act_warm_mode)4;
    assert_int_equal(warmtest_run(&file, NULL, &options, NULL), -EINVAL);
    options.mode = ACT_WARM_READ;
    assert_int_equal(act_warm(-1, PAGE, NULL, &options, NULL), -EBADF);
    assert_int_equal(act_warm(-1, 0, NULL, &options, NULL), 0);
    act_pages_free(other);
    warmtest_end(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_of_it_is_read_once),
        cmocka_unit_test(all_of_it_is_asked_for),
        cmocka_unit_test(a_limit_is_kept),
        cmocka_unit_test(a_set_is_read_and_nothing_else),
        cmocka_unit_test(the_rate_is_kept),
        cmocka_unit_test(who_gives_up_is_obeyed_at_once),
        cmocka_unit_test(a_slow_disk_is_no_reason_for_silence),
        cmocka_unit_test(what_cannot_be_read_is_told),
        cmocka_unit_test(what_makes_no_sense_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
