/*
 * buildertest: what an oracle holds, built into a file in memory, and that file against the oracle.
 *
 * Where the values are byte strings, each number of the oracle stands for one: byte_value_of.
 */
#pragma once

#include "act/builder.h"
#include "bytes.h"
#include "oracle.h"

/* In which order the entries go in. */
enum build_order {
    BUILD_SORTED,
    BUILD_REVERSED,
    BUILD_SHUFFLED,
    BUILD_LATE, /* sorted, but the smallest key comes last */
    BUILD_ORDERS
};

/* The indexes 0 to n - 1 in that order; *owned* by the caller. */
size_t *build_order_new(enum build_order order, size_t n);

/* The string that stands for the number: often an equal one, often an empty one. *Owned* by the
 * caller. */
struct bytes byte_value_of(uint64_t value);

/* An empty file in memory. */
int build_memfd(void);
/* What is in the file; closes it. *Owned* by the caller. */
struct bytes build_take(int fd);

/* Adds entry number i of the oracle, from line `line`. */
int build_add(struct act_builder *builder, const struct act_builder_options *options,
              const struct oracle_entry *entry, uint64_t line);

/* The file of the oracle's entries; lines count from 1 in the order of adding. It must succeed. */
struct bytes build_file(const struct oracle *oracle, enum build_order order,
                        const struct act_builder_options *options,
                        struct act_builder_summary *ret_summary);

/* The file must hold what the oracle holds and nothing else, in each way of reading it; its
 * metadata and the summary must be right, and a plain one is what the tests' own encoder writes.
 * Every step-th key's near misses are asked for, too. */
void build_check(const struct bytes *file, const struct oracle *oracle,
                 const struct act_builder_options *options,
                 const struct act_builder_summary *summary, size_t step);

/* Builds in that order and checks. */
void build_and_check(const struct oracle *oracle, enum build_order order,
                     const struct act_builder_options *options, size_t step);
