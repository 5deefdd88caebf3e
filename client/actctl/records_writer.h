/*
 * records_writer: records in the formats that records.h tells, into a file.
 *
 * What was written reads back as the same records, with the same options. What a format cannot
 * carry is refused.
 */
#pragma once

#include "client/actctl/records.h"

#include <stdio.h>

struct records_writer {
    FILE *file; /* borrowed */
    struct records_options options;
    uint8_t *p; /* owned: what is not in the file yet */
    size_t size, used;
};

/* 0 or -ENOMEM. */
int records_writer_init(struct records_writer *writer, FILE *file,
                        const struct records_options *options);
void records_writer_deinit(struct records_writer *writer);

/* 0; RECORDS_BAD: the format cannot carry it, and nothing of it was written; or -errno. */
int records_write(struct records_writer *writer, const struct record *record,
                  const char **ret_reason);

/* What is left goes to the file. 0 or -errno. */
int records_flush(struct records_writer *writer);
