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

#define MAX_CHILDREN     256
#define RUN_BYTES_MAX    (MAX_CHILDREN * (DESCRIPTION_ROOM + 2))
#define NUMBER_BYTES_MAX 9

/* Line data: so long, and so far back, as to be written again. */
#define NEAR_LINE_BYTES_MAX 256
#define NEAR_BYTES          2048

static_assert(RUN_BYTES_MAX <= OUTPUT_RESERVE_MAX, "a run with its table fits into the buffer");

/* An open branch: X. */
struct shaper_frame {
    size_t depth;      /* of its position, key bytes */
    size_t first_node; /* its children among the shaper's nodes: from here to the next frame's */
    size_t sets_len;   /* and their sets: from here on */
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
    };
    return 0;
}

static struct shaper_frame *top(struct shaper *s)
{
    return &s->frames[s->n_frames - 1];
}

/*
 * How far back line data may stand to be used again. In the plain layout: anywhere. Else a lookup
 * would pay for every line on its way with a page of its own, so short line data that is further
 * away than half a page is written again (in a tree of file names that halves the pages of a
 * lookup), as long as that and the tables add no more than an eighth of the file.
 */
static uint64_t line_reach(const struct shaper *s, struct slice bytes)
{
    if (s->table_min == 0 || bytes.len > NEAR_LINE_BYTES_MAX)
        return UINT64_MAX;
    uint64_t added = s->far_bytes + s->table_bytes + bytes.len;
    return added <= output_at(s->output) / 8 ? NEAR_BYTES : UINT64_MAX;
}

/* Section 3, each content once. */
static int put_string(struct shaper *s, enum dedup_kind kind, struct slice bytes,
                      uint64_t *ret_offset, bool *ret_is_new)
{
    uint8_t number[NUMBER_BYTES_MAX];
    uint64_t at = output_at(s->output);
    uint64_t reach = kind == DEDUP_LINE_DATA ? line_reach(s, bytes) : UINT64_MAX;
    int r = dedup_add(s->dedup, kind, bytes, at, reach, ret_offset);
    *ret_is_new = r > 0;
    if (r <= 0)
        return r;
    if (at > DEDUP_MAX_OFFSET)
        return -EFBIG;
    size_t number_len = (size_t)(number_put(number, bytes.len) - number);
    if (r == DEDUP_FAR)
        s->far_bytes += number_len + bytes.len;
    else if (s->dedup->is_full)
        s->repeated_bytes_max += number_len + bytes.len;
    *ret_offset = at;
    r = output_append(s->output, number, number_len);
    return r == 0 ? output_append(s->output, bytes.p, bytes.len) : r;
}

/* Writes one node, which is no child of a run of several: D, or the root. */
static int put_node(struct shaper *s, const struct description *d, uint64_t *ret_offset)
{
    int r = output_reserve(s->output, DESCRIPTION_ROOM);
    if (r != 0)
        return r;
    uint64_t at = output_at(s->output);
    uint8_t *p = output_end(s->output);
    output_commit(s->output, (size_t)(description_put(d, s->sets + d->set, p, at) - p));
    *ret_offset = at;
    return 0;
}

/* Section 11: entry number r, 2 r bytes before the run, is how far the child is from its start. */
static void put_table(uint8_t *run, const uint16_t *distances, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        run[-2 * (ptrdiff_t)i] = (uint8_t)distances[i];
        run[-2 * (ptrdiff_t)i + 1] = (uint8_t)(distances[i] >> 8);
    }
}

/* Writes the run of n nodes, and its table. */
static int put_run(struct shaper *s, const struct description *nodes, size_t n, uint64_t *ret_first)
{
    uint16_t distances[MAX_CHILDREN];
    int r = output_reserve(s->output, n * (DESCRIPTION_ROOM + 2));
    if (r != 0)
        return r;
    bool has_table = s->table_min > 0 && n >= s->table_min;
    size_t table_bytes = has_table ? 2 * (n - 1) : 0;
    uint64_t first = output_at(s->output) + table_bytes;
    uint8_t *run = output_end(s->output) + table_bytes, *p = run;
    for (size_t i = 0; i < n; i++) {
        distances[i] = (uint16_t)(p - run);
        p = description_put(&nodes[i], s->sets + nodes[i].set, p, first + (uint64_t)(p - run));
    }
    if (has_table) {
        put_table(run, distances, n);
        s->n_tables++;
        s->table_bytes += table_bytes;
    }
    output_commit(s->output, table_bytes + (size_t)(p - run));
    *ret_first = first;
    return 0;
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

/* The branch on top is complete: writes its run and takes it off. */
static int close_branch(struct shaper *s, struct description *ret)
{
    const struct shaper_frame *frame = top(s);
    const struct description *nodes = s->nodes + frame->first_node;
    size_t n = s->n_nodes - frame->first_node;
    struct description d = {
        .value = frame->value,
        .has_value = frame->has_value,
        .n_children = (uint16_t)n,
    };
    int r = n > 0 ? put_run(s, nodes, n, &d.child) : 0;
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

/* d, at that depth on the way to the last key, becomes a child of the branch on top. */
static int hang_in(struct shaper *s, struct description d, size_t depth)
{
    const struct shaper_frame *frame = top(s);
    struct slice rest = slice_of(s->key + frame->depth + 1, depth - frame->depth - 1);
    int r = grow((void **)&s->nodes, s->n_nodes, &s->nodes_room, sizeof *s->nodes, 256);
    if (r == 0 && rest.len > 0) {
        struct description line = {0};
        bool is_new;
        if ((r = put_string(s, DEDUP_LINE_DATA, rest, &line.line, &is_new)) != 0)
            return r;
        s->n_lines += is_new;
        s->line_bytes += is_new ? rest.len : 0;
        if (d.n_children > 0) {
            r = put_node(s, &d, &line.child);
            s->sets_len = d.set;
        } else {
            line.has_value = d.has_value;
            line.value = d.value;
        }
        d = line;
    }
    if (r != 0)
        return r;
    d.byte = s->key[frame->depth];
    s->nodes[s->n_nodes++] = d;
    return 0;
}

/* Closes everything below the first `common` bytes of the last key, and opens a branch there. */
static int close_below(struct shaper *s, size_t common)
{
    struct description d = {.has_value = true, .value = s->leaf_value};
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
        /* The set of a branch that comes to hang in a new one stays where it is: above it. */
        r = push_frame(s, common);
        if (r == 0 && d.n_children > 0)
            top(s)->sets_len = d.set;
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

int shaper_put_bytes(struct shaper *s, struct slice bytes, uint64_t *ret_offset)
{
    bool is_new;
    int r = put_string(s, DEDUP_BYTE_VALUE, bytes, ret_offset, &is_new);
    if (r == 0 && is_new) {
        s->n_byte_values++;
        s->byte_value_bytes += bytes.len;
    }
    return r;
}

int shaper_finish(struct shaper *s, uint64_t *ret_root)
{
    struct description root;
    int r = close_below(s, 0);
    if (r != 0)
        return r;
    assert(s->n_frames == 1);
    r = close_branch(s, &root);
    return r == 0 ? put_node(s, &root, ret_root) : r;
}

int shaper_init(struct shaper *s, struct output *output, struct dedup *dedup, unsigned table_min)
{
    *s = (struct shaper){.output = output, .dedup = dedup, .table_min = table_min};
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
    *s = (struct shaper){0};
}
