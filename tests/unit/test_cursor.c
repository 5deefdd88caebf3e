/*
 * cursor: every move against a sorted array, on the trees of the reference implementation and on
 * random trees of an independent encoder.
 */
#include "cursormodel.h"
#include "randomkeys.h"
#include "treetest.h"
#include "treewriter.h"
#include "unit.h"

#include <stdlib.h>

static void check_tree(struct treetest *t, size_t step, uint64_t budget)
{
    struct cursor_model model;
    cursor_model_init(&model, t->tree, &t->oracle);
    model.budget = budget;
    const char *wrong = cursor_model_check_all(&model, step);
    if (wrong)
        fail_msg("%s (budget %llu): %s", t->name, (unsigned long long)budget, wrong);
    cursor_model_deinit(&model);
}

/* A node at a time must give the same as without a bound. */
static void check_all(struct treetest *t, void *context)
{
    size_t step = t->oracle.n > 1000 ? t->oracle.n / 300 : 1;
    (void)context;
    check_tree(t, step, 0);
    if (t->oracle.n <= 20000 && !strstr(t->name, ".zipper."))
        check_tree(t, step, 1);
}

/* A walk that keeps only its mark, and has room for a few nodes at a time. */
struct marked_walk {
    struct act_cursor *cursor;
    uint8_t mark[4096];
    size_t len;
    bool has_mark, is_forward;
};

static int step_marked(struct marked_walk *walk, struct treetest *t)
{
    act_cursor_reset(walk->cursor, t->tree);
    act_cursor_set_prefix(walk->cursor, NULL, 0);
    act_cursor_set_budget(walk->cursor, walk->len + 5);
    if (!walk->has_mark)
        return walk->is_forward ? act_cursor_first(walk->cursor) : act_cursor_last(walk->cursor);
    int r = act_cursor_seek(walk->cursor, walk->mark, walk->len);
    if (!walk->is_forward)
        return r == 0 || r == ACT_MISS ? act_cursor_prev(walk->cursor) : r;
    return r == ACT_MISS ? act_cursor_next(walk->cursor) : r;
}

static void walk_by_marks(struct treetest *t, bool is_forward)
{
    static struct marked_walk walk;
    walk = (struct marked_walk){.is_forward = is_forward};
    assert_int_equal(act_cursor_new(t->tree, sizeof walk.mark - 1, &walk.cursor), 0);
    for (size_t i = 0; i < t->oracle.n;) {
        int r = step_marked(&walk, t);
        assert_true(r == 0 || r == ACT_LIMIT);
        if (act_cursor_mark(walk.cursor, walk.mark, sizeof walk.mark, &walk.len) == ACT_MISS) {
            assert_int_equal(r, ACT_LIMIT);
            assert_false(is_forward || walk.has_mark);
            continue;
        }
        walk.has_mark = true;
        if (r == ACT_LIMIT)
            continue;
        const struct oracle_entry *wanted =
            &t->oracle.entries[is_forward ? i : t->oracle.n - 1 - i];
        assert_true(slice_equal(slice_of(walk.mark, walk.len), wanted->key));
        if (is_forward)
            walk.mark[walk.len++] = 0; /* behind this entry */
        i++;
    }
    act_cursor_free(walk.cursor);
}

static void walk_both_ways_by_marks(struct treetest *t, void *context)
{
    (void)context;
    size_t longest = 0;
    for (size_t i = 0; i < t->oracle.n; i++)
        longest = t->oracle.entries[i].key.len > longest ? t->oracle.entries[i].key.len : longest;
    if (longest >= 4000 || t->oracle.n > 20000)
        return;
    walk_by_marks(t, true);
    walk_by_marks(t, false);
}

static void walks_go_on_from_their_marks(void **state)
{
    (void)state;
    treetest_for_each("edge", walk_both_ways_by_marks, NULL);
    treetest_for_each("doc", walk_both_ways_by_marks, NULL);
}

static bool begins_with(struct slice key, struct slice prefix)
{
    return key.len >= prefix.len && slice_equal(slice_of(key.p, prefix.len), prefix);
}

/* Those that begin with a prefix of entry number i. */
static uint64_t count_in_oracle(const struct oracle *oracle, size_t i, struct slice prefix)
{
    size_t first = i, end = i + 1;
    while (first > 0 && begins_with(oracle->entries[first - 1].key, prefix))
        first--;
    while (end < oracle->n && begins_with(oracle->entries[end].key, prefix))
        end++;
    return end - first;
}

/* Counting begins at the prefix, which may lie inside the line of a leaf. */
static void count_prefixes(struct treetest *t, void *context)
{
    struct act_cursor *cursor;
    uint64_t n, *n_checked = context;
    if (t->oracle.n > 20000)
        return;
    assert_int_equal(act_cursor_new(t->tree, 0, &cursor), 0);
    for (size_t i = 0; i < t->oracle.n; i++) {
        struct slice key = t->oracle.entries[i].key;
        for (size_t len = 0; len <= key.len && len < 100; len++) {
            act_cursor_set_prefix(cursor, key.p, len);
            act_cursor_seek(cursor, key.p, len);
            assert_int_equal(act_cursor_count(cursor, &n), 0);
            assert_int_equal(n, count_in_oracle(&t->oracle, i, slice_of(key.p, len)));
            ++*n_checked;
        }
    }
    act_cursor_free(cursor);
}

static void every_prefix_is_counted_from_its_position(void **state)
{
    uint64_t n_checked = 0;
    (void)state;
    treetest_for_each("edge", count_prefixes, &n_checked);
    treetest_for_each("doc", count_prefixes, &n_checked);
    assert_true(n_checked > 1000);
}

static void a_cursor_without_a_tree_is_one_after_a_reset(void **state)
{
    (void)state;
    struct treetest t;
    struct act_cursor *cursor;
    uint64_t n;
    size_t len;
    treetest_open(&t, "doc/a.act", "doc/a.tsv");
    assert_int_equal(act_cursor_new(NULL, 0, &cursor), 0);
    assert_null(act_cursor_key(cursor, &len));
    assert_int_equal(act_cursor_next(cursor), ACT_MISS);
    assert_int_equal(act_cursor_prev(cursor), ACT_MISS);
    act_cursor_reset(cursor, t.tree);
    assert_non_null(act_cursor_key(cursor, &len));
    assert_int_equal(act_cursor_count(cursor, &n), 0);
    assert_int_equal(n, t.oracle.n);
    act_cursor_free(cursor);
    treetest_close(&t);
}

static void edge_trees_are_walked_as_they_should(void **state)
{
    (void)state;
    assert_int_equal(treetest_for_each("edge", check_all, NULL), 101);
}

static void the_trees_of_the_specification_are_walked_as_they_should(void **state)
{
    (void)state;
    assert_int_equal(treetest_for_each("doc", check_all, NULL), 6);
}

static void large_trees_are_walked_as_they_should(void **state)
{
    (void)state;
    static const char *const names[][2] = {{"shakespeare.act", "shakespeare.tsv.gz"},
                                           {"cities.act", "cities.tsv.gz"}};
    for (size_t i = 0; i < N_ELEMENTS(names); i++) {
        struct treetest t;
        treetest_open(&t, names[i][0], names[i][1]);
        check_all(&t, NULL);
        assert_int_equal(act_cache_tables(t.tree, 1 << 20), 0);
        check_tree(&t, t.oracle.n / 300, 0);
        treetest_close(&t);
    }
}

static void random_trees_are_walked_as_they_should(void **state)
{
    (void)state;
    static const unsigned sizes[] = {0, 1, 2, 5, 30, 300};
    struct random random = {.state = 1};
    for (unsigned round = 0; round < 150; round++) {
        struct treetest t;
        random_tree_open(&random, round % RANDOM_KINDS, sizes[round / 4 % N_ELEMENTS(sizes)], &t);
        check_all(&t, NULL);
        treetest_close(&t);
    }
}

/* n children, on the root and one byte below it, with leaves and with lines. */
static void check_width(unsigned n, bool is_nested, bool has_tails)
{
    struct treetest t;
    struct oracle oracle;
    oracle_init(&oracle);
    for (unsigned i = 0; i < n; i++) {
        const uint8_t key[] = {'n', (uint8_t)(n == 256 ? i : 255 - i), 't', 'a', 'i', 'l'};
        size_t len = (is_nested ? 2U : 1) + (has_tails ? 4 : 0);
        oracle_add(&oracle, is_nested ? key : key + 1, len, i);
    }
    oracle_sort(&oracle);
    treetest_open_bytes(&t, treewriter_write(&oracle, TREEWRITER_BRANCH_ROOT), "wide tree");
    t.oracle = oracle;
    check_all(&t, NULL);
    treetest_close(&t);
}

static void branches_of_every_width_are_walked_as_they_should(void **state)
{
    (void)state;
    static const unsigned widths[] = {1, 2, 3, 8, 16, 30, 31, 32, 33, 63, 64, 65, 128, 255, 256};
    for (size_t i = 0; i < N_ELEMENTS(widths); i++)
        for (unsigned form = 0; form < 4; form++)
            check_width(widths[i], form & 1, form & 2);
}

static void long_keys_are_walked_as_they_should(void **state)
{
    (void)state;
    struct treetest t;
    struct oracle oracle;
    uint8_t *key = malloc(70001);
    memset(key, 'x', 70000);
    oracle_init(&oracle);
    for (unsigned i = 0; i < 8; i++) {
        key[70000 - (1 << (2 * i))] = 'y';
        oracle_add(&oracle, key, 70000 - (i % 2), i);
        oracle_add(&oracle, key, 35000, 100);
    }
    free(key);
    oracle_sort(&oracle);
    treetest_open_bytes(&t, treewriter_write(&oracle, TREEWRITER_LINE_ROOT), "long keys");
    t.oracle = oracle;
    check_all(&t, NULL);
    treetest_close(&t);
}

static void random_move(struct cursor_model *model, struct random *random, const char *name)
{
    const struct oracle *oracle = model->oracle;
    enum cursor_move move = random_below(random, MODEL_MOVES);
    uint8_t bytes[2][160];
    struct slice args[2];
    /* Bounds and the rest move the cursor too far away to be made often. */
    if ((move == MODEL_SET_PREFIX || move == MODEL_SET_RANGE || move == MODEL_SET_FROM ||
         move == MODEL_RESET || move == MODEL_COUNT) &&
        random_below(random, 8) != 0)
        move = random_below(random, 2) ? MODEL_NEXT : MODEL_PREV;
    for (unsigned i = 0; i < 2; i++) {
        size_t len = 0;
        if (oracle->n > 0) {
            struct slice key = oracle->entries[random_below(random, (unsigned)oracle->n)].key;
            len = key.len < 150 ? key.len : 150;
            memcpy(bytes[i], key.p, len);
        }
        if (random_below(random, 2))
            len = random_below(random, (unsigned)len + 1);
        if (random_below(random, 3) == 0)
            bytes[i][len++] = (uint8_t)random_below(random, 256);
        args[i] = slice_of(bytes[i], len);
    }
    bool is_step = move == MODEL_DESCEND || move == MODEL_DESCEND_BY;
    if (is_step && model->is_at && model->key.len < args[0].len && random_below(random, 4)) {
        memcpy(bytes[0], model->key.p, model->key.len);
        args[0] = slice_of(args[0].p + model->key.len, args[0].len - model->key.len);
    }
    if (move == MODEL_DESCEND && args[0].len == 0)
        args[0] = slice_of("a", 1);
    if (move == MODEL_ASCEND)
        args[0].len = random_below(random, 5);
    model->budget = random_below(random, 3);
    const char *wrong = cursor_model_move(model, move, args[0], args[1]);
    if (wrong)
        fail_msg("%s: move %d: %s", name, move, wrong);
}

static void check_random_moves(struct treetest *t, void *context)
{
    struct random *random = context;
    struct cursor_model model;
    cursor_model_init(&model, t->tree, &t->oracle);
    for (unsigned i = 0; i < 500; i++)
        random_move(&model, random, t->name);
    cursor_model_deinit(&model);
}

static void any_sequence_of_moves_is_what_it_should_be(void **state)
{
    (void)state;
    struct random random = {.state = 2};
    treetest_for_each("edge", check_random_moves, &random);
    treetest_for_each("doc", check_random_moves, &random);
    for (unsigned round = 0; round < 300; round++) {
        struct treetest t;
        random_tree_open(&random, round % RANDOM_KINDS, random_below(&random, 60), &t);
        check_random_moves(&t, &random);
        treetest_close(&t);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cursor_without_a_tree_is_one_after_a_reset),
        cmocka_unit_test(edge_trees_are_walked_as_they_should),
        cmocka_unit_test(walks_go_on_from_their_marks),
        cmocka_unit_test(every_prefix_is_counted_from_its_position),
        cmocka_unit_test(the_trees_of_the_specification_are_walked_as_they_should),
        cmocka_unit_test(large_trees_are_walked_as_they_should),
        cmocka_unit_test(random_trees_are_walked_as_they_should),
        cmocka_unit_test(branches_of_every_width_are_walked_as_they_should),
        cmocka_unit_test(long_keys_are_walked_as_they_should),
        cmocka_unit_test(any_sequence_of_moves_is_what_it_should_be),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
