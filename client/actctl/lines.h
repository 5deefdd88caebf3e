/*
 * lines: a descriptor, line by line, in bounded memory.
 */
#pragma once

#include "base/buf.h"

/* Outcomes of lines_next. */
#define LINES_END      1
#define LINES_TOO_LONG 2 /* line `number` is longer than max_bytes */

struct lines {
    int fd;           /* borrowed */
    size_t max_bytes; /* of a line, without its newline */
    size_t n_seen;    /* bytes of the content that hold no newline */
    uint64_t number;  /* of the line given last, from 1 */
    bool is_at_end;
    struct buf_pool pool;
    struct buf buf;
};

void lines_init(struct lines *lines, int fd, size_t max_bytes);
void lines_deinit(struct lines *lines);

/* Would lines_next wait for its input? Then it is time to finish what was read so far. */
bool lines_would_wait(struct lines *lines);

/* *ret_line: without its newline, valid until the next call. A last line may lack the newline.
 * 0, an outcome above, or -errno. */
int lines_next(struct lines *lines, struct slice *ret_line);
