/*
 * actc: calls, and everything that can happen to them, against a server that the test plays itself,
 * byte by byte.
 */
#include "base/clock.h"
#include "client/calls.h"
#include "client/wire.h"
#include "test_actc_peer.h"

#include <arpa/inet.h>
#include <errno.h>

static void requests_are_what_the_protocol_says(void **state)
{
    (void)state;
    static const char wanted[] = "\x94\x00\x01\xa3get\x91\xc4\x03"
                                 "a\x00z"
                                 "\x94\x00\x02\xa4ping\x90";
    char got[64];
    uint32_t call;
    start(NULL);
    assert_int_equal(actc_send_key(f.client, "get", "a\0z", 3, &call, &f.error), 0);
    assert_int_equal(actc_send(f.client, "ping", NULL, 0, &call, &f.error), 0);
    assert_int_equal(actc_flush(f.client, &f.error), 0);
    assert_int_equal(read(f.peer, got, sizeof got), sizeof wanted - 1);
    assert_memory_equal(got, wanted, sizeof wanted - 1);
}

static void replies_come_in_any_order(void **state)
{
    (void)state;
    start(NULL);
    uint32_t a = send_get("a"), b = send_get("b"), c = send_get("c");
    reply_u64(c, 3);
    reply_u64(a, UINT64_MAX);
    reply_u64(b, 2);
    wait_u64(a, UINT64_MAX);
    wait_u64(b, 2);
    wait_u64(c, 3);
    assert_int_equal(actc_wait(f.client, c, NULL, &f.error), -EINVAL);
    assert_message_has("no open call");
}

static void a_message_may_come_byte_by_byte(void **state)
{
    (void)state;
    static const char reply[] = "\x94\x01\xcd\x12\x34\xc0\x92\xcf\x00\x00\x00\x00\x00\x00\x00\x07"
                                "\xc4\x02hi";
    int fds[2];
    struct wire wire;
    struct slice message;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    wire_init(&wire, fds[0], 1000);
    for (unsigned round = 0; round < 3; round++)
        for (size_t i = 0; i < sizeof reply - 1; i++) {
            assert_int_equal(wire_next(&wire, &message), WIRE_MORE);
            assert_int_equal(write(fds[1], reply + i, 1), 1);
            assert_int_equal(wire_turn(&wire, clock_ms() + 10000), 0);
            if (i < sizeof reply - 2)
                continue;
            assert_int_equal(wire_next(&wire, &message), 0);
            assert_int_equal(message.len, sizeof reply - 1);
            assert_memory_equal(message.p, reply, message.len);
            assert_int_equal(wire.frame.msgid, 0x1234);
        }
    assert_int_equal(wire_turn(&wire, 0), WIRE_TIMEOUT);
    wire_deinit(&wire);
    close(fds[1]);
}

static void a_late_reply_is_dropped(void **state)
{
    (void)state;
    struct actc_counters counters;
    start(NULL);
    actc_set_call_timeout(f.client, 1);
    uint32_t late = send_get("late");
    actc_set_call_timeout(f.client, 0);
    uint32_t open = send_get("open");
    wait_fails(late, ACTC_TIMEOUT, "1 ms");
    reply_u64(late, 1);
    uint32_t next = send_get("next");
    reply_u64(next, 3);
    reply_u64(open, 2);
    wait_u64(open, 2);
    wait_u64(next, 3);
    actc_counters(f.client, &counters);
    assert_int_equal(counters.n_late, 1);
    assert_int_equal(counters.n_unknown, 0);
}

/* A deadline of 1 ms is over: the passing of time itself is what is tested. */
static void pass_time(void)
{
    for (uint64_t end = clock_ms() + 3; clock_ms() < end;)
        continue;
}

static void a_reply_that_is_there_beats_its_deadline(void **state)
{
    (void)state;
    start(NULL);
    actc_set_call_timeout(f.client, 1);
    uint32_t call = send_get("a");
    reply_u64(call, 5);
    pass_time();
    wait_u64(call, 5);
}

/* Until the socket is full. Result: how many. */
static size_t send_notifications(void)
{
    static const char notification[] = "\x93\x02\xa1n\x90";
    static char many[5 * 1000];
    size_t n_bytes = 0;
    for (size_t i = 0; i < sizeof many; i++)
        many[i] = notification[i % (sizeof notification - 1)];
    for (ssize_t n; (n = send(f.peer, many, sizeof many, MSG_DONTWAIT)) > 0;)
        n_bytes += (size_t)n;
    return n_bytes / (sizeof notification - 1);
}

static void a_flood_does_not_hold_up_a_deadline(void **state)
{
    (void)state;
    struct actc_counters counters;
    start(NULL);
    size_t n = send_notifications();
    assert_true(n > 20000); /* more than one read takes */
    actc_set_call_timeout(f.client, 1);
    uint32_t call = send_get("a");
    pass_time();
    wait_fails(call, ACTC_TIMEOUT, "no reply");
    actc_counters(f.client, &counters);
    assert_true(counters.n_notifications > 0 && counters.n_notifications < n);
}

static void a_connection_may_break_in_mid_reply(void **state)
{
    (void)state;
    start(NULL);
    uint32_t a = send_get("a"), b = send_get("b"), c = send_get("c");
    reply_u64(b, 2);
    peer_write("\x94\x01\x01\xc0\xcf\x00", 6);
    assert_int_equal(shutdown(f.peer, SHUT_WR), 0);
    wait_fails(a, ACTC_LOST, "in the middle of a reply");
    wait_u64(b, 2); /* came whole before */
    wait_fails(c, ACTC_LOST, "closed the connection");
    uint32_t call = 77;
    assert_int_equal(actc_send_key(f.client, "get", "d", 1, &call, &f.error), ACTC_LOST);
    assert_int_equal(call, 77);
    assert_int_equal(actc_flush(f.client, &f.error), ACTC_LOST);
    assert_int_equal(actc_ping(f.client, NULL), ACTC_LOST);
}

static void a_server_that_is_gone_raises_no_signal(void **state)
{
    (void)state;
    start(NULL);
    uint32_t a = send_get("a");
    reply_u64(a, 1); /* what it said before it went is heard */
    peer_close();
    assert_int_equal(actc_flush(f.client, &f.error), ACTC_LOST);
    wait_u64(a, 1);
    assert_int_equal(actc_flush(f.client, &f.error), ACTC_LOST);
    assert_message_has("connection");
}

static void a_refusal_in_mid_request_is_heard(void **state)
{
    (void)state;
    static char params[1024 * 1024 + 6] = "\x91\xc6\x00\x10\x00";
    static struct actc_bytes keys[2000];
    static struct actc_result results[2000];
    uint32_t call;
    for (unsigned i = 0; i < 2; i++) {
        start(NULL);
        reply_error(1, "\x92\x04\xa9TOO_LARGE", 12); /* lies in the socket before call 1 */
        peer_close();
        if (i == 0) {
            assert_int_equal(actc_send(f.client, "get", params, sizeof params, &call, &f.error), 0);
            wait_fails(call, ACTC_ERROR, "TOO_LARGE");
        } else {
            for (size_t k = 0; k < N_ELEMENTS(keys); k++)
                keys[k] = (struct actc_bytes){params, 100};
            assert_int_equal(actc_mget(f.client, keys, 2000, results, &f.error), ACTC_ERROR);
        }
        assert_int_equal(f.error.number, 4);
        assert_int_equal(actc_ping(f.client, &f.error), ACTC_LOST);
        actc_close(f.client);
        f.client = NULL;
    }
}

static void garbage_ends_the_connection(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t len;
        const char *says;
    } cases[] = {
        {"\xc1", 1, "no MessagePack-RPC"},
        {"HTTP/1.1 400 Bad Request\r\n", 26, "no MessagePack-RPC"},
        {"\x94\x07\x01\xc0\xc0", 5, "no MessagePack-RPC"},
        {"\x94\x01\xff\xc0\xc0", 5, "no MessagePack-RPC"},
        /* 4,294,967,295 elements, pairs and bytes in five bytes */
        {"\x94\x01\x01\xc0\xdd\xff\xff\xff\xff", 9, "max_reply_bytes"},
        {"\x94\x01\x01\xc0\xdf\xff\xff\xff\xff", 9, "max_reply_bytes"},
        {"\x94\x01\x01\xc0\xc6\xff\xff\xff\xff", 9, "max_reply_bytes"},
    };
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        start(NULL);
        uint32_t call = send_get("a");
        peer_write(cases[i].bytes, cases[i].len);
        wait_fails(call, ACTC_LOST, cases[i].says);
        assert_int_equal(actc_ping(f.client, &f.error), ACTC_LOST);
        assert_message_has(cases[i].says);
        actc_close(f.client);
        f.client = NULL;
        peer_close();
    }
}

static void a_reply_has_a_largest_size(void **state)
{
    (void)state;
    struct actc_options options = {.max_reply_bytes = 1000};
    start(&options);
    uint32_t a = send_get("a"), b = send_get("b");
    reply_bin(a, 1000 - 4 - 3); /* [1, id as one byte, nil, bin 16] */
    reply_bin(b, 1000 - 4 - 3 + 1);
    assert_int_equal(actc_wait(f.client, a, NULL, &f.error), 0);
    wait_fails(b, ACTC_LOST, "1000 bytes (max_reply_bytes)");
}

static void a_large_reply_comes_whole(void **state)
{
    (void)state;
    struct actc_reply *reply;
    struct actc_options options = {.max_reply_bytes = 100000, .max_kept_bytes = 1};
    start(&options);
    uint32_t call = send_get("a");
    reply_bin(call, 99000);
    assert_int_equal(actc_wait(f.client, call, &reply, &f.error), 0);
    actc_close(f.client);
    f.client = NULL;
    assert_int_equal(actc_reply_result(reply)->via.bin.size, 99000); /* outlives its client */
    assert_int_equal(actc_reply_result(reply)->via.bin.ptr[98999], 0);
    actc_reply_free(reply);
}

static void a_reply_too_deep_fails_its_call_only(void **state)
{
    (void)state;
    start(NULL);
    uint32_t a = send_get("a"), b = send_get("b"), c = send_get("c");
    peer_write("\x94\x01\x01\xc0\x91\x91\x91\x91\x91\x91\x91\x91\x91\x05", 14);
    peer_write("\x93\x01\x02\xc0", 4); /* no result */
    reply_u64(c, 3);
    assert_int_equal(a, 1);
    assert_int_equal(b, 2);
    wait_fails(a, ACTC_BAD_REPLY, "nested");
    wait_fails(b, ACTC_BAD_REPLY, "not a response");
    wait_u64(c, 3);
}

static void what_was_not_asked_for_is_ignored(void **state)
{
    (void)state;
    struct actc_counters counters;
    start(NULL);
    uint32_t a = send_get("a");
    peer_write("\x93\x02\xaageneration\x91\x80", 15);
    peer_write("\x94\x00\x01\xa4ping\x90", 9);
    reply_u64(12345, 9);
    reply_u64(0, 9);
    reply_u64(a, 1);
    reply_u64(a, 2); /* twice */
    wait_u64(a, 1);
    uint32_t b = send_get("b");
    reply_u64(b, 3);
    wait_u64(b, 3);
    actc_counters(f.client, &counters);
    assert_int_equal(counters.n_notifications, 2);
    assert_int_equal(counters.n_unknown, 2);
    assert_int_equal(counters.n_late, 1);
}

static void errors_have_several_forms(void **state)
{
    (void)state;
    static const struct {
        const char *error;
        size_t len;
        uint32_t number;
        const char *text;
    } cases[] = {
        {"\x92\x06\xb3"
         "CORRUPT: it is torn",
         22, 6, "CORRUPT: it is torn"},
        {"\x92\x06\xc4\x07"
         "CORRUPT",
         11, 6, "CORRUPT"},
        {"\xaf"
         "CORRUPT: string",
         16, 0, "CORRUPT: string"},
        {"\x92\xcf\x00\x00\x00\x01\x00\x00\x00\x00\xa1x", 12, 0, "x"},
        {"\xa0", 1, 0, ""},
        {"\x07", 1, 0, "an error of a form that this client does not know"},
        {"\x92\x07\x07", 3, 7, "an error of a form that this client does not know"},
        {"\x90", 1, 0, "an error of a form that this client does not know"},
        {"\xc2", 1, 0, "an error of a form that this client does not know"},
    };
    start(NULL);
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        uint32_t call = send_get("a");
        reply_error(call, cases[i].error, cases[i].len);
        wait_fails(call, ACTC_ERROR, cases[i].text);
        assert_int_equal(f.error.number, cases[i].number);
        assert_string_equal(f.error.text, cases[i].text);
    }
    uint32_t call = send_get("a");
    reply_error(call, "\xa1x", 2);
    assert_int_equal(actc_wait(f.client, call, NULL, NULL), ACTC_ERROR);
}

static void a_long_error_text_is_cut(void **state)
{
    (void)state;
    char error[2003] = "\xda\x07\xd0"; /* 2,000 bytes */
    memset(error + 3, 'x', 2000);
    start(NULL);
    uint32_t call = send_get("a");
    reply_error(call, error, sizeof error);
    wait_fails(call, ACTC_ERROR, "xxxx");
    assert_int_equal(strlen(f.error.text), sizeof f.error.text - 1);
}

static void open_calls_are_bounded(void **state)
{
    (void)state;
    struct actc_options options = {.max_calls = 100};
    uint32_t calls[100], call;
    start(&options);
    for (size_t i = 0; i < 100; i++)
        calls[i] = send_get("a");
    assert_int_equal(actc_send(f.client, "ping", NULL, 0, &call, &f.error), ACTC_FULL);
    assert_message_has("100 calls are open");
    actc_forget(f.client, calls[50]);
    actc_forget(f.client, calls[50]);
    actc_forget(f.client, 0);
    calls[50] = send_get("b");
    assert_int_equal(actc_send(f.client, "ping", NULL, 0, &call, &f.error), ACTC_FULL);
    reply_u64(calls[99], 99);
    wait_u64(calls[99], 99);
    send_get("c");
}

static void kept_replies_are_bounded(void **state)
{
    (void)state;
    struct actc_options options = {.max_kept_bytes = 1000};
    start(&options);
    uint32_t a = send_get("a"), b = send_get("b"), c = send_get("c"), d = send_get("d");
    reply_bin(a, 600);
    reply_bin(b, 600);
    reply_bin(c, 2000);
    assert_int_equal(actc_wait(f.client, c, NULL, &f.error), 0); /* awaited: not kept */
    wait_fails(b, ACTC_DROPPED, "max_kept_bytes");
    assert_int_equal(actc_wait(f.client, a, NULL, &f.error), 0);
    uint32_t e = send_get("e"); /* there is room again */
    reply_bin(d, 900);
    reply_u64(e, 1);
    wait_u64(e, 1);
    assert_int_equal(actc_wait(f.client, d, NULL, &f.error), 0);
}

static void connect_says_what_is_wrong(void **state)
{
    (void)state;
    struct actc *client = NULL;
    struct actc_options options = {.max_calls = UINT32_MAX};
    static const char *const bad[] = {
        "", "/run/actd.sock", "unix:", "tcp:", "tcp:localhost", "tcp:127.0.0.1:99999"};
    for (size_t i = 0; i < N_ELEMENTS(bad); i++) {
        assert_int_equal(actc_connect(bad[i], NULL, &client, &f.error), ACTC_BAD_ADDRESS);
        assert_message_has(bad[i]);
    }
    assert_int_equal(actc_connect("unix:/nonexistent/x", NULL, &client, &f.error), -ENOENT);
    assert_message_has("unix:/nonexistent/x");
    assert_message_has("is actd running");
    assert_int_equal(actc_connect(f.address, &options, &client, &f.error), -EINVAL);
    close(f.listener);
    assert_int_equal(actc_connect(f.address, NULL, &client, &f.error), -ECONNREFUSED);
    assert_message_has(f.address);
    assert_message_has("is actd running");
    assert_int_equal(actc_connect(f.address, NULL, &client, NULL), -ECONNREFUSED);
    assert_null(client);
    unlink(f.path);
    listen_unix(1);
}

/* Connects until the listener's queue is full. */
static void connect_until_timeout(const char *address)
{
    struct actc *clients[16];
    struct actc_options options = {.connect_timeout_ms = 50};
    size_t n = 0;
    int r = 0;
    while (n < N_ELEMENTS(clients) && r == 0) {
        r = actc_connect(address, &options, &clients[n], &f.error);
        n += r == 0;
    }
    assert_int_equal(r, ACTC_TIMEOUT);
    assert_message_has(address);
    assert_message_has("within 50 ms");
    while (n > 0)
        actc_close(clients[--n]);
}

static void connect_has_a_deadline(void **state)
{
    (void)state;
    char address[64];
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof in;
    assert_int_equal(listen(f.listener, 0), 0);
    connect_until_timeout(f.address);

    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (void *)&in, sizeof in), 0);
    assert_int_equal(listen(listener, 0), 0);
    assert_int_equal(getsockname(listener, (void *)&in, &len), 0);
    snprintf(address, sizeof address, "tcp:127.0.0.1:%u", ntohs(in.sin_port));
    connect_until_timeout(address);
    close(listener);
    struct actc *client;
    assert_int_equal(actc_connect(address, NULL, &client, &f.error), -ECONNREFUSED);
    assert_message_has("is actd running");
}

static void ids_wrap_around_open_calls(void **state)
{
    (void)state;
    struct calls calls;
    struct call *call;
    calls_init(&calls, 1000);
    calls.next_id = UINT32_MAX - 1;
    for (unsigned i = 0; i < 500; i++)
        assert_int_equal(calls_add(&calls, &call), 0);
    assert_non_null(calls_find(&calls, UINT32_MAX));
    assert_null(calls_find(&calls, 0));
    assert_true(calls_has_issued(&calls, 12345678));
    calls.next_id = 1; /* all of these are open */
    for (unsigned i = 500; i < 1000; i++) {
        assert_int_equal(calls_add(&calls, &call), 0);
        assert_ptr_equal(calls_find(&calls, call->id), call);
    }
    assert_int_equal(calls_add(&calls, &call), CALLS_FULL);
    assert_int_equal(calls.n_open, 1000);
    calls_remove(&calls, calls_find(&calls, UINT32_MAX));
    assert_int_equal(calls_add(&calls, &call), 0);
    calls_deinit(&calls);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(requests_are_what_the_protocol_says),
        CASE(replies_come_in_any_order),
        CASE(a_message_may_come_byte_by_byte),
        CASE(a_late_reply_is_dropped),
        CASE(a_reply_that_is_there_beats_its_deadline),
        CASE(a_flood_does_not_hold_up_a_deadline),
        CASE(a_connection_may_break_in_mid_reply),
        CASE(a_server_that_is_gone_raises_no_signal),
        CASE(a_refusal_in_mid_request_is_heard),
        CASE(garbage_ends_the_connection),
        CASE(a_reply_has_a_largest_size),
        CASE(a_large_reply_comes_whole),
        CASE(a_reply_too_deep_fails_its_call_only),
        CASE(what_was_not_asked_for_is_ignored),
        CASE(errors_have_several_forms),
        CASE(a_long_error_text_is_cut),
        CASE(open_calls_are_bounded),
        CASE(kept_replies_are_bounded),
        CASE(connect_says_what_is_wrong),
        CASE(connect_has_a_deadline),
        CASE(ids_wrap_around_open_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
