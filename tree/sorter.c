/*
 * sorter: see sorter.h.
 *
 * In the arena and in the file an entry is a record: struct record, then key and byte value. All
 * runs stand in one file, one behind the other. When there are as many as can be read at once, the
 * last ones are merged into one: not all, or an entry would be copied again with every merge.
 */
#include "tree/sorter.h"

#include "base/fd.h"
#include "tree/output.h"

#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define ARENA_MIN_BYTES ((size_t)1 << 20)
#define READ_BYTES      ((size_t)64 * 1024) /* of a run at a time, at least */
#define RUNS_MIN        8
#define RUNS_MAX        1024
#define LARGEST_PART    RUNS_MIN /* an entry has at most this part of the memory: 8 are merged */

struct record {
    uint64_t value;
    uint64_t line;
    uint32_t key_len;
    uint32_t bytes_len;
};

struct sorter_index {
    uint64_t prefix; /* the key's first 8 bytes, big-endian: compares as they do */
    uint64_t offset; /* of its record in the arena */
};

static uint64_t key_prefix(struct slice key)
{
    uint64_t prefix = 0;
    if (key.len > 0)
        memcpy(&prefix, key.p, key.len < 8 ? key.len : 8);
    return be64toh(prefix);
}

/* Beyond what their prefixes tell. */
static int compare_keys(struct slice a, struct slice b)
{
    size_t shorter = a.len < b.len ? a.len : b.len;
    int r = shorter > 8 ? memcmp(a.p + 8, b.p + 8, shorter - 8) : 0;
    return r != 0 ? r : (a.len > b.len) - (a.len < b.len);
}

static void entry_at(const uint8_t *p, struct sorter_entry *ret)
{
    struct record record;
    memcpy(&record, p, sizeof record);
    ret->key = slice_of(p + sizeof record, record.key_len);
    ret->bytes = slice_of(p + sizeof record + record.key_len, record.bytes_len);
    ret->value = record.value;
    ret->line = record.line;
}

static struct record record_of(const struct sorter_entry *entry)
{
    return (struct record){
        .value = entry->value,
        .line = entry->line,
        .key_len = (uint32_t)entry->key.len,
        .bytes_len = (uint32_t)entry->bytes.len,
    };
}

static size_t record_bytes(const struct sorter_entry *entry)
{
    return sizeof(struct record) + entry->key.len + entry->bytes.len;
}

static uint8_t *put(uint8_t *p, const void *bytes, size_t len)
{
    if (len > 0)
        memcpy(p, bytes, len);
    return p + len;
}

/* In memory */

static struct sorter_index *index_begin(const struct sorter *s)
{
    return (struct sorter_index *)(void *)(s->arena + s->arena_bytes) - s->n_index;
}

static int compare_index(const void *a, const void *b, void *arena)
{
    const struct sorter_index *x = a, *y = b;
    struct sorter_entry ex, ey;
    if (x->prefix != y->prefix)
        return x->prefix < y->prefix ? -1 : 1;
    entry_at((const uint8_t *)arena + x->offset, &ex);
    entry_at((const uint8_t *)arena + y->offset, &ey);
    int r = compare_keys(ex.key, ey.key);
    return r != 0 ? r : (x->offset > y->offset) - (x->offset < y->offset);
}

static void sort_arena(struct sorter *s)
{
    qsort_r(index_begin(s), s->n_index, sizeof(struct sorter_index), compare_index, s->arena);
}

/* The temporary file */

static int open_temporary(struct sorter *s)
{
    static const char pattern[] = "actd-sort-XXXXXX";
    char path[4096];
    const int flags = O_TMPFILE | O_RDWR | O_CLOEXEC;
    s->fd = s->directory_fd >= 0 ? openat(s->directory_fd, ".", flags, 0600)
                                 : open(s->directory_name, flags, 0600);
    if (s->fd >= 0)
        return 0;
    /* A file system without O_TMPFILE: a name for a moment. */
    int n = s->directory_fd >= 0
                ? snprintf(path, sizeof path, "/proc/self/fd/%d/%s", s->directory_fd, pattern)
                : snprintf(path, sizeof path, "%s/%s", s->directory_name, pattern);
    if (n >= (int)sizeof path)
        return -ENAMETOOLONG;
    s->fd = mkostemp(path, O_CLOEXEC);
    if (s->fd < 0)
        return -errno;
    return unlink(path) < 0 ? -errno : 0;
}

static int run_push(struct sorter *s, uint64_t begin)
{
    if (s->n_runs == s->runs_room) {
        size_t room = s->runs_room ? 2 * s->runs_room : RUNS_MIN;
        struct sorter_run *runs = reallocarray(s->runs, room, sizeof *runs);
        if (!runs)
            return -ENOMEM;
        s->runs = runs;
        s->runs_room = room;
    }
    s->runs[s->n_runs++] =
        (struct sorter_run){.start = begin, .begin = begin, .end = s->file_bytes};
    s->n_spilled_runs++;
    s->spilled_bytes += s->file_bytes - begin;
    return 0;
}

/* Reading runs */

static void run_close(struct sorter_run *run)
{
    free(run->p);
    run->p = NULL;
}

/* Makes at least `need` bytes of the run be in its buffer. -EIO: the file is not what was written.
 */
static int run_fill(const struct sorter *s, struct sorter_run *run, size_t need)
{
    size_t left = run->len - run->at;
    if (left >= need)
        return 0;
    if (need > run->size) {
        uint8_t *p = realloc(run->p, need);
        if (!p)
            return -ENOMEM;
        run->p = p;
        run->size = need;
    }
    memmove(run->p, run->p + run->at, left);
    run->at = 0;
    run->len = left;
    uint64_t n = run->end - run->begin;
    if (n > run->size - left)
        n = run->size - left;
    if (n < need - left)
        return -EIO;
    int r = output_read_at(s->fd, run->p + left, (size_t)n, run->begin);
    if (r != 0)
        return r;
    run->begin += n;
    run->len += (size_t)n;
    return 0;
}

/* Its next entry, or SORTER_END. */
static int run_next(const struct sorter *s, struct sorter_run *run)
{
    struct record record;
    if (run->at == run->len && run->begin == run->end)
        return SORTER_END;
    int r = run_fill(s, run, sizeof record);
    if (r != 0)
        return r;
    memcpy(&record, run->p + run->at, sizeof record);
    size_t bytes = sizeof record + record.key_len + record.bytes_len;
    if ((r = run_fill(s, run, bytes)) != 0)
        return r;
    entry_at(run->p + run->at, &run->entry);
    run->prefix = key_prefix(run->entry.key);
    run->at += bytes;
    return 0;
}

/* Of equal keys the one of the earlier run comes first. */
static bool is_before(const struct sorter_run *a, const struct sorter_run *b)
{
    if (a->prefix != b->prefix)
        return a->prefix < b->prefix;
    int r = compare_keys(a->entry.key, b->entry.key);
    return r != 0 ? r < 0 : a < b;
}

static void heap_sift(struct sorter *s, size_t i)
{
    for (;;) {
        size_t least = i;
        for (size_t child = 2 * i + 1; child <= 2 * i + 2 && child < s->n_heap; child++)
            if (is_before(s->heap[child], s->heap[least]))
                least = child;
        if (least == i)
            return;
        struct sorter_run *run = s->heap[i];
        s->heap[i] = s->heap[least];
        s->heap[least] = run;
        i = least;
    }
}

/* Of the runs from `first` on. */
static int merge_begin(struct sorter *s, size_t first, uint64_t memory_bytes)
{
    size_t size = (size_t)(memory_bytes / (s->n_runs - first));
    s->heap = calloc(s->n_runs - first, sizeof *s->heap);
    if (!s->heap)
        return -ENOMEM;
    s->n_heap = 0;
    s->taken = NULL;
    for (size_t i = first; i < s->n_runs; i++) {
        struct sorter_run *run = &s->runs[i];
        run->size = size > READ_BYTES ? size : READ_BYTES;
        run->p = malloc(run->size);
        if (!run->p)
            return -ENOMEM;
        int r = run_next(s, run);
        if (r != 0)
            return r == SORTER_END ? -EIO : r;
        s->heap[s->n_heap++] = run;
    }
    for (size_t i = s->n_heap; i-- > 0;)
        heap_sift(s, i);
    return 0;
}

static void merge_end(struct sorter *s, size_t first)
{
    for (size_t i = first; i < s->n_runs; i++)
        run_close(&s->runs[i]);
    s->n_heap = 0;
    free(s->heap);
    s->heap = NULL;
    s->taken = NULL;
}

static int merge_next(struct sorter *s, struct sorter_entry *ret)
{
    if (s->taken) {
        int r = run_next(s, s->taken);
        if (r < 0)
            return r;
        if (r == SORTER_END)
            s->heap[0] = s->heap[--s->n_heap];
        heap_sift(s, 0);
        s->taken = NULL;
    }
    if (s->n_heap == 0)
        return SORTER_END;
    s->taken = s->heap[0];
    *ret = s->taken->entry;
    return 0;
}

/* Writing runs */

static int put_entry(struct output *output, const struct sorter_entry *entry)
{
    struct record record = record_of(entry);
    int r = output_append(output, &record, sizeof record);
    if (r == 0)
        r = output_append(output, entry->key.p, entry->key.len);
    return r == 0 ? output_append(output, entry->bytes.p, entry->bytes.len) : r;
}

static int next_in_arena(struct sorter *s, struct sorter_entry *ret)
{
    if (s->next_index == s->n_index)
        return SORTER_END;
    entry_at(s->arena + index_begin(s)[s->next_index++].offset, ret);
    return 0;
}

/* What next gives becomes a run at the end of the file. */
static int put_run(struct sorter *s, int (*next)(struct sorter *s, struct sorter_entry *ret))
{
    struct output output;
    struct sorter_entry entry;
    int r = s->fd < 0 ? open_temporary(s) : 0;
    if (r == 0)
        r = output_init(&output, s->fd);
    if (r != 0)
        return r;
    output.start = s->file_bytes;
    while (r == 0 && (r = next(s, &entry)) == 0)
        r = put_entry(&output, &entry);
    if (r == SORTER_END && (r = output_flush(&output)) == 0)
        s->file_bytes = output.start;
    output_deinit(&output);
    return r;
}

/* How many runs can be read at once in so much memory. */
static size_t runs_max(const struct sorter *s, uint64_t memory_bytes, size_t least)
{
    size_t buffer_bytes = s->largest_bytes > READ_BYTES ? s->largest_bytes : READ_BYTES;
    uint64_t n = memory_bytes / buffer_bytes;
    return n < least ? least : n > RUNS_MAX ? RUNS_MAX : (size_t)n;
}

/* Where the last `least` runs begin, with those before them that are not much larger: so the runs
 * that stay are ever larger ones, and few. */
static size_t runs_choose(const struct sorter *s, size_t least)
{
    size_t first = s->n_runs;
    uint64_t bytes = 0;
    for (; first > 0; first--) {
        const struct sorter_run *run = &s->runs[first - 1];
        if (s->n_runs - first >= least && (run->end - run->start) / 2 > bytes)
            break;
        bytes += run->end - run->start;
    }
    return first;
}

/* The last runs, at least so many, become one, at the end of the file; their place in it is given
 * back. The arena is empty. */
static int merge_runs(struct sorter *s, size_t least)
{
    uint64_t begin = s->file_bytes;
    size_t first = runs_choose(s, least);
    if (s->arena)
        (void)madvise(s->arena, s->arena_bytes, MADV_DONTNEED);
    int r = merge_begin(s, first, s->memory_bytes / 4 * 3);
    if (r == 0)
        r = put_run(s, merge_next);
    merge_end(s, first);
    if (r != 0)
        return r;
    for (size_t i = first; i < s->n_runs; i++)
        (void)fallocate(s->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)s->runs[i].start,
                        (off_t)(s->runs[i].end - s->runs[i].start));
    s->n_runs = first;
    return run_push(s, begin);
}

/* What is in the arena becomes a run. */
static int spill(struct sorter *s)
{
    uint64_t begin = s->file_bytes;
    if (s->n_index == 0)
        return 0;
    sort_arena(s);
    s->next_index = 0;
    int r = put_run(s, next_in_arena);
    s->arena_used = s->n_index = s->next_index = 0;
    if (r == 0)
        r = run_push(s, begin);
    return r;
}

int sorter_add(struct sorter *s, const struct sorter_entry *entry)
{
    uint64_t most = s->memory_bytes / LARGEST_PART;
    if (most > UINT32_MAX)
        most = UINT32_MAX;
    if (entry->key.len > most || entry->bytes.len > most - entry->key.len)
        return SORTER_LARGE;
    size_t bytes = (record_bytes(entry) + 7) & ~(size_t)7;
    if (bytes > s->largest_bytes)
        s->largest_bytes = bytes;
    /* The index counts twice: to sort it takes as much again. */
    size_t index_bytes = 2 * (s->n_index + 1) * sizeof(struct sorter_index);
    if (bytes + index_bytes > s->arena_bytes - s->arena_used) {
        int r = spill(s);
        if (r == 0 && s->n_runs >= runs_max(s, s->memory_bytes / 4 * 3, RUNS_MIN))
            r = merge_runs(s, 2);
        if (r != 0)
            return r;
    }
    struct record record = record_of(entry);
    uint8_t *p = put(s->arena + s->arena_used, &record, sizeof record);
    put(put(p, entry->key.p, entry->key.len), entry->bytes.p, entry->bytes.len);
    s->n_index++;
    *index_begin(s) =
        (struct sorter_index){.prefix = key_prefix(entry->key), .offset = s->arena_used};
    s->arena_used += bytes;
    s->n_entries++;
    return 0;
}

static void arena_free(struct sorter *s)
{
    if (s->arena)
        munmap(s->arena, s->arena_bytes);
    s->arena = NULL;
}

int sorter_sort(struct sorter *s, uint64_t memory_bytes)
{
    size_t held = s->arena_used + 2 * s->n_index * sizeof(struct sorter_index);
    if (s->n_runs == 0 && held <= memory_bytes) {
        sort_arena(s);
        s->next_index = 0;
        return 0;
    }
    int r = spill(s);
    arena_free(s);
    size_t max = runs_max(s, memory_bytes, 2);
    if (r == 0 && s->n_runs > max)
        r = merge_runs(s, s->n_runs - max + 1);
    return r == 0 ? merge_begin(s, 0, memory_bytes) : r;
}

int sorter_next(struct sorter *s, struct sorter_entry *ret)
{
    return s->heap ? merge_next(s, ret) : next_in_arena(s, ret);
}

int sorter_init(struct sorter *s, uint64_t memory_bytes, int directory_fd,
                const char *directory_name)
{
    size_t arena_bytes = (size_t)memory_bytes / 4 * 3 & ~(size_t)4095;
    assert(arena_bytes >= ARENA_MIN_BYTES);
    *s = (struct sorter){
        .memory_bytes = memory_bytes,
        .directory_fd = directory_fd,
        .directory_name = directory_name,
        .fd = -1,
        .arena_bytes = arena_bytes,
    };
    void *p = mmap(NULL, arena_bytes, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return -ENOMEM;
    s->arena = p;
    return 0;
}

void sorter_deinit(struct sorter *s)
{
    merge_end(s, 0);
    free(s->runs);
    s->runs = NULL;
    s->n_runs = 0;
    arena_free(s);
    fd_closep(&s->fd);
}
