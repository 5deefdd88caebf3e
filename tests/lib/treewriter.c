/*
 * treewriter: see treewriter.h. The names build, X, S, Y are those of the specification.
 */
#include "treewriter.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>

#define HASH_BUCKETS 4096

struct line_data {
    struct line_data *next;
    struct slice bytes; /* of the oracle's keys */
    uint64_t offset;
};

struct writer {
    const struct oracle *oracle;
    uint8_t *p;
    size_t len, room;
    struct line_data *lines[HASH_BUCKETS];
};

/* A node that is not written yet: its references are still absolute. */
struct description {
    bool is_line, has_value;
    uint64_t value;
    uint64_t child; /* 0: none */
    uint64_t line;
    unsigned n_children;
    uint8_t children[256];
};

/* The keys [first, end) of the oracle; all have the first depth bytes in common. */
struct place {
    size_t first, end, depth;
};

static void put(struct writer *w, const void *p, size_t len)
{
    while (w->len + len > w->room) {
        w->room = w->room ? 2 * w->room : 4096;
        w->p = realloc(w->p, w->room);
        if (!w->p)
            err(2, "realloc");
    }
    memcpy(w->p + w->len, p, len);
    w->len += len;
}

static void put_byte(struct writer *w, unsigned byte)
{
    uint8_t b = (uint8_t)byte;
    put(w, &b, 1);
}

static void put_le(struct writer *w, uint64_t value, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        put_byte(w, value >> (8 * i) & 0xff);
}

static void put_varint(struct writer *w, uint64_t value)
{
    unsigned n = 1;
    if (value < 248) {
        put_byte(w, (unsigned)value);
        return;
    }
    while (n < 8 && value >> (8 * n) != 0)
        n++;
    put_byte(w, 247 + n);
    put_le(w, value, n);
}

/* Section 4. Where it went. */
static uint64_t put_node(struct writer *w, const struct description *d)
{
    uint64_t at = w->len;
    unsigned value = d->has_value ? 0x40 : 0;
    unsigned field = d->n_children < 32 ? d->n_children : 32;
    put_byte(w, d->is_line ? 0x80 | value | (d->child != 0) : value | field);
    if (d->has_value)
        put_varint(w, d->value);
    if (d->child != 0)
        put_varint(w, at - d->child);
    if (d->is_line) {
        put_varint(w, at - d->line);
    } else if (field < 32) {
        put(w, d->children, field);
    } else {
        uint64_t mask[4] = {0};
        for (unsigned i = 0; i < d->n_children; i++)
            mask[d->children[i] >> 6] |= UINT64_C(1) << (d->children[i] & 63);
        for (unsigned i = 0; i < 4; i++)
            put_le(w, mask[i], 8);
    }
    return at;
}

/* Section 3, and each content only once. */
static uint64_t put_line_data(struct writer *w, struct slice bytes)
{
    uint32_t hash = 2166136261;
    for (size_t i = 0; i < bytes.len; i++)
        hash = (hash ^ bytes.p[i]) * 16777619;
    struct line_data **bucket = &w->lines[hash % HASH_BUCKETS];
    for (struct line_data *l = *bucket; l; l = l->next)
        if (slice_equal(l->bytes, bytes))
            return l->offset;
    struct line_data *l = malloc(sizeof *l);
    if (!l)
        err(2, "malloc");
    *l = (struct line_data){.next = *bucket, .bytes = bytes, .offset = w->len};
    *bucket = l;
    put_varint(w, bytes.len);
    put(w, bytes.p, bytes.len);
    return l->offset;
}

static struct slice key_of(const struct writer *w, size_t i)
{
    return w->oracle->entries[i].key;
}

static bool has_value_at(const struct writer *w, const struct place *x)
{
    return x->first < x->end && key_of(w, x->first).len == x->depth;
}

/* From Y = x on, along positions without value and with one child, to the end of the chain. */
static void follow_chain(const struct writer *w, struct place *x)
{
    while (!has_value_at(w, x) &&
           key_of(w, x->first).p[x->depth] == key_of(w, x->end - 1).p[x->depth])
        x->depth++;
}

static struct place child_place(const struct writer *w, const struct place *x, size_t first)
{
    uint8_t byte = key_of(w, first).p[x->depth];
    size_t end = first + 1;
    while (end < x->end && key_of(w, end).p[x->depth] == byte)
        end++;
    return (struct place){.first = first, .end = end, .depth = x->depth + 1};
}

static struct description build(struct writer *w, struct place x);

/* The node for what hangs at x, which begins with a chain of 0 or more bytes. */
static struct description build_chain(struct writer *w, struct place x)
{
    struct place y = x;
    follow_chain(w, &y);
    struct description d = build(w, y);
    if (y.depth == x.depth)
        return d;
    struct slice s = slice_of(key_of(w, x.first).p + x.depth, y.depth - x.depth);
    struct description line = {.is_line = true, .line = put_line_data(w, s)};
    if (d.n_children == 0) {
        line.has_value = d.has_value;
        line.value = d.value;
    } else {
        line.child = put_node(w, &d);
    }
    return line;
}

static struct description build(struct writer *w, struct place x)
{
    struct description d = {.has_value = has_value_at(w, &x)};
    struct description *children = malloc(256 * sizeof *children);
    if (!children)
        err(2, "malloc");
    size_t i = x.first;
    if (d.has_value)
        d.value = w->oracle->entries[i++].value;
    while (i < x.end) {
        struct place child = child_place(w, &x, i);
        d.children[d.n_children] = key_of(w, i).p[x.depth];
        children[d.n_children++] = build_chain(w, child);
        i = child.end;
    }
    d.child = d.n_children > 0 ? w->len : 0;
    for (unsigned c = 0; c < d.n_children; c++)
        put_node(w, &children[c]);
    free(children);
    return d;
}

static void free_lines(struct writer *w)
{
    for (size_t i = 0; i < HASH_BUCKETS; i++)
        while (w->lines[i]) {
            struct line_data *next = w->lines[i]->next;
            free(w->lines[i]);
            w->lines[i] = next;
        }
}

struct bytes treewriter_write(const struct oracle *oracle, enum treewriter_root root)
{
    struct writer w = {.oracle = oracle};
    struct place all = {.end = oracle->n};
    put(&w, "ACTree03", 8);
    put_le(&w, 0, 8);
    bool is_line = root == TREEWRITER_LINE_ROOT && oracle->n > 0;
    struct description d = is_line ? build_chain(&w, all) : build(&w, all);
    uint64_t at = put_node(&w, &d);
    put_le(&w, 0, 8);
    for (unsigned i = 0; i < 8; i++)
        w.p[8 + i] = (uint8_t)(at >> (8 * i));
    free_lines(&w);
    struct bytes tree = bytes_copy(w.p, w.len);
    free(w.p);
    return tree;
}
