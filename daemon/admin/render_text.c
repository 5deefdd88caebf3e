/*
 * render_text: see render_text.h.
 */
#include "daemon/admin/render_text.h"

#include "base/utf8.h"

#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* U+FFFD. */
#define REPLACEMENT "\xef\xbf\xbd"

size_t render_text_prefix(const uint8_t *text, size_t len)
{
    size_t at = 0, n;
    while (at < len && (n = utf8_character(text + at, len - at)) > 0)
        at += n;
    return at;
}

json_object *render_text(const char *text)
{
    size_t left = strlen(text), size;
    char *fixed = NULL;
    if (render_text_prefix((const uint8_t *)text, left) == left)
        return json_object_new_string(text);
    FILE *out = open_memstream(&fixed, &size);
    if (!out)
        return NULL;
    while (left > 0) {
        size_t n = render_text_prefix((const uint8_t *)text, left);
        fwrite(text, 1, n, out);
        if (n == left)
            break;
        fputs(REPLACEMENT, out);
        text += n + 1;
        left -= n + 1;
    }
    json_object *object = fclose(out) == 0 ? json_object_new_string(fixed) : NULL;
    free(fixed);
    return object;
}
