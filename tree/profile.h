/*
 * profile: a set of pages as bytes, in memory. docs/PROFILE.md has the layout. See act/pages.h.
 */
#pragma once

#include "tree/pages.h"

#include <stddef.h>

/* What stands before the chunks, and the digest behind them. */
#define PROFILE_HEADER_BYTES 64
#define PROFILE_DIGEST_BYTES 8

/* The most bytes that a profile of a file of so many bytes can have. */
uint64_t profile_max_bytes(uint64_t size_bytes);

/*
 * As many bytes as there are pages in the set need, at most profile_max_bytes.
 *
 * ret_data  owned by the caller: free
 *
 * 0, -ENOMEM, or -EFBIG: for a file of half an EiB.
 */
int profile_encode(const struct act_profile *about, const struct act_pages *pages,
                   uint8_t **ret_data, size_t *ret_len);

/* Does it begin as profiles do? Also a file with nothing in it does, and one that was cut off. */
bool profile_may_be_one(const uint8_t *data, size_t len);

/* Room for why a profile is refused. */
#define PROFILE_WHY_SIZE 160

/*
 * Is it one, and of the file that is wanted (see act_profile_read)? Looks at the header alone.
 *
 * data  the first len bytes of the profile; PROFILE_HEADER_BYTES are enough
 * why   filled unless it is 0
 *
 * 0, ACT_PROFILE_BROKEN or ACT_PROFILE_FOREIGN.
 */
int profile_check_header(const uint8_t *data, size_t len, const struct act_profile *wanted,
                         char why[PROFILE_WHY_SIZE]);

/* The whole of it: as act_profile_read. why is filled with an outcome alone. */
int profile_decode(const uint8_t *data, size_t len, const struct act_profile *wanted,
                   struct act_profile *ret_about, struct act_pages **ret_pages,
                   char why[PROFILE_WHY_SIZE]);
