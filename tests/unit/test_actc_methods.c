/*
 * actc: methods and their results, and cases where both sides move at once: there a thread plays
 * the server.
 */
#include "test_actc_peer.h"

#include <pthread.h>

/* A server in a thread: it answers each request before it reads the next one, and stands still
 * where its answer is not read. */
struct server {
    pthread_t thread;
    size_t reply_bytes; /* of the answer to "echo" */
    unsigned n_requests;
    bool is_reversed; /* answers come in pairs, the second one first */
};

static void pack_value(msgpack_packer *packer, const msgpack_object *key)
{
    if (key->via.bin.size == 0 || key->via.bin.ptr[0] == '-')
        msgpack_pack_nil(packer);
    else if (key->via.bin.ptr[0] == 'b')
        msgpack_pack_bin_with_body(packer, key->via.bin.ptr, key->via.bin.size);
    else
        msgpack_pack_uint64(packer, strtoull(key->via.bin.ptr, NULL, 10));
}

static void answer(const struct server *server, msgpack_packer *packer, const msgpack_object *m)
{
    const msgpack_object_array *params = &m->via.array.ptr[3].via.array;
    const char *method = m->via.array.ptr[2].via.str.ptr;
    if (strncmp(method, "echo", 4) == 0) {
        msgpack_pack_bin(packer, server->reply_bytes);
        for (size_t i = 0; i < server->reply_bytes; i++)
            msgpack_pack_bin_body(packer, "x", 1);
    } else if (strncmp(method, "mget", 4) == 0) {
        const msgpack_object_array *keys = &params->ptr[0].via.array;
        if (params->size > 1) { /* {"errors": true} */
            msgpack_pack_map(packer, 2);
            msgpack_pack_str_with_body(packer, "errors", 6);
            msgpack_pack_array(packer, 0);
            msgpack_pack_str_with_body(packer, "values", 6);
        }
        msgpack_pack_array(packer, keys->size);
        for (uint32_t i = 0; i < keys->size; i++)
            pack_value(packer, &keys->ptr[i]);
    } else {
        pack_value(packer, &params->ptr[0]);
    }
}

static void *serve(void *context)
{
    struct server *server = context;
    msgpack_unpacker unpacker;
    msgpack_unpacked message;
    msgpack_sbuffer held = {0};
    ssize_t n = 1;
    msgpack_unpacker_init(&unpacker, 1024);
    msgpack_unpacked_init(&message);
    while (n > 0) {
        while (msgpack_unpacker_next(&unpacker, &message) == MSGPACK_UNPACK_SUCCESS) {
            msgpack_packer packer;
            msgpack_sbuffer buffer;
            begin_reply(&packer, &buffer, (uint32_t)message.data.via.array.ptr[1].via.u64);
            msgpack_pack_nil(&packer);
            answer(server, &packer, &message.data);
            if (server->is_reversed && server->n_requests % 2 == 0) {
                held = buffer;
            } else {
                end_reply(&buffer);
                if (held.data)
                    end_reply(&held);
                held = (msgpack_sbuffer){0};
            }
            server->n_requests++;
        }
        msgpack_unpacker_reserve_buffer(&unpacker, 65536);
        n = read(f.peer, msgpack_unpacker_buffer(&unpacker),
                 msgpack_unpacker_buffer_capacity(&unpacker));
        msgpack_unpacker_buffer_consumed(&unpacker, n > 0 ? (size_t)n : 0);
    }
    msgpack_sbuffer_destroy(&held);
    msgpack_unpacked_destroy(&message);
    msgpack_unpacker_destroy(&unpacker);
    return NULL;
}

static void start_server(struct server *server)
{
    assert_int_equal(pthread_create(&server->thread, NULL, serve, server), 0);
}

static void stop_server(struct server *server)
{
    actc_close(f.client);
    f.client = NULL;
    assert_int_equal(pthread_join(server->thread, NULL), 0);
}

static void sending_reads_replies_meanwhile(void **state)
{
    (void)state;
    enum { N = 100, BYTES = 65536 };
    struct server server = {.reply_bytes = BYTES};
    static char params[BYTES + 4] = {(char)0x91, (char)0xc5, (char)0xff, (char)0xff}; /* bin 16 */
    uint32_t calls[N];
    start(NULL);
    start_server(&server);
    for (size_t i = 0; i < N; i++)
        assert_int_equal(actc_send(f.client, "echo", params, 4 + 0xffff, &calls[i], &f.error), 0);
    for (size_t i = N; i-- > 0;) {
        struct actc_reply *reply;
        assert_int_equal(actc_wait(f.client, calls[i], &reply, &f.error), 0);
        assert_int_equal(actc_reply_result(reply)->via.bin.size, BYTES);
        actc_reply_free(reply);
    }
    stop_server(&server);
}

static void a_deadline_in_mid_request_keeps_the_stream_whole(void **state)
{
    (void)state;
    enum { BYTES = 4 * 1024 * 1024 };
    struct server server = {.reply_bytes = 10};
    char *params = calloc(1, BYTES + 6);
    uint32_t call = 0;
    memcpy(params, "\x91\xc6\x00\x40\x00\x00", 6);
    start(NULL);
    actc_set_call_timeout(f.client, 20);
    for (unsigned i = 0; i < 3; i++) /* the second and third find no room and queue nothing */
        assert_int_equal(actc_send(f.client, "echo", params, BYTES + 6, &call, &f.error),
                         ACTC_TIMEOUT);
    actc_set_call_timeout(f.client, 0);
    start_server(&server);
    assert_int_equal(actc_send(f.client, "echo", params, BYTES + 6, &call, &f.error), 0);
    assert_int_equal(actc_wait(f.client, call, NULL, &f.error), 0);
    struct actc_counters counters;
    actc_counters(f.client, &counters);
    assert_int_equal(counters.n_late, 1);
    stop_server(&server);
    assert_int_equal(server.n_requests, 2);
    free(params);
}

static void mget_asks_in_lists(void **state)
{
    (void)state;
    enum { N = 20000 };
    static char texts[N][8];
    static struct actc_bytes keys[N];
    static struct actc_result results[N];
    struct server server = {.is_reversed = true};
    start(NULL);
    start_server(&server);
    for (size_t i = 0; i < N; i++) {
        snprintf(texts[i], sizeof texts[i], "%s%zu", i % 3 == 0 ? "-" : i % 5 == 0 ? "b" : "", i);
        keys[i] = (struct actc_bytes){texts[i], strlen(texts[i]) + 1};
    }
    assert_int_equal(actc_mget(f.client, keys, N, results, &f.error), 0);
    for (size_t i = 0; i < N; i++) {
        const struct actc_value *value = &results[i].value;
        assert_int_equal(results[i].outcome, i % 3 != 0 ? 0 : ACTC_MISS);
        assert_int_equal(value->is_bytes, i % 3 != 0 && i % 5 == 0);
        assert_int_equal(value->number, i % 3 != 0 && i % 5 != 0 ? i : 0);
        if (value->is_bytes) { /* all of them live, whatever list they came in */
            assert_int_equal(value->bytes.len, keys[i].len);
            assert_memory_equal(value->bytes.p, keys[i].p, keys[i].len);
        }
    }
    stop_server(&server);
    assert_int_equal(server.n_requests, (N + 511) / 512);
}

static void mget_of_nothing_asks_nothing(void **state)
{
    (void)state;
    start(NULL);
    assert_int_equal(actc_mget(f.client, NULL, 0, NULL, &f.error), 0);
}

static void mget_gives_up_all_lists_at_a_failure(void **state)
{
    (void)state;
    static struct actc_bytes keys[2000];
    static struct actc_result results[2000];
    struct actc_options options = {.max_calls = 4};
    start(&options);
    reply_error(1, "\xa1x", 2); /* lies in the socket before call 1 is sent */
    assert_int_equal(actc_mget(f.client, keys, 2000, results, &f.error), ACTC_ERROR);
    for (unsigned i = 0; i < 4; i++)
        send_get("all four are free");
}

static void methods_check_their_results(void **state)
{
    (void)state;
    struct actc_node node;
    struct actc_value value = {.number = 7};
    start(NULL);
    /* The answers lie ready: ids count from 1. */
    reply_u64(1, 5);
    assert_int_equal(actc_get(f.client, "k", 1, &value, &f.error), 0);
    assert_true(!value.is_bytes && value.number == 5);
    peer_write("\x94\x01\x02\xc0\xc0", 5);
    assert_int_equal(actc_get(f.client, NULL, 0, &value, &f.error), ACTC_MISS);
    peer_write("\x94\x01\x03\xc0\xff", 5);
    assert_int_equal(actc_get(f.client, "k", 1, &value, &f.error), ACTC_BAD_REPLY);
    assert_message_has("get: ");
    assert_int_equal(value.number, 5);
    peer_write("\x94\x01\x04\xc0\xc3", 5);
    assert_int_equal(actc_exists(f.client, "k", 1, &f.error), 0);
    peer_write("\x94\x01\x05\xc0\xc2", 5);
    assert_int_equal(actc_exists(f.client, "k", 1, &f.error), ACTC_MISS);
    peer_write("\x94\x01\x06\xc0\x01", 5);
    assert_int_equal(actc_exists(f.client, "k", 1, &f.error), ACTC_BAD_REPLY);
    peer_write("\x94\x01\x07\xc0\xa4pong", 9);
    assert_int_equal(actc_ping(f.client, &f.error), 0);
    peer_write("\x94\x01\x08\xc0\xa4pang", 9);
    assert_int_equal(actc_ping(f.client, &f.error), ACTC_BAD_REPLY);
    peer_write("\x94\x01\x09\xc0\x83\xa6"
               "exists\xc3\xa5value\x2a\xa8"
               "children\xc4\x02\x00\xff",
               33);
    assert_int_equal(actc_node(f.client, "k", 1, &node, &f.error), 0);
    assert_true(node.has_value && node.value.number == 42);
    assert_true(node.children[0] == 1 && node.children[3] == (uint64_t)1 << 63);
    peer_write("\x94\x01\x0a\xc0\x81\xa6"
               "exists\xc2",
               13);
    assert_int_equal(actc_node(f.client, "k", 1, &node, &f.error), ACTC_MISS);
    peer_write("\x94\x01\x0b\xc0\x81\xa6"
               "exists\xc3",
               13);
    assert_int_equal(actc_node(f.client, "k", 1, &node, &f.error), ACTC_BAD_REPLY);
    peer_write("\x94\x01\x0c\xc0\xc0", 5);
    assert_int_equal(actc_node(f.client, "k", 1, &node, &f.error), ACTC_BAD_REPLY);
}

static void mget_tells_a_key_that_failed_from_a_miss(void **state)
{
    (void)state;
    static const struct actc_bytes keys[3] = {{"a", 1}, {NULL, 0}, {"c", 1}};
    static const struct {
        const char *result;
        size_t len;
        int outcome;
    } cases[] = {
        {"\x92\x01\x02", 3, ACTC_BAD_REPLY},
        {"\x82\xa6values\x93\x01\xc0\xff\xa6"
         "errors\x90",
         20, ACTC_BAD_REPLY}, /* -1 */
        {"\x82\xa6values\x92\x01\xc0\xa6"
         "errors\x90",
         19, ACTC_BAD_REPLY}, /* too few */
        {"\x81\xa6values\x93\x01\xc0\x02", 12, ACTC_BAD_REPLY},
        {"\x82\xa6values\x93\x01\xc0\xc0\xa6"
         "errors\x91\x92\x03\x92\x06\xa1x",
         26, ACTC_BAD_REPLY}, /* there is no key 3 */
        {"\x82\xa6values\x93\x01\xc0\xc0\xa6"
         "errors\x91\x05",
         21, ACTC_BAD_REPLY},
        {"\x82\xa6values\x93\x01\xc0\xc0\xa6"
         "errors\x91\x92\x02\x92\x06\xa1x",
         26, 0},
    };
    struct actc_result results[3];
    start(NULL);
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        reply_result((uint32_t)i + 1, cases[i].result, cases[i].len);
        assert_int_equal(actc_mget(f.client, keys, 3, results, &f.error), cases[i].outcome);
    }
    assert_true(results[0].outcome == 0 && results[0].value.number == 1);
    assert_int_equal(results[1].outcome, ACTC_MISS);
    assert_true(results[2].outcome == ACTC_ERROR && results[2].error_number == 6);
}

static void byte_strings_are_views(void **state)
{
    (void)state;
    struct actc_value value;
    struct actc_node node;
    start(NULL);
    reply_result(1, "\xc4\x02\x00z", 4);
    assert_int_equal(actc_get(f.client, "k", 1, &value, &f.error), 0);
    assert_true(value.is_bytes && value.bytes.len == 2);
    assert_memory_equal(value.bytes.p, "\0z", 2);
    /* Other calls leave them alone. */
    uint32_t call = send_get("other");
    reply_u64(call, 1);
    wait_u64(call, 1);
    assert_memory_equal(value.bytes.p, "\0z", 2);
    reply_result(3, "\xc4\x00", 2);
    assert_int_equal(actc_get(f.client, "empty", 5, &value, &f.error), 0);
    assert_true(value.is_bytes && value.bytes.len == 0);
    reply_result(4, "\xc4\x01y", 3);
    assert_int_equal(actc_get(f.client, "k", 1, NULL, &f.error), 0);
    reply_result(5, "\xa1y", 2); /* a str, such as a number that was asked for as text */
    assert_int_equal(actc_get(f.client, "k", 1, &value, &f.error), ACTC_BAD_REPLY);
    static const char result[] = "\x83\xa6"
                                 "exists\xc3\xa5value\xc4\x01z\xa8"
                                 "children\xc4";
    reply_result(6, result, sizeof result); /* and its NUL: no children */
    assert_int_equal(actc_node(f.client, "k", 1, &node, &f.error), 0);
    assert_true(node.has_value && node.value.is_bytes && node.value.bytes.len == 1);
    assert_memory_equal(node.value.bytes.p, "z", 1);
}

static void lists_that_are_waited_for_hold_their_views(void **state)
{
    (void)state;
    static const struct actc_bytes keys[2] = {{"a", 1}, {"b", 1}};
    static const char result[] = "\x82\xa6values\x92\x07\xc4\x01z\xa6"
                                 "errors\x90";
    struct actc_result first[2], second[2];
    uint32_t calls[2];
    start(NULL);
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(actc_send_mget(f.client, keys, 2, &calls[i], &f.error), 0);
    reply_result(calls[1], result, sizeof result - 1);
    reply_result(calls[0], result, sizeof result - 1);
    assert_int_equal(actc_wait_mget(f.client, calls[0], 2, first, &f.error), 0);
    assert_true(first[0].value.number == 7 && first[1].value.is_bytes);
    assert_memory_equal(first[1].value.bytes.p, "z", 1);
    assert_int_equal(actc_wait_mget(f.client, calls[1], 2, second, &f.error), 0);
    assert_memory_equal(second[1].value.bytes.p, "z", 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(sending_reads_replies_meanwhile),
        CASE(a_deadline_in_mid_request_keeps_the_stream_whole),
        CASE(mget_asks_in_lists),
        CASE(mget_of_nothing_asks_nothing),
        CASE(mget_gives_up_all_lists_at_a_failure),
        CASE(methods_check_their_results),
        CASE(mget_tells_a_key_that_failed_from_a_miss),
        CASE(byte_strings_are_views),
        CASE(lists_that_are_waited_for_hold_their_views),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
