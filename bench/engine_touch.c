/*
 * engine_touch: the distinct pages (4 KiB) and cache lines (64 bytes) of the file that a lookup has
 * to read, counted by the bytes that the format makes it read:
 *
 *     a node          its header, numbers and child set
 *     a line          its length, and the bytes that are compared
 *     a step          the entry of the file's sibling table, or, where the branch has none, of
 *                     every sibling before the wanted one what skipping needs: the header and the
 *                     first byte of each number
 *
 * "floor" is the same with steps that read nothing: what no way of finding a child can go below as
 * long as nodes and lines lie where they lie.
 *
 *     engine_touch FILE KEYS LOOKUPS
 *
 * Prints: keys and lookups; model and floor, each pages and lines.
 */
#include "act/act.h"
#include "bench/engine_keys.h"
#include "bench/engine_places.h"

#include <err.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct model {
    const uint8_t *bytes;
    struct act_info info;
    bool is_floor;
    bool is_free; /* what is read now does not count */
    struct places lines, pages;
};

struct node {
    bool is_line, has_value;
    uint64_t value, child, line;
    unsigned n_children;
    bool has_mask;
    const uint8_t *set;
    uint64_t offset;
};

static const uint8_t *touch(struct model *model, uint64_t offset, uint64_t len)
{
    if (offset > model->info.size_bytes || len > model->info.size_bytes - offset)
        errx(1, "a lookup leaves the file at %llu", (unsigned long long)offset);
    if (!model->is_free) {
        places_add(&model->lines, offset / 64, (offset + len - 1) / 64);
        places_add(&model->pages, offset / 4096, (offset + len - 1) / 4096);
    }
    return model->bytes + offset;
}

static uint64_t read_number(struct model *model, uint64_t *at)
{
    unsigned first = *touch(model, *at, 1);
    uint64_t value = first;
    if (first >= 248) {
        value = 0;
        memcpy(&value, touch(model, *at + 1, first - 247), first - 247);
        *at += first - 247;
    }
    *at += 1;
    return value;
}

static void skip_number(struct model *model, uint64_t *at)
{
    unsigned first = *touch(model, *at, 1);
    *at += 1 + (first >= 248 ? first - 247 : 0);
}

static unsigned set_bytes(unsigned header)
{
    return header & 0x80 ? 0 : header & 0x3f;
}

static bool has_child(unsigned header)
{
    return header & (header & 0x80 ? 0x01 : 0x3f);
}

static void skip_node(struct model *model, uint64_t *at)
{
    unsigned header = *touch(model, (*at)++, 1);
    if (header & 0x40)
        skip_number(model, at);
    if (has_child(header))
        skip_number(model, at);
    if (header & 0x80)
        skip_number(model, at);
    *at += set_bytes(header);
}

static struct node read_node(struct model *model, uint64_t offset)
{
    uint64_t at = offset;
    unsigned header = *touch(model, at++, 1);
    struct node node = {.is_line = header & 0x80, .has_value = header & 0x40, .offset = offset};
    if (node.has_value)
        node.value = read_number(model, &at);
    if (has_child(header))
        node.child = offset - read_number(model, &at);
    if (node.is_line)
        node.line = offset - read_number(model, &at);
    node.has_mask = set_bytes(header) == 32;
    node.n_children = set_bytes(header);
    if (node.n_children > 0)
        node.set = touch(model, at, node.n_children);
    if (node.has_mask) {
        node.n_children = 0;
        for (unsigned i = 0; i < 32; i++)
            node.n_children += (unsigned)__builtin_popcount(node.set[i]);
    }
    return node;
}

static unsigned rank_of(const struct node *node, uint8_t byte)
{
    unsigned rank = 0;
    if (!node->has_mask) {
        while (rank < node->n_children && node->set[rank] < byte)
            rank++;
        return rank;
    }
    for (unsigned b = 0; b < byte; b++)
        rank += node->set[b >> 3] >> (b & 7) & 1;
    return rank;
}

static uint64_t step(struct model *model, const struct node *branch, uint8_t byte)
{
    unsigned rank = rank_of(branch, byte);
    uint64_t at = branch->child;
    bool has_table = model->info.metadata_state == ACT_METADATA_FULL &&
                     branch->offset < model->info.metadata.objects_end &&
                     branch->n_children >= model->info.metadata.table_min_children;
    if (rank == 0)
        return at;
    model->is_free = model->is_floor;
    if (has_table) {
        const uint8_t *entry = touch(model, at - 2 * rank, 2);
        at += entry[0] | (uint64_t)entry[1] << 8;
    }
    for (; !has_table && rank > 0; rank--)
        skip_node(model, &at);
    model->is_free = false;
    return at;
}

/* False: a miss. */
static bool look_up(struct model *model, const struct engine_key *key, uint64_t *ret_value)
{
    uint64_t at = model->info.root_offset;
    for (size_t used = 0;;) {
        struct node node = read_node(model, at);
        if (node.is_line) {
            uint64_t line = node.line, len = read_number(model, &line);
            if (len > key->len - used || memcmp(touch(model, line, len), key->p + used, len) != 0)
                return false;
            used += len;
        }
        if (used == key->len && node.has_value) {
            *ret_value = node.value;
            return true;
        }
        if (node.child == 0 || (!node.is_line && used == key->len))
            return false;
        at = node.is_line ? node.child : step(model, &node, key->p[used++]);
    }
}

static void count(struct model *model, const struct engine_keys *keys, const char *name)
{
    uint64_t lines = 0, pages = 0;
    for (size_t i = 0; i < keys->n; i++) {
        uint64_t value;
        places_clear(&model->lines);
        places_clear(&model->pages);
        if (!look_up(model, &keys->at[i], &value) || value != keys->values[i])
            errx(1, "key %zu: not found, or a wrong value", i);
        lines += model->lines.n;
        pages += model->pages.n;
    }
    printf("%s\t%.3f\t%.3f\n", name, (double)pages / (double)keys->n,
           (double)lines / (double)keys->n);
}

int main(int argc, char **argv)
{
    static struct model model;
    struct engine_keys all, keys;
    struct act *tree;
    struct act_error error;
    if (argc != 4)
        errx(2, "usage: %s FILE KEYS LOOKUPS", argv[0]);
    if (act_open_path(argv[1], &tree, &error) != 0)
        errx(1, "%s", error.message);
    act_info(tree, &model.info);
    model.bytes = (const uint8_t *)(uintptr_t)model.info.mapping_start;
    engine_keys_load(&all, argv[2]);
    engine_keys_pick(&keys, &all, strtoull(argv[3], NULL, 10));
    printf("keys\t%zu\nlookups\t%zu\n", all.n, keys.n);
    count(&model, &keys, "model");
    model.is_floor = true;
    count(&model, &keys, "floor");
    engine_keys_deinit(&keys);
    engine_keys_deinit(&all);
    act_close(tree);
    return 0;
}
