/*
 * worker: generations on the loop. Who watches is told, who waits is woken, who pins gets that
 * generation or none; and nothing is left of it when connections end.
 */
#include "proto/errors.h"
#include "unit.h"
#include "wire.h"
#include "workertest.h"

#include <stdlib.h>
#include <sys/socket.h>

#define SMALL "doc/a.act"
#define LARGE "cities.act"

static void test_begin(struct workertest *t)
{
    workertest_init(t);
    workertest_begin(t, SMALL);
}

static struct query query_of(enum method_id method)
{
    return (struct query){.method = method};
}

static struct query wait_of(uint64_t identity, uint64_t timeout_ms)
{
    return (struct query){
        .method = METHOD_wait_generation, .identity = identity, .timeout_ms = timeout_ms};
}

static struct query pinned(uint64_t identity)
{
    return (struct query){.method = METHOD_scan,
                          .n_keys = 1,
                          .keys = {slice_of("", 0)},
                          .options = QUERY_BIT(PIN),
                          .identity = identity};
}

static uint64_t identity_of(const struct workertest *t, uint64_t number)
{
    return t->generations[number].identity;
}

/* The head of a response without an error; the result is next. */
static struct wire want_response(struct client *client, uint32_t msgid)
{
    struct slice message;
    assert_true(client_take(client, &message));
    struct wire wire = wire_of(message);
    wire_want_array(&wire, 4);
    wire_want(&wire, wire_number(&wire) == 1, "no response");
    wire_want(&wire, wire_number(&wire) == msgid, "another id");
    wire_nil(&wire);
    if (wire.wrong)
        fail_msg("response %u: %s", (unsigned)msgid, wire.wrong);
    return wire;
}

static void want_bool(struct client *client, uint32_t msgid, bool value)
{
    struct wire wire = want_response(client, msgid);
    assert_int_equal(wire_bool(&wire), value);
    assert_null(wire.wrong);
}

static void want_pong(struct client *client, uint32_t msgid)
{
    struct wire wire = want_response(client, msgid);
    wire_want_text(&wire, "pong");
    assert_null(wire.wrong);
}

/* {"number", "identity"}, and the end. */
static void want_generation(struct wire *wire, const struct workertest *t, uint64_t number)
{
    wire_want_map(wire, 2);
    wire_want_text(wire, "number");
    wire_want(wire, wire_number(wire) == number, "another number");
    wire_want_text(wire, "identity");
    wire_want(wire, wire_number(wire) == identity_of(t, number), "another identity");
    wire_want_end(wire);
    if (wire->wrong)
        fail_msg("generation %u: %s", (unsigned)number, wire->wrong);
}

static void want_notification(struct client *client, const struct workertest *t, uint64_t number)
{
    struct slice message;
    assert_true(client_take(client, &message));
    struct wire wire = wire_of(message);
    wire_want_array(&wire, 3);
    wire_want(&wire, wire_number(&wire) == 2, "no notification");
    wire_want_text(&wire, "generation");
    wire_want_array(&wire, 1);
    want_generation(&wire, t, number);
}

/* A page, of that generation. */
static void want_page(struct client *client, const struct workertest *t, uint32_t msgid,
                      uint64_t number)
{
    struct wire wire = want_response(client, msgid);
    wire_want_map(&wire, 3);
    wire_want_text(&wire, "entries");
    wire_skip(&wire);
    wire_want_text(&wire, "cursor");
    wire_skip(&wire);
    wire_want_text(&wire, "generation");
    want_generation(&wire, t, number);
}

static void want_error(struct client *client, uint32_t msgid, enum proto_error error)
{
    struct slice message;
    assert_true(client_take(client, &message));
    struct wire wire = wire_of(message);
    wire_want_array(&wire, 4);
    wire_number(&wire);
    assert_int_equal(wire_number(&wire), msgid);
    wire_want_array(&wire, 2);
    assert_int_equal(wire_number(&wire), error);
    assert_null(wire.wrong);
}

static void want_nothing(struct client *client)
{
    assert_int_equal(client->len, 0);
}

static void ask(struct client *client, struct workertest *t, struct query query, uint32_t msgid)
{
    query_settle(&query);
    client_send(client, &query, msgid);
    client_receive(client, t);
}

/*
 * Watching.
 */

static void who_watches_is_told(void **state)
{
    (void)state;
    struct workertest t;
    struct client client, other;
    test_begin(&t);
    client_open(&client, &t);
    client_open(&other, &t);
    ask(&client, &t, query_of(METHOD_watch), 1);
    want_bool(&client, 1, true);
    want_nothing(&client); /* nothing is announced yet */
    workertest_announce(&t, 1);
    client_receive(&client, &t);
    want_notification(&client, &t, 1);
    ask(&client, &t, query_of(METHOD_watch), 2);
    want_bool(&client, 2, true);
    want_notification(&client, &t, 1);
    workertest_switch(&t, SMALL, 2);
    client_receive(&client, &t);
    want_nothing(&client); /* others may answer from the one before */
    workertest_announce(&t, 2);
    client_receive(&client, &t);
    want_notification(&client, &t, 2);
    want_nothing(&client);
    client_receive(&other, &t);
    want_nothing(&other);
    assert_int_equal(t.worker.stats->notifications_sent, 3);
    workertest_end(&t);
    client_close(&client);
    client_close(&other);
}

/* With more replies to come than fit anywhere, the notification is held back. */
static void who_does_not_read_is_told_the_newest(void **state)
{
    (void)state;
    struct workertest t;
    struct client client;
    struct slice message;
    unsigned n_notifications = 0, n_responses = 0;
    uint64_t last = 0;
    workertest_init(&t);
    workertest_begin(&t, LARGE);
    workertest_announce(&t, 1);
    client_open(&client, &t);
    ask(&client, &t, query_of(METHOD_watch), 0);
    want_bool(&client, 0, true);
    want_notification(&client, &t, 1);
    struct query scan = {.method = METHOD_scan,
                         .n_keys = 1,
                         .keys = {slice_of("", 0)},
                         .options = QUERY_BIT(LIMIT),
                         .limit = 100000};
    for (uint32_t i = 1; i <= 4; i++)
        client_send(&client, &scan, i);
    workertest_run(&t);
    for (uint64_t number = 2; number <= 6; number++) {
        workertest_switch(&t, LARGE, number);
        workertest_announce(&t, number);
        workertest_run(&t);
    }
    for (int i = 0; i < 100; i++)
        client_receive(&client, &t);
    while (client_take(&client, &message)) {
        struct wire wire = wire_of(message);
        bool is_notification = wire_array(&wire) == 3;
        n_notifications += is_notification;
        n_responses += !is_notification;
        if (!is_notification)
            continue;
        wire_number(&wire);
        wire_skip(&wire);
        wire_want_array(&wire, 1);
        wire_want_map(&wire, 2);
        wire_skip(&wire);
        last = wire_number(&wire);
    }
    assert_int_equal(n_responses, 4);
    assert_int_equal(n_notifications, 1);
    assert_int_equal(last, 6);
    workertest_end(&t);
    client_close(&client);
}

static void many_watch(void **state)
{
    (void)state;
    enum { N = 400 };
    struct workertest t;
    struct client *clients = calloc(N, sizeof *clients);
    test_begin(&t);
    for (size_t i = 0; i < N; i++) {
        client_open(&clients[i], &t);
        ask(&clients[i], &t, query_of(METHOD_watch), 1);
        want_bool(&clients[i], 1, true);
    }
    workertest_announce(&t, 1);
    /* Some of them go before they are told. */
    for (size_t i = 0; i < N; i += 7)
        client_close(&clients[i]);
    for (size_t i = 0; i < N; i++) {
        if (i % 7 == 0)
            continue;
        client_receive(&clients[i], &t);
        want_notification(&clients[i], &t, 1);
        want_nothing(&clients[i]);
        client_close(&clients[i]);
    }
    workertest_end(&t);
    free(clients);
}

static void who_watches_is_not_idle(void **state)
{
    (void)state;
    struct workertest t;
    struct client watching, waiting, idle;
    workertest_init(&t);
    t.config.limits_idle_timeout_ms = 100;
    workertest_begin(&t, SMALL);
    client_open(&watching, &t);
    client_open(&waiting, &t);
    client_open(&idle, &t);
    ask(&watching, &t, query_of(METHOD_watch), 1);
    ask(&waiting, &t, wait_of(7, 100000), 1);
    ask(&idle, &t, query_of(METHOD_ping), 1);
    workertest_run_for(&t, 700);
    client_receive(&idle, &t);
    client_receive(&watching, &t);
    client_receive(&waiting, &t);
    assert_true(idle.has_ended);
    assert_false(watching.has_ended || waiting.has_ended);
    workertest_end(&t);
    client_close(&watching);
    client_close(&waiting);
    client_close(&idle);
}

/*
 * Waiting.
 */

static void who_waits_is_answered(void **state)
{
    (void)state;
    struct workertest t;
    struct client client;
    test_begin(&t);
    workertest_announce(&t, 1);
    client_open(&client, &t);
    ask(&client, &t, wait_of(identity_of(&t, 1), 100000), 1);
    want_bool(&client, 1, true);
    ask(&client, &t, wait_of(5, 0), 2);
    want_bool(&client, 2, false);
    ask(&client, &t, wait_of(UINT64_MAX - 2, 100000), 3);
    ask(&client, &t, wait_of(UINT64_MAX - 3, 100000), 4);
    want_nothing(&client);
    ask(&client, &t, query_of(METHOD_ping), 5);
    want_pong(&client, 5);
    workertest_switch(&t, SMALL, 2);
    assert_int_equal(t.n_unused, 1); /* waiting keeps no generation */
    client_receive(&client, &t);
    want_nothing(&client);
    workertest_announce(&t, 2);
    client_receive(&client, &t);
    want_bool(&client, 3, true);
    want_nothing(&client);
    ask(&client, &t, wait_of(5, 600001), 6);
    want_error(&client, 6, PROTO_BAD_PARAMS);
    workertest_end(&t);
    client_close(&client);
}

static void waiting_ends_in_time(void **state)
{
    (void)state;
    struct workertest t;
    struct client client;
    test_begin(&t);
    client_open(&client, &t);
    ask(&client, &t, wait_of(5, 300), 1);
    ask(&client, &t, wait_of(5, 100), 2);
    ask(&client, &t, wait_of(5, 200), 3);
    uint64_t begin = uv_hrtime();
    for (unsigned i = 1; i <= 3; i++) {
        while (client.len == 0)
            workertest_run_for(&t, 1), client_receive(&client, &t);
        uint64_t ms = (uv_hrtime() - begin) / 1000000;
        assert_in_range(ms, 100 * i - 30, 100 * i + 80);
        want_bool(&client, i == 3 ? 1 : i + 1, false);
    }
    workertest_end(&t);
    client_close(&client);
}

/* More than one round of the alarm and of the look at those that wait, and in any order. */
static void many_wait(void **state)
{
    (void)state;
    enum { N = 100, EACH = 16 };
    struct workertest t;
    struct client *clients = calloc(N, sizeof *clients);
    test_begin(&t);
    for (size_t i = 0; i < N; i++) {
        client_open(&clients[i], &t);
        for (uint32_t k = 0; k < EACH; k++) {
            bool is_long = k % 2;
            struct query query = wait_of(k % 4 == 1 ? UINT64_MAX - 1 : 5,
                                         is_long ? 100000 : 1 + (i * 37 + k * 11) % 90);
            client_send(&clients[i], &query, k);
        }
    }
    workertest_run(&t);
    for (size_t i = 0; i < N; i += 10) { /* these go while they wait */
        worker_stay_awake(&t.worker);
        client_close(&clients[i]);
    }
    workertest_run_for(&t, 150);
    assert_in_range(t.worker.waiting.n, N * EACH / 2 - N / 10 * EACH, N * EACH / 2);
    workertest_announce(&t, 1);
    for (size_t i = 0; i < N; i++) {
        struct slice message;
        unsigned n = 0;
        if (i % 10 == 0)
            continue;
        client_receive(&clients[i], &t);
        for (; client_take(&clients[i], &message); n++) {
            struct wire wire = wire_of(message);
            wire_want_array(&wire, 4);
            wire_number(&wire);
            uint64_t k = wire_number(&wire);
            wire_nil(&wire);
            assert_int_equal(wire_bool(&wire), k % 4 == 1);
            assert_null(wire.wrong);
            assert_true(k % 4 != 3);
        }
        assert_int_equal(n, EACH / 4 * 3);
        client_close(&clients[i]);
    }
    workertest_end(&t);
    free(clients);
}

static void only_so_many_of_a_connection_wait(void **state)
{
    (void)state;
    struct workertest t;
    struct client client;
    test_begin(&t);
    client_open(&client, &t);
    for (uint32_t i = 0; i < t.config.limits_max_sliced_requests; i++)
        ask(&client, &t, wait_of(UINT64_MAX - 1 - i % 2, 100000), i);
    ask(&client, &t, query_of(METHOD_ping), 99);
    want_nothing(&client);
    workertest_announce(&t, 1);
    client_receive(&client, &t);
    struct slice message;
    unsigned n = 0;
    for (; client_take(&client, &message); n++) {
        struct wire wire = wire_of(message);
        wire_array(&wire);
        wire_number(&wire);
        uint64_t msgid = wire_number(&wire);
        assert_true(msgid % 2 == 0 || msgid == 99);
    }
    assert_int_equal(n, t.config.limits_max_sliced_requests / 2 + 1);
    workertest_end(&t);
    client_close(&client);
}

/* Long requests beside one that waits, and that is older than they are, are not held up by it, also
 * where they have written so much that only the oldest may go on. */
static void who_waits_holds_up_nobody(void **state)
{
    (void)state;
    struct workertest t;
    struct client client;
    unsigned n = 0;
    struct slice message;
    workertest_init(&t);
    t.config.limits_high_water_bytes = 65536;
    workertest_begin(&t, LARGE);
    client_open(&client, &t);
    ask(&client, &t, wait_of(5, 100000), 0);
    struct query scan = {.method = METHOD_scan,
                         .n_keys = 1,
                         .keys = {slice_of("", 0)},
                         .options = QUERY_BIT(LIMIT),
                         .limit = 20000};
    for (uint32_t i = 1; i <= 4; i++)
        client_send(&client, &scan, i);
    for (int i = 0; i < 50; i++)
        client_receive(&client, &t);
    while (client_take(&client, &message))
        n++;
    assert_int_equal(n, 4);
    workertest_end(&t);
    client_close(&client);
}

/*
 * Pins.
 */

static void a_pin_is_that_generation_or_none(void **state)
{
    (void)state;
    struct workertest t;
    struct client client;
    test_begin(&t);
    client_open(&client, &t);
    ask(&client, &t, pinned(UINT64_MAX - 1), 1);
    want_page(&client, &t, 1, 1);
    ask(&client, &t, pinned(UINT64_MAX - 2), 2);
    want_error(&client, 2, PROTO_GONE);
    workertest_switch(&t, SMALL, 2);
    ask(&client, &t, pinned(UINT64_MAX - 1), 3);
    want_error(&client, 3, PROTO_GONE);
    ask(&client, &t, pinned(UINT64_MAX - 2), 4);
    want_page(&client, &t, 4, 2);
    workertest_end(&t);
    client_close(&client);
}

/* What is behind it must not be answered from the generation before. */
static void a_pin_waits_for_what_is_offered(void **state)
{
    (void)state;
    struct workertest t;
    struct client client, other;
    test_begin(&t);
    client_open(&client, &t);
    client_open(&other, &t);
    struct snapshot *next = workertest_snapshot(&t, SMALL, 2);
    worker_offer(&t.worker, &next->generation);
    ask(&client, &t, pinned(UINT64_MAX - 2), 1);
    ask(&client, &t, query_of(METHOD_ping), 2);
    ask(&client, &t, pinned(UINT64_MAX - 1), 3);
    want_nothing(&client);
    ask(&other, &t, pinned(UINT64_MAX - 1), 1);
    want_page(&other, &t, 1, 1);
    worker_switch(&t.worker, next);
    assert_int_equal(t.n_unused, 1);
    worker_offer(&t.worker, NULL);
    client_receive(&client, &t);
    struct slice message;
    bool has_come[4] = {0};
    for (unsigned i = 0; i < 3; i++) {
        assert_true(client_take(&client, &message));
        struct wire wire = wire_of(message);
        wire_array(&wire);
        wire_number(&wire);
        uint64_t msgid = wire_number(&wire);
        assert_in_range(msgid, 1, 3);
        assert_false(has_come[msgid]);
        has_come[msgid] = true;
        assert_int_equal(wire_type(&wire) == WIRE_NIL, msgid != 3);
    }
    want_nothing(&client);
    workertest_end(&t);
    client_close(&client);
    client_close(&other);
}

static void a_pin_on_what_is_withdrawn_is_gone(void **state)
{
    (void)state;
    struct workertest t;
    struct client client;
    test_begin(&t);
    client_open(&client, &t);
    struct snapshot *next = workertest_snapshot(&t, SMALL, 2);
    worker_offer(&t.worker, &next->generation);
    ask(&client, &t, pinned(UINT64_MAX - 2), 1);
    ask(&client, &t, query_of(METHOD_ping), 2);
    want_nothing(&client);
    worker_offer(&t.worker, NULL);
    snapshot_unref(next);
    snapshot_free(next);
    client_receive(&client, &t);
    struct slice message;
    assert_true(client_take(&client, &message));
    assert_true(client_take(&client, &message));
    want_nothing(&client);
    ask(&client, &t, pinned(UINT64_MAX - 2), 3);
    want_error(&client, 3, PROTO_GONE);
    assert_int_equal(t.worker.stats->method[METHOD_scan].errors, 2);
    workertest_end(&t);
    client_close(&client);
}

/*
 * Ends.
 */

static void draining_ends_all_of_it(void **state)
{
    (void)state;
    struct workertest t;
    struct client waiting, watching, pinning, late;
    test_begin(&t);
    workertest_announce(&t, 1);
    client_open(&waiting, &t);
    client_open(&watching, &t);
    client_open(&pinning, &t);
    client_open(&late, &t);
    struct snapshot *next = workertest_snapshot(&t, SMALL, 2);
    worker_offer(&t.worker, &next->generation);
    ask(&waiting, &t, wait_of(5, 100000), 1);
    ask(&watching, &t, query_of(METHOD_watch), 1);
    ask(&pinning, &t, pinned(UINT64_MAX - 2), 1);
    struct query query = wait_of(5, 100000);
    client_send(&late, &query, 1);
    worker_drain(&t.worker);
    client_receive(&waiting, &t);
    client_receive(&watching, &t);
    client_receive(&pinning, &t);
    client_receive(&late, &t);
    want_error(&waiting, 1, PROTO_DRAINING);
    want_error(&pinning, 1, PROTO_DRAINING);
    want_error(&late, 1, PROTO_DRAINING);
    want_bool(&watching, 1, true);
    want_notification(&watching, &t, 1);
    assert_true(waiting.has_ended && watching.has_ended && pinning.has_ended && late.has_ended);
    assert_int_equal(t.n_closed, 4);
    snapshot_unref(next);
    snapshot_free(next);
    workertest_end(&t);
    client_close(&waiting);
    client_close(&watching);
    client_close(&pinning);
    client_close(&late);
}

/* What it has asked for is answered; then there is nobody to be told anything. */
static void who_sends_no_more_is_answered_and_closed(void **state)
{
    (void)state;
    struct workertest t;
    struct client watching, waiting;
    test_begin(&t);
    workertest_announce(&t, 1);
    client_open(&watching, &t);
    client_open(&waiting, &t);
    struct query watch = query_of(METHOD_watch), wait = wait_of(UINT64_MAX - 2, 100000);
    client_send(&watching, &watch, 1);
    client_send(&waiting, &wait, 1);
    shutdown(watching.fd, SHUT_WR);
    shutdown(waiting.fd, SHUT_WR);
    client_receive(&watching, &t);
    client_receive(&waiting, &t);
    want_bool(&watching, 1, true);
    want_notification(&watching, &t, 1);
    assert_true(watching.has_ended);
    assert_false(waiting.has_ended);
    workertest_switch(&t, SMALL, 2);
    workertest_announce(&t, 2);
    client_receive(&waiting, &t);
    want_bool(&waiting, 1, true);
    assert_true(waiting.has_ended);
    workertest_end(&t);
    client_close(&watching);
    client_close(&waiting);
}

static void closing_while_waiting_leaves_nothing(void **state)
{
    (void)state;
    struct workertest t;
    struct client clients[5];
    test_begin(&t);
    struct snapshot *next = workertest_snapshot(&t, SMALL, 2);
    worker_offer(&t.worker, &next->generation);
    for (size_t i = 0; i < N_ELEMENTS(clients); i++) {
        client_open(&clients[i], &t);
        ask(&clients[i], &t, query_of(METHOD_watch), 1);
        ask(&clients[i], &t, wait_of(i, 1000 + i), 2);
        ask(&clients[i], &t, pinned(UINT64_MAX - 2), 3);
    }
    assert_int_equal(t.worker.waiting.n, 2 * N_ELEMENTS(clients));
    worker_switch(&t.worker, next);
    workertest_announce(&t, 2); /* and nothing of it has happened when they are closed */
    workertest_end(&t);
    for (size_t i = 0; i < N_ELEMENTS(clients); i++)
        client_close(&clients[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_watches_is_told),
        cmocka_unit_test(who_does_not_read_is_told_the_newest),
        cmocka_unit_test(many_watch),
        cmocka_unit_test(who_watches_is_not_idle),
        cmocka_unit_test(who_waits_is_answered),
        cmocka_unit_test(waiting_ends_in_time),
        cmocka_unit_test(many_wait),
        cmocka_unit_test(only_so_many_of_a_connection_wait),
        cmocka_unit_test(who_waits_holds_up_nobody),
        cmocka_unit_test(a_pin_is_that_generation_or_none),
        cmocka_unit_test(a_pin_waits_for_what_is_offered),
        cmocka_unit_test(a_pin_on_what_is_withdrawn_is_gone),
        cmocka_unit_test(draining_ends_all_of_it),
        cmocka_unit_test(who_sends_no_more_is_answered_and_closed),
        cmocka_unit_test(closing_while_waiting_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
