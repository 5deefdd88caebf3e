/*
 * output: a file that is written from its start to its end through one buffer.
 *
 * Offsets are those of the file, so that what is written can refer back to what was.
 */
#pragma once

#include "base/slice.h"

struct output {
    int fd;         /* borrowed */
    uint8_t *p;     /* owned buffer */
    size_t size;    /* of the buffer, bytes */
    size_t len;     /* in the buffer, not in the file yet */
    uint64_t start; /* file offset of the buffer's first byte */
};

/* From file offset 0 on. 0 or -ENOMEM. */
int output_init(struct output *output, int fd);
void output_deinit(struct output *output);

/* The offset of the next byte. */
static inline uint64_t output_at(const struct output *output)
{
    return output->start + output->len;
}

/* Makes room for at least len bytes (at most OUTPUT_RESERVE_MAX) at the end of what is written.
 * 0 or -errno. */
#define OUTPUT_RESERVE_MAX ((size_t)64 * 1024)
int output_reserve_slow(struct output *output);
static inline int output_reserve(struct output *output, size_t len)
{
    return len <= output->size - output->len ? 0 : output_reserve_slow(output);
}

/* Where reserved bytes go; output_commit then says how many they were. */
static inline uint8_t *output_end(struct output *output)
{
    return output->p + output->len;
}

static inline void output_commit(struct output *output, size_t len)
{
    output->len += len;
}

/* 0 or -errno. */
int output_append(struct output *output, const void *p, size_t len);

/* Everything to the file. 0 or -errno. */
int output_flush(struct output *output);

/* Begins anew at offset 0 with an empty file. 0 or -errno. */
int output_restart(struct output *output);

/* All len bytes at offset, in spite of signals and short writes or reads. 0 or -errno; -EIO: the
 * file ends before. */
int output_write_at(int fd, const void *p, size_t len, uint64_t offset);
int output_read_at(int fd, void *p, size_t len, uint64_t offset);
