/*
 * request: what a message says, and that decoding allocates nothing.
 */
#include "bytes.h"
#include "proto/frame.h"
#include "proto/request.h"
#include "unit.h"

#include <malloc.h>
#include <stdlib.h>

#define MAX_BYTES 4096

/* Messages come from frame_next, which has found them whole; so here. */
static int decode(struct request_decoder *decoder, const struct bytes *message,
                  struct request *request)
{
    struct frame frame;
    struct slice found;
    frame_init(&frame, MAX_BYTES, UINT64_MAX);
    assert_int_equal(frame_next(&frame, slice_of(message->p, message->len), &found), 0);
    assert_int_equal(found.len, message->len);
    return request_decode(decoder, found, request);
}

static int init(void **state)
{
    static struct request_decoder decoder;
    *state = &decoder;
    return request_decoder_init(&decoder, MAX_BYTES, MAX_BYTES);
}

static int deinit(void **state)
{
    request_decoder_deinit(*state);
    return 0;
}

static void a_request_is_decoded_into_slices_of_its_message(void **state)
{
    struct bytes message =
        bytes_from_hex("94 00 cd 01 02 a3 67 65 74 93 c4 03 6b 65 79 a1 73 81 a1 6f 05");
    struct request request;
    struct slice bytes;
    assert_int_equal(decode(*state, &message, &request), 0);
    assert_int_equal(request.msgid, 0x102);
    assert_true(slice_equal(request.method, slice_of_str("get")));
    assert_ptr_equal(request.method.p, message.p + 6);
    assert_int_equal(request.n_params, 3);
    assert_true(param_bytes(&request.params[0], &bytes));
    assert_true(slice_equal(bytes, slice_of_str("key")));
    assert_ptr_equal(bytes.p, message.p + 12);
    assert_true(param_bytes(&request.params[1], &bytes));
    assert_true(slice_equal(bytes, slice_of_str("s")));
    assert_false(param_bytes(&request.params[2], &bytes));
    bytes_free(&message);
}

static void method_names_may_be_str_or_bin(void **state)
{
    static const char *const methods[] = {
        "a3 67 65 74",    "d9 03 67 65 74",    "da 00 03 67 65 74",      "db 00 00 00 03 67 65 74",
        "c4 03 67 65 74", "c5 00 03 67 65 74", "c6 00 00 00 03 67 65 74"};
    for (size_t i = 0; i < N_ELEMENTS(methods); i++) {
        char hex[128] = "94 00 05 ";
        struct bytes message = bytes_from_hex(strcat(strcat(hex, methods[i]), " 90"));
        struct request request;
        assert_int_equal(decode(*state, &message, &request), 0);
        assert_true(slice_equal(request.method, slice_of_str("get")));
        assert_int_equal(request.n_params, 0);
        bytes_free(&message);
    }
}

static void what_is_no_request_keeps_its_msgid(void **state)
{
    static const char *const bad[] = {
        "92 00 09",
        "93 00 09 a1 6d",
        "95 00 09 a1 6d 90 c0",
        "96 00 09 a1 6d 90 c0 c0",
        "94 00 09 05 90",
        "94 00 09 c0 90",
        "94 00 09 90 90",
        "94 00 09 80 90",
        "94 00 09 d4 01 01 90",
        "94 00 09 a1 6d c0",
        "94 00 09 a1 6d 05",
        "94 00 09 a1 6d 80",
        "94 00 09 a1 6d a1 61",
        "94 00 09 a1 6d c4 01 61",
    };
    for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
        struct request_decoder *decoder = *state;
        struct bytes message = bytes_from_hex(bad[i]);
        struct request request = {0};
        decoder->reason = NULL;
        assert_int_equal(decode(decoder, &message, &request), REQUEST_BAD);
        assert_int_equal(request.msgid, 9);
        assert_non_null(decoder->reason);
        bytes_free(&message);
    }
}

static void notifications_and_responses_are_told_apart(void **state)
{
    static const struct {
        const char *hex;
        int outcome;
    } messages[] = {
        {"93 02 a1 6d 90", REQUEST_NOTIFIED},    {"92 02 05", REQUEST_NOTIFIED},
        {"95 02 90 80 c0 c0", REQUEST_NOTIFIED}, {"94 01 09 c0 c3", REQUEST_REPLIED},
        {"92 01 09", REQUEST_REPLIED},           {"93 d0 02 a1 6d 90", REQUEST_NOTIFIED},
    };
    for (size_t i = 0; i < N_ELEMENTS(messages); i++) {
        struct bytes message = bytes_from_hex(messages[i].hex);
        struct request request;
        assert_int_equal(decode(*state, &message, &request), messages[i].outcome);
        bytes_free(&message);
    }
}

static void every_encoding_of_a_msgid_is_read(void **state)
{
    static const char *const ids[] = {
        "07",
        "cc 07",
        "cd 00 07",
        "ce 00 00 00 07",
        "cf 00 00 00 00 00 00 00 07",
        "d0 07",
        "d1 00 07",
        "d2 00 00 00 07",
        "d3 00 00 00 00 00 00 00 07",
    };
    for (size_t i = 0; i < N_ELEMENTS(ids); i++) {
        char hex[128] = "94 d1 00 00 ";
        struct bytes message = bytes_from_hex(strcat(strcat(hex, ids[i]), " a1 6d 90"));
        struct request request;
        assert_int_equal(decode(*state, &message, &request), 0);
        assert_int_equal(request.msgid, 7);
        bytes_free(&message);
    }
}

static void options_are_found_by_name(void **state)
{
    struct bytes message = bytes_from_hex("94 00 05 a1 6d 91 87 05 01 a5 6c 69 6d 69 74 02"
                                          "c4 03 70 69 6e 03 a0 04 c0 05 a5 6c 69 6d 69 74 06"
                                          "90 07");
    struct request request;
    assert_int_equal(decode(*state, &message, &request), 0);
    const msgpack_object *map = &request.params[0];
    assert_int_equal(param_option(map, "limit")->via.u64, 2); /* the first of two */
    assert_int_equal(param_option(map, "pin")->via.u64, 3);
    assert_int_equal(param_option(map, "")->via.u64, 4);
    assert_null(param_option(map, "limi"));
    assert_null(param_option(map, "limits"));
    assert_null(param_option(map, "\5"));
    bytes_free(&message);
    message = bytes_from_hex("94 00 05 a1 6d 91 80");
    assert_int_equal(decode(*state, &message, &request), 0);
    assert_null(param_option(&request.params[0], "limit"));
    bytes_free(&message);
}

static void empty_keys_have_no_length(void **state)
{
    struct bytes message = bytes_from_hex("94 00 05 a0 92 a0 c4 00");
    struct request request;
    struct slice bytes = {.len = 9};
    assert_int_equal(decode(*state, &message, &request), 0);
    assert_int_equal(request.method.len, 0);
    assert_true(param_bytes(&request.params[0], &bytes) && bytes.len == 0);
    assert_true(param_bytes(&request.params[1], &bytes) && bytes.len == 0);
    bytes_free(&message);
}

/* A message of about MAX_BYTES: a head that ends in a count of 32 bits, and as many elements. */
static struct bytes fill(const char *head_hex, const char *element_hex)
{
    uint8_t all[MAX_BYTES];
    struct bytes head = bytes_from_hex(head_hex), element = bytes_from_hex(element_hex);
    size_t n = (MAX_BYTES - head.len) / element.len;
    memcpy(all, head.p, head.len);
    for (size_t i = 0; i < n; i++)
        memcpy(all + head.len + i * element.len, element.p, element.len);
    all[head.len - 2] = (uint8_t)(n >> 8);
    all[head.len - 1] = (uint8_t)n;
    struct bytes message = bytes_copy(all, head.len + n * element.len);
    bytes_free(&head);
    bytes_free(&element);
    return message;
}

static size_t allocated_bytes(void)
{
    return mallinfo2().uordblks;
}

/* The messages that decode to the most memory for their length. A sanitizer's malloc does not count
 * for mallinfo2: there the zone alone tells. */
static void the_largest_messages_allocate_nothing(void **state)
{
    static const struct {
        const char *head, *element;
    } dense[] = {
        {"94 00 05 a1 6d dd 00 00 00 00", "c0"},             /* an array of nils */
        {"94 00 05 a1 6d 91 df 00 00 00 00", "c0 c0"},       /* a map of them */
        {"94 00 05 a1 6d dd 00 00 00 00", "90"},             /* of empty arrays */
        {"94 00 05 a1 6d dd 00 00 00 00", "91 c0"},          /* of arrays of one */
        {"94 00 05 a1 6d dd 00 00 00 00", "91 91 91 91 c0"}, /* nested */
        {"94 00 05 a1 6d dd 00 00 00 00", "81 c0 c0"},
        {"94 00 05 a1 6d dd 00 00 00 00", "81 c0 81 c0 81 c0 c0"},
        {"94 00 05 a1 6d dd 00 00 00 00", "a0"},
        {"94 00 05 a1 6d dd 00 00 00 00", "c4 00"},
        {"94 00 05 a1 6d dd 00 00 00 00", "d4 01 01"},
        {"94 00 05 a1 6d dd 00 00 00 00", "a3 6b 65 79"},
    };
    struct request_decoder *decoder = *state;
    const void *chunk = decoder->zone.chunk_list.head;
    for (size_t i = 0; i < N_ELEMENTS(dense); i++) {
        struct bytes message = fill(dense[i].head, dense[i].element);
        struct request request;
        assert_true(message.len > MAX_BYTES - 16);
        size_t before = allocated_bytes();
        for (int round = 0; round < 3; round++)
            assert_int_equal(decode(decoder, &message, &request), 0);
        assert_int_equal(allocated_bytes(), before);
        assert_ptr_equal(decoder->zone.chunk_list.head, chunk);
        bytes_free(&message);
    }
}

/* A message of exactly so many values: the head, whose values are counted, and a count of 32 bits
 * that it ends in; then as many elements as there is room for. */
static struct bytes fill_values(const char *head_hex, size_t head_values, const char *element_hex,
                                size_t element_values, size_t max_values)
{
    struct bytes head = bytes_from_hex(head_hex), element = bytes_from_hex(element_hex);
    size_t n = (max_values - head_values) / element_values;
    struct bytes message = {.len = head.len + n * element.len};
    message.p = malloc(message.len);
    assert_non_null(message.p);
    memcpy(message.p, head.p, head.len);
    for (size_t i = 0; i < n; i++)
        memcpy(message.p + head.len + i * element.len, element.p, element.len);
    message.p[head.len - 3] = (uint8_t)(n >> 16);
    message.p[head.len - 2] = (uint8_t)(n >> 8);
    message.p[head.len - 1] = (uint8_t)n;
    bytes_free(&head);
    bytes_free(&element);
    return message;
}

/* As the daemon has it: messages may be much longer than they may have values. */
static void max_elements_bound_what_is_decoded(void **state)
{
    static const struct {
        const char *head;
        size_t head_values;
        const char *element;
        size_t element_values;
    } dense[] = {
        {"94 00 05 a1 6d dd 00 00 00 00", 4, "c0", 1},
        {"94 00 05 a1 6d dd 00 00 00 00", 4, "90", 1},
        {"94 00 05 a1 6d dd 00 00 00 00", 4, "80", 1},
        {"94 00 05 a1 6d dd 00 00 00 00", 4, "91 c0", 2},
        {"94 00 05 a1 6d dd 00 00 00 00", 4, "81 c0 c0", 3},
        {"94 00 05 a1 6d dd 00 00 00 00", 4, "91 91 91 91 91 c0", 6},
        {"94 00 05 a1 6d dd 00 00 00 00", 4, "c4 08 31 32 33 34 35 36 37 38", 1},
        {"94 00 05 a1 6d 91 dd 00 00 00 00", 5, "c0", 1},
        {"94 00 05 a1 6d 91 df 00 00 00 00", 5, "c0 c0", 2},
        {"94 00 05 a1 6d 91 df 00 00 00 00", 5, "a1 61 81 c0 c0", 4},
        {"94 00 05 a1 6d 91 df 00 00 00 00", 5, "a1 61 91 90", 3},
        {"94 00 05 a1 6d 93 c0 c0 dd 00 00 00 00", 7, "c0", 1},
    };
    static const size_t max_elements[] = {64, 65, 66, 100, 1000, 20064};
    (void)state;
    for (size_t m = 0; m < N_ELEMENTS(max_elements); m++) {
        struct request_decoder decoder;
        struct frame frame;
        assert_int_equal(request_decoder_init(&decoder, 1 << 20, max_elements[m]), 0);
        const void *chunk = decoder.zone.chunk_list.head;
        for (size_t i = 0; i < N_ELEMENTS(dense); i++) {
            struct request request;
            struct slice found;
            struct bytes message =
                fill_values(dense[i].head, dense[i].head_values, dense[i].element,
                            dense[i].element_values, max_elements[m]);
            frame_init(&frame, 1 << 20, max_elements[m]);
            assert_int_equal(frame_next(&frame, slice_of(message.p, message.len), &found), 0);
            size_t before = allocated_bytes();
            for (int round = 0; round < 3; round++)
                assert_int_equal(request_decode(&decoder, found, &request), 0);
            assert_int_equal(allocated_bytes(), before);
            assert_ptr_equal(decoder.zone.chunk_list.head, chunk);
            bytes_free(&message);
        }
        request_decoder_deinit(&decoder);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_decoded_into_slices_of_its_message),
        cmocka_unit_test(method_names_may_be_str_or_bin),
        cmocka_unit_test(what_is_no_request_keeps_its_msgid),
        cmocka_unit_test(notifications_and_responses_are_told_apart),
        cmocka_unit_test(every_encoding_of_a_msgid_is_read),
        cmocka_unit_test(options_are_found_by_name),
        cmocka_unit_test(empty_keys_have_no_length),
        cmocka_unit_test(the_largest_messages_allocate_nothing),
        cmocka_unit_test(max_elements_bound_what_is_decoded),
    };
    return cmocka_run_group_tests(tests, init, deinit);
}
