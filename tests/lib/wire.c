/*
 * wire: see wire.h.
 */
#include "wire.h"

#define DEPTH_MAX 8

/* The head of a value: its type, and its number, length or count. */
struct head {
    enum wire_type type;
    size_t len; /* of the head itself, bytes */
    uint64_t n;
};

/* First bytes from 0xc0 on that are followed by so many bytes of number, length or count. */
static const struct {
    uint8_t first, bytes;
    enum wire_type type;
} heads[] = {
    {0xc4, 1, WIRE_BYTES},  {0xc5, 2, WIRE_BYTES},  {0xc6, 4, WIRE_BYTES},  {0xcc, 1, WIRE_NUMBER},
    {0xcd, 2, WIRE_NUMBER}, {0xce, 4, WIRE_NUMBER}, {0xcf, 8, WIRE_NUMBER}, {0xd9, 1, WIRE_TEXT},
    {0xda, 2, WIRE_TEXT},   {0xdb, 4, WIRE_TEXT},   {0xdc, 2, WIRE_ARRAY},  {0xdd, 4, WIRE_ARRAY},
    {0xde, 2, WIRE_MAP},    {0xdf, 4, WIRE_MAP},
};

static struct head short_head(uint8_t first)
{
    if (first < 0x80)
        return (struct head){WIRE_NUMBER, 1, first};
    if (first < 0x90)
        return (struct head){WIRE_MAP, 1, first & 0x0f};
    if (first < 0xa0)
        return (struct head){WIRE_ARRAY, 1, first & 0x0f};
    if (first < 0xc0)
        return (struct head){WIRE_TEXT, 1, first & 0x1f};
    if (first == 0xc0)
        return (struct head){WIRE_NIL, 1, 0};
    if (first == 0xc2 || first == 0xc3)
        return (struct head){WIRE_BOOL, 1, first == 0xc3};
    return (struct head){WIRE_NOTHING, 0, 0};
}

static struct head head_of(const struct wire *wire)
{
    static const struct head nothing = {.type = WIRE_NOTHING};
    struct slice rest = wire->rest;
    if (wire->wrong || rest.len == 0)
        return nothing;
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++) {
        if (rest.p[0] != heads[i].first)
            continue;
        struct head head = {heads[i].type, (size_t)1 + heads[i].bytes, 0};
        if (rest.len < head.len)
            return nothing;
        for (size_t k = 1; k < head.len; k++)
            head.n = head.n << 8 | rest.p[k];
        return head;
    }
    return short_head(rest.p[0]);
}

static void drop(struct wire *wire, size_t len)
{
    wire->rest = slice_of(wire->rest.p + len, wire->rest.len - len);
}

/* Takes the head of a value of that type. */
static uint64_t take(struct wire *wire, enum wire_type type, const char *wrong)
{
    struct head head = head_of(wire);
    wire_want(wire, head.type == type, wrong);
    if (wire->wrong)
        return 0;
    drop(wire, head.len);
    return head.n;
}

static struct slice take_string(struct wire *wire, enum wire_type type, const char *wrong)
{
    uint64_t len = take(wire, type, wrong);
    wire_want(wire, len <= wire->rest.len, "a string that is cut");
    if (wire->wrong)
        return slice_of(NULL, 0);
    struct slice string = slice_of(wire->rest.p, (size_t)len);
    drop(wire, (size_t)len);
    return string;
}

struct wire wire_of(struct slice bytes)
{
    return (struct wire){.rest = bytes};
}

void wire_want(struct wire *wire, bool is_right, const char *wrong)
{
    if (!wire->wrong && !is_right)
        wire->wrong = wrong;
}

enum wire_type wire_type(const struct wire *wire)
{
    return head_of(wire).type;
}

void wire_nil(struct wire *wire)
{
    take(wire, WIRE_NIL, "no nil where one is wanted");
}

bool wire_bool(struct wire *wire)
{
    return take(wire, WIRE_BOOL, "no true or false where one is wanted");
}

uint64_t wire_number(struct wire *wire)
{
    return take(wire, WIRE_NUMBER, "no number where one is wanted");
}

struct slice wire_text(struct wire *wire)
{
    struct slice text = take_string(wire, WIRE_TEXT, "no text where one is wanted");
    for (size_t i = 0; i < text.len; i++)
        wire_want(wire, text.p[i] >= 0x20 && text.p[i] < 0x7f, "a text that cannot be printed");
    return text;
}

struct slice wire_bytes(struct wire *wire)
{
    return take_string(wire, WIRE_BYTES, "no bytes where some are wanted");
}

/* An element has one byte or more. */
size_t wire_array(struct wire *wire)
{
    uint64_t n = take(wire, WIRE_ARRAY, "no array where one is wanted");
    wire_want(wire, n <= wire->rest.len, "an array that is cut");
    return wire->wrong ? 0 : (size_t)n;
}

size_t wire_map(struct wire *wire)
{
    uint64_t n = take(wire, WIRE_MAP, "no map where one is wanted");
    wire_want(wire, n <= wire->rest.len / 2, "a map that is cut");
    return wire->wrong ? 0 : (size_t)n;
}

static void skip(struct wire *wire, unsigned depth)
{
    size_t n = 0;
    wire_want(wire, depth < DEPTH_MAX, "a value that is nested too deep");
    switch (wire_type(wire)) {
    case WIRE_NIL:
        wire_nil(wire);
        break;
    case WIRE_BOOL:
        wire_bool(wire);
        break;
    case WIRE_NUMBER:
        wire_number(wire);
        break;
    case WIRE_TEXT:
        wire_text(wire);
        break;
    case WIRE_BYTES:
        wire_bytes(wire);
        break;
    case WIRE_ARRAY:
        n = wire_array(wire);
        break;
    case WIRE_MAP:
        n = 2 * wire_map(wire);
        break;
    case WIRE_NOTHING:
        wire_want(wire, false, "no value where one is wanted");
        break;
    }
    for (; n > 0 && !wire->wrong; n--)
        skip(wire, depth + 1);
}

void wire_skip(struct wire *wire)
{
    skip(wire, 0);
}

void wire_want_text(struct wire *wire, const char *text)
{
    struct slice found = wire_text(wire);
    wire_want(wire, slice_equal(found, slice_of_str(text)), "another text");
}

void wire_want_array(struct wire *wire, size_t n)
{
    size_t found = wire_array(wire);
    wire_want(wire, found == n, "an array of another length");
}

void wire_want_map(struct wire *wire, size_t n)
{
    size_t found = wire_map(wire);
    wire_want(wire, found == n, "a map of another size");
}

void wire_want_end(struct wire *wire)
{
    wire_want(wire, wire->rest.len == 0, "something follows");
}
