/*
 * builder: entries -> a file. See act/builder.h.
 *
 * Sorted entries go to the shaper as they come. The first one that comes before its predecessor
 * changes that: what was built so far is walked back into the sorter, which takes all further ones,
 * and finish shapes what the sorter gives. So sorted input is never held, and other input needs no
 * second look.
 */
#include "act/builder.h"

#include "base/fd.h"
#include "tree/meta.h"
#include "tree/shaper.h"
#include "tree/sorter.h"
#include "tree/target.h"
#include "tree/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#define MAGIC_BYTES      8
#define PADDING_BYTES    8
#define PROGRESS_ENTRIES 65536
#define DIGEST_BYTES     ((size_t)1 << 20) /* read at a time */
#define LINES_KEPT       65536             /* whose keys may still turn out to come again */

/* Of the tree, to see what tables would cost; of a smaller one than that there is no need to. */
#define SAMPLE_BYTES     ((uint64_t)1 << 20)
#define SAMPLE_BYTES_MIN ((uint64_t)1 << 16)
#define SAMPLE_BYTES_MAX ((uint64_t)4 << 20) /* there are large values in it: it is not copied */

struct act_builder {
    struct act_builder_options options; /* defaults filled in */
    char *name;                         /* owned; for messages */
    struct target target;               /* fd -1: the file is the caller's */
    char *temporary;                    /* owned: the path of its temporary name, if it has one */
    int fd;                             /* borrowed: the target's or the caller's */
    struct output output;
    struct dedup dedup;
    struct shaper shaper;
    struct sorter sorter;
    unsigned table_min; /* for the shaper; 0: no tables */
    bool is_sample;     /* what is shaped now is to tell the best table_min */
    bool is_sorting;    /* entries go to the sorter */
    bool is_broken;     /* by an error that was told, or finished */

    uint64_t last_line; /* of the entry that the shaper got last */
    uint64_t *lines;    /* owned: of the first LINES_KEPT sorted entries, if they are wanted */
    /* Its byte value, not written yet: where the last of equal keys stays, it may give way. */
    uint8_t *held; /* owned */
    size_t held_len, held_room;
    bool is_holding;
    uint64_t n_added, n_duplicates;
    act_builder_progress on_progress;
    void *progress_context;
    struct act_duplicate duplicate; /* its key is owned */
    struct act_error error;
};

__attribute__((format(printf, 3, 4))) static int fail(struct act_builder *b, int result,
                                                      const char *format, ...)
{
    va_list args;
    size_t len = strlen(b->name), max = sizeof b->error.message / 2;
    int n = snprintf(b->error.message, sizeof b->error.message, "%s%s: ", len > max ? "..." : "",
                     len > max ? b->name + len - max : b->name);
    va_start(args, format);
    vsnprintf(b->error.message + n, sizeof b->error.message - (size_t)n, format, args);
    va_end(args);
    b->is_broken = true;
    return result;
}

/* r: 0, or what the system refused. */
static int settle(struct act_builder *b, int r, const char *what)
{
    return r == 0 ? 0 : fail(b, r, "%s: %s", what, strerror(-r));
}

/* Beginning */

static int options_check(struct act_builder *b)
{
    struct act_builder_options *o = &b->options;
    if (o->memory_bytes == 0)
        o->memory_bytes = ACT_BUILDER_MEMORY_BYTES;
    if (o->max_key_bytes == 0)
        o->max_key_bytes = ACT_MAX_KEY_BYTES;
    if (o->memory_bytes < ACT_BUILDER_MIN_MEMORY_BYTES || o->memory_bytes > SIZE_MAX / 2)
        return fail(b, -EINVAL, "memory of %llu bytes: at least %llu are needed",
                    (unsigned long long)o->memory_bytes,
                    (unsigned long long)ACT_BUILDER_MIN_MEMORY_BYTES);
    if (o->table_min_children != 0 &&
        (o->table_min_children < 2 || o->table_min_children > MAX_CHILDREN))
        return fail(b, -EINVAL, "tables from %u children on: 2 to 256 make sense",
                    o->table_min_children);
    if (o->values != ACT_VALUES_U64 && o->values != ACT_VALUES_BYTES)
        return fail(b, -EINVAL, "values are numbers or byte strings");
    if (o->duplicates > ACT_DUPLICATES_LAST)
        return fail(b, -EINVAL, "of equal keys the first or the last can stay, or none");
    if (o->is_plain && o->values != ACT_VALUES_U64)
        return fail(b, -EINVAL, "a plain file cannot hold byte values: it has no metadata");
    return 0;
}

/* Writes the header; and the metadata's place, as zeros. */
static int begin_file(struct act_builder *b)
{
    static const uint8_t head[HEADER_BYTES + META_BYTES] = "ACTree03";
    /* A quarter of the memory is for merging what was sorted. */
    uint64_t dedup_bytes = b->options.is_plain ? UINT64_MAX : b->options.memory_bytes / 4 * 3;
    dedup_init(&b->dedup, dedup_bytes);
    int r = shaper_init(&b->shaper, &b->output, &b->dedup, b->table_min);
    b->shaper.writer.is_sample = b->is_sample;
    if (r == 0)
        r = output_append(&b->output, head, b->options.is_plain ? HEADER_BYTES : sizeof head);
    return settle(b, r, "cannot begin");
}

/* begin_file for entries of which nothing is known yet. */
static int begin_tree(struct act_builder *b)
{
    b->is_sample = !b->options.is_plain && b->options.table_min_children == 0;
    b->table_min = b->options.is_plain ? 0
                   : b->is_sample      ? ACT_BUILDER_TABLE_MIN_CHILDREN
                                       : b->options.table_min_children;
    return begin_file(b);
}

/* A key that comes again is refused with the line where it came first; if the entries turn out not
 * to be sorted, the tree that was built from the first of them does not tell their lines. */
static int keep_lines(struct act_builder *b)
{
    if (b->options.duplicates != ACT_DUPLICATES_REFUSE)
        return 0;
    b->lines = calloc(LINES_KEPT, sizeof *b->lines);
    return b->lines ? 0 : settle(b, -ENOMEM, "cannot begin");
}

static int builder_new(const char *name, const struct act_builder_options *options,
                       struct act_builder **ret, struct act_error *error)
{
    struct act_builder *b = malloc(sizeof *b);
    char *copy = strdup(name);
    if (!b || !copy) {
        free(b);
        free(copy);
        snprintf(error->message, sizeof error->message, "%.512s: %s", name, strerror(ENOMEM));
        return -ENOMEM;
    }
    *b = (struct act_builder){.name = copy, .fd = -1};
    b->target = (struct target){.fd = -1, .directory_fd = -1};
    b->sorter = (struct sorter){.fd = -1};
    if (options)
        b->options = *options;
    *ret = b;
    return options_check(b);
}

static int builder_begin(struct act_builder *b, int fd)
{
    b->fd = fd;
    int r = settle(b, output_init(&b->output, fd), "cannot begin");
    if (r == 0)
        r = keep_lines(b);
    return r == 0 ? begin_tree(b) : r;
}

/* A builder that could not begin goes, and leaves its error. */
static int end_new(struct act_builder *b, int r, struct act_builder **ret_builder,
                   struct act_error *error)
{
    if (r == 0) {
        *ret_builder = b;
        return 0;
    }
    if (b)
        *error = b->error;
    act_builder_free(b);
    return r;
}

int act_builder_new(const char *path, const struct act_builder_options *options,
                    struct act_builder **ret_builder, struct act_error *ret_error)
{
    struct act_builder *b = NULL;
    struct act_error unwanted, *error = ret_error ? ret_error : &unwanted;
    int r = builder_new(path, options, &b, error);
    if (r == 0)
        r = target_init(&b->target, path, &b->error);
    if (r == 0 && !(b->temporary = target_temporary(&b->target)) && b->target.temporary[0])
        r = settle(b, -ENOMEM, "cannot begin");
    if (r == 0)
        r = builder_begin(b, b->target.fd);
    return end_new(b, r, ret_builder, error);
}

static int check_fd(struct act_builder *b, int fd)
{
    struct stat st;
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fstat(fd, &st) < 0)
        return settle(b, -errno, "cannot stat");
    if (!S_ISREG(st.st_mode))
        return fail(b, ACT_NOT_REGULAR, "not a regular file");
    if (st.st_size != 0)
        return fail(b, -EINVAL, "not an empty file");
    if ((flags & O_ACCMODE) != O_RDWR)
        return fail(b, -EBADF, "not open for reading and writing");
    if (flags & O_APPEND)
        return fail(b, -EINVAL, "open for appending: what is filled in last would go to the end");
    return 0;
}

int act_builder_new_fd(int fd, const char *name, const struct act_builder_options *options,
                       struct act_builder **ret_builder, struct act_error *ret_error)
{
    struct act_builder *b = NULL;
    struct act_error unwanted, *error = ret_error ? ret_error : &unwanted;
    int r = builder_new(name, options, &b, error);
    if (r == 0)
        r = check_fd(b, fd);
    if (r == 0)
        r = builder_begin(b, fd);
    return end_new(b, r, ret_builder, error);
}

/* Adding */

static int refuse_duplicate(struct act_builder *b, const struct sorter_entry *entry)
{
    uint8_t *key = malloc(entry->key.len + 1);
    if (!key)
        return settle(b, -ENOMEM, "cannot keep a key");
    if (entry->key.len > 0)
        memcpy(key, entry->key.p, entry->key.len);
    b->duplicate = (struct act_duplicate){
        .key = key,
        .key_len = entry->key.len,
        .line = entry->line,
        .first_line = b->last_line,
    };
    return fail(b, ACT_DUPLICATE, "a key came twice");
}

/* Writes the byte value of the key that the shaper got last. */
static int place_bytes(struct act_builder *b, struct slice bytes)
{
    uint64_t offset;
    int r = writer_put_bytes(&b->shaper.writer, bytes, &offset);
    if (r == 0)
        shaper_replace(&b->shaper, offset);
    return settle(b, r, "cannot write");
}

static int place_held(struct act_builder *b)
{
    if (!b->is_holding)
        return 0;
    b->is_holding = false;
    return place_bytes(b, slice_of(b->held, b->held_len));
}

static int hold_bytes(struct act_builder *b, struct slice bytes)
{
    if (bytes.len > b->held_room) {
        uint8_t *p = realloc(b->held, bytes.len);
        if (!p)
            return settle(b, -ENOMEM, "cannot keep a value");
        b->held = p;
        b->held_room = bytes.len;
    }
    if (bytes.len > 0)
        memcpy(b->held, bytes.p, bytes.len);
    b->held_len = bytes.len;
    b->is_holding = true;
    return 0;
}

/* The value of the key that the shaper got last, which comes for the first time or replaces one. */
static int set_value(struct act_builder *b, const struct sorter_entry *entry)
{
    if (b->options.values == ACT_VALUES_BYTES)
        return b->options.duplicates == ACT_DUPLICATES_LAST ? hold_bytes(b, entry->bytes)
                                                            : place_bytes(b, entry->bytes);
    shaper_replace(&b->shaper, entry->value);
    return 0;
}

static int settle_duplicate(struct act_builder *b, const struct sorter_entry *entry)
{
    if (b->options.duplicates == ACT_DUPLICATES_REFUSE)
        return refuse_duplicate(b, entry);
    b->n_duplicates++;
    return b->options.duplicates == ACT_DUPLICATES_FIRST ? 0 : set_value(b, entry);
}

/* 0, SHAPER_SMALLER, or an error that was told. */
static int shape_entry(struct act_builder *b, const struct sorter_entry *entry)
{
    int r = shaper_compare(&b->shaper, entry->key);
    if (r == SHAPER_EQUAL)
        return settle_duplicate(b, entry);
    if (r == SHAPER_SMALLER)
        return r;
    if ((r = place_held(b)) != 0)
        return r;
    b->last_line = entry->line;
    if (b->lines && b->shaper.n_keys < LINES_KEPT)
        b->lines[b->shaper.n_keys] = entry->line;
    r = settle(b, shaper_add(&b->shaper, entry->key, entry->value), "cannot write");
    return r == 0 && b->options.values == ACT_VALUES_BYTES ? set_value(b, entry) : r;
}

static int sort(struct act_builder *b, const struct sorter_entry *entry)
{
    int r = sorter_add(&b->sorter, entry);
    if (r == SORTER_LARGE)
        return fail(b, -E2BIG,
                    "line %llu: an entry of %zu bytes is too large to be sorted in %llu bytes of "
                    "memory: it may take an eighth; allow more, or sort the entries before",
                    (unsigned long long)entry->line, entry->key.len + entry->bytes.len,
                    (unsigned long long)b->options.memory_bytes);
    return settle(b, r, "cannot sort");
}

/* Writes the open rest of the tree and its end. */
static int end_tree(struct act_builder *b, uint64_t *ret_root)
{
    static const uint8_t padding[PADDING_BYTES];
    int r = place_held(b);
    if (r != 0)
        return r;
    r = shaper_finish(&b->shaper, ret_root);
    if (r == 0)
        r = output_append(&b->output, padding, sizeof padding);
    if (r == 0)
        r = output_flush(&b->output);
    return settle(b, r, "cannot write");
}

/* The last thing that is written: until then the file counts as unfinished. */
static int put_root(struct act_builder *b, uint64_t root)
{
    root = htole64(root);
    return settle(b, output_write_at(b->fd, &root, sizeof root, MAGIC_BYTES), "cannot write");
}

/* All entries of a tree that we have built, to one of the functions that take them. */
static int walk_back(struct act_builder *b, const struct act *tree, size_t longest_key_bytes,
                     int (*take)(struct act_builder *b, const struct sorter_entry *entry))
{
    struct act_cursor *cursor;
    struct sorter_entry entry = {0};
    /* A cursor takes address space for the longest key; 0 is its default. */
    int r = settle(b, act_cursor_new(tree, longest_key_bytes + 1, &cursor), "cannot read back");
    if (r != 0)
        return r;
    r = act_cursor_first(cursor);
    for (size_t i = 0; r == 0; r = act_cursor_next(cursor), i++) {
        entry.line = b->lines && i < LINES_KEPT ? b->lines[i] : 0;
        entry.key.p = act_cursor_key(cursor, &entry.key.len);
        (void)act_cursor_value(cursor, &entry.value);
        if (b->options.values == ACT_VALUES_BYTES &&
            act_bytes(tree, entry.value, &entry.bytes.p, &entry.bytes.len, NULL) != 0)
            r = ACT_CORRUPT;
        if (r != 0 || (r = take(b, &entry)) != 0)
            break;
    }
    act_cursor_free(cursor);
    /* The file is ours alone: that it cannot be read back is an error of the system's. */
    return r == ACT_MISS ? 0 : b->is_broken ? r : settle(b, -EIO, "cannot read back");
}

/* The bytes that were written can be read as a tree, although the metadata is not there yet. */
static int use_back(struct act_builder *b, int r, struct act *tree, const struct act_error *error)
{
    if (r != 0)
        return fail(b, r < 0 ? r : -EIO, "cannot be read back: %s", error->message);
    if (b->options.values == ACT_VALUES_BYTES) {
        tree->values = ACT_VALUES_BYTES;
        tree->metadata.objects_end = output_at(&b->output) - PADDING_BYTES;
        tree->map.tables_begin = HEADER_BYTES + META_BYTES;
    }
    return 0;
}

static int open_back(struct act_builder *b, struct act **ret)
{
    uint64_t root = 0;
    struct act_error error;
    int r = end_tree(b, &root);
    if (r == 0)
        r = put_root(b, root);
    if (r != 0)
        return r;
    r = act_open_fd(b->fd, "what was built", ret, &error);
    r = use_back(b, r, *ret, &error);
    /* It is read once, from its start to its end. */
    if (r == 0)
        (void)madvise((void *)(uintptr_t)(*ret)->map.base, (*ret)->map.size, MADV_SEQUENTIAL);
    return r;
}

/* The same from a copy, since the file begins anew; in the file there is never a root before the
 * end. *ret_copy is to be freed after the tree. */
static int copy_back(struct act_builder *b, struct act **ret, uint8_t **ret_copy)
{
    uint64_t root = 0;
    struct act_error error;
    int r = end_tree(b, &root);
    size_t size = (size_t)output_at(&b->output);
    if (r != 0)
        return r;
    uint8_t *copy = *ret_copy = malloc(size);
    r = settle(b, copy ? output_read_at(b->fd, copy, size, 0) : -ENOMEM, "cannot read back");
    if (r != 0)
        return r;
    root = htole64(root);
    memcpy(copy + MAGIC_BYTES, &root, sizeof root);
    r = act_open_memory(copy, size, "what was built", ret, &error);
    return use_back(b, r, *ret, &error);
}

static void end_shaping(struct act_builder *b)
{
    shaper_deinit(&b->shaper);
    dedup_deinit(&b->dedup);
}

/* What was built so far tells from how many children on tables pay. If that is another number than
 * was thought, it is built again. */
static int end_sample(struct act_builder *b)
{
    struct act *tree = NULL;
    uint8_t *copy = NULL;
    uint64_t last_line = b->last_line;
    size_t longest_key_bytes = (size_t)b->shaper.longest_key_bytes;
    unsigned table_min = writer_best_table_min(&b->shaper.writer);
    b->is_sample = b->shaper.writer.is_sample = false;
    if (table_min == b->table_min || output_at(&b->output) < SAMPLE_BYTES_MIN ||
        output_at(&b->output) > SAMPLE_BYTES_MAX)
        return 0;
    int r = copy_back(b, &tree, &copy);
    if (r == 0)
        r = settle(b, output_restart(&b->output), "cannot write");
    if (r == 0) {
        end_shaping(b);
        b->table_min = table_min;
        r = begin_file(b);
    }
    if (r == 0)
        r = walk_back(b, tree, longest_key_bytes, shape_entry);
    b->last_line = last_line;
    act_close(tree);
    free(copy);
    return r;
}

static int shape(struct act_builder *b, const struct sorter_entry *entry)
{
    int r = shape_entry(b, entry);
    return r == 0 && b->is_sample && output_at(&b->output) >= SAMPLE_BYTES ? end_sample(b) : r;
}

/* From the shaper to the sorter. */
static int begin_sorting(struct act_builder *b)
{
    struct act *tree = NULL;
    size_t longest_key_bytes = (size_t)b->shaper.longest_key_bytes;
    const char *directory = getenv("TMPDIR");
    int r = settle(b,
                   sorter_init(&b->sorter, b->options.memory_bytes, b->target.directory_fd,
                               directory && *directory ? directory : "/tmp"),
                   "cannot sort");
    if (r == 0)
        r = open_back(b, &tree);
    if (r == 0) {
        end_shaping(b); /* its memory is needed */
        r = walk_back(b, tree, longest_key_bytes, sort);
    }
    act_close(tree);
    free(b->lines); /* the sorter keeps them from here on */
    b->lines = NULL;
    b->is_sorting = true;
    return r == 0 ? settle(b, output_restart(&b->output), "cannot write") : r;
}

/* May an entry with such a value come now? */
static int check_add(struct act_builder *b, enum act_values values)
{
    if (b->is_broken)
        return ACT_BUILDER_BROKEN;
    if (b->options.values != values)
        return fail(b, -EINVAL, "values are %s in this file",
                    values == ACT_VALUES_U64 ? "byte strings" : "numbers");
    return 0;
}

static int add(struct act_builder *b, const struct sorter_entry *entry)
{
    if (entry->key.len > b->options.max_key_bytes)
        return fail(b, ACT_TOO_LONG, "a key of %zu bytes: at most %zu are allowed", entry->key.len,
                    b->options.max_key_bytes);
    b->n_added++;
    int r = b->is_sorting ? SHAPER_SMALLER : shape(b, entry);
    if (r != SHAPER_SMALLER)
        return r;
    r = b->is_sorting ? 0 : begin_sorting(b);
    return r == 0 ? sort(b, entry) : r;
}

int act_builder_add(struct act_builder *builder, const void *key, size_t key_len, uint64_t value,
                    uint64_t line)
{
    struct sorter_entry entry = {.key = slice_of(key, key_len), .value = value, .line = line};
    int r = check_add(builder, ACT_VALUES_U64);
    return r == 0 ? add(builder, &entry) : r;
}

int act_builder_add_bytes(struct act_builder *builder, const void *key, size_t key_len,
                          const void *value, size_t value_len, uint64_t line)
{
    struct sorter_entry entry = {
        .key = slice_of(key, key_len),
        .bytes = slice_of(value, value_len),
        .line = line,
    };
    int r = check_add(builder, ACT_VALUES_BYTES);
    return r == 0 ? add(builder, &entry) : r;
}

void act_builder_on_progress(struct act_builder *builder, act_builder_progress callback,
                             void *context)
{
    builder->on_progress = callback;
    builder->progress_context = context;
}

/* Finishing */

static void tell_progress(const struct act_builder *b, uint64_t done)
{
    if (b->on_progress && done % PROGRESS_ENTRIES == 0)
        b->on_progress(b->progress_context, done, b->sorter.n_entries);
}

static int shape_sorted(struct act_builder *b)
{
    struct sorter_entry entry;
    int r = begin_tree(b);
    if (r == 0)
        r = settle(b, sorter_sort(&b->sorter, b->options.memory_bytes / 4), "cannot sort");
    if (r != 0)
        return r;
    for (uint64_t done = 0;; done++) {
        tell_progress(b, done);
        r = sorter_next(&b->sorter, &entry);
        if (r == SORTER_END)
            return 0;
        if ((r = settle(b, r, "cannot sort")) != 0 || (r = shape(b, &entry)) != 0)
            return r;
    }
}

/* XXH3-128 of what stands in the file from 16 to end. */
static int digest(struct act_builder *b, uint64_t end, uint8_t ret[16])
{
    XXH3_state_t *state = XXH3_createState();
    uint8_t *p = malloc(DIGEST_BYTES);
    int r = state && p ? 0 : -ENOMEM;
    if (r == 0)
        XXH3_128bits_reset(state);
    for (uint64_t at = HEADER_BYTES; r == 0 && at < end;) {
        size_t n = end - at < DIGEST_BYTES ? (size_t)(end - at) : DIGEST_BYTES;
        r = output_read_at(b->fd, p, n, at);
        if (r == 0)
            XXH3_128bits_update(state, p, n);
        at += n;
    }
    if (r == 0) {
        XXH128_canonical_t canonical;
        XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(state));
        memcpy(ret, canonical.digest, sizeof canonical.digest);
    }
    XXH3_freeState(state);
    free(p);
    return r;
}

/* Digest and checksum are zeros in what the digest is over. */
static int put_metadata(struct act_builder *b, uint64_t root)
{
    uint8_t bytes[META_BYTES];
    struct act_metadata metadata = {
        .value_mode = (uint8_t)b->options.values,
        .table_min_children = (uint16_t)b->table_min,
        .root_offset = root,
        .objects_end = output_at(&b->output) - PADDING_BYTES,
        .n_keys = b->shaper.n_keys,
        .longest_key_bytes = b->shaper.longest_key_bytes,
        .created_s = b->options.created_s,
    };
    meta_format(&metadata, bytes);
    memset(bytes + META_CHECKSUM, 0, META_BYTES - META_CHECKSUM);
    int r = output_write_at(b->fd, bytes, sizeof bytes, HEADER_BYTES);
    if (r == 0)
        r = digest(b, metadata.objects_end, metadata.digest);
    meta_format(&metadata, bytes);
    return r == 0 ? output_write_at(b->fd, bytes, sizeof bytes, HEADER_BYTES) : r;
}

static struct act_builder_summary summary_of(const struct act_builder *b)
{
    const struct shaper *s = &b->shaper;
    return (struct act_builder_summary){
        .n_keys = s->n_keys,
        .size_bytes = output_at(&b->output),
        .longest_key_bytes = s->longest_key_bytes,
        .n_lines = s->writer.n_lines,
        .line_bytes = s->writer.line_bytes,
        .n_byte_values = s->writer.n_byte_values,
        .byte_value_bytes = s->writer.byte_value_bytes,
        .n_tables = s->writer.n_tables,
        .table_bytes = s->writer.table_bytes,
        .n_duplicates = b->n_duplicates,
        .n_sorted_runs = b->sorter.n_spilled_runs,
        .spilled_bytes = b->sorter.spilled_bytes,
        .repeated_bytes_max = s->writer.repeated_bytes_max,
    };
}

int act_builder_finish(struct act_builder *b, struct act_builder_summary *ret_summary)
{
    uint64_t root = 0;
    if (b->is_broken)
        return ACT_BUILDER_BROKEN;
    int r = b->is_sorting ? shape_sorted(b) : 0;
    if (r == 0 && b->is_sample)
        r = end_sample(b);
    if (r == 0)
        r = end_tree(b, &root);
    if (r == 0 && !b->options.is_plain)
        r = settle(b, put_metadata(b, root), "cannot write");
    if (r == 0)
        r = put_root(b, root);
    if (r == 0 && b->target.fd >= 0)
        r = settle(b, target_publish(&b->target), "cannot write");
    if (r == 0 && ret_summary)
        *ret_summary = summary_of(b);
    b->is_broken = true;
    return r;
}

const char *act_builder_error(const struct act_builder *builder)
{
    return builder->error.message;
}

const char *act_builder_temporary(const struct act_builder *builder)
{
    return builder->temporary;
}

struct act_duplicate act_builder_duplicate(const struct act_builder *builder)
{
    return builder->duplicate;
}

void act_builder_free(struct act_builder *b)
{
    if (!b)
        return;
    end_shaping(b);
    sorter_deinit(&b->sorter);
    output_deinit(&b->output);
    target_deinit(&b->target);
    free((void *)(uintptr_t)b->duplicate.key);
    free(b->lines);
    free(b->temporary);
    free(b->held);
    free(b->name);
    free(b);
}
