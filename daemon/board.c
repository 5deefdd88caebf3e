/*
 * board: see board.h.
 *
 * In the file: the head, the slots, then a page (or more) for each worker, so that what a worker
 * may write can be mapped alone.
 */
#include "daemon/board.h"

#include "base/clock.h"
#include "base/fd.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096

static size_t page_round(size_t bytes)
{
    return (bytes + PAGE - 1) / PAGE * PAGE;
}

static size_t slots_offset(void)
{
    return (sizeof(struct board_head) + 63) / 64 * 64;
}

static size_t pages_offset(unsigned n_slots)
{
    return page_round(slots_offset() + n_slots * sizeof(struct board_slot));
}

static size_t page_bytes(void)
{
    return page_round(sizeof(struct board_page));
}

static size_t total_bytes(unsigned n_slots)
{
    return pages_offset(n_slots) + n_slots * page_bytes();
}

unsigned board_slots_for(unsigned n_workers)
{
    return 2 * n_workers + 2;
}

static void point(struct board *board, uint8_t *p, unsigned n_slots)
{
    board->head = (const struct board_head *)p;
    board->slots = (const struct board_slot *)(p + slots_offset());
    board->pages = p + pages_offset(n_slots);
    board->mapped_bytes = total_bytes(n_slots);
}

static void fill_head(struct board *board, unsigned n_workers, unsigned n_slots)
{
    board->own_head = (struct board_head *)(uintptr_t)board->head;
    board->own_slots = (struct board_slot *)(uintptr_t)board->slots;
    board->own_head->started_ms = clock_ms();
    board->own_head->supervisor_pid = getpid();
    board->own_head->n_workers = n_workers;
    board->own_head->n_slots = n_slots;
    board->own_head->refaults = BOARD_UNKNOWN;
    board->own_head->warmup.eta_ms = BOARD_UNKNOWN;
}

int board_create(struct board *board, const struct config *config, unsigned n_workers, int *ret_fd)
{
    unsigned n_slots = board_slots_for(n_workers);
    size_t bytes = total_bytes(n_slots);
    *board = (struct board){.config = config};
    with_close int fd = memfd_create("actd-board", MFD_CLOEXEC);
    if (fd < 0 || ftruncate(fd, (off_t)bytes) < 0)
        return -errno;
    uint8_t *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED)
        return -errno;
    point(board, p, n_slots);
    fill_head(board, n_workers, n_slots);
    *ret_fd = fd_take(&fd);
    return 0;
}

int board_attach(struct board *board, const struct config *config, int fd, unsigned slot)
{
    *board = (struct board){.config = config};
    const struct board_head *head =
        mmap(NULL, page_round(sizeof *head), PROT_READ, MAP_SHARED, fd, 0);
    if (head == MAP_FAILED)
        return -errno;
    unsigned n_slots = head->n_slots;
    munmap((void *)(uintptr_t)head, page_round(sizeof *head));
    if (slot >= n_slots)
        return -EINVAL;
    uint8_t *p = mmap(NULL, total_bytes(n_slots), PROT_READ, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED)
        return -errno;
    point(board, p, n_slots);
    off_t offset = (off_t)(pages_offset(n_slots) + slot * page_bytes());
    if (mmap(p + offset, page_bytes(), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
             offset) == MAP_FAILED) {
        int saved = errno;
        board_detach(board);
        return -saved;
    }
    board->own_page = (struct board_page *)(p + offset);
    return 0;
}

int board_create_private(struct board *board, const struct config *config)
{
    int fd = -1;
    int r = board_create(board, config, 1, &fd);
    if (r < 0)
        return r;
    fd_closep(&fd);
    board_take(board, 0, 0);
    board->own_page = (struct board_page *)(uintptr_t)board_page(board, 0);
    board->own_slots[0].pid = getpid();
    return 0;
}

void board_detach(struct board *board)
{
    if (board->head)
        munmap((void *)(uintptr_t)board->head, board->mapped_bytes);
    *board = (struct board){0};
}

const struct board_page *board_page(const struct board *board, unsigned slot)
{
    return (const struct board_page *)(board->pages + slot * page_bytes());
}

static_assert(sizeof(struct worker_stats) % sizeof(uint64_t) == 0, "it is summed as numbers");

/* Only what never goes down. */
static void add_counters(struct worker_stats *sum, const struct worker_stats *stats)
{
    struct worker_stats copy = *stats;
    copy.connections_open = copy.requests_running = copy.buffer_bytes = 0;
    uint64_t *to = (uint64_t *)sum;
    const uint64_t *from = (const uint64_t *)&copy;
    for (size_t i = 0; i < sizeof copy / sizeof *from; i++)
        to[i] += from[i];
}

static void add_cold_counters(struct board_head *head, const struct board_page *page)
{
    struct cold_stats copy = page->cold;
    copy.waiting = copy.queued = copy.threads = copy.known_pages = 0;
    uint64_t *to = (uint64_t *)&head->retired_cold;
    const uint64_t *from = (const uint64_t *)&copy;
    for (size_t i = 0; i < sizeof copy / sizeof *from; i++)
        to[i] += from[i];
    for (size_t i = 0; i < N_METHODS; i++) {
        head->retired_latency[i].offloaded += page->latency[i].offloaded;
        latency_add(&head->retired_latency[i].cold, &page->latency[i].cold);
        latency_add(&head->retired_latency[i].warm, &page->latency[i].warm);
    }
}

static void raise_to(uint64_t *number, uint64_t told)
{
    if (told != BOARD_UNKNOWN && told > *number)
        *number = told;
}

void board_faults(const struct board *board, unsigned slot, uint64_t *ret_minor,
                  uint64_t *ret_major)
{
    const struct board_page *page = board_page(board, slot);
    const struct board_slot *own = &board->slots[slot];
    const struct board_sample *sample = board_sample_of(&own->sample, own->pid);
    uint64_t minor = page->minor_faults, major = page->major_faults;
    raise_to(&minor, own->told_minor);
    raise_to(&major, own->told_major);
    if (sample) {
        raise_to(&minor, sample->usage[USAGE_MINOR_FAULTS]);
        raise_to(&major, sample->usage[USAGE_MAJOR_FAULTS]);
    }
    *ret_minor = minor;
    *ret_major = major;
}

const struct board_sample *board_sample_of(const struct board_sample *sample, int32_t pid)
{
    return pid != 0 && sample->pid == pid ? sample : NULL;
}

void board_sample_begin(struct board_sample *sample, int32_t pid)
{
    sample->pid = 0;
    for (size_t i = 0; i < N_USAGE; i++)
        sample->usage[i] = BOARD_UNKNOWN;
    sample->usage_asked_ms = 0;
    sample->tree_generation = 0;
    sample->tree_pss_bytes = BOARD_UNKNOWN;
    sample->tree_asked_ms = 0;
    sample->pid = pid;
}

void board_retire(struct board *board, unsigned slot)
{
    const struct board_page *page = board_page(board, slot);
    struct board_head *head = board->own_head;
    uint64_t minor, major;
    board_faults(board, slot, &minor, &major);
    board->own_slots[slot].pid = 0;
    add_counters(&head->retired, &page->stats);
    add_cold_counters(head, page);
    head->retired_minor_faults += minor;
    head->retired_major_faults += major;
}

void board_take(struct board *board, unsigned slot, uint32_t number)
{
    struct board_page *page = (struct board_page *)(uintptr_t)board_page(board, slot);
    struct board_slot *own = &board->own_slots[slot];
    memset(page, 0, sizeof *page);
    own->number = number;
    own->started_ms = clock_ms();
    own->told_minor = own->told_major = 0;
}

void board_text_set(struct board_text *text, const char *line)
{
    atomic_fetch_add(&text->version, 1);
    snprintf(text->text, sizeof text->text, "%s", line);
    atomic_fetch_add(&text->version, 1);
}

void board_text_get(const struct board_text *text, char *line, size_t size)
{
    /* The writer is quick and writes rarely; one that died in the middle must not hold anybody. */
    for (unsigned i = 0; i < 100; i++) {
        uint32_t version = atomic_load(&text->version);
        snprintf(line, size, "%.*s", BOARD_TEXT_BYTES - 1, text->text);
        atomic_thread_fence(memory_order_acquire);
        if (version % 2 == 0 && version == atomic_load(&text->version))
            return;
    }
}

const char *warmup_mode_name(const struct warmup_progress *warmup)
{
    return warmup_mode_names[warmup->mode];
}

const char *warmup_state_name(const struct warmup_progress *warmup)
{
    switch ((int)warmup->state) {
    case WARMUP_RUNNING:
        return "running";
    case WARMUP_DONE:
        return "done";
    case WARMUP_FAILED:
        return "failed";
    case WARMUP_CANCELLED:
        return "cancelled";
    default:
        return "off";
    }
}

const char *warmup_progress_text(const struct warmup_progress *warmup, char *line, size_t size)
{
    uint64_t done = warmup->read_bytes, total = warmup->total_bytes, eta_ms = warmup->eta_ms;
    char left[48] = "";
    if (total == 0) { /* it has just begun, and has not said how much there is */
        snprintf(line, size, "0 %%");
        return line;
    }
    if (eta_ms != BOARD_UNKNOWN)
        snprintf(left, sizeof left, ", %" PRIu64 " s left", (eta_ms + 999) / 1000);
    double percent = (double)done * 100 / (double)total;
    snprintf(line, size, "%d %% of %.1f MiB%s", (int)(percent < 100 ? percent : 100),
             (double)total / (1024 * 1024), left);
    return line;
}

const char *board_unready_reason(const struct board *board, char *line, size_t size)
{
    const struct board_head *head = board->head;
    if (head->is_draining)
        return "stopping";
    if (head->is_damaged) {
        board_text_get(&head->damage, line, size);
        return line;
    }
    if (head->n_serving == 0)
        return "no worker is serving";
    if (!head->is_ready_after_warmup)
        return NULL;
    char text[128];
    snprintf(line, size, "warming up: %s", warmup_progress_text(&head->warmup, text, sizeof text));
    return line;
}
