/*
 * frame: see frame.h. MessagePack's tokens are a first byte, and behind it either a fixed number of
 * bytes, or a length and that many bytes, or a count of elements that follow as tokens.
 */
#include "proto/frame.h"

enum token_class {
    TOKEN_FIXED,  /* extra payload bytes follow */
    TOKEN_BYTES,  /* extra bytes of length follow, then the bytes; ext: one type byte more */
    TOKEN_ARRAY,  /* extra bytes of count follow, then the elements */
    TOKEN_MAP,    /* likewise, two elements each */
    TOKEN_INVALID /* 0xc1 */
};

struct token {
    enum token_class class;
    uint64_t len; /* without what TOKEN_BYTES, TOKEN_ARRAY and TOKEN_MAP announce; bytes */
    uint64_t n;   /* announced bytes or elements */
};

/* Outcomes of token_read. */
#define TOKEN_MORE 1

static uint64_t load_be(const uint8_t *p, size_t n)
{
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++)
        v = v << 8 | p[i];
    return v;
}

/* For the first bytes 0xc0 to 0xdf: class, and how many bytes of payload or length follow. */
static const struct {
    uint8_t class;
    uint8_t extra;
    uint8_t more; /* bytes behind the announced ones: the type byte of ext */
} table[32] = {
    [0x00] = {TOKEN_FIXED, 0, 0},  [0x01] = {TOKEN_INVALID, 0, 0}, /* nil, never used */
    [0x02] = {TOKEN_FIXED, 0, 0},  [0x03] = {TOKEN_FIXED, 0, 0},   /* false, true */
    [0x04] = {TOKEN_BYTES, 1, 0},  [0x05] = {TOKEN_BYTES, 2, 0},   /* bin 8, 16, 32 */
    [0x06] = {TOKEN_BYTES, 4, 0},  [0x07] = {TOKEN_BYTES, 1, 1},   /* ext 8, 16, 32 */
    [0x08] = {TOKEN_BYTES, 2, 1},  [0x09] = {TOKEN_BYTES, 4, 1},
    [0x0a] = {TOKEN_FIXED, 4, 0},  [0x0b] = {TOKEN_FIXED, 8, 0}, /* float 32, 64 */
    [0x0c] = {TOKEN_FIXED, 1, 0},  [0x0d] = {TOKEN_FIXED, 2, 0}, /* uint 8, 16, 32, 64 */
    [0x0e] = {TOKEN_FIXED, 4, 0},  [0x0f] = {TOKEN_FIXED, 8, 0},
    [0x10] = {TOKEN_FIXED, 1, 0},  [0x11] = {TOKEN_FIXED, 2, 0}, /* int 8, 16, 32, 64 */
    [0x12] = {TOKEN_FIXED, 4, 0},  [0x13] = {TOKEN_FIXED, 8, 0},
    [0x14] = {TOKEN_FIXED, 2, 0},  [0x15] = {TOKEN_FIXED, 3, 0}, /* fixext 1, 2, 4, 8, 16 */
    [0x16] = {TOKEN_FIXED, 5, 0},  [0x17] = {TOKEN_FIXED, 9, 0},
    [0x18] = {TOKEN_FIXED, 17, 0}, [0x19] = {TOKEN_BYTES, 1, 0}, /* str 8, 16, 32 */
    [0x1a] = {TOKEN_BYTES, 2, 0},  [0x1b] = {TOKEN_BYTES, 4, 0},
    [0x1c] = {TOKEN_ARRAY, 2, 0},  [0x1d] = {TOKEN_ARRAY, 4, 0}, /* array 16, 32 */
    [0x1e] = {TOKEN_MAP, 2, 0},    [0x1f] = {TOKEN_MAP, 4, 0},   /* map 16, 32 */
};

/* input: at least one byte. ret->len is set, also where the rest of the token is not there yet. */
static int token_read(struct slice input, struct token *ret)
{
    uint8_t first = input.p[0];
    if (first < 0x80 || first >= 0xe0) { /* fixint */
        *ret = (struct token){TOKEN_FIXED, 1, 0};
    } else if (first >= 0xa0 && first < 0xc0) { /* fixstr */
        *ret = (struct token){TOKEN_BYTES, 1, first & 0x1f};
    } else if (first < 0x90) { /* fixmap */
        *ret = (struct token){TOKEN_MAP, 1, first & 0x0f};
    } else if (first < 0xa0) { /* fixarray */
        *ret = (struct token){TOKEN_ARRAY, 1, first & 0x0f};
    } else {
        uint8_t class = table[first - 0xc0].class, extra = table[first - 0xc0].extra;
        *ret = (struct token){class, (uint64_t)1 + extra, 0};
        if (input.len < ret->len)
            return TOKEN_MORE;
        if (class != TOKEN_FIXED && class != TOKEN_INVALID)
            ret->n = load_be(input.p + 1, extra) + table[first - 0xc0].more;
    }
    return 0;
}

/* The value of an integer token that is not negative and fits 32 bits. */
static bool token_is_u32(struct slice input, const struct token *token, uint32_t *ret)
{
    uint8_t first = input.p[0];
    uint64_t value;
    if (token->class != TOKEN_FIXED)
        return false;
    if (first < 0x80) {
        value = first;
    } else if (first >= 0xcc && first <= 0xcf) {
        value = load_be(input.p + 1, token->len - 1);
    } else if (first >= 0xd0 && first <= 0xd3) {
        value = load_be(input.p + 1, token->len - 1);
        if (value >> (8 * (token->len - 1) - 1))
            return false; /* negative */
    } else {
        return false;
    }
    *ret = (uint32_t)value;
    return value <= UINT32_MAX;
}

static int broken(struct frame *frame, const char *reason)
{
    frame->reason = reason;
    return FRAME_BROKEN;
}

/* The first elements of the outermost array say what the message is and how to answer it. */
static int note_top_element(struct frame *frame, struct slice input, const struct token *token)
{
    uint32_t value;
    unsigned index = frame->n_top++;
    if (index == 0) {
        if (!token_is_u32(input, token, &value) || value > FRAME_NOTIFICATION)
            return broken(frame, "a message's first element is 0, 1 or 2");
        frame->kind = (uint8_t)value;
    } else if (index == 1 && frame->kind != FRAME_NOTIFICATION) {
        if (!token_is_u32(input, token, &value))
            return broken(frame, "a message id is an unsigned integer of at most 32 bits");
        frame->msgid = value;
        frame->has_msgid = frame->kind == FRAME_REQUEST;
    }
    return 0;
}

static void open_container(struct frame *frame, uint64_t n_elements)
{
    frame->owed += n_elements;
    if (frame->depth == FRAME_MAX_DEPTH)
        frame->is_too_deep = true;
    else if (n_elements > 0 && !frame->is_too_deep)
        frame->owed_at_level[frame->depth++] = n_elements;
}

static void close_containers(struct frame *frame)
{
    while (frame->depth > 0 && frame->owed_at_level[frame->depth - 1] == 0)
        frame->depth--;
}

static int too_large(struct frame *frame)
{
    frame->reason = "the message is longer than max_request_bytes";
    return FRAME_TOO_LARGE;
}

/* Takes one whole token (its announced bytes may still be on their way). */
static int take_token(struct frame *frame, struct slice input, const struct token *token)
{
    bool is_first = frame->at == 0;
    int r = 0;
    if (token->class == TOKEN_INVALID)
        return broken(frame, "the byte c1 is no MessagePack");
    if (is_first && (token->class != TOKEN_ARRAY || token->n < 2))
        return broken(frame, "a message is an array of 3 or 4 elements");
    if (!is_first && frame->depth == 1 && frame->n_top < 2)
        r = note_top_element(frame, input, token);
    if (r != 0)
        return r;
    if (!is_first) {
        frame->owed--;
        frame->n_elements++;
    }
    if (!is_first && !frame->is_too_deep)
        frame->owed_at_level[frame->depth - 1]--;
    frame->at += token->len;
    if (token->class == TOKEN_BYTES)
        frame->at += token->n;
    else if (token->class != TOKEN_FIXED)
        open_container(frame, token->class == TOKEN_MAP ? 2 * token->n : token->n);
    if (!frame->is_too_deep)
        close_containers(frame);
    return 0;
}

/* Every element that is owed takes a byte or more. */
static bool is_within_limit(const struct frame *frame)
{
    return frame->at <= frame->max_bytes && frame->owed <= frame->max_bytes - frame->at;
}

void frame_init(struct frame *frame, size_t max_bytes, uint64_t max_elements)
{
    *frame = (struct frame){.max_bytes = max_bytes, .max_elements = max_elements};
}

int frame_next(struct frame *frame, struct slice input, struct slice *ret_message)
{
    struct token token;
    if (frame->at == 0)
        frame_init(frame, frame->max_bytes, frame->max_elements);
    while (frame->at == 0 || frame->owed > 0) {
        if (frame->at >= input.len)
            return FRAME_MORE;
        struct slice rest = slice_of(input.p + frame->at, input.len - frame->at);
        int r = token_read(rest, &token);
        if (token.len > frame->max_bytes - frame->at)
            return too_large(frame);
        if (r == TOKEN_MORE)
            return FRAME_MORE;
        if ((r = take_token(frame, rest, &token)) != 0)
            return r;
        if (!is_within_limit(frame))
            return too_large(frame);
    }
    if (frame->at > input.len)
        return FRAME_MORE;
    *ret_message = slice_of(input.p, frame->at);
    frame->at = 0; /* what was found stays readable until the next call */
    if (frame->is_too_deep)
        return FRAME_TOO_DEEP;
    return frame->n_elements > frame->max_elements ? FRAME_TOO_MANY : 0;
}
