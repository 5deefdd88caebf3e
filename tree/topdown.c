/*
 * topdown: see topdown.h.
 *
 * A task is what is left of a run of siblings. The stack holds those between the root and where the
 * walk is, so it is as deep as keys may be long here. A task that comes to an unknown page goes to
 * the waiting ones, and the walk goes on without it; when they or their pages are many, the pages
 * are read in the order of the file and the tasks are ready. Where there is no room for all of them
 * some are dropped, and the same depth is walked once more.
 */
#include "tree/topdown.h"

#include "tree/child.h"
#include "tree/tree.h"

#include <errno.h>
#include <stdlib.h>

/* Of a key no more is looked at: the end of very long ones comes with the rest of the file. */
#define KEY_BYTES ((uint32_t)64 * 1024)

#define READY_TASKS   32768
#define WAITING_TASKS 4096

/* Pages that one node may miss: its window, its line's bytes, its table. */
#define NODE_PAGES (2 + 1 + KEY_BYTES / ACT_PAGE_BYTES + 1 + 2)
static_assert(NODE_PAGES < ACT_WANTED_MAX / 2, "a batch is more than a node");

/* Nodes that are looked at, all walks together: some 20 ns each. A page holds some hundred small
 * nodes, and a walk that is to bring in the top of a tree passes few of them. */
#define NODES_PER_PAGE 64
#define NODES_MIN      1000000

/* Between two looks at the clock. */
#define NODES_UNTOLD 65536

struct task {
    uint64_t at;    /* the node that comes next */
    uint64_t limit; /* nodes end at or before it */
    uint32_t start; /* bytes of the key before it */
    uint16_t n;     /* siblings that are left, that node included; at least 1 */
};

struct topdown {
    struct warmer *warmer; /* borrowed */
    struct act_residency *residency;
    struct view view;
    uint64_t root;
    uint64_t n_pages;    /* of the file */
    uint64_t left_pages; /* that may still be read */
    uint64_t left_nodes;
    uint32_t depth;  /* bytes of the key that this walk goes down */
    bool is_cut;     /* there is something below them */
    bool is_partial; /* tasks were dropped */
    bool is_corrupt;
    size_t n_stack, n_ready, n_waiting;
    struct task stack[KEY_BYTES + 2];
    struct task ready[READY_TASKS];
    struct task waiting[WAITING_TASKS];
};

/* Outcome of a walk: it costs too much. */
#define TOPDOWN_ENOUGH 3

static int compare_pages(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Pages in order. */
struct batch {
    uint64_t pages[ACT_WANTED_MAX];
    size_t n;
};

static bool next_of_batch(void *source, uint64_t from, uint64_t *ret_first, uint64_t *ret_n)
{
    const struct batch *batch = source;
    size_t low = 0, high = batch->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (batch->pages[middle] < from)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == batch->n)
        return false;
    *ret_first = batch->pages[low];
    *ret_n = 1;
    while (low + *ret_n < batch->n && batch->pages[low + *ret_n] == *ret_first + *ret_n)
        ++*ret_n;
    return true;
}

/* Reads what was missed, as far as the limit allows; then what waited for it is ready. 0,
 * TOPDOWN_ENOUGH: the limit is reached; or as warmer_read_runs. */
static int flush(struct topdown *top)
{
    struct batch batch;
    size_t n_missed, n;
    const uint64_t *pages = act_residency_wanted(top->residency, &n_missed, &n);
    memcpy(batch.pages, pages, n * sizeof *pages);
    batch.n = n;
    qsort(batch.pages, batch.n, sizeof *batch.pages, compare_pages);
    if (batch.n > top->left_pages)
        batch.n = top->left_pages;
    int r = warmer_read_runs(top->warmer, next_of_batch, &batch, batch.n);
    if (r != 0)
        return r;
    for (size_t i = 0; i < batch.n; i++)
        act_residency_note(top->residency, batch.pages[i]);
    act_residency_begin(top->residency);
    top->left_pages -= batch.n;
    if (top->left_pages == 0)
        return TOPDOWN_ENOUGH;
    for (; top->n_waiting > 0 && top->n_ready < READY_TASKS; top->n_waiting--)
        top->ready[top->n_ready++] = top->waiting[top->n_waiting - 1];
    top->is_partial |= top->n_waiting > 0;
    top->n_waiting = 0;
    return 0;
}

static void push(struct topdown *top, struct task task)
{
    if (task.start < top->depth)
        top->stack[top->n_stack++] = task;
    else
        top->is_cut = true;
}

/* What hangs below a node that was read. */
static void go_below(struct topdown *top, const struct node *node, uint32_t start)
{
    if (node->is_line) {
        if (node->line.len > top->depth - start)
            top->is_cut = true;
        else if (node->child != 0)
            push(top, (struct task){.at = node->child,
                                    .limit = node->offset,
                                    .start = start + (uint32_t)node->line.len,
                                    .n = 1});
        return;
    }
    unsigned n = child_count(node);
    if (n == 0 || node->child == 0)
        return;
    uint64_t table_bytes = 2 * ((uint64_t)n - 1);
    /* The way down goes by it, if there is a next byte; it is listed, and not waited for. */
    if (start + 1 < top->depth && child_has_table(top->view.map, node, n) && table_bytes > 0 &&
        table_bytes < node->child)
        (void)view_may_touch(&top->view, node->child - table_bytes, table_bytes);
    push(top, (struct task){
                  .at = node->child, .limit = node->offset, .start = start + 1, .n = (uint16_t)n});
}

/* The next node of the task on top. */
static void step(struct topdown *top)
{
    struct task task = top->stack[--top->n_stack];
    struct node node = {0};
    top->left_nodes--;
    /* Of the line at the end of a walk the bytes that it goes down. */
    top->view.reach = top->depth - task.start;
    int r = node_read(&top->view, task.at, task.limit, &node);
    if (r == ACT_COLD) {
        top->waiting[top->n_waiting++] = task;
        return;
    }
    if (r != 0) {
        top->is_corrupt = true;
        return;
    }
    if (task.n > 1)
        top->stack[top->n_stack++] = (struct task){
            .at = node.end, .limit = task.limit, .start = task.start, .n = (uint16_t)(task.n - 1)};
    go_below(top, &node, task.start);
}

static bool is_batch(const struct topdown *top)
{
    size_t n_missed, n;
    (void)act_residency_wanted(top->residency, &n_missed, &n);
    return n + NODE_PAGES > ACT_WANTED_MAX || top->n_waiting == WAITING_TASKS;
}

/* One walk from the root. 0, TOPDOWN_ENOUGH, or as warmer_read_runs. */
static int walk(struct topdown *top)
{
    int r = 0;
    top->is_cut = top->is_partial = false;
    top->n_ready = top->n_waiting = 0;
    top->n_stack = 0;
    push(top, (struct task){.at = top->root, .limit = top->view.map->size, .n = 1});
    while (r == 0) {
        if (top->left_nodes == 0)
            return TOPDOWN_ENOUGH;
        if (top->left_nodes % NODES_UNTOLD == 0 && warmer_tell(top->warmer, false) != 0)
            return -ECANCELED;
        bool is_idle = top->n_stack == 0 && top->n_ready == 0;
        if (is_batch(top) || (is_idle && top->n_waiting > 0))
            r = flush(top);
        else if (is_idle)
            break;
        else if (top->n_stack == 0)
            top->stack[top->n_stack++] = top->ready[--top->n_ready];
        else
            step(top);
    }
    return r;
}

/* Walks, each deeper than the one before by a part of it, so that all of them cost some times what
 * the last one does. 0: the whole tree was passed, as far as there are key bytes for it. */
static int walk_all(struct topdown *top)
{
    int r = 0;
    uint32_t depth = 1;
    while (r == 0) {
        uint64_t left_before = top->left_pages;
        top->depth = depth;
        r = walk(top);
        /* The last part of what hangs below a line or a table may still be listed. */
        if (r == 0)
            r = flush(top);
        if (r != 0 || (top->is_partial && top->left_pages < left_before))
            continue;
        if (!top->is_cut || depth == KEY_BYTES)
            return 0;
        /* 1, 2, 3, 4, 6, 8, 12, 16 and so on. */
        bool is_power = (depth & (depth - 1)) == 0;
        uint32_t deeper = depth < 2 ? 2 : is_power ? depth / 2 * 3 : depth / 3 * 4;
        depth = deeper < KEY_BYTES ? deeper : KEY_BYTES;
    }
    return r;
}

/* The pages that no walk has read. */
static bool next_of_rest(void *source, uint64_t from, uint64_t *ret_first, uint64_t *ret_n)
{
    const struct topdown *top = source;
    const struct residency_bits *bits = top->view.residency;
    while (from < top->n_pages && residency_knows(bits, from))
        from++;
    if (from >= top->n_pages)
        return false;
    *ret_first = from;
    while (from < top->n_pages && !residency_knows(bits, from))
        from++;
    *ret_n = from - *ret_first;
    return true;
}

static int run(struct topdown *top)
{
    int r = walk_all(top);
    if (r == 0 || r == TOPDOWN_ENOUGH)
        r = warmer_read_runs(top->warmer, next_of_rest, top, top->left_pages);
    return r == 0 && top->is_corrupt ? ACT_CORRUPT : r;
}

int topdown_run(struct warmer *warmer, const struct act *tree, uint64_t max_pages)
{
    struct topdown *top = malloc(sizeof *top);
    if (!top)
        return -ENOMEM;
    top->warmer = warmer;
    top->root = tree->root;
    top->left_pages = max_pages;
    top->left_nodes = max_pages * NODES_PER_PAGE + NODES_MIN;
    top->is_corrupt = false;
    /* The kernel is not asked: what is there already costs no more than to read it. */
    int r = act_residency_new(tree, -1, ACT_PROBE_NONE, &top->residency);
    if (r == 0) {
        const struct act *known = act_residency_tree(top->residency);
        top->view = (struct view){.map = &known->map, .residency = known->residency};
        top->n_pages = top->view.residency->n_pages;
        r = run(top);
        act_residency_free(top->residency);
    }
    free(top);
    return r;
}
