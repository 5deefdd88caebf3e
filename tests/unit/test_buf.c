/*
 * buf: growing, moving, taking back, and the pool's cap.
 */
#include "base/buf.h"
#include "unit.h"

#include <errno.h>

static void append_and_consume_keep_order(void **state)
{
    (void)state;
    struct buf_pool pool;
    struct buf buf;
    buf_pool_init(&pool, 1 << 20);
    buf_init(&buf, &pool);
    uint8_t written = 0, wanted = 0;
    for (unsigned round = 0; round < 5000; round++) {
        for (unsigned i = 0; i < 11 + round % 50; i++, written++)
            assert_int_equal(buf_append(&buf, &written, 1), 0);
        for (unsigned i = 0; i < 10 + round % 50; i++, wanted++) {
            assert_int_equal(buf_content(&buf).p[0], wanted);
            buf_consume(&buf, 1);
        }
    }
    assert_int_equal(buf_len(&buf), 5000);
    assert_true(buf.size <= 2 * BUF_BLOCK_BYTES);
    buf_release(&buf);
    assert_int_equal(pool.used_bytes, 0);
    buf_pool_deinit(&pool);
}

static void an_empty_buf_owns_nothing(void **state)
{
    (void)state;
    struct buf_pool pool;
    struct buf buf;
    buf_pool_init(&pool, 1 << 20);
    buf_init(&buf, &pool);
    assert_int_equal(buf_append(&buf, NULL, 0), 0);
    assert_int_equal(pool.used_bytes, 0);
    assert_int_equal(buf_append(&buf, "x", 1), 0);
    assert_int_equal(pool.used_bytes, BUF_BLOCK_BYTES);
    buf_release(&buf);
    assert_int_equal(pool.used_bytes, 0);
    assert_int_equal(pool.n_kept, 1);
    buf_pool_deinit(&pool);
}

static void the_pool_caps_all_bufs_together(void **state)
{
    (void)state;
    struct buf_pool pool;
    struct buf a, b;
    buf_pool_init(&pool, 3 * BUF_BLOCK_BYTES);
    buf_init(&a, &pool);
    buf_init(&b, &pool);
    assert_int_equal(buf_append(&a, "a", 1), 0);
    assert_int_equal(buf_append(&b, "b", 1), 0);
    /* 16 + 16 are used; growing b to 32 needs 32 more while the old block is still there. */
    assert_int_equal(buf_reserve(&b, BUF_BLOCK_BYTES), BUF_FULL);
    assert_int_equal(buf_content(&b).p[0], 'b');
    buf_release(&a);
    assert_int_equal(buf_reserve(&b, BUF_BLOCK_BYTES), 0);
    assert_int_equal(buf_content(&b).p[0], 'b');
    assert_int_equal(pool.used_bytes, 2 * BUF_BLOCK_BYTES);
    assert_int_equal(buf_reserve(&b, SIZE_MAX), -ENOMEM);
    assert_int_equal(buf_reserve(&b, SIZE_MAX / 2), BUF_FULL);
    buf_release(&b);
    buf_pool_deinit(&pool);
}

static void the_reserve_is_for_what_is_urgent(void **state)
{
    (void)state;
    struct buf_pool pool;
    struct buf a, b;
    buf_pool_init(&pool, 2 * BUF_BLOCK_BYTES);
    pool.reserve_bytes = BUF_BLOCK_BYTES;
    buf_init(&a, &pool);
    buf_init(&b, &pool);
    assert_int_equal(buf_append(&a, "a", 1), 0);
    assert_int_equal(buf_append(&b, "b", 1), BUF_FULL);
    pool.is_urgent = true;
    assert_int_equal(buf_append(&b, "b", 1), 0);
    pool.is_urgent = false;
    /* What has its block already needs no reserve. */
    assert_int_equal(buf_append(&b, "b", 1), 0);
    assert_int_equal(buf_reserve(&a, BUF_BLOCK_BYTES), BUF_FULL);
    buf_release(&a);
    buf_release(&b);
    buf_pool_deinit(&pool);
}

static void standard_blocks_of_the_reserve_are_lent(void **state)
{
    (void)state;
    struct buf_pool pool;
    struct buf a, b;
    buf_pool_init(&pool, 4 * BUF_BLOCK_BYTES);
    pool.reserve_bytes = 2 * BUF_BLOCK_BYTES;
    buf_init(&a, &pool);
    buf_init(&b, &pool);
    pool.is_brief = true;
    assert_int_equal(buf_reserve(&a, 2 * BUF_BLOCK_BYTES), 0);
    assert_int_equal(pool.n_lent, 0);
    assert_int_equal(buf_append(&b, "b", 1), 0);
    assert_int_equal(pool.n_lent, 1);
    assert_int_equal(pool.n_refused, 1); /* there is no room, and the sweep has to know */
    assert_int_equal(buf_reserve(&b, BUF_BLOCK_BYTES), BUF_FULL);
    assert_int_equal(pool.n_lent, 1);
    buf_release(&a);
    buf_release(&b);
    buf_pool_deinit(&pool);
}

static void a_consumed_head_can_be_taken_back(void **state)
{
    (void)state;
    struct buf_pool pool;
    struct buf buf;
    buf_pool_init(&pool, 1 << 20);
    buf_init(&buf, &pool);
    assert_int_equal(buf_append(&buf, "abcdef", 6), 0);
    size_t mark = buf.head;
    buf_consume(&buf, 4);
    buf.head = mark;
    assert_memory_equal(buf_content(&buf).p, "abcdef", 6);
    buf_release(&buf);
    buf_pool_deinit(&pool);
}

static void fill(struct buf *buf, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        uint8_t byte = (uint8_t)(i * 7 + i / 251);
        assert_int_equal(buf_append(buf, &byte, 1), 0);
    }
}

/* What fill has written, from its byte number `from` on. */
static void assert_filled(const struct buf *buf, size_t from, size_t len)
{
    struct slice content = buf_content(buf);
    assert_int_equal(content.len, len);
    for (size_t i = 0; i < len; i++)
        if (content.p[i] != (uint8_t)((from + i) * 7 + (from + i) / 251))
            fail_msg("another byte at %zu", i);
}

static void small_content_is_moved_to_a_small_block(void **state)
{
    (void)state;
    static const size_t lens[] = {1, 100, BUF_SMALL_BYTES - 1, BUF_SMALL_BYTES};
    for (size_t i = 0; i < N_ELEMENTS(lens); i++) {
        struct buf_pool pool;
        struct buf buf;
        buf_pool_init(&pool, 1 << 20);
        buf_init(&buf, &pool);
        fill(&buf, lens[i] + 5);
        buf_consume(&buf, 5);
        buf_trim(&buf);
        assert_int_equal(buf.size, BUF_SMALL_BYTES);
        assert_int_equal(pool.used_bytes, BUF_SMALL_BYTES);
        assert_int_equal(pool.n_kept, 1); /* its block is there for others */
        assert_filled(&buf, 5, lens[i]);
        buf_trim(&buf); /* once is enough */
        assert_int_equal(pool.used_bytes, BUF_SMALL_BYTES);
        assert_filled(&buf, 5, lens[i]);
        buf_release(&buf);
        assert_int_equal(pool.used_bytes, 0);
        assert_int_equal(pool.n_kept, 1); /* no small block is taken for one */
        buf_pool_deinit(&pool);
    }
}

static void what_is_not_small_stays_where_it_is(void **state)
{
    (void)state;
    static const struct {
        size_t len, consumed;
    } cases[] = {{0, 0},
                 {10, 10},
                 {BUF_SMALL_BYTES + 1, 0},
                 {2 * BUF_BLOCK_BYTES, 0},
                 {2 * BUF_BLOCK_BYTES, 2 * BUF_BLOCK_BYTES - 10}};
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        struct buf_pool pool;
        struct buf buf;
        buf_pool_init(&pool, 1 << 20);
        buf_init(&buf, &pool);
        fill(&buf, cases[i].len);
        buf_consume(&buf, cases[i].consumed);
        const uint8_t *p = buf.p;
        size_t used = pool.used_bytes;
        buf_trim(&buf);
        assert_ptr_equal(buf.p, p);
        assert_int_equal(pool.used_bytes, used);
        assert_filled(&buf, cases[i].consumed, cases[i].len - cases[i].consumed);
        buf_release(&buf);
        buf_pool_deinit(&pool);
    }
}

static void a_small_block_grows_again(void **state)
{
    (void)state;
    static const size_t lens[] = {BUF_SMALL_BYTES + 1, BUF_BLOCK_BYTES, BUF_BLOCK_BYTES + 1,
                                  10 * BUF_BLOCK_BYTES};
    for (size_t i = 0; i < N_ELEMENTS(lens); i++) {
        struct buf_pool pool;
        struct buf buf;
        buf_pool_init(&pool, 1 << 20);
        buf_init(&buf, &pool);
        fill(&buf, 300);
        buf_trim(&buf);
        struct buf whole;
        buf_init(&whole, &pool);
        fill(&whole, lens[i]);
        struct slice rest = buf_content(&whole);
        assert_int_equal(buf_append(&buf, rest.p + 300, lens[i] - 300), 0);
        assert_filled(&buf, 0, lens[i]);
        assert_int_equal(pool.used_bytes, buf.size + whole.size);
        buf_release(&buf);
        buf_release(&whole);
        assert_int_equal(pool.used_bytes, 0);
        buf_pool_deinit(&pool);
    }
}

/* A small block that is full has no room in the pool to grow: it stays, whole. */
static void a_small_block_that_cannot_grow_keeps_its_content(void **state)
{
    (void)state;
    struct buf_pool pool;
    struct buf buf;
    buf_pool_init(&pool, BUF_BLOCK_BYTES);
    buf_init(&buf, &pool);
    fill(&buf, 500);
    buf_trim(&buf);
    assert_int_equal(buf_append(&buf, "0123456789abc", 13), BUF_FULL);
    assert_int_equal(pool.n_refused, 1);
    assert_filled(&buf, 0, 500);
    assert_int_equal(buf_append(&buf, "0123456789ab", 12), 0);
    buf_release(&buf);
    buf_pool_deinit(&pool);
}

static void large_content_grows_in_its_block(void **state)
{
    (void)state;
    struct buf_pool pool;
    struct buf buf;
    buf_pool_init(&pool, 64 * BUF_BLOCK_BYTES);
    buf_init(&buf, &pool);
    fill(&buf, 3 * BUF_BLOCK_BYTES);
    assert_int_equal(buf.size, 4 * BUF_BLOCK_BYTES);
    /* From 32 to 64 blocks only 32 more are needed: the old ones are not there twice. */
    assert_int_equal(buf_reserve(&buf, 29 * BUF_BLOCK_BYTES), 0);
    assert_int_equal(pool.used_bytes, 32 * BUF_BLOCK_BYTES);
    assert_int_equal(buf_reserve(&buf, 60 * BUF_BLOCK_BYTES), 0);
    assert_int_equal(pool.used_bytes, 64 * BUF_BLOCK_BYTES);
    assert_int_equal(buf_reserve(&buf, 62 * BUF_BLOCK_BYTES), BUF_FULL);
    assert_int_equal(buf_reserve(&buf, SIZE_MAX), -ENOMEM);
    assert_filled(&buf, 0, 3 * BUF_BLOCK_BYTES);
    buf_release(&buf);
    assert_int_equal(pool.used_bytes, 0);
    buf_pool_deinit(&pool);
}

/* Where something was taken from its head it is copied, and both blocks count meanwhile. */
static void large_content_without_its_head_moves(void **state)
{
    (void)state;
    struct buf_pool pool;
    struct buf buf;
    buf_pool_init(&pool, 12 * BUF_BLOCK_BYTES);
    buf_init(&buf, &pool);
    fill(&buf, 4 * BUF_BLOCK_BYTES);
    buf_consume(&buf, 3);
    size_t len = buf_len(&buf);
    assert_int_equal(buf_reserve(&buf, 5 * BUF_BLOCK_BYTES), BUF_FULL); /* 4 + 16 */
    assert_int_equal(buf_reserve(&buf, BUF_BLOCK_BYTES), 0);            /* 4 + 8 */
    assert_int_equal(buf.head, 0);
    assert_filled(&buf, 3, len);
    assert_int_equal(pool.used_bytes, 8 * BUF_BLOCK_BYTES);
    buf_release(&buf);
    assert_int_equal(pool.used_bytes, 0);
    buf_pool_deinit(&pool);
}

static void some_of_the_pool_is_for_standard_blocks(void **state)
{
    (void)state;
    struct buf_pool pool;
    struct buf large, small[3];
    buf_pool_init(&pool, 8 * BUF_BLOCK_BYTES);
    pool.reserve_bytes = BUF_BLOCK_BYTES;
    pool.block_bytes = 2 * BUF_BLOCK_BYTES;
    buf_init(&large, &pool);
    /* Of 8 blocks 5 are for large ones: 4, but not 8. */
    assert_int_equal(buf_reserve(&large, 3 * BUF_BLOCK_BYTES), 0);
    assert_int_equal(pool.used_bytes, 4 * BUF_BLOCK_BYTES);
    assert_int_equal(buf_reserve(&large, 5 * BUF_BLOCK_BYTES), BUF_FULL);
    for (unsigned i = 0; i < 3; i++) {
        buf_init(&small[i], &pool);
        assert_int_equal(buf_append(&small[i], "x", 1), 0);
    }
    /* A standard block that becomes a large one is one of them. */
    assert_int_equal(buf_reserve(&small[0], BUF_BLOCK_BYTES), BUF_FULL);
    assert_int_equal(buf_append(&small[0], "y", 1), 0);
    pool.is_urgent = true;
    buf_release(&small[1]);
    assert_int_equal(buf_reserve(&small[0], BUF_BLOCK_BYTES), 0); /* all limits are off */
    pool.is_urgent = false;
    assert_memory_equal(buf_content(&small[0]).p, "xy", 2);
    buf_release(&large);
    buf_release(&small[0]);
    buf_release(&small[2]);
    assert_int_equal(pool.used_bytes, 0);
    buf_pool_deinit(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(append_and_consume_keep_order),
        cmocka_unit_test(an_empty_buf_owns_nothing),
        cmocka_unit_test(the_pool_caps_all_bufs_together),
        cmocka_unit_test(the_reserve_is_for_what_is_urgent),
        cmocka_unit_test(standard_blocks_of_the_reserve_are_lent),
        cmocka_unit_test(a_consumed_head_can_be_taken_back),
        cmocka_unit_test(small_content_is_moved_to_a_small_block),
        cmocka_unit_test(what_is_not_small_stays_where_it_is),
        cmocka_unit_test(a_small_block_grows_again),
        cmocka_unit_test(a_small_block_that_cannot_grow_keeps_its_content),
        cmocka_unit_test(large_content_grows_in_its_block),
        cmocka_unit_test(large_content_without_its_head_moves),
        cmocka_unit_test(some_of_the_pool_is_for_standard_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
