/*
 * guard: pages that go away under a mapped tree: each call is left, the process lives, nothing that
 * the request had is lost. And SIGBUS that is about anything else ends the process.
 */
#include "daemon/worker/guard.h"

#include "act/builder.h"
#include "buildertest.h"
#include "query.h"
#include "serve.h"
#include "unit.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define N_KEYS     4000
#define PAGE_BYTES ((size_t)sysconf(_SC_PAGESIZE))

/* Contents, in a file that the test cuts. */
struct cut_file {
    struct oracle oracle;
    struct bytes content;
    int fd;
    struct snapshot *snapshot;
};

static struct snapshot *open_fd(int fd)
{
    char path[64];
    struct snapshot *snapshot;
    struct generation generation;
    struct act_error error;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    int own = generation_open(path, &error);
    if (own < 0 || generation_examine(own, path, &generation, &error) != 0 ||
        snapshot_new(own, path, &generation, (size_t)1 << 20, &snapshot, &error) != 0)
        fail_msg("%s", error.message);
    return snapshot;
}

static void put_back(const struct cut_file *file)
{
    assert_int_equal(pwrite(file->fd, file->content.p, file->content.len, 0), file->content.len);
}

static void cut_file_open(struct cut_file *file, enum act_values values)
{
    char key[64];
    struct act_builder_summary summary;
    /* Without tables in the file, so that the cache has something to do. */
    const struct act_builder_options options = {.values = values, .table_min_children = 256};
    oracle_init(&file->oracle);
    for (unsigned i = 0; i < N_KEYS; i++) {
        int len = snprintf(key, sizeof key, "%u/%u of a number", i * 7919 % 1009, i);
        oracle_add(&file->oracle, key, (size_t)len, i * 1000);
    }
    oracle_sort(&file->oracle);
    file->content = build_file(&file->oracle, BUILD_SORTED, &options, &summary);
    assert_true(file->content.len > 8 * PAGE_BYTES);
    file->fd = build_memfd();
    put_back(file);
    file->snapshot = open_fd(file->fd);
    guard_install(); /* in each test: cmocka sets handlers of its own before it */
}

static void cut_file_close(struct cut_file *file)
{
    assert_true(snapshot_unref(file->snapshot));
    snapshot_free(file->snapshot);
    close(file->fd);
    bytes_free(&file->content);
    oracle_deinit(&file->oracle);
}

/* All of it, the upper half with the root, and all but the lower part of a page. */
static size_t cut_length(const struct cut_file *file, unsigned i)
{
    size_t half = file->content.len / 2 / PAGE_BYTES * PAGE_BYTES;
    return (size_t[]){0, half, half + 100}[i];
}
#define CUT_LENGTHS 3

/*
 * Each call.
 */

enum guarded {
    GET,
    GET_BATCH,
    EXISTS,
    NODE,
    LONGEST_PREFIX,
    PREFIXES,
    BYTES,
    COPY,
    CURSOR_RESET,
    CURSOR_SEEK,
    CURSOR_LAST,
    CURSOR_NEXT,
    CURSOR_PREV,
    CURSOR_COUNT,
    GUARDED_CALLS
};

struct work {
    enum guarded call;
    const struct cut_file *file;
    struct act_cursor *cursor; /* reset before the file was cut, and for prev at an entry */
    uint64_t number;           /* of a byte value */
    bool has_ended;
};

static int call_key(struct work *work)
{
    const struct act *tree = work->file->snapshot->tree;
    struct slice key = work->file->oracle.entries[N_KEYS / 2].key;
    struct act_prefix prefixes[4];
    struct act_result results[2];
    struct act_node node;
    uint64_t value;
    size_t len;
    switch (work->call) {
    case GET:
        return guard_get(tree, key, &value, NULL);
    case GET_BATCH:
        guard_get_batch(tree, (struct act_key[]){{key.p, key.len}, {key.p, key.len}}, 2, results);
        return results[0].outcome;
    case EXISTS:
        return guard_exists(tree, key, NULL);
    case NODE:
        return guard_node(tree, key, &node, NULL);
    case LONGEST_PREFIX:
        return guard_longest_prefix(tree, key, &len, &value, NULL);
    default:
        return guard_prefixes(tree, key, 0, prefixes, N_ELEMENTS(prefixes), &len, NULL);
    }
}

static int call_cursor(struct work *work)
{
    const struct act *tree = work->file->snapshot->tree;
    uint64_t count;
    switch (work->call) {
    case CURSOR_RESET:
        guard_cursor_reset(work->cursor, tree);
        return 0;
    case CURSOR_SEEK:
        return guard_cursor_seek(tree, work->cursor, work->file->oracle.entries[7].key);
    case CURSOR_LAST:
        return guard_cursor_last(tree, work->cursor);
    case CURSOR_NEXT:
        return guard_cursor_next(tree, work->cursor);
    case CURSOR_PREV:
        return guard_cursor_prev(tree, work->cursor);
    default:
        return guard_cursor_count(tree, work->cursor, &count);
    }
}

static int do_call(void *context)
{
    int r;
    struct work *work = context;
    const struct act *tree = work->file->snapshot->tree;
    struct act_info info;
    struct slice bytes;
    uint8_t copy[16];
    act_info(tree, &info);
    if (work->call >= CURSOR_RESET) {
        r = call_cursor(work);
    } else if (work->call == BYTES) {
        r = guard_bytes(tree, work->number, &bytes, NULL);
    } else if (work->call == COPY) {
        const uint8_t *end = (const uint8_t *)(uintptr_t)info.mapping_start + info.mapped_bytes;
        guard_copy(tree, copy, slice_of(end - sizeof copy, sizeof copy));
        r = 0;
    } else {
        r = call_key(work);
    }
    work->has_ended = true;
    return r;
}

static void check_call(const struct cut_file *file, enum guarded call, size_t len)
{
    struct act_cursor *cursor;
    const struct act *tree = file->snapshot->tree;
    assert_int_equal(act_cursor_new(tree, 0, &cursor), 0);
    struct work work = {.call = call, .file = file, .cursor = cursor};
    const struct oracle_entry *middle = &file->oracle.entries[N_KEYS / 2];
    assert_int_equal(act_get(tree, middle->key.p, middle->key.len, &work.number, NULL), 0);
    if (call == CURSOR_PREV)
        assert_int_equal(act_cursor_last(cursor), 0);
    assert_int_equal(guard_run(do_call, &work), 0);
    assert_true(work.has_ended);
    /* Once more from the beginning: a cursor may stand behind what is lost. */
    if (call != CURSOR_PREV)
        act_cursor_reset(cursor, tree);
    work.has_ended = false;
    assert_int_equal(ftruncate(file->fd, (off_t)len), 0);
    bool is_lost = call != BYTES || len == 0; /* the root is at the end, values are not */
    assert_int_equal(guard_run(do_call, &work), is_lost ? GUARD_LOST : 0);
    assert_int_equal(work.has_ended, !is_lost);
    put_back(file);
    act_cursor_reset(cursor, tree);
    assert_int_equal(guard_run(do_call, &work), call == CURSOR_PREV ? ACT_MISS : 0);
    act_cursor_free(cursor);
}

static void each_call_is_left_where_a_page_is_gone(void **state)
{
    (void)state;
    struct cut_file file;
    cut_file_open(&file, ACT_VALUES_BYTES);
    for (int call = 0; call < GUARDED_CALLS; call++)
        for (unsigned i = 0; i < CUT_LENGTHS; i++)
            check_call(&file, (enum guarded)call, cut_length(&file, i));
    cut_file_close(&file);
}

struct lookup {
    const struct act *tree;
    struct slice key;
    uint64_t value;
};

static int look_up(void *context)
{
    struct lookup *lookup = context;
    return guard_get(lookup->tree, lookup->key, &lookup->value, NULL);
}

/* The keys whose way leads over a page that is gone; all others have the right value. */
static size_t count_lost(const struct cut_file *file)
{
    size_t n = 0;
    for (size_t i = 0; i < file->oracle.n; i++) {
        const struct oracle_entry *entry = &file->oracle.entries[i];
        struct lookup lookup = {.tree = file->snapshot->tree, .key = entry->key};
        int r = guard_run(look_up, &lookup);
        n += r == GUARD_LOST;
        assert_true(r == GUARD_LOST || (r == 0 && lookup.value == entry->value));
    }
    return n;
}

/* As on a bad disk, one after the other. A jump may come in the middle of what fills the cache. */
static void other_pages_and_those_that_come_back_are_read(void **state)
{
    (void)state;
    struct cut_file file;
    int empty = build_memfd();
    cut_file_open(&file, ACT_VALUES_U64);
    struct act_info info;
    size_t n_lost = 0;
    for (size_t at = 0; at < file.content.len; at += PAGE_BYTES) {
        assert_true(snapshot_unref(file.snapshot));
        snapshot_free(file.snapshot);
        file.snapshot = open_fd(file.fd); /* with an empty cache */
        act_info(file.snapshot->tree, &info);
        void *page = (void *)(uintptr_t)(info.mapping_start + at);
        int flags = MAP_SHARED | MAP_FIXED;
        assert_ptr_equal(mmap(page, PAGE_BYTES, PROT_READ, flags, empty, 0), page);
        size_t n = count_lost(&file);
        n_lost += n < file.oracle.n ? n : 0;
        assert_true(n > 0);
        assert_ptr_equal(mmap(page, PAGE_BYTES, PROT_READ, flags, file.fd, (off_t)at), page);
        assert_int_equal(count_lost(&file), 0);
    }
    assert_true(n_lost > file.oracle.n / 2);
    cut_file_close(&file);
    close(empty);
}

static void *call_in_thread(void *context)
{
    struct work *work = context;
    for (int i = 0; i < 100; i++)
        if (guard_run(do_call, work) != GUARD_LOST)
            return NULL;
    return context;
}

static void each_thread_has_its_own(void **state)
{
    (void)state;
    struct cut_file lost, whole;
    pthread_t threads[2];
    void *result;
    cut_file_open(&lost, ACT_VALUES_U64);
    cut_file_open(&whole, ACT_VALUES_U64);
    assert_int_equal(ftruncate(lost.fd, 0), 0);
    struct work bad[2] = {{.call = GET, .file = &lost}, {.call = NODE, .file = &lost}};
    struct work good = {.call = GET, .file = &whole};
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, call_in_thread, &bad[i]), 0);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(guard_run(do_call, &good), 0);
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], &result);
        assert_ptr_equal(result, &bad[i]);
    }
    cut_file_close(&lost);
    cut_file_close(&whole);
}

/*
 * Requests.
 */

static const enum method_id methods[] = {
    METHOD_get,    METHOD_mget,  METHOD_exists, METHOD_node, METHOD_scan,           METHOD_range,
    METHOD_mscan,  METHOD_count, METHOD_next,   METHOD_prev, METHOD_longest_prefix, METHOD_prefixes,
    METHOD_explore};

static int send_query(struct serve *serve, enum method_id method, struct slice key,
                      struct serve_job *ret_job)
{
    msgpack_sbuffer message;
    struct query query = {.method = method, .n_keys = method == METHOD_range ? 2 : 1};
    query.keys[0] = key;
    query_settle(&query);
    msgpack_sbuffer_init(&message);
    query_pack(&query, 7, &message);
    int r = serve_message(serve, slice_of(message.data, message.size), ret_job);
    msgpack_sbuffer_destroy(&message);
    return r;
}

static void assert_told(struct slice reply, const char *text)
{
    if (!memmem(reply.p, reply.len, text, strlen(text)))
        fail_msg("no \"%s\" in the reply of %zu bytes", text, reply.len);
}

/* In one slice, or lost in the second one. */
static void check_request(enum method_id method, enum act_values values, size_t which, bool sliced)
{
    struct cut_file file;
    struct serve serve;
    struct serve_job job;
    cut_file_open(&file, values);
    serve_init(&serve);
    serve_begin(&serve, file.snapshot);
    serve.dispatch.slice_work = sliced ? 5 : UINT64_MAX;
    struct slice key = method == METHOD_scan || method == METHOD_count || method == METHOD_mscan ||
                               method == METHOD_explore
                           ? slice_of("", 0)
                           : file.oracle.entries[N_KEYS / 2].key;
    size_t len = cut_length(&file, (unsigned)which);
    if (sliced) {
        assert_int_equal(send_query(&serve, method, key, &job), SERVE_SLICED);
        assert_int_equal(serve_slice(&serve, &job), DISPATCH_AGAIN);
        assert_int_equal(ftruncate(file.fd, (off_t)len), 0);
        int r;
        while ((r = serve_slice(&serve, &job)) == DISPATCH_AGAIN)
            continue;
        assert_int_equal(r, 0);
        assert_told(buf_content(&job.out), "IO_ERROR: the file was truncated in place");
        serve_job_deinit(&job);
    } else {
        assert_int_equal(ftruncate(file.fd, (off_t)len), 0);
        assert_int_equal(send_query(&serve, method, key, &job), SERVE_REPLIED);
        assert_told(buf_content(&serve.out), "IO_ERROR: the file was truncated in place");
    }
    assert_string_equal(file.snapshot->damage, "the file was truncated in place");
    assert_int_equal(serve.board.own_page->stats.method[method].errors, 1);
    /* The cursor that was left in the middle of a move is as good as new for the next tree. */
    struct cut_file next;
    cut_file_open(&next, values);
    serve_switch(&serve, next.snapshot);
    serve.dispatch.slice_work = UINT64_MAX;
    serve.out.tail = serve.out.head;
    assert_int_equal(send_query(&serve, METHOD_count, slice_of("", 0), &job), SERVE_REPLIED);
    assert_told(buf_content(&serve.out), "\xa5"
                                         "count\xcd\x0f\xa0");
    assert_true(serve_end(&serve));
    cut_file_close(&next);
    cut_file_close(&file);
}

static void each_request_ends_in_io_error(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_ELEMENTS(methods); i++)
        for (size_t which = 0; which < CUT_LENGTHS; which++) {
            check_request(methods[i], ACT_VALUES_U64, which, false);
            check_request(methods[i], ACT_VALUES_BYTES, which, false);
        }
}

static void a_slice_ends_in_io_error(void **state)
{
    (void)state;
    static const enum method_id sliced[] = {METHOD_scan, METHOD_mscan, METHOD_count,
                                            METHOD_explore};
    for (size_t i = 0; i < N_ELEMENTS(sliced); i++)
        for (size_t which = 0; which < CUT_LENGTHS; which++)
            check_request(sliced[i], ACT_VALUES_BYTES, which, true);
}

static void why_a_page_was_missing_is_told(void **state)
{
    (void)state;
    struct cut_file file;
    cut_file_open(&file, ACT_VALUES_U64);
    snapshot_note_fault(file.snapshot); /* the file is as it was: so the disk */
    assert_string_equal(file.snapshot->damage, "a part of the file could not be read");
    file.snapshot->damage = NULL;
    assert_int_equal(ftruncate(file.fd, 100), 0);
    snapshot_note_fault(file.snapshot);
    assert_string_equal(file.snapshot->damage, "the file was truncated in place");
    cut_file_close(&file);
}

/*
 * What is not for the guard.
 */

enum crime {
    NO_WORK,         /* a page of the tree, when nobody reads it */
    NO_CALL,         /* in work, but in no call */
    ANOTHER_MAPPING, /* in a call */
    ANOTHER_TREE,    /* in a call about a tree that is whole */
    SENT,            /* by kill */
    NESTED,          /* the last two are mistakes of ours: SIGABRT */
    CALL_WITHOUT_WORK,
    CRIMES
};

struct scene {
    enum crime crime;
    const struct cut_file *lost, *whole;
    const uint8_t *foreign; /* a page of another file that is not there */
};

static const uint8_t *map_of_tree(const struct act *tree)
{
    struct act_info info;
    act_info(tree, &info);
    return (const uint8_t *)(uintptr_t)info.mapping_start;
}

static int commit(void *context)
{
    const struct scene *scene = context;
    const struct act *whole = scene->whole->snapshot->tree;
    struct slice lost = slice_of(map_of_tree(scene->lost->snapshot->tree), 1);
    struct scene again = *scene;
    uint8_t byte;
    switch (scene->crime) {
    case NO_WORK:
    case NO_CALL:
        return *(const volatile uint8_t *)lost.p;
    case ANOTHER_MAPPING:
        guard_copy(whole, &byte, slice_of(scene->foreign, 1));
        return byte;
    case ANOTHER_TREE:
        guard_copy(whole, &byte, lost);
        return byte;
    case SENT:
        return kill(getpid(), SIGBUS);
    case NESTED:
        return guard_run(commit, &again);
    default:
        guard_copy(whole, &byte, slice_of(map_of_tree(whole), 1));
        return byte;
    }
}

static void check_crime(struct scene *scene)
{
    int status;
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        setrlimit(RLIMIT_CORE, &(struct rlimit){0});
        signal(SIGABRT, SIG_DFL);
        close(STDERR_FILENO); /* an assertion tells of itself */
        guard_install();
        bool is_alone = scene->crime == NO_WORK || scene->crime == CALL_WITHOUT_WORK;
        _exit(is_alone ? commit(scene) : guard_run(commit, scene));
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), scene->crime >= NESTED ? SIGABRT : SIGBUS);
}

static void any_other_sigbus_ends_the_process(void **state)
{
    (void)state;
    struct cut_file lost, whole;
    int fd = build_memfd();
    const uint8_t *foreign = mmap(NULL, PAGE_BYTES, PROT_READ, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(foreign, MAP_FAILED);
    cut_file_open(&lost, ACT_VALUES_U64);
    cut_file_open(&whole, ACT_VALUES_U64);
    assert_int_equal(ftruncate(lost.fd, 0), 0);
    for (int crime = 0; crime < CRIMES; crime++)
        check_crime(&(struct scene){(enum crime)crime, &lost, &whole, foreign});
    cut_file_close(&lost);
    cut_file_close(&whole);
    munmap((void *)(uintptr_t)foreign, PAGE_BYTES);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_call_is_left_where_a_page_is_gone),
        cmocka_unit_test(other_pages_and_those_that_come_back_are_read),
        cmocka_unit_test(each_thread_has_its_own),
        cmocka_unit_test(each_request_ends_in_io_error),
        cmocka_unit_test(a_slice_ends_in_io_error),
        cmocka_unit_test(why_a_page_was_missing_is_told),
        cmocka_unit_test(any_other_sigbus_ends_the_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
