/*
 * act/verify.h: check a whole tree, and count what it is made of.
 *
 * act_verify reads every object that the tree's root reaches, once, whatever is shared, and holds
 * it against sections 8 and 11 of docs/FORMAT.md. What the reference's writers never write is a
 * fault; what is odd but legal (shared runs, leaves without a value, remains of merges) is a note.
 *
 * Time is linear in the file's size. Memory: four bits for each byte of the file, in an unlinked
 * temporary file where that is more than memory_bytes, and what the deepest path needs.
 *
 * Threads. Files of 512 KiB and more (where n_threads is given: all) are walked by several threads
 * at once, if memory_bytes is enough for four bits a byte for each: the calling one, and others
 * that act_verify starts and ends again, with all signals blocked but those of a fault (SIGBUS and
 * the like). What is found does not depend on how many there are: as soon as one of them finds
 * anything, all that they did is dropped, and the calling thread walks alone. Callbacks are called
 * from the calling thread.
 */
#ifndef ACT_VERIFY_H
#define ACT_VERIFY_H

#include <act/act.h>

#ifdef __cplusplus
extern "C" {
#endif

#define ACT_VERIFY_MEMORY_BYTES ((uint64_t)256 << 20)
#define ACT_VERIFY_MAX_THREADS  16

/* Something found. */
struct act_finding {
    bool is_note;        /* odd, not a fault */
    uint64_t offset;     /* of the object, bytes from the start of the file */
    const char *reason;  /* static text */
    uint64_t n;          /* how many such things this stands for: a note tells of the first one */
    bool has_path;       /* false: no path leads there (a hole, metadata) */
    const uint8_t *path; /* the key bytes that lead there (the first way found); borrowed */
    size_t path_len;     /* bytes */
    bool is_path_cut;    /* these are only its first 2^20 bytes */
};

/* All zeros are the defaults. */
struct act_verify_options {
    uint64_t memory_bytes;           /* 0: ACT_VERIFY_MEMORY_BYTES */
    const char *temporary_directory; /* NULL: $TMPDIR, or /tmp */
    unsigned n_threads; /* that walk, 16 at most; 0: one for each CPU we may use, at most 4 */
    bool is_all;        /* go on after the first fault */
    bool is_survey;     /* what faults there are is not asked: no digest, no reports */
    void *context;      /* for the callbacks */
    void (*on_finding)(void *context, const struct act_finding *finding);
    /* Now and then: bytes of the file done, of all. Never fewer than the time before. */
    void (*on_progress)(void *context, uint64_t done, uint64_t total);
};

/* Kinds of objects, for sizes. */
enum act_object {
    ACT_OBJECT_BRANCH,
    ACT_OBJECT_LEAF, /* a branch without children */
    ACT_OBJECT_LINE,
    ACT_OBJECT_LINE_DATA,
    ACT_OBJECT_TABLE,
    ACT_OBJECT_BYTES, /* byte values */
    ACT_OBJECT_METADATA,
    ACT_OBJECT_OTHER,    /* header, end, trailers */
    ACT_OBJECT_UNREACHED /* what the root does not reach */
};
#define ACT_N_OBJECTS 9

/* What the tree is made of; filled as far as the walk came. */
struct act_survey {
    uint64_t n_faults, n_notes; /* reported */
    uint64_t n_values;          /* nodes with a value; in a tree that shares nothing: keys */
    uint64_t n_shared;          /* references to runs that another branch has too */
    uint64_t n_line_references; /* line nodes; n_objects[ACT_OBJECT_LINE_DATA] are distinct */
    uint64_t n_objects[ACT_N_OBJECTS];
    uint64_t bytes[ACT_N_OBJECTS]; /* their sum is the file's size */
    uint64_t fan_out[257];         /* branches with so many children */
    uint64_t depth[65]; /* values at a depth of d key bytes: [0] for 0, [i] for 2^(i-1) to 2^i - 1;
                           each node counts once, on the first way to it */
    uint64_t deepest_bytes; /* the longest path seen, key bytes */
    uint64_t deepest_nodes; /* and in nodes */
};

/*
 * Walks tree. Nothing is reported through the return value alone: on_finding has the details.
 *
 * ret_survey  filled whatever the result; the same whatever the number of threads.
 *
 * 0: no fault; ACT_CORRUPT: faults; or -errno (-ENOMEM; -ENOSPC: for the temporary file).
 */
ACT_PUBLIC int act_verify(const struct act *tree, const struct act_verify_options *options,
                          struct act_survey *ret_survey);

#ifdef __cplusplus
}
#endif

#endif
