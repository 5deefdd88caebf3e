/*
 * utf8: what is a character of UTF-8, and what only looks like one.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* How many bytes the character at the begin of the text has, of which there is at least one; 0:
 * there is none that is right. */
size_t utf8_character(const uint8_t *text, size_t len);
