/*
 * cursor on trees that were good, with a byte changed: every move ends in an answer, a miss,
 * corrupt or a limit; entries come in order, each is what get finds, and the opposite move leads
 * back. That no byte outside the file is read, and that walks end, is for the sanitizers and the
 * clock to see.
 */
#include "cursormodel.h"
#include "treetest.h"
#include "unit.h"

#include <stdlib.h>

#define NODES_MAX 600
#define SMALL_MAX 400 /* bytes: a file up to here is damaged in every byte, a larger one in 100 */
#define KEY_MAX   4096

/* Where the cursor stands, which it must say. */
static struct bytes key_of(const struct act_cursor *cursor)
{
    size_t len;
    const uint8_t *p = act_cursor_key(cursor, &len);
    assert_non_null(p);
    return bytes_copy(p, len);
}

/* Nothing, or what is wrong. */
static const char *check_entry(const struct act *tree, const struct act_cursor *cursor)
{
    size_t len;
    uint64_t value = 0, wanted = 1;
    const uint8_t *p = act_cursor_key(cursor, &len);
    if (!p || act_cursor_value(cursor, &value) != 0)
        return "an entry without key or value";
    if (act_get(tree, p, len, &wanted, NULL) != 0 || wanted != value)
        return "get finds another value, or none";
    return NULL;
}

/* All entries in that direction. *ret_n: how many; *ret_r: why no more came. */
static const char *walk(const struct act *tree, struct act_cursor *cursor, bool is_forward,
                        uint64_t *ret_n, int *ret_r)
{
    const char *wrong = NULL;
    struct bytes last = bytes_copy("", 0);
    *ret_n = 0;
    act_cursor_set_budget(cursor, NODES_MAX);
    int r = is_forward ? act_cursor_first(cursor) : act_cursor_last(cursor);
    while (r == 0 && !wrong) {
        struct bytes key = key_of(cursor);
        int order = oracle_compare(slice_of(last.p, last.len), slice_of(key.p, key.len));
        if (*ret_n > 0 && (is_forward ? order >= 0 : order <= 0))
            wrong = "entries out of order";
        wrong = wrong ? wrong : check_entry(tree, cursor);
        bytes_free(&last);
        last = key;
        ++*ret_n;
        r = is_forward ? act_cursor_next(cursor) : act_cursor_prev(cursor);
    }
    bytes_free(&last);
    if (r == ACT_CORRUPT && !act_cursor_fault(cursor).reason)
        return "corrupt without a reason";
    if (r < 0 || r > ACT_TOO_LONG)
        return "an outcome that is none";
    *ret_r = r;
    return wrong;
}

static const char *check_seeks(const struct act *tree, struct act_cursor *cursor, struct slice key)
{
    const char *wrong = NULL;
    uint64_t value;
    int get = act_get(tree, key.p, key.len, &value, NULL);
    act_cursor_set_budget(cursor, NODES_MAX);
    if (act_cursor_seek(cursor, key.p, key.len) != get)
        return "seek and get differ";
    if (get == 0)
        wrong = check_entry(tree, cursor);
    if (act_cursor_next(cursor) == 0 && !wrong)
        wrong = check_entry(tree, cursor);
    if (act_cursor_seek_at_or_after(cursor, key.p, key.len) == 0 && !wrong)
        wrong = check_entry(tree, cursor);
    if (act_cursor_prev(cursor) == 0 && !wrong)
        wrong = check_entry(tree, cursor);
    if (act_cursor_seek_at_or_before(cursor, key.p, key.len) == 0 && !wrong)
        wrong = check_entry(tree, cursor);
    if (act_cursor_next(cursor) == 0 && !wrong)
        wrong = check_entry(tree, cursor);
    return wrong;
}

/* Down byte by byte, as node does; chains; and up again. */
static const char *check_positions(const struct act *tree, struct act_cursor *cursor,
                                   struct slice key)
{
    struct act_node node, wanted;
    uint64_t count;
    act_cursor_set_budget(cursor, NODES_MAX);
    int r = act_cursor_root(cursor);
    for (size_t i = 0; i < key.len && r == 0; i++) {
        r = act_cursor_descend(cursor, key.p[i]);
        int node_r = act_node(tree, key.p, i + 1, &wanted, NULL);
        if (r == 0 && (act_cursor_node(cursor, &node) != node_r ||
                       (node_r == 0 && (node.has_value != wanted.has_value ||
                                        memcmp(node.children, wanted.children, 32) != 0))))
            return "another node";
        if (r == ACT_MISS && node_r != ACT_MISS)
            return "descend finds no position where node does";
    }
    act_cursor_ascend(cursor, key.len / 2, NULL);
    act_cursor_descend_by(cursor, key.p + key.len - key.len / 2, key.len / 2);
    act_cursor_root(cursor);
    while (act_cursor_descend_chain(cursor) == 0)
        continue;
    act_cursor_set_prefix(cursor, key.p, key.len / 2);
    act_cursor_count(cursor, &count);
    act_cursor_last(cursor);
    act_cursor_set_range(cursor, key.p, key.len / 2, key.p, key.len);
    act_cursor_last(cursor);
    act_cursor_count(cursor, &count);
    act_cursor_set_prefix(cursor, NULL, 0);
    return NULL;
}

static const char *check_walks(const struct act *tree, struct act_cursor *cursor)
{
    uint64_t n = 0, n_back = 0, count = 0;
    int r = 0, r_back = 0;
    const char *wrong = walk(tree, cursor, true, &n, &r);
    if (!wrong)
        wrong = walk(tree, cursor, false, &n_back, &r_back);
    if (!wrong && r == ACT_MISS && r_back == ACT_MISS && n != n_back)
        wrong = "another number of entries backward";
    act_cursor_set_budget(cursor, NODES_MAX);
    act_cursor_set_prefix(cursor, NULL, 0);
    int r_count = act_cursor_count(cursor, &count);
    if (!wrong && (r_count != (r == ACT_MISS ? 0 : r) || (r != ACT_LIMIT && count != n)))
        wrong = "count and next differ";
    return wrong;
}

/* One for all files: reset leads it from one to the next. */
static struct act_cursor *cursor_on(const struct act *tree)
{
    static struct act_cursor *cursor;
    if (cursor)
        act_cursor_reset(cursor, tree);
    else
        assert_int_equal(act_cursor_new(tree, KEY_MAX, &cursor), 0);
    return cursor;
}

static void check_damaged(const struct treetest *t, size_t where)
{
    struct act *tree;
    size_t step = 1 + t->oracle.n / 3;
    if (act_open_memory(t->file.p, t->file.len, t->name, &tree, NULL) != 0)
        return;
    struct act_cursor *cursor = cursor_on(tree);
    const char *wrong = check_walks(tree, cursor);
    for (size_t i = 0; i < t->oracle.n && !wrong; i += step) {
        struct slice key = t->oracle.entries[i].key;
        if (key.len > KEY_MAX / 2)
            continue;
        wrong = check_seeks(tree, cursor, key);
        wrong = wrong ? wrong : check_positions(tree, cursor, key);
    }
    act_close(tree);
    if (wrong)
        fail_msg("%s, byte %zu changed: %s", t->name, where, wrong);
}

static void flip_byte(const struct treetest *t, size_t at)
{
    static const uint8_t others[] = {0x00, 0xff, 0x20, 0x3f, 0x80, 0xf8};
    uint8_t was = t->file.p[at];
    for (unsigned bit = 0; bit < 8; bit++) {
        t->file.p[at] = was ^ (uint8_t)(1 << bit);
        check_damaged(t, at);
    }
    for (size_t i = 0; i < sizeof others; i++) {
        t->file.p[at] = others[i];
        check_damaged(t, at);
    }
    t->file.p[at] = was;
}

/* Files that one of the others equals or nearly does: the writers differ in the root, and where
 * the source has shared parts. */
static bool is_variant(const struct treetest *t)
{
    return strstr(t->name, ".dump.") || strstr(t->name, ".zipper.") ||
           (strstr(t->name, ".cached.") && !strstr(t->name, "/sh"));
}

/* The end of a file holds its top nodes: there every byte counts. */
static void flip(struct treetest *t, void *context)
{
    size_t len = t->file.len, dense = len > 40 ? len - 40 : 0;
    size_t stride = len <= SMALL_MAX ? 1 : 1 + len / 60;
    (void)context;
    if (is_variant(t))
        return;
    for (size_t at = 8; at < len; at += at < dense ? stride : 1)
        flip_byte(t, at);
}

static void a_changed_byte_ends_in_an_answer_or_corrupt(void **state)
{
    (void)state;
    treetest_for_each("edge", flip, NULL);
    treetest_for_each("doc", flip, NULL);
}

static void large_trees_with_a_changed_byte_end_in_an_answer_or_corrupt(void **state)
{
    (void)state;
    struct treetest t;
    treetest_open(&t, "shakespeare.act", "shakespeare.tsv.gz");
    flip(&t, NULL);
    treetest_close(&t);
}

/* Any offset as root: line data, the middle of nodes and the padding taken for nodes. */
static void move_root(struct treetest *t, void *context)
{
    (void)context;
    if (is_variant(t))
        return;
    for (uint64_t root = 16; root < t->file.len; root += 1 + t->file.len / 200) {
        for (unsigned i = 0; i < 8; i++)
            t->file.p[8 + i] = (uint8_t)(root >> (8 * i));
        check_damaged(t, root);
    }
}

static void any_offset_as_root_ends_in_an_answer_or_corrupt(void **state)
{
    (void)state;
    treetest_for_each("edge", move_root, NULL);
    treetest_for_each("doc", move_root, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_changed_byte_ends_in_an_answer_or_corrupt),
        cmocka_unit_test(large_trees_with_a_changed_byte_end_in_an_answer_or_corrupt),
        cmocka_unit_test(any_offset_as_root_ends_in_an_answer_or_corrupt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
