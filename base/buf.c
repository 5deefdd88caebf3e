/*
 * buf: see buf.h.
 */
#include "base/buf.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

/* Enough for the connections that are busy in one turn; more are given back to malloc. */
#define KEPT_MAX 256

static void *take_block(struct buf_pool *pool, size_t size)
{
    if (size == BUF_BLOCK_BYTES && pool->kept) {
        void *block = pool->kept;
        memcpy(&pool->kept, block, sizeof pool->kept);
        pool->n_kept--;
        return block;
    }
    return malloc(size);
}

static void give_block(struct buf_pool *pool, void *block, size_t size)
{
    if (size == BUF_BLOCK_BYTES && pool->n_kept < KEPT_MAX) {
        memcpy(block, &pool->kept, sizeof pool->kept);
        pool->kept = block;
        pool->n_kept++;
        return;
    }
    free(block);
}

/* May bufs own so much more, size of it in one block? */
static bool has_room(struct buf_pool *pool, size_t more, size_t size)
{
    size_t most = pool->max_bytes;
    size_t shared = most - pool->reserve_bytes - (size > BUF_BLOCK_BYTES ? pool->block_bytes : 0);
    bool may_borrow = pool->is_urgent || (pool->is_brief && size <= BUF_BLOCK_BYTES);
    if (more <= shared && pool->used_bytes <= shared - more)
        return true;
    bool has_room = may_borrow && more <= most && pool->used_bytes <= most - more;
    pool->n_refused++;
    pool->n_lent += has_room;
    return has_room;
}

/* A large block grows where it is, or the kernel moves its pages: nothing is copied. */
static int grow_large(struct buf *buf, size_t size)
{
    if (!has_room(buf->pool, size - buf->size, size))
        return BUF_FULL;
    uint8_t *p = realloc(buf->p, size);
    if (!p)
        return -ENOMEM;
    buf->pool->used_bytes += size - buf->size;
    buf->p = p;
    buf->size = size;
    return 0;
}

static int buf_grow(struct buf *buf, size_t wanted)
{
    struct buf_pool *pool = buf->pool;
    size_t size = buf->size > BUF_BLOCK_BYTES ? buf->size : BUF_BLOCK_BYTES;
    while (size < wanted) {
        if (size > SIZE_MAX / 2)
            return -ENOMEM;
        size *= 2;
    }
    if (buf->size > BUF_BLOCK_BYTES && buf->head == 0)
        return grow_large(buf, size);
    /* While the content moves both blocks exist: both count. */
    if (!has_room(pool, size, size))
        return BUF_FULL;
    uint8_t *p = take_block(pool, size);
    if (!p)
        return -ENOMEM;
    size_t len = buf_len(buf);
    if (len > 0)
        memcpy(p, buf->p + buf->head, len);
    if (buf->p) {
        pool->used_bytes -= buf->size;
        give_block(pool, buf->p, buf->size);
    }
    pool->used_bytes += size;
    buf->p = p;
    buf->size = size;
    buf->head = 0;
    buf->tail = len;
    return 0;
}

void buf_pool_init(struct buf_pool *pool, size_t max_bytes)
{
    *pool = (struct buf_pool){.max_bytes = max_bytes};
}

void buf_pool_deinit(struct buf_pool *pool)
{
    assert(pool->used_bytes == 0);
    while (pool->kept)
        free(take_block(pool, BUF_BLOCK_BYTES));
}

int buf_pool_take(struct buf_pool *pool, size_t bytes)
{
    if (!has_room(pool, bytes, bytes))
        return BUF_FULL;
    pool->used_bytes += bytes;
    return 0;
}

void buf_pool_give(struct buf_pool *pool, size_t bytes)
{
    pool->used_bytes -= bytes;
}

void buf_init(struct buf *buf, struct buf_pool *pool)
{
    *buf = (struct buf){.pool = pool};
}

void buf_release(struct buf *buf)
{
    if (buf->p) {
        buf->pool->used_bytes -= buf->size;
        give_block(buf->pool, buf->p, buf->size);
    }
    buf_init(buf, buf->pool);
}

void buf_trim(struct buf *buf)
{
    size_t len = buf_len(buf);
    if (len == 0 || len > BUF_SMALL_BYTES || buf->size != BUF_BLOCK_BYTES)
        return;
    uint8_t *p = malloc(BUF_SMALL_BYTES);
    if (!p)
        return;
    memcpy(p, buf->p + buf->head, len);
    give_block(buf->pool, buf->p, buf->size);
    buf->pool->used_bytes -= buf->size - BUF_SMALL_BYTES;
    buf->p = p;
    buf->size = BUF_SMALL_BYTES;
    buf->head = 0;
    buf->tail = len;
}

int buf_reserve(struct buf *buf, size_t len)
{
    if (buf_free_bytes(buf) >= len)
        return 0;
    size_t used = buf_len(buf);
    if (len > SIZE_MAX - used)
        return -ENOMEM;
    /* Moving is cheaper than growing, unless it would come again and again. */
    if (buf->size - used >= len && buf->head >= used) {
        if (used > 0)
            memcpy(buf->p, buf->p + buf->head, used);
        buf->head = 0;
        buf->tail = used;
        return 0;
    }
    return buf_grow(buf, used + len);
}

int buf_append(struct buf *buf, const void *p, size_t len)
{
    if (len == 0)
        return 0;
    int r = buf_reserve(buf, len);
    if (r != 0)
        return r;
    memcpy(buf->p + buf->tail, p, len);
    buf->tail += len;
    return 0;
}
