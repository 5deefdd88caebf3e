/*
 * reply: the exact bytes, and that a reply that does not fit leaves no trace.
 */
#include "bytes.h"
#include "proto/reply.h"
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

struct output {
    struct buf_pool pool;
    struct buf buf;
};

static const struct reply_mode plain, strings = {.errors_as_string = true, .u64_as_string = true};

static void output_init(struct output *output, size_t max_bytes)
{
    buf_pool_init(&output->pool, max_bytes);
    buf_init(&output->buf, &output->pool);
}

static void output_deinit(struct output *output)
{
    buf_release(&output->buf);
    buf_pool_deinit(&output->pool);
}

static void assert_output(const struct output *output, const char *hex)
{
    struct bytes wanted = bytes_from_hex(hex);
    assert_int_equal(buf_len(&output->buf), wanted.len);
    assert_memory_equal(buf_content(&output->buf).p, wanted.p, wanted.len);
    bytes_free(&wanted);
}

static void nil(struct reply *reply)
{
    reply_nil(reply);
}

static void yes(struct reply *reply)
{
    reply_bool(reply, true);
}

static void no(struct reply *reply)
{
    reply_bool(reply, false);
}

static void text(struct reply *reply)
{
    reply_text(reply, "pong");
}

static void empty_text(struct reply *reply)
{
    reply_text(reply, "");
}

static void bytes(struct reply *reply)
{
    reply_bytes(reply, slice_of("\x00\xff", 2));
}

static void bytes_to_be_copied(struct reply *reply)
{
    memcpy(reply_bytes_room(reply, 2), "\x00\xff", 2);
}

static void no_bytes(struct reply *reply)
{
    reply_bytes(reply, slice_of(NULL, 0));
}

static void array(struct reply *reply)
{
    reply_array(reply, 2);
    reply_bytes(reply, slice_of_str("key"));
    reply_u64(reply, 300);
}

static void map(struct reply *reply)
{
    reply_map(reply, 1);
    reply_text(reply, "count");
    reply_number(reply, 7);
}

static void results_are_encoded_byte_for_byte(void **state)
{
    (void)state;
    static const struct {
        void (*result)(struct reply *reply);
        const char *hex, *hex_strings; /* in the mode of strings, where it differs */
    } results[] = {
        {nil, "94 01 05 c0 c0", NULL},
        {yes, "94 01 05 c0 c3", NULL},
        {no, "94 01 05 c0 c2", NULL},
        {text, "94 01 05 c0 a4 70 6f 6e 67", NULL},
        {empty_text, "94 01 05 c0 a0", NULL},
        {bytes, "94 01 05 c0 c4 02 00 ff", NULL},
        {bytes_to_be_copied, "94 01 05 c0 c4 02 00 ff", NULL},
        {no_bytes, "94 01 05 c0 c4 00", NULL},
        {array, "94 01 05 c0 92 c4 03 6b 65 79 cd 01 2c",
         "94 01 05 c0 92 c4 03 6b 65 79 a3 33 30 30"},
        {map, "94 01 05 c0 81 a5 63 6f 75 6e 74 07", NULL},
    };
    for (size_t i = 0; i < N_ELEMENTS(results); i++)
        for (int is_strings = 0; is_strings < 2; is_strings++) {
            struct output output;
            struct reply reply;
            output_init(&output, 1 << 20);
            reply_begin(&reply, &output.buf, 5, is_strings ? strings : plain, 1000);
            results[i].result(&reply);
            assert_int_equal(reply_end(&reply), 0);
            bool differs = is_strings && results[i].hex_strings;
            assert_output(&output, differs ? results[i].hex_strings : results[i].hex);
            output_deinit(&output);
        }
}

static void numbers_take_their_shortest_form_at_every_border(void **state)
{
    (void)state;
    static const struct {
        uint64_t value;
        const char *hex;
    } numbers[] = {
        {0, "00"},
        {1, "01"},
        {127, "7f"},
        {128, "cc 80"},
        {255, "cc ff"},
        {256, "cd 01 00"},
        {65535, "cd ff ff"},
        {65536, "ce 00 01 00 00"},
        {UINT32_MAX, "ce ff ff ff ff"},
        {UINT64_C(1) << 32, "cf 00 00 00 01 00 00 00 00"},
        {UINT64_C(1) << 53, "cf 00 20 00 00 00 00 00 00"},
        {(uint64_t)INT64_MAX, "cf 7f ff ff ff ff ff ff ff"},
        {UINT64_C(1) << 63, "cf 80 00 00 00 00 00 00 00"},
        {UINT64_MAX, "cf ff ff ff ff ff ff ff ff"},
    };
    for (size_t i = 0; i < N_ELEMENTS(numbers); i++) {
        struct output output;
        struct reply reply;
        char hex[256];
        output_init(&output, 1 << 20);
        reply_begin(&reply, &output.buf, 5, plain, 1000);
        reply_array(&reply, 2);
        reply_number(&reply, numbers[i].value);
        reply_u64(&reply, numbers[i].value);
        assert_int_equal(reply_end(&reply), 0);
        snprintf(hex, sizeof hex, "94 01 05 c0 92 %s %s", numbers[i].hex, numbers[i].hex);
        assert_output(&output, hex);
        output_deinit(&output);
    }
}

static void msgids_are_those_of_the_request(void **state)
{
    (void)state;
    static const struct {
        uint32_t msgid;
        const char *hex;
    } replies[] = {
        {0, "94 01 00 c0 c0"},
        {127, "94 01 7f c0 c0"},
        {128, "94 01 cc 80 c0 c0"},
        {65535, "94 01 cd ff ff c0 c0"},
        {65536, "94 01 ce 00 01 00 00 c0 c0"},
        {UINT32_MAX, "94 01 ce ff ff ff ff c0 c0"},
    };
    for (size_t i = 0; i < N_ELEMENTS(replies); i++) {
        struct output output;
        struct reply reply;
        output_init(&output, 1 << 20);
        reply_begin(&reply, &output.buf, replies[i].msgid, plain, 1000);
        reply_nil(&reply);
        assert_int_equal(reply_end(&reply), 0);
        assert_output(&output, replies[i].hex);
        output_deinit(&output);
    }
}

static void values_may_be_decimal_text(void **state)
{
    (void)state;
    struct output output;
    struct reply reply;
    output_init(&output, 1 << 20);
    reply_begin(&reply, &output.buf, 5, strings, 1000);
    reply_array(&reply, 3);
    reply_u64(&reply, 0);
    reply_u64(&reply, UINT64_MAX);
    reply_number(&reply, UINT64_MAX); /* a count stays an integer */
    assert_int_equal(reply_end(&reply), 0);
    assert_output(&output, "94 01 05 c0 93 a1 30"
                           "b4 31 38 34 34 36 37 34 34 30 37 33 37 30 39 35 35 31 36 31 35"
                           "cf ff ff ff ff ff ff ff ff");
    output_deinit(&output);
}

/* Bytes of every length class: the header, and that the content follows. */
static void lengths_take_their_shortest_form_at_every_border(void **state)
{
    (void)state;
    static const struct {
        size_t len;
        const char *bin, *str;
    } lengths[] = {
        {31, "c4 1f", "bf"},
        {32, "c4 20", "d9 20"},
        {255, "c4 ff", "d9 ff"},
        {256, "c5 01 00", "da 01 00"},
        {65535, "c5 ff ff", "da ff ff"},
        {65536, "c6 00 01 00 00", "db 00 01 00 00"},
    };
    for (size_t i = 0; i < N_ELEMENTS(lengths); i++) {
        struct output output;
        struct reply reply;
        struct bytes bin = bytes_from_hex(lengths[i].bin), str = bytes_from_hex(lengths[i].str);
        char *content = malloc(lengths[i].len + 1);
        memset(content, 'k', lengths[i].len);
        content[lengths[i].len] = '\0';
        output_init(&output, 1 << 20);
        reply_begin(&reply, &output.buf, 5, plain, 1 << 20);
        reply_array(&reply, 2);
        reply_bytes(&reply, slice_of(content, lengths[i].len));
        reply_text(&reply, content);
        assert_int_equal(reply_end(&reply), 0);
        struct slice all = buf_content(&output.buf);
        assert_int_equal(all.len, 5 + bin.len + str.len + 2 * lengths[i].len);
        assert_memory_equal(all.p + 5, bin.p, bin.len);
        assert_memory_equal(all.p + 5 + bin.len, content, lengths[i].len);
        assert_memory_equal(all.p + 5 + bin.len + lengths[i].len, str.p, str.len);
        output_deinit(&output);
        free(content);
        bytes_free(&bin);
        bytes_free(&str);
    }
}

static void errors_have_two_forms(void **state)
{
    (void)state;
    struct output output;
    struct reply reply;
    output_init(&output, 1 << 20);
    reply_begin(&reply, &output.buf, 5, plain, 1000);
    assert_int_equal(reply_error(&reply, PROTO_GONE, "x"), 0);
    assert_output(&output, "94 01 05 92 09 a7 47 4f 4e 45 3a 20 78 c0");
    output_deinit(&output);
    output_init(&output, 1 << 20);
    reply_begin(&reply, &output.buf, 5, strings, 1000);
    assert_int_equal(reply_error(&reply, PROTO_GONE, "x"), 0);
    assert_output(&output, "94 01 05 a7 47 4f 4e 45 3a 20 78 c0");
    output_deinit(&output);
}

static void an_error_takes_back_what_was_written(void **state)
{
    (void)state;
    struct output output;
    struct reply reply;
    output_init(&output, 1 << 20);
    assert_int_equal(buf_append(&output.buf, "dropped, before", 15), 0);
    buf_consume(&output.buf, 9);
    reply_begin(&reply, &output.buf, 5, plain, 1000);
    array(&reply);
    assert_int_equal(reply_error(&reply, PROTO_BUSY, "y"), 0);
    assert_output(&output, "62 65 66 6f 72 65 94 01 05 92 08 a7 42 55 53 59 3a 20 79 c0");
    output_deinit(&output);
}

static void a_reply_that_is_too_large_is_taken_back_whole(void **state)
{
    (void)state;
    struct output output;
    struct reply reply;
    /* The array's reply has 13 bytes. */
    for (size_t max = 0; max < 16; max++) {
        output_init(&output, 1 << 20);
        assert_int_equal(buf_append(&output.buf, "b", 1), 0);
        reply_begin(&reply, &output.buf, 5, plain, max);
        array(&reply);
        assert_int_equal(reply_end(&reply), max < 13 ? REPLY_TOO_LARGE : 0);
        assert_output(&output, max < 13 ? "62" : "62 94 01 05 c0 92 c4 03 6b 65 79 cd 01 2c");
        output_deinit(&output);
    }
}

static void what_follows_a_failure_is_dropped(void **state)
{
    (void)state;
    struct output output;
    struct reply reply;
    output_init(&output, 1 << 20);
    reply_begin(&reply, &output.buf, 5, plain, 10);
    reply_array(&reply, 3);
    reply_bytes(&reply, slice_of_str("too long for ten"));
    reply_nil(&reply); /* this would fit */
    reply_nil(&reply);
    assert_int_equal(reply_end(&reply), REPLY_TOO_LARGE);
    assert_int_equal(buf_len(&output.buf), 0);
    output_deinit(&output);
}

static void there_is_room_for_all_of_the_bytes_or_none(void **state)
{
    (void)state;
    struct output output;
    struct reply reply;
    /* [1, 5, nil, and the head take 6 bytes. */
    for (size_t max = 4; max < 20; max++) {
        output_init(&output, 1 << 20);
        reply_begin(&reply, &output.buf, 5, plain, max);
        uint8_t *room = reply_bytes_room(&reply, 10);
        assert_int_equal(room != NULL, max >= 16);
        if (room)
            memset(room, 'x', 10);
        assert_int_equal(reply_end(&reply), room ? 0 : REPLY_TOO_LARGE);
        assert_int_equal(buf_len(&output.buf), room ? 16 : 0);
        output_deinit(&output);
    }
}

static void an_error_comes_through_where_its_reply_was_too_large(void **state)
{
    (void)state;
    struct output output;
    struct reply reply;
    output_init(&output, 1 << 20);
    reply_begin(&reply, &output.buf, 5, plain, 3);
    array(&reply);
    assert_int_equal(reply_error(&reply, PROTO_TOO_LARGE, "z"), 0);
    assert_output(&output, "94 01 05 92 04 ac 54 4f 4f 5f 4c 41 52 47 45 3a 20 7a c0");
    output_deinit(&output);
}

static void no_room_leaves_the_output_as_it_was(void **state)
{
    (void)state;
    struct output output;
    struct reply reply;
    static const uint8_t large[2 * BUF_BLOCK_BYTES];
    output_init(&output, BUF_BLOCK_BYTES);
    assert_int_equal(buf_append(&output.buf, "b", 1), 0);
    reply_begin(&reply, &output.buf, 5, plain, 1 << 20);
    reply_bytes(&reply, slice_of(large, sizeof large));
    assert_int_equal(reply_end(&reply), REPLY_NO_ROOM);
    assert_output(&output, "62");
    /* A small one still goes. */
    reply_begin(&reply, &output.buf, 5, plain, 1 << 20);
    reply_nil(&reply);
    assert_int_equal(reply_end(&reply), 0);
    assert_output(&output, "62 94 01 05 c0 c0");
    output_deinit(&output);
}

static void no_room_at_all_is_told_for_errors_too(void **state)
{
    (void)state;
    struct output output;
    struct reply reply;
    output_init(&output, 10);
    reply_begin(&reply, &output.buf, 5, plain, 1000);
    reply_nil(&reply);
    assert_int_equal(reply_error(&reply, PROTO_BUSY, "y"), REPLY_NO_ROOM);
    assert_int_equal(buf_len(&output.buf), 0);
    output_deinit(&output);
}

/* The content moves while a reply is written: taking back must find its begin again. */
static void a_reply_is_taken_back_where_the_buffer_has_moved(void **state)
{
    (void)state;
    struct output output;
    struct reply reply;
    static uint8_t fill[BUF_BLOCK_BYTES];
    static const uint8_t large[BUF_BLOCK_BYTES];
    output_init(&output, 1 << 20);
    assert_int_equal(buf_append(&output.buf, fill, sizeof fill - 8), 0);
    buf_consume(&output.buf, sizeof fill - 10);
    reply_begin(&reply, &output.buf, 5, plain, 1 << 20);
    reply_bytes(&reply, slice_of(large, sizeof large));
    assert_int_equal(reply_error(&reply, PROTO_BUSY, "y"), 0);
    assert_output(&output, "00 00 94 01 05 92 08 a7 42 55 53 59 3a 20 79 c0");
    output_deinit(&output);
}

static void error_texts_are_cut_and_made_printable(void **state)
{
    (void)state;
    struct output output;
    struct reply reply;
    char *text = malloc(10001);
    memset(text, 0xff, 10000);
    text[10000] = '\0';
    output_init(&output, 1 << 20);
    reply_begin(&reply, &output.buf, 5, strings, 1 << 20);
    assert_int_equal(reply_error(&reply, PROTO_BUSY, text), 0);
    struct slice all = buf_content(&output.buf);
    assert_true(all.len > 1000 && all.len < 1400);
    assert_memory_equal(all.p, "\x94\x01\x05\xda", 4);
    assert_int_equal(all.len, 6 + (size_t)(all.p[4] << 8 | all.p[5]) + 1);
    assert_memory_equal(all.p + 6, "BUSY: \\xff\\xff", 14);
    for (size_t i = 6; i + 1 < all.len; i++)
        assert_in_range(all.p[i], 0x20, 0x7e);
    output_deinit(&output);
    free(text);
}

/* Elements of an array whose number is told at its end: so many of so many bytes each (1: nil), in
 * an array of two, the other one a number behind it. */
static void open_array(struct reply *reply, size_t n, size_t element_bytes)
{
    static uint8_t element[70000];
    reply_array(reply, 2);
    size_t at = reply_open_array(reply);
    for (size_t i = 0; i < n; i++) {
        if (element_bytes == 1)
            reply_nil(reply);
        else
            reply_bytes(reply, slice_of(element, element_bytes - (element_bytes < 258     ? 2
                                                                  : element_bytes < 65539 ? 3
                                                                                          : 5)));
    }
    reply_close_array(reply, at, n);
    reply_number(reply, 7);
}

static void open_arrays_take_the_head_that_fits(void **state)
{
    (void)state;
    static const struct {
        size_t n, element_bytes;
        const char *head;
    } arrays[] = {
        {0, 1, "90"},
        {1, 1, "91"},
        {15, 1, "9f"},
        {16, 1, "dc 00 10"},
        {65535, 1, "dc ff ff"},
        {65536, 1, "dd 00 01 00 00"},
        /* Content of up to 64 KiB is moved; longer one stays, and so does the long head. */
        {1, 65536, "91"},
        {1, 65537, "dd 00 00 00 01"},
        {2, 32768, "92"},
        {16, 4096, "dc 00 10"},
        {16, 4097, "dd 00 00 00 10"},
        {2, 65545, "dd 00 00 00 02"},
    };
    for (size_t i = 0; i < N_ELEMENTS(arrays); i++) {
        struct output output;
        struct reply reply;
        struct bytes head = bytes_from_hex(arrays[i].head);
        size_t content = arrays[i].n * arrays[i].element_bytes;
        output_init(&output, 1 << 24);
        reply_begin(&reply, &output.buf, 5, plain, 1 << 24);
        open_array(&reply, arrays[i].n, arrays[i].element_bytes);
        assert_int_equal(reply_end(&reply), 0);
        struct slice all = buf_content(&output.buf);
        assert_int_equal(all.len, 5 + head.len + content + 1);
        assert_memory_equal(all.p, "\x94\x01\x05\xc0\x92", 5);
        assert_memory_equal(all.p + 5, head.p, head.len);
        assert_int_equal(all.p[all.len - 1], 7);
        for (size_t k = 0; k < arrays[i].n; k++) {
            uint8_t first = all.p[5 + head.len + k * arrays[i].element_bytes];
            assert_true(arrays[i].element_bytes == 1 ? first == 0xc0
                                                     : first >= 0xc4 && first <= 0xc6);
        }
        output_deinit(&output);
        bytes_free(&head);
    }
}

static void open_arrays_may_stand_in_one_another(void **state)
{
    (void)state;
    struct output output;
    struct reply reply;
    output_init(&output, 1 << 20);
    assert_int_equal(buf_append(&output.buf, "before", 6), 0);
    buf_consume(&output.buf, 4);
    reply_begin(&reply, &output.buf, 5, plain, 1000);
    size_t outer = reply_open_array(&reply);
    for (unsigned i = 0; i < 3; i++) {
        size_t inner = reply_open_array(&reply);
        for (unsigned k = 0; k < i; k++)
            reply_number(&reply, k);
        reply_close_array(&reply, inner, i);
    }
    reply_close_array(&reply, outer, 3);
    assert_int_equal(reply_end(&reply), 0);
    assert_output(&output, "72 65 94 01 05 c0 93 90 91 00 92 00 01");
    output_deinit(&output);
}

/* Wherever the reply runs full: no trace of it, and closing what is open does no harm. */
static void an_open_array_that_is_too_large_is_taken_back_whole(void **state)
{
    (void)state;
    struct output output;
    struct reply reply;
    for (size_t max = 4; max < 60; max++) {
        output_init(&output, 1 << 20);
        assert_int_equal(buf_append(&output.buf, "b", 1), 0);
        reply_begin(&reply, &output.buf, 5, plain, max);
        open_array(&reply, 40, 1);
        /* While it is written its head is the longest one: 4 + 1 + 5 + 40. */
        assert_int_equal(reply_end(&reply), max < 50 ? REPLY_TOO_LARGE : 0);
        assert_int_equal(buf_len(&output.buf), max < 50 ? 1 : 1 + 4 + 1 + 3 + 40 + 1);
        output_deinit(&output);
    }
    static const uint8_t large[2 * BUF_BLOCK_BYTES];
    output_init(&output, BUF_BLOCK_BYTES);
    assert_int_equal(buf_append(&output.buf, "b", 1), 0);
    reply_begin(&reply, &output.buf, 5, plain, 1 << 20);
    size_t at = reply_open_array(&reply);
    reply_bytes(&reply, slice_of(large, sizeof large));
    reply_close_array(&reply, at, 1);
    assert_int_equal(reply_error(&reply, PROTO_BUSY, "y"), 0);
    assert_output(&output, "62 94 01 05 92 08 a7 42 55 53 59 3a 20 79 c0");
    output_deinit(&output);
}

static void a_reply_can_be_cut_and_goes_on(void **state)
{
    (void)state;
    struct output output;
    struct reply reply;
    output_init(&output, 1 << 20);
    assert_int_equal(buf_append(&output.buf, "b", 1), 0);
    reply_begin(&reply, &output.buf, 5, plain, 16);
    assert_int_equal(reply_len(&reply), 4);
    reply_array(&reply, 2);
    reply_number(&reply, 1);
    size_t len = reply_len(&reply);
    assert_int_equal(len, 6);
    assert_true(slice_equal(reply_part(&reply, 4, 2), slice_of("\x92\x01", 2)));
    reply_text(&reply, "something");
    reply_cut(&reply, len);
    assert_int_equal(reply_len(&reply), len);
    reply_text(&reply, "much too long for that");
    assert_int_equal(reply.failure, REPLY_TOO_LARGE);
    reply_nil(&reply);
    reply_cut(&reply, len); /* the failure is cut off, too */
    reply_number(&reply, 2);
    assert_int_equal(reply_end(&reply), 0);
    assert_output(&output, "62 94 01 05 c0 92 01 02");
    output_deinit(&output);
}

static void bytes_of_two_parts_are_one(void **state)
{
    (void)state;
    static const size_t lens[] = {0, 1, 9, 246, 247, 65526, 65527, 100000};
    uint8_t *text = malloc(200000);
    for (size_t i = 0; i < 200000; i++)
        text[i] = (uint8_t)(i * 11);
    for (size_t i = 0; i < N_ELEMENTS(lens); i++)
        for (unsigned form = 0; form < 3; form++) {
            struct output whole, parts;
            struct reply reply;
            size_t first = form == 0 ? 0 : form == 1 ? 9 : lens[i];
            size_t second = form == 1 ? lens[i] : form == 0 ? lens[i] + 9 : 9;
            output_init(&whole, 1 << 20);
            output_init(&parts, 1 << 20);
            reply_begin(&reply, &whole.buf, 5, plain, 1 << 20);
            reply_bytes(&reply, slice_of(text, lens[i] + 9));
            assert_int_equal(reply_end(&reply), 0);
            reply_begin(&reply, &parts.buf, 5, plain, 1 << 20);
            reply_bytes_of(&reply, slice_of(first ? text : NULL, first),
                           slice_of(second ? text + first : NULL, second));
            assert_int_equal(reply_end(&reply), 0);
            assert_true(slice_equal(buf_content(&parts.buf), buf_content(&whole.buf)));
            output_deinit(&whole);
            output_deinit(&parts);
        }
    free(text);
}

/* Written in pieces, each into a buffer of its own that the next one begins with. */
static void a_reply_goes_on_in_another_output(void **state)
{
    (void)state;
    struct output whole, before, after;
    struct reply reply;
    output_init(&whole, 1 << 20);
    reply_begin(&reply, &whole.buf, 300, strings, 1000);
    open_array(&reply, 20, 1);
    assert_int_equal(reply_end(&reply), 0);
    output_init(&before, 1 << 20);
    output_init(&after, 1 << 20);
    assert_int_equal(buf_append(&before.buf, "others", 6), 0);
    reply_begin(&reply, &before.buf, 300, strings, 1000);
    reply_array(&reply, 2);
    size_t at = reply_open_array(&reply), len = reply_len(&reply);
    for (unsigned i = 0; i < 5; i++)
        reply_nil(&reply);
    struct slice content = buf_content(&before.buf);
    assert_int_equal(buf_append(&after.buf, content.p + 6, content.len - 6), 0);
    reply_resume(&reply, &after.buf, 300, strings, 1000);
    assert_int_equal(reply_len(&reply), len + 5);
    for (unsigned i = 0; i < 15; i++)
        reply_nil(&reply);
    reply_close_array(&reply, at, 20);
    reply_resume(&reply, &after.buf, 300, strings, 1000);
    reply_number(&reply, 7);
    assert_int_equal(reply_end(&reply), 0);
    assert_true(slice_equal(buf_content(&after.buf), buf_content(&whole.buf)));
    output_deinit(&whole);
    output_deinit(&before);
    output_deinit(&after);
}

static void a_reply_that_goes_on_is_taken_back_whole(void **state)
{
    (void)state;
    struct output output;
    struct reply reply;
    output_init(&output, 1 << 20);
    reply_begin(&reply, &output.buf, 5, plain, 14);
    reply_array(&reply, 3);
    reply_text(&reply, "first");
    reply_resume(&reply, &output.buf, 5, plain, 14);
    reply_text(&reply, "abc"); /* 4 + 1 + 6 + 4: one byte too long */
    assert_int_equal(reply_end(&reply), REPLY_TOO_LARGE);
    assert_int_equal(buf_len(&output.buf), 0);
    reply_begin(&reply, &output.buf, 5, plain, 14);
    reply_array(&reply, 3);
    reply_resume(&reply, &output.buf, 5, strings, 14);
    assert_int_equal(reply_error(&reply, PROTO_BUSY, "y"), 0);
    assert_output(&output, "94 01 05 a7 42 55 53 59 3a 20 79 c0");
    output_deinit(&output);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(results_are_encoded_byte_for_byte),
        cmocka_unit_test(numbers_take_their_shortest_form_at_every_border),
        cmocka_unit_test(msgids_are_those_of_the_request),
        cmocka_unit_test(values_may_be_decimal_text),
        cmocka_unit_test(lengths_take_their_shortest_form_at_every_border),
        cmocka_unit_test(errors_have_two_forms),
        cmocka_unit_test(an_error_takes_back_what_was_written),
        cmocka_unit_test(a_reply_that_is_too_large_is_taken_back_whole),
        cmocka_unit_test(what_follows_a_failure_is_dropped),
        cmocka_unit_test(there_is_room_for_all_of_the_bytes_or_none),
        cmocka_unit_test(an_error_comes_through_where_its_reply_was_too_large),
        cmocka_unit_test(no_room_leaves_the_output_as_it_was),
        cmocka_unit_test(no_room_at_all_is_told_for_errors_too),
        cmocka_unit_test(a_reply_is_taken_back_where_the_buffer_has_moved),
        cmocka_unit_test(error_texts_are_cut_and_made_printable),
        cmocka_unit_test(open_arrays_take_the_head_that_fits),
        cmocka_unit_test(open_arrays_may_stand_in_one_another),
        cmocka_unit_test(an_open_array_that_is_too_large_is_taken_back_whole),
        cmocka_unit_test(a_reply_can_be_cut_and_goes_on),
        cmocka_unit_test(bytes_of_two_parts_are_one),
        cmocka_unit_test(a_reply_goes_on_in_another_output),
        cmocka_unit_test(a_reply_that_goes_on_is_taken_back_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
