/*
 * act/act.h: read Arena Compact Tree files (magic "ACTree03").
 *
 * An ACT file is a trie that is searched in place: keys are byte strings (also the empty one), each
 * has at most one unsigned 64-bit value, which may stand for a byte string. Opening maps the file
 * and reads its header and metadata, at most 96 bytes, and of a merged file the trailers; nothing
 * else is read, whatever the size. A lookup touches only the pages on its path.
 *
 * Here are opening and point lookups. act/cursor.h (included below) walks in order, act/builder.h
 * makes files, act/verify.h checks them.
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
 * Waiting. A lookup that comes to a page which is not in memory waits for the disk. For threads
 * that must not wait there is act/residency.h: a handle of the tree with which every function that
 * reads it may end in ACT_COLD instead.
 *
 * Threads. Any number of threads may look up in a tree at once. act_close must come last, and what
 * says "before other threads use the tree" must come first.
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
    ACT_LIMIT = 3,        /* the allowed work is done, the answer is not complete: call again */
    ACT_TOO_LONG = 4,     /* a key is longer than the caller allows */
    ACT_NOT_BYTES = 5,    /* the tree's values are not byte strings */
    ACT_COLD = 6,         /* a page is not in memory: only with the tree of act/residency.h */
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

/* What the values of a tree are: section 11. */
enum act_values {
    ACT_VALUES_U64 = 0,   /* numbers */
    ACT_VALUES_BYTES = 1, /* offsets of byte strings: act_bytes */
    /* Byte strings, but merged since by a writer that takes the offsets for numbers: which ones are
     * offsets cannot be told any more. Not to be served. */
    ACT_VALUES_MIXED = 2,
};

/* How much of a file's metadata counts, with the root that the tree is read from: section 11. */
enum act_metadata_state {
    ACT_METADATA_NONE = 0,    /* there is none */
    ACT_METADATA_DAMAGED = 1, /* there is some, but its checksum or its offsets are wrong */
    ACT_METADATA_FOREIGN = 2, /* of another root, to which no chain of merges leads: nothing */
    ACT_METADATA_TABLES = 3,  /* of an older root: the sibling tables, not the rest */
    ACT_METADATA_FULL = 4,    /* of this root: everything */
};

/* Metadata as the file has it. Facts about the contents hold only in ACT_METADATA_FULL. */
struct act_metadata {
    uint8_t version;
    uint8_t value_mode;          /* 0 numbers, 1 byte strings */
    uint16_t flags;              /* none is known: 0 */
    uint16_t table_min_children; /* the smallest number of children that has a table */
    uint64_t root_offset;        /* the builder's root: R */
    uint64_t objects_end;        /* the end of the builder's objects: E */
    uint64_t n_keys;
    uint64_t longest_key_bytes;
    uint64_t created_s; /* Unix time in seconds; 0: not recorded */
    uint8_t digest[16]; /* XXH3-128 of [16, E), canonical form: big-endian */
};

/* What is known of an open tree without reading it. */
struct act_info {
    const char *version;    /* "ACTree03", static */
    uint64_t size_bytes;    /* of the file at open: what is mapped */
    uint64_t root_offset;   /* absolute, bytes; taken once at open */
    uint64_t mapped_bytes;  /* 0 for a tree opened from memory */
    uint64_t mapping_start; /* address of the mapping, 0 likewise: for mincore, smaps */
    enum act_values values;
    enum act_metadata_state metadata_state;
    struct act_metadata metadata; /* valid from ACT_METADATA_FOREIGN on */
};

/*
 * Opens the file at path for reading and maps it. A FIFO or a device does not block: it is refused.
 *
 * ret_tree   owned by the caller: act_close.
 * ret_error  filled on every failure; may be NULL.
 *
 * 0, an outcome from ACT_NOT_REGULAR on, or -errno (-ENOENT, -EACCES, -ENOMEM: no address space;
 * the message then says how much is needed, and the limit if there is one).
 */
ACT_PUBLIC int act_open_path(const char *path, struct act **ret_tree, struct act_error *ret_error);

/*
 * The same for an open descriptor, which the tree does not keep: the caller may close it, or keep
 * it to watch the file. name stands in messages and is not kept.
 */
ACT_PUBLIC int act_open_fd(int fd, const char *name, struct act **ret_tree,
                           struct act_error *ret_error);

/*
 * The same, where only the first size bytes of the file are the tree: memory in huge pages
 * (memfd_create with MFD_HUGETLB) is a whole number of these. ACT_TOO_SHORT also where the file is
 * shorter. What lies behind the tree is mapped up to the page's end and means nothing.
 */
ACT_PUBLIC int act_open_part(int fd, uint64_t size, const char *name, struct act **ret_tree,
                             struct act_error *ret_error);

/* The same for size bytes at data, which must stay as they are until act_close. */
ACT_PUBLIC int act_open_memory(const void *data, size_t size, const char *name,
                               struct act **ret_tree, struct act_error *ret_error);

/*
 * Gives the tree a cache of sibling tables, which makes lookups faster where branches have no table
 * in the file: in files of other writers several times, where they are wide. It is filled by the
 * lookups themselves.
 *
 * bytes  its whole size, of which no more is used than half the file's; the kernel gives it memory
 * as it is filled. 0 takes it away; less than 4096 is too little to be useful.
 *
 * To be called before other threads use the tree. 0, or -ENOMEM: the tree works on without it.
 */
ACT_PUBLIC int act_cache_tables(struct act *tree, size_t bytes);

/* How the kernel reads what is not in memory. */
enum act_advice {
    /* One page at a time: for lookups, which jump. Every tree is opened so. With a read-ahead of 8
     * MiB, where the file did not fit into memory, the same lookups took 72 s instead of 0.42 s. */
    ACT_ADVICE_RANDOM = 0,
    ACT_ADVICE_NORMAL = 1,     /* some more around it: where the disk is slow to seek */
    ACT_ADVICE_SEQUENTIAL = 2, /* far ahead: for who reads all of it in the order of the file */
};

/*
 * From now on pages of the mapping are read so. May be called again, from any thread. Nothing for a
 * tree opened from memory. 0 or -errno: it stays as it was.
 */
ACT_PUBLIC int act_advise(const struct act *tree, enum act_advice advice);

/*
 * Takes len bytes of the mapping from offset on, multiples of 4096, out of the process's resident
 * set: the kernel may have the memory, and as long as it does not need it the next touch finds it
 * again. What lies behind the file does not matter. From any thread. 0 or -errno (-EINVAL: a part
 * of it is locked).
 */
ACT_PUBLIC int act_release(const struct act *tree, uint64_t offset, uint64_t len);

/* Bytes of the file. */
struct act_range {
    uint64_t offset, len;
};

/* More is no use to act_top: a lock each may cut the mapping in two. */
#define ACT_TOP_MAX 256

/*
 * The pages that every lookup passes, or most do: those of the nodes next to the root, breadth
 * first, with their line data and sibling tables. Damaged parts are left out. Reads those pages; a
 * bounded number of nodes, also of a file that was made to cost more. No allocation, 110 KiB of
 * stack.
 *
 * ret_ranges  room for max of them, the caller's; no more than max pages (and ACT_TOP_MAX) are in
 * them. In order, whole pages (the last one may end with the file), none next to another.
 *
 * The number of ranges: at least 1, unless max is 0.
 */
ACT_PUBLIC size_t act_top(const struct act *tree, struct act_range *ret_ranges, size_t max);

/*
 * Keeps these bytes of the mapping in memory (mlock), in whole pages, until act_unlock or
 * act_close: the kernel does not take them back. What is not in memory yet is read now, which
 * blocks, or, if is_on_fault, when it is touched. How much a process may lock is a limit of the
 * system's (RLIMIT_MEMLOCK); it is asked before anything is read. Ranges may overlap.
 *
 * 0, ACT_MISS (there are no such bytes, or the tree was opened from memory), or -errno: -ENOMEM or
 * -EPERM where the limit is too low, -EIO where not all could be read, another one where memory
 * is short. Then part of the range may be locked.
 */
ACT_PUBLIC int act_lock(const struct act *tree, uint64_t offset, uint64_t len, bool is_on_fault);

/* Undoes every act_lock. */
ACT_PUBLIC void act_unlock(const struct act *tree);

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

/* A key, and what act_get says of it. */
struct act_key {
    const void *p; /* may be NULL if len is 0 */
    size_t len;    /* bytes */
};
struct act_result {
    int outcome;            /* 0, ACT_MISS or ACT_CORRUPT */
    uint64_t value;         /* valid if 0 */
    struct act_fault fault; /* valid if ACT_CORRUPT */
};

/*
 * act_get for n keys, sorted or not; their results come in the same order. The walks go side by
 * side: while one waits for memory the others go on, so many keys at once take less time than one
 * after the other, and more so the larger the tree is.
 *
 * ret_results  room for n of them, the caller's.
 */
ACT_PUBLIC void act_get_batch(const struct act *tree, const struct act_key *keys, size_t n,
                              struct act_result *ret_results);

/* Does key have a value? 0 (yes), ACT_MISS (no) or ACT_CORRUPT, always as act_get. */
ACT_PUBLIC int act_exists(const struct act *tree, const void *key, size_t key_len,
                          struct act_fault *ret_fault);

/*
 * The position that key leads to: it exists if key is a prefix of a stored path, and may or may not
 * have a value. 0, ACT_MISS (no such position) or ACT_CORRUPT.
 */
ACT_PUBLIC int act_node(const struct act *tree, const void *key, size_t key_len,
                        struct act_node *ret_node, struct act_fault *ret_fault);

/* What the values are: act_info says the same, and more. Reads no page of the tree. */
ACT_PUBLIC enum act_values act_values_of(const struct act *tree);

/*
 * The byte string that value stands for, in a tree of ACT_VALUES_BYTES (section 11). value is what
 * act_get, act_node or a cursor gave.
 *
 * ret_bytes  a view into the tree, valid until act_close. Never NULL.
 * ret_fault  set on ACT_CORRUPT; may be NULL.
 *
 * 0, ACT_CORRUPT (no string of this tree stands there) or ACT_NOT_BYTES.
 */
ACT_PUBLIC int act_bytes(const struct act *tree, uint64_t value, const uint8_t **ret_bytes,
                         size_t *ret_len, struct act_fault *ret_fault);

/*
 * The longest stored key that key begins with (key itself included): its length and value. One
 * walk. 0, ACT_MISS or ACT_CORRUPT.
 */
ACT_PUBLIC int act_longest_prefix(const struct act *tree, const void *key, size_t key_len,
                                  size_t *ret_len, uint64_t *ret_value,
                                  struct act_fault *ret_fault);

/* A stored key that another key begins with. */
struct act_prefix {
    size_t len; /* its length: it is the first len bytes of the other key */
    uint64_t value;
};

/*
 * All stored keys that key begins with (key itself included), shortest first, in one walk.
 *
 * min_len       shorter ones are passed over: to go on after a full array, the last len + 1.
 * ret_prefixes  room for max of them, the caller's.
 * ret_n         how many there are in it; max may mean that there are more.
 *
 * 0 (also where there are none) or ACT_CORRUPT.
 */
ACT_PUBLIC int act_prefixes(const struct act *tree, const void *key, size_t key_len, size_t min_len,
                            struct act_prefix *ret_prefixes, size_t max, size_t *ret_n,
                            struct act_fault *ret_fault);

/*
 * The roots that the file has had, newest first, the one that this tree is read from among them:
 * the header's, as taken at open, and those that the chain of merge trailers names (section 7). An
 * entry that does not lie below the one before, or names no possible root, ends the chain (section
 * 10).
 *
 * ret_roots  room for max of them, the caller's; may be NULL if max is 0.
 *
 * The number of roots, which may be above max. At most 1000 are followed.
 */
ACT_PUBLIC size_t act_root_history(const struct act *tree, uint64_t *ret_roots, size_t max);

/*
 * Reads the tree from another of its roots from now on: one that act_root_history gives. To be
 * called before other threads use the tree, and while no cursor is on it. 0, or ACT_BAD_ROOT: it is
 * none of those.
 */
ACT_PUBLIC int act_set_root(struct act *tree, uint64_t root_offset);

/* Facts taken at open. Reads no page of the tree. */
ACT_PUBLIC void act_info(const struct act *tree, struct act_info *ret_info);

#ifdef __cplusplus
}
#endif

#include <act/cursor.h> /* IWYU pragma: export */

#endif
