/*
 * census: when a profile is saved, and when not; held on a file of our own, a board, and a loop
 * that runs while somebody waits.
 */
#include "daemon/supervisor/census.h"

#include "base/clock.h"
#include "unit.h"

#include <err.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define N_PAGES     40
#define FILE_BYTES  (N_PAGES * ACT_PAGE_BYTES - 1000)
#define INTERVAL_MS 1000
#define DEADLINE_MS 30000

static struct scene {
    uv_loop_t loop;
    struct config config;
    struct board board;
    struct reload reload;
    struct census census;
    char folder[64], profile[96];
    uint64_t saved_pages;
    unsigned n_saved, n_looked;
} scene;

static void on_saved(void *context, uint64_t pages)
{
    (void)context;
    scene.n_saved++;
    scene.saved_pages = pages;
}

static void on_looked(void *context)
{
    (void)context;
    scene.n_looked++;
}

/* A file whose pages are in memory: they have just been written. */
static struct held make_file(uint64_t number)
{
    char path[96], block[ACT_PAGE_BYTES];
    struct stat st;
    snprintf(path, sizeof path, "%s/tree", scene.folder);
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    memset(block, 'x', sizeof block);
    for (unsigned i = 0; i < N_PAGES; i++)
        if (fd < 0 || write(fd, block, sizeof block) != (ssize_t)sizeof block)
            err(2, "%s", path);
    if (ftruncate(fd, FILE_BYTES) < 0 || fstat(fd, &st) < 0 || unlink(path) < 0)
        err(2, "%s", path);
    return (struct held){.fd = fd,
                         .generation = {.number = number,
                                        .identity = 1000 + number,
                                        .device = st.st_dev,
                                        .inode = st.st_ino,
                                        .size_bytes = FILE_BYTES,
                                        .root_offset = 16}};
}

static int begin(void **state)
{
    (void)state;
    memset(&scene, 0, sizeof scene);
    strcpy(scene.folder, "/tmp/test_census.XXXXXX");
    if (!mkdtemp(scene.folder))
        err(2, "%s", scene.folder);
    snprintf(scene.profile, sizeof scene.profile, "%s/profile", scene.folder);
    config_init(&scene.config);
    scene.config.warmup_profile = strdup(scene.profile);
    scene.config.warmup_profile_interval_ms = INTERVAL_MS;
    assert_int_equal(uv_loop_init(&scene.loop), 0);
    assert_int_equal(board_create_private(&scene.board, &scene.config), 0);
    scene.reload.current = make_file(1);
    scene.reload.candidate.fd = -1;
    scene.census.on_saved = on_saved;
    scene.census.on_looked = on_looked;
    assert_int_equal(census_start(&scene.census, &scene.loop, &scene.board, &scene.reload), 0);
    return 0;
}

static int end(void **state)
{
    char command[128];
    (void)state;
    assert_true(census_stop(&scene.census));
    uv_run(&scene.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&scene.loop), 0);
    close(scene.reload.current.fd);
    if (scene.reload.candidate.fd >= 0)
        close(scene.reload.candidate.fd);
    board_detach(&scene.board);
    config_deinit(&scene.config);
    snprintf(command, sizeof command, "rm -r %s", scene.folder);
    return system(command);
}

static void on_timer(uv_timer_t *timer)
{
    uv_close((uv_handle_t *)timer, NULL);
}

/* Lets the loop run for so long, or until one of them has been called so often. */
static void run_loop(uint64_t ms, unsigned n_saved, unsigned n_looked)
{
    uv_timer_t timer;
    uint64_t since = clock_ms();
    uv_timer_init(&scene.loop, &timer);
    uv_timer_start(&timer, on_timer, ms, 0);
    while (!uv_is_closing((uv_handle_t *)&timer) && scene.n_saved < n_saved &&
           scene.n_looked < n_looked)
        uv_run(&scene.loop, UV_RUN_ONCE);
    if (!uv_is_closing((uv_handle_t *)&timer))
        uv_close((uv_handle_t *)&timer, NULL);
    uv_run(&scene.loop, UV_RUN_NOWAIT);
    assert_true(clock_ms() - since < 2 * DEADLINE_MS);
}

static void wait_saved(unsigned n)
{
    run_loop(DEADLINE_MS, n, UINT32_MAX);
    assert_true(scene.n_saved >= n);
}

/* Longer than the time after which it would be saved. */
static void check_not_saved(void)
{
    unsigned n = scene.n_saved;
    run_loop(INTERVAL_MS * 5 / 2, UINT32_MAX, UINT32_MAX);
    assert_int_equal(scene.n_saved, n);
}

static void check_profile(uint64_t number)
{
    struct act_profile about, wanted = {.size_bytes = FILE_BYTES, .root_offset = 16};
    struct act_pages *pages;
    wanted.identity = 1000 + number;
    assert_int_equal(act_profile_read(scene.profile, &wanted, &about, &pages, NULL), 0);
    assert_int_equal(act_pages_count(pages), scene.saved_pages);
    assert_int_equal(about.source, ACT_PAGES_MINCORE);
    act_pages_free(pages);
}

static void nothing_is_saved_before_it_is_allowed(void **state)
{
    (void)state;
    census_update(&scene.census);
    check_not_saved();
    assert_false(census_begin_last(&scene.census));
    assert_int_equal(access(scene.profile, F_OK), -1);
}

static void it_is_saved_again_and_again(void **state)
{
    (void)state;
    census_allow(&scene.census, true, false);
    wait_saved(2);
    assert_int_equal(scene.saved_pages, N_PAGES);
    check_profile(1);
    assert_true(scene.board.head->profile.n_saves >= 2);
    assert_int_equal(scene.board.head->profile.pages, N_PAGES);
    assert_int_equal(scene.board.head->profile.n_failures, 0);
}

/* As by reloads: however often, it does not put a save off. */
static void it_is_saved_however_often_it_is_allowed(void **state)
{
    (void)state;
    uint64_t since = clock_ms();
    while (scene.n_saved == 0 && clock_ms() - since < DEADLINE_MS) {
        census_allow(&scene.census, true, false);
        run_loop(INTERVAL_MS / 10, 1, UINT32_MAX);
    }
    assert_int_equal(scene.n_saved, 1);
    /* One that failed does. */
    since = clock_ms();
    while (clock_ms() - since < 2 * INTERVAL_MS) {
        census_allow(&scene.census, false, false);
        run_loop(INTERVAL_MS / 10, UINT32_MAX, UINT32_MAX);
    }
    assert_int_equal(scene.n_saved, 1);
}

/* Before a worker has come to what is missing. */
static void a_file_that_was_cut_off_is_not_saved(void **state)
{
    (void)state;
    census_allow(&scene.census, true, false);
    wait_saved(1);
    assert_int_equal(ftruncate(scene.reload.current.fd, FILE_BYTES / 2), 0);
    run_loop(INTERVAL_MS / 2, UINT32_MAX, UINT32_MAX); /* one may have been on its way */
    check_not_saved();
    uint64_t pages = scene.saved_pages;
    assert_true(census_begin_last(&scene.census));
    run_loop(DEADLINE_MS, UINT32_MAX, 1);
    assert_true(census_stop(&scene.census));
    assert_int_equal(scene.saved_pages, pages);
    check_profile(1);
}

static void a_warm_up_stops_it(void **state)
{
    (void)state;
    scene.board.own_head->warmup.state = WARMUP_RUNNING;
    census_allow(&scene.census, true, false);
    check_not_saved();
    assert_false(census_begin_last(&scene.census));
    assert_int_equal(access(scene.profile, F_OK), -1);
}

static void it_goes_on_after_the_warm_up(void **state)
{
    (void)state;
    scene.board.own_head->warmup.state = WARMUP_RUNNING;
    census_allow(&scene.census, true, false);
    check_not_saved();
    scene.board.own_head->warmup.state = WARMUP_DONE;
    wait_saved(1);
}

static void damage_stops_it(void **state)
{
    (void)state;
    scene.board.own_head->is_damaged = true;
    census_allow(&scene.census, true, false);
    check_not_saved();
    assert_false(census_begin_last(&scene.census));
}

static void a_copy_is_not_saved(void **state)
{
    (void)state;
    scene.reload.current.generation.hold = GENERATION_COPIED;
    census_allow(&scene.census, true, false);
    check_not_saved();
    assert_false(census_begin_last(&scene.census));
}

static void a_stop_saves_at_once(void **state)
{
    (void)state;
    census_allow(&scene.census, true, false);
    assert_true(census_begin_last(&scene.census));
    run_loop(DEADLINE_MS, UINT32_MAX, 1);
    assert_int_equal(scene.n_looked, 1);
    wait_saved(1);
    check_profile(1);
    /* It was the last one. */
    check_not_saved();
}

/* The loop ends before it has heard of it. */
static void a_stop_waits_for_the_last_one(void **state)
{
    (void)state;
    census_allow(&scene.census, true, false);
    assert_true(census_begin_last(&scene.census));
    census_too_late(&scene.census);
    assert_true(census_stop(&scene.census));
    assert_int_equal(scene.board.head->profile.n_saves, 1);
    scene.saved_pages = N_PAGES;
    check_profile(1);
}

static void after_a_failed_warm_up_a_stop_does_not_save(void **state)
{
    (void)state;
    census_allow(&scene.census, false, false);
    assert_false(census_begin_last(&scene.census));
    check_not_saved();
}

static void but_one_that_comes_later_does(void **state)
{
    (void)state;
    census_allow(&scene.census, false, false);
    wait_saved(1);
    assert_true(census_begin_last(&scene.census));
    wait_saved(2);
}

static void the_next_one_is_of_the_new_generation(void **state)
{
    (void)state;
    census_allow(&scene.census, true, false);
    wait_saved(1);
    check_profile(1);
    scene.reload.candidate = make_file(2);
    census_update(&scene.census);
    wait_saved(2);
    check_profile(1);
    close(scene.reload.current.fd);
    scene.reload.current = scene.reload.candidate;
    scene.reload.candidate = (struct held){.fd = -1};
    census_update(&scene.census);
    wait_saved(4); /* one may have been on its way */
    check_profile(2);
}

static void a_failure_is_counted(void **state)
{
    (void)state;
    assert_int_equal(mkdir(scene.profile, 0700), 0);
    census_allow(&scene.census, true, false);
    run_loop(INTERVAL_MS * 5 / 2, UINT32_MAX, UINT32_MAX);
    assert_true(scene.board.head->profile.n_failures >= 1);
    assert_int_equal(scene.board.head->profile.n_saves, 0);
    assert_int_equal(scene.board.head->profile.saved_ms, 0);
    assert_int_equal(scene.n_saved, 0);
}

static void the_map_is_told(void **state)
{
    struct census_view view;
    uint64_t since = clock_ms();
    (void)state;
    census_get(&scene.census, &view);
    assert_int_equal(view.n, 1);
    assert_int_equal(view.generations[0].source, RESIDENT_UNKNOWN);
    assert_int_equal(view.generations[0].region_bytes, ACT_PAGE_BYTES);
    do {
        census_want(&scene.census);
        census_get(&scene.census, &view);
        assert_true(clock_ms() - since < DEADLINE_MS);
    } while (view.generations[0].source == RESIDENT_UNKNOWN);
    assert_int_equal(view.generations[0].source, RESIDENT_MINCORE);
    assert_int_equal(view.generations[0].n_regions, N_PAGES);
    assert_int_equal(view.generations[0].resident_bytes, FILE_BYTES);
    for (unsigned i = 0; i < N_PAGES; i++)
        assert_int_equal(view.generations[0].regions[i], 1);
}

#define T(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(nothing_is_saved_before_it_is_allowed),
        T(it_is_saved_again_and_again),
        T(it_is_saved_however_often_it_is_allowed),
        T(a_file_that_was_cut_off_is_not_saved),
        T(a_warm_up_stops_it),
        T(it_goes_on_after_the_warm_up),
        T(damage_stops_it),
        T(a_copy_is_not_saved),
        T(a_stop_saves_at_once),
        T(a_stop_waits_for_the_last_one),
        T(after_a_failed_warm_up_a_stop_does_not_save),
        T(but_one_that_comes_later_does),
        T(the_next_one_is_of_the_new_generation),
        T(a_failure_is_counted),
        T(the_map_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
