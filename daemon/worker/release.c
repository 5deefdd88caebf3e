/*
 * release: see release.h.
 */
#include "daemon/worker/release.h"

#include "daemon/usage.h"
#include "daemon/worker/worker.h"

#define ASK_MS 250
/* A piece is what is looked at at once: 32 blocks of 16 pages, which is what the kernel maps with
 * one fault. */
#define BLOCK_BYTES ((uint64_t)16 * ACT_PAGE_BYTES)
#define PIECE_BYTES (32 * BLOCK_BYTES)
/* How often the kernel is asked while pages are released. */
#define PIECES_BETWEEN 2
/* So much less than is allowed is left, that it takes a while until it is too much again. */
#define SPARE_PART 8

static uint64_t mapped_bytes(const struct release *release)
{
    uint64_t usage[N_USAGE];
    usage_read_own(usage);
    if (usage[USAGE_RSS_FILE] == USAGE_UNKNOWN || usage[USAGE_RSS_FILE] < release->base_bytes)
        return 0;
    return usage[USAGE_RSS_FILE] - release->base_bytes;
}

/* Those blocks of the piece that are cold: bit i is about block i. */
static void release_blocks(const struct act *tree, uint64_t piece, uint32_t cold)
{
    for (unsigned first = 0, n; first < 32; first += n) {
        bool is_cold = cold >> first & 1;
        for (n = 1; first + n < 32 && (cold >> (first + n) & 1) == is_cold; n++)
            ;
        /* What is locked is refused, and stays. */
        if (is_cold)
            (void)act_release(tree, piece + first * BLOCK_BYTES, n * BLOCK_BYTES);
    }
}

/* One round at most. If all was needed lately it releases nothing, and the next one, a moment
 * later, finds what was needed again since. */
static void release_in_thread(struct errand *errand)
{
    struct release *release = (struct release *)errand;
    struct snapshot *snapshot = release->snapshot;
    struct act_info info;
    act_info(snapshot->tree, &info);
    uint64_t most = release->worker->config->tree_max_resident_bytes;
    uint64_t n_pieces = (info.mapped_bytes + PIECE_BYTES - 1) / PIECE_BYTES;
    uint64_t before = mapped_bytes(release), now = before;
    for (uint64_t i = 0; i < n_pieces && now > most - most / SPARE_PART; i++) {
        uint32_t cold = UINT32_MAX;
        release->hand = release->hand < info.mapped_bytes ? release->hand : 0;
        if (snapshot->residency)
            cold = act_residency_cool(snapshot->residency, release->hand / ACT_PAGE_BYTES);
        release_blocks(snapshot->tree, release->hand, cold);
        release->hand += PIECE_BYTES;
        if (i % PIECES_BETWEEN == PIECES_BETWEEN - 1)
            now = mapped_bytes(release);
    }
    now = mapped_bytes(release);
    release->released_bytes = before > now ? before - now : 0;
}

static void on_released(struct errand *errand)
{
    struct release *release = (struct release *)errand;
    release->worker->board->own_page->cold.released_bytes += release->released_bytes;
    worker_let_go(release->worker, release->snapshot);
    release->snapshot = NULL;
}

void release_init(struct release *release, struct worker *worker)
{
    uint64_t usage[N_USAGE];
    *release = (struct release){.worker = worker};
    usage_read_own(usage);
    release->base_bytes = usage[USAGE_RSS_FILE] == USAGE_UNKNOWN ? 0 : usage[USAGE_RSS_FILE];
}

void release_check(struct release *release, uint64_t now_ms)
{
    struct worker *worker = release->worker;
    uint64_t most = worker->config->tree_max_resident_bytes;
    if (most == 0 || release->snapshot || now_ms - release->asked_ms < ASK_MS)
        return;
    release->asked_ms = now_ms;
    struct snapshot *snapshot = worker->snapshot;
    if (!snapshot || !snapshot->tree || snapshot->generation.hold != GENERATION_MAPPED ||
        snapshot->locked_bytes >= snapshot->generation.size_bytes || /* none would go */
        mapped_bytes(release) <= most)
        return;
    release->snapshot = snapshot_ref(snapshot);
    release->errand = (struct errand){.work = release_in_thread, .on_done = on_released};
    errand_start(&release->errand, worker->loop);
}
