/*
 * act/act.h: read Arena Compact Tree files (magic "ACTree03").
 *
 * An ACT file is a trie that is searched in place: keys are byte strings (also the empty one), each
 * has at most one unsigned 64-bit value. Opening maps the file and reads its 16-byte header;
 * nothing else is read, whatever the size. A lookup touches only the pages on its path.
 *
 * "Section N" is a section of the format's specification, docs/FORMAT.md.
 *
 * Results. Every function returns 0 when it did what it says, a positive outcome that is named here
 * (ACT_MISS, ACT_CORRUPT, ...), or -errno for what the system refused. Out-parameters are named
 * ret_* and stay untouched unless the function says otherwise.
 *
 * Safety. No byte of the file is trusted: a damaged tree ends in ACT_CORRUPT, never in a read
 * outside the file, a hang or unbounded memory. One thing a reader of a mapping cannot see: a file
 * that is *truncated* while it is mapped raises SIGBUS on the next touch of a lost page. Replace
 * files by rename, never in place.
 *
 * Threads. Any number of threads may look up in a tree at once. act_close must come last.
 */
#ifndef ACT_ACT_H
#define ACT_ACT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#    define ACT_PUBLIC __attribute__((visibility("default")))
#else
#    define ACT_PUBLIC
#endif

/* The smallest ACT file (the empty tree) in bytes: section 1. */
#define ACT_MIN_SIZE_BYTES 25

/* Outcomes. Stable numbers: they may be stored and logged. */
enum act_outcome {
    ACT_OK = 0,
    ACT_MISS = 1,         /* the key has no value, or the position does not exist */
    ACT_CORRUPT = 2,      /* the tree is damaged on this key's path: section 10 */
    ACT_NOT_REGULAR = 10, /* open: not a regular file */
    ACT_TOO_SHORT = 11,   /* open: fewer than ACT_MIN_SIZE_BYTES */
    ACT_BAD_MAGIC = 12,   /* open: not an ACT file */
    ACT_OLD_VERSION = 13, /* open: ACTree01 or ACTree02 */
    ACT_UNFINISHED = 14,  /* open: root 0, the file is still being written */
    ACT_BAD_ROOT = 15,    /* open: the root lies outside the file */
};

/* An opened tree. */
struct act;

/* Why an open failed, as one line for people: it names the file, the reason and the remedy. */
struct act_error {
    char message[1024];
};

/* Where a tree is damaged. */
struct act_fault {
    uint64_t offset;    /* absolute file offset of the damaged object, bytes */
    const char *reason; /* static text */
};

/* A position in the trie: section 5. */
struct act_node {
    bool has_value;
    uint64_t value;       /* valid if has_value */
    uint64_t children[4]; /* set of the bytes that lead on: byte b is bit b % 64 of word b / 64 */
};

/* What is known of an open tree without reading it. */
struct act_info {
    const char *version;    /* "ACTree03", static */
    uint64_t size_bytes;    /* of the file at open: what is mapped */
    uint64_t root_offset;   /* absolute, bytes; taken once at open */
    uint64_t mapped_bytes;  /* 0 for a tree opened from memory */
    uint64_t mapping_start; /* address of the mapping, 0 likewise: for mincore, smaps */
};

/*
 * Opens the file at path for reading and maps it. A FIFO or a device does not block: it is refused.
 *
 * ret_tree   owned by the caller: act_close.
 * ret_error  filled on every failure; may be NULL.
 *
 * 0, an outcome from ACT_NOT_REGULAR on, or -errno (-ENOENT, -EACCES, -ENOMEM: no address space).
 */
ACT_PUBLIC int act_open_path(const char *path, struct act **ret_tree, struct act_error *ret_error);

/*
 * The same for an open descriptor, which the tree does not keep: the caller may close it, or keep
 * it to watch the file. name stands in messages and is not kept.
 */
ACT_PUBLIC int act_open_fd(int fd, const char *name, struct act **ret_tree,
                           struct act_error *ret_error);

/* The same for size bytes at data, which must stay as they are until act_close. */
ACT_PUBLIC int act_open_memory(const void *data, size_t size, const char *name,
                               struct act **ret_tree, struct act_error *ret_error);

/*
 * Gives the tree a cache of sibling tables, which makes lookups in files without tables of their
 * own several times faster where branches are wide. It is filled by the lookups themselves.
 *
 * bytes  its whole size; the kernel gives it memory as it is filled. 0 takes it away; less than
 * 4096 is too little to be useful.
 *
 * To be called before other threads use the tree. 0, or -ENOMEM: the tree works on without it.
 */
ACT_PUBLIC int act_cache_tables(struct act *tree, size_t bytes);

/* Unmaps. NULL is fine. */
ACT_PUBLIC void act_close(struct act *tree);

/*
 * The value of key (key_len bytes at key; NULL if key_len is 0). Time is linear in the key's length
 * and independent of the tree's size.
 *
 * ret_value  may be NULL: then this asks only whether there is one.
 * ret_fault  set on ACT_CORRUPT; may be NULL.
 *
 * 0, ACT_MISS or ACT_CORRUPT.
 */
ACT_PUBLIC int act_get(const struct act *tree, const void *key, size_t key_len, uint64_t *ret_value,
                       struct act_fault *ret_fault);

/* Does key have a value? 0 (yes), ACT_MISS (no) or ACT_CORRUPT, always as act_get. */
ACT_PUBLIC int act_exists(const struct act *tree, const void *key, size_t key_len,
                          struct act_fault *ret_fault);

/*
 * The position that key leads to: it exists if key is a prefix of a stored path, and may or may not
 * have a value. 0, ACT_MISS (no such position) or ACT_CORRUPT.
 */
ACT_PUBLIC int act_node(const struct act *tree, const void *key, size_t key_len,
                        struct act_node *ret_node, struct act_fault *ret_fault);

/* Facts taken at open. Reads no page of the tree. */
ACT_PUBLIC void act_info(const struct act *tree, struct act_info *ret_info);

#ifdef __cplusplus
}
#endif

#endif
