/*
 * sampler: processes that map one file and touch known parts of it; what is told of them, to the
 * supervisor and to a worker.
 */
#include "daemon/supervisor/sampler.h"

#include "base/clock.h"
#include "daemon/stats.h"
#include "unit.h"

#include <err.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB         ((uint64_t)1024 * 1024)
#define FILE_BYTES  (16 * MIB)
#define N_WORKERS   4
#define DEADLINE_MS 20000

static const char *const directories[] = {"/tmp", "/dev/shm"};

struct crew {
    struct config config;
    struct board board, seen; /* seen: as a worker of slot 0 has it */
    struct sampler sampler;
    struct generation generation;
    char path[64];
    int fd;
    unsigned n;
};

static void fill(int fd)
{
    char block[65536];
    memset(block, 'x', sizeof block);
    for (uint64_t at = 0; at < FILE_BYTES; at += sizeof block)
        if (write(fd, block, sizeof block) != (ssize_t)sizeof block)
            err(2, "write");
}

static void begin(struct crew *crew, const char *directory)
{
    int board_fd;
    struct stat st;
    *crew = (struct crew){0};
    config_init(&crew->config);
    assert_int_equal(board_create(&crew->board, &crew->config, N_WORKERS, &board_fd), 0);
    assert_int_equal(board_attach(&crew->seen, &crew->config, board_fd, 0), 0);
    close(board_fd);
    snprintf(crew->path, sizeof crew->path, "%s/test_sampler.XXXXXX", directory);
    crew->fd = mkstemp(crew->path);
    assert_true(crew->fd >= 0);
    fill(crew->fd);
    assert_int_equal(fstat(crew->fd, &st), 0);
    crew->generation = (struct generation){
        .number = 1, .device = st.st_dev, .inode = st.st_ino, .size_bytes = FILE_BYTES};
    crew->board.own_head->generation = crew->generation;
    assert_int_equal(sampler_start(&crew->sampler, &crew->board), 0);
}

/* A process that touches bytes of the file from offset on, and so much memory of its own. */
static void add(struct crew *crew, uint64_t offset, uint64_t bytes, uint64_t own_bytes)
{
    int ready[2];
    char byte = 0;
    if (pipe(ready) < 0)
        err(2, "pipe");
    unsigned slot = crew->n;
    board_take(&crew->board, slot, crew->n++);
    pid_t pid = fork();
    if (pid == 0) {
        volatile char *own = own_bytes > 0 ? malloc(own_bytes) : NULL;
        for (uint64_t at = 0; at < own_bytes; at += 4096)
            own[at] = 1;
        const volatile char *p =
            bytes > 0 ? mmap(NULL, FILE_BYTES, PROT_READ, MAP_SHARED, crew->fd, 0) : &byte;
        for (uint64_t at = offset; at < offset + bytes; at += 4096)
            (void)p[at];
        if (write(ready[1], &byte, 1) != 1)
            _exit(1);
        pause();
        _exit(0);
    }
    if (pid < 0 || read(ready[0], &byte, 1) != 1)
        err(2, "fork");
    close(ready[0]);
    close(ready[1]);
    crew->board.own_slots[slot].pid = pid;
}

static void end_process(struct crew *crew, unsigned slot)
{
    pid_t pid = crew->board.slots[slot].pid;
    board_retire(&crew->board, slot);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
}

static void end(struct crew *crew)
{
    sampler_stop(&crew->sampler);
    for (unsigned i = 0; i < crew->n; i++)
        if (crew->board.slots[i].pid != 0)
            end_process(crew, i);
    unlink(crew->path);
    close(crew->fd);
    board_detach(&crew->seen);
    board_detach(&crew->board);
    config_deinit(&crew->config);
}

static uint64_t told(const struct board *board, enum stat_id id)
{
    struct stats_report report;
    stats_collect(board, &report);
    return report.values[id];
}

static uint64_t told_of(const struct board *board, unsigned slot, enum worker_stat_id id)
{
    struct stats_report report;
    struct worker_report worker;
    stats_begin(board, &report);
    assert_true(stats_add_worker(board, slot, &report, &worker));
    return worker.values[id];
}

/* Waits until it is known, or unknown. */
static uint64_t wait_pss(struct crew *crew, bool is_known)
{
    uint64_t since = clock_ms(), value;
    while ((told(&crew->board, STAT_tree_pss_bytes) != STAT_UNKNOWN) != is_known) {
        assert_true(clock_ms() - since < DEADLINE_MS);
        poll(NULL, 0, 1);
    }
    value = told(&crew->board, STAT_tree_pss_bytes);
    assert_true((value != STAT_UNKNOWN) == is_known);
    return value;
}

/* Waits until the sampler has looked at the tree after now. */
static void wait_look(struct crew *crew, unsigned slot)
{
    uint64_t since = clock_ms();
    poll(NULL, 0, 2);
    sampler_ask(&crew->sampler);
    while (crew->board.slots[slot].sample.tree_asked_ms <= since) {
        assert_true(clock_ms() - since < DEADLINE_MS);
        poll(NULL, 0, 1);
    }
}

static void assert_about(uint64_t value, uint64_t wanted)
{
    assert_in_range(value, wanted - wanted / 20, wanted + wanted / 20);
}

static void a_file_in_several_processes_counts_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_ELEMENTS(directories); i++) {
        struct crew crew;
        uint64_t sum = 0;
        begin(&crew, directories[i]);
        add(&crew, 0, FILE_BYTES / 2, 0);
        add(&crew, 0, FILE_BYTES, 0);
        add(&crew, FILE_BYTES / 2, FILE_BYTES / 4, 0);
        sampler_generation(&crew.sampler, &crew.generation);
        assert_about(wait_pss(&crew, true), FILE_BYTES);
        assert_about(told_of(&crew.board, 0, WORKER_STAT_tree_pss_bytes), FILE_BYTES / 4);
        assert_about(told_of(&crew.board, 1, WORKER_STAT_tree_pss_bytes), FILE_BYTES * 5 / 8);
        for (unsigned slot = 0; slot < 3; slot++)
            sum += told_of(&crew.board, slot, WORKER_STAT_tree_pss_bytes);
        assert_int_equal(sum, told(&crew.board, STAT_tree_pss_bytes));
        assert_int_equal(sum, told(&crew.seen, STAT_tree_pss_bytes));
        assert_true(told(&crew.seen, STAT_tree_pss_age_ms) < DEADLINE_MS);
        end(&crew);
    }
}

static void only_what_was_touched_counts(void **state)
{
    (void)state;
    struct crew crew;
    begin(&crew, "/tmp");
    add(&crew, 4 * MIB, 2 * MIB, 0);
    add(&crew, 5 * MIB, 2 * MIB, 0);
    sampler_generation(&crew.sampler, &crew.generation);
    assert_about(wait_pss(&crew, true), 3 * MIB);
    end(&crew);
}

static void before_it_was_asked_nothing_is_known(void **state)
{
    (void)state;
    struct crew crew;
    begin(&crew, "/tmp");
    assert_int_equal(told(&crew.board, STAT_tree_pss_bytes), STAT_UNKNOWN);
    add(&crew, 0, MIB, 0);
    assert_int_equal(told(&crew.board, STAT_tree_pss_bytes), STAT_UNKNOWN);
    sampler_generation(&crew.sampler, &crew.generation);
    wait_pss(&crew, true);
    /* Of a generation that has just come likewise, until it was looked for. */
    crew.generation.number = crew.board.own_head->generation.number = 2;
    assert_int_equal(told(&crew.board, STAT_tree_pss_bytes), STAT_UNKNOWN);
    assert_int_equal(told(&crew.seen, STAT_tree_pss_bytes), STAT_UNKNOWN);
    sampler_generation(&crew.sampler, &crew.generation);
    assert_about(wait_pss(&crew, true), MIB);
    /* And with a process that has just come. */
    add(&crew, 0, MIB, 0);
    assert_int_equal(told(&crew.board, STAT_tree_pss_bytes), STAT_UNKNOWN);
    sampler_ask(&crew.sampler);
    assert_about(wait_pss(&crew, true), MIB);
    end(&crew);
}

static void what_nobody_has_mapped_is_unknown(void **state)
{
    (void)state;
    struct crew crew;
    begin(&crew, "/tmp");
    add(&crew, 0, FILE_BYTES, 0);
    crew.generation.inode++;
    sampler_generation(&crew.sampler, &crew.generation);
    wait_look(&crew, 0);
    assert_int_equal(told(&crew.board, STAT_tree_pss_bytes), STAT_UNKNOWN);
    assert_int_equal(told_of(&crew.board, 0, WORKER_STAT_tree_pss_bytes), STAT_UNKNOWN);
    end(&crew);
}

/* As btrfs and overlayfs show it. */
static void another_device_is_accepted_with_the_right_size_only(void **state)
{
    (void)state;
    struct crew crew;
    begin(&crew, "/tmp");
    add(&crew, 0, MIB, 0);
    crew.generation.device++;
    sampler_generation(&crew.sampler, &crew.generation);
    assert_about(wait_pss(&crew, true), MIB);
    crew.generation.size_bytes += 4096;
    crew.generation.number = crew.board.own_head->generation.number = 2;
    sampler_generation(&crew.sampler, &crew.generation);
    wait_look(&crew, 0);
    assert_int_equal(told(&crew.board, STAT_tree_pss_bytes), STAT_UNKNOWN);
    end(&crew);
}

static void who_has_not_mapped_it_has_nothing_of_it(void **state)
{
    (void)state;
    struct crew crew;
    begin(&crew, "/tmp");
    add(&crew, 0, MIB, 0);
    add(&crew, 0, 0, 0);
    sampler_generation(&crew.sampler, &crew.generation);
    assert_about(wait_pss(&crew, true), MIB);
    assert_int_equal(told_of(&crew.board, 1, WORKER_STAT_tree_pss_bytes), 0);
    end(&crew);
}

static void a_process_that_has_ended_makes_the_sum_unknown_until_its_slot_is_free(void **state)
{
    (void)state;
    struct crew crew;
    siginfo_t info;
    begin(&crew, "/tmp");
    add(&crew, 0, MIB, 0);
    add(&crew, 0, MIB, 0);
    sampler_generation(&crew.sampler, &crew.generation);
    wait_pss(&crew, true);
    kill(crew.board.slots[1].pid, SIGKILL);
    waitid(P_PID, (id_t)crew.board.slots[1].pid, &info, WEXITED | WNOWAIT);
    wait_look(&crew, 1);
    assert_int_equal(told(&crew.board, STAT_tree_pss_bytes), STAT_UNKNOWN);
    assert_int_equal(told(&crew.board, STAT_memory_rss_anon_bytes), STAT_UNKNOWN);
    end_process(&crew, 1);
    assert_true(told(&crew.board, STAT_memory_rss_anon_bytes) != STAT_UNKNOWN);
    wait_look(&crew, 0);
    assert_about(told(&crew.board, STAT_tree_pss_bytes), MIB);
    end(&crew);
}

static void a_worker_is_told_of_the_others_what_the_sampler_saw(void **state)
{
    (void)state;
    struct crew crew;
    begin(&crew, "/tmp");
    board_take(&crew.board, 0, crew.n++);
    crew.board.own_slots[0].pid = getpid(); /* who asks */
    add(&crew, 0, MIB, 32 * MIB);
    sampler_generation(&crew.sampler, &crew.generation);
    wait_look(&crew, 1);
    assert_int_equal(told_of(&crew.seen, 0, WORKER_STAT_memory_age_ms), 0);
    assert_true(told_of(&crew.seen, 1, WORKER_STAT_memory_age_ms) < DEADLINE_MS);
    assert_in_range(told_of(&crew.seen, 1, WORKER_STAT_memory_rss_anon_bytes), 32 * MIB, 64 * MIB);
    assert_in_range(told(&crew.seen, STAT_memory_rss_anon_bytes), 32 * MIB, 512 * MIB);
    assert_true(told_of(&crew.seen, 1, WORKER_STAT_faults_minor) >= 32 * MIB / 4096 / 512);
    assert_int_equal(told_of(&crew.board, 1, WORKER_STAT_memory_age_ms), 0);
    assert_int_equal(told_of(&crew.board, 1, WORKER_STAT_faults_minor),
                     told_of(&crew.seen, 1, WORKER_STAT_faults_minor));
    crew.board.own_slots[0].pid = 0;
    end(&crew);
}

static void faults_that_were_told_stay_when_the_process_is_gone(void **state)
{
    (void)state;
    struct crew crew;
    begin(&crew, "/tmp");
    add(&crew, 0, MIB, 8 * MIB);
    uint64_t before = told(&crew.board, STAT_faults_minor);
    assert_true(before > 0);
    end_process(&crew, 0);
    assert_true(told(&crew.board, STAT_faults_minor) >= before);
    end(&crew);
}

static void it_ends_at_once(void **state)
{
    (void)state;
    struct sampler never = {0};
    sampler_ask(&never);
    sampler_stop(&never);
    for (unsigned i = 0; i < 50; i++) {
        struct crew crew;
        begin(&crew, "/dev/shm");
        if (i % 2 > 0)
            sampler_generation(&crew.sampler, &crew.generation);
        uint64_t since = clock_ms();
        sampler_stop(&crew.sampler);
        assert_true(clock_ms() - since < 500);
        end(&crew);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_in_several_processes_counts_once),
        cmocka_unit_test(only_what_was_touched_counts),
        cmocka_unit_test(before_it_was_asked_nothing_is_known),
        cmocka_unit_test(what_nobody_has_mapped_is_unknown),
        cmocka_unit_test(another_device_is_accepted_with_the_right_size_only),
        cmocka_unit_test(who_has_not_mapped_it_has_nothing_of_it),
        cmocka_unit_test(a_process_that_has_ended_makes_the_sum_unknown_until_its_slot_is_free),
        cmocka_unit_test(a_worker_is_told_of_the_others_what_the_sampler_saw),
        cmocka_unit_test(faults_that_were_told_stay_when_the_process_is_gone),
        cmocka_unit_test(it_ends_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
