/*
 * fuzz_dispatch: requests of every method on real and on damaged trees, from the bytes of a message
 * to the bytes of its reply, several at a time, in slices of any length, within any limits.
 *
 * Input: two bytes for two trees (bit 7: with a cache of tables; bit 6: its pages are not in memory
 * when a request begins), one for how they are damaged, and the bytes of that; two for the limits;
 * then requests, most of them well-formed (dispatch_input.h says how they are read), and events:
 * slices for the jobs, another generation that is offered, switched to, announced; damage,
 * draining.
 *
 * Every reply must be what the judge says (judge.h). Where budgets and limits of replies do not
 * matter it must also be, byte for byte, what the same request gives in one slice. Requests end,
 * after as many slices as their work takes, and in the end no buffer is in use.
 */
#include "daemon/stats.h"
#include "dispatch_input.h"
#include "judge.h"
#include "serve.h"

#include "forge.h"

#include <stdio.h>
#include <stdlib.h>
#include <xxhash.h>

#define JOBS_MAX 4
/* Of a message that is no query; and of values in a list in one. */
#define RAW_BYTES_MAX 500
#define MANY_MAX      400
#define REQUESTS_MAX  48
/* Of all requests together, beyond which slices are long: each begins with a way down. */
#define SLICES_MAX 2000
/* Larger trees stay as they are: they would be copied for each input. */
#define DAMAGED_BYTES_MAX 16384
#define TABLE_CACHE_BYTES 4096
/* More than a page needs besides its entries: two replies of which one is cut differ by that. */
#define PAGE_SLACK_BYTES 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A generation. */
struct served {
    const struct dispatch_tree *tree;
    struct bytes damaged; /* owned; p is NULL if it is the tree's file, unchanged */
    struct snapshot snapshot;
    struct snapshot cold; /* the same, with pages that are missing; tree is NULL: not so */
    bool is_whole;
};

/* A request whose reply has not come yet. */
struct flight {
    bool is_used, has_query;
    bool has_too_many; /* values, as no query has */
    uint32_t msgid;
    struct query query;
    struct judge judge;
    struct bytes message;                /* owned */
    struct reply_mode mode, mode_before; /* of its reply, and before it */
    struct serve_job job;
    unsigned n_slices;
    size_t most_bytes; /* of the reply so far, at any time */
};

struct fuzz {
    struct input input;
    struct serve serve, plain; /* plain: in one slice, with enough room */
    struct served served[2], *now;
    const struct generation *announced; /* or NULL */
    struct flight flights[JOBS_MAX];
    uint32_t msgid;
    bool is_pool_small, is_closed;
    unsigned n_slices;
    uint64_t slice_work; /* of them; those behind SLICES_MAX are long */
    size_t slice_reply_bytes;
};

static void check(bool is_right, const char *wrong)
{
    if (is_right)
        return;
    fprintf(stderr, "%s\n", wrong);
    abort();
}

static void print_bytes(const char *name, struct slice bytes)
{
    fprintf(stderr, "%s (%zu bytes): ", name, bytes.len);
    for (size_t i = 0; i < bytes.len && i < 2000; i++)
        fprintf(stderr, "%02x", bytes.p[i]);
    fprintf(stderr, "\n");
}

static void check_reply(const struct flight *flight, struct slice reply, const char *wrong)
{
    if (!wrong)
        return;
    print_bytes("request", slice_of(flight->message.p, flight->message.len));
    print_bytes("reply", reply);
    check(false, wrong);
}

/*
 * Trees and limits.
 */

static void close_served(struct served *served)
{
    if (served->snapshot.tree)
        serve_snapshot_close(&served->snapshot);
    if (served->cold.tree)
        serve_snapshot_close(&served->cold);
    bytes_free(&served->damaged);
}

/* Changes n of its bytes. With metadata, may make the checksum fit. */
static void damage(struct served *served, struct input *input, unsigned n, bool is_sealed)
{
    struct bytes *file = &served->damaged;
    *file = bytes_copy(served->tree->file.p, served->tree->file.len);
    served->is_whole = false;
    for (; n > 0; n--) {
        size_t at = input_u16(input);
        file->p[at % file->len] ^= input_byte(input);
    }
    if (is_sealed && file->len >= FORGE_META + FORGE_META_BYTES &&
        memcmp(file->p + FORGE_META, "\xf8\0actd", 6) == 0)
        forge_seal(file);
}

/* What requests are answered from. */
static struct snapshot *snapshot_of(struct served *served)
{
    return served->cold.tree ? &served->cold : &served->snapshot;
}

static void open_cold(struct served *served, const struct bytes *file, bool has_cache,
                      uint64_t number)
{
    check(serve_snapshot_mapped(&served->cold, file, number) == 0, "it opens in memory only");
    if (has_cache)
        (void)act_cache_tables(served->cold.tree, TABLE_CACHE_BYTES);
    serve_watch_pages(&served->cold);
}

/* The tree of that number, perhaps damaged. False: it does not open. */
static bool open_served(struct served *served, struct input *input, unsigned index, unsigned how,
                        uint64_t number)
{
    served->tree = dispatch_tree(index & 0x7f);
    served->is_whole = served->tree->is_known;
    const struct bytes *file = &served->tree->file;
    if (how & 7 && file->len <= DAMAGED_BYTES_MAX) {
        damage(served, input, how & 7, how & 8);
        file = &served->damaged;
    }
    if (serve_snapshot(&served->snapshot, file, number) != 0)
        return false;
    if (index & 0x80)
        (void)act_cache_tables(served->snapshot.tree, TABLE_CACHE_BYTES);
    if (index & 0x40)
        open_cold(served, file, index & 0x80, number);
    return true;
}

static void set_limits(struct fuzz *fuzz, unsigned limits, unsigned more)
{
    static const uint64_t reply_bytes[] = {16 << 20, 4096, 1500, 1024}, keys[] = {100, 8, 2, 1},
                          key_bytes[] = {65536, 300, 16, 4}, nodes[] = {10000000, 2000, 60, 5},
                          pools[] = {256 << 20, 256 << 20, 256 << 20, 256 << 20,
                                     256 << 20, 1 << 20,   160 << 10, 32 << 10};
    struct config *config = &fuzz->serve.config;
    config->limits_max_reply_bytes = reply_bytes[limits & 3];
    config->limits_max_keys = keys[limits >> 2 & 3];
    config->limits_max_key_bytes = key_bytes[limits >> 4 & 3];
    config->limits_max_visited_nodes = nodes[limits >> 6];
    if (!fuzz->served[0].is_whole || !fuzz->served[1].is_whole)
        if (config->limits_max_visited_nodes > 20000)
            config->limits_max_visited_nodes = 20000;
    config->limits_max_buffer_bytes = pools[more >> 5];
    fuzz->is_pool_small = more >> 5 >= 5;
    fuzz->input.max_key_bytes = config->limits_max_key_bytes;
}

static void set_slices(struct fuzz *fuzz, unsigned more)
{
    static const uint64_t work[] = {4096, 500, 100, 33, 12, 5, 2, 1};
    static const size_t bytes[] = {256 << 10, 1000, 100, 10};
    struct dispatch *dispatch = &fuzz->serve.dispatch;
    dispatch->slice_work = fuzz->slice_work = work[more & 7];
    dispatch->slice_reply_bytes = fuzz->slice_reply_bytes = bytes[more >> 3 & 3];
    if ((more >> 3 & 3) == 2)
        dispatch->loop_work = 4 * dispatch->slice_work;
}

static struct judge judge_of(const struct fuzz *fuzz, const struct config *config,
                             const struct served *served, const struct reply_mode *mode)
{
    bool is_known = served->is_whole && served->tree->is_known;
    return (struct judge){.config = config,
                          .snapshot = &served->snapshot,
                          .oracle = is_known ? &served->tree->oracle : NULL,
                          .has_byte_values = served->tree->has_byte_values,
                          .is_whole = is_known,
                          .most_nodes = served->tree->most_nodes,
                          .longest_key = served->tree->longest_key,
                          .errors_as_string = mode->errors_as_string,
                          .u64_as_string = mode->u64_as_string,
                          .is_damaged = served->snapshot.damage,
                          .is_draining = fuzz->serve.dispatch.is_draining,
                          .announced = fuzz->announced,
                          .offered = fuzz->serve.dispatch.offered,
                          .never_waits = fuzz->serve.dispatch.never_waits,
                          .is_pool_small = fuzz->is_pool_small};
}

/*
 * What becomes of a request.
 */

static bool is_page(const struct query *query)
{
    return query->method == METHOD_scan || query->method == METHOD_range ||
           query->method == METHOD_mscan;
}

/* Can its reply be told from what it gives in one slice, without limits of replies? */
static bool is_settled(const struct flight *flight, const struct judged *judged, size_t plain_bytes)
{
    const struct query *query = &flight->query;
    const struct judge *judge = &flight->judge;
    if (judged->error == PROTO_BUSY || judged->is_over_length)
        return false;
    if (query->method <= METHOD_node || query->method == METHOD_longest_prefix ||
        query->method == METHOD_prefixes || query->method == METHOD_info)
        return true;
    if (query->method == METHOD_explore && query->options & QUERY_BIT(MAX_VISITED_NODES))
        return false;
    if (is_page(query) && plain_bytes + PAGE_SLACK_BYTES > judge->config->limits_max_reply_bytes)
        return false;
    return judge_has_ample_budget(judge, query);
}

/* The same request in one slice, and with enough room for its reply. */
static void compare(struct fuzz *fuzz, struct flight *flight, struct slice reply,
                    const struct judged *judged)
{
    struct serve *plain = &fuzz->plain;
    struct serve_job job;
    struct judged other;
    struct judge judge = flight->judge;
    serve_switch(plain, (struct snapshot *)(uintptr_t)judge.snapshot);
    plain->session.mode = flight->mode;
    struct slice message = slice_of(flight->message.p, flight->message.len);
    check(serve_message(plain, message, &job) == SERVE_REPLIED, "it is not done in one slice");
    struct slice plain_reply = buf_content(&plain->out);
    judge.config = &plain->config;
    judge.is_pool_small = false;
    check_reply(flight, plain_reply,
                judge_reply(&judge, &flight->query, flight->msgid, plain_reply, &other));
    const char *wrong = NULL;
    if (judged->is_over_length && other.error == 0 &&
        plain_reply.len + judge.config->limits_max_key_bytes + 64 <=
            fuzz->serve.config.limits_max_reply_bytes)
        wrong = "a reply is refused that would not be too long";
    if (is_settled(flight, judged, plain_reply.len) && !slice_equal(reply, plain_reply))
        wrong = "in slices it is another reply";
    if (wrong)
        print_bytes("in one slice", plain_reply);
    check_reply(flight, reply, wrong);
    buf_release(&plain->out);
    check(plain->pool.used_bytes == 0, "buffers are not given back");
}

/* As many slices as its work takes: nodes, keys, entries, children of explore; and what it writes.
 * Those behind the first one are half as long. Missed pages may have it begin anew. */
static void check_slices(const struct fuzz *fuzz, const struct flight *flight)
{
    uint64_t work = fuzz->serve.config.limits_max_visited_nodes + 2 * flight->most_bytes;
    for (size_t i = 0; i < flight->query.n_keys; i++)
        work += 64 + flight->query.keys[i].len;
    if (flight->query.method == METHOD_explore)
        work += 256 * 64;
    uint64_t most = 16 + 2 * flight->query.n_keys + 4 * work / fuzz->slice_work +
                    2 * flight->most_bytes / fuzz->slice_reply_bytes;
    if (flight->n_slices > most * (1 + fuzz->serve.n_cold))
        check_reply(flight, buf_content(&flight->job.out), "a request does not end");
}

static void finish(struct fuzz *fuzz, struct flight *flight, struct slice reply)
{
    struct judged judged;
    const struct query *query = flight->has_query ? &flight->query : NULL;
    struct judge *judge = &flight->judge;
    judge->is_damaged = judge->snapshot->damage;
    const char *wrong = judge_reply(judge, query, flight->msgid, reply, &judged);
    if (judged.error != 0 && memcmp(&flight->mode, &flight->mode_before, sizeof flight->mode) != 0)
        wrong = "a hello that gets an error changes something";
    if (flight->has_too_many && judged.error != PROTO_TOO_LARGE)
        wrong = "a message of too many values is taken";
    check_reply(flight, reply, wrong);
    bool is_plain = query && query->method != METHOD_hello && query->method < METHOD_stats &&
                    !judge->is_damaged && !judge->is_draining && judged.error != PROTO_DRAINING;
    if (query && query->method == METHOD_info) /* tells whether pages are asked for */
        is_plain &= !fuzz->served[0].cold.tree && !fuzz->served[1].cold.tree;
    if (is_plain)
        compare(fuzz, flight, reply, &judged);
    for (size_t i = 0; i < judged.n_cursors; i++)
        if (judged.cursors[i].p)
            input_see_cursor(&fuzz->input, query, i, judged.cursors[i]);
    flight->is_used = false;
    bytes_free(&flight->message);
}

/* The connection cannot go on: that is for want of buffers. */
static void end_connection(struct fuzz *fuzz)
{
    check(fuzz->is_pool_small, "a reply is lost");
    fuzz->is_closed = true;
}

/* is_late: if it waits, it does so no longer. */
static void give_slice(struct fuzz *fuzz, struct flight *flight, bool is_late)
{
    bool *is_overdue = &flight->job.progress.is_overdue;
    if (!flight->job.snapshot) {
        *is_overdue |= is_late;
        if (!dispatch_may_go_on(&fuzz->serve.dispatch, &flight->job.progress))
            return;
        bool is_draining = flight->judge.is_draining;
        flight->judge = judge_of(fuzz, &fuzz->serve.config, fuzz->now, &flight->mode);
        flight->judge.is_draining = is_draining;
        flight->judge.is_waited_for = *is_overdue;
    }
    if (fuzz->n_slices++ == SLICES_MAX)
        fuzz->serve.dispatch.slice_work = UINT64_MAX / 2;
    int r = serve_slice(&fuzz->serve, &flight->job);
    flight->n_slices++;
    if (buf_len(&flight->job.out) > flight->most_bytes)
        flight->most_bytes = buf_len(&flight->job.out);
    check_slices(fuzz, flight);
    if (r == DISPATCH_AGAIN)
        return;
    if (r == 0)
        finish(fuzz, flight, buf_content(&flight->job.out));
    else
        end_connection(fuzz);
    if (r == 0)
        serve_job_deinit(&flight->job);
}

static void give_slices(struct fuzz *fuzz, unsigned n)
{
    for (; n > 0 && !fuzz->is_closed; n--) {
        struct flight *flight = &fuzz->flights[input_byte(&fuzz->input) % JOBS_MAX];
        if (flight->is_used)
            give_slice(fuzz, flight, false);
    }
}

/* A place for one more request; the oldest job is worked on until it is done if there is none. */
static struct flight *begin_flight(struct fuzz *fuzz)
{
    for (unsigned i = 0; i < JOBS_MAX; i++)
        if (!fuzz->flights[i].is_used)
            return &fuzz->flights[i];
    while (fuzz->flights[0].is_used && !fuzz->is_closed)
        give_slice(fuzz, &fuzz->flights[0], true);
    return fuzz->is_closed ? NULL : &fuzz->flights[0];
}

static uint64_t hash_of(struct slice bytes)
{
    return XXH3_64bits(bytes.p ? bytes.p : (const uint8_t *)"", bytes.len);
}

/* From the message to its reply, or to a job. flight->query is set, if it is one. */
static void send_message(struct fuzz *fuzz, struct flight *flight, struct slice message)
{
    struct serve *serve = &fuzz->serve;
    struct bytes exact = bytes_copy(message.p, message.len);
    const void *chunk = serve->decoder.zone.chunk_list.head;
    struct slice before = buf_content(&serve->out);
    uint64_t hash = hash_of(before);
    if (fuzz->now->cold.tree)
        act_residency_doubt(fuzz->now->cold.residency);
    flight->mode = flight->mode_before = serve->session.mode;
    flight->message = exact;
    flight->n_slices = 0;
    flight->most_bytes = 0;
    int r = serve_message(serve, slice_of(exact.p, exact.len), &flight->job);
    bool is_job = r == SERVE_SLICED || r == SERVE_WAITING;
    struct slice after = buf_content(&serve->out);
    check(serve->decoder.zone.chunk_list.head == chunk, "decoding has taken memory");
    check(after.len >= before.len && hash_of(slice_of(after.p, before.len)) == hash,
          "the replies before it are changed");
    struct slice reply =
        slice_of(after.len > 0 ? after.p + before.len : NULL, after.len - before.len);
    check(!flight->has_query || r < 0 || r == SERVE_REPLIED || is_job, "a request is not answered");
    if (flight->has_query && flight->query.method == METHOD_hello)
        flight->mode = serve->session.mode;
    flight->judge = judge_of(fuzz, &serve->config, fuzz->now, &flight->mode);
    flight->is_used = is_job;
    if (r < 0)
        end_connection(fuzz);
    if (r == SERVE_CLOSED || r == SERVE_MORE) /* another connection goes on */
        frame_init(&serve->frame, serve->frame.max_bytes, serve->frame.max_elements);
    if (r == SERVE_REPLIED || (r == SERVE_CLOSED && reply.len > 0))
        finish(fuzz, flight, reply);
    else if (is_job)
        check(reply.len == 0, "a job's reply is in the way");
    if (r != SERVE_REPLIED && !is_job)
        bytes_free(&flight->message);
}

static void send_query(struct fuzz *fuzz, const struct query *query)
{
    msgpack_sbuffer message;
    struct flight *flight = begin_flight(fuzz);
    if (!flight)
        return;
    msgpack_sbuffer_init(&message);
    flight->has_query = true;
    flight->has_too_many = false;
    flight->query = *query;
    flight->msgid = fuzz->msgid += 0x01234567;
    query_pack(query, flight->msgid, &message);
    /* Some keys are so long that a list of them is longer than a request may be. */
    if (message.size <= fuzz->serve.config.limits_max_request_bytes)
        send_message(fuzz, flight, slice_of(message.data, message.size));
    msgpack_sbuffer_destroy(&message);
}

/* Bytes that need not be a request; nor a message. */
static void send_raw(struct fuzz *fuzz, struct slice message, bool has_too_many)
{
    struct frame frame;
    struct slice found;
    struct flight *flight = begin_flight(fuzz);
    if (!flight)
        return;
    frame_init(&frame, RAW_BYTES_MAX, UINT64_MAX); /* tells the msgid, if there is one */
    (void)frame_next(&frame, message, &found);
    flight->has_query = false;
    flight->has_too_many = has_too_many;
    flight->msgid = frame.msgid;
    send_message(fuzz, flight, message);
}

/* The beginning of a request of some method, up to its parameters. */
static size_t begin_raw(struct fuzz *fuzz, uint8_t message[RAW_BYTES_MAX])
{
    const char *name = method_names[input_byte(&fuzz->input) % N_METHODS];
    size_t len = strlen(name);
    memcpy(message, "\x94\x00\x05", 3);
    message[3] = (uint8_t)(0xa0 | len);
    memcpy(message + 4, name, len);
    return 4 + len;
}

/* Any bytes; or any bytes as the parameters of a method. */
static void send_bytes(struct fuzz *fuzz, bool is_bare)
{
    uint8_t message[RAW_BYTES_MAX];
    size_t at = is_bare ? 0 : begin_raw(fuzz, message);
    struct slice bytes = input_bytes(&fuzz->input, input_byte(&fuzz->input));
    if (bytes.len > 0)
        memcpy(message + at, bytes.p, bytes.len);
    send_raw(fuzz, slice_of(message, at + bytes.len), false);
}

/* A list of more values than a request may have, or not quite so many. */
static void send_many(struct fuzz *fuzz)
{
    uint8_t message[RAW_BYTES_MAX];
    size_t at = begin_raw(fuzz, message), n = input_u16(&fuzz->input) % MANY_MAX;
    uint8_t value = input_byte(&fuzz->input);
    memcpy(message + at, "\x91\xdc", 2);
    message[at + 2] = (uint8_t)(n >> 8);
    message[at + 3] = (uint8_t)n;
    memset(message + at + 4, value < 0x80 || value >= 0xe0 ? value : 0xc0, n);
    /* And five more: of the message, and the list itself. */
    send_raw(fuzz, slice_of(message, at + 4 + n), n + 5 > fuzz->serve.frame.max_elements);
}

/*
 * The input.
 */

/* The client takes what is there; or half of it. */
static void drain_output(struct fuzz *fuzz, bool is_half)
{
    struct buf *out = &fuzz->serve.out;
    buf_consume(out, is_half ? buf_len(out) / 2 : buf_len(out));
    if (buf_len(out) == 0)
        buf_release(out);
}

/* What comes next; besides methods. */
enum event {
    EVENT_NEXT_PAGE = N_METHODS,
    EVENT_BYTES,
    EVENT_PARAMS,
    EVENT_MANY,
    EVENT_SLICES,
    EVENT_SWITCH,
    EVENT_GENERATION,
    EVENT_END, /* of the tree's soundness, or of the service */
};

/* Of 32 bytes each, which stands for what: long requests are more likely. */
static const uint8_t events[32] = {
    METHOD_hello,
    METHOD_ping,
    METHOD_get,
    METHOD_mget,
    METHOD_exists,
    METHOD_node,
    METHOD_scan,
    METHOD_range,
    METHOD_mscan,
    METHOD_count,
    METHOD_explore,
    METHOD_prefixes,
    METHOD_next,
    METHOD_prev,
    METHOD_longest_prefix,
    METHOD_info,
    METHOD_stats,
    EVENT_NEXT_PAGE,
    EVENT_BYTES,
    EVENT_PARAMS,
    EVENT_SLICES,
    EVENT_SWITCH,
    EVENT_END,
    METHOD_scan,
    METHOD_range,
    METHOD_mscan,
    METHOD_watch,
    METHOD_explore,
    EVENT_NEXT_PAGE,
    EVENT_GENERATION,
    EVENT_MANY,
    METHOD_wait_generation,
};

/* The tree is changed in place, or the server stops; what comes then is refused, so it is rare. */
static void run_end(struct fuzz *fuzz)
{
    uint8_t which = input_byte(&fuzz->input);
    if (which >= 240)
        fuzz->serve.dispatch.is_draining = true;
    else if (which >= 200)
        fuzz->now->snapshot.damage = fuzz->now->cold.damage = "it was changed";
}

/* What comes before a switch, and behind it. */
static void run_generation(struct fuzz *fuzz)
{
    uint8_t which = input_byte(&fuzz->input);
    const struct generation *now = &fuzz->now->snapshot.generation;
    const struct served *other = fuzz->now == fuzz->served ? fuzz->served + 1 : fuzz->served;
    struct dispatch *dispatch = &fuzz->serve.dispatch;
    if (which & 1)
        dispatch->offered = &other->snapshot.generation;
    if (which & 2)
        dispatch->offered = NULL;
    if (which & 4)
        dispatch->announced = fuzz->announced = now;
    if (which >= 248)
        dispatch->never_waits = true;
}

static void run_event(struct fuzz *fuzz, unsigned event)
{
    struct query query;
    switch (event) {
    case EVENT_BYTES:
    case EVENT_PARAMS:
        send_bytes(fuzz, event == EVENT_BYTES);
        break;
    case EVENT_MANY:
        send_many(fuzz);
        break;
    case EVENT_SLICES:
        give_slices(fuzz, input_byte(&fuzz->input));
        break;
    case EVENT_SWITCH:
        fuzz->now = fuzz->now == fuzz->served ? fuzz->served + 1 : fuzz->served;
        serve_switch(&fuzz->serve, snapshot_of(fuzz->now));
        fuzz->input.tree = fuzz->now->tree;
        break;
    case EVENT_GENERATION:
        run_generation(fuzz);
        break;
    case EVENT_END:
        run_end(fuzz);
        break;
    default:
        if (event < N_METHODS)
            input_query(&fuzz->input, (enum method_id)event, &query);
        else if (!input_next_page(&fuzz->input, &query))
            break;
        send_query(fuzz, &query);
    }
}

static void run(struct fuzz *fuzz)
{
    for (unsigned i = 0; i < REQUESTS_MAX && fuzz->input.rest.len > 0 && !fuzz->is_closed; i++) {
        uint8_t what = input_byte(&fuzz->input);
        run_event(fuzz, events[what % 32]);
        if (what >> 5 & 1)
            drain_output(fuzz, what >> 5 & 2);
        give_slices(fuzz, what >> 7 ? 3 : 0);
    }
    for (unsigned i = 0; i < JOBS_MAX; i++)
        while (fuzz->flights[i].is_used && !fuzz->is_closed)
            give_slice(fuzz, &fuzz->flights[i], true);
}

static void begin_plain(struct fuzz *fuzz)
{
    struct serve *plain = &fuzz->plain;
    serve_init(plain);
    struct config config = plain->config;
    plain->config = fuzz->serve.config;
    plain->config.limits_max_reply_bytes = config.limits_max_reply_bytes;
    plain->config.limits_max_buffer_bytes = config.limits_max_buffer_bytes;
    serve_begin(plain, &fuzz->now->snapshot);
    plain->dispatch.slice_work = UINT64_MAX;
    plain->dispatch.slice_reply_bytes = SIZE_MAX;
}

static void begin(struct fuzz *fuzz)
{
    unsigned limits = input_byte(&fuzz->input), more = input_byte(&fuzz->input);
    serve_init(&fuzz->serve);
    set_limits(fuzz, limits, more);
    fuzz->now = fuzz->served;
    fuzz->input.tree = fuzz->now->tree;
    for (unsigned i = 0; i < 2; i++)
        fuzz->input.identities[i] = fuzz->served[i].snapshot.generation.identity;
    serve_begin(&fuzz->serve, snapshot_of(fuzz->now));
    set_slices(fuzz, more);
    begin_plain(fuzz);
    run(fuzz);
    for (unsigned i = 0; i < JOBS_MAX; i++)
        if (fuzz->flights[i].is_used) {
            serve_job_deinit(&fuzz->flights[i].job);
            bytes_free(&fuzz->flights[i].message);
        }
    check(serve_end(&fuzz->serve), "buffers are not given back");
    check(serve_end(&fuzz->plain), "buffers are not given back");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fuzz fuzz;
    fuzz = (struct fuzz){.input = {.rest = slice_of(data, size)}};
    struct input *input = &fuzz.input;
    unsigned tree = input_byte(input), other = input_byte(input), damage = input_byte(input);
    bool is_open = open_served(&fuzz.served[0], input, tree, damage & 15, 1) &&
                   open_served(&fuzz.served[1], input, other, damage >> 4, 2);
    if (is_open)
        begin(&fuzz);
    close_served(&fuzz.served[0]);
    close_served(&fuzz.served[1]);
    input_forget();
    return 0;
}
