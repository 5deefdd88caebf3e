/*
 * actc: the client against a server that the test plays itself, byte by byte.
 *
 * A connection to a listening socket stands before it is accepted, and what the server says may
 * lie in the socket before the client waits for it: so most cases need no second thread and no
 * time. Only where both sides must move at once a thread plays the server.
 */
#include "actc/actc.h"
#include "base/clock.h"
#include "client/calls.h"
#include "client/wire.h"
#include "unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <msgpack.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct fixture {
    char dir[64], path[96], address[128];
    int listener, peer; /* peer: the server's end */
    struct actc *client;
    struct actc_error error;
};

static struct fixture f;

static void listen_unix(int backlog)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    snprintf(un.sun_path, sizeof un.sun_path, "%s", f.path);
    f.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(f.listener, (void *)&un, sizeof un), 0);
    assert_int_equal(listen(f.listener, backlog), 0);
}

static void start(const struct actc_options *options)
{
    int r = actc_connect(f.address, options, &f.client, &f.error);
    if (r != 0)
        fail_msg("%s", f.error.message);
    f.peer = accept(f.listener, NULL, NULL);
    assert_true(f.peer >= 0);
}

static int setup(void **state)
{
    (void)state;
    memset(&f, 0, sizeof f);
    snprintf(f.dir, sizeof f.dir, "/tmp/test_actc.XXXXXX");
    assert_non_null(mkdtemp(f.dir));
    snprintf(f.path, sizeof f.path, "%s/sock", f.dir);
    snprintf(f.address, sizeof f.address, "unix:%s", f.path);
    f.peer = -1;
    listen_unix(8);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    actc_close(f.client);
    close(f.listener);
    if (f.peer >= 0)
        close(f.peer);
    unlink(f.path);
    return rmdir(f.dir);
}

/* The server's side. */

static void peer_write(const void *p, size_t len)
{
    assert_int_equal(write(f.peer, p, len), len);
}

static void peer_close(void)
{
    close(f.peer);
    f.peer = -1;
}

static void begin_reply(msgpack_packer *packer, msgpack_sbuffer *buffer, uint32_t id)
{
    msgpack_sbuffer_init(buffer);
    msgpack_packer_init(packer, buffer, msgpack_sbuffer_write);
    msgpack_pack_array(packer, 4);
    msgpack_pack_int(packer, 1);
    msgpack_pack_uint32(packer, id);
}

static void end_reply(msgpack_sbuffer *buffer)
{
    peer_write(buffer->data, buffer->size);
    msgpack_sbuffer_destroy(buffer);
}

static void reply_u64(uint32_t id, uint64_t value)
{
    msgpack_packer packer;
    msgpack_sbuffer buffer;
    begin_reply(&packer, &buffer, id);
    msgpack_pack_nil(&packer);
    msgpack_pack_uint64(&packer, value);
    end_reply(&buffer);
}

static void reply_bin(uint32_t id, size_t len)
{
    msgpack_packer packer;
    msgpack_sbuffer buffer;
    uint8_t *bytes = calloc(1, len);
    begin_reply(&packer, &buffer, id);
    msgpack_pack_nil(&packer);
    msgpack_pack_bin_with_body(&packer, bytes, len);
    free(bytes);
    end_reply(&buffer);
}

/* error: MessagePack. */
static void reply_error(uint32_t id, const void *error, size_t len)
{
    msgpack_packer packer;
    msgpack_sbuffer buffer;
    begin_reply(&packer, &buffer, id);
    msgpack_sbuffer_write(&buffer, error, len);
    msgpack_pack_nil(&packer);
    end_reply(&buffer);
}

/* The client's side. */

static uint32_t send_get(const char *key)
{
    uint32_t call = 0;
    int r = actc_send_key(f.client, "get", key, strlen(key), &call, &f.error);
    if (r != 0)
        fail_msg("%s", f.error.message);
    assert_int_not_equal(call, 0);
    return call;
}

static void wait_u64(uint32_t call, uint64_t wanted)
{
    struct actc_reply *reply;
    int r = actc_wait(f.client, call, &reply, &f.error);
    if (r != 0)
        fail_msg("%s", f.error.message);
    assert_int_equal(actc_reply_result(reply)->type, MSGPACK_OBJECT_POSITIVE_INTEGER);
    assert_int_equal(actc_reply_result(reply)->via.u64, wanted);
    actc_reply_free(reply);
}

static void assert_message_has(const char *text)
{
    if (!strstr(f.error.message, text))
        fail_msg("\"%s\" does not say \"%s\"", f.error.message, text);
}

static void wait_fails(uint32_t call, int outcome, const char *text)
{
    assert_int_equal(actc_wait(f.client, call, NULL, &f.error), outcome);
    assert_message_has(f.address);
    assert_message_has(text);
}

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
    static struct actc_value values[2000];
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
            assert_int_equal(actc_mget(f.client, keys, 2000, values, &f.error), ACTC_ERROR);
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
        msgpack_pack_map(packer, 2);
        msgpack_pack_str_with_body(packer, "errors", 6);
        msgpack_pack_array(packer, 0);
        msgpack_pack_str_with_body(packer, "values", 6);
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
    static struct actc_value values[N];
    struct server server = {.is_reversed = true};
    start(NULL);
    start_server(&server);
    for (size_t i = 0; i < N; i++) {
        snprintf(texts[i], sizeof texts[i], "%s%zu", i % 3 == 0 ? "-" : "", i);
        keys[i] = (struct actc_bytes){texts[i], strlen(texts[i]) + 1};
    }
    assert_int_equal(actc_mget(f.client, keys, N, values, &f.error), 0);
    for (size_t i = 0; i < N; i++) {
        assert_int_equal(values[i].outcome, i % 3 != 0 ? 0 : ACTC_MISS);
        assert_int_equal(values[i].value, i % 3 != 0 ? i : 0);
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
    static struct actc_value values[2000];
    struct actc_options options = {.max_calls = 4};
    start(&options);
    reply_error(1, "\xa1x", 2); /* lies in the socket before call 1 is sent */
    assert_int_equal(actc_mget(f.client, keys, 2000, values, &f.error), ACTC_ERROR);
    for (unsigned i = 0; i < 4; i++)
        send_get("all four are free");
}

static void methods_check_their_results(void **state)
{
    (void)state;
    struct actc_node node;
    uint64_t value = 7;
    start(NULL);
    /* The answers lie ready: ids count from 1. */
    reply_u64(1, 5);
    assert_int_equal(actc_get(f.client, "k", 1, &value, &f.error), 0);
    assert_int_equal(value, 5);
    peer_write("\x94\x01\x02\xc0\xc0", 5);
    assert_int_equal(actc_get(f.client, NULL, 0, &value, &f.error), ACTC_MISS);
    peer_write("\x94\x01\x03\xc0\xff", 5);
    assert_int_equal(actc_get(f.client, "k", 1, &value, &f.error), ACTC_BAD_REPLY);
    assert_message_has("get: ");
    assert_int_equal(value, 5);
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
    assert_true(node.has_value && node.value == 42);
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
    struct actc_value values[3];
    start(NULL);
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        msgpack_packer packer;
        msgpack_sbuffer buffer;
        begin_reply(&packer, &buffer, (uint32_t)i + 1);
        msgpack_pack_nil(&packer);
        msgpack_sbuffer_write(&buffer, cases[i].result, cases[i].len);
        end_reply(&buffer);
        assert_int_equal(actc_mget(f.client, keys, 3, values, &f.error), cases[i].outcome);
    }
    assert_true(values[0].outcome == 0 && values[0].value == 1);
    assert_int_equal(values[1].outcome, ACTC_MISS);
    assert_true(values[2].outcome == ACTC_ERROR && values[2].error_number == 6);
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
#define CASE(function) cmocka_unit_test_setup_teardown(function, setup, teardown)
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
        CASE(sending_reads_replies_meanwhile),
        CASE(a_deadline_in_mid_request_keeps_the_stream_whole),
        CASE(mget_asks_in_lists),
        CASE(mget_of_nothing_asks_nothing),
        CASE(mget_gives_up_all_lists_at_a_failure),
        CASE(methods_check_their_results),
        CASE(mget_tells_a_key_that_failed_from_a_miss),
        CASE(ids_wrap_around_open_calls),
    };
#undef CASE
    return cmocka_run_group_tests(tests, NULL, NULL);
}
