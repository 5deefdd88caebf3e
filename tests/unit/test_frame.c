/*
 * frame: where a message ends, however it arrives, and what is refused.
 */
#include "bytes.h"
#include "proto/frame.h"
#include "unit.h"

#include <stdlib.h>

#define MAX_BYTES 65536

/* How a stream of bytes ends for the frame. */
struct outcome {
    int r;
    size_t len; /* of the message, if there is one */
    bool has_msgid;
    uint8_t kind;
    uint32_t msgid;
};

/* Feeds the first `cut` bytes, then `step` more at a time, each time in a buffer of exactly its
 * size, until something other than FRAME_MORE comes or all is fed. */
static struct outcome feed(const struct bytes *input, size_t max_bytes, size_t cut, size_t step)
{
    struct frame frame;
    struct slice message = {0};
    int r = FRAME_MORE;
    size_t fed = cut < input->len ? cut : input->len;
    frame_init(&frame, max_bytes, UINT64_MAX);
    for (;;) {
        struct bytes exact = bytes_copy(input->p, fed);
        r = frame_next(&frame, slice_of(exact.p, exact.len), &message);
        assert_true(r != FRAME_MORE || fed < max_bytes);
        bytes_free(&exact);
        if (r != FRAME_MORE || fed == input->len)
            break;
        fed = step < input->len - fed ? fed + step : input->len;
    }
    bool is_message = r == 0 || r == FRAME_TOO_DEEP;
    if (r == FRAME_BROKEN || r == FRAME_TOO_LARGE)
        assert_non_null(frame.reason);
    return (struct outcome){.r = r,
                            .len = is_message ? message.len : 0,
                            .has_msgid = frame.has_msgid,
                            .kind = frame.kind,
                            .msgid = frame.has_msgid ? frame.msgid : 0};
}

static void assert_same(const struct outcome *a, const struct outcome *b)
{
    assert_int_equal(a->r, b->r);
    assert_int_equal(a->len, b->len);
    assert_int_equal(a->has_msgid, b->has_msgid);
    assert_int_equal(a->msgid, b->msgid);
    if (a->r == 0)
        assert_int_equal(a->kind, b->kind);
}

/* Whole, in two pieces cut everywhere, and byte by byte: always the same. */
static struct outcome feed_bytes(const struct bytes *input, size_t max_bytes)
{
    struct outcome whole = feed(input, max_bytes, input->len, 0), other;
    for (size_t cut = 0; cut < input->len; cut++) {
        other = feed(input, max_bytes, cut, input->len);
        assert_same(&whole, &other);
    }
    for (size_t step = 1; step < 5; step++) {
        other = feed(input, max_bytes, 0, step);
        assert_same(&whole, &other);
    }
    return whole;
}

static struct outcome feed_hex(const char *hex, size_t max_bytes)
{
    struct bytes input = bytes_from_hex(hex);
    struct outcome outcome = feed_bytes(&input, max_bytes);
    bytes_free(&input);
    return outcome;
}

/* hex is one whole message: nothing less is one, and what follows does not belong to it. */
static void assert_message(const char *hex, enum frame_kind kind)
{
    struct bytes message = bytes_from_hex(hex);
    struct outcome outcome = feed_bytes(&message, MAX_BYTES);
    assert_int_equal(outcome.r, 0);
    assert_int_equal(outcome.len, message.len);
    assert_int_equal(outcome.kind, kind);
    for (size_t len = 0; len < message.len; len++) {
        struct bytes less = bytes_copy(message.p, len);
        assert_int_equal(feed(&less, MAX_BYTES, len, 0).r, FRAME_MORE);
        bytes_free(&less);
    }
    struct bytes more = bytes_copy(message.p, message.len);
    more.p = realloc(more.p, more.len + 1);
    more.p[more.len++] = 0xc1;
    assert_int_equal(feed(&more, MAX_BYTES, more.len, 0).len, message.len);
    bytes_free(&more);
    bytes_free(&message);
}

static void messages_of_every_kind_are_found(void **state)
{
    (void)state;
    assert_message("94 00 01 a3 67 65 74 91 c4 03 6b 65 79", FRAME_REQUEST);
    assert_message("94 01 01 c0 c3", FRAME_RESPONSE);
    assert_message("93 02 a1 6d 90", FRAME_NOTIFICATION);
    assert_message("dc 00 04 00 01 a1 6d 90", FRAME_REQUEST);
    assert_message("dd 00 00 00 04 00 01 a1 6d 90", FRAME_REQUEST);
    /* Not requests that will be served, but their ends are known and their ids, too. */
    assert_message("92 00 07", FRAME_REQUEST);
    assert_message("95 00 07 c0 c0 c0", FRAME_REQUEST);
}

static void every_type_of_token_is_skipped(void **state)
{
    (void)state;
    static const char *const tokens[] = {
        "00",
        "7f",
        "e0",
        "ff",
        "c0",
        "c2",
        "c3",
        "cc 80",
        "cd 01 00",
        "ce 00 01 00 00",
        "cf 00 00 00 01 00 00 00 00",
        "d0 80",
        "d1 80 00",
        "d2 80 00 00 00",
        "d3 80 00 00 00 00 00 00 00",
        "ca 3f 80 00 00",
        "cb 3f f0 00 00 00 00 00 00",
        "a0",
        "a3 61 62 63",
        ("bf 61 61 61 61 61 61 61 61 61 61 61 61 61 61 61 61 61 61 61 61 61"
         "61 61 61 61 61 61 61 61 61 61"),
        "d9 00",
        "d9 02 c1 c1",
        "da 00 00",
        "da 00 02 c1 c1",
        "db 00 00 00 00",
        "db 00 00 00 01 c1",
        "c4 00",
        "c4 02 c1 c1",
        "c5 00 00",
        "c5 00 02 c1 c1",
        "c6 00 00 00 00",
        "c6 00 00 00 01 c1",
        "d4 05 c1",
        "d5 05 c1 c1",
        "d6 05 c1 c1 c1 c1",
        "d7 05 c1 c1 c1 c1 c1 c1 c1 c1",
        "d8 05 c1 c1 c1 c1 c1 c1 c1 c1 c1 c1 c1 c1 c1 c1 c1 c1",
        "c7 00 05",
        "c7 02 05 c1 c1",
        "c8 00 00 05",
        "c8 00 02 05 c1 c1",
        "c9 00 00 00 00 05",
        "c9 00 00 00 01 05 c1",
        "90",
        "91 c0",
        "92 c0 91 c0",
        "dc 00 00",
        "dc 00 02 c0 c0",
        "dd 00 00 00 00",
        "dd 00 00 00 01 c0",
        "80",
        "81 c0 c0",
        "82 a1 61 01 a1 62 91 02",
        "de 00 00",
        "de 00 01 c0 c0",
        "df 00 00 00 00",
        "df 00 00 00 01 c0 c0",
    };
    for (size_t i = 0; i < N_ELEMENTS(tokens); i++) {
        char hex[256] = "94 00 01 a1 6d 91 ";
        assert_message(strcat(hex, tokens[i]), FRAME_REQUEST);
        /* And not at the end: the next token begins where it should. */
        char other[256] = "94 00 01 a1 6d 93 01 ";
        strcat(other, tokens[i]);
        assert_message(strcat(other, " c4 01 61"), FRAME_REQUEST);
    }
}

static void kind_and_msgid_come_in_every_legal_encoding(void **state)
{
    (void)state;
    static const struct {
        const char *hex;
        uint32_t value;
    } ids[] = {
        {"05", 5},
        {"7f", 127},
        {"cc 05", 5},
        {"cc ff", 255},
        {"cd 00 05", 5},
        {"cd ff ff", 65535},
        {"ce 00 00 00 05", 5},
        {"ce ff ff ff ff", UINT32_MAX},
        {"cf 00 00 00 00 00 00 00 05", 5},
        {"cf 00 00 00 00 ff ff ff ff", UINT32_MAX},
        {"d0 05", 5},
        {"d0 7f", 127},
        {"d1 7f ff", 32767},
        {"d2 7f ff ff ff", INT32_MAX},
        {"d3 00 00 00 00 ff ff ff ff", UINT32_MAX},
    };
    static const char *const kinds[] = {
        "00",
        "cc 00",
        "cd 00 00",
        "ce 00 00 00 00",
        "cf 00 00 00 00 00 00 00 00",
        "d0 00",
        "d1 00 00",
        "d2 00 00 00 00",
        "d3 00 00 00 00 00 00 00 00",
    };
    for (size_t k = 0; k < N_ELEMENTS(kinds); k++)
        for (size_t i = 0; i < N_ELEMENTS(ids); i++) {
            char hex[256] = "94 ";
            strcat(strcat(strcat(strcat(hex, kinds[k]), " "), ids[i].hex), " a1 6d 90");
            struct outcome outcome = feed_hex(hex, MAX_BYTES);
            assert_int_equal(outcome.r, 0);
            assert_int_equal(outcome.kind, FRAME_REQUEST);
            assert_true(outcome.has_msgid);
            assert_int_equal(outcome.msgid, ids[i].value);
        }
}

static void only_requests_have_a_msgid(void **state)
{
    (void)state;
    assert_false(feed_hex("94 01 05 c0 c0", MAX_BYTES).has_msgid);
    assert_false(feed_hex("93 02 05 90", MAX_BYTES).has_msgid);
}

static void what_is_no_message_is_broken(void **state)
{
    (void)state;
    static const char *const broken[] = {
        "c1",
        "00",
        "47 45 54 20 2f", /* GET / */
        "16 03 01 02 00", /* TLS */
        "a1 61",
        "c4 01 61",
        "c0",
        "81 00 00",
        "de 00 01 00 00",
        "cb 00 00 00 00 00 00 00 00",
        "90",
        "91 00",
        "dc 00 00",
        "dd 00 00 00 01 00",
        "94 c1",
        "94 03 01 a1 6d 90",
        "94 7f 01 a1 6d 90",
        "94 ff 01 a1 6d 90",
        "94 d0 ff 01 a1 6d 90",
        "94 cd 01 00 01 a1 6d 90",
        "94 cf 00 00 00 01 00 00 00 00 01 a1 6d 90",
        "94 c0 01 a1 6d 90",
        "94 c3 01 a1 6d 90",
        "94 a1 00 01 a1 6d 90",
        "94 90 01 a1 6d 90",
        "94 80 01 a1 6d 90",
        "94 91 00 01 a1 6d 90",
        "94 ca 00 00 00 00 01 a1 6d 90",
        "94 00 ff a1 6d 90",
        "94 00 d0 80 a1 6d 90",
        "94 00 d3 ff ff ff ff ff ff ff ff a1 6d 90",
        "94 00 cf 00 00 00 01 00 00 00 00 a1 6d 90",
        "94 00 d3 00 00 00 01 00 00 00 00 a1 6d 90",
        "94 00 a1 31 a1 6d 90",
        "94 00 c4 01 31 a1 6d 90",
        "94 00 c0 a1 6d 90",
        "94 00 c2 a1 6d 90",
        "94 00 90 a1 6d 90",
        "94 00 91 01 a1 6d 90",
        "94 00 d4 01 01 a1 6d 90",
        "94 01 ff c0 c0",
        "94 00 01 c1 90",
        "94 00 01 a1 6d c1",
        "94 00 01 a1 6d 91 c1",
        "94 00 01 a1 6d 92 81 a1 61 c1",
        "93 02 c1 90",
        "93 02 a1 6d 91 c1",
    };
    for (size_t i = 0; i < N_ELEMENTS(broken); i++)
        if (feed_hex(broken[i], MAX_BYTES).r != FRAME_BROKEN)
            fail_msg("%s is not told as broken", broken[i]);
}

/* What is wrong shows as soon as it can: nobody waits for the rest. */
static void broken_shows_at_its_first_byte(void **state)
{
    (void)state;
    assert_int_equal(feed_hex("47", MAX_BYTES).r, FRAME_BROKEN);
    assert_int_equal(feed_hex("94 03", MAX_BYTES).r, FRAME_BROKEN);
    assert_int_equal(feed_hex("94 00 ff", MAX_BYTES).r, FRAME_BROKEN);
    assert_int_equal(feed_hex("94 00 01 a1 6d 9f c1", MAX_BYTES).r, FRAME_BROKEN);
}

static void nothing_and_a_beginning_are_more(void **state)
{
    (void)state;
    assert_int_equal(feed_hex("", MAX_BYTES).r, FRAME_MORE);
    struct frame frame;
    struct slice message;
    frame_init(&frame, MAX_BYTES, UINT64_MAX);
    assert_int_equal(frame_next(&frame, slice_of(NULL, 0), &message), FRAME_MORE);
    assert_int_equal(frame_next(&frame, slice_of(NULL, 0), &message), FRAME_MORE);
}

/* The last token is known, its bytes are still on their way. */
static void a_last_string_that_comes_late_is_waited_for(void **state)
{
    (void)state;
    struct bytes input = bytes_from_hex("94 00 09 a3 67 65 74 91 c5 03 e8");
    size_t whole = input.len + 1000;
    input.p = realloc(input.p, whole);
    memset(input.p + input.len, 0xc1, 1000);
    struct frame frame;
    struct slice message;
    frame_init(&frame, MAX_BYTES, UINT64_MAX);
    for (size_t len = 0; len < whole; len++)
        assert_int_equal(frame_next(&frame, slice_of(input.p, len), &message), FRAME_MORE);
    assert_true(frame.has_msgid);
    assert_int_equal(frame_next(&frame, slice_of(input.p, whole), &message), 0);
    assert_int_equal(message.len, whole);
    bytes_free(&input);
}

static void messages_in_a_row_are_found_one_by_one(void **state)
{
    (void)state;
    struct bytes row = bytes_from_hex("94 00 01 a1 6d 90 | 93 02 a1 6d 90 | 94 00 02 a1 6d 91 c0 |"
                                      "94 01 05 c0 c0 | 94 00 03 a1 6d 90");
    static const size_t lens[] = {6, 5, 7, 5, 6};
    for (size_t step = 1; step <= row.len; step++) {
        struct frame frame;
        size_t begin = 0, fed = 0, n = 0;
        frame_init(&frame, MAX_BYTES, UINT64_MAX);
        while (n < N_ELEMENTS(lens)) {
            struct slice message;
            int r = frame_next(&frame, slice_of(row.p + begin, fed - begin), &message);
            if (r == FRAME_MORE) {
                assert_true(fed < row.len);
                fed = fed + step < row.len ? fed + step : row.len;
                continue;
            }
            assert_int_equal(r, 0);
            assert_int_equal(message.len, lens[n]);
            assert_ptr_equal(message.p, row.p + begin);
            assert_int_equal(frame.has_msgid, n != 1 && n != 3);
            begin += lens[n++];
        }
        assert_int_equal(begin, row.len);
    }
    bytes_free(&row);
}

/* [0, 1, "m", [[...]]], `depth` arrays in one another, the message itself the first of them; the
 * innermost holds nil, or nothing. */
static struct bytes nested(unsigned depth, bool is_map, bool is_empty)
{
    struct bytes b = {.p = malloc(2 * depth + 16), .len = 0};
    memcpy(b.p, "\x94\x00\x01\xa1m", 5);
    b.len = 5;
    for (unsigned level = 2; level <= depth; level++) {
        bool is_innermost_empty = is_empty && level == depth;
        if (is_map && level > 2) {
            b.p[b.len++] = is_innermost_empty ? 0x80 : 0x81;
            if (!is_innermost_empty)
                b.p[b.len++] = 0xc0; /* the key; the value is the next level */
        } else {
            b.p[b.len++] = is_innermost_empty ? 0x90 : 0x91;
        }
    }
    if (!is_empty)
        b.p[b.len++] = 0xc0;
    return b;
}

static void nesting_up_to_8_is_taken_and_beyond_it_told(void **state)
{
    (void)state;
    static const unsigned depths[] = {2, 3, 7, 8, 9, 10, 31, 32, 33, 100, 1000};
    for (size_t i = 0; i < N_ELEMENTS(depths); i++)
        for (unsigned form = 0; form < 4; form++) {
            struct bytes b = nested(depths[i], form & 1, form & 2);
            struct outcome outcome =
                depths[i] <= 100 ? feed_bytes(&b, MAX_BYTES) : feed(&b, MAX_BYTES, 1, 7);
            assert_int_equal(outcome.r, depths[i] <= FRAME_MAX_DEPTH ? 0 : FRAME_TOO_DEEP);
            assert_int_equal(outcome.len, b.len);
            assert_true(outcome.has_msgid);
            assert_int_equal(outcome.msgid, 1);
            bytes_free(&b);
        }
}

static void after_a_message_too_deep_the_next_one_is_found(void **state)
{
    (void)state;
    struct bytes b = nested(40, false, false);
    b.p = realloc(b.p, b.len + 6);
    memcpy(b.p + b.len, "\x94\x00\x09\xa1m\x90", 6);
    b.len += 6;
    struct frame frame;
    struct slice message;
    frame_init(&frame, MAX_BYTES, UINT64_MAX);
    assert_int_equal(frame_next(&frame, slice_of(b.p, b.len), &message), FRAME_TOO_DEEP);
    assert_int_equal(message.len, b.len - 6);
    struct slice rest = slice_of(b.p + message.len, 6);
    assert_int_equal(frame_next(&frame, rest, &message), 0);
    assert_int_equal(frame.msgid, 9);
    bytes_free(&b);
}

static void many_siblings_are_not_deep(void **state)
{
    (void)state;
    /* Eight levels are opened and closed again and again. */
    assert_message("94 00 01 a1 6d 93 91 91 91 91 91 91 c0 91 91 91 91 91 91 c0 91 91 91 91 91 90",
                   FRAME_REQUEST);
}

static void five_bytes_cannot_claim_four_billion(void **state)
{
    (void)state;
    static const struct {
        const char *hex;
        bool has_msgid;
    } claims[] = {
        {"dd ff ff ff ff", false},
        {"dc ff ff", false},
        {"94 00 07 dd ff ff ff ff", true},
        {"94 00 07 df ff ff ff ff", true},
        {"94 00 07 df 80 00 00 00", true},
        {"94 00 07 db ff ff ff ff", true},
        {"94 00 07 c6 ff ff ff ff", true},
        {"94 00 07 c9 ff ff ff ff", true},
        {"94 00 07 a1 6d 91 dd ff ff ff ff", true},
        {"94 00 07 a1 6d 91 df ff ff ff ff", true},
        {"94 00 07 a1 6d 91 c6 ff ff ff ff", true},
        {"94 00 07 a1 6d 9f dd 00 00 ff ff", true},
    };
    for (size_t i = 0; i < N_ELEMENTS(claims); i++) {
        struct outcome outcome = feed_hex(claims[i].hex, 60000);
        assert_int_equal(outcome.r, FRAME_TOO_LARGE);
        assert_int_equal(outcome.has_msgid, claims[i].has_msgid);
        assert_int_equal(outcome.msgid, claims[i].has_msgid ? 7 : 0);
    }
}

static void a_message_of_max_bytes_is_the_largest(void **state)
{
    (void)state;
    static const char *const messages[] = {
        "94 00 07 a3 67 65 74 91 c4 05 6b 65 79 6b 65",
        "94 00 07 a3 67 65 74 95 01 02 03 04 05",
        "94 00 07 a3 67 65 74 91 82 01 02 03 04",
        "94 00 07 a3 67 65 74 91 cf 01 02 03 04 05 06 07 08",
        "94 00 07 a3 67 65 74 91 d8 01 01 02 03 04 05 06 07 08 01 02 03 04 05 06 07 08",
        "94 00 07 a3 67 65 74 91 dd 00 00 00 00",
    };
    for (size_t i = 0; i < N_ELEMENTS(messages); i++) {
        struct bytes message = bytes_from_hex(messages[i]);
        for (size_t max = 1; max < message.len; max++) {
            struct outcome outcome = feed_bytes(&message, max);
            assert_int_equal(outcome.r, FRAME_TOO_LARGE);
            /* 5 is the least that an array of 4 takes. */
            assert_int_equal(outcome.has_msgid, max >= 5);
        }
        for (size_t max = message.len; max < message.len + 3; max++) {
            struct outcome outcome = feed_bytes(&message, max);
            assert_int_equal(outcome.r, 0);
            assert_int_equal(outcome.len, message.len);
        }
        bytes_free(&message);
    }
}

/* A buffer of max_bytes that is full and whose frame says MORE would wait for ever. */
static void a_full_buffer_is_never_told_to_wait(void **state)
{
    (void)state;
    struct frame frame;
    struct slice message;
    struct bytes input = bytes_from_hex("94 00 07 a1 6d 92 01 cf 00");
    frame_init(&frame, input.len, UINT64_MAX);
    assert_int_equal(frame_next(&frame, slice_of(input.p, input.len), &message), FRAME_TOO_LARGE);
    assert_true(frame.has_msgid && frame.msgid == 7);
    bytes_free(&input);
}

/* The message in pieces of every length; then another one behind it. */
static void assert_counted(const struct bytes *message, uint64_t max_elements, int wanted)
{
    static const char next[] = "\x94\x00\x09\xa1m\x90";
    struct bytes both = bytes_copy(message->p, message->len);
    both.p = realloc(both.p, both.len + 6);
    memcpy(both.p + both.len, next, 6);
    both.len += 6;
    for (size_t step = 1; step <= both.len; step++) {
        struct frame frame;
        struct slice found;
        int r = FRAME_MORE;
        frame_init(&frame, MAX_BYTES, max_elements);
        for (size_t fed = step; r == FRAME_MORE; fed += step)
            r = frame_next(&frame, slice_of(both.p, fed < both.len ? fed : both.len), &found);
        assert_int_equal(r, wanted);
        assert_ptr_equal(found.p, both.p);
        assert_int_equal(found.len, message->len);
        assert_true(frame.has_msgid);
        assert_int_equal(frame.msgid, 1);
        struct slice rest = slice_of(both.p + found.len, 6);
        assert_int_equal(frame_next(&frame, rest, &found), max_elements < 4 ? FRAME_TOO_MANY : 0);
        assert_int_equal(frame.msgid, 9);
    }
    bytes_free(&both);
}

/* Each value counts, on every level, keys of maps too; the message itself does not. */
static void values_above_max_elements_are_too_many(void **state)
{
    (void)state;
    static const struct {
        const char *hex;
        uint64_t n;
    } messages[] = {
        {"94 00 01 a1 6d 90", 4},
        {"94 00 01 a1 6d 91 c4 01 6b", 5},
        {"94 00 01 a1 6d 92 93 01 02 03 80", 9},
        {"94 00 01 a1 6d 91 82 a1 61 01 a1 62 92 c0 c0", 11},
        {"94 00 01 a1 6d dd 00 00 00 03 c0 dc 00 02 c0 c0 de 00 01 c0 c0", 11},
        {"92 00 01", 2},
        {"95 00 01 c0 c0 90", 5},
    };
    for (size_t i = 0; i < N_ELEMENTS(messages); i++) {
        struct bytes message = bytes_from_hex(messages[i].hex);
        for (uint64_t max = 0; max < messages[i].n + 3; max++)
            assert_counted(&message, max, max < messages[i].n ? FRAME_TOO_MANY : 0);
        assert_counted(&message, UINT64_MAX, 0);
        bytes_free(&message);
    }
}

static void too_deep_is_told_before_too_many(void **state)
{
    (void)state;
    for (uint64_t max = 0; max < 20; max++) {
        struct bytes deep = nested(FRAME_MAX_DEPTH + 1, false, false);
        struct bytes flat = nested(FRAME_MAX_DEPTH, false, false); /* of 3 values and 8 */
        assert_counted(&deep, max, FRAME_TOO_DEEP);
        assert_counted(&flat, max, max < 11 ? FRAME_TOO_MANY : 0);
        bytes_free(&deep);
        bytes_free(&flat);
    }
}

/* What is longer than max_bytes may have been counted already. */
static void too_large_and_broken_are_told_as_such(void **state)
{
    (void)state;
    struct frame frame;
    struct slice message;
    struct bytes large = bytes_from_hex("94 00 07 a1 6d 93 c0 c0 c6 00 01 00 00");
    struct bytes broken = bytes_from_hex("94 00 07 a1 6d 93 c0 c0 c1");
    frame_init(&frame, 1000, 2);
    assert_int_equal(frame_next(&frame, slice_of(large.p, large.len), &message), FRAME_TOO_LARGE);
    frame_init(&frame, 1000, 2);
    assert_int_equal(frame_next(&frame, slice_of(broken.p, broken.len), &message), FRAME_BROKEN);
    bytes_free(&large);
    bytes_free(&broken);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_of_every_kind_are_found),
        cmocka_unit_test(every_type_of_token_is_skipped),
        cmocka_unit_test(kind_and_msgid_come_in_every_legal_encoding),
        cmocka_unit_test(only_requests_have_a_msgid),
        cmocka_unit_test(what_is_no_message_is_broken),
        cmocka_unit_test(broken_shows_at_its_first_byte),
        cmocka_unit_test(nothing_and_a_beginning_are_more),
        cmocka_unit_test(a_last_string_that_comes_late_is_waited_for),
        cmocka_unit_test(messages_in_a_row_are_found_one_by_one),
        cmocka_unit_test(nesting_up_to_8_is_taken_and_beyond_it_told),
        cmocka_unit_test(after_a_message_too_deep_the_next_one_is_found),
        cmocka_unit_test(many_siblings_are_not_deep),
        cmocka_unit_test(five_bytes_cannot_claim_four_billion),
        cmocka_unit_test(a_message_of_max_bytes_is_the_largest),
        cmocka_unit_test(a_full_buffer_is_never_told_to_wait),
        cmocka_unit_test(values_above_max_elements_are_too_many),
        cmocka_unit_test(too_deep_is_told_before_too_many),
        cmocka_unit_test(too_large_and_broken_are_told_as_such),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
