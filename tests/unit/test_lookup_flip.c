/*
 * lookup on trees that were good: with a byte changed, cut short, and read from a wrong root. An
 * open tree answers, misses or is corrupt, the same for get, exists and node; that it reads no byte
 * outside the file, and that it ends, is for the sanitizers and the clock to see. (A changed byte
 * may well give another answer: the format has no checksum.)
 */
#include "consistent.h"
#include "probe.h"
#include "treetest.h"
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

#define KEYS_MAX   5 /* of a file's keys, evenly spread, with their near misses */
#define KEY_MAX    600
#define PROBES_MAX (KEYS_MAX * PROBE_COUNT)
#define SMALL_MAX  700  /* bytes: a file up to here is damaged in every byte */
#define MEDIUM_MAX 4000 /* bytes: and one up to here in every 11th; larger ones in 100 of them */

struct probes {
    struct bytes list[PROBES_MAX];
    size_t n;
};

static void probes_init(struct probes *probes, const struct oracle *oracle)
{
    size_t step = 1 + oracle->n / KEYS_MAX;
    probes->n = 0;
    for (size_t i = 0; i < oracle->n && probes->n < PROBES_MAX; i += step)
        for (unsigned p = 0; p < PROBE_COUNT && oracle->entries[i].key.len <= KEY_MAX; p++)
            probes->list[probes->n++] = probe_of(oracle->entries[i].key, p);
}

static void probes_deinit(struct probes *probes)
{
    for (size_t i = 0; i < probes->n; i++)
        bytes_free(&probes->list[i]);
}

/* The bytes of t's file as they are now, opened anew. */
static void check_damaged(const struct treetest *t, size_t size, const struct probes *probes,
                          const char *how, size_t where)
{
    struct act *tree;
    const char *wrong = NULL;
    int r = act_open_memory(t->file.p, size, t->name, &tree, NULL);
    if (r != 0) {
        assert_true(r >= ACT_NOT_REGULAR);
        return;
    }
    for (size_t i = 0; i < probes->n && !wrong; i++)
        wrong = consistent_at(tree, slice_of(probes->list[i].p, probes->list[i].len));
    if (!wrong)
        wrong = consistent_below_root(tree, 300, 30);
    act_close(tree);
    if (wrong)
        fail_msg("%s, %s %zu: %s", t->name, how, where, wrong);
}

static size_t stride_of(const struct treetest *t)
{
    if (t->file.len <= SMALL_MAX)
        return 1;
    return t->file.len <= MEDIUM_MAX ? 11 : 1 + t->file.len / 100;
}

/* Many files are the same in the variants of several writers: once is enough. */
static bool was_seen(const struct treetest *t)
{
    static struct bytes seen[256];
    static size_t n_seen;
    struct slice file = slice_of(t->file.p, t->file.len);
    for (size_t i = 0; i < n_seen; i++)
        if (slice_equal(slice_of(seen[i].p, seen[i].len), file))
            return true;
    assert_true(n_seen < N_ELEMENTS(seen));
    seen[n_seen++] = bytes_copy(file.p, file.len);
    return false;
}

static void flip_byte(const struct treetest *t, size_t at, const struct probes *probes)
{
    static const uint8_t others[] = {0x00, 0xff, 0x20, 0x3f, 0x80, 0xf8, 0xfe};
    uint8_t was = t->file.p[at];
    for (unsigned bit = 0; bit < 8; bit++) {
        t->file.p[at] = was ^ (uint8_t)(1 << bit);
        check_damaged(t, t->file.len, probes, "flipped at", at);
    }
    for (size_t i = 0; i < sizeof others; i++) {
        t->file.p[at] = others[i];
        check_damaged(t, t->file.len, probes, "overwritten at", at);
    }
    t->file.p[at] = was;
}

/* The end of a file holds its top nodes: there every byte counts. */
static void flip(struct treetest *t, void *context)
{
    (void)context;
    struct probes probes;
    size_t stride = stride_of(t), dense = t->file.len > 60 ? t->file.len - 60 : 0;
    if (was_seen(t))
        return;
    probes_init(&probes, &t->oracle);
    for (size_t at = 0; at < t->file.len; at += at < dense ? stride : 1)
        flip_byte(t, at, &probes);
    probes_deinit(&probes);
}

static void cut(struct treetest *t, void *context)
{
    (void)context;
    struct probes probes;
    struct treetest cut = {.oracle = t->oracle};
    size_t stride = stride_of(t), dense = t->file.len > 60 ? t->file.len - 60 : 0;
    probes_init(&probes, &t->oracle);
    snprintf(cut.name, sizeof cut.name, "%s", t->name);
    for (size_t len = 0; len < t->file.len; len += len < dense ? stride : 1) {
        cut.file = bytes_copy(t->file.p, len);
        check_damaged(&cut, len, &probes, "cut to", len);
        bytes_free(&cut.file);
    }
    probes_deinit(&probes);
}

static void set_root(uint8_t *file, uint64_t root)
{
    for (unsigned i = 0; i < 8; i++)
        file[8 + i] = (uint8_t)(root >> (8 * i));
}

/* Every offset as root: line data, the middle of nodes and the padding taken for nodes. Once in the
 * whole file, once in one that ends close behind it. */
static void move_root(struct treetest *t, void *context)
{
    (void)context;
    struct probes probes;
    struct treetest cut = {.oracle = t->oracle};
    probes_init(&probes, &t->oracle);
    snprintf(cut.name, sizeof cut.name, "%s", t->name);
    for (uint64_t root = 16; root < t->file.len; root += stride_of(t)) {
        size_t end = root + 10 < t->file.len ? root + 10 : t->file.len;
        set_root(t->file.p, root);
        check_damaged(t, t->file.len, &probes, "with the root", root);
        cut.file = bytes_copy(t->file.p, end);
        check_damaged(&cut, end, &probes, "cut behind the root", root);
        bytes_free(&cut.file);
    }
    probes_deinit(&probes);
}

static void a_changed_byte_ends_in_an_answer_or_corrupt(void **state)
{
    (void)state;
    treetest_for_each("edge", flip, NULL);
    treetest_for_each("doc", flip, NULL);
}

static void a_cut_file_ends_in_an_answer_or_corrupt(void **state)
{
    (void)state;
    treetest_for_each("edge", cut, NULL);
    treetest_for_each("doc", cut, NULL);
}

static void any_offset_as_root_ends_in_an_answer_or_corrupt(void **state)
{
    (void)state;
    treetest_for_each("edge", move_root, NULL);
    treetest_for_each("doc", move_root, NULL);
}

static void large_trees_with_a_changed_byte_end_in_an_answer_or_corrupt(void **state)
{
    (void)state;
    struct treetest t;
    treetest_open(&t, "shakespeare.act", "shakespeare.tsv.gz");
    flip(&t, NULL);
    treetest_close(&t);
    treetest_open(&t, "cities.act", "cities.tsv.gz");
    flip(&t, NULL);
    treetest_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_changed_byte_ends_in_an_answer_or_corrupt),
        cmocka_unit_test(a_cut_file_ends_in_an_answer_or_corrupt),
        cmocka_unit_test(any_offset_as_root_ends_in_an_answer_or_corrupt),
        cmocka_unit_test(large_trees_with_a_changed_byte_end_in_an_answer_or_corrupt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
