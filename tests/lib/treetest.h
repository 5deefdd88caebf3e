/*
 * treetest: a tree against its oracle, for every test of the tree library.
 */
#pragma once

#include "act/act.h"
#include "bytes.h"
#include "oracle.h"

/* A tree in memory of exactly its size, and what it holds. */
struct treetest {
    struct bytes file;
    struct act *tree;
    struct oracle oracle;
    char name[256]; /* for messages */
};

/* tree and its contents by their names in tests/data; they must open. */
void treetest_open(struct treetest *t, const char *tree, const char *contents);
/* file is taken over; the oracle stays to be filled by the caller. It must open. */
void treetest_open_bytes(struct treetest *t, struct bytes file, const char *name);
/* A file with that arena in hex (from offset 16) and root, and nothing behind it. */
void treetest_open_arena(struct treetest *t, const char *name, uint64_t root,
                         const char *arena_hex);
void treetest_close(struct treetest *t);

/* Calls visit for every tree in that folder of tests/data that has a .tsv. Returns how many. */
size_t treetest_for_each(const char *folder, void (*visit)(struct treetest *t, void *context),
                         void *context);

/* get, exists and node of key must be what the oracle says; if not, the test fails. */
void treetest_check_key(const struct treetest *t, struct slice key);
/* Likewise every key of the oracle, and of each step-th key its near misses (probe.h). */
void treetest_check_all(const struct treetest *t, size_t step);
