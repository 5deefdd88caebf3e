/*
 * records_json: see records_json.h.
 */
#include "client/actctl/records_json.h"

#include "client/actctl/text.h"

struct parser {
    uint8_t *p; /* what is to be parsed next */
    const uint8_t *end;
    const char *reason; /* why it failed; NULL until then */
};

static bool fail(struct parser *parser, const char *reason)
{
    if (!parser->reason)
        parser->reason = reason;
    return false;
}

static void skip_space(struct parser *parser)
{
    while (parser->p < parser->end && memchr(" \t\r", *parser->p, 3))
        parser->p++;
}

/* The next token is this character: it is taken. */
static bool take(struct parser *parser, uint8_t c)
{
    skip_space(parser);
    if (parser->p == parser->end || *parser->p != c)
        return false;
    parser->p++;
    return true;
}

static bool parse_hex4(struct parser *parser, uint32_t *ret_unit)
{
    uint8_t bytes[2];
    size_t len;
    if (parser->end - parser->p < 4 || text_parse_hex(slice_of(parser->p, 4), bytes, &len) != 0)
        return fail(parser, "\\u needs four hex digits");
    *ret_unit = (uint32_t)bytes[0] << 8 | bytes[1];
    parser->p += 4;
    return true;
}

static uint8_t *write_utf8(uint8_t *to, uint32_t c)
{
    if (c < 0x80) {
        *to++ = (uint8_t)c;
        return to;
    }
    if (c < 0x800) {
        *to++ = (uint8_t)(0xc0 | c >> 6);
    } else if (c < 0x10000) {
        *to++ = (uint8_t)(0xe0 | c >> 12);
        *to++ = (uint8_t)(0x80 | (c >> 6 & 0x3f));
    } else {
        *to++ = (uint8_t)(0xf0 | c >> 18);
        *to++ = (uint8_t)(0x80 | (c >> 12 & 0x3f));
        *to++ = (uint8_t)(0x80 | (c >> 6 & 0x3f));
    }
    *to++ = (uint8_t)(0x80 | (c & 0x3f));
    return to;
}

/* Behind "\u". */
static bool unescape_unicode(struct parser *parser, uint8_t **to)
{
    const char *half = "half a surrogate pair is no character: write bytes as {\"hex\": \"...\"}";
    uint32_t c, low;
    if (!parse_hex4(parser, &c))
        return false;
    if (c >= 0xdc00 && c <= 0xdfff)
        return fail(parser, half);
    if (c >= 0xd800 && c <= 0xdbff) {
        if (parser->end - parser->p < 6 || parser->p[0] != '\\' || parser->p[1] != 'u')
            return fail(parser, half);
        parser->p += 2;
        if (!parse_hex4(parser, &low))
            return false;
        if (low < 0xdc00 || low > 0xdfff)
            return fail(parser, half);
        c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    }
    *to = write_utf8(*to, c);
    return true;
}

/* Behind the backslash. */
static bool unescape(struct parser *parser, uint8_t **to)
{
    static const char from_letter[] = "\"\\/bfnrt", to_byte[] = "\"\\/\b\f\n\r\t";
    if (parser->p == parser->end)
        return fail(parser, "a text without its closing quote");
    uint8_t letter = *parser->p++;
    if (letter == 'u')
        return unescape_unicode(parser, to);
    const char *found = memchr(from_letter, letter, sizeof from_letter - 1);
    if (!found)
        return fail(parser, "an escape that JSON does not know");
    *(*to)++ = (uint8_t)to_byte[found - from_letter];
    return true;
}

/* Behind the opening quote. An escape is never shorter than what it stands for. */
static bool parse_text(struct parser *parser, struct slice *ret_text)
{
    uint8_t *text = parser->p, *to = parser->p;
    while (parser->p < parser->end) {
        uint8_t c = *parser->p++;
        if (c == '"') {
            *ret_text = slice_of(text, (size_t)(to - text));
            if (!text_is_utf8(*ret_text))
                return fail(parser, "not UTF-8: write bytes as {\"hex\": \"...\"}");
            return true;
        }
        if (c < 0x20)
            return fail(parser, "a control character in a text must be escaped");
        if (c != '\\')
            *to++ = c;
        else if (!unescape(parser, &to))
            return false;
    }
    return fail(parser, "a text without its closing quote");
}

/* A byte string: "text" or {"hex": "00ff"}. */
static bool parse_bytes(struct parser *parser, struct slice *ret_bytes, const char *otherwise)
{
    struct slice name, hex;
    size_t len;
    if (take(parser, '"'))
        return parse_text(parser, ret_bytes);
    if (!take(parser, '{') || !take(parser, '"'))
        return fail(parser, otherwise);
    if (!parse_text(parser, &name))
        return false;
    if (!slice_equal(name, slice_of_str("hex")) || !take(parser, ':') || !take(parser, '"'))
        return fail(parser, otherwise);
    uint8_t *digits = parser->p;
    if (!parse_text(parser, &hex))
        return false;
    if (text_parse_hex(hex, digits, &len) != 0)
        return fail(parser, "not hex: write two hex digits for each byte");
    *ret_bytes = slice_of(digits, len);
    return take(parser, '}') || fail(parser, otherwise);
}

static bool parse_number(struct parser *parser, uint64_t *ret_value)
{
    skip_space(parser);
    uint8_t *digits = parser->p;
    while (parser->p < parser->end && memchr("0123456789+-.eE", *parser->p, 15))
        parser->p++;
    struct slice text = slice_of(digits, (size_t)(parser->p - digits));
    bool is_padded = text.len > 1 && text.p[0] == '0';
    if (is_padded || !records_parse_u64(text, ret_value))
        return fail(parser, "the value is not a whole number from 0 to 18446744073709551615");
    return true;
}

static bool parse_value(struct parser *parser, const struct records_options *options,
                        struct record *record)
{
    if (options->is_bytes)
        return parse_bytes(parser, &record->bytes,
                           "the value is neither a text nor {\"hex\": \"...\"}");
    return parse_number(parser, &record->value);
}

static bool parse_member(struct parser *parser, const struct records_options *options,
                         struct record *record, struct records_fault *seen)
{
    struct slice name;
    if (!take(parser, '"'))
        return fail(parser, "the name of a member is missing");
    if (!parse_text(parser, &name))
        return false;
    bool is_key = slice_equal(name, slice_of_str("key"));
    if (!is_key && !slice_equal(name, slice_of_str("value")))
        return fail(parser, "a member that is neither \"key\" nor \"value\"");
    if (is_key ? seen->has_key : seen->has_value)
        return fail(parser, is_key ? "\"key\" comes twice" : "\"value\" comes twice");
    if (!is_key && options->is_keys_only)
        return fail(parser, "a value where there are to be keys only");
    if (!take(parser, ':'))
        return fail(parser, "a colon is missing");
    if (!is_key)
        return seen->has_value = parse_value(parser, options, record);
    return seen->has_key = parse_bytes(parser, &record->key,
                                       "the key is neither a text nor {\"hex\": \"...\"}");
}

static bool parse_object(struct parser *parser, const struct records_options *options,
                         struct record *record, struct records_fault *seen)
{
    if (!take(parser, '{'))
        return fail(parser, "not an object: write {\"key\": ..., \"value\": ...}");
    if (!take(parser, '}')) {
        do {
            if (!parse_member(parser, options, record, seen))
                return false;
        } while (take(parser, ','));
        if (!take(parser, '}'))
            return fail(parser, "a comma or the closing brace is missing");
    }
    skip_space(parser);
    if (parser->p != parser->end)
        return fail(parser, "something stands behind the object: write one a line");
    if (!seen->has_key)
        return fail(parser, "\"key\" is missing");
    if (!seen->has_value && !options->is_keys_only)
        return fail(parser, "\"value\" is missing (--keys-only takes keys alone)");
    return true;
}

int records_json_parse(uint8_t *line, size_t len, const struct records_options *options,
                       struct record *ret_record, struct records_fault *ret_fault)
{
    struct parser parser = {.p = line, .end = line + len};
    struct record record = {.bytes = slice_of(line, 0)};
    struct records_fault seen = {0};
    if (!parse_object(&parser, options, &record, &seen)) {
        *ret_fault = (struct records_fault){.reason = parser.reason,
                                            .has_key = seen.has_key,
                                            .is_decoded = true,
                                            .key = record.key};
        return RECORDS_BAD;
    }
    *ret_record = record;
    return 0;
}

/* \u00NN for each byte; {"hex":""} around two digits a byte. */
size_t records_json_room(size_t len)
{
    return 6 * len + 16;
}

static uint8_t *write_str(uint8_t *to, const char *text)
{
    size_t len = strlen(text);
    memcpy(to, text, len);
    return to + len;
}

/* As json-c does, which prints the other commands' JSON. */
static uint8_t *write_escaped(uint8_t *to, uint8_t c)
{
    static const char bytes[] = "\"\\\b\f\n\r\t", letters[] = "\"\\bfnrt";
    const char *found = memchr(bytes, c, sizeof bytes - 1);
    *to++ = '\\';
    if (!found)
        return text_put_hex(write_str(to, "u00"), slice_of(&c, 1));
    *to++ = (uint8_t)letters[found - bytes];
    return to;
}

uint8_t *records_json_write(uint8_t *to, struct slice bytes, bool is_hex)
{
    if (is_hex || !text_is_utf8(bytes)) {
        to = text_put_hex(write_str(to, "{\"hex\":\""), bytes);
        return write_str(to, "\"}");
    }
    *to++ = '"';
    for (size_t i = 0; i < bytes.len; i++) {
        uint8_t c = bytes.p[i];
        if (c < 0x20 || c == '"' || c == '\\')
            to = write_escaped(to, c);
        else
            *to++ = c;
    }
    *to++ = '"';
    return to;
}
