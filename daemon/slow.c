/*
 * slow: see slow.h.
 */
#include "daemon/slow.h"

void slow_note(struct slow_log *log, const struct slow_request *request)
{
    struct slow_entry *entry = &log->entries[log->n++ % SLOW_ENTRIES];
    atomic_fetch_add(&entry->version, 1);
    atomic_thread_fence(memory_order_release);
    entry->request = *request;
    atomic_fetch_add(&entry->version, 1);
}

bool slow_get(const struct slow_log *log, unsigned i, struct slow_request *ret)
{
    const struct slow_entry *entry = &log->entries[i];
    uint32_t version = atomic_load(&entry->version);
    if (version == 0 || version % 2 != 0)
        return false;
    struct slow_request request = entry->request;
    atomic_thread_fence(memory_order_acquire);
    if (version != atomic_load(&entry->version))
        return false;
    *ret = request;
    return true;
}
