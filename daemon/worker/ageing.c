/*
 * ageing: see ageing.h.
 */
#include "daemon/worker/ageing.h"

#include "daemon/worker/worker.h"

/* How often it looks, and how many questions at once. */
#define AGE_MS        250
#define ASKED_CALMLY  64
#define ASKED_HURRIED 256
/* After a fault of the loop everything is asked for again, at most so often. */
#define DOUBT_MS 50

/* NULL: lookups just wait. */
static struct act_residency *residency_of(const struct ageing *ageing)
{
    const struct snapshot *snapshot = ageing->worker->snapshot;
    return snapshot ? snapshot->residency : NULL;
}

static struct cold_stats *stats_of(const struct ageing *ageing)
{
    return &ageing->worker->board->own_page->cold;
}

static void tell_pages(const struct ageing *ageing, const struct act_residency *residency)
{
    struct act_residency_info info;
    struct cold_stats *stats = stats_of(ageing);
    act_residency_info(residency, &info);
    stats->known_pages = info.n_known;
    stats->probes = ageing->past_probes + info.n_probes;
}

/* A page that the loop held to be in memory was not: so it will be with others. To ask for each
 * once more costs less than another fault. */
void ageing_after_turn(struct ageing *ageing)
{
    uint64_t faults = stats_of(ageing)->loop_major_faults;
    if (faults == ageing->seen_faults)
        return;
    uint64_t now_ms = worker_now_ms(ageing->worker);
    struct act_residency *residency = residency_of(ageing);
    if (now_ms - ageing->doubted_ms < DOUBT_MS)
        return;
    ageing->seen_faults = faults;
    ageing->doubted_ms = now_ms;
    if (residency)
        act_residency_doubt(residency);
}

void ageing_doubt(struct ageing *ageing)
{
    struct act_residency_info info;
    struct act_residency *residency = residency_of(ageing);
    if (!residency)
        return;
    act_residency_info(residency, &info);
    ageing->doubted = info.n_pages;
    if (info.probe == ACT_PROBE_NONE)
        act_residency_doubt(residency);
}

void ageing_run(struct ageing *ageing, uint64_t now_ms)
{
    uint64_t gone;
    struct act_residency *residency = residency_of(ageing);
    if (!residency || now_ms - ageing->aged_ms < AGE_MS)
        return;
    ageing->aged_ms = now_ms;
    uint64_t passed =
        act_residency_check(residency, ageing->doubted > 0 ? ASKED_HURRIED : ASKED_CALMLY, &gone);
    ageing->doubted -= passed < ageing->doubted ? passed : ageing->doubted;
    if (gone > 0)
        ageing_doubt(ageing);
    stats_of(ageing)->gone_pages += gone;
    tell_pages(ageing, residency);
}

void ageing_switch(struct ageing *ageing)
{
    struct act_residency *residency = residency_of(ageing);
    if (!residency)
        return;
    tell_pages(ageing, residency);
    ageing->past_probes = stats_of(ageing)->probes;
    stats_of(ageing)->known_pages = 0;
}
