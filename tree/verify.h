/*
 * verify: what the parts of act_verify share.
 *
 *     verify.c         the order of the steps, and the counts at the end
 *     verify_walk.c    from the root to every node and string, each once: sections 3 to 8
 *     verify_team.c    the same walk, shared out among threads
 *     verify_run.c     tables of siblings, and runs that are shared
 *     verify_file.c    what is not found by walking: metadata, digest, end of the file, holes
 *     verify_report.c  findings, and the key bytes that lead to them
 *
 * Results: 0: go on; ACT_CORRUPT: a fault was reported, and no other is wanted; -errno.
 */
#pragma once

#include "act/verify.h"
#include "tree/coverage.h"
#include "tree/frames.h"
#include "tree/meta.h"
#include "tree/strict.h"
#include "tree/tree.h"

/* What is odd but legal is told once of a kind, at the end, with how often it came. */
enum note_kind {
    NOTE_SHARED,     /* a run that two branches have */
    NOTE_DANGLING,   /* a leaf without a value */
    NOTE_REMAINS,    /* bytes that only older roots reach */
    NOTE_UNFINISHED, /* bytes behind the end: a merge that was not finished */
    NOTE_CHAIN,      /* trailers that lead to something that is none */
    NOTE_FOREIGN,    /* metadata of another root */
    NOTE_FLAGS,      /* metadata with flags that are not known */
    N_NOTES
};

struct note {
    uint64_t n;
    uint64_t offset;   /* of the first */
    struct slice path; /* owned copy */
    bool has_path, is_path_cut;
};

/* Where the walk is, for the path of a finding. */
enum verify_place {
    PLACE_NONE, /* at nothing that a key leads to */
    PLACE_WALK  /* at the top frame's current sibling */
};

struct verify_member;

/* A walk, and what is found beside it. Of those of a team, only the calling thread's has that. */
struct verify {
    const struct act *tree;
    const struct map *map;
    struct act_verify_options options;
    struct act_survey *survey;

    struct scratch scratch;
    struct coverage coverage;
    struct frames frames;

    struct verify_member *member; /* borrowed; NULL: walks alone */
    uint64_t depth_below; /* frames below our first one, in the walks that the run came from */

    uint8_t *path; /* owned; PATH_MAX_BYTES, or NULL: not needed yet */
    struct note notes[N_NOTES];
    struct digest *digest; /* owned; NULL: there is nothing to compare with */

    uint64_t longest_key_bytes; /* of a key that has a value */
    uint64_t done_bytes;        /* of objects that were walked */
    uint64_t tick_bytes;        /* walked between two ticks */
    uint64_t next_tick;         /* done_bytes of the next one */
    uint64_t next_told;         /* done_bytes of all walks at the next call of on_progress */
    uint64_t ahead_begin;       /* file offsets between which the kernel was asked to read */
    uint64_t ahead_end;
};

/* What more of a path is not told. */
#define VERIFY_PATH_BYTES ((uint64_t)1 << 20)

/* Bytes walked between two calls of on_progress, and between two ticks of who walks alone. */
#define VERIFY_TICK_BYTES ((uint64_t)1 << 20)

/* verify_report.c. In a team both end the walk with -ECANCELED: nothing is reported. */
int verify_fault(struct verify *v, enum verify_place place, uint64_t offset, const char *reason);
int verify_note(struct verify *v, enum verify_place place, uint64_t offset, enum note_kind kind);
void verify_report_notes(struct verify *v);
void verify_report_deinit(struct verify *v);

/* verify_run.c. The parent is the top frame's current sibling; first: offset of its run. */
/* *ret_has_table: the run has one, which is still to be compared while it is walked. */
int verify_table(struct verify *v, const struct strict *branch, uint64_t first, bool is_shared,
                 bool *ret_has_table);
/* The entry for the top frame's current sibling, which begins `bytes` behind its run's begin. */
int verify_table_entry(struct verify *v, uint64_t at, uint64_t bytes);
/* For a run that has been walked already for another parent. */
int verify_shared(struct verify *v, const struct strict *parent, uint64_t first);

/* verify_walk.c */
int verify_walk(struct verify *v);
/* That run, and everything below it. */
int verify_walk_run(struct verify *v, const struct frame *run);

/* verify_team.c */
/* The whole walk, by several threads. False: there is no team for this file, or it found anything
 * at all: nothing has been done then, and v can walk alone. */
bool verify_team(struct verify *v);
/* -ECANCELED: nobody wants to know any more. */
int verify_team_tick(struct verify_member *member);

/* verify_file.c, in the order of their use. */
int verify_metadata(struct verify *v);
/* Covers the metadata's bytes. */
void verify_cover_metadata(struct verify *v);
/* Now and then. 0 or -ECANCELED. */
int verify_tick(struct verify *v);
/* What goes on beside all the walks, of which so many bytes are done. */
void verify_accompany(struct verify *v, uint64_t done_bytes);
int verify_end(struct verify *v);
int verify_contents(struct verify *v);
void verify_file_deinit(struct verify *v);
