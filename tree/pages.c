/*
 * pages: sets of pages, and how they are filled. See act/pages.h.
 *
 * The kernel is asked about some ten thousand pages at once, so what counts is the time that it
 * takes itself; its bytes become bits 64 at a time.
 */
#include "tree/pages.h"

#include <assert.h>
#include <errno.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

/* What of the file is mapped at a time, so that little address space is needed. */
#define WINDOW_BYTES ((uint64_t)1 << 30)

/* Pages that one call of mincore is asked for: half a millisecond, and a byte each on the stack. */
#define MINCORE_PAGES 16384

/* Pages that one read of pagemap gives: eight bytes each on the stack. */
#define PAGEMAP_PAGES   4096
#define PAGEMAP_PRESENT 63 /* the bit */

static_assert(WINDOW_BYTES / ACT_PAGE_BYTES % MINCORE_PAGES == 0, "whole calls");
static_assert(MINCORE_PAGES % PAGES_WORD == 0, "whole words");

int act_pages_new(uint64_t size_bytes, struct act_pages **ret_pages)
{
    if (size_bytes > INT64_MAX)
        return -EFBIG;
    uint64_t n_pages = size_bytes / ACT_PAGE_BYTES + (size_bytes % ACT_PAGE_BYTES != 0);
    uint64_t n_words = (n_pages + PAGES_WORD - 1) / PAGES_WORD;
    struct act_pages *pages = calloc(1, sizeof *pages + n_words * sizeof *pages->words);
    if (!pages)
        return -ENOMEM;
    pages->size_bytes = size_bytes;
    pages->n_pages = n_pages;
    pages->n_words = n_words;
    *ret_pages = pages;
    return 0;
}

void act_pages_free(struct act_pages *pages)
{
    free(pages);
}

uint64_t act_pages_size_bytes(const struct act_pages *pages)
{
    return pages->size_bytes;
}

uint64_t act_pages_total(const struct act_pages *pages)
{
    return pages->n_pages;
}

/* n pages from first on, as far as the file has them. */
static uint64_t clamp(const struct act_pages *pages, uint64_t first, uint64_t n)
{
    uint64_t left = first < pages->n_pages ? pages->n_pages - first : 0;
    return n < left ? n : left;
}

/* The bits of one word that are in the n pages from page on, which is in that word. */
static uint64_t word_mask(uint64_t page, uint64_t n)
{
    uint64_t shift = page % PAGES_WORD, most = PAGES_WORD - shift;
    uint64_t ones = n < most ? (UINT64_C(1) << n) - 1 : UINT64_MAX;
    return ones << shift;
}

/* How many pages word_mask has covered. */
static uint64_t word_step(uint64_t page, uint64_t n)
{
    uint64_t most = PAGES_WORD - page % PAGES_WORD;
    return n < most ? n : most;
}

uint64_t act_pages_count_in(const struct act_pages *pages, uint64_t first, uint64_t n)
{
    uint64_t count = 0, step;
    for (n = clamp(pages, first, n); n > 0; first += step, n -= step) {
        uint64_t bits = pages->words[first / PAGES_WORD] & word_mask(first, n);
        count += (uint64_t)__builtin_popcountll(bits);
        step = word_step(first, n);
    }
    return count;
}

uint64_t act_pages_count(const struct act_pages *pages)
{
    return act_pages_count_in(pages, 0, pages->n_pages);
}

bool act_pages_has(const struct act_pages *pages, uint64_t page)
{
    return page < pages->n_pages && pages->words[page / PAGES_WORD] >> page % PAGES_WORD & 1;
}

void act_pages_add(struct act_pages *pages, uint64_t first, uint64_t n)
{
    uint64_t step;
    for (n = clamp(pages, first, n); n > 0; first += step, n -= step) {
        pages->words[first / PAGES_WORD] |= word_mask(first, n);
        step = word_step(first, n);
    }
}

/* The first page at or behind `from` whose bit is not that of flip (0: it is in the set; all ones:
 * it is not); n_pages or more: there is none. */
static uint64_t find(const struct act_pages *pages, uint64_t from, uint64_t flip)
{
    if (from >= pages->n_pages)
        return pages->n_pages;
    uint64_t word = from / PAGES_WORD;
    uint64_t bits = (pages->words[word] ^ flip) & UINT64_MAX << from % PAGES_WORD;
    while (bits == 0 && ++word < pages->n_words)
        bits = pages->words[word] ^ flip;
    return bits == 0 ? pages->n_pages : word * PAGES_WORD + (uint64_t)__builtin_ctzll(bits);
}

bool act_pages_next(const struct act_pages *pages, uint64_t from, uint64_t *ret_first,
                    uint64_t *ret_n)
{
    uint64_t first = find(pages, from, 0);
    if (first >= pages->n_pages)
        return false;
    *ret_n = find(pages, first, UINT64_MAX) - first;
    *ret_first = first;
    return true;
}

/* How many of our pages one of the kernel's has. */
static uint64_t kernel_unit(void)
{
    long bytes = sysconf(_SC_PAGESIZE);
    return bytes > ACT_PAGE_BYTES ? (uint64_t)bytes / ACT_PAGE_BYTES : 1;
}

/* The lowest bits of eight bytes, the first byte's first: each is multiplied to a place of its own
 * in the highest byte, and no two others meet there. */
static uint64_t pack_8(const unsigned char *bytes)
{
    uint64_t bits;
    memcpy(&bits, bytes, sizeof bits);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    bits = __builtin_bswap64(bits);
#endif
    return (bits & UINT64_C(0x0101010101010101)) * UINT64_C(0x0102040810204080) >> 56;
}

/* What mincore has said of n pages from first on, which begins a word. */
static void add_bytes(struct act_pages *pages, uint64_t first, uint64_t n, unsigned char *there)
{
    uint64_t *word = pages->words + first / PAGES_WORD;
    memset(there + n, 0, (PAGES_WORD - n % PAGES_WORD) % PAGES_WORD);
    for (uint64_t at = 0; at < n; at += PAGES_WORD, word++)
        for (unsigned i = 0; i < 8; i++)
            *word |= pack_8(there + at + 8 * i) << 8 * i;
}

/* Asks about n pages from first on, which are mapped at p. */
static int ask(struct act_pages *pages, uint64_t first, uint64_t n, const uint8_t *p, uint64_t unit)
{
    unsigned char there[MINCORE_PAGES];
    if (mincore((void *)(uintptr_t)p, n * ACT_PAGE_BYTES, there) < 0)
        return -errno;
    if (unit == 1) {
        add_bytes(pages, first, n, there);
        return 0;
    }
    for (uint64_t i = 0; i < n; i += unit)
        if (there[i / unit] & 1)
            act_pages_add(pages, first + i, n - i < unit ? n - i : unit);
    return 0;
}

struct look {
    struct act_pages *pages;
    uint64_t end;  /* pages from here on are not asked for: the set or the file ends */
    uint64_t unit; /* kernel_unit */
    act_pages_go_on *go_on;
    void *context;
};

static bool is_wanted(const struct look *look, uint64_t done)
{
    return !look->go_on || look->go_on(look->context, done, look->pages->n_pages);
}

/* Pages first to last - 1, which are mapped at p. */
static int look_at(const struct look *look, uint64_t first, uint64_t last, const uint8_t *p)
{
    uint64_t n;
    for (uint64_t at = first; at < last; at += n) {
        if (!is_wanted(look, at))
            return -ECANCELED;
        n = last - at < MINCORE_PAGES ? last - at : MINCORE_PAGES;
        int r = ask(look->pages, at, n, p + (at - first) * ACT_PAGE_BYTES, look->unit);
        if (r < 0)
            return r;
    }
    return 0;
}

/* Files in huge pages are nowhere else than in memory, and mincore does not know of that. */
static bool is_in_huge_pages(int fd)
{
    struct statfs fs;
    return fstatfs(fd, &fs) == 0 && (uint32_t)fs.f_type == HUGETLBFS_MAGIC;
}

int act_pages_add_resident(struct act_pages *pages, int fd, act_pages_go_on *go_on, void *context)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    /* The kernel may keep pages in one piece with those behind the end: they are not the file's. */
    uint64_t size = (uint64_t)st.st_size, window = WINDOW_BYTES / ACT_PAGE_BYTES;
    uint64_t n_file = size / ACT_PAGE_BYTES + (size % ACT_PAGE_BYTES != 0);
    struct look look = {pages, clamp(pages, 0, n_file), kernel_unit(), go_on, context};
    if (is_in_huge_pages(fd)) {
        act_pages_add(pages, 0, look.end);
        return 0;
    }
    int r = 0;
    for (uint64_t at = 0; at < look.end && r == 0; at += window) {
        uint64_t last = look.end - at < window ? look.end : at + window;
        size_t len = (last - at) * ACT_PAGE_BYTES;
        void *p = mmap(NULL, len, PROT_NONE, MAP_SHARED | MAP_NORESERVE, fd,
                       (off_t)(at * ACT_PAGE_BYTES));
        if (p == MAP_FAILED)
            return -errno;
        r = look_at(&look, at, last, p);
        munmap(p, len);
    }
    return r;
}

/* Those of the n entries from page first on. */
static void add_entries(const struct look *look, uint64_t first, const uint64_t *entries,
                        uint64_t n)
{
    uint64_t *words = look->pages->words;
    for (uint64_t i = 0; i < n; i++) {
        uint64_t page = first + i * look->unit, is_there = entries[i] >> PAGEMAP_PRESENT & 1;
        if (look->unit == 1)
            words[page / PAGES_WORD] |= is_there << page % PAGES_WORD;
        else
            act_pages_add(look->pages, page, look->unit * is_there);
    }
}

int act_pages_add_mapped(struct act_pages *pages, int pagemap_fd, uint64_t mapping_start,
                         act_pages_go_on *go_on, void *context)
{
    struct look look = {pages, pages->n_pages, kernel_unit(), go_on, context};
    uint64_t entries[PAGEMAP_PAGES], entry = mapping_start / ACT_PAGE_BYTES / look.unit;
    if (mapping_start % (look.unit * ACT_PAGE_BYTES) != 0)
        return -EINVAL;
    for (uint64_t at = 0; at < look.end;) {
        if (!is_wanted(&look, at))
            return -ECANCELED;
        uint64_t wanted = (look.end - at + look.unit - 1) / look.unit;
        uint64_t n = wanted < PAGEMAP_PAGES ? wanted : PAGEMAP_PAGES;
        ssize_t len = pread(pagemap_fd, entries, n * sizeof *entries,
                            (off_t)((entry + at / look.unit) * sizeof *entries));
        if (len < 0)
            return -errno;
        n = (uint64_t)len / sizeof *entries;
        if (n == 0)
            break; /* behind the last address that a process can have */
        add_entries(&look, at, entries, n);
        at += n * look.unit;
    }
    return 0;
}

const char *act_pages_source_name(enum act_pages_source source)
{
    switch (source) {
    case ACT_PAGES_MINCORE:
        return "mincore";
    case ACT_PAGES_PAGEMAP:
        return "pagemap";
    case ACT_PAGES_UNKNOWN:
    default:
        return "unknown";
    }
}
