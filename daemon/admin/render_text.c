/*
 * render_text: see render_text.h.
 */
#include "daemon/admin/render_text.h"

#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* U+FFFD. */
#define REPLACEMENT "\xef\xbf\xbd"

/* How many bytes the character at the begin of the text has; 0: there is none that is right. */
static size_t utf8_character(const uint8_t *text, size_t len)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = text[0] < 0x80   ? 1
               : text[0] < 0xc0 ? 0
               : text[0] < 0xe0 ? 2
               : text[0] < 0xf0 ? 3
                                : 4;
    if (n <= 1)
        return n;
    if (n > len || text[0] > 0xf4)
        return 0;
    uint32_t code = text[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 0;
        code = code << 6 | (text[i] & 0x3f);
    }
    return code < least[n] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000) ? 0 : n;
}

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
