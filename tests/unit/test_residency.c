/*
 * residency: lookups that must not wait. Every page that is not known to be in memory is made
 * unreadable (mprotect), so a touch without a question ends the test with SIGSEGV; and what is
 * found in the end, page by page, must be what a tree without a residency finds.
 */
#include "buildertest.h"
#include "probe.h"
#include "tree/engine.h"
#include "tree/tree.h"
#include "treetest.h"
#include "unit.h"

#include "act/residency.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* A mapped tree of which only noted pages can be read. */
struct curtain {
    struct act *tree;
    const struct act *cold; /* the residency's */
    struct act_residency *residency;
    struct act_info info;
    uint64_t n_lifted;
};

static void draw(struct curtain *c)
{
    act_residency_doubt(c->residency);
    act_residency_begin(c->residency);
    assert_int_equal(
        mprotect((void *)(uintptr_t)c->info.mapping_start, c->info.mapped_bytes, PROT_NONE), 0);
}

/* After a call that ended in ACT_COLD: what it misses can be read now. */
static void lift(struct curtain *c)
{
    size_t n_missed, n;
    const uint64_t *pages = act_residency_wanted(c->residency, &n_missed, &n);
    assert_true(n > 0 && n == n_missed && n <= ACT_WANTED_MAX);
    for (size_t i = 0; i < n; i++) {
        assert_true(pages[i] * ACT_PAGE_BYTES < c->info.mapped_bytes);
        uintptr_t at = (uintptr_t)c->info.mapping_start + pages[i] * ACT_PAGE_BYTES;
        assert_int_equal(mprotect((void *)at, ACT_PAGE_BYTES, PROT_READ), 0);
        act_residency_note(c->residency, pages[i]);
    }
    c->n_lifted += n;
    act_residency_begin(c->residency);
}

/* Is it the end of a call's rounds? */
static bool is_done(struct curtain *c, int r)
{
    if (r == ACT_COLD)
        lift(c);
    return r != ACT_COLD;
}

static struct curtain open_curtain(const struct treetest *t)
{
    struct curtain c = {0};
    struct act_error error;
    int fd = memfd_create("tree", MFD_CLOEXEC);
    assert_int_equal(write(fd, t->file.p, t->file.len), t->file.len);
    assert_int_equal(act_open_fd(fd, t->name, &c.tree, &error), 0);
    assert_int_equal(act_cache_tables(c.tree, 1 << 16), 0);
    act_info(c.tree, &c.info);
    assert_int_equal(act_residency_new(c.tree, fd, ACT_PROBE_NONE, &c.residency), 0);
    close(fd);
    c.cold = act_residency_tree(c.residency);
    return c;
}

static void close_curtain(struct curtain *c)
{
    act_residency_free(c->residency);
    act_close(c->tree);
}

static void check_bytes(struct curtain *c, const struct treetest *t, uint64_t value)
{
    const uint8_t *p, *wanted;
    size_t len, wanted_len;
    int r;
    while (!is_done(c, r = act_bytes(c->cold, value, &p, &len, NULL)))
        ;
    assert_int_equal(r, act_bytes(t->tree, value, &wanted, &wanted_len, NULL));
    if (r == 0)
        assert_true(len == wanted_len && memcmp(p, wanted, len) == 0);
}

static void check_lookups(struct curtain *c, const struct treetest *t, struct slice key)
{
    uint64_t value = 0, wanted = 0;
    struct act_node node, wanted_node;
    int r;
    while (!is_done(c, r = act_get(c->cold, key.p, key.len, &value, NULL)))
        ;
    assert_int_equal(r, act_get(t->tree, key.p, key.len, &wanted, NULL));
    if (r == 0) {
        assert_int_equal(value, wanted);
        check_bytes(c, t, value);
    }
    draw(c);
    while (!is_done(c, r = act_node(c->cold, key.p, key.len, &node, NULL)))
        ;
    assert_int_equal(r, act_node(t->tree, key.p, key.len, &wanted_node, NULL));
    if (r == 0)
        assert_memory_equal(node.children, wanted_node.children, sizeof node.children);
}

static void check_prefixes(struct curtain *c, const struct treetest *t, struct slice key)
{
    struct act_prefix found[64], wanted[64];
    size_t n, n_wanted, len = 0, wanted_len = 0;
    uint64_t value, wanted_value;
    int r;
    draw(c);
    while (!is_done(c, r = act_longest_prefix(c->cold, key.p, key.len, &len, &value, NULL)))
        ;
    assert_int_equal(r,
                     act_longest_prefix(t->tree, key.p, key.len, &wanted_len, &wanted_value, NULL));
    assert_int_equal(len, wanted_len);
    draw(c);
    while (!is_done(c, r = act_prefixes(c->cold, key.p, key.len, 0, found, 64, &n, NULL)))
        ;
    assert_int_equal(r, act_prefixes(t->tree, key.p, key.len, 0, wanted, 64, &n_wanted, NULL));
    assert_int_equal(n, n_wanted);
}

#define BATCH_MAX 64

/* Each round may miss a page for each key; together they need no more rounds than one does. */
static void check_batch(struct curtain *c, const struct treetest *t, size_t from)
{
    struct act_key keys[BATCH_MAX] = {{0}};
    struct act_result results[BATCH_MAX], wanted[BATCH_MAX];
    size_t n = t->oracle.n - from < BATCH_MAX ? t->oracle.n - from : BATCH_MAX, rounds = 0;
    size_t most_rounds = 0;
    for (size_t i = 0; i < n; i++) {
        const struct slice *key = &t->oracle.entries[from + i * (t->oracle.n - from) / n].key;
        keys[i] = (struct act_key){key->p, key->len};
        size_t alone = 1;
        draw(c);
        while (!is_done(c, act_get(c->cold, key->p, key->len, NULL, NULL)))
            alone++;
        most_rounds = alone > most_rounds ? alone : most_rounds;
    }
    act_get_batch(t->tree, keys, n, wanted);
    draw(c);
    for (bool is_cold = n > 0; is_cold; rounds++) {
        is_cold = false;
        act_get_batch(c->cold, keys, n, results);
        for (size_t i = 0; i < n; i++)
            is_cold |= results[i].outcome == ACT_COLD;
        if (is_cold)
            lift(c);
    }
    for (size_t i = 0; i < n; i++)
        assert_true(results[i].outcome == wanted[i].outcome && results[i].value == wanted[i].value);
    assert_true(rounds <= most_rounds);
}

/* All entries, by a move of the cursor that is made again until it comes through. */
static void check_scan(struct curtain *c, const struct treetest *t,
                       int (*begin)(struct act_cursor *), int (*move)(struct act_cursor *))
{
    struct act_cursor *cold, *plain;
    int r, wanted;
    size_t len, wanted_len;
    draw(c);
    assert_int_equal(act_cursor_new(c->cold, 0, &cold), 0);
    assert_int_equal(act_cursor_new(t->tree, 0, &plain), 0);
    for (int (*step)(struct act_cursor *) = begin;; step = move) {
        while (!is_done(c, r = step(cold)))
            ;
        wanted = step(plain);
        assert_int_equal(r, wanted);
        if (r != 0)
            break;
        const uint8_t *key = act_cursor_key(cold, &len),
                      *wanted_key = act_cursor_key(plain, &wanted_len);
        assert_true(len == wanted_len && (len == 0 || memcmp(key, wanted_key, len) == 0));
    }
    act_cursor_free(cold);
    act_cursor_free(plain);
}

static void check_count(struct curtain *c, const struct treetest *t)
{
    struct act_cursor *cold;
    uint64_t n, sum = 0;
    int r;
    draw(c);
    assert_int_equal(act_cursor_new(c->cold, 0, &cold), 0);
    while (!is_done(c, r = act_cursor_first(cold)))
        ;
    do {
        r = act_cursor_count(cold, &n);
        sum += n;
    } while (!is_done(c, r));
    assert_true(r == 0 || r == ACT_MISS);
    assert_int_equal(sum, t->oracle.n);
    act_cursor_free(cold);
}

/* A seek, and from there both ways; and down by single steps as an explorer goes. */
static void check_seek(struct curtain *c, const struct treetest *t, struct slice key)
{
    struct act_cursor *cold;
    int r;
    size_t len;
    const struct oracle_entry *entry = oracle_find(&t->oracle, key);
    draw(c);
    assert_int_equal(act_cursor_new(c->cold, 0, &cold), 0);
    while (!is_done(c, r = act_cursor_seek_at_or_before(cold, key.p, key.len)))
        ;
    assert_int_equal(r == 0,
                     entry != NULL || t->oracle.n == 0 || act_cursor_key(cold, &len) != NULL);
    while (!is_done(c, r = act_cursor_seek_at_or_after(cold, key.p, key.len)))
        ;
    if (entry) {
        assert_int_equal(r, 0);
        assert_true(slice_equal(key, slice_of(act_cursor_key(cold, &len), key.len)));
    }
    while (!is_done(c, act_cursor_root(cold)))
        ;
    while (!is_done(c, r = act_cursor_descend_by(cold, key.p, key.len)))
        ;
    assert_true(r == 0 || !entry);
    act_cursor_free(cold);
}

static void check_tree(struct treetest *t, void *context)
{
    const struct engine *const *engine = context;
    struct curtain c = open_curtain(t);
    size_t step = 1 + t->oracle.n / 60;
    ((struct act *)(uintptr_t)c.cold)->engine = *engine;
    for (size_t i = 0; i < t->oracle.n; i += step)
        for (unsigned p = 0; p < PROBE_COUNT && t->oracle.entries[i].key.len < 50000; p++) {
            struct bytes key = probe_of(t->oracle.entries[i].key, p);
            draw(&c);
            check_lookups(&c, t, slice_of(key.p, key.len));
            check_prefixes(&c, t, slice_of(key.p, key.len));
            check_seek(&c, t, slice_of(key.p, key.len));
            bytes_free(&key);
        }
    check_batch(&c, t, 0);
    check_scan(&c, t, act_cursor_first, act_cursor_next);
    check_scan(&c, t, act_cursor_last, act_cursor_prev);
    check_count(&c, t);
    assert_true(c.n_lifted > 0);
    close_curtain(&c);
}

static void every_touch_is_asked_for(void **state)
{
    (void)state;
    for (const struct engine *const *engine = engine_list(); *engine; engine++) {
        struct treetest t;
        void *context = (void *)(uintptr_t)engine;
        treetest_for_each("edge", check_tree, context);
        treetest_for_each("doc", check_tree, context);
        treetest_open(&t, "cities.act", "cities.tsv.gz");
        check_tree(&t, context);
        treetest_close(&t);
    }
}

/* The entries of another tree, built with those options. */
static void check_built(const struct oracle *oracle, const struct act_builder_options *options)
{
    struct treetest t;
    struct bytes file = build_file(oracle, BUILD_SORTED, options, NULL);
    treetest_open_bytes(&t, file, "built");
    for (size_t i = 0; i < oracle->n; i++)
        oracle_add(&t.oracle, oracle->entries[i].key.p, oracle->entries[i].key.len,
                   oracle->entries[i].value);
    oracle_sort(&t.oracle);
    check_tree(&t, (void *)(uintptr_t)engine_list());
    treetest_close(&t);
}

static void so_is_every_table_and_byte_value(void **state)
{
    const struct act_builder_options with_tables = {.table_min_children = 2},
                                     with_bytes = {.values = ACT_VALUES_BYTES};
    struct treetest t;
    (void)state;
    treetest_open(&t, "cities.act", "cities.tsv.gz");
    check_built(&t.oracle, &with_tables);
    check_built(&t.oracle, &with_bytes);
    treetest_close(&t);
}

/* Lines that go over many pages, some of them the same for a while. */
static void so_are_all_pages_of_a_line(void **state)
{
    const struct act_builder_options options = {0};
    struct oracle oracle;
    static uint8_t key[40000];
    (void)state;
    oracle_init(&oracle);
    for (unsigned i = 0; i < 20; i++) {
        memset(key, (int)i, sizeof key);
        key[17000] = 'x';
        oracle_add(&oracle, key, 1 + 2000 * i, i);
    }
    oracle_sort(&oracle);
    check_built(&oracle, &options);
    oracle_deinit(&oracle);
}

/* A file of the kernel's, to ask about. */
static struct curtain open_file(const char *path, enum act_probe probe)
{
    struct curtain c = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(act_open_fd(fd, path, &c.tree, NULL), 0);
    assert_int_equal(act_residency_new(c.tree, fd, probe, &c.residency), 0);
    act_info(c.tree, &c.info);
    c.cold = act_residency_tree(c.residency);
    return c; /* fd stays open as long as the test */
}

/* What is in memory is found there by asking, once; what was dropped is found gone. */
static void check_probe(const char *path, enum act_probe probe)
{
    struct curtain c = open_file(path, probe);
    struct act_residency_info before, after;
    uint64_t gone = 0, passed = 0;
    char *file = (char *)(uintptr_t)c.info.mapping_start;
    for (size_t at = 0; at < c.info.mapped_bytes; at += ACT_PAGE_BYTES)
        (void)*(volatile char *)(file + at);
    int r = act_get(c.cold, "x", 1, NULL, NULL);
    assert_true(r == 0 || r == ACT_MISS);
    act_residency_info(c.residency, &before);
    assert_true(before.n_probes > 0 && before.n_known > 0 && before.n_known <= before.n_probes);
    assert_int_equal(act_get(c.cold, "x", 1, NULL, NULL), r);
    act_residency_info(c.residency, &after);
    assert_int_equal(after.n_probes, before.n_probes);

    assert_true(act_residency_check(c.residency, 1000, &gone) > 0);
    assert_int_equal(gone, 0);
    act_residency_info(c.residency, &before); /* nothing new, and each word once */
    assert_true(before.n_known == after.n_known);
    assert_true(before.n_probes - after.n_probes <= before.n_pages / 64 + 1);
    assert_int_equal(madvise(file, c.info.mapped_bytes, MADV_DONTNEED), 0);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(fdatasync(fd), 0);
    assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
    close(fd);
    while (passed < before.n_pages) {
        uint64_t n_gone;
        passed += act_residency_check(c.residency, 1000, &n_gone);
        gone += n_gone;
    }
    act_residency_info(c.residency, &after);
    assert_int_equal(after.n_known + gone, before.n_known);
    assert_true(gone > 0);
    close_curtain(&c);
}

static void what_is_gone_is_found_gone(void **state)
{
    char path[] = "test_residency.XXXXXX";
    struct treetest t;
    (void)state;
    treetest_open(&t, "cities.act", "cities.tsv.gz");
    int fd = mkstemp(path);
    assert_int_equal(write(fd, t.file.p, t.file.len), t.file.len);
    assert_int_equal(act_probe_find(fd), ACT_PROBE_MINCORE); /* it is ours */
    close(fd);
    check_probe(path, ACT_PROBE_MINCORE);
    unlink(path);
    treetest_close(&t);
    assert_string_equal(act_probe_name(ACT_PROBE_NOWAIT), "nowait");
}

/* Each page is listed once, up to the limit, within the file, in both directions. */
static void a_page_is_listed_once(void **state)
{
    struct treetest t;
    size_t n_missed, n;
    (void)state;
    treetest_open(&t, "cities.act", "cities.tsv.gz");
    struct curtain c = open_curtain(&t);
    uint64_t n_pages = (c.info.mapped_bytes - 1) / ACT_PAGE_BYTES + 1;
    act_residency_want(c.residency, 3, 2, false);
    act_residency_want(c.residency, 4, 10, true);
    act_residency_wanted(c.residency, &n_missed, &n);
    assert_int_equal(n, 5); /* 0 to 4 */
    act_residency_note(c.residency, 7);
    act_residency_begin(c.residency);
    act_residency_want(c.residency, 6, 3, false);
    assert_int_equal(act_residency_wanted(c.residency, &n_missed, &n)[1], 8);
    act_residency_want(c.residency, n_pages - 1, 5, false);
    act_residency_want(c.residency, n_pages, 5, false);
    act_residency_wanted(c.residency, &n_missed, &n);
    assert_int_equal(n, 3);
    /* What is missed comes first, and once. */
    assert_int_equal(n_missed, 0);
    act_residency_want(c.residency, n_pages / 2, 3, false);
    assert_int_equal(act_get(c.cold, "x", 1, NULL, NULL), ACT_COLD);
    uint64_t root = act_residency_wanted(c.residency, &n_missed, &n)[0];
    assert_true(n_missed == 1 && n >= 6 && root == c.info.root_offset / ACT_PAGE_BYTES);
    act_residency_begin(c.residency);
    act_residency_want(c.residency, 0, 2, false);
    act_residency_want(c.residency, root, 1, false);
    assert_int_equal(act_get(c.cold, "x", 1, NULL, NULL), ACT_COLD);
    assert_int_equal(act_residency_wanted(c.residency, &n_missed, &n)[0], root);
    assert_true(n_missed == 1 && n == 3);

    act_residency_want(c.residency, 0, SIZE_MAX, false);
    act_residency_wanted(c.residency, &n_missed, &n);
    assert_int_equal(n, n_pages - 1 < ACT_WANTED_MAX ? n_pages - 1 : ACT_WANTED_MAX);
    assert_int_equal(act_residency_has_room(c.residency), n < ACT_WANTED_MAX);
    assert_int_equal(act_residency_check(c.residency, 5, NULL), 0); /* nobody can be asked */
    close_curtain(&c);
    assert_int_equal(act_residency_new(t.tree, -1, ACT_PROBE_NONE, &c.residency), -EINVAL);
    treetest_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_touch_is_asked_for),
        cmocka_unit_test(so_is_every_table_and_byte_value),
        cmocka_unit_test(so_are_all_pages_of_a_line),
        cmocka_unit_test(what_is_gone_is_found_gone),
        cmocka_unit_test(a_page_is_listed_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
