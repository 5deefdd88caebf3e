/*
 * text: keys and foreign text, to and from people.
 */
#pragma once

#include "base/slice.h"

#include <stdio.h>

/* How foreign bytes are written. */
#define TEXT_UTF8      1 /* the reader takes UTF-8: its printable characters stay as they are */
#define TEXT_BACKSLASH 2 /* a backslash is doubled, so that the text can be read back */

/*
 * Writes bytes so that a terminal just prints them, and one line stays one line: \t, \n, \r and
 * \xNN for what is not printable. In UTF-8 also characters that cannot be seen or that turn the
 * direction of writing are escaped, byte by byte.
 */
void text_write(FILE *file, struct slice bytes, unsigned flags);

/* Two lower-case digits a byte. */
void text_write_hex(FILE *file, struct slice bytes);

/* The same into memory. Result: behind them. */
uint8_t *text_put_hex(uint8_t *to, struct slice bytes);

/* A number for people, 1,234,567: written to text, and the result. */
#define TEXT_GROUPED_SIZE 27
const char *text_grouped(uint64_t number, char text[TEXT_GROUPED_SIZE]);

/* Is it well-formed UTF-8 (RFC 3629)? */
bool text_is_utf8(struct slice bytes);

/* Outcome of text_parse_hex. */
#define TEXT_BAD 1

/* hex digits, upper or lower case -> bytes (room for half as many). The two may be the same memory.
 * 0, or TEXT_BAD: an odd number of digits, or something else among them; nothing is written then.
 */
int text_parse_hex(struct slice hex, uint8_t *bytes, size_t *ret_len);
