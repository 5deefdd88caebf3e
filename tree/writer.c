/*
 * writer: see writer.h.
 */
#include "tree/writer.h"

#include "act/builder.h"

#include <assert.h>
#include <errno.h>

#define RUN_BYTES_MAX    (MAX_CHILDREN * (DESCRIPTION_ROOM + 2))
#define NUMBER_BYTES_MAX 9

/* From so many children on there may be tables; and are, if they are not much. */
#define TABLE_MIN_LEAST 4
#define TABLE_MIN_USUAL ACT_BUILDER_TABLE_MIN_CHILDREN

/* A sample with fewer runs of less than TABLE_MIN_USUAL says nothing of such. */
#define SAMPLE_RUNS_MIN 1000

/* Line data: so long, and so far back, as to be written again. */
#define NEAR_LINE_BYTES_MAX 256
#define NEAR_BYTES          256

static_assert(RUN_BYTES_MAX <= OUTPUT_RESERVE_MAX, "a run with its table fits into the buffer");

static uint64_t number_bytes(uint64_t value)
{
    uint8_t number[NUMBER_BYTES_MAX];
    return (uint64_t)(number_put(number, value) - number);
}

/* What it adds to the file to write so many bytes again instead of referring to them that far back;
 * the new reference takes one byte. */
static uint64_t repeated_cost(uint64_t len, uint64_t distance)
{
    uint64_t cost = number_bytes(len) + len + 1, saved = number_bytes(distance);
    return cost > saved ? cost - saved : 0;
}

/*
 * How far back line data may stand to be used again. In the plain layout: anywhere. Else a lookup
 * would pay for every line on its way with a cache line and often a page of its own, so short line
 * data that is further away is written again (in a tree of file names that halves the pages of a
 * lookup), as long as that and the tables add no more than a seventh of the file, and where the
 * shorter reference makes up for it: up to three bytes.
 */
static uint64_t line_reach(const struct writer *w, struct slice bytes)
{
    if (w->table_min == 0 || bytes.len > NEAR_LINE_BYTES_MAX)
        return UINT64_MAX;
    uint64_t added = w->far_bytes + w->table_bytes + bytes.len;
    if (added <= output_at(w->output) / 7)
        return NEAR_BYTES;
    return bytes.len > 3 ? UINT64_MAX : (UINT64_C(1) << (8 * bytes.len)) - 1;
}

/* Section 3, each content once. */
static int put_string(struct writer *w, enum dedup_kind kind, struct slice bytes,
                      uint64_t *ret_offset, bool *ret_is_new)
{
    uint8_t number[NUMBER_BYTES_MAX];
    uint64_t at = output_at(w->output);
    uint64_t reach = kind == DEDUP_LINE_DATA ? line_reach(w, bytes) : UINT64_MAX;
    int r = dedup_add(w->dedup, kind, bytes, at, reach, ret_offset);
    *ret_is_new = r > 0;
    if (r <= 0)
        return r;
    if (at > DEDUP_MAX_OFFSET)
        return -EFBIG;
    size_t number_len = (size_t)(number_put(number, bytes.len) - number);
    if (r == DEDUP_FAR)
        w->far_bytes += repeated_cost(bytes.len, at - *ret_offset);
    else if (w->dedup->is_full)
        w->repeated_bytes_max += number_len + bytes.len;
    *ret_offset = at;
    r = output_append(w->output, number, number_len);
    return r == 0 ? output_append(w->output, bytes.p, bytes.len) : r;
}

int writer_put_line(struct writer *w, struct slice bytes, uint64_t *ret_offset)
{
    bool is_new;
    int r = put_string(w, DEDUP_LINE_DATA, bytes, ret_offset, &is_new);
    if (r == 0 && is_new) {
        w->n_lines++;
        w->line_bytes += bytes.len;
    }
    return r;
}

int writer_put_bytes(struct writer *w, struct slice bytes, uint64_t *ret_offset)
{
    bool is_new;
    int r = put_string(w, DEDUP_BYTE_VALUE, bytes, ret_offset, &is_new);
    if (r == 0 && is_new) {
        w->n_byte_values++;
        w->byte_value_bytes += bytes.len;
    }
    return r;
}

int writer_put_node(struct writer *w, const struct description *d, const uint8_t *sets,
                    uint64_t *ret_offset)
{
    int r = output_reserve(w->output, DESCRIPTION_ROOM);
    if (r != 0)
        return r;
    uint64_t at = output_at(w->output);
    uint8_t *p = output_end(w->output);
    output_commit(w->output, (size_t)(description_put(d, sets + d->set, p, at) - p));
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

/* By how many bytes the reference gets longer if a table comes between. */
static uint64_t longer_by(uint64_t from, uint64_t to, uint64_t table_bytes)
{
    return to == 0 ? 0 : number_bytes(from + table_bytes - to) - number_bytes(from - to);
}

/* What a table adds to the file before a run that stands at `at` without one. */
static uint64_t table_cost(const struct description *nodes, const uint16_t *distances, size_t n,
                           uint64_t at)
{
    uint64_t table_bytes = 2 * (n - 1), cost = table_bytes;
    for (size_t i = 0; i < n; i++) {
        cost += longer_by(at + distances[i], nodes[i].child, table_bytes);
        cost += longer_by(at + distances[i], nodes[i].line, table_bytes);
    }
    return cost;
}

int writer_put_run(struct writer *w, const struct description *nodes, size_t n, const uint8_t *sets,
                   uint64_t *ret_first)
{
    uint16_t distances[MAX_CHILDREN];
    int r = output_reserve(w->output, n * (DESCRIPTION_ROOM + 2));
    if (r != 0)
        return r;
    bool has_table = writer_has_table(w, n);
    size_t table_bytes = has_table ? 2 * (n - 1) : 0;
    uint64_t first = output_at(w->output) + table_bytes;
    uint8_t *run = output_end(w->output) + table_bytes, *p = run;
    for (size_t i = 0; i < n; i++) {
        distances[i] = (uint16_t)(p - run);
        p = description_put(&nodes[i], sets + nodes[i].set, p, first + (uint64_t)(p - run));
    }
    w->n_short_runs += n >= TABLE_MIN_LEAST && n < TABLE_MIN_USUAL;
    if (w->is_sample)
        w->table_costs[n] += table_cost(nodes, distances, n, first - table_bytes);
    if (has_table) {
        put_table(run, distances, n);
        w->n_tables++;
        w->table_bytes += table_bytes;
    }
    output_commit(w->output, table_bytes + (size_t)(p - run));
    *ret_first = first;
    return 0;
}

/*
 * A table saves skipping siblings, and costs two bytes for each. Of short runs there are many: they
 * get tables where all tables add no more than a sixteenth to the file, as in trees of names. Runs
 * of 16 and more are worth an eighth, and longer ones that as well.
 */
unsigned writer_best_table_min(const struct writer *w)
{
    uint64_t plain = output_at(w->output), bytes = 0;
    unsigned table_min = MAX_CHILDREN;
    unsigned least = w->n_short_runs < SAMPLE_RUNS_MIN ? TABLE_MIN_USUAL : TABLE_MIN_LEAST;
    for (unsigned n = w->table_min; n <= MAX_CHILDREN; n++)
        plain -= w->table_costs[n];
    for (unsigned n = MAX_CHILDREN; n >= least; n--) {
        bytes += w->table_costs[n];
        if (bytes > (n < TABLE_MIN_USUAL ? plain / 16 : plain / 8))
            break;
        table_min = n;
    }
    return table_min;
}
