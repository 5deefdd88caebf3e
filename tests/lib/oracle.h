/*
 * oracle: what a tree holds, as a sorted array: the plain meaning that every operation is held
 * against. Answers come from binary search alone.
 */
#pragma once

#include "base/slice.h"

struct oracle_entry {
    struct slice key; /* owned by the oracle */
    uint64_t value;
};

struct oracle {
    struct oracle_entry *entries; /* owned; sorted by key, each key once */
    size_t n;
    size_t room; /* entries allocated */
};

void oracle_init(struct oracle *oracle);
void oracle_deinit(struct oracle *oracle);

/* Copies the key. oracle_sort must come before the next question. */
void oracle_add(struct oracle *oracle, const void *key, size_t len, uint64_t value);
/* Sorts; of equal keys the one that was added last stays. */
void oracle_sort(struct oracle *oracle);

/* Adds what the file says and sorts: a line is the key in hex, a TAB, and the value in decimal. The
 * name of a compressed file ends in .gz. A file that cannot be read ends the test program. */
void oracle_load(struct oracle *oracle, const char *path);

/* The first entry whose key is not smaller than key: its index, n if there is none. */
size_t oracle_lower_bound(const struct oracle *oracle, struct slice key);
/* The entry of that key, or NULL. */
const struct oracle_entry *oracle_find(const struct oracle *oracle, struct slice key);
/* The number of keys that begin with prefix; *ret_first is the index of the first one. */
size_t oracle_prefix_range(const struct oracle *oracle, struct slice prefix, size_t *ret_first);
/* The set of the bytes that come after prefix in the keys (as in struct act_node). */
void oracle_children(const struct oracle *oracle, struct slice prefix, uint64_t children[4]);

/* Order of keys: bytewise, a prefix before what it begins. */
int oracle_compare(struct slice a, struct slice b);
