/*
 * top: the pages that lookups pass first.
 *
 * A walk over runs of siblings, breadth first. Whatever the file says, it reads a bounded number of
 * nodes; pages are kept in order as they are found, one range each, and joined at the end. It owns
 * nothing, so it may be left in the middle.
 */
#include "tree/child.h"
#include "tree/tree.h"

#include <string.h>
#include <unistd.h>

/* Runs that are walked, in the order in which they were found. */
#define TOP_RUNS 4096
/* Nodes that are read: some milliseconds, and several times what the pages hold where each node is
 * reached once. */
#define TOP_NODES 200000
/* Of line data no more is of use: a key seldom agrees with more. */
#define TOP_LINE_BYTES 4096

struct top {
    struct view view;
    uint64_t page_bytes;
    struct act_range *ranges; /* a page each: len is the page's until the end */
    size_t n, max;
    uint64_t n_nodes;
    size_t first, last;
    struct run runs[TOP_RUNS];
};

/* False: there is no room for it. */
static bool add_page(struct top *top, uint64_t page)
{
    size_t low = 0, high = top->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (top->ranges[middle].offset < page)
            low = middle + 1;
        else
            high = middle;
    }
    if (low < top->n && top->ranges[low].offset == page)
        return true;
    if (top->n == top->max)
        return false;
    memmove(top->ranges + low + 1, top->ranges + low, (top->n - low) * sizeof *top->ranges);
    top->ranges[low] = (struct act_range){.offset = page, .len = top->page_bytes};
    top->n++;
    return true;
}

/* Bytes from begin to end, at least one, all of them in the file. False: there is no room. */
static bool add(struct top *top, uint64_t begin, uint64_t end)
{
    uint64_t last = (end - 1) / top->page_bytes * top->page_bytes;
    for (uint64_t page = begin / top->page_bytes * top->page_bytes; page <= last;
         page += top->page_bytes)
        if (!add_page(top, page))
            return false;
    return true;
}

static void push(struct top *top, struct run run)
{
    if (top->last < TOP_RUNS)
        top->runs[top->last++] = run;
}

/* False: there is no room. */
static bool add_line(struct top *top, const struct node *node)
{
    const uint8_t *end = node->line.p + node->line.len;
    uint64_t end_at = (uint64_t)(end - top->view.map->base);
    uint64_t most = node->line_at + TOP_LINE_BYTES;
    if (node->child != 0)
        push(top, (struct run){.first = node->child, .limit = node->offset, .n = 1});
    return add(top, node->line_at, end_at < most ? end_at : most);
}

/* False: there is no room. */
static bool add_branch(struct top *top, const struct node *node)
{
    const struct map *map = top->view.map;
    unsigned n = child_count(node);
    if (n == 0 || node->child == 0)
        return true;
    push(top, (struct run){.first = node->child, .limit = node->offset, .n = n});
    uint64_t table_bytes = 2 * ((uint64_t)n - 1);
    if (!child_has_table(map, node, n) || table_bytes == 0 || table_bytes > node->child)
        return true;
    return add(top, node->child - table_bytes, node->child);
}

/* False: that is enough. What is damaged is passed over. */
static bool add_run(struct top *top, struct run run)
{
    uint64_t at = run.first;
    for (unsigned i = 0; i < run.n; i++) {
        struct node node = {0};
        if (top->n_nodes++ >= TOP_NODES)
            return false;
        if (node_read(&top->view, at, run.limit, &node) != 0)
            return true;
        if (!add(top, node.offset, node.end) ||
            !(node.is_line ? add_line(top, &node) : add_branch(top, &node)))
            return false;
        at = node.end;
    }
    return true;
}

/* Ranges that touch become one; the last one ends with the file. */
static size_t join(struct top *top)
{
    struct act_range *ranges = top->ranges;
    uint64_t size = top->view.map->size;
    size_t n = 0;
    for (size_t i = 0; i < top->n; i++) {
        uint64_t left = size - ranges[i].offset;
        uint64_t len = ranges[i].len < left ? ranges[i].len : left;
        if (n > 0 && ranges[n - 1].offset + ranges[n - 1].len == ranges[i].offset)
            ranges[n - 1].len += len;
        else
            ranges[n++] = (struct act_range){.offset = ranges[i].offset, .len = len};
    }
    return n;
}

size_t act_top(const struct act *tree, struct act_range *ret_ranges, size_t max)
{
    struct top top;
    top.view = (struct view){.map = &tree->map};
    top.page_bytes = tree->page_bytes > 0 ? tree->page_bytes : (uint64_t)sysconf(_SC_PAGESIZE);
    top.ranges = ret_ranges;
    top.max = max < ACT_TOP_MAX ? max : ACT_TOP_MAX;
    top.n = top.n_nodes = top.first = top.last = 0;
    if (top.max == 0)
        return 0;
    /* Whatever the root says of itself, its page is passed. */
    (void)add(&top, tree->root, tree->root + 1);
    push(&top, (struct run){.first = tree->root, .limit = tree->map.size, .n = 1});
    while (top.first < top.last && add_run(&top, top.runs[top.first++]))
        ;
    return join(&top);
}
