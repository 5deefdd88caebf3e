/*
 * lines: see lines.h.
 */
#include "client/actctl/lines.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#define READ_BYTES ((size_t)64 * 1024)

static const uint8_t *find_newline(struct lines *lines)
{
    struct slice content = buf_content(&lines->buf);
    if (content.len == lines->n_seen)
        return NULL;
    const uint8_t *p = memchr(content.p + lines->n_seen, '\n', content.len - lines->n_seen);
    lines->n_seen = p ? (size_t)(p - content.p) : content.len;
    return p;
}

static int read_more(struct lines *lines)
{
    int r = buf_reserve(&lines->buf, READ_BYTES);
    if (r != 0)
        return -ENOMEM;
    ssize_t n = read(lines->fd, lines->buf.p + lines->buf.tail, READ_BYTES);
    if (n < 0)
        return errno == EINTR ? 0 : -errno;
    lines->is_at_end = n == 0;
    buf_commit(&lines->buf, (size_t)n);
    return 0;
}

static int give(struct lines *lines, size_t len, size_t consumed, struct slice *ret_line)
{
    lines->number++;
    if (len > lines->max_bytes)
        return LINES_TOO_LONG;
    *ret_line = slice_of(buf_content(&lines->buf).p, len);
    buf_consume(&lines->buf, consumed);
    lines->n_seen = 0;
    return 0;
}

void lines_init(struct lines *lines, int fd, size_t max_bytes)
{
    *lines = (struct lines){.fd = fd, .max_bytes = max_bytes};
    /* Four times: a block of twice the content, and the one that it grew from. */
    buf_pool_init(&lines->pool, 4 * (max_bytes + 2 * READ_BYTES));
    buf_init(&lines->buf, &lines->pool);
}

void lines_deinit(struct lines *lines)
{
    buf_release(&lines->buf);
    buf_pool_deinit(&lines->pool);
}

bool lines_would_wait(struct lines *lines)
{
    struct pollfd p = {.fd = lines->fd, .events = POLLIN};
    return !lines->is_at_end && !find_newline(lines) && poll(&p, 1, 0) == 0;
}

int lines_next(struct lines *lines, struct slice *ret_line)
{
    for (;;) {
        size_t len = buf_len(&lines->buf);
        if (find_newline(lines))
            return give(lines, lines->n_seen, lines->n_seen + 1, ret_line);
        if (len > lines->max_bytes || (lines->is_at_end && len > 0))
            return give(lines, len, len, ret_line);
        if (lines->is_at_end)
            return LINES_END;
        int r = read_more(lines);
        if (r != 0)
            return r;
    }
}
