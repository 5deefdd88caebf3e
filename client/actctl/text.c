/*
 * text: see text.h.
 */
#include "client/actctl/text.h"

#include <inttypes.h>

static const char hex_digits[] = "0123456789abcdef";

/* First and last code points that are not to be seen on a terminal, ascending: controls, soft
 * hyphen, joiners, marks and overrides of direction, line separators, tags, non-characters. */
static const uint32_t unseen[][2] = {
    {0x000000, 0x00001f}, {0x00007f, 0x00009f}, {0x0000ad, 0x0000ad}, {0x00061c, 0x00061c},
    {0x00180e, 0x00180e}, {0x00200b, 0x00200f}, {0x002028, 0x00202e}, {0x002060, 0x00206f},
    {0x00fdd0, 0x00fdef}, {0x00feff, 0x00feff}, {0x00fff0, 0x00fffb}, {0x00fffe, 0x00ffff},
    {0x0e0000, 0x10ffff},
};

static bool is_seen(uint32_t c)
{
    for (size_t i = 0; i < sizeof unseen / sizeof *unseen; i++)
        if (c <= unseen[i][1])
            return c < unseen[i][0];
    return false;
}

/* The character that bytes begin with: its length, 0 if it is not UTF-8. Shortest forms only, no
 * surrogates, at most U+10FFFF. */
static size_t utf8_read(struct slice bytes, uint32_t *ret_c)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    uint8_t first = bytes.p[0];
    size_t len = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (len == 0 || first > 0xf4 || len > bytes.len)
        return 0;
    uint32_t c = len == 1 ? first : first & (0xffu >> (len + 1));
    for (size_t i = 1; i < len; i++) {
        if ((bytes.p[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (bytes.p[i] & 0x3f);
    }
    if (c < least[len] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
        return 0;
    *ret_c = c;
    return len;
}

static void write_escaped(FILE *file, uint8_t byte)
{
    switch (byte) {
    case '\t':
        fputs("\\t", file);
        break;
    case '\n':
        fputs("\\n", file);
        break;
    case '\r':
        fputs("\\r", file);
        break;
    case '\\':
        fputs("\\\\", file);
        break;
    default:
        fprintf(file, "\\x%02x", byte);
    }
}

/* How many bytes at the start may be written as they are. */
static size_t plain_len(struct slice bytes, unsigned flags)
{
    uint32_t c;
    uint8_t first = bytes.p[0];
    if (first == '\\')
        return flags & TEXT_BACKSLASH ? 0 : 1;
    if (first < 0x80)
        return is_seen(first) ? 1 : 0;
    if (!(flags & TEXT_UTF8))
        return 0;
    size_t len = utf8_read(bytes, &c);
    return len > 0 && is_seen(c) ? len : 0;
}

static int hex_value(uint8_t digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    if (digit >= 'a' && digit <= 'f')
        return digit - 'a' + 10;
    if (digit >= 'A' && digit <= 'F')
        return digit - 'A' + 10;
    return -1;
}

void text_write(FILE *file, struct slice bytes, unsigned flags)
{
    size_t written = 0, i = 0;
    while (i < bytes.len) {
        size_t len = plain_len(slice_of(bytes.p + i, bytes.len - i), flags);
        i += len;
        if (len > 0)
            continue;
        fwrite(bytes.p + written, 1, i - written, file);
        write_escaped(file, bytes.p[i++]);
        written = i;
    }
    if (i > written)
        fwrite(bytes.p + written, 1, i - written, file);
}

void text_write_hex(FILE *file, struct slice bytes)
{
    for (size_t i = 0; i < bytes.len; i++) {
        putc(hex_digits[bytes.p[i] >> 4], file);
        putc(hex_digits[bytes.p[i] & 15], file);
    }
}

uint8_t *text_put_hex(uint8_t *to, struct slice bytes)
{
    for (size_t i = 0; i < bytes.len; i++) {
        *to++ = (uint8_t)hex_digits[bytes.p[i] >> 4];
        *to++ = (uint8_t)hex_digits[bytes.p[i] & 15];
    }
    return to;
}

const char *text_grouped(uint64_t number, char text[TEXT_GROUPED_SIZE])
{
    char digits[21];
    int n = snprintf(digits, sizeof digits, "%" PRIu64, number);
    char *to = text;
    for (int i = 0; i < n; i++) {
        if (i > 0 && (n - i) % 3 == 0)
            *to++ = ',';
        *to++ = digits[i];
    }
    *to = '\0';
    return text;
}

bool text_is_utf8(struct slice bytes)
{
    uint32_t c;
    for (size_t i = 0, len; i < bytes.len; i += len) {
        len = utf8_read(slice_of(bytes.p + i, bytes.len - i), &c);
        if (len == 0)
            return false;
    }
    return true;
}

int text_parse_hex(struct slice hex, uint8_t *bytes, size_t *ret_len)
{
    if (hex.len % 2 != 0)
        return TEXT_BAD;
    /* First: what is wrong must still be there to be shown. */
    for (size_t i = 0; i < hex.len; i++)
        if (hex_value(hex.p[i]) < 0)
            return TEXT_BAD;
    for (size_t i = 0; i < hex.len; i += 2)
        bytes[i / 2] = (uint8_t)(hex_value(hex.p[i]) << 4 | hex_value(hex.p[i + 1]));
    *ret_len = hex.len / 2;
    return 0;
}
