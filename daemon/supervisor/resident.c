/*
 * resident: see resident.h.
 */
#include "daemon/supervisor/resident.h"

#include "base/fd.h"

#include <act/residency.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

const char *resident_source_name(enum resident_source source)
{
    static const char *const names[] = {"unknown", "mincore", "pagemap", "copy"};
    return names[source];
}

enum act_pages_source resident_pages_source(enum resident_source source)
{
    return source == RESIDENT_MINCORE   ? ACT_PAGES_MINCORE
           : source == RESIDENT_PAGEMAP ? ACT_PAGES_PAGEMAP
                                        : ACT_PAGES_UNKNOWN;
}

enum resident_source resident_source_of(const struct resident_look *look)
{
    if (look->generation->hold != GENERATION_MAPPED)
        return RESIDENT_COPY;
    return act_probe_find(look->fd) == ACT_PROBE_MINCORE ? RESIDENT_MINCORE : RESIDENT_PAGEMAP;
}

static bool on_progress(void *context, uint64_t done, uint64_t total)
{
    const struct resident_look *look = context;
    (void)done;
    (void)total;
    return look->go_on(look->context);
}

/* What one worker has mapped. 0, an outcome of mappings_find, or -errno. */
static int add_worker(const struct resident_look *look, int32_t pid, struct act_pages *pages)
{
    char path[64];
    uint64_t start, start_after;
    struct tree_file file = mappings_file(look->generation);
    int r = mappings_find(pid, &file, look->go_on, look->context, &start);
    if (r != 0)
        return r;
    snprintf(path, sizeof path, "/proc/%d/pagemap", (int)pid);
    with_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    r = act_pages_add_mapped(pages, fd, start, on_progress, (void *)(uintptr_t)look);
    if (r < 0)
        return r;
    /* Of what it unmaps meanwhile the kernel says that nothing is there. */
    r = mappings_find(pid, &file, look->go_on, look->context, &start_after);
    return r == 0 && start_after != start ? MAPPINGS_GONE : r;
}

static int add_workers(const struct resident_look *look, struct act_pages *pages,
                       enum resident_source *ret_source, bool *ret_is_whole)
{
    unsigned n_asked = 0, n_missed = 0;
    for (unsigned i = 0; i < look->n_pids; i++) {
        if (look->pids[i] == 0)
            continue;
        int r = add_worker(look, look->pids[i], pages);
        if (r == -ECANCELED)
            return r;
        n_asked += r == 0;
        n_missed += r != 0;
    }
    *ret_source = n_asked > 0 ? RESIDENT_PAGEMAP : RESIDENT_UNKNOWN;
    *ret_is_whole = n_asked > 0 && n_missed == 0;
    return 0;
}

int resident_add(const struct resident_look *look, enum resident_source source,
                 struct act_pages *pages, enum resident_source *ret_source, bool *ret_is_whole)
{
    int r = 0;
    if (source == RESIDENT_PAGEMAP)
        return add_workers(look, pages, ret_source, ret_is_whole);
    if (source == RESIDENT_COPY)
        act_pages_add(pages, 0, act_pages_total(pages));
    else
        r = act_pages_add_resident(pages, look->fd, on_progress, (void *)(uintptr_t)look);
    if (r == 0) {
        *ret_source = source;
        *ret_is_whole = true;
    }
    return r;
}
