/*
 * keep: see keep.h.
 */
#include "daemon/worker/keep.h"

#include "daemon/worker/guard.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

/* So little memory that it does not matter beside the rest, and so few mappings that the kernel's
 * limit of them (vm.max_map_count) does not: the first three levels of most trees. */
#define TOP_PAGES 256
static_assert(TOP_PAGES <= ACT_TOP_MAX, "it could not be found");

static const char *const names[] = {[TREE_MLOCK_NO] = "no",
                                    [TREE_MLOCK_TOP] = "top",
                                    [TREE_MLOCK_YES] = "yes",
                                    [TREE_MLOCK_ONFAULT] = "onfault"};

/* What is to be locked. */
struct share {
    const struct act *tree;
    struct act_range ranges[TOP_PAGES];
    size_t n;
};

static int find_top(void *context)
{
    struct share *share = context;
    share->n = guard_top(share->tree, share->ranges, TOP_PAGES);
    return 0;
}

/* Whole pages. */
static uint64_t bytes_of(const struct share *share)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), bytes = 0;
    for (size_t i = 0; i < share->n; i++)
        bytes += (share->ranges[i].len + page - 1) / page * page;
    return bytes;
}

static int lock(const struct share *share, bool is_on_fault)
{
    int r = 0;
    for (size_t i = 0; i < share->n && r == 0; i++)
        r = act_lock(share->tree, share->ranges[i].offset, share->ranges[i].len, is_on_fault);
    if (r != 0)
        act_unlock(share->tree);
    return r;
}

static void warn(struct keep_warning *warning, const struct snapshot *snapshot, uint64_t mode,
                 uint64_t bytes, int error)
{
    struct rlimit limit;
    char text[320];
    bool is_limited = getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY;
    if (error == -EPERM || (error == -ENOMEM && is_limited))
        snprintf(text, sizeof text,
                 "the limit is %" PRIu64 " bytes for all that the process has locked, also of the "
                 "generation before (RLIMIT_MEMLOCK): raise LimitMEMLOCK= of the unit, or ulimit "
                 "-l, to twice as much as is needed",
                 (uint64_t)limit.rlim_cur);
    else if (error == -EIO)
        snprintf(text, sizeof text, "a part of the file could not be read: check the disk");
    else
        snprintf(text, sizeof text, "the system refuses: %s", strerror(-error));
    snprintf(warning->text, sizeof warning->text,
             "%.400s: served without being locked in memory: tree.mlock = %s needs %" PRIu64
             " bytes, and %s",
             snapshot->path, names[mode], bytes, text);
}

static void lock_share(struct snapshot *snapshot, uint64_t mode, struct keep_warning *warning)
{
    struct share share = {.tree = snapshot->tree, .n = 1};
    struct act_info info;
    act_info(snapshot->tree, &info);
    share.ranges[0] = (struct act_range){.offset = 0, .len = info.size_bytes};
    if (mode == TREE_MLOCK_TOP && guard_run(find_top, &share) == GUARD_LOST) {
        snapshot_note_fault(snapshot);
        return;
    }
    int r = lock(&share, mode == TREE_MLOCK_ONFAULT);
    if (r != 0)
        warn(warning, snapshot, mode, bytes_of(&share), r);
    else
        snapshot->locked_bytes = bytes_of(&share);
}

static int touch_header(void *context)
{
    struct act_info info;
    const struct snapshot *snapshot = context;
    act_info(snapshot->tree, &info);
    guard_touch(snapshot->tree, (const uint8_t *)(uintptr_t)info.mapping_start);
    return 0;
}

void keep_settle(struct snapshot *snapshot, const struct config *config,
                 struct keep_warning *ret_warning)
{
    static const enum act_advice advice[] = {[TREE_ADVICE_RANDOM] = ACT_ADVICE_RANDOM,
                                             [TREE_ADVICE_NORMAL] = ACT_ADVICE_NORMAL,
                                             [TREE_ADVICE_SEQUENTIAL] = ACT_ADVICE_SEQUENTIAL};
    uint64_t mode = config->tree_mlock;
    ret_warning->text[0] = '\0';
    if (snapshot->generation.hold != GENERATION_MAPPED)
        return;
    /* All of a file is read ten times faster with read-ahead. */
    if (mode == TREE_MLOCK_YES)
        (void)act_advise(snapshot->tree, ACT_ADVICE_SEQUENTIAL);
    if (mode != TREE_MLOCK_NO)
        lock_share(snapshot, mode, ret_warning);
    /* snapshot_unchanged reads the header, on the loop: what is mapped stays in memory longest. */
    if (guard_run(touch_header, snapshot) == GUARD_LOST)
        snapshot_note_fault(snapshot);
    (void)act_advise(snapshot->tree, advice[config->tree_advice]);
}
