/*
 * watcher: what is a change of a path, and what is none, with a real loop and real files.
 *
 * That nothing happens is not waited for by the clock, but by the looks that the thread takes:
 * three more see a state, see that it has rested, and have told it.
 */
#include "base/clock.h"
#include "daemon/supervisor/watcher.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEADLINE_MS 20000
#define SETTLE_MS   30
#define TURN_MS     5
#define PAUSE_MS    20 /* as in watcher.c */

struct test {
    char dir[64], path[160];
    uv_loop_t loop;
    uv_timer_t turn;
    struct watcher watcher;
    unsigned n_changes;
};

static pthread_t main_thread;
static atomic_uint n_looks;
static atomic_bool is_blocked, is_without_inotify;
static sem_t blocked, release;

int __wrap_stat64(const char *path, struct stat *st);
int __real_stat64(const char *path, struct stat *st);
int __wrap_inotify_init1(int flags);
int __real_inotify_init1(int flags);

/* The watcher's looks are the calls of another thread. */
int __wrap_stat64(const char *path, struct stat *st)
{
    if (!pthread_equal(pthread_self(), main_thread)) {
        n_looks++;
        if (is_blocked) {
            sem_post(&blocked);
            sem_wait(&release);
        }
    }
    return __real_stat64(path, st);
}

int __wrap_inotify_init1(int flags)
{
    if (!is_without_inotify)
        return __real_inotify_init1(flags);
    errno = EMFILE;
    return -1;
}

static void on_turn(uv_timer_t *timer)
{
    (void)timer;
}

static void on_change(void *context)
{
    struct test *t = context;
    t->n_changes++;
}

static void start_settling(struct test *t, const char *name, uint64_t settle_ms)
{
    memset(t, 0, sizeof *t);
    snprintf(t->dir, sizeof t->dir, "/tmp/test_watcher.XXXXXX");
    assert_non_null(mkdtemp(t->dir));
    snprintf(t->path, sizeof t->path, "%s/%s", t->dir, name);
    assert_int_equal(uv_loop_init(&t->loop), 0);
    assert_int_equal(uv_timer_init(&t->loop, &t->turn), 0);
    assert_int_equal(uv_timer_start(&t->turn, on_turn, TURN_MS, TURN_MS), 0);
    assert_int_equal(watcher_start(&t->watcher, &t->loop, t->path, settle_ms, on_change, t), 0);
}

static void start(struct test *t, const char *name)
{
    start_settling(t, name, SETTLE_MS);
}

static void end(struct test *t)
{
    char command[128];
    watcher_stop(&t->watcher);
    watcher_stop(&t->watcher);
    uv_close((uv_handle_t *)&t->turn, NULL);
    assert_int_equal(uv_run(&t->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&t->loop), 0);
    snprintf(command, sizeof command, "rm -r %s", t->dir);
    assert_int_equal(system(command), 0);
}

/* The n-th callback comes, and no other one with it. */
static void wait_change(struct test *t, unsigned n)
{
    uint64_t deadline = clock_ms() + DEADLINE_MS;
    while (t->n_changes < n) {
        uv_run(&t->loop, UV_RUN_ONCE);
        if (clock_ms() > deadline)
            fail_msg("no change was told in %d ms", DEADLINE_MS);
    }
    assert_int_equal(t->n_changes, n);
}

static void wait_looks_until(struct test *t, unsigned until)
{
    uint64_t deadline = clock_ms() + DEADLINE_MS;
    while (n_looks < until) {
        uv_run(&t->loop, UV_RUN_ONCE);
        if (clock_ms() > deadline)
            fail_msg("no look was taken in %d ms", DEADLINE_MS);
    }
    /* What was told before the last of them. */
    uv_run(&t->loop, UV_RUN_ONCE);
}

static void wait_looks(struct test *t, unsigned more)
{
    wait_looks_until(t, n_looks + more);
}

/* To be enabled again makes it look. */
static void nudge_looks(struct test *t, unsigned more)
{
    for (unsigned i = 0; i < more; i++) {
        unsigned until = n_looks + 1;
        watcher_enable(&t->watcher, true);
        wait_looks_until(t, until);
    }
}

static void assert_quiet(struct test *t)
{
    unsigned n = t->n_changes;
    nudge_looks(t, 2); /* the first one may have begun before */
    for (uint64_t begin = clock_ms(); clock_ms() - begin <= SETTLE_MS;)
        uv_run(&t->loop, UV_RUN_ONCE);
    nudge_looks(t, 3);
    assert_int_equal(t->n_changes, n);
}

static const char *in(const struct test *t, const char *name)
{
    static char paths[2][160];
    static unsigned i;
    char *path = paths[i++ % 2];
    snprintf(path, sizeof paths[0], "%s/%s", t->dir, name);
    return path;
}

static void write_text(const struct test *t, const char *name, const char *text)
{
    FILE *f = fopen(in(t, name), "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static void move(const struct test *t, const char *from, const char *to)
{
    assert_int_equal(rename(in(t, from), in(t, to)), 0);
}

static void make_dir(const struct test *t, const char *name)
{
    assert_int_equal(mkdir(in(t, name), 0700), 0);
}

/* As ln -sfn does for the careful: a new link, renamed over the old one. */
static void link_to(const struct test *t, const char *target, const char *name)
{
    assert_int_equal(symlink(target, in(t, "new-link")), 0);
    move(t, "new-link", name);
}

static struct generation facts(const struct test *t)
{
    struct stat st;
    struct generation generation = {0};
    if (stat(t->path, &st) == 0) {
        generation.device = st.st_dev;
        generation.inode = st.st_ino;
        generation.size_bytes = (uint64_t)st.st_size;
        generation.mtime = st.st_mtim;
        generation.ctime = st.st_ctim;
    }
    return generation;
}

static void tried(struct test *t)
{
    struct generation generation = facts(t);
    watcher_tried(&t->watcher, &generation);
}

static void touch(const struct test *t)
{
    static time_t second = 1000;
    const struct timespec times[2] = {{.tv_sec = ++second}, {.tv_sec = second}};
    assert_int_equal(utimensat(AT_FDCWD, t->path, times, 0), 0);
}

/* As cp -p does over a file that was spoilt: size and mtime are what they were. */
static void one_that_was_restored_is_told(void **state)
{
    (void)state;
    struct test t;
    struct stat st;
    start(&t, "tree.act");
    write_text(&t, "tree.act", "1");
    tried(&t);
    assert_int_equal(stat(t.path, &st), 0);
    write_text(&t, "tree.act", "2");
    const struct timespec times[2] = {st.st_atim, st.st_mtim};
    assert_int_equal(utimensat(AT_FDCWD, t.path, times, 0), 0);
    watcher_enable(&t.watcher, true);
    assert_quiet(&t);
    watcher_spoilt(&t.watcher);
    wait_change(&t, 1);
    tried(&t);
    assert_quiet(&t);
    end(&t);
}

static void a_file_renamed_over_is_told_once(void **state)
{
    (void)state;
    struct test t;
    start(&t, "tree.act");
    write_text(&t, "tree.act", "1");
    tried(&t);
    watcher_enable(&t.watcher, true);
    assert_quiet(&t);
    write_text(&t, "new", "2");
    move(&t, "new", "tree.act");
    wait_change(&t, 1);
    /* Whoever is told may take long to try it. */
    assert_quiet(&t);
    tried(&t);
    assert_quiet(&t);
    touch(&t);
    wait_change(&t, 2);
    tried(&t);
    assert_quiet(&t);
    end(&t);
}

static void another_state_than_the_tried_one_is_told_again(void **state)
{
    (void)state;
    struct test t;
    start(&t, "tree.act");
    write_text(&t, "tree.act", "1");
    struct generation first = facts(&t);
    write_text(&t, "other", "22");
    tried(&t);
    watcher_enable(&t.watcher, true);
    move(&t, "tree.act", "kept");
    move(&t, "other", "tree.act");
    wait_change(&t, 1);
    /* Before it was tried, the first one was back for a moment. */
    struct generation absent = {0};
    watcher_tried(&t.watcher, &first);
    watcher_tried(&t.watcher, &absent);
    wait_change(&t, 2);
    watcher_tried(&t.watcher, &absent);
    assert_quiet(&t);
    end(&t);
}

static void what_could_not_be_tried_is_told_again_ever_more_rarely(void **state)
{
    (void)state;
    struct test t;
    start(&t, "tree.act");
    write_text(&t, "tree.act", "1");
    tried(&t);
    watcher_enable(&t.watcher, true);
    write_text(&t, "new", "22");
    move(&t, "new", "tree.act");
    wait_change(&t, 1);
    uint64_t waits_ms[2];
    for (unsigned i = 0; i < 2; i++) {
        uint64_t began_ms = clock_ms();
        tried(&t);
        watcher_again(&t.watcher);
        wait_change(&t, 2 + i);
        waits_ms[i] = clock_ms() - began_ms;
    }
    assert_true(waits_ms[0] >= 1000);
    assert_true(waits_ms[1] >= 2000);
    /* It was tried after all. */
    watcher_again(&t.watcher);
    tried(&t);
    assert_quiet(&t);
    end(&t);
}

static void links_on_the_way_are_followed(void **state)
{
    (void)state;
    struct test t;
    start(&t, "current/tree.act");
    make_dir(&t, "r1");
    make_dir(&t, "r2");
    write_text(&t, "r1/real.act", "1");
    write_text(&t, "r2/real.act", "22");
    assert_int_equal(symlink("real.act", in(&t, "r1/tree.act")), 0);
    assert_int_equal(symlink("real.act", in(&t, "r2/tree.act")), 0);
    link_to(&t, "r1", "current");
    tried(&t);
    watcher_enable(&t.watcher, true);
    assert_quiet(&t);
    link_to(&t, in(&t, "r2"), "current");
    wait_change(&t, 1);
    tried(&t);
    write_text(&t, "r2/other.act", "333");
    link_to(&t, "other.act", "r2/tree.act");
    wait_change(&t, 2);
    tried(&t);
    write_text(&t, "new", "4444");
    move(&t, "new", "r2/other.act");
    wait_change(&t, 3);
    tried(&t);
    assert_quiet(&t);
    end(&t);
}

/* As volumes of Kubernetes are switched. */
static void a_directory_behind_a_link_is_switched(void **state)
{
    (void)state;
    struct test t;
    start(&t, "tree.act");
    make_dir(&t, "..2026_01");
    make_dir(&t, "..2026_02");
    write_text(&t, "..2026_01/tree.act", "1");
    write_text(&t, "..2026_02/tree.act", "22");
    link_to(&t, "..2026_01", "..data");
    link_to(&t, "..data/tree.act", "tree.act");
    tried(&t);
    watcher_enable(&t.watcher, true);
    assert_quiet(&t);
    link_to(&t, "..2026_02", "..data");
    wait_change(&t, 1);
    end(&t);
}

static void a_directory_is_replaced(void **state)
{
    (void)state;
    struct test t;
    start(&t, "a/b/tree.act");
    make_dir(&t, "a");
    make_dir(&t, "a/b");
    write_text(&t, "a/b/tree.act", "1");
    tried(&t);
    watcher_enable(&t.watcher, true);
    make_dir(&t, "c");
    write_text(&t, "c/tree.act", "22");
    move(&t, "a/b", "old");
    move(&t, "c", "a/b");
    wait_change(&t, 1);
    tried(&t);
    /* Further up, where nobody listens. */
    make_dir(&t, "d");
    make_dir(&t, "d/b");
    write_text(&t, "d/b/tree.act", "333");
    wait_looks(&t, 2);
    move(&t, "a", "older");
    move(&t, "d", "a");
    wait_change(&t, 2);
    end(&t);
}

static void what_is_away_for_a_moment_is_no_change(void **state)
{
    (void)state;
    struct test t;
    start(&t, "tree.act");
    write_text(&t, "tree.act", "1");
    tried(&t);
    watcher_enable(&t.watcher, true);
    move(&t, "tree.act", "away");
    assert_quiet(&t);
    move(&t, "away", "tree.act");
    assert_quiet(&t);
    touch(&t);
    wait_change(&t, 1);
    end(&t);
}

static void what_could_not_be_opened_is_told_when_it_is_there(void **state)
{
    (void)state;
    struct test t;
    start(&t, "later/tree.act");
    tried(&t);
    watcher_enable(&t.watcher, true);
    assert_quiet(&t);
    make_dir(&t, "later");
    assert_quiet(&t);
    write_text(&t, "later/tree.act", "1");
    wait_change(&t, 1);
    end(&t);
}

static void a_growing_file_is_told_when_it_rests(void **state)
{
    (void)state;
    struct test t;
    const uint64_t settle_ms = 1000;
    uint64_t longest_ms = 0, last_ms;
    start_settling(&t, "tree.act", settle_ms);
    write_text(&t, "tree.act", "");
    tried(&t);
    watcher_enable(&t.watcher, true);
    last_ms = clock_ms();
    for (unsigned until = n_looks + 60; n_looks < until;) {
        FILE *f = fopen(t.path, "a");
        assert_non_null(f);
        assert_true(fputc('x', f) >= 0);
        assert_int_equal(fclose(f), 0);
        uv_run(&t.loop, UV_RUN_ONCE);
        uint64_t now = clock_ms();
        longest_ms = now - last_ms > longest_ms ? now - last_ms : longest_ms;
        last_ms = now;
    }
    /* On a machine that stood still, the file has rested. */
    if (longest_ms < settle_ms)
        assert_int_equal(t.n_changes, 0);
    wait_change(&t, t.n_changes + 1);
    assert_true(longest_ms >= settle_ms || clock_ms() - last_ms >= settle_ms - TURN_MS);
    end(&t);
}

static void disabled_it_looks_at_nothing(void **state)
{
    (void)state;
    struct test t;
    start(&t, "tree.act");
    write_text(&t, "tree.act", "1");
    tried(&t);
    unsigned looks = n_looks;
    touch(&t);
    for (unsigned i = 0; i < 20; i++)
        uv_run(&t.loop, UV_RUN_ONCE);
    assert_int_equal(n_looks, looks);
    watcher_enable(&t.watcher, true);
    wait_change(&t, 1);
    /* It was told, but nobody has tried it: enabled again, it tells again. */
    watcher_enable(&t.watcher, false);
    watcher_enable(&t.watcher, true);
    wait_change(&t, 2);
    watcher_enable(&t.watcher, false);
    end(&t);
}

static void what_was_tried_meanwhile_is_not_told(void **state)
{
    (void)state;
    struct test t;
    start(&t, "tree.act");
    write_text(&t, "tree.act", "1");
    watcher_enable(&t.watcher, true);
    /* It is told to the loop, which does not run. */
    uint64_t deadline = clock_ms() + DEADLINE_MS;
    for (unsigned until = n_looks + 4; n_looks < until && clock_ms() < deadline;)
        usleep(1000);
    tried(&t);
    assert_quiet(&t);
    assert_int_equal(t.n_changes, 0);
    touch(&t);
    wait_change(&t, 1);
    end(&t);
}

static void without_inotify_it_looks_from_time_to_time(void **state)
{
    (void)state;
    struct test t;
    is_without_inotify = true;
    start(&t, "tree.act");
    write_text(&t, "tree.act", "1");
    tried(&t);
    watcher_enable(&t.watcher, true);
    wait_looks(&t, 1);
    touch(&t);
    wait_change(&t, 1);
    end(&t);
    is_without_inotify = false;
}

static void a_busy_directory_costs_few_looks(void **state)
{
    (void)state;
    struct test t;
    start(&t, "tree.act");
    write_text(&t, "tree.act", "1");
    tried(&t);
    watcher_enable(&t.watcher, true);
    wait_looks(&t, 1);
    unsigned looks = n_looks;
    uint64_t begin = clock_ms();
    for (unsigned i = 0; i < 5000; i++) {
        write_text(&t, "busy", "x");
        assert_int_equal(unlink(in(&t, "busy")), 0);
        uv_run(&t.loop, UV_RUN_NOWAIT);
    }
    assert_true(n_looks - looks <= (clock_ms() - begin) / PAUSE_MS + 2);
    touch(&t);
    wait_change(&t, 1);
    end(&t);
}

/* A loop of links, a path through a file, one that is too long: nothing is there. */
static void odd_paths_are_quiet(void **state)
{
    (void)state;
    struct test t;
    start(&t, "a/b");
    assert_int_equal(symlink("a", in(&t, "a")), 0);
    tried(&t);
    watcher_enable(&t.watcher, true);
    assert_quiet(&t);
    assert_int_equal(unlink(in(&t, "a")), 0);
    write_text(&t, "a", "");
    assert_quiet(&t);
    assert_int_equal(unlink(in(&t, "a")), 0);
    make_dir(&t, "a");
    write_text(&t, "a/b", "");
    wait_change(&t, 1);
    end(&t);
}

static unsigned count_threads(void)
{
    struct stat st;
    assert_int_equal(__real_stat64("/proc/self/task", &st), 0);
    return (unsigned)st.st_nlink - 2;
}

static void a_disk_that_does_not_answer_does_not_hold_the_end(void **state)
{
    (void)state;
    struct test t;
    unsigned threads = count_threads();
    sem_init(&blocked, 0, 0);
    sem_init(&release, 0, 0);
    is_blocked = true;
    start(&t, "tree.act");
    watcher_enable(&t.watcher, true);
    sem_wait(&blocked);
    uint64_t begin = clock_ms();
    end(&t);
    assert_true(clock_ms() - begin < DEADLINE_MS);
    /* What is left of it ends when it is let go. */
    is_blocked = false;
    sem_post(&release);
    while (count_threads() > threads && clock_ms() - begin < DEADLINE_MS)
        usleep(1000);
    assert_int_equal(count_threads(), threads);
}

static void it_stops_whatever_it_does(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 32; i++) {
        struct test t;
        start(&t, "tree.act");
        if (i % 2 == 1)
            watcher_enable(&t.watcher, true);
        write_text(&t, "tree.act", "1");
        for (unsigned k = 0; k < i % 16; k++)
            uv_run(&t.loop, UV_RUN_ONCE);
        end(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_that_was_restored_is_told),
        cmocka_unit_test(a_file_renamed_over_is_told_once),
        cmocka_unit_test(another_state_than_the_tried_one_is_told_again),
        cmocka_unit_test(what_could_not_be_tried_is_told_again_ever_more_rarely),
        cmocka_unit_test(links_on_the_way_are_followed),
        cmocka_unit_test(a_directory_behind_a_link_is_switched),
        cmocka_unit_test(a_directory_is_replaced),
        cmocka_unit_test(what_is_away_for_a_moment_is_no_change),
        cmocka_unit_test(what_could_not_be_opened_is_told_when_it_is_there),
        cmocka_unit_test(a_growing_file_is_told_when_it_rests),
        cmocka_unit_test(disabled_it_looks_at_nothing),
        cmocka_unit_test(what_was_tried_meanwhile_is_not_told),
        cmocka_unit_test(without_inotify_it_looks_from_time_to_time),
        cmocka_unit_test(a_busy_directory_costs_few_looks),
        cmocka_unit_test(odd_paths_are_quiet),
        cmocka_unit_test(a_disk_that_does_not_answer_does_not_hold_the_end),
        cmocka_unit_test(it_stops_whatever_it_does),
    };
    main_thread = pthread_self();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
