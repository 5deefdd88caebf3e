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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(append_and_consume_keep_order),
        cmocka_unit_test(an_empty_buf_owns_nothing),
        cmocka_unit_test(the_pool_caps_all_bufs_together),
        cmocka_unit_test(the_reserve_is_for_what_is_urgent),
        cmocka_unit_test(a_consumed_head_can_be_taken_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
