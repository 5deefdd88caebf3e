/*
 * dispatch: requests in slices. However short they are and whatever runs between them, the reply is
 * the one that the request gives at once; and it is what the tree holds (judge.h).
 */
#include "buildertest.h"
#include "daemon/stats.h"
#include "daemon/worker/call.h"
#include "judge.h"
#include "serve.h"
#include "treetest.h"
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

#define MSGID 7

/* A server of one tree. */
struct served {
    struct serve serve;
    struct snapshot snapshot;
    struct judge judge;
};

static void served_open(struct served *s, const struct bytes *file, const struct oracle *oracle)
{
    assert_int_equal(serve_snapshot(&s->snapshot, file, 1), 0);
    serve_init(&s->serve);
    serve_begin(&s->serve, &s->snapshot);
    s->judge = (struct judge){.config = &s->serve.config,
                              .snapshot = &s->snapshot,
                              .oracle = oracle,
                              .is_whole = true,
                              .most_nodes = 100};
    for (size_t i = 0; i < oracle->n; i++) {
        size_t len = oracle->entries[i].key.len;
        s->judge.most_nodes += 2 * len + 2;
        s->judge.longest_key = len > s->judge.longest_key ? len : s->judge.longest_key;
    }
}

static void served_close(struct served *s)
{
    assert_true(serve_end(&s->serve));
    serve_snapshot_close(&s->snapshot);
}

static void set_slices(struct served *s, uint64_t work, size_t reply_bytes)
{
    s->serve.dispatch.slice_work = work;
    s->serve.dispatch.slice_reply_bytes = reply_bytes;
}

static int send_query(struct served *s, const struct query *query, struct serve_job *ret_job)
{
    msgpack_sbuffer message;
    msgpack_sbuffer_init(&message);
    query_pack(query, MSGID, &message);
    int r = serve_message(&s->serve, slice_of(message.data, message.size), ret_job);
    msgpack_sbuffer_destroy(&message);
    return r;
}

static void assert_judged(const struct served *s, const struct query *query, struct slice reply,
                          const char *name)
{
    struct judged judged;
    const char *wrong = judge_reply(&s->judge, query, MSGID, reply, &judged);
    if (wrong)
        fail_msg("%s: %s: %s", name, method_names[query->method], wrong);
}

/* The whole reply, in as many slices as it takes. *Owned* by the caller. */
static struct bytes ask(struct served *s, const struct query *query, unsigned *ret_slices)
{
    struct serve_job job;
    struct slice reply;
    unsigned n = 1;
    int r = send_query(s, query, &job);
    assert_true(r == SERVE_REPLIED || r == SERVE_SLICED);
    bool is_sliced = r == SERVE_SLICED;
    for (r = is_sliced ? DISPATCH_AGAIN : 0; r == DISPATCH_AGAIN; n++) {
        assert_true(n < 1000000);
        r = serve_slice(&s->serve, &job);
    }
    assert_int_equal(r, 0);
    reply = buf_content(is_sliced ? &job.out : &s->serve.out);
    struct bytes copy = bytes_copy(reply.p, reply.len);
    buf_release(&s->serve.out);
    if (is_sliced)
        serve_job_deinit(&job);
    assert_int_equal(s->serve.pool.used_bytes, 0);
    *ret_slices = n;
    return copy;
}

/* In one slice, and in slices of many lengths. */
static void check_slices(struct served *s, const struct query *query, const char *name)
{
    static const uint64_t works[] = {1, 2, 5, 17, 100, 4096};
    static const size_t lens[] = {1, 100, SIZE_MAX};
    unsigned n;
    set_slices(s, UINT64_MAX, SIZE_MAX);
    struct bytes whole = ask(s, query, &n);
    assert_int_equal(n, 1);
    assert_judged(s, query, slice_of(whole.p, whole.len), name);
    for (size_t i = 0; i < N_ELEMENTS(works); i++)
        for (size_t k = 0; k < N_ELEMENTS(lens); k++) {
            set_slices(s, works[i], lens[k]);
            struct bytes reply = ask(s, query, &n);
            if (!slice_equal(slice_of(reply.p, reply.len), slice_of(whole.p, whole.len)))
                fail_msg("%s: %s: another reply in slices of %llu and %zu bytes", name,
                         method_names[query->method], (unsigned long long)works[i], lens[k]);
            bytes_free(&reply);
        }
    bytes_free(&whole);
}

static struct query query_of(enum method_id method, struct slice key)
{
    struct query query = {.method = method, .n_keys = 1, .keys = {key}};
    if (method == METHOD_range)
        query.keys[0] = query.keys[1] = slice_of(NULL, 0); /* everything */
    query_settle(&query);
    return query;
}

static void add_page_options(struct query *query, unsigned which)
{
    query->options = which & 1 ? QUERY_BIT(REVERSE) | QUERY_BIT(LIMIT) : QUERY_BIT(MAX_BYTES);
    query->options |= which & 2 ? QUERY_BIT(KEYS_ONLY) : 0;
    query->reverse = query->keys_only = true;
    query->limit = which & 2 ? 3 : 100;
    query->max_bytes = which & 2 ? 70 : 5000;
}

static void check_pages(struct served *s, const struct query *query, const char *name)
{
    for (unsigned which = 0; which < 4; which++) {
        struct query page = *query;
        add_page_options(&page, which);
        check_slices(s, &page, name);
    }
}

/* Methods that take several keys, with these. */
static void check_lists(struct served *s, const struct slice *keys, size_t n, const char *name)
{
    static const enum method_id methods[] = {METHOD_mget, METHOD_longest_prefix, METHOD_prefixes,
                                             METHOD_mscan};
    for (size_t i = 0; i < N_ELEMENTS(methods); i++) {
        struct query query = {.method = methods[i], .is_list = true, .n_keys = n};
        memcpy(query.keys, keys, n * sizeof *keys);
        query_settle(&query);
        check_slices(s, &query, name);
        if (methods[i] == METHOD_mscan)
            check_pages(s, &query, name);
        query.options = methods[i] == METHOD_mscan ? 0 : QUERY_BIT(ERRORS);
        query.errors = true;
        check_slices(s, &query, name);
    }
}

static void check_tree(struct treetest *t, void *context)
{
    struct served s;
    struct slice keys[5] = {slice_of("", 0)};
    size_t n = t->oracle.n;
    (void)context;
    if (n > 300) /* the others have what these have */
        return;
    served_open(&s, &t->file, &t->oracle);
    for (size_t i = 0; n > 0 && i < 3; i++)
        keys[i + 1] = t->oracle.entries[i * (n - 1) / 2].key;
    keys[4] = slice_of(keys[1].p, keys[1].len / 2);
    for (size_t i = 0; i < (n > 0 ? 5 : 1); i++)
        for (unsigned method = METHOD_get; method <= METHOD_explore; method++) {
            struct query query = query_of(method, keys[i]);
            if (query.is_list)
                continue;
            check_slices(&s, &query, t->name);
            if (method == METHOD_scan || method == METHOD_range)
                check_pages(&s, &query, t->name);
        }
    check_lists(&s, keys, n > 0 ? 5 : 1, t->name);
    served_close(&s);
}

static void slices_change_no_reply(void **state)
{
    (void)state;
    assert_true(treetest_for_each("doc", check_tree, NULL) >= 6);
    assert_true(treetest_for_each("edge", check_tree, NULL) > 60);
}

static void slices_change_no_reply_of_trees_with_tables_and_strings(void **state)
{
    (void)state;
    struct oracle oracle;
    struct served s;
    struct act_builder_summary summary;
    const struct act_builder_options options = {.values = ACT_VALUES_BYTES,
                                                .table_min_children = 2};
    oracle_init(&oracle);
    for (unsigned i = 0; i < 40; i++)
        oracle_add(&oracle, (uint8_t[]){(uint8_t)(i * 37), (uint8_t)i, (uint8_t)(i % 3)}, 1 + i % 3,
                   i);
    oracle_sort(&oracle);
    struct bytes file = build_file(&oracle, BUILD_SORTED, &options, &summary);
    served_open(&s, &file, &oracle);
    s.judge.has_byte_values = true;
    struct slice keys[] = {slice_of("", 0), oracle.entries[7].key, slice_of("%", 1)};
    for (unsigned method = METHOD_get; method <= METHOD_explore; method++) {
        struct query query = query_of(method, keys[method % 3]);
        if (!query.is_list)
            check_slices(&s, &query, "built");
    }
    check_lists(&s, keys, 3, "built");
    served_close(&s);
    bytes_free(&file);
    oracle_deinit(&oracle);
}

/* The keys "a", "a\xff", "a\xff\xff" and so on, n of them, in one chain of positions. */
static void chain_open(struct served *s, size_t n, struct oracle *oracle, struct bytes *ret_file)
{
    struct act_builder_summary summary;
    const struct act_builder_options options = {0};
    char *key = malloc(n);
    memset(key, 0xff, n);
    key[0] = 'a';
    oracle_init(oracle);
    for (size_t len = 1; len <= n; len++)
        oracle_add(oracle, key, len, len);
    free(key);
    *ret_file = build_file(oracle, BUILD_SORTED, &options, &summary);
    served_open(s, ret_file, oracle);
}

/* To the last entry it is further than a slice reaches, and on the way nothing is passed: all of it
 * ends before "b". */
static void long_ways_have_an_end(void **state)
{
    (void)state;
    struct served s;
    struct oracle oracle;
    struct bytes file;
    unsigned n;
    chain_open(&s, 8000, &oracle, &file);
    struct query queries[] = {query_of(METHOD_prev, slice_of("b", 1)),
                              query_of(METHOD_scan, slice_of("", 0)),
                              query_of(METHOD_range, slice_of("", 0))};
    for (size_t i = 0; i < N_ELEMENTS(queries); i++) {
        if (i > 0) {
            queries[i].options = QUERY_BIT(REVERSE) | QUERY_BIT(LIMIT);
            queries[i].reverse = true;
            queries[i].limit = 2;
        }
        struct bytes reply = ask(&s, &queries[i], &n);
        assert_judged(&s, &queries[i], slice_of(reply.p, reply.len), "chain");
        assert_in_range(n, 2, 10);
        bytes_free(&reply);
    }
    /* Prefixes are found 256 at a time. */
    struct query query = query_of(METHOD_prefixes, oracle.entries[oracle.n - 1].key);
    struct bytes reply = ask(&s, &query, &n);
    assert_judged(&s, &query, slice_of(reply.p, reply.len), "chain");
    bytes_free(&reply);
    served_close(&s);
    bytes_free(&file);
    oracle_deinit(&oracle);
}

/* Each slice begins with a seek to such a key, which must not be all that it does. */
static void slices_among_long_keys_do_something(void **state)
{
    (void)state;
    struct served s;
    struct oracle oracle;
    struct act_builder_summary summary;
    const struct act_builder_options options = {0};
    unsigned n;
    size_t len = 30000;
    uint8_t *key = calloc(len + 2, 1);
    oracle_init(&oracle);
    for (unsigned i = 0; i < 500; i++) {
        key[len] = (uint8_t)(i >> 8);
        key[len + 1] = (uint8_t)i;
        oracle_add(&oracle, key, len + 2, i);
    }
    struct bytes file = build_file(&oracle, BUILD_SORTED, &options, &summary);
    served_open(&s, &file, &oracle);
    set_slices(&s, 400, SIZE_MAX);
    struct query query = query_of(METHOD_count, slice_of("", 0));
    struct bytes reply = ask(&s, &query, &n);
    assert_judged(&s, &query, slice_of(reply.p, reply.len), "long keys");
    assert_in_range(n, 2, 20);
    bytes_free(&reply);
    served_close(&s);
    bytes_free(&file);
    oracle_deinit(&oracle);
    free(key);
}

/* All share a cursor, a scratch key and a decoder. */
static void requests_between_slices_change_nothing(void **state)
{
    (void)state;
    struct treetest t;
    struct served s;
    static const enum method_id methods[] = {METHOD_scan, METHOD_range, METHOD_count,
                                             METHOD_explore};
    struct serve_job jobs[N_ELEMENTS(methods)];
    struct query queries[N_ELEMENTS(methods)];
    bool is_done[N_ELEMENTS(methods)] = {0};
    treetest_open(&t, "edge/br256_lines.cached.act", "edge/br256_lines.tsv");
    served_open(&s, &t.file, &t.oracle);
    set_slices(&s, 40, 1000);
    for (size_t i = 0; i < N_ELEMENTS(methods); i++) {
        queries[i] = query_of(methods[i], slice_of("", 0));
        assert_int_equal(send_query(&s, &queries[i], &jobs[i]), SERVE_SLICED);
    }
    for (size_t n_done = 0, turn = 0; n_done < N_ELEMENTS(methods); turn++) {
        size_t i = turn * 3 % N_ELEMENTS(methods);
        if (is_done[i])
            continue;
        int r = serve_slice(&s.serve, &jobs[i]);
        is_done[i] = r == 0;
        n_done += r == 0;
        assert_true(r == 0 || r == DISPATCH_AGAIN);
    }
    for (size_t i = 0; i < N_ELEMENTS(methods); i++) {
        assert_judged(&s, &queries[i], buf_content(&jobs[i].out), "between others");
        serve_job_deinit(&jobs[i]);
    }
    served_close(&s);
    treetest_close(&t);
}

static void damage_between_slices_ends_in_io_error(void **state)
{
    (void)state;
    struct treetest t;
    struct served s;
    struct serve_job job;
    treetest_open(&t, "edge/br256_lines.cached.act", "edge/br256_lines.tsv");
    served_open(&s, &t.file, &t.oracle);
    set_slices(&s, 40, SIZE_MAX);
    struct query query = query_of(METHOD_scan, slice_of("", 0));
    assert_int_equal(send_query(&s, &query, &job), SERVE_SLICED);
    assert_int_equal(serve_slice(&s.serve, &job), DISPATCH_AGAIN);
    s.snapshot.damage = "changed";
    s.judge.is_damaged = true;
    assert_int_equal(serve_slice(&s.serve, &job), 0);
    assert_judged(&s, &query, buf_content(&job.out), "damaged");
    serve_job_deinit(&job);
    served_close(&s);
    treetest_close(&t);
}

/* A job needs two buffers more than the reply that it begins in, and one for its place. */
static void a_request_that_finds_no_buffers_is_busy(void **state)
{
    (void)state;
    struct treetest t;
    struct served s;
    treetest_open(&t, "edge/br256_lines.cached.act", "edge/br256_lines.tsv");
    served_open(&s, &t.file, &t.oracle);
    set_slices(&s, 40, SIZE_MAX);
    s.judge.is_pool_small = true;
    s.serve.pool.reserve_bytes = 0;
    for (size_t blocks = 1; blocks <= 4; blocks++) {
        struct serve_job job;
        struct judged judged;
        s.serve.pool.max_bytes = blocks * BUF_BLOCK_BYTES;
        struct query query = query_of(METHOD_scan, slice_of("", 0));
        int r = send_query(&s, &query, &job);
        assert_int_equal(r, blocks < 4 ? SERVE_REPLIED : SERVE_SLICED);
        struct slice reply = buf_content(&s.serve.out);
        if (r == SERVE_REPLIED) {
            assert_null(judge_reply(&s.judge, &query, MSGID, reply, &judged));
            assert_int_equal(judged.error, PROTO_BUSY);
        } else {
            serve_job_deinit(&job);
        }
        buf_release(&s.serve.out);
        assert_int_equal(s.serve.pool.used_bytes, 0);
    }
    served_close(&s);
    treetest_close(&t);
}

/* Its reply is in the mode that it asks for; its error, as everything after it, is not. */
static void a_hello_that_finds_no_room_changes_nothing(void **state)
{
    (void)state;
    struct treetest t;
    struct served s;
    struct serve_job job;
    struct judged judged;
    treetest_open(&t, "doc/a.act", "doc/a.tsv");
    served_open(&s, &t.file, &t.oracle);
    s.serve.config.limits_max_reply_bytes = 200;
    struct query query = {.method = METHOD_hello,
                          .has_hello_options = true,
                          .errors_as_string = true,
                          .u64_as_string = true};
    assert_int_equal(send_query(&s, &query, &job), SERVE_REPLIED);
    assert_null(judge_reply(&s.judge, &query, MSGID, buf_content(&s.serve.out), &judged));
    assert_int_equal(judged.error, PROTO_TOO_LARGE);
    assert_false(s.serve.session.mode.errors_as_string || s.serve.session.mode.u64_as_string);
    served_close(&s);
    treetest_close(&t);
}

static bool read_identity(const char *text, uint64_t *ret)
{
    msgpack_object object = {.type = MSGPACK_OBJECT_STR,
                             .via.str = {.ptr = text, .size = (uint32_t)strlen(text)}};
    return param_identity(&object, ret);
}

static void identities_are_numbers_or_decimal_text(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",
                                        "-1",
                                        "+1",
                                        " 1",
                                        "1 ",
                                        "0x1",
                                        "1.0",
                                        "a",
                                        "/",
                                        ":",
                                        "18446744073709551616",
                                        "99999999999999999999",
                                        "000000000000000000001"};
    uint64_t identity = 7;
    msgpack_object number = {.type = MSGPACK_OBJECT_POSITIVE_INTEGER, .via.u64 = UINT64_MAX};
    for (size_t i = 0; i < N_ELEMENTS(wrong); i++)
        assert_false(read_identity(wrong[i], &identity));
    number.type = MSGPACK_OBJECT_NIL;
    assert_false(param_identity(&number, &identity));
    assert_int_equal(identity, 7);
    number.type = MSGPACK_OBJECT_POSITIVE_INTEGER;
    assert_true(param_identity(&number, &identity) && identity == UINT64_MAX);
    assert_true(read_identity("0", &identity) && identity == 0);
    assert_true(read_identity("007", &identity) && identity == 7);
    assert_true(read_identity("18446744073709551615", &identity) && identity == UINT64_MAX);
}

/* All methods that take options but those of hello: another pin is refused, the right one changes
 * nothing, as a number and as text. */
static void pins_are_compared(void **state)
{
    (void)state;
    static const enum method_id methods[] = {METHOD_mget,           METHOD_scan,    METHOD_range,
                                             METHOD_mscan,          METHOD_count,   METHOD_explore,
                                             METHOD_longest_prefix, METHOD_prefixes};
    struct treetest t;
    struct served s;
    struct serve_job job;
    unsigned n;
    treetest_open(&t, "doc/a.act", "doc/a.tsv");
    served_open(&s, &t.file, &t.oracle);
    for (size_t i = 0; i < 2 * N_ELEMENTS(methods); i++) {
        struct query query = query_of(methods[i / 2], slice_of("bar", 3));
        query.is_list = true;
        query.n_keys = 1;
        query_settle(&query);
        query.options = QUERY_BIT(PIN);
        query.is_identity_text = i & 1;
        query.identity = s.snapshot.generation.identity;
        check_slices(&s, &query, "the right pin");
        query.identity++;
        check_slices(&s, &query, "another pin");
        struct bytes reply = ask(&s, &query, &n);
        struct judged judged;
        assert_null(judge_reply(&s.judge, &query, MSGID, slice_of(reply.p, reply.len), &judged));
        assert_int_equal(judged.error, PROTO_GONE);
        bytes_free(&reply);
        /* Offered: it waits; withdrawn, or too late: it is gone. */
        struct generation offered = {.identity = query.identity};
        s.serve.dispatch.offered = &offered;
        assert_int_equal(send_query(&s, &query, &job), SERVE_WAITING);
        assert_false(dispatch_may_go_on(&s.serve.dispatch, &job.progress));
        assert_int_equal(serve_slice(&s.serve, &job), DISPATCH_WAIT);
        job.progress.is_overdue = i & 1;
        if (!job.progress.is_overdue)
            s.serve.dispatch.offered = NULL;
        assert_true(dispatch_may_go_on(&s.serve.dispatch, &job.progress));
        assert_int_equal(serve_slice(&s.serve, &job), 0);
        assert_judged(&s, &query, buf_content(&job.out), "gone");
        serve_job_deinit(&job);
        s.serve.dispatch.offered = NULL;
    }
    served_close(&s);
    treetest_close(&t);
}

/* A worker that could not map a file that was overwritten. */
static void without_a_tree_the_rest_is_answered(void **state)
{
    (void)state;
    struct treetest t;
    struct served s;
    treetest_open(&t, "doc/a.act", "doc/a.tsv");
    served_open(&s, &t.file, &t.oracle);
    struct act *tree = s.snapshot.tree;
    s.snapshot.tree = NULL;
    s.snapshot.damage = "it is gone";
    for (unsigned method = 0; method < N_METHODS; method++) {
        struct query query = query_of(method, slice_of("bar", 3));
        struct judged judged;
        unsigned n;
        struct bytes reply = ask(&s, &query, &n);
        /* The judge does not know this case: NULL is no query. */
        assert_null(judge_reply(&s.judge, NULL, MSGID, slice_of(reply.p, reply.len), &judged));
        bool needs_no_tree = method <= METHOD_ping || method >= METHOD_info;
        assert_int_equal(judged.error, needs_no_tree ? 0 : PROTO_UNAVAILABLE);
        bytes_free(&reply);
    }
    s.snapshot.tree = tree;
    served_close(&s);
    treetest_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(slices_change_no_reply),
        cmocka_unit_test(slices_change_no_reply_of_trees_with_tables_and_strings),
        cmocka_unit_test(long_ways_have_an_end),
        cmocka_unit_test(slices_among_long_keys_do_something),
        cmocka_unit_test(requests_between_slices_change_nothing),
        cmocka_unit_test(damage_between_slices_ends_in_io_error),
        cmocka_unit_test(a_request_that_finds_no_buffers_is_busy),
        cmocka_unit_test(a_hello_that_finds_no_room_changes_nothing),
        cmocka_unit_test(identities_are_numbers_or_decimal_text),
        cmocka_unit_test(pins_are_compared),
        cmocka_unit_test(without_a_tree_the_rest_is_answered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
