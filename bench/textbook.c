/*
 * textbook: see textbook.h. "Section" is one of docs/FORMAT.md.
 */
#include "bench/textbook.h"

#include <string.h>

struct node {
    bool is_line, has_value;
    uint64_t value;
    uint64_t child; /* offset of the (first) child, 0: none */
    uint64_t line;  /* line node: offset of its line data */
    unsigned n_set; /* branch: bytes of its child set, 32: a mask */
    const uint8_t *set;
    uint64_t end; /* offset of what follows */
};

/* Section 2. */
static bool read_varint(const struct textbook *file, uint64_t *at, uint64_t *ret)
{
    if (*at >= file->size)
        return false;
    unsigned first = file->bytes[(*at)++];
    if (first < 248) {
        *ret = first;
        return true;
    }
    unsigned n = first - 247;
    if (n > file->size - *at)
        return false;
    uint64_t value = 0;
    for (unsigned i = 0; i < n; i++)
        value |= (uint64_t)file->bytes[*at + i] << (8 * i);
    *at += n;
    *ret = value;
    return true;
}

static bool read_reference(const struct textbook *file, uint64_t node, uint64_t *at, uint64_t *ret)
{
    uint64_t distance;
    if (!read_varint(file, at, &distance) || distance == 0 || distance > node)
        return false;
    *ret = node - distance;
    return true;
}

/* Section 4. */
static bool read_node(const struct textbook *file, uint64_t offset, struct node *node)
{
    uint64_t at = offset;
    if (at >= file->size)
        return false;
    unsigned header = file->bytes[at++];
    node->is_line = header & 0x80;
    node->has_value = header & 0x40;
    node->value = node->child = node->line = 0;
    node->n_set = node->is_line ? 0 : header & 0x3f;
    if (node->has_value && !read_varint(file, &at, &node->value))
        return false;
    bool has_child = node->is_line ? header & 1 : node->n_set > 0;
    if (has_child && !read_reference(file, offset, &at, &node->child))
        return false;
    if (node->is_line && !read_reference(file, offset, &at, &node->line))
        return false;
    if (node->n_set > 32 || node->n_set > file->size - at)
        return false;
    node->set = file->bytes + at;
    node->end = at + node->n_set;
    return true;
}

/* How many members of the child set are smaller than byte. False: byte is not a member. */
static bool find_child(const struct node *node, uint8_t byte, unsigned *ret_rank)
{
    unsigned rank = 0;
    if (node->n_set < 32) {
        while (rank < node->n_set && node->set[rank] < byte)
            rank++;
        *ret_rank = rank;
        return rank < node->n_set && node->set[rank] == byte;
    }
    uint64_t words[4];
    memcpy(words, node->set, sizeof words);
    uint64_t bit = UINT64_C(1) << (byte & 63);
    for (unsigned i = 0; i < byte >> 6; i++)
        rank += (unsigned)__builtin_popcountll(words[i]);
    *ret_rank = rank + (unsigned)__builtin_popcountll(words[byte >> 6] & (bit - 1));
    return words[byte >> 6] & bit;
}

static bool match_line(const struct textbook *file, const struct node *node, const uint8_t *key,
                       size_t key_len, uint64_t *ret_len)
{
    uint64_t at = node->line, len;
    if (!read_varint(file, &at, &len) || len == 0 || len > file->size - at)
        return false;
    *ret_len = len;
    return len <= key_len && memcmp(file->bytes + at, key, len) == 0;
}

/* Section 5. */
bool textbook_get(const struct textbook *file, const uint8_t *key, size_t key_len,
                  uint64_t *ret_value)
{
    uint64_t at = file->root;
    size_t used = 0;
    for (;;) {
        struct node node;
        uint64_t len;
        unsigned rank;
        if (!read_node(file, at, &node))
            return false;
        if (node.is_line) {
            if (!match_line(file, &node, key + used, key_len - used, &len))
                return false;
            used += len;
        }
        if (used == key_len && node.has_value) {
            *ret_value = node.value;
            return true;
        }
        if (node.child == 0 || (!node.is_line && used == key_len))
            return false;
        at = node.child;
        if (node.is_line)
            continue;
        if (!find_child(&node, key[used++], &rank))
            return false;
        for (; rank > 0; rank--) {
            if (!read_node(file, at, &node))
                return false;
            at = node.end;
        }
    }
}

bool textbook_init(struct textbook *file, const void *bytes, size_t size)
{
    if (size < 25 || memcmp(bytes, "ACTree03", 8) != 0)
        return false;
    *file = (struct textbook){.bytes = bytes, .size = size};
    memcpy(&file->root, file->bytes + 8, sizeof file->root);
    return file->root >= 16 && file->root < size;
}
