/*
 * cluster: see cluster.h.
 */
#include "tree/cluster.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define NO_UNIT UINT32_MAX

/* By how much the weights of a page may be wrong. */
#define ROOT_SLACK_BYTES (CLUSTER_BYTES / 32)

/* The number of the units that are written before the rest of the root's. */
#define CLUSTER_BEFORE UINT32_MAX

/* A reference inside a few pages: two bytes behind the first. */
#define NEAR_REFERENCE_BYTES 3

struct record {
    uint32_t bytes; /* of all of it, a multiple of 8 */
    uint32_t side;  /* from its start: where sets and tails begin */
    uint32_t side_base;
    uint32_t n_keys;
    uint16_t n; /* nodes behind this header */
    bool is_tail;
};

struct cluster_unit {
    size_t at;   /* of the block on the stack */
    size_t tail; /* of its tail; 0: none (a block comes before it) */
    uint32_t weight, n_keys;
    uint32_t last_child, previous; /* those that waited below it; its sibling before it */
    uint32_t cluster;              /* in which it is written; the highest first */
    struct cluster_place place;    /* once it is written */
};

/* The stack */

static int push(struct cluster *c, struct record record, const struct description *nodes,
                struct slice a, struct slice b)
{
    record.side = (uint32_t)(sizeof record + record.n * sizeof *nodes);
    size_t bytes = (record.side + a.len + b.len + 7) & ~(size_t)7;
    if (bytes > c->room - c->len) {
        size_t room = 2 * c->room + bytes + 4096;
        uint8_t *p = realloc(c->p, room);
        if (!p)
            return -ENOMEM;
        c->p = p;
        c->room = room;
    }
    record.bytes = (uint32_t)bytes;
    uint8_t *p = c->p + c->len;
    memcpy(p, &record, sizeof record);
    memcpy(p + sizeof record, nodes, record.n * sizeof *nodes);
    if (a.len > 0)
        memcpy(p + record.side, a.p, a.len);
    if (b.len > 0)
        memcpy(p + record.side + a.len, b.p, b.len);
    c->len += bytes;
    return 0;
}

int cluster_push_block(struct cluster *c, const struct description *nodes, size_t n,
                       struct slice side, uint32_t side_base)
{
    uint64_t n_keys = 0;
    for (size_t i = 0; i < n; i++)
        n_keys += nodes[i].n_keys;
    struct record record = {
        .n = (uint16_t)n,
        .side_base = side_base,
        .n_keys = n_keys < UINT32_MAX ? (uint32_t)n_keys : UINT32_MAX,
    };
    return push(c, record, nodes, side, slice_of(NULL, 0));
}

int cluster_push_tail(struct cluster *c, const struct description *d, const uint8_t *set,
                      struct slice tail)
{
    struct record record = {.n = 1, .is_tail = true};
    struct description node = *d;
    node.tail_len = (uint32_t)tail.len;
    return push(c, record, &node, slice_of(set, description_set_bytes(d->n_children)), tail);
}

/* Units */

static int units_grow(struct cluster *c)
{
    size_t room = c->units_room ? 2 * c->units_room : 64;
    void *units = reallocarray(c->units, room, sizeof *c->units);
    if (units)
        c->units = units;
    void *indexes = units ? reallocarray(c->open, 3 * room, sizeof *c->open) : NULL;
    if (!indexes)
        return -ENOMEM;
    c->open = indexes; /* the one that is in use now: it keeps its place */
    c->heap = c->open + room;
    c->queue = c->heap + room;
    c->units_room = room;
    return 0;
}

static size_t number_bytes(uint64_t value)
{
    uint8_t number[16];
    return (size_t)(number_put(number, value) - number);
}

/* About what the record will take, where it is written next. What waits will be near. */
static size_t record_weight(const struct cluster *c, const struct record *record, const uint8_t *p)
{
    uint64_t at = output_at(c->writer->output);
    size_t weight = !record->is_tail && writer_has_table(c->writer, record->n)
                        ? 2 * ((size_t)record->n - 1)
                        : 0;
    for (size_t i = 0; i < record->n; i++) {
        struct description node;
        memcpy(&node, p + i * sizeof node, sizeof node);
        weight += 1 + description_set_bytes(node.n_children);
        weight += node.has_value ? number_bytes(node.value) : 0;
        weight += node.tail_len > 0 ? node.tail_len + 1 + NEAR_REFERENCE_BYTES : 0;
        weight += node.child != 0 ? number_bytes(at - node.child) : 0;
        weight += node.line != 0 ? number_bytes(at - node.line) : 0;
        weight += node.pending > 0 || record->is_tail ? NEAR_REFERENCE_BYTES : 0;
    }
    return weight;
}

/* The pending nodes of a block are the last units that nobody has taken yet. */
static void take_children(struct cluster *c, struct cluster_unit *unit, const uint8_t *nodes,
                          size_t n, size_t *n_open)
{
    uint32_t *link = &unit->last_child;
    for (size_t i = 0; i < n; i++) {
        struct description node;
        memcpy(&node, nodes + i * sizeof node, sizeof node);
        if (node.pending == 0)
            continue;
        assert(*n_open > 0);
        *link = c->open[--*n_open];
        link = &c->units[*link].previous;
    }
    *link = NO_UNIT;
}

/* The records [begin, end) as units. */
static int find_units(struct cluster *c, size_t begin, size_t end)
{
    size_t n_open = 0;
    c->n_units = 0;
    for (size_t at = begin; at < end;) {
        struct record record;
        memcpy(&record, c->p + at, sizeof record);
        size_t weight = record_weight(c, &record, c->p + at + sizeof record);
        if (record.is_tail) {
            c->units[c->n_units - 1].tail = at;
            c->units[c->n_units - 1].weight += (uint32_t)weight;
            at += record.bytes;
            continue;
        }
        if (c->n_units == c->units_room && units_grow(c) != 0)
            return -ENOMEM;
        struct cluster_unit *unit = &c->units[c->n_units];
        *unit = (struct cluster_unit){
            .at = at, .weight = (uint32_t)weight, .n_keys = record.n_keys, .previous = NO_UNIT};
        take_children(c, unit, c->p + at + sizeof record, record.n, &n_open);
        c->open[n_open++] = (uint32_t)c->n_units++;
        at += record.bytes;
    }
    assert(n_open == 1);
    return 0;
}

/* Laying out */

static void heap_push(struct cluster *c, size_t *n, uint32_t unit)
{
    size_t i = (*n)++;
    while (i > 0 && c->units[c->heap[(i - 1) / 2]].n_keys < c->units[unit].n_keys) {
        c->heap[i] = c->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    c->heap[i] = unit;
}

static uint32_t heap_pop(struct cluster *c, size_t *n)
{
    uint32_t top = c->heap[0], last = c->heap[--*n];
    size_t i = 0;
    for (;;) {
        size_t child = 2 * i + 1;
        if (child + 1 < *n && c->units[c->heap[child + 1]].n_keys > c->units[c->heap[child]].n_keys)
            child++;
        if (child >= *n || c->units[c->heap[child]].n_keys <= c->units[last].n_keys)
            break;
        c->heap[i] = c->heap[child];
        i = child;
    }
    c->heap[i] = last;
    return top;
}

/* What is taken into a page, from the unit on downward: what most keys lead through comes first.
 * What finds no room begins a page later. */
static void fill(struct cluster *c, uint32_t root, uint32_t cluster, size_t *room, size_t *n_queue)
{
    size_t n = 0;
    heap_push(c, &n, root);
    for (bool is_first = true; n > 0; is_first = false) {
        uint32_t index = heap_pop(c, &n);
        struct cluster_unit *unit = &c->units[index];
        if (unit->weight > *room && !is_first) {
            c->queue[(*n_queue)++] = index;
            continue;
        }
        *room -= unit->weight < *room ? unit->weight : *room;
        unit->cluster = cluster;
        for (uint32_t child = unit->last_child; child != NO_UNIT; child = c->units[child].previous)
            heap_push(c, &n, child);
    }
}

/* The pages come to stand in the reverse order. Result: the highest one. */
static uint32_t lay_out(struct cluster *c)
{
    size_t room = CLUSTER_BYTES - ROOT_SLACK_BYTES, n_queue = 0;
    uint32_t root = (uint32_t)c->n_units - 1, cluster = 0;
    fill(c, root, cluster, &room, &n_queue);
    for (size_t i = 0; i < n_queue; i++) {
        if (c->units[c->queue[i]].weight > room) {
            room = CLUSTER_BYTES;
            cluster++;
        }
        fill(c, c->queue[i], cluster, &room, &n_queue);
    }
    return cluster;
}

/* Writing */

static int write_tail(struct cluster *c, struct cluster_unit *unit)
{
    struct record record;
    struct description node;
    const uint8_t *p = c->p + unit->tail;
    memcpy(&record, p, sizeof record);
    memcpy(&node, p + sizeof record, sizeof node);
    const uint8_t *set = p + record.side;
    struct slice tail = slice_of(set + description_set_bytes(node.n_children), node.tail_len);
    node.child = unit->place.child;
    node.set = 0;
    int r = writer_put_line(c->writer, tail, &unit->place.line);
    return r == 0 ? writer_put_node(c->writer, &node, set, &unit->place.child) : r;
}

/* A block with what its nodes refer to: what waited below them, and their own line data. */
static int write_unit(struct cluster *c, struct cluster_unit *unit)
{
    struct record record;
    struct description nodes[MAX_CHILDREN];
    const uint8_t *p = c->p + unit->at;
    uint32_t child = unit->last_child;
    int r = 0;
    memcpy(&record, p, sizeof record);
    memcpy(nodes, p + sizeof record, record.n * sizeof *nodes);
    const uint8_t *side = p + record.side;
    for (size_t i = record.n; i-- > 0;) {
        if (nodes[i].pending == 0)
            continue;
        nodes[i].line = c->units[child].place.line;
        nodes[i].child = c->units[child].place.child;
        child = c->units[child].previous;
    }
    for (size_t i = 0; i < record.n && r == 0; i++) {
        nodes[i].set -= record.side_base;
        if (nodes[i].tail_len > 0)
            r = writer_put_line(c->writer, slice_of(side + nodes[i].set, nodes[i].tail_len),
                                &nodes[i].line);
    }
    if (r == 0)
        r = writer_put_run(c->writer, nodes, record.n, side, &unit->place.child);
    return r == 0 && unit->tail > 0 ? write_tail(c, unit) : r;
}

/*
 * The root's cluster seldom begins with a page of the file: those of its units that the fewest keys
 * lead through fill what is left of the one before, so that the others, which every lookup passes,
 * lie in one. The weights are not exact; a little more goes before.
 */
static void split_root(struct cluster *c)
{
    uint64_t room = CLUSTER_BYTES - output_at(c->writer->output) % CLUSTER_BYTES, weight = 0;
    uint32_t *units = c->queue; /* which is not needed any more */
    size_t n = 0;
    for (uint32_t i = 0; i < c->n_units; i++)
        if (c->units[i].cluster == 0) {
            units[n++] = i;
            weight += c->units[i].weight;
        }
    if (weight + ROOT_SLACK_BYTES <= room)
        return;
    for (uint64_t moved = 0; moved < room + ROOT_SLACK_BYTES;) {
        uint32_t least = NO_UNIT;
        /* A unit comes before the one that it hangs on, which has no fewer keys. */
        for (size_t i = 0; i + 1 < n; i++)
            if (c->units[units[i]].cluster == 0 &&
                (least == NO_UNIT || c->units[units[i]].n_keys < c->units[least].n_keys))
                least = units[i];
        if (least == NO_UNIT)
            return;
        c->units[least].cluster = CLUSTER_BEFORE;
        moved += c->units[least].weight;
    }
}

/* Its units stand in the plain order. */
static int write_cluster(struct cluster *c, uint32_t cluster)
{
    int r = 0;
    for (size_t i = 0; i < c->n_units && r == 0; i++)
        if (c->units[i].cluster == cluster)
            r = write_unit(c, &c->units[i]);
    return r;
}

static int write_laid_out(struct cluster *c)
{
    int r = 0;
    for (uint32_t cluster = lay_out(c); cluster > 0 && r == 0; cluster--)
        r = write_cluster(c, cluster);
    if (r != 0)
        return r;
    split_root(c);
    r = write_cluster(c, CLUSTER_BEFORE);
    return r == 0 ? write_cluster(c, 0) : r;
}

int cluster_write(struct cluster *c, size_t begin, size_t end, bool is_laid_out,
                  struct cluster_place *ret)
{
    int r = find_units(c, begin, end);
    if (r != 0)
        return r;
    r = is_laid_out ? write_laid_out(c) : write_cluster(c, 0);
    if (r == 0)
        *ret = c->units[c->n_units - 1].place;
    return r;
}

void cluster_init(struct cluster *c, struct writer *writer)
{
    *c = (struct cluster){.writer = writer};
}

void cluster_deinit(struct cluster *c)
{
    free(c->p);
    free(c->units);
    free(c->open);
    *c = (struct cluster){0};
}
