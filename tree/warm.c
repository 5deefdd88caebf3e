/*
 * warm: see act/warm.h.
 */
#include "act/warm.h"

#include "tree/topdown.h"
#include "tree/warmer.h"

#include <errno.h>

/* The bytes of the file that are brought in where it is read from its beginning. Whole pages; the
 * file's last one may be a part of one. */
static uint64_t end_of(uint64_t size, const struct act_warm_options *options)
{
    uint64_t max = options->max_bytes;
    return max == 0 || max >= size ? size : max / ACT_PAGE_BYTES * ACT_PAGE_BYTES;
}

static uint64_t pages_of(uint64_t bytes)
{
    return bytes / ACT_PAGE_BYTES + (bytes % ACT_PAGE_BYTES > 0);
}

static bool next_of_set(void *source, uint64_t from, uint64_t *ret_first, uint64_t *ret_n)
{
    return act_pages_next(source, from, ret_first, ret_n);
}

/* All pages below *source. */
static bool next_of_all(void *source, uint64_t from, uint64_t *ret_first, uint64_t *ret_n)
{
    uint64_t end = *(uint64_t *)source;
    if (from >= end)
        return false;
    *ret_first = from;
    *ret_n = end - from;
    return true;
}

static int read_set(struct warmer *warmer, uint64_t max_pages)
{
    const struct act_pages *pages = warmer->options->pages;
    uint64_t last = pages_of(warmer->size) - 1, n = act_pages_count(pages);
    uint64_t missing = ACT_PAGE_BYTES - 1 - (warmer->size - 1) % ACT_PAGE_BYTES;
    bool has_last = n <= max_pages && act_pages_has(pages, last);
    if (n > max_pages)
        n = max_pages;
    warmer->progress.total_bytes = n * ACT_PAGE_BYTES - (has_last ? missing : 0);
    return warmer_read_runs(warmer, next_of_set, (void *)(uintptr_t)pages, max_pages);
}

static int run(struct warmer *warmer, const struct act *tree)
{
    const struct act_warm_options *options = warmer->options;
    uint64_t end = end_of(warmer->size, options), n = pages_of(end);
    warmer->progress.total_bytes = end;
    if (warmer_tell(warmer, true) != 0)
        return -ECANCELED;
    switch (options->mode) {
    case ACT_WARM_WILLNEED:
        return warmer_ask_all(warmer, end);
    case ACT_WARM_READ:
        /* The kernel's read-ahead would go beyond a limit. */
        return end == warmer->size ? warmer_stream(warmer, end)
                                   : warmer_read_runs(warmer, next_of_all, &n, n);
    case ACT_WARM_TRAVERSE:
        return topdown_run(warmer, tree, n);
    case ACT_WARM_PAGES:
        return read_set(warmer, n);
    }
    return -EINVAL;
}

/* Does the mode have what it needs? */
static bool is_complete(uint64_t size, const struct act *tree,
                        const struct act_warm_options *options)
{
    struct act_info info;
    if (options->mode == ACT_WARM_PAGES)
        return options->pages && act_pages_size_bytes(options->pages) == size;
    if (options->mode != ACT_WARM_TRAVERSE)
        return true;
    if (!tree)
        return false;
    act_info(tree, &info);
    return info.size_bytes <= size;
}

int act_warm(int fd, uint64_t size_bytes, const struct act *tree,
             const struct act_warm_options *options, struct act_warm_progress *ret_progress)
{
    struct warmer warmer = {0};
    int r = is_complete(size_bytes, tree, options) ? 0 : -EINVAL;
    if (r == 0)
        r = warmer_init(&warmer, fd, size_bytes, options);
    if (r == 0 && size_bytes > 0)
        r = run(&warmer, tree);
    warmer_deinit(&warmer);
    if (ret_progress)
        *ret_progress = warmer.progress;
    return r == WARMER_END ? 0 : r;
}
