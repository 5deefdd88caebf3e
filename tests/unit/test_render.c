/*
 * render: what /stats and /metrics print of a board, with two processes that have one number.
 */
#include "daemon/admin/metrics.h"
#include "daemon/admin/render.h"
#include "daemon/admin/render_text.h"

#include "unit.h"

#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct scene {
    struct config config;
    struct board board;
};

static void take(struct scene *scene, unsigned slot, uint32_t number, uint64_t requests)
{
    board_take(&scene->board, slot, number);
    struct board_page *page = (struct board_page *)(uintptr_t)board_page(&scene->board, slot);
    page->stats.method[METHOD_get].requests = requests;
    page->stats.connections_open = slot + 1;
    page->generation = slot + 1;
    scene->board.own_slots[slot].pid = getpid();
}

/* Number 0 hangs in slot 1, and its successor has slot 0. */
static void begin(struct scene *scene)
{
    int fd;
    config_init(&scene->config);
    assert_int_equal(board_create(&scene->board, &scene->config, 2, &fd), 0);
    close(fd);
    take(scene, 0, 0, 1);
    take(scene, 1, 0, 10);
    scene->board.own_slots[1].started_ms -= 5000;
    take(scene, 3, 1, 100);
    take(scene, 4, 1, 1000); /* of the same millisecond */
    scene->board.own_slots[4].started_ms = scene->board.own_slots[3].started_ms;
}

static void end(struct scene *scene)
{
    board_detach(&scene->board);
    config_deinit(&scene->config);
}

static unsigned count(const char *text, const char *part)
{
    unsigned n = 0;
    for (const char *at = text; (at = strstr(at, part)); at += strlen(part))
        n++;
    return n;
}

static void a_number_has_one_series_and_sums_have_all(void **state)
{
    (void)state;
    struct scene scene;
    char *text;
    begin(&scene);
    assert_int_equal(metrics_render(&scene.board, &text), 0);
    assert_int_equal(count(text, "\nactd_worker_generation{worker=\"0\"} "), 1);
    assert_int_equal(count(text, "\nactd_worker_generation{worker=\"0\"} 1\n"), 1);
    assert_int_equal(count(text, "\nactd_worker_generation{worker=\"1\"} "), 1);
    assert_int_equal(count(text, "\nactd_worker_requests_total{worker=\"0\",method=\"get\"} 1\n"),
                     1);
    assert_int_equal(count(text, "\nactd_worker_requests_total{worker=\"0\",method=\"get\"} "), 1);
    assert_int_equal(count(text, "\nactd_method_requests_total{method=\"get\"} 1111\n"), 1);
    assert_int_equal(count(text, "\nactd_connections_open 12\n"), 1);
    assert_int_equal(count(text, "\n# TYPE actd_worker_resident_bytes gauge\n"), 1);
    free(text);
    end(&scene);
}

static void what_is_unknown_is_null_or_absent(void **state)
{
    (void)state;
    struct scene scene;
    char *text;
    begin(&scene);
    assert_int_equal(metrics_render(&scene.board, &text), 0);
    assert_int_equal(count(text, "\n# TYPE actd_tree_pss_bytes gauge\n"), 1);
    assert_int_equal(count(text, "\nactd_tree_pss_bytes"), 0);
    assert_int_equal(count(text, "\nactd_worker_tree_pss_bytes"), 0);
    free(text);
    assert_int_equal(render_json(&scene.board, &text), 0);
    assert_int_equal(count(text, "\"pss_bytes\":null"), 5);
    assert_int_equal(count(text, "\"pss_age_ms\":null"), 1);
    free(text);
    end(&scene);
}

static const char *member(json_object *object, const char *name)
{
    json_object *value;
    assert_true(json_object_object_get_ex(object, name, &value));
    return value ? json_object_get_string(value) : NULL;
}

static void json_lists_every_process_and_says_what_is_wrong(void **state)
{
    (void)state;
    struct scene scene;
    json_object *workers;
    char *text;
    begin(&scene);
    assert_int_equal(render_json(&scene.board, &text), 0);
    json_object *root = json_tokener_parse(text);
    free(text);
    assert_string_equal(member(root, "unready"), "no worker is serving");
    assert_null(member(root, "damage"));
    assert_null(member(root, "refusal"));
    assert_true(json_object_object_get_ex(root, "workers", &workers));
    assert_int_equal(json_object_array_length(workers), 4);
    assert_string_equal(member(json_object_array_get_idx(workers, 1), "worker"), "0");
    json_object_put(root);
    scene.board.own_head->n_serving = 2;
    scene.board.own_head->is_damaged = true;
    board_text_set(&scene.board.own_head->damage, "the file was truncated");
    board_text_set(&scene.board.own_head->refusal, "the candidate is \"bad\"");
    assert_int_equal(render_json(&scene.board, &text), 0);
    root = json_tokener_parse(text);
    free(text);
    assert_string_equal(member(root, "unready"), "the file was truncated");
    assert_string_equal(member(root, "damage"), "the file was truncated");
    assert_string_equal(member(root, "refusal"), "the candidate is \"bad\"");
    json_object_put(root);
    end(&scene);
}

static void assert_text(const char *text, const char *expected)
{
    json_object *object = render_text(text);
    assert_string_equal(json_object_get_string(object), expected);
    json_object_put(object);
}

static void text_that_is_no_utf8_becomes_some(void **state)
{
    (void)state;
    assert_text("", "");
    assert_text("/b\xc3\xa4ume\x01", "/b\xc3\xa4ume\x01");
    assert_text("/b\xe4ume", "/b\xef\xbf\xbdume");
    assert_text("\xff\xff/x", "\xef\xbf\xbd\xef\xbf\xbd/x");
    assert_text("cut \xc3", "cut \xef\xbf\xbd");
    assert_text("\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"); /* a surrogate */
    assert_text("\xf0\x9f\x8c\xb2\xf5", "\xf0\x9f\x8c\xb2\xef\xbf\xbd");
}

static void counters_of_the_dead_stay_in_the_sums(void **state)
{
    (void)state;
    struct scene scene;
    struct stats_report before, after;
    begin(&scene);
    stats_collect(&scene.board, &before);
    board_retire(&scene.board, 1);
    board_retire(&scene.board, 4);
    stats_collect(&scene.board, &after);
    assert_int_equal(after.method[METHOD_get].requests, 1111);
    assert_int_equal(after.values[STAT_connections_open], 1 + 4);
    assert_true(after.values[STAT_faults_minor] >= before.values[STAT_faults_minor]);
    assert_int_equal(after.n_workers, 2);
    end(&scene);
}

static void note(struct scene *scene, unsigned slot, uint64_t at_ms, struct slice key)
{
    struct board_page *page = (struct board_page *)(uintptr_t)board_page(&scene->board, slot);
    struct slow_request slow = {
        .at_ms = at_ms, .duration_ns = 1234567, .has_key = key.p, .key_bytes = key.len};
    if (key.p)
        memcpy(slow.key, key.p, key.len < SLOW_KEY_BYTES ? key.len : SLOW_KEY_BYTES);
    slow.method = METHOD_get;
    slow_note(&page->slow, &slow);
}

/* Owned by the caller. */
static json_object *slow_list(struct scene *scene)
{
    char *text;
    json_object *list;
    assert_int_equal(render_slow(&scene->board, &text), 0);
    json_object *root = json_tokener_parse(text);
    free(text);
    assert_string_equal(member(root, "slow_ms"), "100");
    assert_true(json_object_object_get_ex(root, "requests", &list));
    json_object_get(list);
    json_object_put(root);
    return list;
}

static void check_key(struct slice key, const char *expected)
{
    struct scene scene;
    begin(&scene);
    note(&scene, 0, 1, key);
    json_object *list = slow_list(&scene);
    assert_int_equal(json_object_array_length(list), 1);
    json_object *slow = json_object_array_get_idx(list, 0);
    assert_string_equal(member(slow, "duration_ms"), "1.234");
    assert_string_equal(member(slow, "method"), "get");
    assert_null(member(slow, "error"));
    const char *told = member(slow, "key");
    if (expected)
        assert_string_equal(told, expected);
    else
        assert_null(told);
    json_object_put(list);
    end(&scene);
}

#define KEY(text) slice_of(text, sizeof(text) - 1)
#define X16(text) text text text text text text text text text text text text text text text text

static void keys_are_text_where_they_are_and_hex_elsewhere(void **state)
{
    (void)state;
    check_key((struct slice){0}, NULL);
    check_key(KEY(""), "{ \"text\": \"\", \"bytes\": 0 }");
    check_key(KEY("a\0\"\n"), "{ \"text\": \"a\\u0000\\\"\\n\", \"bytes\": 4 }");
    check_key(KEY("\xf4\x8f\xbf\xbf"), "{ \"text\": \"\xf4\x8f\xbf\xbf\", \"bytes\": 4 }");
    check_key(KEY("\xf4\x90\x80\x80"), "{ \"hex\": \"f4908080\", \"bytes\": 4 }");
    check_key(KEY("\xed\xa0\x80"), "{ \"hex\": \"eda080\", \"bytes\": 3 }");
    check_key(KEY("\xc0\x80"), "{ \"hex\": \"c080\", \"bytes\": 2 }");
    check_key(KEY("ab\xc3"), "{ \"hex\": \"6162c3\", \"bytes\": 3 }");
    check_key(KEY("\x80"), "{ \"hex\": \"80\", \"bytes\": 1 }");
    check_key(KEY(X16("abcd")), "{ \"text\": \"" X16("abcd") "\", \"bytes\": 64 }");
    check_key(KEY(X16("abcd") "e"), "{ \"text\": \"" X16("abcd") "\", \"bytes\": 65 }");
    /* The last character that fits is cut, and left out. */
    check_key(KEY("a" X16("bc\xc3\xa4")), "{ \"text\": \"abc\xc3\xa4"
                                          "bc\xc3\xa4"
                                          "bc\xc3\xa4"
                                          "bc\xc3\xa4"
                                          "bc\xc3\xa4"
                                          "bc\xc3\xa4"
                                          "bc\xc3\xa4"
                                          "bc\xc3\xa4"
                                          "bc\xc3\xa4"
                                          "bc\xc3\xa4"
                                          "bc\xc3\xa4"
                                          "bc\xc3\xa4"
                                          "bc\xc3\xa4"
                                          "bc\xc3\xa4"
                                          "bc\xc3\xa4"
                                          "bc\", \"bytes\": 65 }");
    check_key(KEY(X16("\xff\xfe\xff\xfe") "\xff"),
              "{ \"hex\": \"" X16("fffefffe") "\", \"bytes\": 65 }");
}

static void slow_requests_are_the_newest_and_in_order(void **state)
{
    (void)state;
    struct scene scene;
    begin(&scene);
    for (uint64_t i = 0; i < 100; i++)
        for (unsigned slot = 0; slot < 5; slot++)
            note(&scene, slot, 10 * i + slot, KEY("k")); /* slot 2 is of nobody */
    struct board_page *page = (struct board_page *)(uintptr_t)board_page(&scene.board, 4);
    page->slow.entries[99 % SLOW_ENTRIES].version++; /* it is being written */
    json_object *list = slow_list(&scene);
    size_t n = json_object_array_length(list);
    assert_int_equal(n, 4 * SLOW_ENTRIES - 1);
    assert_string_equal(member(json_object_array_get_idx(list, 0), "at_ms"), "993");
    assert_string_equal(member(json_object_array_get_idx(list, 1), "at_ms"), "991");
    assert_string_equal(member(json_object_array_get_idx(list, n - 1), "at_ms"), "360");
    json_object_put(list);
    end(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_number_has_one_series_and_sums_have_all),
        cmocka_unit_test(what_is_unknown_is_null_or_absent),
        cmocka_unit_test(json_lists_every_process_and_says_what_is_wrong),
        cmocka_unit_test(keys_are_text_where_they_are_and_hex_elsewhere),
        cmocka_unit_test(slow_requests_are_the_newest_and_in_order),
        cmocka_unit_test(text_that_is_no_utf8_becomes_some),
        cmocka_unit_test(counters_of_the_dead_stay_in_the_sums),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
