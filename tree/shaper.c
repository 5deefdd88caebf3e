/*
 * shaper: see shaper.h. The names X, Y, S and D are those of the specification.
 *
 * An entry closes what lies deeper than what it has in common with the last key: from the bottom
 * up, each position becomes a description and hangs itself into the branch above it; a branch that
 * is complete writes the run of its children.
 */
#include "tree/shaper.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

/* What may wait for the top of the tree to be laid out: so much of the file, and so many bytes. */
#define TOP_BYTES_MAX     ((size_t)256 * 1024)
#define WAITING_BYTES_MAX ((size_t)4 << 20)

/* A reference takes about so many bytes; exact weights are not needed. */
#define REFERENCE_BYTES 2

/* An open branch: X. */
struct shaper_frame {
    size_t depth;      /* of its position, key bytes */
    size_t first_node; /* its children among the shaper's nodes: from here to the next frame's */
    size_t sets_len;   /* and their sets: from here on */
    size_t waiting;    /* what waits below them, on the cluster's stack: from here on */
    uint64_t value;
    bool has_value;
};

/* Room for one more element behind n of them. 0 or -ENOMEM. */
static int grow(void **p, size_t n, size_t *room, size_t element_bytes, size_t least)
{
    if (n < *room)
        return 0;
    size_t more = *room ? 2 * *room : least;
    void *q = reallocarray(*p, more, element_bytes);
    if (!q)
        return -ENOMEM;
    *p = q;
    *room = more;
    return 0;
}

static int push_frame(struct shaper *s, size_t depth)
{
    int r = grow((void **)&s->frames, s->n_frames, &s->frames_room, sizeof *s->frames, 64);
    if (r != 0)
        return r;
    s->frames[s->n_frames++] = (struct shaper_frame){
        .depth = depth,
        .first_node = s->n_nodes,
        .sets_len = s->sets_len,
        .waiting = s->cluster.len,
    };
    return 0;
}

static struct shaper_frame *top(struct shaper *s)
{
    return &s->frames[s->n_frames - 1];
}

/* The set of the children's bytes goes where their own sets were, which nobody needs any more. */
static int push_set(struct shaper *s, const struct description *nodes, size_t n)
{
    while (s->sets_room < s->sets_len + CHILD_MASK_BYTES) {
        int r = grow((void **)&s->sets, s->sets_room, &s->sets_room, 1, 4096);
        if (r != 0)
            return r;
    }
    uint8_t *set = s->sets + s->sets_len;
    s->sets_len += description_set_bytes((unsigned)n);
    if (n < NODE_FIELD_MASK) {
        for (size_t i = 0; i < n; i++)
            set[i] = nodes[i].byte;
        return 0;
    }
    memset(set, 0, CHILD_MASK_BYTES);
    for (size_t i = 0; i < n; i++)
        set[nodes[i].byte >> 3] |= (uint8_t)(1 << (nodes[i].byte & 7));
    return 0;
}

/* Bytes onto the stack of sets. */
static int push_tail(struct shaper *s, struct slice tail)
{
    while (s->sets_room - s->sets_len < tail.len) {
        int r = grow((void **)&s->sets, s->sets_room, &s->sets_room, 1, 4096);
        if (r != 0)
            return r;
    }
    memcpy(s->sets + s->sets_len, tail.p, tail.len);
    s->sets_len += tail.len;
    return 0;
}

static uint32_t node_weight(const struct description *d)
{
    uint8_t number[9];
    size_t value = d->has_value ? (size_t)(number_put(number, d->value) - number) : 0;
    size_t references = d->tail_len > 0 ? 2 : d->n_children > 0;
    return (uint32_t)(1 + value + references * REFERENCE_BYTES +
                      description_set_bytes(d->n_children) + d->tail_len);
}

/* Writes what waits below the node, on the stack from begin on. */
static int write_waiting(struct shaper *s, struct description *node, size_t begin)
{
    struct cluster_place place;
    int r = cluster_write(&s->cluster, begin, begin + node->pending, node->is_top, &place);
    if (r != 0)
        return r;
    node->line = place.line;
    node->child = place.child;
    node->pending = node->weight = 0;
    return 0;
}

/* The node to be written next: the largest that what is left of the page has room for, or else the
 * largest. -1: none is left. */
static int next_to_write(const struct shaper *s, const struct description *nodes, size_t n)
{
    size_t room = CLUSTER_BYTES - output_at(s->writer.output) % CLUSTER_BYTES;
    int largest = -1, fitting = -1;
    for (size_t i = 0; i < n; i++) {
        if (nodes[i].pending == 0 || nodes[i].is_top)
            continue;
        if (largest < 0 || nodes[i].weight > nodes[largest].weight)
            largest = (int)i;
        if (nodes[i].weight <= room && (fitting < 0 || nodes[i].weight > nodes[fitting].weight))
            fitting = (int)i;
    }
    return fitting >= 0 ? fitting : largest;
}

/* Of the children of a branch that is too much for a page, those that are not are written. What
 * still waits moves together on the stack. */
static int write_pages(struct shaper *s, struct description *nodes, size_t n, size_t begin)
{
    size_t at[MAX_CHILDREN + 1] = {begin}, end = begin;
    int next;
    for (size_t i = 0; i < n; i++)
        at[i + 1] = at[i] + nodes[i].pending;
    while ((next = next_to_write(s, nodes, n)) >= 0) {
        int r = write_waiting(s, &nodes[next], at[next]);
        if (r != 0)
            return r;
    }
    for (size_t i = 0; i < n; i++) {
        if (nodes[i].pending > 0)
            memmove(s->cluster.p + end, s->cluster.p + at[i], nodes[i].pending);
        end += nodes[i].pending;
    }
    s->cluster.len = end;
    return 0;
}

/* The run of the branch on top, d, waits for more. */
static int close_later(struct shaper *s, struct description *nodes, size_t n, struct description *d)
{
    const struct shaper_frame *frame = top(s);
    uint64_t n_keys = d->has_value, own = writer_has_table(&s->writer, n) ? 2 * (n - 1) : 0;
    uint64_t below = 0;
    for (size_t i = 0; i < n; i++) {
        own += node_weight(&nodes[i]);
        below += nodes[i].weight;
        n_keys += nodes[i].n_keys;
        d->is_top |= nodes[i].is_top;
    }
    d->is_top |= own + below > CLUSTER_WHOLE_BYTES;
    int r = d->is_top ? write_pages(s, nodes, n, frame->waiting) : 0;
    if (r == 0)
        r = cluster_push_block(&s->cluster, nodes, n,
                               slice_of(s->sets + frame->sets_len, s->sets_len - frame->sets_len),
                               (uint32_t)frame->sets_len);
    below = 0;
    for (size_t i = 0; i < n; i++)
        below += nodes[i].weight;
    d->pending = (uint32_t)(s->cluster.len - frame->waiting);
    d->weight = (uint32_t)(own + below);
    d->n_keys = n_keys < UINT32_MAX ? (uint32_t)n_keys : UINT32_MAX;
    return r;
}

/* The branch on top is complete: its run is written, or waits, and it is taken off. */
static int close_branch(struct shaper *s, struct description *ret)
{
    const struct shaper_frame *frame = top(s);
    struct description *nodes = s->nodes + frame->first_node;
    size_t n = s->n_nodes - frame->first_node;
    struct description d = {
        .value = frame->value,
        .has_value = frame->has_value,
        .n_children = (uint16_t)n,
    };
    int r = 0;
    if (n > 0)
        r = s->is_plain ? writer_put_run(&s->writer, nodes, n, s->sets, &d.child)
                        : close_later(s, nodes, n, &d);
    if (r != 0)
        return r;
    s->sets_len = frame->sets_len;
    d.set = (uint32_t)s->sets_len;
    if ((r = push_set(s, nodes, n)) != 0)
        return r;
    s->n_nodes = frame->first_node;
    s->n_frames--;
    *ret = d;
    return 0;
}

/* d with the line data before it becomes a line node, and is written itself if it has children. */
static int write_line(struct shaper *s, struct description *d, struct slice tail)
{
    struct description line = {.is_top = d->is_top, .n_keys = d->n_keys};
    int r = writer_put_line(&s->writer, tail, &line.line);
    if (r == 0 && d->n_children > 0) {
        r = writer_put_node(&s->writer, d, s->sets, &line.child);
        s->sets_len = d->set;
    } else {
        line.has_value = d->has_value;
        line.value = d->value;
    }
    *d = line;
    return r;
}

/* The same, for later. */
static int keep_line(struct shaper *s, struct description *d, struct slice tail)
{
    size_t before = s->cluster.len;
    if (d->n_children == 0) {
        d->set = (uint32_t)s->sets_len;
        d->tail_len = (uint32_t)tail.len;
        return push_tail(s, tail);
    }
    int r = cluster_push_tail(&s->cluster, d, s->sets + d->set, tail);
    s->sets_len = d->set;
    *d = (struct description){
        .is_top = d->is_top,
        .pending = d->pending + (uint32_t)(s->cluster.len - before),
        .weight = d->weight + node_weight(d) + (uint32_t)tail.len + 1,
        .n_keys = d->n_keys,
    };
    return r;
}

/* d, at that depth on the way to the last key, becomes a child of the branch on top. */
static int hang_in(struct shaper *s, struct description d, size_t depth)
{
    const struct shaper_frame *frame = top(s);
    struct slice tail = slice_of(s->key + frame->depth + 1, depth - frame->depth - 1);
    int r = grow((void **)&s->nodes, s->n_nodes, &s->nodes_room, sizeof *s->nodes, 256);
    /* What would fill pages by itself does not wait, so that what waits stays small. */
    bool is_long = tail.len > CLUSTER_BYTES;
    bool is_much = d.weight > TOP_BYTES_MAX || s->cluster.len > WAITING_BYTES_MAX;
    if (r == 0 && d.pending > 0 && (is_long || is_much)) {
        size_t begin = s->cluster.len - d.pending;
        r = write_waiting(s, &d, begin);
        s->cluster.len = begin;
    }
    bool is_written = s->is_plain || is_long || (d.n_children > 0 && d.pending == 0);
    if (r == 0 && tail.len > 0)
        r = is_written ? write_line(s, &d, tail) : keep_line(s, &d, tail);
    if (r != 0)
        return r;
    d.byte = s->key[frame->depth];
    s->nodes[s->n_nodes++] = d;
    return 0;
}

/* Closes everything below the first `common` bytes of the last key, and opens a branch there. */
static int close_below(struct shaper *s, size_t common)
{
    struct description d = {.has_value = true, .value = s->leaf_value, .n_keys = 1};
    size_t depth = s->key_len;
    int r = 0;
    if (!s->has_leaf)
        return 0;
    s->has_leaf = false;
    if (depth == common) {
        if ((r = push_frame(s, common)) != 0)
            return r;
        top(s)->has_value = true;
        top(s)->value = s->leaf_value;
        return 0;
    }
    while (r == 0 && top(s)->depth > common) {
        size_t parent = top(s)->depth;
        if ((r = hang_in(s, d, depth)) == 0)
            r = close_branch(s, &d);
        depth = parent;
    }
    if (r == 0 && top(s)->depth < common) {
        /* What belongs to a branch that comes to hang in a new one stays where it is: above it. */
        r = push_frame(s, common);
        if (r == 0 && d.n_children > 0) {
            top(s)->sets_len = d.set;
            top(s)->waiting -= d.pending;
        }
    }
    return r == 0 ? hang_in(s, d, depth) : r;
}

static size_t common_prefix(const uint8_t *a, const uint8_t *b, size_t n)
{
    size_t i = 0;
    for (; n - i >= 8; i += 8) {
        uint64_t other = load_le64(a + i) ^ load_le64(b + i);
        if (other != 0)
            return i + (size_t)__builtin_ctzll(other) / 8;
    }
    while (i < n && a[i] == b[i])
        i++;
    return i;
}

static int keep_key(struct shaper *s, struct slice key, size_t common)
{
    while (key.len > s->key_room) {
        int r = grow((void **)&s->key, s->key_room, &s->key_room, 1, 256);
        if (r != 0)
            return r;
    }
    if (key.len > common)
        memcpy(s->key + common, key.p + common, key.len - common);
    s->key_len = key.len;
    return 0;
}

static bool has_keys(const struct shaper *s)
{
    return s->n_keys > 0;
}

int shaper_compare(struct shaper *s, struct slice key)
{
    size_t shorter = key.len < s->key_len ? key.len : s->key_len;
    s->common = common_prefix(s->key, key.p, shorter);
    if (s->common == key.len && has_keys(s))
        return key.len == s->key_len ? SHAPER_EQUAL : SHAPER_SMALLER;
    if (s->common < shorter && key.p[s->common] < s->key[s->common])
        return SHAPER_SMALLER;
    return 0;
}

int shaper_add(struct shaper *s, struct slice key, uint64_t value)
{
    int r = close_below(s, s->common);
    if (r == 0)
        r = keep_key(s, key, s->common);
    if (r != 0)
        return r;
    s->n_keys++;
    if (key.len > s->longest_key_bytes)
        s->longest_key_bytes = key.len;
    s->has_leaf = key.len > 0;
    s->leaf_value = value;
    if (key.len == 0) {
        top(s)->has_value = true;
        top(s)->value = value;
    }
    return 0;
}

void shaper_replace(struct shaper *s, uint64_t value)
{
    assert(has_keys(s));
    s->leaf_value = value;
    if (!s->has_leaf)
        top(s)->value = value;
}

int shaper_finish(struct shaper *s, uint64_t *ret_root)
{
    struct description root;
    int r = close_below(s, 0);
    if (r != 0)
        return r;
    assert(s->n_frames == 1);
    r = close_branch(s, &root);
    if (r == 0 && root.pending > 0)
        r = write_waiting(s, &root, 0);
    return r == 0 ? writer_put_node(&s->writer, &root, s->sets, ret_root) : r;
}

int shaper_init(struct shaper *s, struct output *output, struct dedup *dedup, unsigned table_min)
{
    *s = (struct shaper){
        .writer = {.output = output, .dedup = dedup, .table_min = table_min},
        .is_plain = table_min == 0,
    };
    cluster_init(&s->cluster, &s->writer);
    /* An empty tree has stacks, too: nothing is added to NULL. */
    int r = grow((void **)&s->sets, 0, &s->sets_room, 1, 4096);
    if (r == 0)
        r = grow((void **)&s->nodes, 0, &s->nodes_room, sizeof *s->nodes, 256);
    return r == 0 ? push_frame(s, 0) : r;
}

void shaper_deinit(struct shaper *s)
{
    free(s->key);
    free(s->frames);
    free(s->nodes);
    free(s->sets);
    cluster_deinit(&s->cluster);
    *s = (struct shaper){0};
}
