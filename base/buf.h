/*
 * buf: a growing byte queue (append at the tail, consume at the head), and the pool that bounds
 * all of them together.
 *
 * An empty buf that was released owns no memory, so ten thousand idle connections cost nothing.
 * Blocks of the standard size are kept by the pool and handed out again: in steady state no
 * request allocates. One thread uses a pool and its bufs.
 */
#pragma once

#include "base/slice.h"

#define BUF_BLOCK_BYTES ((size_t)16 * 1024)
/* What buf_trim moves to a block of just this size. */
#define BUF_SMALL_BYTES ((size_t)512)

/* Outcome of buf_reserve and buf_append: the pool's max_bytes is reached. */
#define BUF_FULL 1

struct buf_pool {
    size_t max_bytes;     /* cap over all bufs of the pool */
    size_t reserve_bytes; /* of the cap, only for what is urgent; the owner sets it */
    size_t block_bytes;   /* of the cap, not for bufs above the standard size; likewise */
    bool is_urgent;       /* the reserve may be used now */
    bool is_brief;        /* for blocks of the standard size, since they soon come back */
    uint64_t n_lent;      /* how often it was */
    size_t used_bytes;    /* owned by bufs now (not the kept blocks) */
    uint64_t n_refused;   /* how often there was no room, or only the reserve */
    void *kept;           /* list of standard blocks, *owned* */
    unsigned n_kept;
};

struct buf {
    struct buf_pool *pool; /* borrowed for the buf's life */
    uint8_t *p;            /* owned block, or NULL */
    size_t size;           /* of the block, bytes */
    size_t head, tail;     /* content is p[head..tail) */
};

void buf_pool_init(struct buf_pool *pool, size_t max_bytes);
/* All bufs of the pool must be released before. */
void buf_pool_deinit(struct buf_pool *pool);

/* Counts memory of the owner's own as if bufs owned it. 0 or BUF_FULL. */
int buf_pool_take(struct buf_pool *pool, size_t bytes);
void buf_pool_give(struct buf_pool *pool, size_t bytes);

void buf_init(struct buf *buf, struct buf_pool *pool);
/* Gives the block back to the pool, whatever it holds; the buf is empty and can be used again. */
void buf_release(struct buf *buf);

/* For content that is small and may stay for long: to a small block, if there is memory for one. */
void buf_trim(struct buf *buf);

/* Makes at least len free bytes at the tail. May move the content. 0, BUF_FULL, or -ENOMEM. */
int buf_reserve(struct buf *buf, size_t len);
int buf_append(struct buf *buf, const void *p, size_t len);

static inline struct slice buf_content(const struct buf *buf)
{
    return slice_of(buf->p ? buf->p + buf->head : NULL, buf->tail - buf->head);
}

static inline size_t buf_len(const struct buf *buf)
{
    return buf->tail - buf->head;
}

static inline size_t buf_free_bytes(const struct buf *buf)
{
    return buf->size - buf->tail;
}

/* After bytes were written behind the tail by somebody else. */
static inline void buf_commit(struct buf *buf, size_t len)
{
    buf->tail += len;
}

/* Drops len bytes at the head. They stay in place until the next reserve, so that a
 * turn can be taken back by setting head to what it was. */
static inline void buf_consume(struct buf *buf, size_t len)
{
    buf->head += len;
}
