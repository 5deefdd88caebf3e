/*
 * output: see output.h.
 */
#include "tree/output.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define BUFFER_BYTES ((size_t)1 << 20)

int output_init(struct output *output, int fd)
{
    *output = (struct output){.fd = fd, .size = BUFFER_BYTES, .p = malloc(BUFFER_BYTES)};
    return output->p ? 0 : -ENOMEM;
}

void output_deinit(struct output *output)
{
    free(output->p);
    output->p = NULL;
}

int output_write_at(int fd, const void *p, size_t len, uint64_t offset)
{
    const char *at = p;
    while (len > 0) {
        ssize_t n = pwrite(fd, at, len, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        at += n;
        len -= (size_t)n;
        offset += (uint64_t)n;
    }
    return 0;
}

int output_read_at(int fd, void *p, size_t len, uint64_t offset)
{
    char *at = p;
    while (len > 0) {
        ssize_t n = pread(fd, at, len, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EIO;
        at += n;
        len -= (size_t)n;
        offset += (uint64_t)n;
    }
    return 0;
}

int output_flush(struct output *output)
{
    int r = output_write_at(output->fd, output->p, output->len, output->start);
    if (r != 0)
        return r;
    output->start += output->len;
    output->len = 0;
    return 0;
}

int output_reserve_slow(struct output *output)
{
    return output_flush(output);
}

int output_append(struct output *output, const void *p, size_t len)
{
    if (len > output->size - output->len) {
        int r = output_flush(output);
        if (r == 0 && len > output->size) {
            r = output_write_at(output->fd, p, len, output->start);
            output->start += r == 0 ? len : 0;
            return r;
        }
        if (r != 0)
            return r;
    }
    if (len > 0)
        memcpy(output->p + output->len, p, len);
    output->len += len;
    return 0;
}

int output_restart(struct output *output)
{
    output->start = output->len = 0;
    return ftruncate(output->fd, 0) < 0 ? -errno : 0;
}
