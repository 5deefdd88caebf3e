/*
 * strict: one node, decoded as the verifier wants it: with what a lookup does not ask.
 *
 * node_read (node.h) ends at the first thing that is wrong. Here a node whose end can be told is
 * decoded to its end, references as they stand, so that its siblings can be checked too; and it is
 * known whether each number has its shortest form (section 2).
 */
#pragma once

#include "tree/node.h"
#include "tree/rank.h"

struct strict {
    uint64_t offset;
    uint64_t end;        /* first byte behind it */
    uint64_t value;      /* if the header has NODE_VALUE */
    uint64_t child;      /* distance, if has_child */
    uint64_t line;       /* line node: distance */
    const uint8_t *set;  /* branch: child bytes or mask, with 8 readable bytes behind its 32 */
    unsigned n_children; /* line node: 0 or 1 */
    uint8_t header;
    uint8_t field; /* branch: the child field; line node: 0 */
    bool is_line;
    bool has_value;
    bool has_child;
    bool is_long;                   /* a number is longer than needed */
    uint8_t copy[MAP_WINDOW_BYTES]; /* of the last bytes of the map; else unused */
};

/* The smallest value that needs n bytes behind the first. */
extern const uint64_t strict_least[9];

static inline uint64_t strict_number(const uint8_t **at, bool *is_long)
{
    uint64_t value = *(*at)++;
    if (value < 248)
        return value;
    unsigned n = (unsigned)value - 247;
    value = load_le64(*at) & (UINT64_MAX >> (64 - 8 * n));
    *at += n;
    *is_long |= value < strict_least[n];
    return value;
}

static inline unsigned strict_count_mask(const uint8_t *mask)
{
    uint64_t words[4];
    for (unsigned i = 0; i < 4; i++)
        words[i] = load_le64(mask + 8 * i);
    return bits_count(words);
}

/*
 * Decodes the node at offset, which must end at or before limit (<= the map's size). NULL, or why
 * its end cannot be told: static text, and *node is not to be used.
 */
static inline __attribute__((always_inline)) const char *strict_read(const struct map *map,
                                                                     uint64_t offset,
                                                                     uint64_t limit,
                                                                     struct strict *node)
{
    if (offset >= limit)
        return "fewer nodes in a run than the child set has members";
    const uint8_t *window = map_at(map, offset, MAP_WINDOW_BYTES);
    if (!window)
        window = node_window_copy(map, offset, node->copy);
    const uint8_t *at = window;
    uint8_t header = *at++;
    bool is_line = header & NODE_LINE;
    bool is_long = false;
    node->offset = offset;
    node->header = header;
    node->is_line = is_line;
    node->has_value = header & NODE_VALUE;
    node->field = is_line ? 0 : header & NODE_FIELD;
    node->has_child = is_line ? header & LINE_HAS_CHILD : node->field != 0;
    if (node->field > NODE_FIELD_MASK)
        return "a child field above 32";
    if (node->has_value)
        node->value = strict_number(&at, &is_long);
    if (node->has_child)
        node->child = strict_number(&at, &is_long);
    if (is_line)
        node->line = strict_number(&at, &is_long);
    node->is_long = is_long;
    node->set = at;
    at += node->field;
    node->end = offset + (uint64_t)(at - window);
    if (node->end > limit)
        return "a node that runs past its place";
    node->n_children = is_line                          ? node->has_child
                       : node->field == NODE_FIELD_MASK ? strict_count_mask(node->set)
                                                        : node->field;
    return NULL;
}

/* A branch's child bytes: is each larger than the one before it? */
static inline bool strict_set_ascends(const struct strict *branch)
{
    for (unsigned i = 0; i + 1 < branch->field; i += 8) {
        unsigned rest = branch->field - 1 - i < 8 ? branch->field - 1 - i : 8;
        uint64_t members = UINT64_MAX >> (64 - 8 * rest) & EACH_BYTE(0x80);
        uint64_t before = load_le64(branch->set + i), after = load_le64(branch->set + i + 1);
        if ((bytes_smaller(before, after) & members) != members)
            return false;
    }
    return true;
}

/* The byte that leads to child number `index`, in the order of the set as it is written. */
uint8_t strict_child_byte(const struct strict *branch, unsigned index);

/* A string: line data (section 3) or a byte value (section 11). */
struct strict_string {
    uint64_t begin; /* of its bytes */
    uint64_t end;
    bool is_long; /* its length is longer than needed */
};

/* strict_read_string there. */
bool strict_read_string_last(const struct map *map, uint64_t offset, uint64_t limit,
                             struct strict_string *ret);

static inline bool strict_string_in(const uint8_t *window, uint64_t offset, uint64_t limit,
                                    struct strict_string *ret)
{
    const uint8_t *at = window;
    ret->is_long = false;
    uint64_t len = strict_number(&at, &ret->is_long);
    ret->begin = offset + (uint64_t)(at - window);
    ret->end = ret->begin + len;
    return ret->begin <= limit && len <= limit - ret->begin;
}

/* The string at offset, which must end at or before limit (<= the map's size). False: it does not,
 * and *ret is not to be used. */
static inline bool strict_read_string(const struct map *map, uint64_t offset, uint64_t limit,
                                      struct strict_string *ret)
{
    const uint8_t *window = map_at(map, offset, 9);
    if (!window)
        return strict_read_string_last(map, offset, limit, ret);
    return strict_string_in(window, offset, limit, ret);
}
