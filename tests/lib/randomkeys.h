/*
 * randomkeys: random numbers that are the same in every run, and random sets of keys.
 */
#pragma once

#include "oracle.h"
#include "treetest.h"

struct random {
    uint64_t state;
};

/* 0 to n - 1. */
unsigned random_below(struct random *random, unsigned n);

/* What sort of keys a set has. */
enum random_keys {
    RANDOM_FEW_LETTERS, /* deep forks, keys that begin with one another */
    RANDOM_ALL_BYTES,   /* wide branches */
    RANDOM_LONG_COMMON, /* long common parts: lines */
    RANDOM_NESTED,      /* each key begins with another one */
    RANDOM_KINDS
};

/* Adds n keys of that sort, some of them twice, and sorts. */
void random_keys_add(struct random *random, enum random_keys kind, unsigned n,
                     struct oracle *oracle);

/* A tree of such keys, by the tests' encoder. */
void random_tree_open(struct random *random, enum random_keys kind, unsigned n, struct treetest *t);
