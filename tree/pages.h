/*
 * pages: what a set of pages is made of, for those who store it (profile.c). See act/pages.h.
 */
#pragma once

#include "act/pages.h"

/* Pages of one word: bit i of word w is page 64 * w + i. */
#define PAGES_WORD 64

struct act_pages {
    uint64_t size_bytes;
    uint64_t n_pages;
    uint64_t n_words;
    uint64_t words[]; /* no bit is set beyond n_pages */
};
