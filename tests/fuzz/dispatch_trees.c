/*
 * dispatch_trees: see dispatch_trees.h. Inputs of the corpus name trees by their numbers: new ones
 * come at the end.
 */
#include "dispatch_trees.h"

#include "buildertest.h"
#include "randomkeys.h"
#include "treewriter.h"

#include <err.h>
#include <stdlib.h>

/* A bound that does not depend on how trees are made: a node for each byte and each end of a key,
 * and again for each way back, and for each slice that begins anew on the way. */
#define VISITS_PER_BYTE 16

/* Those of the test data; contents NULL: it is made by hand and damaged, or has other values. */
static const struct {
    const char *tree, *contents;
} files[] = {
    {"doc/a.act", "doc/a.tsv"},
    {"doc/b.act", "doc/b.tsv"},
    {"doc/c.act", "doc/c.tsv"},
    {"doc/d.act", "doc/d.tsv"},
    {"edge/br31_nested.stream.act", "edge/br31_nested.tsv"},
    {"edge/br33_lines.cached.act", "edge/br33_lines.tsv"},
    {"edge/br64_nested.zipper.act", "edge/br64_nested.tsv"},
    {"edge/br256_lines.cached.act", "edge/br256_lines.tsv"},
    {"edge/dedup.cached.act", "edge/dedup.tsv"},
    {"edge/empty.cached.act", "edge/empty.tsv"},
    {"edge/emptykey.cached.act", "edge/emptykey.tsv"},
    {"edge/emptykey_line.zipper.act", "edge/emptykey_line.tsv"},
    {"edge/fork_chain.zipper.act", "edge/fork_chain.tsv"},
    {"edge/longkeys.zipper.act", "edge/longkeys.tsv"},
    {"edge/merged1_stream.act", "edge/merged1.tsv"},
    {"edge/nul_ff.stream.act", "edge/nul_ff.tsv"},
    {"edge/one_long.cached.act", "edge/one_long.tsv"},
    {"edge/prefix.stream.act", "edge/prefix.tsv"},
    {"edge/prefix_line.zipper.act", "edge/prefix_line.tsv"},
    {"edge/shared_prefix1_leaf1_l1.zipper.act", "edge/shared_prefix1_leaf1_l1.tsv"},
    {"edge/values.cached.act", "edge/values.tsv"},
    {"edge/values_line.stream.act", "edge/values_line.tsv"},
    {"built/e.act", NULL},
    {"crafted/aborted_merge.act", NULL},
    {"crafted/child_self.act", NULL},
    {"crafted/count33.act", NULL},
    {"crafted/dangling_leaf.act", NULL},
    {"crafted/garbage_tail.act", NULL},
    {"crafted/kids_overrun.act", NULL},
    {"crafted/line_bits.act", NULL},
    {"crafted/line_fwd.act", NULL},
    {"crafted/line_len0.act", NULL},
    {"crafted/line_line.act", NULL},
    {"crafted/line_value_child2.act", NULL},
    {"crafted/mask_field32_pop5.act", NULL},
    {"crafted/noncanon.act", NULL},
    {"crafted/nopad_page.act", NULL},
    {"crafted/trailer_loop.act", NULL},
    {"crafted/unsorted.act", NULL},
};

/* Random keys, by the builder; is_plain: by the tests' own encoder; n_chain: not at random, but
 * each the one before it and a byte 0xff. */
static const struct {
    enum random_keys kind;
    unsigned n, n_chain, table_min;
    bool has_byte_values, is_plain;
} built[] = {
    {.kind = RANDOM_FEW_LETTERS, .n = 60, .table_min = 2},
    {.kind = RANDOM_ALL_BYTES, .n = 300, .table_min = 4},
    {.kind = RANDOM_LONG_COMMON, .n = 60, .table_min = 2, .has_byte_values = true},
    {.kind = RANDOM_NESTED, .n = 60, .table_min = 2, .has_byte_values = true},
    {.kind = RANDOM_ALL_BYTES, .n = 300, .table_min = 256, .has_byte_values = true},
    {.kind = RANDOM_FEW_LETTERS, .n = 600, .table_min = 16, .has_byte_values = true},
    {.kind = RANDOM_FEW_LETTERS, .n = 60, .is_plain = true},
    {.kind = RANDOM_ALL_BYTES, .n = 2000, .is_plain = true},
    {.kind = RANDOM_LONG_COMMON, .n = 60, .is_plain = true},
    {.kind = RANDOM_NESTED, .n = 60, .is_plain = true},
    {.n_chain = 300, .table_min = 2},
};

#define N_FILES (sizeof files / sizeof *files)
#define N_BUILT (sizeof built / sizeof *built)

static struct dispatch_tree trees[N_FILES + N_BUILT];
static bool is_loaded;

static void load_file(struct dispatch_tree *tree, const char *name, const char *contents)
{
    tree->file = bytes_read_file(test_data_path(name));
    tree->is_known = contents != NULL;
    if (contents)
        oracle_load(&tree->oracle, test_data_path(contents));
}

static void add_chain(struct oracle *oracle, unsigned n)
{
    uint8_t key[1024] = "a";
    memset(key + 1, 0xff, sizeof key - 1);
    for (unsigned len = 1; len <= n && len <= sizeof key; len++)
        oracle_add(oracle, key, len, len);
    oracle_sort(oracle);
}

static void build(struct dispatch_tree *tree, unsigned i)
{
    struct random random = {.state = i};
    struct act_builder_summary summary;
    const struct act_builder_options options = {
        .values = built[i].has_byte_values ? ACT_VALUES_BYTES : ACT_VALUES_U64,
        .table_min_children = built[i].table_min,
    };
    random_keys_add(&random, built[i].kind, built[i].n, &tree->oracle);
    add_chain(&tree->oracle, built[i].n_chain);
    tree->is_known = true;
    tree->has_byte_values = built[i].has_byte_values;
    tree->file = built[i].is_plain ? treewriter_write(&tree->oracle, TREEWRITER_LINE_ROOT)
                                   : build_file(&tree->oracle, BUILD_SORTED, &options, &summary);
}

static void deinit(void)
{
    for (size_t i = 0; i < N_FILES + N_BUILT; i++) {
        bytes_free(&trees[i].file);
        oracle_deinit(&trees[i].oracle);
    }
}

static void load(void)
{
    is_loaded = true;
    /* The programs are run from anywhere, without the tests' environment. */
    if (setenv("ACTD_TEST_DATA", TEST_DATA, 0) < 0)
        err(2, "setenv");
    for (size_t i = 0; i < N_FILES + N_BUILT; i++) {
        struct dispatch_tree *tree = &trees[i];
        oracle_init(&tree->oracle);
        if (i < N_FILES)
            load_file(tree, files[i].tree, files[i].contents);
        else
            build(tree, (unsigned)(i - N_FILES));
        tree->most_nodes = VISITS_PER_BYTE;
        for (size_t k = 0; k < tree->oracle.n; k++) {
            size_t len = tree->oracle.entries[k].key.len;
            tree->most_nodes += VISITS_PER_BYTE * (len + 2);
            tree->longest_key = len > tree->longest_key ? len : tree->longest_key;
        }
    }
    atexit(deinit);
}

const struct dispatch_tree *dispatch_tree(unsigned index)
{
    if (!is_loaded)
        load();
    return &trees[index % (N_FILES + N_BUILT)];
}
