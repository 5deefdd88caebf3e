/*
 * actc: what a server tells of its generations, waiting for one, and calls that are pinned to one.
 *
 * Bad servers tried: news of wrong types and lengths, news that nobody asked for, a flood of it,
 * silence, a lost connection, results that are none.
 */
#include "base/clock.h"
#include "test_actc_peer.h"

#include <errno.h>

#define TEXT(text) (text), sizeof(text) - 1
#define NEWS       \
    "\x93\x02\xaa" \
    "generation\x91"
#define GENERATION(number, identity) "\x82\xa6number" number "\xa8identity" identity
#define MAX_U64                      "\xcf\xff\xff\xff\xff\xff\xff\xff\xff"

static const uint64_t pin_number = UINT64_MAX;
#define PIN "\xa3pin" MAX_U64

static void start_watching(void)
{
    start(NULL);
    reply_result(1, TEXT("\xc3"));
    assert_int_equal(actc_watch(f.client, &f.error), 0);
    assert_sent(TEXT("\x94\x00\x01\xa5watch\x90"));
}

static void assert_news(uint64_t number, uint64_t identity)
{
    struct actc_generation generation;
    if (actc_next_generation(f.client, ACTC_FOREVER, &generation, &f.error) != 0)
        fail_msg("%s", f.error.message);
    assert_int_equal(generation.number, number);
    assert_int_equal(generation.identity, identity);
}

static void assert_no_news(int outcome, const char *text)
{
    struct actc_generation generation = {7, 7};
    assert_int_equal(actc_next_generation(f.client, 0, &generation, &f.error), outcome);
    assert_true(generation.number == 7 && generation.identity == 7);
    assert_message_has(f.address);
    assert_message_has(text);
}

static void news_is_given_once(void **state)
{
    (void)state;
    start(NULL);
    peer_write(TEXT(NEWS GENERATION("\x03", MAX_U64))); /* before the reply */
    reply_result(1, TEXT("\xc3"));
    assert_int_equal(actc_watch(f.client, &f.error), 0);
    assert_news(3, UINT64_MAX);
    assert_no_news(ACTC_TIMEOUT, "0 ms");
    peer_write(TEXT(NEWS GENERATION("\x04", "\x05")));
    assert_news(4, 5);
    assert_no_news(ACTC_TIMEOUT, "0 ms");
}

static void the_newest_news_counts(void **state)
{
    (void)state;
    struct actc_counters counters;
    start_watching();
    peer_write(TEXT(NEWS GENERATION("\x01", "\x05") NEWS GENERATION("\x02", "\x06")));
    assert_news(2, 6);
    uint32_t call = send_get("a");
    peer_write(TEXT(NEWS GENERATION("\x03", "\x07")));
    reply_u64(call, 1);
    peer_write(TEXT(NEWS GENERATION("\x04", "\x08")));
    wait_u64(call, 1);
    assert_news(4, 8);
    actc_counters(f.client, &counters);
    assert_int_equal(counters.n_notifications, 0);
}

static void news_may_be_in_decimal(void **state)
{
    (void)state;
    start_watching();
    peer_write(TEXT(NEWS GENERATION("\xa2"
                                    "12",
                                    "\xb4"
                                    "18446744073709551615")));
    assert_news(12, UINT64_MAX);
    /* And what a later version may add. */
    peer_write(TEXT("\x93\x02\xc4\x0a"
                    "generation\x92\x83\xa1x\x91\xc0\xa8identity\x02\xa6number\x01\xc0"));
    assert_news(1, 2);
}

static void bad_news_is_told(void **state)
{
    (void)state;
    static const struct {
        const char *news;
        size_t len;
    } cases[] = {
        {TEXT("\x92\x02\xaa"
              "generation")},
        {TEXT("\x93\x02\xaa"
              "generation\x80")},
        {TEXT("\x93\x02\xaa"
              "generation\x90")},
        {TEXT(NEWS "\xc0")},
        {TEXT(NEWS "\x80")},
        {TEXT(NEWS "\x81\xa6number\x01")},
        {TEXT(NEWS GENERATION("\x01", "\xc0"))},
        {TEXT(NEWS GENERATION("\xff", "\x01"))},
        {TEXT(NEWS GENERATION("\x01", "\xa0"))},
        {TEXT(NEWS GENERATION("\x01", "\xa2-1"))},
        {TEXT(NEWS GENERATION("\xa1 ", "\x01"))},
        {TEXT(NEWS GENERATION("\x01", "\xb4"
                                      "18446744073709551616"))},
        {TEXT(NEWS GENERATION("\x01", "\xb5"
                                      "100000000000000000000"))},
        {TEXT(NEWS GENERATION("\x01", "\xcb\x3f\xf0\x00\x00\x00\x00\x00\x00"))},
    };
    start_watching();
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        peer_write(cases[i].news, cases[i].len);
        assert_no_news(ACTC_BAD_REPLY, "generation: the result is not");
        assert_no_news(ACTC_TIMEOUT, "0 ms");
    }
    peer_write(TEXT(NEWS GENERATION("\x01", "\x02")));
    assert_news(1, 2);
}

static void other_notifications_are_ignored(void **state)
{
    (void)state;
    struct actc_counters counters;
    char large[5000] = NEWS "\xda\x13\x00";
    start_watching();
    peer_write(TEXT("\x93\x02\xa5other\x90"));
    peer_write(TEXT("\x93\x02\x07\x90"));
    peer_write(TEXT("\x92\x02\x07"));
    peer_write(TEXT("\x94\x00\x01\xaa"
                    "generation\x91" GENERATION("\x01", "\x02"))); /* a request */
    peer_write(TEXT("\x93\x02\xaa"
                    "generation\x91\x91\x91\x91\x91\x91\x91\x91\x91\x01")); /* too deep */
    peer_write(large, sizeof NEWS - 1 + 3 + 0x1300);
    assert_no_news(ACTC_TIMEOUT, "0 ms");
    actc_counters(f.client, &counters);
    assert_int_equal(counters.n_notifications, 6);
    peer_write(TEXT(NEWS GENERATION("\x01", "\x02")));
    assert_news(1, 2);
}

static void news_is_only_for_who_asked(void **state)
{
    (void)state;
    struct actc_counters counters;
    start(NULL);
    assert_no_news(-EINVAL, "actc_watch first");
    peer_write(TEXT(NEWS GENERATION("\x01", "\x02")));
    reply_error(1, TEXT("\x92\x02\xae"
                        "UNKNOWN_METHOD"));
    assert_int_equal(actc_watch(f.client, &f.error), ACTC_ERROR);
    assert_int_equal(f.error.number, 2);
    assert_no_news(-EINVAL, "actc_watch first");
    reply_result(2, TEXT("\xc2"));
    assert_int_equal(actc_watch(f.client, &f.error), ACTC_BAD_REPLY);
    assert_message_has("watch: ");
    assert_no_news(-EINVAL, "actc_watch first");
    uint32_t call = send_get("a");
    peer_write(TEXT(NEWS GENERATION("\x03", "\x04")));
    reply_u64(call, 1);
    wait_u64(call, 1);
    actc_counters(f.client, &counters);
    assert_int_equal(counters.n_notifications, 1);
}

static void a_watch_outlives_a_failure(void **state)
{
    (void)state;
    start_watching();
    reply_error(2, TEXT("\x92\x08\xa4"
                        "BUSY"));
    assert_int_equal(actc_watch(f.client, &f.error), ACTC_ERROR);
    peer_write(TEXT(NEWS GENERATION("\x01", "\x02")));
    assert_news(1, 2);
}

static void waiting_for_news_ends_in_time(void **state)
{
    (void)state;
    struct actc_generation generation;
    uint64_t start_ms = clock_ms();
    start_watching();
    actc_set_call_timeout(f.client, 1);
    assert_int_equal(actc_next_generation(f.client, 30, &generation, &f.error), ACTC_TIMEOUT);
    assert_true(clock_ms() - start_ms >= 30);
    assert_message_has("no other generation within 30 ms");
    peer_write(TEXT(NEWS GENERATION("\x01", "\x02")));
    assert_news(1, 2);
}

static void news_from_before_the_end_is_given(void **state)
{
    (void)state;
    start_watching();
    peer_write(TEXT(NEWS GENERATION("\x01", "\x02")));
    peer_close();
    assert_news(1, 2);
    assert_no_news(ACTC_LOST, "the server closed the connection");
    assert_no_news(ACTC_LOST, "the server closed the connection");
}

static void a_flood_of_notifications_does_not_hold_up_a_deadline(void **state)
{
    (void)state;
    static const char other[] = "\x93\x02\xa1n\x90";
    static char many[5 * 1000];
    struct actc_generation generation;
    start_watching();
    for (size_t i = 0; i < sizeof many; i++)
        many[i] = other[i % (sizeof other - 1)];
    while (send(f.peer, many, sizeof many, MSG_DONTWAIT) > 0)
        continue;
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(actc_next_generation(f.client, 0, &generation, &f.error), ACTC_TIMEOUT);
}

static void a_generation_is_waited_for(void **state)
{
    (void)state;
    start(NULL);
    reply_result(1, TEXT("\xc3"));
    assert_int_equal(actc_wait_generation(f.client, UINT64_MAX, 70000, &f.error), 0);
    assert_sent(TEXT("\x94\x00\x01\xaf"
                     "wait_generation\x92" MAX_U64 "\xce\x00\x01\x11\x70"));
    reply_result(2, TEXT("\xc2"));
    assert_int_equal(actc_wait_generation(f.client, 7, 0, &f.error), ACTC_MISS);
    assert_sent(TEXT("\x94\x00\x02\xaf"
                     "wait_generation\x92\x07\x00"));
    reply_result(3, TEXT("\xc0"));
    assert_int_equal(actc_wait_generation(f.client, 7, 1, &f.error), ACTC_BAD_REPLY);
    assert_message_has("wait_generation: ");
    reply_error(4, TEXT("\x92\x03\xaa"
                        "BAD_PARAMS"));
    assert_int_equal(actc_wait_generation(f.client, 7, UINT32_MAX, &f.error), ACTC_ERROR);
    assert_int_equal(f.error.number, 3);
}

static void a_wait_has_its_time_and_the_calls(void **state)
{
    (void)state;
    uint64_t start_ms = clock_ms();
    start(NULL);
    actc_set_call_timeout(f.client, 20);
    assert_int_equal(actc_wait_generation(f.client, 7, 40, &f.error), ACTC_TIMEOUT);
    assert_true(clock_ms() - start_ms >= 60);
    assert_message_has("no reply within 60 ms");
    assert_int_equal(actc_ping(f.client, &f.error), ACTC_TIMEOUT);
    assert_message_has("no reply within 20 ms"); /* others have theirs as before */
    peer_close();
    assert_int_equal(actc_wait_generation(f.client, 7, UINT32_MAX, &f.error), ACTC_LOST);
}

static void hello_tells_what_is_served(void **state)
{
    (void)state;
    static const struct {
        const char *result;
        size_t len;
    } bad[] = {{TEXT("\xc0")},
               {TEXT("\x80")},
               {TEXT("\x81\xaa"
                     "generation\xc0")},
               {TEXT("\x81\xaa"
                     "generation\x81\xa6number\x01")}};
    struct actc_generation generation = {7, 7};
    start(NULL);
    reply_result(1, TEXT("\x82\xa1x\xc0\xaa"
                         "generation" GENERATION("\x09", MAX_U64)));
    assert_int_equal(actc_generation(f.client, &generation, &f.error), 0);
    assert_sent(TEXT("\x94\x00\x01\xa5hello\x90"));
    assert_true(generation.number == 9 && generation.identity == UINT64_MAX);
    for (uint32_t i = 0; i < N_ELEMENTS(bad); i++) {
        reply_result(i + 2, bad[i].result, bad[i].len);
        assert_int_equal(actc_generation(f.client, &generation, &f.error), ACTC_BAD_REPLY);
    }
    assert_message_has("hello: ");
    assert_int_equal(generation.number, 9);
}

#define GONE "\x92\x09\xa4GONE"

static void assert_gone(int r)
{
    assert_int_equal(r, ACTC_ERROR);
    assert_int_equal(f.error.number, 9);
    assert_string_equal(f.error.text, "GONE");
}

static void lists_and_counts_are_pinned(void **state)
{
    (void)state;
    static const struct actc_bytes key = {"k", 1};
    struct actc_result result;
    uint64_t count, pin = pin_number;
    bool is_exact;
    start(NULL);
    actc_set_pin(f.client, &pin);
    pin = 0; /* it was copied */
    reply_error(1, TEXT(GONE));
    assert_gone(actc_mget(f.client, &key, 1, &result, &f.error));
    assert_sent(TEXT("\x94\x00\x01\xa4mget\x92\x91\xc4\x01k\x82\xa6"
                     "errors\xc3" PIN));
    reply_error(2, TEXT(GONE));
    assert_gone(actc_count(f.client, "k", 1, &count, &is_exact, &f.error));
    assert_sent(TEXT("\x94\x00\x02\xa5"
                     "count\x92\xc4\x01k\x81" PIN));
    reply_result(3, TEXT("\x82\xa5"
                         "count\x07\xa5"
                         "exact\xc3"));
    assert_int_equal(actc_count(f.client, "", 0, &count, &is_exact, &f.error), 0);
    assert_true(count == 7 && is_exact);
    assert_sent(TEXT("\x94\x00\x03\xa5"
                     "count\x92\xc4\x00\x81" PIN));
    assert_int_equal(actc_count(f.client, "k", (size_t)UINT32_MAX + 1, &count, &is_exact, &f.error),
                     -EMSGSIZE);
    actc_set_pin(f.client, NULL);
    reply_error(4, TEXT(GONE));
    assert_gone(actc_count(f.client, "k", 1, &count, &is_exact, &f.error));
    assert_sent(TEXT("\x94\x00\x04\xa5"
                     "count\x91\xc4\x01k"));
}

static void a_longest_prefix_is_pinned(void **state)
{
    (void)state;
    static const struct {
        const char *result;
        size_t len;
        int outcome;
    } cases[] = {
        {TEXT("\x82\xa6values\x91\xc0\xa6"
              "errors\x90"),
         ACTC_MISS},
        {TEXT("\x82\xa6values\x91\xc0\xa6"
              "errors\x91\x92\x00\x92\x06\xa7"
              "CORRUPT"),
         ACTC_ERROR},
        {TEXT("\xc0"), ACTC_BAD_REPLY},
        {TEXT("\x91\xc0"), ACTC_BAD_REPLY},
        {TEXT("\x82\xa6values\x90\xa6"
              "errors\x90"),
         ACTC_BAD_REPLY},
        {TEXT("\x82\xa6values\x92\xc0\xc0\xa6"
              "errors\x90"),
         ACTC_BAD_REPLY},
        {TEXT("\x82\xa6values\x91\xc0\xa6"
              "errors\x91\x92\x01\xc0"),
         ACTC_BAD_REPLY},
        {TEXT("\x82\xa6values\x91\xc0\xa6"
              "errors\x92\xc0\xc0"),
         ACTC_BAD_REPLY},
        {TEXT("\x82\xa6values\x91\xc2\xa6"
              "errors\x90"),
         ACTC_BAD_REPLY},
    };
    struct actc_entry entry;
    start(NULL);
    actc_set_pin(f.client, &pin_number);
    reply_result(1, TEXT("\x82\xa6values\x91\x92\xc4\x01k\xc4\x01v\xa6"
                         "errors\x90"));
    assert_int_equal(actc_longest_prefix(f.client, "kk", 2, &entry, &f.error), 0);
    assert_sent(TEXT("\x94\x00\x01\xaelongest_prefix\x92\x91\xc4\x02kk\x82\xa6"
                     "errors\xc3" PIN));
    assert_true(entry.key.len == 1 && entry.value.is_bytes);
    assert_memory_equal(entry.value.bytes.p, "v", 1);
    for (uint32_t i = 0; i < N_ELEMENTS(cases); i++) {
        reply_result(i + 2, cases[i].result, cases[i].len);
        assert_int_equal(actc_longest_prefix(f.client, "kk", 2, &entry, &f.error),
                         cases[i].outcome);
        if (cases[i].outcome == ACTC_ERROR)
            assert_true(f.error.number == 6 && strcmp(f.error.text, "CORRUPT") == 0);
    }
}

static void what_cannot_be_pinned_is_refused(void **state)
{
    (void)state;
    struct actc_value value;
    struct actc_node node;
    struct actc_entry entry;
    char byte;
    start(NULL);
    actc_set_pin(f.client, &pin_number);
    assert_int_equal(actc_get(f.client, "k", 1, &value, &f.error), -EINVAL);
    assert_message_has("calls are pinned (actc_set_pin), and get cannot be");
    assert_int_equal(actc_exists(f.client, "k", 1, &f.error), -EINVAL);
    assert_int_equal(actc_node(f.client, "k", 1, &node, &f.error), -EINVAL);
    assert_int_equal(actc_next(f.client, "k", 1, &entry, &f.error), -EINVAL);
    assert_int_equal(actc_prev(f.client, "k", 1, &entry, &f.error), -EINVAL);
    assert_int_equal(actc_flush(f.client, &f.error), 0);
    assert_int_equal(recv(f.peer, &byte, 1, MSG_DONTWAIT), -1);
    actc_set_pin(f.client, NULL);
    reply_u64(1, 7);
    assert_int_equal(actc_get(f.client, "k", 1, &value, &f.error), 0);
}

#define PAGE(rest) \
    "\x83\xa7"     \
    "entries" rest
#define LIMITS "\xa5limit\xcd\x27\x10\xa9max_bytes\xce\x00\x10\x00\x00"

static void a_scan_is_pinned(void **state)
{
    (void)state;
    uint64_t pin = pin_number;
    struct actc_scan_options options = {.pin = &pin};
    struct actc_scan *own, *other;
    struct actc_entry entry;
    start(NULL);
    assert_int_equal(actc_scan_new(f.client, &options, &own, &f.error), 0);
    assert_int_equal(actc_scan_new(f.client, NULL, &other, &f.error), 0);
    pin = 7;
    actc_set_pin(f.client, &pin);
    reply_result(1, TEXT(PAGE("\x91\x92\xc4\x01k\x01\xa6"
                              "cursor\xc4\x01z\xa1g\xc0")));
    assert_int_equal(actc_scan_next(own, &entry, &f.error), 0);
    assert_sent(TEXT("\x94\x00\x01\xa4scan\x92\xc4\x00\x83" LIMITS PIN));
    reply_error(2, TEXT(GONE));
    assert_gone(actc_scan_next(own, &entry, &f.error));
    assert_sent(TEXT("\x94\x00\x02\xa4scan\x92\xc4\x00\x84" LIMITS PIN "\xa6"
                     "cursor\xc4\x01z"));
    reply_error(3, TEXT(GONE));
    assert_gone(actc_scan_next(other, &entry, &f.error));
    assert_sent(TEXT("\x94\x00\x03\xa4scan\x92\xc4\x00\x83" LIMITS "\xa3pin\x07"));
    actc_set_pin(f.client, NULL);
    reply_error(4, TEXT(GONE));
    assert_gone(actc_scan_next(other, &entry, &f.error));
    assert_sent(TEXT("\x94\x00\x04\xa4scan\x92\xc4\x00\x82" LIMITS));
    actc_scan_free(own);
    actc_scan_free(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(news_is_given_once),
        CASE(the_newest_news_counts),
        CASE(news_may_be_in_decimal),
        CASE(bad_news_is_told),
        CASE(other_notifications_are_ignored),
        CASE(news_is_only_for_who_asked),
        CASE(a_watch_outlives_a_failure),
        CASE(waiting_for_news_ends_in_time),
        CASE(news_from_before_the_end_is_given),
        CASE(a_flood_of_notifications_does_not_hold_up_a_deadline),
        CASE(a_generation_is_waited_for),
        CASE(a_wait_has_its_time_and_the_calls),
        CASE(hello_tells_what_is_served),
        CASE(lists_and_counts_are_pinned),
        CASE(a_longest_prefix_is_pinned),
        CASE(what_cannot_be_pinned_is_refused),
        CASE(a_scan_is_pinned),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
