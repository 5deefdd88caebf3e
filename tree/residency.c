/*
 * residency: see act/residency.h.
 */
#include "tree/residency.h"

#include "tree/tree.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

static_assert(ACT_PAGE_BYTES == 1 << PAGE_SHIFT, "one size");

/* Pages that one call of mincore is asked for: those of a word. */
#define WORD_PAGES 64

struct act_residency {
    struct residency_bits bits; /* first: what the accessor has of it */
    struct act tree;            /* the handle: as the original, with `bits` */
    _Atomic uint64_t *awaited;  /* a bit a page that somebody is reading; behind the known ones */
    size_t mapped_bytes;        /* of both: one mapping */
    int fd;
    enum act_probe probe;
    _Atomic uint64_t n_known;
    uint64_t n_probes;
    uint64_t hand; /* the word that act_residency_check looks at next */
    size_t n_missed, n_wanted;
    uint64_t wanted[ACT_WANTED_MAX]; /* first those that were missed */
};

/* Does mincore tell us the truth? The kernel's own rule: to the owner, who alone may set
 * O_NOATIME, and to who may write the file. */
static bool may_mincore(int fd)
{
    char path[64];
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0)
        return false;
    if (flags & O_NOATIME || fcntl(fd, F_SETFL, flags | O_NOATIME) == 0) {
        fcntl(fd, F_SETFL, flags);
        return true;
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) == 0;
}

/* 1: the page is there; 0: it is not; or -errno. */
static int read_nowait(int fd, uint64_t page)
{
    char byte;
    struct iovec room = {&byte, 1};
    ssize_t n = preadv2(fd, &room, 1, (off_t)(page << PAGE_SHIFT), RWF_NOWAIT);
    if (n >= 0)
        return n > 0;
    return errno == EAGAIN ? 0 : -errno;
}

enum act_probe act_probe_find(int fd)
{
    if (may_mincore(fd))
        return ACT_PROBE_MINCORE;
    return read_nowait(fd, 0) >= 0 ? ACT_PROBE_NOWAIT : ACT_PROBE_NONE;
}

const char *act_probe_name(enum act_probe probe)
{
    static const char *const names[] = {"none", "mincore", "nowait"};
    return names[probe];
}

static uint64_t n_words_of(const struct act_residency *residency)
{
    return (residency->bits.n_pages + WORD_PAGES - 1) / WORD_PAGES;
}

int act_residency_new(const struct act *tree, int fd, enum act_probe probe,
                      struct act_residency **ret_residency)
{
    if (tree->map.mapped == 0)
        return -EINVAL;
    struct act_residency *residency = calloc(1, sizeof *residency);
    if (!residency)
        return -ENOMEM;
    residency->bits.n_pages = (tree->map.size - 1) / ACT_PAGE_BYTES + 1;
    uint64_t n_words = n_words_of(residency);
    residency->mapped_bytes = 2 * n_words * sizeof(uint64_t);
    void *bits = mmap(NULL, residency->mapped_bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (bits == MAP_FAILED) {
        free(residency);
        return -ENOMEM;
    }
    residency->bits.known = bits;
    residency->bits.max_value_bytes = UINT64_MAX;
    residency->awaited = residency->bits.known + n_words;
    residency->fd = fd;
    residency->probe = probe;
    /* A question must not have more read than the page that it is about. */
    if (probe == ACT_PROBE_NOWAIT)
        (void)posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
    residency->tree = *tree;
    residency->tree.residency = &residency->bits;
    *ret_residency = residency;
    return 0;
}

void act_residency_free(struct act_residency *residency)
{
    if (!residency)
        return;
    munmap((void *)(uintptr_t)residency->bits.known, residency->mapped_bytes);
    free(residency);
}

const struct act *act_residency_tree(const struct act_residency *residency)
{
    return &residency->tree;
}

void act_residency_limit_values(struct act_residency *residency, uint64_t max_bytes)
{
    residency->bits.max_value_bytes = max_bytes;
}

void act_residency_begin(struct act_residency *residency)
{
    residency->n_missed = residency->n_wanted = 0;
}

const uint64_t *act_residency_wanted(const struct act_residency *residency, size_t *ret_n_missed,
                                     size_t *ret_n)
{
    *ret_n_missed = residency->n_missed;
    *ret_n = residency->n_wanted;
    return residency->wanted;
}

bool act_residency_has_room(const struct act_residency *residency)
{
    return residency->n_wanted < ACT_WANTED_MAX;
}

/* Its place in the list; n: it is not among the first n. */
static size_t find_wanted(const struct act_residency *residency, uint64_t page, size_t n)
{
    size_t i = 0;
    while (i < n && residency->wanted[i] != page)
        i++;
    return i;
}

static void want(struct act_residency *residency, uint64_t page)
{
    if (act_residency_has_room(residency) &&
        find_wanted(residency, page, residency->n_wanted) == residency->n_wanted)
        residency->wanted[residency->n_wanted++] = page;
}

static bool is_missed(const struct act_residency *residency, uint64_t page)
{
    return find_wanted(residency, page, residency->n_missed) < residency->n_missed;
}

/* The first one that was not missed, if there is one, gives its place to it. */
static void miss(struct act_residency *residency, uint64_t page)
{
    size_t at = find_wanted(residency, page, residency->n_wanted);
    if (at < residency->n_missed || !act_residency_has_room(residency))
        return;
    if (at == residency->n_wanted)
        residency->n_wanted++;
    residency->wanted[at] = residency->wanted[residency->n_missed];
    residency->wanted[residency->n_missed++] = page;
}

static void note(struct act_residency *residency, uint64_t word, uint64_t bits)
{
    uint64_t before =
        atomic_fetch_or_explicit(&residency->bits.known[word], bits, memory_order_relaxed);
    atomic_fetch_add_explicit(&residency->n_known, (uint64_t)__builtin_popcountll(bits & ~before),
                              memory_order_relaxed);
}

void act_residency_await(struct act_residency *residency, uint64_t page)
{
    atomic_fetch_or_explicit(&residency->awaited[page / WORD_PAGES],
                             UINT64_C(1) << page % WORD_PAGES, memory_order_relaxed);
}

void act_residency_note(struct act_residency *residency, uint64_t page)
{
    uint64_t word = page / WORD_PAGES, bit = UINT64_C(1) << page % WORD_PAGES;
    note(residency, word, bit);
    atomic_fetch_and_explicit(&residency->awaited[word], ~bit, memory_order_relaxed);
}

static bool is_awaited(const struct act_residency *residency, uint64_t page)
{
    uint64_t word =
        atomic_load_explicit(&residency->awaited[page / WORD_PAGES], memory_order_relaxed);
    return word >> page % WORD_PAGES & 1;
}

static void forget(struct act_residency *residency, uint64_t word, uint64_t bits)
{
    residency->bits.is_all_known = false;
    uint64_t before =
        atomic_fetch_and_explicit(&residency->bits.known[word], ~bits, memory_order_relaxed);
    atomic_fetch_sub_explicit(&residency->n_known, (uint64_t)__builtin_popcountll(before & bits),
                              memory_order_relaxed);
}

/* Which of the n pages from `page` on are there: bit i is about page + i. n is 1 to 64. The kernel
 * tells of pages of its own size, which may be a multiple of ours. */
static uint64_t ask_mincore(struct act_residency *residency, uint64_t page, uint64_t n)
{
    unsigned char there[WORD_PAGES + 1];
    uint64_t bits = 0, unit = residency->tree.page_bytes >> PAGE_SHIFT, before = page % unit;
    uintptr_t begin = (uintptr_t)residency->tree.map.base + ((page - before) << PAGE_SHIFT);
    residency->n_probes++;
    if (mincore((void *)begin, (before + n) << PAGE_SHIFT, there) < 0)
        return 0;
    for (uint64_t i = 0; i < n; i++)
        bits |= (uint64_t)(there[(before + i) / unit] & 1) << i;
    return bits;
}

static uint64_t ask(struct act_residency *residency, uint64_t page, uint64_t n)
{
    uint64_t bits = 0;
    if (residency->probe == ACT_PROBE_MINCORE)
        return ask_mincore(residency, page, n);
    for (uint64_t i = 0; i < n && residency->probe == ACT_PROBE_NOWAIT; i++) {
        residency->n_probes++;
        bits |= (uint64_t)(read_nowait(residency->fd, page + i) == 1) << i;
    }
    return bits;
}

/* How many of the pages from first to last one call is to ask for. */
static uint64_t piece(const struct act_residency *residency, uint64_t first, uint64_t last)
{
    uint64_t n = residency->probe == ACT_PROBE_MINCORE ? WORD_PAGES : 1;
    return last - first < n ? last - first + 1 : n;
}

bool residency_ask(struct residency_bits *bits, uint64_t first, uint64_t last)
{
    struct act_residency *residency = (struct act_residency *)bits;
    bool has_all = true;
    if (last >= bits->n_pages)
        last = bits->n_pages - 1; /* what lies behind is memory of our own */
    while (first <= last && (has_all || act_residency_has_room(residency))) {
        if (residency_knows(bits, first)) {
            first++;
            continue;
        }
        if (is_awaited(residency, first) || is_missed(residency, first)) {
            miss(residency, first);
            has_all = false;
            first++;
            continue;
        }
        uint64_t n = piece(residency, first, last), there = ask(residency, first, n);
        for (uint64_t i = 0; i < n; i++) {
            bool is_there = there >> i & 1 && !is_awaited(residency, first + i);
            if (is_there)
                note(residency, (first + i) / WORD_PAGES, UINT64_C(1) << (first + i) % WORD_PAGES);
            else if (!residency_knows(bits, first + i)) {
                miss(residency, first + i);
                has_all = false;
            }
        }
        first += n;
    }
    return has_all;
}

void act_residency_want(struct act_residency *residency, uint64_t page, size_t n, bool backward)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t next = backward ? page - i : page + i;
        if (next >= residency->bits.n_pages)
            return; /* or before the first one */
        if (!residency_knows(&residency->bits, next))
            want(residency, next);
    }
}

/* Those of the word's known pages that are gone; counts what it asks. What mincore says of others
 * is not learnt: the kernel takes pages first that nobody has mapped, and those that lookups have
 * touched are mapped. */
static uint64_t check_word(struct act_residency *residency, uint64_t word, unsigned *n_asked)
{
    uint64_t known = atomic_load_explicit(&residency->bits.known[word], memory_order_relaxed);
    uint64_t first = word * WORD_PAGES, gone = 0;
    uint64_t n = residency->bits.n_pages - first;
    if (known == 0)
        return 0;
    if (residency->probe == ACT_PROBE_MINCORE) {
        ++*n_asked;
        return known & ~ask_mincore(residency, first, n < WORD_PAGES ? n : WORD_PAGES);
    }
    for (unsigned i = 0; i < WORD_PAGES; i++)
        if (known >> i & 1) {
            ++*n_asked;
            gone |= (ask(residency, first + i, 1) ^ 1) << i;
        }
    return gone;
}

/* Words without a known page may be passed for nothing, but not without end. */
#define WORDS_PASSED 4096

uint64_t act_residency_check(struct act_residency *residency, unsigned max_asked,
                             uint64_t *ret_gone)
{
    uint64_t n_words = n_words_of(residency);
    uint64_t passed = 0, n_gone = 0;
    unsigned n_asked = 0;
    uint64_t most = n_words < WORDS_PASSED ? n_words : WORDS_PASSED; /* once around at most */
    while (residency->probe != ACT_PROBE_NONE && n_asked < max_asked && passed < most) {
        uint64_t gone = check_word(residency, residency->hand, &n_asked);
        if (gone != 0)
            forget(residency, residency->hand, gone);
        n_gone += (uint64_t)__builtin_popcountll(gone);
        residency->hand = (residency->hand + 1) % n_words;
        passed++;
    }
    residency->bits.is_all_known =
        atomic_load_explicit(&residency->n_known, memory_order_relaxed) == residency->bits.n_pages;
    if (ret_gone)
        *ret_gone = n_gone;
    return passed * WORD_PAGES;
}

#define BLOCK_PAGES 16

uint32_t act_residency_cool(struct act_residency *residency, uint64_t page)
{
    uint32_t cold = UINT32_MAX;
    for (unsigned i = 0; i < 512 / WORD_PAGES; i++) {
        uint64_t word = page / WORD_PAGES + i;
        if (word * WORD_PAGES >= residency->bits.n_pages)
            break;
        uint64_t known = atomic_load_explicit(&residency->bits.known[word], memory_order_relaxed);
        for (unsigned block = 0; block < WORD_PAGES / BLOCK_PAGES; block++)
            if (known >> (block * BLOCK_PAGES) & ((1 << BLOCK_PAGES) - 1))
                cold &= ~(UINT32_C(1) << (i * WORD_PAGES / BLOCK_PAGES + block));
        if (known != 0)
            forget(residency, word, known);
    }
    return cold;
}

void act_residency_doubt(struct act_residency *residency)
{
    uint64_t n_words = n_words_of(residency);
    for (uint64_t i = 0; i < n_words; i++)
        if (atomic_load_explicit(&residency->bits.known[i], memory_order_relaxed) != 0)
            forget(residency, i, UINT64_MAX);
}

void act_residency_info(const struct act_residency *residency, struct act_residency_info *ret_info)
{
    *ret_info = (struct act_residency_info){
        .probe = residency->probe,
        .n_pages = residency->bits.n_pages,
        .n_known = atomic_load_explicit(&residency->n_known, memory_order_relaxed),
        .n_probes = residency->n_probes,
    };
}
