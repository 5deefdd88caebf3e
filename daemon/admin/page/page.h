/*
 * page: what GET / answers with, made by embed.sh from the files beside this one when the daemon is
 * built.
 */
#pragma once

#include <stddef.h>

/* UTF-8, not ended by a NUL. */
extern const char page_html[];
extern const size_t page_html_size;

/* The Content-Security-Policy that belongs to it. */
extern const char page_policy[];
