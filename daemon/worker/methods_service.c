/*
 * methods_service: hello, ping, info, stats: about the server, not about a key.
 */
#include "daemon/worker/methods.h"

#include "build_config.h"
#include "daemon/stats.h"

#include <inttypes.h>
#include <unistd.h>

/* What these take, in units of work: statistics are asked of the kernel, and told of each worker.
 */
#define STATS_WORK        1024
#define STATS_WORKER_WORK 64
#define INFO_WORK         64

/* An option of hello: one of two names. */
static int read_choice(struct call *call, const msgpack_object *value, const char *option,
                       const char *off, const char *on, bool *ret)
{
    struct slice text;
    if (param_bytes(value, &text) && slice_equal(text, slice_of_str(on)))
        *ret = true;
    else if (param_bytes(value, &text) && slice_equal(text, slice_of_str(off)))
        *ret = false;
    else
        return bad_params(call, "the option %s is \"%s\" or \"%s\"", option, off, on);
    return 0;
}

static int read_hello_options(struct call *call, struct reply_mode *mode)
{
    if (call->request->n_params == 0)
        return 0;
    const msgpack_object *options = &call->request->params[0];
    if (options->type != MSGPACK_OBJECT_MAP)
        return bad_params(call, "the options are not a map");
    unsigned n_errors = 0, n_u64 = 0;
    for (uint32_t i = 0; i < options->via.map.size; i++) {
        const msgpack_object_kv *option = &options->via.map.ptr[i];
        struct slice name;
        int r;
        if (!param_bytes(&option->key, &name))
            return bad_params(call, "an option's name is not a string");
        n_errors += slice_equal(name, slice_of_str("errors"));
        n_u64 += slice_equal(name, slice_of_str("u64"));
        if (n_errors > 1 || n_u64 > 1)
            return bad_params(call, "the option %s stands twice", n_u64 > 1 ? "u64" : "errors");
        if (slice_equal(name, slice_of_str("errors")))
            r = read_choice(call, &option->val, "errors", "array", "string",
                            &mode->errors_as_string);
        else if (slice_equal(name, slice_of_str("u64")))
            r = read_choice(call, &option->val, "u64", "int", "str", &mode->u64_as_string);
        else
            r = bad_params(call, "hello has the options errors and u64, and not \"%.*s\"",
                           name.len < 40 ? (int)name.len : 40, (const char *)name.p);
        if (r != 0)
            return r;
    }
    return 0;
}

int method_hello(struct call *call)
{
    struct reply *reply = call->reply;
    const struct config *config = call->dispatch->config;
    struct reply_mode before = call->session->mode, mode = before;
    int r = read_hello_options(call, &mode);
    if (r != 0)
        return r;
    call->session->mode = reply->mode = mode;
    spend(call, INFO_WORK);
    reply_map(reply, 6);
    reply_pair_text(reply, "server", "actd");
    reply_pair_text(reply, "version", ACTD_VERSION);
    reply_pair_number(reply, "protocol", 1);
    reply_text(reply, "methods");
    reply_array(reply, N_METHODS);
    for (size_t i = 0; i < N_METHODS; i++)
        reply_text(reply, method_names[i]);
    reply_text(reply, "limits");
    reply_map(reply, 6);
    reply_pair_number(reply, "max_request_bytes", config->limits_max_request_bytes);
    reply_pair_number(reply, "max_reply_bytes", config->limits_max_reply_bytes);
    reply_pair_number(reply, "max_keys", config->limits_max_keys);
    reply_pair_number(reply, "max_key_bytes", config->limits_max_key_bytes);
    reply_pair_number(reply, "max_visited_nodes", config->limits_max_visited_nodes);
    reply_pair_number(reply, "max_wait_ms", config->limits_max_wait_ms);
    reply_generation(reply, call->dispatch->snapshot);
    if (reply->failure != 0)
        reply->mode = before; /* that it finds no room is told as it was until now */
    return 0;
}

int method_ping(struct call *call)
{
    reply_text(call->reply, "pong");
    return 0;
}

int method_watch(struct call *call)
{
    call->session->is_watching = true;
    call->session->told = 0;
    reply_bool(call->reply, true);
    return 0;
}

int method_wait_generation(struct call *call)
{
    const msgpack_object *timeout = &call->request->params[1];
    const struct generation *announced = call->dispatch->announced;
    uint64_t identity, most = call->dispatch->config->limits_max_wait_ms;
    if (!param_identity(&call->request->params[0], &identity))
        return bad_params(call, "the identity is neither an integer nor decimal text");
    if (timeout->type != MSGPACK_OBJECT_POSITIVE_INTEGER)
        return bad_params(call, "timeout_ms is not an integer of 0 or more");
    if (timeout->via.u64 > most)
        return bad_params(call,
                          "timeout_ms is %" PRIu64 "; at most %" PRIu64 " (limits.max_wait_ms)",
                          timeout->via.u64, most);
    bool is_there = announced->number != 0 && announced->identity == identity;
    int r = is_there ? 0 : begin_wait(call, WAIT_ANNOUNCED, identity, timeout->via.u64);
    if (r == 0)
        reply_bool(call->reply, is_there);
    return r;
}

static void reply_pair_fact(struct reply *reply, const char *name, uint64_t fact, bool is_known)
{
    reply_text(reply, name);
    if (is_known)
        reply_number(reply, fact);
    else
        reply_nil(reply);
}

static void reply_text_or_nil(struct reply *reply, const char *text)
{
    if (text)
        reply_text(reply, text);
    else
        reply_nil(reply);
}

/* What the builder has written about the tree holds only for the root that it wrote. */
static void reply_metadata(struct reply *reply, const struct act_info *info)
{
    static const char *const states[] = {[ACT_METADATA_NONE] = "none",
                                         [ACT_METADATA_DAMAGED] = "damaged",
                                         [ACT_METADATA_FOREIGN] = "foreign",
                                         [ACT_METADATA_TABLES] = "tables",
                                         [ACT_METADATA_FULL] = "full"};
    const struct act_metadata *metadata = &info->metadata;
    bool is_full = info->metadata_state == ACT_METADATA_FULL;
    bool has_tables = is_full || info->metadata_state == ACT_METADATA_TABLES;
    reply_map(reply, 6);
    reply_pair_text(reply, "state", states[info->metadata_state]);
    reply_pair_fact(reply, "n_keys", metadata->n_keys, is_full);
    reply_pair_fact(reply, "longest_key_bytes", metadata->longest_key_bytes, is_full);
    reply_pair_fact(reply, "created_s", metadata->created_s, is_full && metadata->created_s > 0);
    reply_pair_fact(reply, "table_min_children", metadata->table_min_children, has_tables);
    reply_text(reply, "digest");
    if (is_full)
        reply_bytes(reply, slice_of(metadata->digest, sizeof metadata->digest));
    else
        reply_nil(reply);
}

/* What would be served now, were it good. */
static void reply_refusal(struct reply *reply, const struct board *board)
{
    char line[BOARD_TEXT_BYTES];
    board_text_get(&board->head->refusal, line, sizeof line);
    reply_text(reply, "refused");
    if (*line)
        reply_text(reply, line);
    else
        reply_nil(reply);
}

/* How lookups know whether a page is in memory; "off": they wait for it. */
static const char *probe_name(const struct snapshot *snapshot)
{
    struct act_residency_info info;
    if (!snapshot->residency)
        return "off";
    act_residency_info(snapshot->residency, &info);
    return act_probe_name(info.probe);
}

int method_info(struct call *call)
{
    static const char *const holds[] = {[GENERATION_MAPPED] = "mapped",
                                        [GENERATION_COPIED] = "copied",
                                        [GENERATION_HUGE] = "huge pages"};
    struct reply *reply = call->reply;
    const struct snapshot *snapshot = call->dispatch->snapshot;
    struct act_info info = {0};
    spend(call, INFO_WORK);
    if (snapshot->tree)
        act_info(snapshot->tree, &info);
    const char *values = info.values == ACT_VALUES_BYTES ? "bytes" : "u64";
    reply_map(reply, 6);
    reply_pair_text(reply, "server", "actd");
    reply_pair_text(reply, "version", ACTD_VERSION);
    reply_pair_number(reply, "pid", (uint64_t)getpid());
    reply_text(reply, "tree");
    reply_map(reply, 11);
    reply_text(reply, "path");
    reply_bytes(reply, slice_of_str(snapshot->path)); /* a path is bytes, not always UTF-8 */
    reply_pair_text(reply, "format", "ACTree03");
    reply_text(reply, "values");
    reply_text_or_nil(reply, snapshot->tree ? values : NULL);
    reply_pair_number(reply, "size_bytes", snapshot->generation.size_bytes);
    reply_pair_number(reply, "root_offset", snapshot->generation.root_offset);
    reply_pair_number(reply, "mtime_ms",
                      (uint64_t)snapshot->generation.mtime.tv_sec * 1000 +
                          (uint64_t)snapshot->generation.mtime.tv_nsec / 1000000);
    reply_pair_text(reply, "held", holds[snapshot->generation.hold]);
    reply_text(reply, "damage");
    reply_text_or_nil(reply, snapshot->damage);
    reply_pair_text(reply, "probe", probe_name(snapshot));
    reply_text(reply, "metadata");
    if (snapshot->tree)
        reply_metadata(reply, &info);
    else
        reply_nil(reply);
    reply_text(reply, "roots");
    reply_array(reply, snapshot->generation.n_roots);
    for (size_t i = 0; i < snapshot->generation.n_roots; i++)
        reply_number(reply, snapshot->generation.roots[i]);
    reply_generation(reply, snapshot);
    reply_refusal(reply, call->dispatch->board);
    return 0;
}

/* Rows of one group stand together in the table. */
static size_t group_size(const struct stat_row *rows, size_t n_rows, size_t first)
{
    size_t n = 0;
    while (first + n < n_rows && strcmp(rows[first + n].group, rows[first].group) == 0)
        n++;
    return n;
}

static size_t n_groups(const struct stat_row *rows, size_t n_rows)
{
    size_t n = 0;
    for (size_t i = 0; i < n_rows; i += group_size(rows, n_rows, i))
        n++;
    return n;
}

static void reply_statistic(struct reply *reply, const struct stat_row *row, uint64_t value)
{
    reply_text(reply, row->name);
    if (value == STAT_UNKNOWN)
        reply_nil(reply);
    else if (row->type == STAT_IDENTITY)
        reply_u64(reply, value);
    else
        reply_number(reply, value);
}

/* The pairs of a map, one for each group. The warm-up's has two more, texts: of the report, if it
 * is the service's. */
static void reply_groups(struct reply *reply, const struct stat_row *rows, size_t n_rows,
                         const uint64_t *values, const struct stats_report *report)
{
    for (size_t first = 0; first < n_rows;) {
        size_t end = first + group_size(rows, n_rows, first);
        bool is_warmup = report && strcmp(rows[first].group, "warmup") == 0;
        reply_text(reply, rows[first].group);
        reply_map(reply, end - first + (is_warmup ? 2 : 0));
        if (is_warmup) {
            reply_pair_text(reply, "state", report->warmup_state);
            reply_pair_text(reply, "mode", report->warmup_mode);
        }
        for (; first < end; first++)
            reply_statistic(reply, &rows[first], values[first]);
    }
}

/* A pair of a map. */
static void reply_methods(struct reply *reply, const struct method_report methods[N_METHODS])
{
    reply_text(reply, "methods");
    reply_map(reply, N_METHODS);
    for (size_t i = 0; i < N_METHODS; i++) {
        reply_text(reply, method_names[i]);
#define X(name, a, b) +1
        reply_map(reply, 0 METHOD_STATS(X) METHOD_TIMES(X));
#undef X
#define X(name, a, b) reply_pair_number(reply, #name, methods[i].name);
        METHOD_STATS(X)
        METHOD_TIMES(X)
#undef X
    }
}

static void reply_worker(struct reply *reply, const struct worker_report *worker)
{
    reply_map(reply, 3 + n_groups(worker_stat_rows, N_WORKER_STATS));
    reply_pair_number(reply, "worker", worker->number);
    reply_pair_number(reply, "pid", (uint64_t)worker->pid);
    reply_groups(reply, worker_stat_rows, N_WORKER_STATS, worker->values, NULL);
    reply_methods(reply, worker->method);
}

/* Workers come first, since their sums are known behind them. */
int method_stats(struct call *call)
{
    struct reply *reply = call->reply;
    const struct board *board = call->dispatch->board;
    struct stats_report report;
    struct worker_report worker;
    stats_begin(board, &report);
    reply_map(reply, 2 + n_groups(stat_rows, N_STATS));
    reply_text(reply, "workers");
    size_t workers = reply_open_array(reply);
    for (unsigned slot = 0; slot < board->head->n_slots; slot++)
        if (stats_add_worker(board, slot, &report, &worker))
            reply_worker(reply, &worker);
    reply_close_array(reply, workers, report.n_workers);
    stats_end(board, &report);
    spend(call, STATS_WORK + report.n_workers * STATS_WORKER_WORK);
    reply_groups(reply, stat_rows, N_STATS, report.values, &report);
    reply_methods(reply, report.method);
    return 0;
}
