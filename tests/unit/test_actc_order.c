/*
 * actc: scans page by page, counts and neighbours.
 *
 * Bad servers tried: pages that are none, entries that are none, errors, silence, a lost
 * connection.
 */
#include "test_actc_peer.h"

#include <errno.h>

#define TEXT(text) (text), sizeof(text) - 1
#define PAGE(n) \
    "\x83\xa7"  \
    "entries" n
#define LAST         \
    "\xa6"           \
    "cursor\xc0\xaa" \
    "generation\x80"
#define MORE(bytes)               \
    "\xa6"                        \
    "cursor\xc4\x02" bytes "\xaa" \
    "generation\x80"
#define LIMITS "\xa5limit\xcd\x27\x10\xa9max_bytes\xce\x00\x10\x00\x00"

static struct actc_scan *open_scan(const struct actc_scan_options *options)
{
    struct actc_scan *scan = NULL;
    if (actc_scan_new(f.client, options, &scan, &f.error) != 0)
        fail_msg("%s", f.error.message);
    return scan;
}

static void assert_next(struct actc_scan *scan, const char *key, uint64_t value)
{
    struct actc_entry entry;
    if (actc_scan_next(scan, &entry, &f.error) != 0)
        fail_msg("%s", f.error.message);
    assert_int_equal(entry.key.len, strlen(key));
    assert_memory_equal(entry.key.p, key, entry.key.len);
    assert_true(!entry.value.is_bytes && entry.value.number == value);
}

static void assert_end(struct actc_scan *scan)
{
    struct actc_entry entry;
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(actc_scan_next(scan, &entry, &f.error), ACTC_MISS);
}

static void a_scan_turns_its_pages(void **state)
{
    (void)state;
    char prefix[] = "p";
    struct actc_scan_options options = {.prefix = {prefix, 1}};
    start(NULL);
    struct actc_scan *scan = open_scan(&options);
    prefix[0] = 'x';                                             /* the scan has its own */
    assert_int_equal(recv(f.peer, prefix, 1, MSG_DONTWAIT), -1); /* nothing was asked for yet */
    reply_result(1, TEXT(PAGE("\x92\x92\xc4\x01p\x01\x92\xc4\x02pa\x02") MORE("\x01z")));
    assert_next(scan, "p", 1);
    assert_sent(TEXT("\x94\x00\x01\xa4scan\x92\xc4\x01p\x82" LIMITS));
    assert_next(scan, "pa", 2);
    reply_result(2, TEXT(PAGE("\x91\x92\xc4\x02pb\x03") MORE("\x01y")));
    assert_next(scan, "pb", 3);
    assert_sent(TEXT("\x94\x00\x02\xa4scan\x92\xc4\x01p\x83" LIMITS "\xa6"
                     "cursor\xc4\x02\x01z"));
    reply_result(3, TEXT(PAGE("\x90") LAST));
    assert_end(scan);
    assert_sent(TEXT("\x94\x00\x03\xa4scan\x92\xc4\x01p\x83" LIMITS "\xa6"
                     "cursor\xc4\x02\x01y"));
    actc_scan_free(scan);
    actc_scan_free(NULL);
}

static void the_last_page_is_known_by_its_cursor(void **state)
{
    (void)state;
    start(NULL);
    struct actc_scan *scan = open_scan(NULL);
    reply_result(1, TEXT(PAGE("\x91\x92\xc4\x00\x05") LAST));
    assert_next(scan, "", 5);
    assert_sent(TEXT("\x94\x00\x01\xa4scan\x92\xc4\x00\x82" LIMITS));
    assert_end(scan);
    actc_close(f.client);
    f.client = NULL;
    actc_scan_free(scan);
}

static void options_are_sent_as_they_are(void **state)
{
    (void)state;
    static const struct actc_bytes a = {"a", 1}, b = {"bb", 2}, none = {NULL, 0};
    static const struct {
        struct actc_scan_options options;
        const char *sent;
        size_t len;
    } cases[] = {
        {{.from = &a, .to = &b},
         TEXT("\x93\xc4\x01"
              "a\xc4\x02"
              "bb\x82" LIMITS)},
        {{.from = &a},
         TEXT("\x93\xc4\x01"
              "a\xc0\x82" LIMITS)},
        {{.to = &none}, TEXT("\x93\xc0\xc4\x00\x82" LIMITS)},
        {{.to = &b, .is_reverse = true, .is_keys_only = true},
         TEXT("\x93\xc0\xc4\x02"
              "bb\x84" LIMITS "\xa7reverse\xc3\xa9keys_only\xc3")},
        {{.from = &a, .page_entries = 7, .page_bytes = 9},
         TEXT("\x93\xc4\x01"
              "a\xc0\x82\xa5limit\x07\xa9max_bytes\x09")},
    };
    start(NULL);
    for (uint8_t i = 0; i < N_ELEMENTS(cases); i++) {
        struct actc_entry entry;
        uint8_t wanted[200] = {0x94, 0x00, (uint8_t)(i + 1), 0xa5, 'r', 'a', 'n', 'g', 'e'};
        struct actc_scan *scan = open_scan(&cases[i].options);
        memcpy(wanted + 9, cases[i].sent, cases[i].len);
        reply_result(i + 1U, TEXT(PAGE("\x90") LAST));
        assert_int_equal(actc_scan_next(scan, &entry, &f.error), ACTC_MISS);
        assert_sent(wanted, 9 + cases[i].len);
        actc_scan_free(scan);
    }
}

static void what_makes_no_sense_is_refused(void **state)
{
    (void)state;
    static const struct actc_bytes a = {"a", 1}, long_one = {"a", (size_t)UINT32_MAX + 1};
    static const struct actc_scan_options both = {.prefix = {"a", 1}, .to = &a};
    static const struct actc_scan_options too_long[] = {
        {.prefix = {"a", (size_t)UINT32_MAX + 1}}, {.from = &long_one}, {.to = &long_one}};
    struct actc_scan *scan = NULL;
    start(NULL);
    assert_int_equal(actc_scan_new(f.client, &both, &scan, &f.error), -EINVAL);
    assert_message_has("not both");
    for (size_t i = 0; i < N_ELEMENTS(too_long); i++)
        assert_int_equal(actc_scan_new(f.client, &too_long[i], &scan, &f.error), -EMSGSIZE);
    assert_null(scan);
}

static void a_page_fits_into_a_reply(void **state)
{
    (void)state;
    struct actc_options options = {.max_reply_bytes = 200};
    struct actc_entry entry;
    start(&options);
    struct actc_scan *scan = open_scan(NULL);
    reply_result(1, TEXT(PAGE("\x90") LAST));
    assert_int_equal(actc_scan_next(scan, &entry, &f.error), ACTC_MISS);
    assert_sent(TEXT("\x94\x00\x01\xa4scan\x92\xc4\x00\x82\xa5limit\xcd\x27\x10\xa9max_bytes\x64"));
    actc_scan_free(scan);
}

static void a_page_that_failed_is_asked_for_again(void **state)
{
    (void)state;
    struct actc_entry entry;
    start(NULL);
    actc_set_call_timeout(f.client, 20);
    struct actc_scan *scan = open_scan(NULL);
    reply_result(1, TEXT(PAGE("\x91\x92\xc4\x01"
                              "a\x01") MORE("\x01z")));
    assert_next(scan, "a", 1);
    reply_error(2, TEXT("\x92\x08\xa4"
                        "BUSY"));
    assert_int_equal(actc_scan_next(scan, &entry, &f.error), ACTC_ERROR);
    assert_int_equal(f.error.number, 8);
    assert_int_equal(actc_scan_next(scan, &entry, &f.error), ACTC_TIMEOUT);
    reply_result(4, TEXT("\xc0"));
    assert_int_equal(actc_scan_next(scan, &entry, &f.error), ACTC_BAD_REPLY);
    assert_message_has("scan: ");
    uint8_t sent[1024];
    assert_true(recv(f.peer, sent, sizeof sent, 0) > 0);
    reply_result(5, TEXT(PAGE("\x91\x92\xc4\x01"
                              "b\x02") LAST));
    assert_next(scan, "b", 2);
    assert_sent(TEXT("\x94\x00\x05\xa4scan\x92\xc4\x00\x83" LIMITS "\xa6"
                     "cursor\xc4\x02\x01z"));
    assert_end(scan);
    actc_scan_free(scan);
    scan = open_scan(NULL);
    peer_close();
    assert_int_equal(actc_scan_next(scan, &entry, &f.error), ACTC_LOST);
    assert_int_equal(actc_scan_next(scan, &entry, &f.error), ACTC_LOST);
    actc_scan_free(scan);
}

static void entries_are_checked(void **state)
{
    (void)state;
    static const struct {
        bool is_keys_only;
        const char *page;
        size_t len;
    } cases[] = {
        {false, TEXT(PAGE("\x91\xc0") LAST)},
        {false, TEXT(PAGE("\x91\xc4\x01"
                          "a") LAST)},
        {false, TEXT(PAGE("\x91\x92\xc4\x01"
                          "a\xc0") LAST)},
        {true, TEXT(PAGE("\x91\x92\xc4\x01"
                         "a\x01") LAST)},
        {true, TEXT(PAGE("\x91\xc0") LAST)},
    };
    start(NULL);
    for (uint32_t i = 0; i < N_ELEMENTS(cases); i++) {
        struct actc_scan_options options = {.is_keys_only = cases[i].is_keys_only};
        struct actc_entry entry;
        struct actc_scan *scan = open_scan(&options);
        reply_result(i + 1, cases[i].page, cases[i].len);
        for (unsigned k = 0; k < 2; k++)
            assert_int_equal(actc_scan_next(scan, &entry, &f.error), ACTC_BAD_REPLY);
        actc_scan_free(scan);
    }
}

static void views_of_a_scan_outlive_other_calls(void **state)
{
    (void)state;
    struct actc_entry entry;
    struct actc_value value;
    uint64_t count;
    bool is_exact;
    start(NULL);
    struct actc_scan *scan = open_scan(NULL);
    reply_result(1, TEXT(PAGE("\x92\x92\xc4\x01"
                              "a\xc4\x01x\x92\xc4\x01"
                              "b\xc4\x00") LAST));
    assert_int_equal(actc_scan_next(scan, &entry, &f.error), 0);
    reply_result(2, TEXT("\xc4\x01q"));
    assert_int_equal(actc_get(f.client, "a", 1, &value, &f.error), 0);
    reply_result(3, TEXT("\x82\xa5"
                         "count\x02\xa5"
                         "exact\xc2"));
    assert_int_equal(actc_count(f.client, NULL, 0, &count, &is_exact, &f.error), 0);
    assert_true(count == 2 && !is_exact);
    assert_memory_equal(entry.key.p, "a", 1);
    assert_true(entry.value.is_bytes);
    assert_memory_equal(entry.value.bytes.p, "x", 1);
    assert_int_equal(actc_scan_next(scan, &entry, &f.error), 0);
    assert_true(entry.key.len == 1 && entry.value.is_bytes && entry.value.bytes.len == 0);
    assert_end(scan);
    actc_scan_free(scan);
}

typedef int neighbour_function(struct actc *client, const void *key, size_t key_len,
                               struct actc_entry *ret_entry, struct actc_error *ret_error);

static void neighbours_are_entries_or_none(void **state)
{
    (void)state;
    static const struct {
        neighbour_function *ask;
        const char *sent;
        size_t len;
    } cases[] = {
        {actc_next, TEXT("\x94\x00\x01\xa4next\x91\xc4\x01k")},
        {actc_prev, TEXT("\x94\x00\x01\xa4prev\x91\xc4\x01k")},
        {actc_longest_prefix, TEXT("\x94\x00\x01\xaelongest_prefix\x91\xc4\x01k")},
    };
    for (size_t i = 0; i < N_ELEMENTS(cases); i++) {
        struct actc_entry entry;
        start(NULL);
        reply_result(1, TEXT("\x92\xc4\x02kk\xc4\x01v"));
        assert_int_equal(cases[i].ask(f.client, "k", 1, &entry, &f.error), 0);
        assert_sent(cases[i].sent, cases[i].len);
        assert_true(entry.key.len == 2 && entry.value.is_bytes && entry.value.bytes.len == 1);
        assert_memory_equal(entry.key.p, "kk", 2);
        assert_memory_equal(entry.value.bytes.p, "v", 1);
        reply_result(2, TEXT("\xc0"));
        assert_int_equal(cases[i].ask(f.client, "k", 1, &entry, &f.error), ACTC_MISS);
        reply_result(3, TEXT("\x92\x01\x01"));
        assert_int_equal(cases[i].ask(f.client, "k", 1, &entry, &f.error), ACTC_BAD_REPLY);
        reply_error(4, TEXT("\x92\x05\xa5LIMIT"));
        assert_int_equal(cases[i].ask(f.client, "k", 1, &entry, &f.error), ACTC_ERROR);
        assert_int_equal(f.error.number, 5);
        actc_close(f.client);
        f.client = NULL;
        peer_close();
    }
}

static void a_bad_count_is_refused(void **state)
{
    (void)state;
    uint64_t count = 7;
    bool is_exact = true;
    start(NULL);
    reply_result(1, TEXT("\x02"));
    assert_int_equal(actc_count(f.client, "p", 1, &count, &is_exact, &f.error), ACTC_BAD_REPLY);
    assert_sent(TEXT("\x94\x00\x01\xa5"
                     "count\x91\xc4\x01p"));
    assert_message_has("count: ");
    assert_int_equal(count, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(a_scan_turns_its_pages),
        CASE(the_last_page_is_known_by_its_cursor),
        CASE(options_are_sent_as_they_are),
        CASE(what_makes_no_sense_is_refused),
        CASE(a_page_fits_into_a_reply),
        CASE(a_page_that_failed_is_asked_for_again),
        CASE(entries_are_checked),
        CASE(views_of_a_scan_outlive_other_calls),
        CASE(neighbours_are_entries_or_none),
        CASE(a_bad_count_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
