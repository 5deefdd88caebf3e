/*
 * act/builder.h: make an Arena Compact Tree file.
 *
 * Entries go in one by one, in any order. Sorted ones (by the order of their bytes) are written to
 * the file as they come. Others are sorted in bounded memory, in an unlinked temporary file beside
 * the output. The output appears under its name when it is complete and on disk, or not at all: it
 * has no name until then (where the file system can do that; else a temporary name beside it), so
 * that a full disk, a signal or a kill leaves the old file and nothing else.
 *
 * Results: 0; an outcome named below; or -errno. Whatever add or finish returns but 0 ends the
 * build: act_builder_error tells why, and only act_builder_free is left.
 *
 * "Section N" is a section of docs/FORMAT.md. A builder is one thread's.
 */
#ifndef ACT_BUILDER_H
#define ACT_BUILDER_H

#include <act/act.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Defaults of act_builder_options. */
#define ACT_BUILDER_MEMORY_BYTES       ((uint64_t)256 << 20)
#define ACT_BUILDER_MIN_MEMORY_BYTES   ((uint64_t)8 << 20)
#define ACT_BUILDER_TABLE_MIN_CHILDREN 16

enum act_builder_outcome {
    ACT_DUPLICATE = 20,     /* a key came twice: act_builder_duplicate */
    ACT_BUILDER_BROKEN = 21 /* add or finish after one of them has failed */
};

/* What becomes of a key that comes again. */
enum act_duplicates {
    ACT_DUPLICATES_REFUSE = 0, /* ACT_DUPLICATE */
    ACT_DUPLICATES_FIRST = 1,  /* the entry that came first stays */
    ACT_DUPLICATES_LAST = 2,   /* the entry that came last stays */
};

/* All zeros are the defaults. */
struct act_builder_options {
    /* No metadata, no tables: byte for byte what the reference's stream writer makes of the same
     * entries (section 6). Needs memory for every distinct line. Not with byte values. */
    bool is_plain;
    enum act_values values; /* ACT_VALUES_U64: act_builder_add; _BYTES: act_builder_add_bytes */
    enum act_duplicates duplicates;
    /* For sorting and the map of distinct lines; 0: the default; at least
     * ACT_BUILDER_MIN_MEMORY_BYTES. An entry that must be sorted may have an eighth of it: a larger
     * one is refused with -E2BIG. */
    uint64_t memory_bytes;
    size_t max_key_bytes; /* a longer key is refused with ACT_TOO_LONG; 0: ACT_MAX_KEY_BYTES */
    /* Branches of so many children get a sibling table (section 11), 2 to 256. 0: the builder looks
     * how much tables would add to the first MiB of the file, and takes 4 to 256, so that they add
     * no more than an eighth if the rest is like that; ACT_BUILDER_TABLE_MIN_CHILDREN for files
     * below 64 KiB. */
    unsigned table_min_children;
    /* Unix time for the metadata; 0: not recorded. Then the same entries give the same file, in
     * whatever order they come; but not where memory_bytes is too little for the map
     * (repeated_bytes_max below): which strings are forgotten is another matter each time. */
    uint64_t created_s;
};

/* What was built. */
struct act_builder_summary {
    uint64_t n_keys;
    uint64_t size_bytes; /* of the file */
    uint64_t longest_key_bytes;
    uint64_t n_lines;       /* pieces of line data written */
    uint64_t line_bytes;    /* their bytes */
    uint64_t n_byte_values; /* byte strings written */
    uint64_t byte_value_bytes;
    uint64_t n_tables; /* sibling tables */
    uint64_t table_bytes;
    uint64_t n_duplicates;  /* entries that gave way to another of the same key */
    uint64_t n_sorted_runs; /* runs that were sorted through temporary files; 0: none */
    uint64_t spilled_bytes; /* written to temporary files */
    /* Where memory_bytes was too little for the map of distinct strings: at most so many bytes of
     * the file are strings that stand in it twice. */
    uint64_t repeated_bytes_max;
};

/* The key that came twice, after ACT_DUPLICATE. */
struct act_duplicate {
    const uint8_t *key; /* valid until act_builder_free */
    size_t key_len;
    uint64_t line;       /* as given to add, of the later entry */
    uint64_t first_line; /* of the earlier one; 0: not known any more */
};

struct act_builder;

/*
 * Begins a build of the file at path. A symbolic link is followed: what it leads to is replaced. An
 * existing file keeps its mode, and its owner where the process may set it.
 *
 * options      copied; NULL: the defaults.
 * ret_builder  owned by the caller: act_builder_free.
 * ret_error    filled on every failure; may be NULL.
 *
 * 0; ACT_NOT_REGULAR: path is something else than a file; -EINVAL: options that make no sense; or
 * -errno (-EACCES, -ENOENT: the directory; -ENOSPC, ...).
 */
ACT_PUBLIC int act_builder_new(const char *path, const struct act_builder_options *options,
                               struct act_builder **ret_builder, struct act_error *ret_error);

/* The same into an open, empty regular file (also a memfd), which stays the caller's and is neither
 * synced nor named: open for reading and writing (-EBADF) and not for appending (-EINVAL). After a
 * failure what is in it is of no use. Temporary files go to $TMPDIR, or /tmp. name stands in
 * messages. */
ACT_PUBLIC int act_builder_new_fd(int fd, const char *name,
                                  const struct act_builder_options *options,
                                  struct act_builder **ret_builder, struct act_error *ret_error);

/*
 * Adds an entry. Key and bytes are copied.
 *
 * line  a number for messages about this entry, such as the line of the input that it came from.
 *
 * 0; ACT_DUPLICATE; ACT_TOO_LONG; -EINVAL: not this builder's kind of values; -ENOSPC and others.
 */
ACT_PUBLIC int act_builder_add(struct act_builder *builder, const void *key, size_t key_len,
                               uint64_t value, uint64_t line);
ACT_PUBLIC int act_builder_add_bytes(struct act_builder *builder, const void *key, size_t key_len,
                                     const void *value, size_t value_len, uint64_t line);

/* Progress of a long finish: entries merged of entries added. Called now and then, from finish. */
typedef void (*act_builder_progress)(void *context, uint64_t done, uint64_t total);
ACT_PUBLIC void act_builder_on_progress(struct act_builder *builder, act_builder_progress callback,
                                        void *context);

/*
 * Writes what is left, syncs the file and its directory, and gives the file its name.
 *
 * ret_summary  may be NULL.
 *
 * 0; ACT_DUPLICATE (unsorted entries are compared only now); or -errno.
 */
ACT_PUBLIC int act_builder_finish(struct act_builder *builder,
                                  struct act_builder_summary *ret_summary);

/* Why add or finish has failed, in one line that names the file. Valid until act_builder_free. */
ACT_PUBLIC const char *act_builder_error(const struct act_builder *builder);

/* The path of the temporary name that the output has until it is complete: a program that is ended
 * by a signal may remove it. NULL: it has none, as on most file systems. Valid until
 * act_builder_free. */
ACT_PUBLIC const char *act_builder_temporary(const struct act_builder *builder);

/* After ACT_DUPLICATE. */
ACT_PUBLIC struct act_duplicate act_builder_duplicate(const struct act_builder *builder);

/* Frees the builder; what was not finished is gone, and the old file is as it was. NULL is fine. */
ACT_PUBLIC void act_builder_free(struct act_builder *builder);

#ifdef __cplusplus
}
#endif

#endif
