/*
 * guard: see guard.h.
 *
 * A jump buffer for each call would cost a scan 7 % more time, so there is one for all the work,
 * and a call only notes which tree it reads. The buffer holds no signal mask (that takes a system
 * call, 101 ns instead of 3), so the handler must not change it: SA_NODEFER.
 */
#include "daemon/worker/guard.h"

#include <assert.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <ucontext.h>
#include <unistd.h>

/* This thread's work. */
struct region {
    const struct act *tree; /* that is being read; NULL: none */
    bool is_running;        /* back is valid */
    sigjmp_buf back;
};

/* There from the thread's start: the handler could not allocate it. */
static _Thread_local struct region region __attribute__((tls_model("initial-exec")));

static uint64_t page_bytes;

/* The mapping ends with the page of the file's last byte. What tree code reads behind that is
 * memory of our own. */
static bool is_in_file(const struct act *tree, uint64_t address)
{
    struct act_info info;
    act_info(tree, &info); /* copies, and nothing else */
    uint64_t mapped = (info.mapped_bytes + page_bytes - 1) / page_bytes * page_bytes;
    return address - info.mapping_start < mapped;
}

/* Is it about what this thread has just touched? Then it comes again by itself. */
static bool is_touch(const siginfo_t *info)
{
    return info->si_code == BUS_ADRERR || info->si_code == BUS_ADRALN ||
           info->si_code == BUS_OBJERR || info->si_code == BUS_MCEERR_AR;
}

static void on_sigbus(int number, siginfo_t *info, void *context)
{
    const struct act *tree = region.tree;
    const ucontext_t *before = context;
    if (tree && is_touch(info) && is_in_file(tree, (uintptr_t)info->si_addr)) {
        region.tree = NULL;
        /* As a return would. SA_NODEFER should do, but ThreadSanitizer blocks all signals here. */
        pthread_sigmask(SIG_SETMASK, &before->uc_sigmask, NULL);
        siglongjmp(region.back, 1);
    }
    /* Not ours: it ends the process, at the instruction that has done it, or here. */
    signal(number, SIG_DFL);
    if (!is_touch(info))
        raise(number);
}

void guard_install(void)
{
    struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_NODEFER};
    page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, NULL);
}

int guard_run(guard_fn *work, void *context)
{
    int r = GUARD_LOST;
    assert(!region.is_running);
    if (sigsetjmp(region.back, 0) == 0) {
        region.is_running = true;
        r = work(context);
    }
    region.is_running = false;
    return r;
}

/* The handler must find the note while mapped bytes are read, and at no other time: the fences keep
 * the compiler from moving them across. */
static inline void begin(const struct act *tree)
{
    assert(region.is_running && !region.tree);
    region.tree = tree;
    atomic_signal_fence(memory_order_seq_cst);
}

static inline void end(void)
{
    atomic_signal_fence(memory_order_seq_cst);
    region.tree = NULL;
}

int guard_get(const struct act *tree, struct slice key, uint64_t *ret_value,
              struct act_fault *ret_fault)
{
    begin(tree);
    int r = act_get(tree, key.p, key.len, ret_value, ret_fault);
    end();
    return r;
}

void guard_get_batch(const struct act *tree, const struct act_key *keys, size_t n,
                     struct act_result *ret_results)
{
    begin(tree);
    act_get_batch(tree, keys, n, ret_results);
    end();
}

int guard_exists(const struct act *tree, struct slice key, struct act_fault *ret_fault)
{
    begin(tree);
    int r = act_exists(tree, key.p, key.len, ret_fault);
    end();
    return r;
}

int guard_node(const struct act *tree, struct slice key, struct act_node *ret_node,
               struct act_fault *ret_fault)
{
    begin(tree);
    int r = act_node(tree, key.p, key.len, ret_node, ret_fault);
    end();
    return r;
}

int guard_longest_prefix(const struct act *tree, struct slice key, size_t *ret_len,
                         uint64_t *ret_value, struct act_fault *ret_fault)
{
    begin(tree);
    int r = act_longest_prefix(tree, key.p, key.len, ret_len, ret_value, ret_fault);
    end();
    return r;
}

int guard_prefixes(const struct act *tree, struct slice key, size_t min_len,
                   struct act_prefix *ret_prefixes, size_t max, size_t *ret_n,
                   struct act_fault *ret_fault)
{
    begin(tree);
    int r = act_prefixes(tree, key.p, key.len, min_len, ret_prefixes, max, ret_n, ret_fault);
    end();
    return r;
}

int guard_bytes(const struct act *tree, uint64_t value, struct slice *ret_bytes,
                struct act_fault *ret_fault)
{
    begin(tree);
    int r = act_bytes(tree, value, &ret_bytes->p, &ret_bytes->len, ret_fault);
    end();
    return r;
}

void guard_copy(const struct act *tree, void *to, struct slice bytes)
{
    begin(tree);
    memcpy(to, bytes.p, bytes.len);
    end();
}

void guard_touch(const struct act *tree, const uint8_t *p)
{
    begin(tree);
    (void)*(const volatile uint8_t *)p;
    end();
}

size_t guard_top(const struct act *tree, struct act_range *ret_ranges, size_t max)
{
    begin(tree);
    size_t n = act_top(tree, ret_ranges, max);
    end();
    return n;
}

void guard_cursor_reset(struct act_cursor *cursor, const struct act *tree)
{
    begin(tree);
    act_cursor_reset(cursor, tree);
    end();
}

int guard_cursor_seek(const struct act *tree, struct act_cursor *cursor, struct slice key)
{
    begin(tree);
    int r = act_cursor_seek(cursor, key.p, key.len);
    end();
    return r;
}

int guard_cursor_last(const struct act *tree, struct act_cursor *cursor)
{
    begin(tree);
    int r = act_cursor_last(cursor);
    end();
    return r;
}

int guard_cursor_next(const struct act *tree, struct act_cursor *cursor)
{
    begin(tree);
    int r = act_cursor_next(cursor);
    end();
    return r;
}

int guard_cursor_prev(const struct act *tree, struct act_cursor *cursor)
{
    begin(tree);
    int r = act_cursor_prev(cursor);
    end();
    return r;
}

int guard_cursor_count(const struct act *tree, struct act_cursor *cursor, uint64_t *ret_count)
{
    begin(tree);
    int r = act_cursor_count(cursor, ret_count);
    end();
    return r;
}
