/*
 * node: one node decoded and checked, and the child step (sections 3 and 4 of the format).
 */
#include "bytes.h"
#include "oracle.h"
#include "tree/child.h"
#include "treewriter.h"
#include "unit.h"

struct fixture {
    struct bytes bytes;
    struct map map;
    struct view view;
};

static void fixture_init(struct fixture *f, struct bytes bytes)
{
    f->bytes = bytes;
    f->map = map_of(bytes.p, bytes.len);
    f->view = (struct view){.map = &f->map};
}

static int step(struct view *view, const struct node *branch, int byte, uint64_t *ret_offset)
{
    const uint8_t key[] = {(uint8_t)byte};
    return child_step(view, branch, slice_of(key, 1), ret_offset);
}

static void the_nodes_of_the_specification_are_read(void **state)
{
    (void)state;
    struct fixture f;
    struct node node = {0};
    fixture_init(&f, bytes_read_file(test_data_path("doc/a.act")));

    assert_int_equal(node_read(&f.view, 19, 65, &node), 0);
    assert_true(node.is_line && node.has_value && node.value == 300);
    assert_int_equal(node.child, 0);
    assert_int_equal(node.end, 24);
    assert_true(slice_equal(node.line, slice_of_str("el")));

    assert_int_equal(node_read(&f.view, 27, 65, &node), 0);
    assert_true(!node.is_line && node.has_value && node.value == 1);
    assert_int_equal(node.child, 19);
    assert_int_equal(node.field, 1);
    assert_int_equal(node.set[0], 'r');
    assert_int_equal(node.end, 31);

    assert_int_equal(node_read(&f.view, 38, 65, &node), 0);
    assert_true(node.is_line && !node.has_value);
    assert_int_equal(node.child, 27);
    assert_true(slice_equal(node.line, slice_of_str("ar")));

    assert_int_equal(node_read(&f.view, 51, 65, &node), 0);
    assert_true(!node.is_line && !node.has_value);
    assert_int_equal(node.field, 4);
    assert_memory_equal(node.set, "bdef", 4);
    assert_int_equal(node.end, 57);
    bytes_free(&f.bytes);
}

static void a_node_must_end_at_or_before_its_limit(void **state)
{
    (void)state;
    static const uint64_t offsets[] = {19, 27, 38, 41, 44, 47, 51};
    struct fixture f;
    struct node node = {0};
    fixture_init(&f, bytes_read_file(test_data_path("doc/a.act")));
    for (size_t i = 0; i < N_ELEMENTS(offsets); i++) {
        assert_int_equal(node_read(&f.view, offsets[i], f.map.size, &node), 0);
        uint64_t end = node.end;
        assert_int_equal(node_read(&f.view, offsets[i], end, &node), 0);
        for (uint64_t limit = 0; limit < end; limit++)
            assert_int_equal(node_read(&f.view, offsets[i], limit, &node), ACT_CORRUPT);
    }
    bytes_free(&f.bytes);
}

/* A file's 16 bytes of header, and the arena behind them. */
static struct bytes with_header(const char *arena)
{
    char hex[1024] = "41 43 54 72 65 65 30 33 10 00 00 00 00 00 00 00 ";
    assert_true(strlen(hex) + strlen(arena) < sizeof hex);
    strcat(hex, arena);
    return bytes_from_hex(hex);
}

static void every_broken_node_is_told(void **state)
{
    (void)state;
    static const struct {
        const char *arena;
        uint64_t offset;
        const char *reason; /* a part of it; NULL: more than one would do */
    } broken[] = {
        {"01 00 61", 16, "a reference to the node itself"},
        {"01 01 61", 16, "a reference that leaves the arena"},
        {"01 10 61", 16, "a reference that leaves the arena"},
        {"01 11 61", 16, "a reference that leaves the arena"},
        {"01 ff ff ff ff ff ff ff ff ff 61", 16, "a reference that leaves the arena"},
        {"00 01 02 61", 17, "a reference that leaves the arena"},
        {"21 01 61", 16, "a child field above 32"},
        {"3f 01 61", 16, "a child field above 32"},
        {"00 02 01 61", 17, "runs past its place"},
        {"00 20 01 00 00 00 00", 17, "runs past its place"},
        {"80 00", 16, "a reference to the node itself"},
        {"80 01", 16, "a reference that leaves the arena"},
        {"00 80 01", 17, "line data of length 0"},
        {"01 80 01", 17, "line data that runs into its node"},
        {"02 61 80 02", 18, "line data that runs into its node"},
        {"ff 61 80 02", 18, NULL},
        {"ff ff ff ff ff ff ff ff ff 80 09", 25, "line data that runs into its node"},
        {"f8 80 01", 17, NULL},
        {"01 61 81 02 00", 18, "a reference to the node itself"},
        {"01 61 81 00 02", 18, "a reference to the node itself"},
        {"40", 16, NULL},
        {"40 f8", 16, NULL},
        {"01 61 80", 18, NULL},
        {"00", 17, "a node outside"},
        {"00", 18, "a node outside"},
        {"00", UINT64_MAX, "a node outside"},
    };
    for (size_t i = 0; i < N_ELEMENTS(broken); i++) {
        struct fixture f;
        struct node node = {0};
        fixture_init(&f, with_header(broken[i].arena));
        assert_int_equal(node_read(&f.view, broken[i].offset, f.map.size, &node), ACT_CORRUPT);
        assert_non_null(f.view.fault.reason);
        if (broken[i].reason && !strstr(f.view.fault.reason, broken[i].reason))
            fail_msg("%s: \"%s\"", broken[i].arena, f.view.fault.reason);
        bytes_free(&f.bytes);
    }
}

static void what_a_reader_ignores_does_not_matter(void **state)
{
    (void)state;
    struct fixture f;
    struct node node = {0};
    /* Bits 1 to 5 of a line's header are set; each number is longer than needed. */
    fixture_init(&f, with_header("02 61 62 fe f8 07 f9 03 00 40 05"));
    assert_int_equal(node_read(&f.view, 19, f.map.size, &node), 0);
    assert_true(node.is_line && node.has_value && node.value == 7);
    assert_int_equal(node.child, 0);
    assert_int_equal(node.end, 25);
    assert_true(slice_equal(node.line, slice_of_str("ab")));
    bytes_free(&f.bytes);
}

/* A root of n children: leaves and lines of different sizes, so that skipping is put to the test.
 */
static void make_wide(struct oracle *oracle, unsigned n)
{
    oracle_init(oracle);
    for (unsigned i = 0; i < n; i++) {
        uint8_t key[4] = {(uint8_t)(i * 255 / (n > 1 ? n - 1 : 1)), 'x', (uint8_t)i, 'y'};
        oracle_add(oracle, key, 1 + i % 4, UINT64_C(1) << (i % 64));
    }
    oracle_sort(oracle);
}

/* The offsets of the root's children, by reading them one after the other. */
static void check_children(struct fixture *f, const struct node *root, const uint64_t children[4])
{
    uint64_t at = root->child, found = 0;
    struct node child = {0};
    for (unsigned b = 0; b < 256; b++) {
        int r = step(&f->view, root, (uint8_t)b, &found);
        if (!(children[b >> 6] >> (b & 63) & 1)) {
            assert_int_equal(r, ACT_MISS);
            continue;
        }
        assert_int_equal(r, 0);
        assert_int_equal(found, at);
        assert_int_equal(node_read(&f->view, at, root->offset, &child), 0);
        at = child.end;
    }
}

static void the_child_step_finds_every_child(void **state)
{
    (void)state;
    static const unsigned widths[] = {1, 2, 30, 31, 32, 33, 64, 65, 128, 192, 255, 256};
    for (size_t i = 0; i < N_ELEMENTS(widths); i++) {
        struct oracle oracle;
        struct fixture f;
        struct node root = {0};
        uint64_t wanted[4], told[4];
        make_wide(&oracle, widths[i]);
        assert_int_equal(oracle.n, widths[i]);
        fixture_init(&f, treewriter_write(&oracle, TREEWRITER_BRANCH_ROOT));
        assert_int_equal(node_read(&f.view, load_le64(f.bytes.p + 8), f.map.size, &root), 0);
        oracle_children(&oracle, slice_of(NULL, 0), wanted);
        node_children(&root, told);
        assert_memory_equal(told, wanted, sizeof told);
        assert_int_equal(root.field, widths[i] < 32 ? widths[i] : 32);
        check_children(&f, &root, wanted);
        bytes_free(&f.bytes);
        oracle_deinit(&oracle);
    }
}

static void fewer_siblings_than_the_set_says_are_corrupt(void **state)
{
    (void)state;
    struct fixture f;
    struct node root = {0}, child = {0};
    uint64_t at;
    /* Two leaves, and a branch that claims three children. */
    fixture_init(&f, with_header("40 01 40 02 03 04 61 62 63 00 00 00 00 00 00 00 00"));
    assert_int_equal(node_read(&f.view, 20, f.map.size, &root), 0);
    assert_int_equal(step(&f.view, &root, 'a', &at), 0);
    assert_int_equal(at, 16);
    assert_int_equal(step(&f.view, &root, 'b', &at), 0);
    assert_int_equal(at, 18);
    assert_int_equal(step(&f.view, &root, 'c', &at), 0);
    assert_int_equal(node_read(&f.view, at, root.offset, &child), ACT_CORRUPT);
    bytes_free(&f.bytes);
}

static void a_broken_sibling_is_met_on_the_way(void **state)
{
    (void)state;
    static const struct {
        const char *arena;
        uint64_t root;
    } broken[] = {
        {"21 01 61 02 03 61 62", 19}, /* child field 33 */
        {"20 01 61 02 03 61 62", 19}, /* a mask that runs into the parent */
        {"05 01 61 02 03 61 62", 19}, /* a set that does */
        {"40 ff 61 02 03 61 62", 19}, /* a value that does */
        {"80 f9 02 03 61 62", 18},    /* a reference that does */
        {"00 03 02 61 62 63", 17},    /* one sibling too few: claims three, has one */
    };
    for (size_t i = 0; i < N_ELEMENTS(broken); i++) {
        struct fixture f;
        struct node root = {0};
        uint64_t at = 99;
        fixture_init(&f, with_header(broken[i].arena));
        int r = node_read(&f.view, broken[i].root, f.map.size, &root);
        if (r == 0)
            r = step(&f.view, &root, i == 5 ? 'c' : 'b', &at);
        assert_int_equal(r, ACT_CORRUPT);
        assert_int_equal(at, 99);
        bytes_free(&f.bytes);
    }
}

static uint64_t random_state = 20;

static uint8_t random_byte(void)
{
    random_state = random_state * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (uint8_t)(random_state >> 56);
}

/* A set of few different bytes has repeated members and near ones; the order is any. */
static void ranks_of_bytes_are_those_of_counting(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 3000; round++) {
        unsigned n = round % 32;
        uint8_t members[32], spread = round % 3 ? 0xff : 0x83;
        for (unsigned i = 0; i < sizeof members; i++)
            members[i] = random_byte() & spread;
        struct bytes exact = bytes_copy(members, n);
        for (unsigned byte = 0; byte < 256; byte++) {
            unsigned wanted = 0, rank = 99;
            bool is_member = false;
            for (unsigned i = 0; i < n; i++) {
                wanted += members[i] < byte;
                is_member = is_member || members[i] == byte;
            }
            assert_int_equal(rank_in_bytes(exact.p, n, false, (uint8_t)byte, &rank), is_member);
            assert_int_equal(rank, wanted);
            assert_int_equal(rank_in_bytes(members, n, true, (uint8_t)byte, &rank), is_member);
            assert_int_equal(rank, wanted);
        }
        bytes_free(&exact);
    }
}

static void ranks_in_masks_are_those_of_counting(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 1000; round++) {
        uint8_t mask[32];
        for (unsigned i = 0; i < sizeof mask; i++)
            mask[i] = round == 0 ? 0 : round == 1 ? 0xff : random_byte() & random_byte();
        unsigned wanted = 0, rank = 999;
        for (unsigned byte = 0; byte < 256; byte++) {
            bool is_member = mask[byte >> 3] >> (byte & 7) & 1;
            assert_int_equal(rank_in_mask(mask, (uint8_t)byte, &rank), is_member);
            assert_int_equal(rank, wanted);
            wanted += is_member;
        }
        const uint64_t words[4] = {load_le64(mask), load_le64(mask + 8), load_le64(mask + 16),
                                   load_le64(mask + 24)};
        assert_int_equal(bits_count(words), wanted);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_nodes_of_the_specification_are_read),
        cmocka_unit_test(a_node_must_end_at_or_before_its_limit),
        cmocka_unit_test(every_broken_node_is_told),
        cmocka_unit_test(what_a_reader_ignores_does_not_matter),
        cmocka_unit_test(the_child_step_finds_every_child),
        cmocka_unit_test(fewer_siblings_than_the_set_says_are_corrupt),
        cmocka_unit_test(a_broken_sibling_is_met_on_the_way),
        cmocka_unit_test(ranks_of_bytes_are_those_of_counting),
        cmocka_unit_test(ranks_in_masks_are_those_of_counting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
