/*
 * judging: what judge.c and judge_order.c share.
 */
#pragma once

#include "judge.h"
#include "wire.h"

struct judging {
    const struct judge *judge;
    const struct query *query;
    const uint8_t *begin; /* of the reply */
    struct wire wire;     /* at its result, and on */
    struct judged *judged;
};

/* What a lookup must find. */
struct wanted {
    int outcome; /* 0, ACT_MISS or ACT_CORRUPT */
    uint64_t value;
};
struct wanted wanted_of(const struct judge *judge, struct slice key);

/* A value as it comes in replies. */
void judge_value(struct judging *j, uint64_t value);
/* The bytes that it takes there. */
size_t judge_value_bytes(const struct judging *j, uint64_t value);
/* [key, value], or only the key. Gives the key. */
struct slice judge_entry(struct judging *j, bool is_key_only);
/* [key, value] of an entry of the oracle, or nil for NULL. */
void judge_known_entry(struct judging *j, const struct oracle_entry *entry);
void judge_generation(struct judging *j);

/* The nodes that the query may visit. */
uint64_t judge_budget(const struct judge *judge, const struct query *query);
bool judge_has_prefix(struct slice key, struct slice prefix);

/* Is the cursor of one of its scans to be refused? */
bool judge_refuses_cursors(const struct judge *judge, const struct query *query);

/* A scan whose reply was too long: NULL, or what is wrong with that. */
const char *judge_long_scan(const struct judging *j);
/* Likewise, one that has failed since the tree is damaged: not even its first entry can be read. */
const char *judge_failed_scan(const struct judging *j);

/* Results of methods in the order of keys. */
void judge_scan(struct judging *j);
void judge_mscan(struct judging *j);
void judge_count(struct judging *j);
void judge_explore(struct judging *j);
void judge_neighbour(struct judging *j, bool is_next);
