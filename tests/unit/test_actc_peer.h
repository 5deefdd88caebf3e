/*
 * A client of the case at hand, and the server's end of its connection, played by the test.
 *
 * A connection to a listening socket stands before it is accepted, and what the server says may
 * lie in the socket before the client waits for it: so most cases need no second thread and no
 * time.
 */
#pragma once

#include "actc/actc.h"
#include "unit.h"

#include <msgpack.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define CASE(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

struct fixture {
    char dir[64], path[96], address[128];
    int listener, peer; /* peer: the server's end */
    struct actc *client;
    struct actc_error error;
};

static struct fixture f;

static inline void listen_unix(int backlog)
{
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    snprintf(un.sun_path, sizeof un.sun_path, "%s", f.path);
    f.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(f.listener, (void *)&un, sizeof un), 0);
    assert_int_equal(listen(f.listener, backlog), 0);
}

static inline void start(const struct actc_options *options)
{
    int r = actc_connect(f.address, options, &f.client, &f.error);
    if (r != 0)
        fail_msg("%s", f.error.message);
    f.peer = accept(f.listener, NULL, NULL);
    assert_true(f.peer >= 0);
}

static inline int setup(void **state)
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

static inline int teardown(void **state)
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

static inline void peer_write(const void *p, size_t len)
{
    assert_int_equal(write(f.peer, p, len), len);
}

static inline void peer_close(void)
{
    close(f.peer);
    f.peer = -1;
}

static inline void begin_reply(msgpack_packer *packer, msgpack_sbuffer *buffer, uint32_t id)
{
    msgpack_sbuffer_init(buffer);
    msgpack_packer_init(packer, buffer, msgpack_sbuffer_write);
    msgpack_pack_array(packer, 4);
    msgpack_pack_int(packer, 1);
    msgpack_pack_uint32(packer, id);
}

static inline void end_reply(msgpack_sbuffer *buffer)
{
    peer_write(buffer->data, buffer->size);
    msgpack_sbuffer_destroy(buffer);
}

static inline void reply_u64(uint32_t id, uint64_t value)
{
    msgpack_packer packer;
    msgpack_sbuffer buffer;
    begin_reply(&packer, &buffer, id);
    msgpack_pack_nil(&packer);
    msgpack_pack_uint64(&packer, value);
    end_reply(&buffer);
}

static inline void reply_bin(uint32_t id, size_t len)
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

/* result: MessagePack. */
static inline void reply_result(uint32_t id, const void *result, size_t len)
{
    msgpack_packer packer;
    msgpack_sbuffer buffer;
    begin_reply(&packer, &buffer, id);
    msgpack_pack_nil(&packer);
    msgpack_sbuffer_write(&buffer, result, len);
    end_reply(&buffer);
}

/* error: MessagePack. */
static inline void reply_error(uint32_t id, const void *error, size_t len)
{
    msgpack_packer packer;
    msgpack_sbuffer buffer;
    begin_reply(&packer, &buffer, id);
    msgpack_sbuffer_write(&buffer, error, len);
    msgpack_pack_nil(&packer);
    end_reply(&buffer);
}

/* What the client has sent since the last call must be these bytes. */
static inline void assert_sent(const void *wanted, size_t len)
{
    uint8_t sent[1024];
    assert_true(len < sizeof sent);
    assert_int_equal(recv(f.peer, sent, sizeof sent, MSG_DONTWAIT), len);
    assert_memory_equal(sent, wanted, len);
}

/* The client's side. */

static inline uint32_t send_get(const char *key)
{
    uint32_t call = 0;
    int r = actc_send_key(f.client, "get", key, strlen(key), &call, &f.error);
    if (r != 0)
        fail_msg("%s", f.error.message);
    assert_int_not_equal(call, 0);
    return call;
}

static inline void wait_u64(uint32_t call, uint64_t wanted)
{
    struct actc_reply *reply;
    int r = actc_wait(f.client, call, &reply, &f.error);
    if (r != 0)
        fail_msg("%s", f.error.message);
    assert_int_equal(actc_reply_result(reply)->type, MSGPACK_OBJECT_POSITIVE_INTEGER);
    assert_int_equal(actc_reply_result(reply)->via.u64, wanted);
    actc_reply_free(reply);
}

static inline void assert_message_has(const char *text)
{
    if (!strstr(f.error.message, text))
        fail_msg("\"%s\" does not say \"%s\"", f.error.message, text);
}

static inline void wait_fails(uint32_t call, int outcome, const char *text)
{
    assert_int_equal(actc_wait(f.client, call, NULL, &f.error), outcome);
    assert_message_has(f.address);
    assert_message_has(text);
}
