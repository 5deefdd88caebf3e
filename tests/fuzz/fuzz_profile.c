/*
 * fuzz_profile: any bytes as a profile, with the magic, the size and the digest made to fit, so
 * that its chunks are believed as far as they can be. A set that comes out of it has no page that
 * the file does not have, as many as it says, and comes back out of a profile of its own, which is
 * not longer.
 *
 * Input: a byte (bit 0: the profile stays as it is), the file's size in pages (u24, little-endian),
 * less the byte behind it in units of 16 bytes, then the profile.
 */
#include "tree/le.h"
#include "tree/profile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* Some chunks, so that they can be in disorder; not so many that it takes time. */
#define PAGES_MAX 150000

/* What stands before the profile. */
#define INPUT_HEADER 5

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const char *wrong)
{
    if (!wrong)
        return;
    fprintf(stderr, "%s\n", wrong);
    abort();
}

static void seal(uint8_t *profile, size_t len, const struct act_profile *wanted)
{
    memcpy(profile, "ACTPROF1", 8);
    store_le(profile + 8, 1, 4);
    store_le(profile + 24, wanted->size_bytes, 8);
    store_le(profile + 32, wanted->root_offset, 8);
    store_le(profile + 60, ACT_PAGE_BYTES, 4);
    store_le(profile + len - 8, XXH3_64bits(profile, len - 8), 8);
}

/* Each run, one after the other: as many pages as are counted, all in the file. */
static void check_set(const struct act_pages *pages)
{
    uint64_t at = 0, first, n, count = 0;
    while (act_pages_next(pages, at, &first, &n)) {
        if (first < at || n == 0 || first + n > act_pages_total(pages))
            check("a run outside of the file");
        if (act_pages_count_in(pages, first, n) != n)
            check("a run with holes");
        count += n;
        at = first + n;
    }
    if (count != act_pages_count(pages))
        check("the runs are not all pages");
    if (pages->n_words > 0 && pages->n_pages % PAGES_WORD != 0 &&
        pages->words[pages->n_words - 1] >> pages->n_pages % PAGES_WORD != 0)
        check("a page behind the file");
}

static void check_again(const struct act_profile *about, const struct act_pages *pages, size_t most)
{
    struct act_pages *again = NULL;
    struct act_profile found;
    char why[PROFILE_WHY_SIZE];
    uint8_t *encoded;
    size_t len;
    if (profile_encode(about, pages, &encoded, &len) != 0)
        check("what was decoded is not encoded");
    if (len > most)
        check("our own profile is longer");
    if (profile_decode(encoded, len, about, &found, &again, why) != 0)
        check("our own profile is refused");
    if (memcmp(again->words, pages->words, pages->n_words * sizeof *pages->words) != 0)
        check("another set comes back");
    if (found.identity != about->identity || found.saved_s != about->saved_s ||
        found.source != about->source)
        check("other facts come back");
    act_pages_free(again);
    free(encoded);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < INPUT_HEADER)
        return 0;
    uint64_t n_pages = load_le(data + 1, 3) % PAGES_MAX;
    struct act_profile wanted = {.size_bytes = n_pages * ACT_PAGE_BYTES, .root_offset = 4711};
    if (n_pages > 0)
        wanted.size_bytes -= 16 * (uint64_t)data[4];
    size_t len = size - INPUT_HEADER;
    /* Of exactly that size, so that the sanitizer sees a byte too far. */
    uint8_t *profile = malloc(len > 0 ? len : 1);
    if (!profile)
        return 0;
    memcpy(profile, data + INPUT_HEADER, len);
    if ((data[0] & 1) == 0 && len >= PROFILE_HEADER_BYTES + PROFILE_DIGEST_BYTES)
        seal(profile, len, &wanted);

    struct act_profile about;
    struct act_pages *pages = NULL;
    char why[PROFILE_WHY_SIZE] = "";
    int r = profile_decode(profile, len, &wanted, &about, &pages, why);
    if (r != 0 && (pages || r < 0 || why[0] == '\0'))
        check("refused without a reason, or with a set");
    if (r == 0) {
        check_set(pages);
        check_again(&about, pages, len);
    }
    act_pages_free(pages);
    free(profile);
    return 0;
}
