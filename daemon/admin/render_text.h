/*
 * render_text: text that may be anything, in JSON, which is UTF-8. A path has the bytes that
 * somebody gave it, and a line that was cut to its room may end in half a character.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct json_object;

/* How many bytes at the begin of the text are UTF-8. */
size_t render_text_prefix(const uint8_t *text, size_t len);

/* A string of JSON, with U+FFFD for each byte that is none. NULL: no memory. */
struct json_object *render_text(const char *text);
