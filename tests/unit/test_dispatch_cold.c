/*
 * dispatch on a tree whose pages are not in memory: whatever a request misses, whichever of it
 * comes in when, and however short its slices are, the reply and what is counted are those of the
 * same request on a tree that is in memory.
 *
 * Every page that is not known to be there is unreadable (mprotect): a touch without a question
 * ends the test with SIGSEGV.
 */
#include "act/builder.h"
#include "buildertest.h"
#include "daemon/stats.h"
#include "dispatch_input.h"
#include "randomkeys.h"
#include "serve.h"
#include "unit.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define MSGID         7
#define INPUT_BYTES   200
#define IN_ONE_SLICE  (UINT64_MAX / 2)
#define NODES_DAMAGED 20000 /* that a walk in a damaged tree may visit */
#define SLICES_MAX    4000000

/* What comes in of what a request has missed. */
enum bring {
    BRING_ALL, /* what is read ahead, too */
    BRING_MISSED,
    BRING_FIRST,
    BRING_AND_TAKE, /* and now and then another page is taken away */
    BRING_KINDS
};

/* The same tree twice: in memory, and cold. */
struct pair {
    const char *name;
    struct dispatch_tree tree;
    struct snapshot warm_snapshot, cold_snapshot;
    struct serve warm, cold;
    uint8_t *pages; /* the mapping of the cold one */
    size_t n_pages;
    bool *is_there; /* *owned*; of each page */
    enum bring how;
    struct random random;
    uint64_t n_brought;
};

/*
 * Pages.
 */

static char now_running[256];

static void on_touch(int signal_number)
{
    (void)signal_number;
    static const char text[] = "# a page was touched unasked: ";
    (void)!write(STDERR_FILENO, text, sizeof text - 1);
    (void)!write(STDERR_FILENO, now_running, strlen(now_running));
    signal(SIGSEGV, SIG_DFL);
}

static void protect(const struct pair *p, size_t page, size_t n, int how)
{
    assert_int_equal(mprotect(p->pages + page * ACT_PAGE_BYTES, n * ACT_PAGE_BYTES, how), 0);
}

/* Only these pages are there. */
static void tell_pages(struct pair *p)
{
    struct act_residency *residency = p->cold_snapshot.residency;
    act_residency_doubt(residency);
    for (size_t i = 0; i < p->n_pages; i++)
        if (p->is_there[i])
            act_residency_note(residency, i);
}

/* Takes the pages away; is_partly: only some, so that a request may come far before it misses one.
 */
static void take_pages(struct pair *p, bool is_partly)
{
    protect(p, 0, p->n_pages, PROT_NONE);
    memset(p->is_there, 0, p->n_pages);
    for (size_t i = 0; is_partly && i < p->n_pages; i++)
        if (random_below(&p->random, 2)) {
            p->is_there[i] = true;
            protect(p, i, 1, PROT_READ);
        }
    tell_pages(p);
}

static void take_one(struct pair *p, uint64_t but)
{
    size_t page = random_below(&p->random, (unsigned)p->n_pages);
    if (page == but || !p->is_there[page])
        return;
    p->is_there[page] = false;
    protect(p, page, 1, PROT_NONE);
    tell_pages(p);
}

static void bring(void *context, struct act_residency *residency)
{
    struct pair *p = context;
    size_t n_missed, n;
    const uint64_t *wanted = act_residency_wanted(residency, &n_missed, &n);
    assert_true(n_missed > 0 && n_missed <= n && n <= ACT_WANTED_MAX);
    n = p->how == BRING_ALL ? n : p->how == BRING_FIRST ? 1 : n_missed;
    for (size_t i = 0; i < n; i++) {
        assert_true(wanted[i] < p->n_pages && !p->is_there[wanted[i]]);
        p->is_there[wanted[i]] = true;
        protect(p, wanted[i], 1, PROT_READ);
        act_residency_note(residency, wanted[i]);
    }
    p->n_brought += n;
    if (p->how == BRING_AND_TAKE && random_below(&p->random, 4) == 0)
        take_one(p, wanted[0]);
}

/*
 * Trees.
 */

/* file: borrowed. False: it does not open. */
static bool pair_open(struct pair *p, const char *name, const struct dispatch_tree *tree)
{
    struct act_info info;
    *p = (struct pair){.name = name, .tree = *tree, .random = {.state = tree->file.len}};
    if (serve_snapshot(&p->warm_snapshot, &tree->file, 1) != 0)
        return false;
    assert_int_equal(serve_snapshot_mapped(&p->cold_snapshot, &tree->file, 1), 0);
    assert_int_equal(act_cache_tables(p->warm_snapshot.tree, 1 << 16), 0);
    assert_int_equal(act_cache_tables(p->cold_snapshot.tree, 1 << 16), 0);
    serve_watch_pages(&p->cold_snapshot);
    act_info(p->cold_snapshot.tree, &info);
    p->pages = (uint8_t *)(uintptr_t)info.mapping_start;
    p->n_pages = (info.mapped_bytes - 1) / ACT_PAGE_BYTES + 1;
    p->is_there = calloc(p->n_pages, 1);
    assert_non_null(p->is_there);
    serve_init(&p->warm);
    serve_init(&p->cold);
    struct config *config = &p->warm.config;
    config->limits_max_reply_bytes = 300000;
    config->limits_max_key_bytes = 50000;
    if (!tree->is_known)
        config->limits_max_visited_nodes = NODES_DAMAGED;
    p->cold.config = *config;
    serve_begin(&p->warm, &p->warm_snapshot);
    serve_begin(&p->cold, &p->cold_snapshot);
    p->warm.dispatch.slice_work = IN_ONE_SLICE;
    p->warm.dispatch.slice_reply_bytes = SIZE_MAX;
    p->cold.bring = bring;
    p->cold.bring_context = p;
    return true;
}

static void pair_close(struct pair *p)
{
    protect(p, 0, p->n_pages, PROT_READ);
    assert_true(serve_end(&p->warm));
    assert_true(serve_end(&p->cold));
    serve_snapshot_close(&p->warm_snapshot);
    serve_snapshot_close(&p->cold_snapshot);
    free(p->is_there);
}

/*
 * Requests.
 */

/* The whole reply. *Owned* by the caller. */
static struct bytes ask(struct serve *serve, struct slice message, unsigned *ret_slices)
{
    struct serve_job job;
    unsigned n = 1;
    serve->dispatch.loop_work = UINT64_MAX;
    int r = serve_message(serve, message, &job);
    assert_true(r == SERVE_REPLIED || r == SERVE_SLICED);
    bool is_job = r == SERVE_SLICED;
    for (r = is_job ? DISPATCH_AGAIN : 0; r == DISPATCH_AGAIN; n++) {
        assert_true(n < SLICES_MAX);
        r = serve_slice(serve, &job);
    }
    assert_int_equal(r, 0);
    struct slice reply = buf_content(is_job ? &job.out : &serve->out);
    struct bytes copy = bytes_copy(reply.p, reply.len);
    buf_release(&serve->out);
    if (is_job)
        serve_job_deinit(&job);
    assert_int_equal(serve->pool.used_bytes, 0);
    *ret_slices = n;
    return copy;
}

static bool bytes_equal(const struct bytes *a, const struct bytes *b)
{
    return slice_equal(slice_of(a->p, a->len), slice_of(b->p, b->len));
}

static void print_bytes(const char *name, const struct bytes *bytes)
{
    fprintf(stderr, "# %s, %zu bytes: ", name, bytes->len);
    for (size_t i = 0; i < bytes->len && i < 200; i++)
        fprintf(stderr, "%02x", bytes->p[i]);
    fprintf(stderr, "\n");
}

static void fail_reply(const struct pair *p, const struct bytes *cold, const struct bytes *warm)
{
    print_bytes("cold", cold);
    print_bytes("warm", warm);
    fail_msg("%s: %s: another reply", p->name, now_running);
}

/* Of an array of four, of which the first two take a byte each: is the third one not nil? */
static bool is_error(const struct bytes *reply)
{
    return reply->p[3] != 0xc0;
}

/* The last request must have been counted as in memory. Where it fails in the end, what it has
 * found until then depends on where it has paused. */
static void check_counts(struct pair *p, enum method_id method, bool has_failed)
{
    struct method_stats cold = p->cold.dispatch.stats->method[method],
                        warm = p->warm.dispatch.stats->method[method];
    if (has_failed) {
        cold.hits = warm.hits;
        cold.misses = warm.misses;
    }
    if (memcmp(&cold, &warm, sizeof cold) != 0)
        fail_msg("%s: %s: counts too much: %d requests, %d errors, %d hits, %d misses", p->name,
                 now_running, (int)(cold.requests - warm.requests),
                 (int)(cold.errors - warm.errors), (int)(cold.hits - warm.hits),
                 (int)(cold.misses - warm.misses));
}

static void forget_counts(struct pair *p)
{
    *p->cold.dispatch.stats = *p->warm.dispatch.stats;
}

/* The reply's bytes in memory; nothing is counted. *Owned* by the caller. */
static struct bytes ask_warm(struct pair *p, const struct query *query)
{
    unsigned n;
    msgpack_sbuffer packed;
    struct worker_stats before = *p->warm.dispatch.stats;
    msgpack_sbuffer_init(&packed);
    query_pack(query, MSGID, &packed);
    struct bytes reply = ask(&p->warm, slice_of(packed.data, packed.size), &n);
    msgpack_sbuffer_destroy(&packed);
    *p->warm.dispatch.stats = before;
    return reply;
}

static bool is_walk(enum method_id method)
{
    return method == METHOD_scan || method == METHOD_range || method == METHOD_mscan ||
           method == METHOD_count || method == METHOD_next || method == METHOD_prev ||
           method == METHOD_explore;
}

/* Does it make no difference where its walks have paused? In a damaged tree they may go on by a way
 * that leads round the damage, or into it. Where the budget ends them, others may come a few nodes
 * further: what a walk passes again behind a pause is not always charged. */
static bool is_settled(struct pair *p, const struct query *query, const struct bytes *reply)
{
    struct query ample = *query;
    if (!is_walk(query->method))
        return true;
    if (!p->tree.is_known)
        return false;
    if (query->method != METHOD_explore && !(query->options & QUERY_BIT(MAX_VISITED_NODES)))
        return true;
    ample.options |= QUERY_BIT(MAX_VISITED_NODES);
    ample.max_visited = UINT64_MAX;
    struct bytes other = ask_warm(p, &ample);
    bool is_same = bytes_equal(reply, &other);
    bytes_free(&other);
    return is_same;
}

static void set_slices(struct pair *p, uint64_t work, size_t reply_bytes)
{
    p->cold.dispatch.slice_work = work;
    p->cold.dispatch.slice_reply_bytes = reply_bytes;
}

static void describe(const struct query *query, unsigned how, uint64_t work, size_t bytes)
{
    snprintf(now_running, sizeof now_running,
             "%s, %zu keys, options 0x%x, flaw %u, limit %llu, max_bytes %llu, nodes %llu, "
             "%s%s%s, pages %u, slices of %llu and %zu bytes",
             method_names[query->method], query->n_keys, query->options, query->flaw,
             (unsigned long long)query->limit, (unsigned long long)query->max_bytes,
             (unsigned long long)query->max_visited, query->reverse ? "reverse " : "",
             query->keys_only ? "keys_only " : "", query->errors ? "errors" : "", how,
             (unsigned long long)work, bytes);
}

/* One request, once in memory, and cold in one slice and in several. */
static void check_message(struct pair *p, const struct query *query, struct slice message)
{
    static const uint64_t works[] = {1, 5, 40, 300, 4096};
    static const size_t lens[] = {1, 100, 3000, SIZE_MAX};
    unsigned n;
    struct session before = p->warm.session;
    struct bytes warm = ask(&p->warm, message, &n);
    bool is_same = is_settled(p, query, &warm);
    bool is_tight = is_walk(query->method) && query->options & QUERY_BIT(MAX_VISITED_NODES);
    struct worker_stats counts = *p->cold.dispatch.stats;
    for (unsigned i = 0; i < 3; i++) {
        uint64_t work = i == 0 ? IN_ONE_SLICE : works[random_below(&p->random, N_ELEMENTS(works))];
        size_t len = i == 0 ? SIZE_MAX : lens[random_below(&p->random, N_ELEMENTS(lens))];
        p->how = random_below(&p->random, BRING_KINDS);
        describe(query, p->how, work, len);
        *p->cold.dispatch.stats = counts;
        p->cold.session = before;
        set_slices(p, work, len);
        take_pages(p, random_below(&p->random, 2));
        struct bytes cold = ask(&p->cold, message, &n);
        is_same &= i == 0 || !is_tight; /* slices that its budget is not made for */
        if (is_same && !bytes_equal(&cold, &warm))
            fail_reply(p, &cold, &warm);
        if (is_same)
            check_counts(p, query->method, is_error(&warm));
        bytes_free(&cold);
    }
    forget_counts(p);
    bytes_free(&warm);
}

static void check_query(struct pair *p, const struct query *query)
{
    msgpack_sbuffer packed;
    msgpack_sbuffer_init(&packed);
    query_pack(query, MSGID, &packed);
    if (packed.size <= p->warm.config.limits_max_request_bytes)
        check_message(p, query, slice_of(packed.data, packed.size));
    msgpack_sbuffer_destroy(&packed);
}

static const enum method_id asked[] = {
    METHOD_get,      METHOD_mget, METHOD_exists,  METHOD_node,  METHOD_longest_prefix,
    METHOD_prefixes, METHOD_scan, METHOD_range,   METHOD_mscan, METHOD_count,
    METHOD_next,     METHOD_prev, METHOD_explore, METHOD_hello, METHOD_ping,
};

static void check_random_query(struct pair *p, enum method_id method)
{
    uint8_t bytes[INPUT_BYTES];
    struct query query;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)random_below(&p->random, 256);
    struct input input = {.rest = slice_of(bytes, sizeof bytes),
                          .tree = &p->tree,
                          .max_key_bytes = p->warm.config.limits_max_key_bytes,
                          .identities = {p->warm_snapshot.generation.identity, 5}};
    input_query(&input, method, &query);
    check_query(p, &query);
    input_forget();
}

/* What it tells of the tree is known without it. */
static void check_info(struct pair *p)
{
    static const char message[] = "\x94\x00\x07\xa4info\x90";
    unsigned n;
    take_pages(p, false);
    struct bytes reply = ask(&p->cold, slice_of(message, sizeof message - 1), &n);
    assert_false(is_error(&reply));
    assert_int_equal(n, 1);
    bytes_free(&reply);
    forget_counts(p);
}

/* n requests of each method. */
static void check_tree(const char *name, const struct dispatch_tree *tree, unsigned n)
{
    struct pair p;
    if (!pair_open(&p, name, tree))
        return;
    check_info(&p);
    for (unsigned i = 0; i < n; i++)
        for (size_t k = 0; k < N_ELEMENTS(asked); k++)
            check_random_query(&p, asked[k]);
    assert_true(p.n_brought > 0);
    pair_close(&p);
}

static void replies_are_those_of_a_tree_in_memory(void **state)
{
    char name[32];
    const struct dispatch_tree *first = dispatch_tree(0), *tree = first;
    (void)state;
    for (unsigned i = 0; i == 0 || tree != first; tree = dispatch_tree(++i)) {
        snprintf(name, sizeof name, "tree %u", i);
        check_tree(name, tree, 12);
    }
}

/*
 * Trees of many pages.
 */

static struct oracle cities;

static void load_cities(void)
{
    if (cities.n > 0)
        return;
    oracle_init(&cities);
    oracle_load(&cities, test_data_path("cities.tsv.gz"));
}

/* The entries of an oracle, which the tree takes over, built with those options. */
static struct dispatch_tree built_of(struct oracle *oracle, const struct act_builder_options *o)
{
    return (struct dispatch_tree){
        .file = build_file(oracle, BUILD_SORTED, o, NULL), .oracle = *oracle, .is_known = true};
}

static void tree_deinit(struct dispatch_tree *tree)
{
    bytes_free(&tree->file);
    oracle_deinit(&tree->oracle);
}

/* Every step-th city. */
static struct oracle some_cities(size_t step)
{
    struct oracle oracle;
    load_cities();
    oracle_init(&oracle);
    for (size_t i = 0; i < cities.n; i += step)
        oracle_add(&oracle, cities.entries[i].key.p, cities.entries[i].key.len,
                   cities.entries[i].value);
    oracle_sort(&oracle);
    return oracle;
}

/* Keys that go over many pages, and others between them. */
static struct oracle long_keys(void)
{
    static uint8_t key[48000];
    struct oracle oracle;
    oracle_init(&oracle);
    for (unsigned i = 0; i < 40; i++) {
        memset(key, (int)i / 2, sizeof key);
        key[i % 2 ? 9000 : 17000] = 'x';
        oracle_add(&oracle, key, 1 + 1200 * i, i);
        oracle_add(&oracle, key, 1 + i % 7, 100 + i);
    }
    oracle_sort(&oracle);
    return oracle;
}

/* Byte values of many lengths, some of several pages. */
static struct dispatch_tree large_values(void)
{
    static uint8_t value[20000];
    const struct act_builder_options options = {.values = ACT_VALUES_BYTES};
    struct oracle oracle = some_cities(701);
    struct act_builder *builder;
    int fd = build_memfd();
    assert_int_equal(act_builder_new_fd(fd, "memory", &options, &builder, NULL), 0);
    for (size_t i = 0; i < oracle.n; i++) {
        const struct slice *key = &oracle.entries[i].key;
        size_t len = i % 3 == 0 ? i * 977 % sizeof value : i % 60;
        memset(value, (int)i, sizeof value);
        assert_int_equal(act_builder_add_bytes(builder, key->p, key->len, value, len, i), 0);
    }
    assert_int_equal(act_builder_finish(builder, NULL), 0);
    act_builder_free(builder);
    return (struct dispatch_tree){.file = build_take(fd), .oracle = oracle, .is_known = true};
}

static void so_are_those_of_many_pages(void **state)
{
    (void)state;
    struct oracle oracle = some_cities(1);
    struct dispatch_tree tree = {
        .file = bytes_read_file(test_data_path("cities.act")), .oracle = oracle, .is_known = true};
    check_tree("cities.act", &tree, 40);
    tree_deinit(&tree);

    const struct act_builder_options with_tables = {.table_min_children = 2};
    oracle = some_cities(3);
    tree = built_of(&oracle, &with_tables);
    check_tree("tables", &tree, 40);
    tree_deinit(&tree);

    oracle = long_keys();
    tree = built_of(&oracle, NULL);
    check_tree("long keys", &tree, 40);
    tree_deinit(&tree);
}

static void so_are_byte_values(void **state)
{
    const struct act_builder_options with_bytes = {.values = ACT_VALUES_BYTES};
    (void)state;
    struct oracle oracle = some_cities(5);
    struct dispatch_tree tree = built_of(&oracle, &with_bytes);
    check_tree("byte values", &tree, 40);
    tree_deinit(&tree);

    tree = large_values();
    check_tree("large byte values", &tree, 60);
    tree_deinit(&tree);
}

/* Bytes changed here and there: keys fail, and are told. */
static void so_are_those_of_damaged_trees(void **state)
{
    struct random random = {.state = 5};
    (void)state;
    for (unsigned i = 0; i < 12; i++) {
        struct oracle oracle = some_cities(97);
        const struct act_builder_options with_tables = {.table_min_children = 4};
        struct dispatch_tree tree =
            i % 3 == 0 ? large_values() : built_of(&oracle, i % 3 == 1 ? &with_tables : NULL);
        if (i % 3 == 0)
            oracle_deinit(&oracle);
        tree.is_known = false;
        for (size_t k = 0; k < tree.file.len / 400; k++)
            tree.file.p[16 + random_below(&random, (unsigned)tree.file.len - 32)] ^=
                (uint8_t)(1 + random_below(&random, 255));
        check_tree("damaged", &tree, 12);
        tree_deinit(&tree);
    }
}

/*
 * Bounds.
 */

static struct query budgeted(enum method_id method, struct slice prefix, bool is_reverse)
{
    struct query query = {.method = method,
                          .n_keys = 1,
                          .keys = {prefix},
                          .options = QUERY_BIT(MAX_VISITED_NODES) | QUERY_BIT(REVERSE),
                          .reverse = is_reverse};
    query_settle(&query);
    return query;
}

/* The smallest budget with which the reply is that of an ample one. */
static uint64_t needed_budget(struct pair *p, struct query query)
{
    uint64_t low = 1, high = query.max_visited = 1000000;
    struct bytes whole = ask_warm(p, &query);
    while (low < high) {
        uint64_t middle = query.max_visited = (low + high) / 2;
        struct bytes reply = ask_warm(p, &query);
        if (bytes_equal(&reply, &whole))
            high = middle;
        else
            low = middle + 1;
        bytes_free(&reply);
    }
    bytes_free(&whole);
    return low;
}

/* What a request has to do anew since it has missed a page is not its fault. */
static void budgets_go_as_far(void **state)
{
    static const enum method_id methods[] = {METHOD_scan, METHOD_count, METHOD_explore};
    struct pair p;
    (void)state;
    load_cities();
    struct dispatch_tree tree = {
        .file = bytes_read_file(test_data_path("cities.act")), .oracle = cities, .is_known = true};
    assert_true(pair_open(&p, "cities.act", &tree));
    for (unsigned i = 0; i < 60; i++) {
        enum method_id method = methods[i % N_ELEMENTS(methods)];
        struct slice key = cities.entries[random_below(&p.random, (unsigned)cities.n)].key;
        struct slice prefix = slice_of(key.p, key.len < i % 4 ? key.len : i % 4);
        struct query query = budgeted(method, prefix, i & 1);
        query.max_visited = needed_budget(&p, query);
        check_query(&p, &query);
        if (--query.max_visited > 0)
            check_query(&p, &query);
    }
    pair_close(&p);
    bytes_free(&tree.file);
}

/* How often it misses pages: the keys of an mget go down side by side. */
static unsigned rounds_of(struct pair *p, const struct slice *keys, size_t n)
{
    msgpack_sbuffer packed;
    msgpack_packer packer;
    unsigned n_slices;
    msgpack_sbuffer_init(&packed);
    msgpack_packer_init(&packer, &packed, msgpack_sbuffer_write);
    msgpack_pack_array(&packer, 4);
    msgpack_pack_int(&packer, 0);
    msgpack_pack_int(&packer, MSGID);
    msgpack_pack_str_with_body(&packer, "mget", 4);
    msgpack_pack_array(&packer, 1);
    msgpack_pack_array(&packer, n);
    for (size_t i = 0; i < n; i++)
        msgpack_pack_bin_with_body(&packer, keys[i].p, keys[i].len);
    take_pages(p, false);
    p->cold.n_cold = 0;
    struct bytes reply = ask(&p->cold, slice_of(packed.data, packed.size), &n_slices);
    bytes_free(&reply);
    msgpack_sbuffer_destroy(&packed);
    return p->cold.n_cold;
}

#define TOGETHER 64

static void check_rounds(struct pair *p)
{
    struct slice keys[TOGETHER];
    unsigned most = 0;
    for (size_t i = 0; i < TOGETHER; i++) {
        keys[i] = p->tree.oracle.entries[random_below(&p->random, (unsigned)p->tree.oracle.n)].key;
        unsigned alone = rounds_of(p, &keys[i], 1);
        most = alone > most ? alone : most;
    }
    assert_in_range(rounds_of(p, keys, TOGETHER), 1, most);
}

static void keys_of_a_list_go_down_together(void **state)
{
    const struct act_builder_options with_bytes = {.values = ACT_VALUES_BYTES};
    struct pair p;
    (void)state;
    struct oracle oracle = some_cities(2);
    struct dispatch_tree trees[] = {
        {.file = bytes_read_file(test_data_path("cities.act")),
         .oracle = some_cities(1),
         .is_known = true},
        built_of(&oracle, &with_bytes),
    };
    for (size_t i = 0; i < N_ELEMENTS(trees); i++) {
        assert_true(pair_open(&p, "rounds", &trees[i]));
        p.how = BRING_MISSED;
        for (unsigned k = 0; k < 10; k++)
            check_rounds(&p);
        pair_close(&p);
        tree_deinit(&trees[i]);
    }
}

static int begin(void **state)
{
    struct sigaction action = {.sa_handler = on_touch};
    (void)state;
    return sigaction(SIGSEGV, &action, NULL);
}

static int end(void **state)
{
    (void)state;
    oracle_deinit(&cities);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies_are_those_of_a_tree_in_memory),
        cmocka_unit_test(so_are_those_of_many_pages),
        cmocka_unit_test(so_are_byte_values),
        cmocka_unit_test(so_are_those_of_damaged_trees),
        cmocka_unit_test(budgets_go_as_far),
        cmocka_unit_test(keys_of_a_list_go_down_together),
    };
    return cmocka_run_group_tests(tests, begin, end);
}
