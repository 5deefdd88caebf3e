/*
 * bytes: owned bytes of exactly their size, so that a sanitizer sees each read beyond them.
 * What cannot be had (a missing file, no memory) ends the test program.
 */
#pragma once

#include "base/slice.h"

struct bytes {
    uint8_t *p; /* owned; never NULL */
    size_t len;
};

struct bytes bytes_copy(const void *p, size_t len);
/* Hex digits; spaces, '|' and line ends between them are skipped. */
struct bytes bytes_from_hex(const char *hex);
/* The file at path; if it does not exist, the test program ends. */
struct bytes bytes_read_file(const char *path);
void bytes_free(struct bytes *bytes);

/* The path of a file in tests/data, in a static buffer that the next call overwrites. */
const char *test_data_path(const char *name);
