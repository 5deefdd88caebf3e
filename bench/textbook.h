/*
 * textbook: the yardstick of bench/engine: a reader of the format as anybody would write it after
 * docs/FORMAT.md. It decodes every sibling before the one it wants, checks what a careful
 * programmer checks, and knows nothing of tables. It is not to be made faster.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct textbook {
    const uint8_t *bytes; /* the file, borrowed */
    uint64_t size;        /* bytes */
    uint64_t root;        /* offset */
};

/* False: not an ACT file. */
bool textbook_init(struct textbook *file, const void *bytes, size_t size);

/* False: key has no value, or the file is damaged. */
bool textbook_get(const struct textbook *file, const uint8_t *key, size_t key_len,
                  uint64_t *ret_value);
