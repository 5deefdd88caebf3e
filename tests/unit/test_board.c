/*
 * board: workers write their own page and nothing else, and no count is lost when they end.
 */
#include "daemon/board.h"
#include "unit.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct test {
    struct config config;
    struct board board; /* the supervisor's */
    int fd;
};

static void start(struct test *t, unsigned n_workers)
{
    memset(t, 0, sizeof *t);
    assert_int_equal(board_create(&t->board, &t->config, n_workers, &t->fd), 0);
}

static void end(struct test *t)
{
    board_detach(&t->board);
    board_detach(&t->board);
    close(t->fd);
}

static struct board attach(const struct test *t, unsigned slot)
{
    struct board board;
    assert_int_equal(board_attach(&board, &t->config, t->fd, slot), 0);
    assert_ptr_equal(board.own_head, NULL);
    assert_ptr_equal(board.own_slots, NULL);
    assert_ptr_equal(board.own_page, board_page(&board, slot));
    return board;
}

static void a_new_board_is_empty(void **state)
{
    (void)state;
    struct test t;
    char line[64];
    start(&t, 3);
    assert_int_equal(t.board.head->n_workers, 3);
    assert_int_equal(t.board.head->n_slots, board_slots_for(3));
    assert_true(board_slots_for(3) > 3);
    assert_int_equal(t.board.head->supervisor_pid, getpid());
    assert_ptr_equal(t.board.own_page, NULL);
    for (unsigned i = 0; i < t.board.head->n_slots; i++)
        assert_int_equal(t.board.slots[i].pid, 0);
    assert_string_equal(board_unready_reason(&t.board, line, sizeof line), "no worker is serving");
    end(&t);
}

static void what_one_side_writes_the_other_sees(void **state)
{
    (void)state;
    struct test t;
    start(&t, 2);
    unsigned n_slots = t.board.head->n_slots;
    for (unsigned slot = 0; slot < n_slots; slot++) {
        board_take(&t.board, slot, slot + 100);
        struct board worker = attach(&t, slot);
        assert_int_equal(worker.slots[slot].number, slot + 100);
        assert_null(board_sample_of(&worker.slots[slot].sample, worker.slots[slot].pid));
        worker.own_page->generation = slot + 1;
        memset(&worker.own_page->stats, 0xff, sizeof worker.own_page->stats);
        t.board.own_head->n_serving = slot;
        assert_int_equal(worker.head->n_serving, slot);
        board_detach(&worker);
    }
    /* Each in its own page. */
    for (unsigned slot = 0; slot < n_slots; slot++) {
        assert_int_equal(board_page(&t.board, slot)->generation, slot + 1);
        assert_int_equal(t.board.slots[slot].number, slot + 100);
    }
    assert_int_equal(t.board.head->n_slots, n_slots);
    end(&t);
}

static void a_slot_that_is_none_is_refused(void **state)
{
    (void)state;
    struct test t;
    struct board board;
    start(&t, 2);
    assert_true(board_attach(&board, &t.config, t.fd, t.board.head->n_slots) < 0);
    assert_true(board_attach(&board, &t.config, t.fd, UINT32_MAX) < 0);
    assert_true(board_attach(&board, &t.config, -1, 0) < 0);
    end(&t);
}

/* A worker in slot 1 writes a byte there; how its process ends. */
static int status_of_write(const struct test *t, size_t offset)
{
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct board board;
        (void)signal(SIGSEGV, SIG_DFL);
        if (board_attach(&board, &t->config, t->fd, 1) != 0)
            _exit(99);
        ((volatile char *)(uintptr_t)board.head)[offset] = 1;
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}

static void a_worker_writes_its_own_page_only(void **state)
{
    (void)state;
    struct test t;
    start(&t, 2);
    const char *p = (const char *)t.board.head;
    size_t own = (size_t)((const char *)board_page(&t.board, 1) - p);
    size_t next = (size_t)((const char *)board_page(&t.board, 2) - p);
    size_t slots = (size_t)((const char *)t.board.slots - p);
    const size_t forbidden[] = {0, slots, slots + sizeof(struct board_slot), own - 1, next};
    for (size_t i = 0; i < N_ELEMENTS(forbidden); i++) {
        int status = status_of_write(&t, forbidden[i]);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), SIGSEGV);
    }
    assert_int_equal(status_of_write(&t, own), 0);
    assert_int_equal(status_of_write(&t, next - 1), 0);
    end(&t);
}

static void counters_of_who_is_gone_are_kept(void **state)
{
    (void)state;
    struct test t;
    start(&t, 1);
    for (unsigned i = 1; i <= 3; i++) {
        board_take(&t.board, 0, i);
        struct board worker = attach(&t, 0);
        assert_int_equal(worker.own_page->stats.read_bytes, 0);
        assert_int_equal(worker.own_page->generation, 0);
        worker.own_page->stats.connections_open = 7;
        worker.own_page->stats.requests_running = 7;
        worker.own_page->stats.buffer_bytes = 7;
        worker.own_page->stats.read_bytes = 10;
        worker.own_page->stats.method[N_METHODS - 1].misses = 20;
        worker.own_page->generation = 1;
        worker.own_page->minor_faults = 5;
        worker.own_page->major_faults = 6;
        board_detach(&worker);
        t.board.own_slots[0].pid = 1;
        board_retire(&t.board, 0);
        assert_int_equal(t.board.slots[0].pid, 0);
        assert_int_equal(t.board.head->retired.connections_open, 0);
        assert_int_equal(t.board.head->retired.requests_running, 0);
        assert_int_equal(t.board.head->retired.buffer_bytes, 0);
        assert_int_equal(t.board.head->retired.read_bytes, 10 * i);
        assert_int_equal(t.board.head->retired.method[N_METHODS - 1].misses, 20 * i);
        assert_int_equal(t.board.head->retired_minor_faults, 5 * i);
        assert_int_equal(t.board.head->retired_major_faults, 6 * i);
    }
    end(&t);
}

static void a_line_is_cut_to_fit(void **state)
{
    (void)state;
    static struct board_text text;
    char line[2 * BOARD_TEXT_BYTES], back[2 * BOARD_TEXT_BYTES];
    board_text_get(&text, back, sizeof back);
    assert_string_equal(back, "");
    memset(line, 'x', sizeof line);
    line[sizeof line - 1] = '\0';
    board_text_set(&text, line);
    board_text_get(&text, back, sizeof back);
    assert_int_equal(strlen(back), BOARD_TEXT_BYTES - 1);
    board_text_get(&text, back, 5);
    assert_string_equal(back, "xxxx");
    board_text_set(&text, "short");
    board_text_get(&text, back, sizeof back);
    assert_string_equal(back, "short");
    /* Its writer died in the middle. */
    text.version++;
    board_text_get(&text, back, sizeof back);
    assert_string_equal(back, "short");
}

static void why_it_is_not_ready(void **state)
{
    (void)state;
    struct test t;
    char line[64];
    start(&t, 1);
    struct board_head *head = t.board.own_head;
    head->n_serving = 1;
    assert_ptr_equal(board_unready_reason(&t.board, line, sizeof line), NULL);
    head->is_ready_after_warmup = true;
    assert_string_equal(board_unready_reason(&t.board, line, sizeof line), "warming up: 0 %");
    head->warmup.read_bytes = (uint64_t)3 << 20;
    head->warmup.total_bytes = (uint64_t)4 << 20;
    assert_string_equal(board_unready_reason(&t.board, line, sizeof line),
                        "warming up: 75 % of 4.0 MiB");
    head->warmup.eta_ms = 1001;
    assert_string_equal(board_unready_reason(&t.board, line, sizeof line),
                        "warming up: 75 % of 4.0 MiB, 2 s left");
    board_text_set(&head->damage, "the file was overwritten");
    head->is_damaged = true;
    assert_string_equal(board_unready_reason(&t.board, line, sizeof line),
                        "the file was overwritten");
    head->is_draining = true;
    assert_string_equal(board_unready_reason(&t.board, line, sizeof line), "stopping");
    end(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_board_is_empty),
        cmocka_unit_test(what_one_side_writes_the_other_sees),
        cmocka_unit_test(a_slot_that_is_none_is_refused),
        cmocka_unit_test(a_worker_writes_its_own_page_only),
        cmocka_unit_test(counters_of_who_is_gone_are_kept),
        cmocka_unit_test(a_line_is_cut_to_fit),
        cmocka_unit_test(why_it_is_not_ready),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
