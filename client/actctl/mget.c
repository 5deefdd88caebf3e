/*
 * mget: the values of keys that come on standard input, one a line, any number of them.
 *
 * Lines gather into batches, each batch is one call, and several calls are on their way while the
 * next batch is read; results are printed in the order of the lines. Where the input pauses (a pipe
 * whose writer waits for our answer) what was read so far is asked for and printed first. A failure
 * ends the run, after the results of the lines before it. With --file a batch is looked up in the
 * file when it is its turn.
 */
#include "base/buf.h"
#include "client/actctl/file.h"
#include "client/actctl/lines.h"
#include "client/actctl/output.h"
#include "client/actctl/text.h"

#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#define MAX_LINE_BYTES ((size_t)1024 * 1024)

/* A batch is sent at this many keys (the server takes 10,000) or bytes of keys. */
#define BATCH_KEYS  512
#define BATCH_BYTES ((size_t)128 * 1024)
/* Batches being gathered or on their way: hides the round trip; bounds our memory. */
#define N_BATCHES 8

struct batch {
    uint32_t call;
    uint64_t first_line; /* number of the first key's line */
    size_t n_keys;
    size_t ends[BATCH_KEYS]; /* of each key in bytes */
    struct buf bytes;        /* keys, one after the other */
};

struct mget {
    struct actctl *ctl;
    struct lines lines;
    struct buf_pool pool;
    struct batch batches[N_BATCHES]; /* a ring */
    uint64_t n_sent, n_taken;        /* batches; the one after the sent ones gathers */
    int status;                      /* of the keys so far: the highest one */
};

static struct batch *gathering(struct mget *mget)
{
    return &mget->batches[mget->n_sent % N_BATCHES];
}

static struct slice key_of(const struct batch *batch, size_t i)
{
    size_t begin = i > 0 ? batch->ends[i - 1] : 0;
    return slice_of(buf_content(&batch->bytes).p + begin, batch->ends[i] - begin);
}

static int fail_batch(const struct mget *mget, const struct batch *batch, int r,
                      const struct actc_error *error)
{
    char lines[80];
    snprintf(lines, sizeof lines, "standard input, lines %" PRIu64 " to %" PRIu64,
             batch->first_line, batch->first_line + batch->n_keys - 1);
    return session_fail(mget->ctl, lines, r, error);
}

/* NULL: there is none. */
static int print_value(const struct mget *mget, struct slice key, const struct actc_value *value)
{
    const struct actctl *ctl = mget->ctl;
    if (value || ctl->is_json) {
        output_answer(ctl, key, value, true);
    } else {
        output_key(ctl, stdout, key);
        puts("\t");
    }
    return value ? STATUS_FOUND : STATUS_NOT_FOUND;
}

/* A key that could not be looked up is told, and has no line: it must not look like a miss. */
static int print_result(const struct mget *mget, struct slice key, const struct actc_result *result)
{
    if (result->outcome == ACTC_ERROR)
        return session_fail_number(mget->ctl, key, result->error_number);
    return print_value(mget, key, result->outcome == 0 ? &result->value : NULL);
}

static int print_from_file(const struct mget *mget, struct slice key)
{
    struct actc_entry entry;
    int status = file_get(mget->ctl, key, &entry);
    if (status == STATUS_FAILED)
        return status;
    return print_value(mget, key, status == STATUS_FOUND ? &entry.value : NULL);
}

/* One key's status among the others'. */
static void count(struct mget *mget, int status)
{
    mget->status = status > mget->status ? status : mget->status;
}

static int answer_from_file(struct mget *mget, const struct batch *batch)
{
    for (size_t i = 0; i < batch->n_keys; i++)
        count(mget, print_from_file(mget, key_of(batch, i)));
    return STATUS_FOUND;
}

static int answer_from_server(struct mget *mget, const struct batch *batch)
{
    struct actc_result results[BATCH_KEYS];
    struct actc_error error;
    int r = actc_wait_mget(mget->ctl->client, batch->call, batch->n_keys, results, &error);
    for (size_t i = 0; i < batch->n_keys && r == 0; i++)
        count(mget, print_result(mget, key_of(batch, i), &results[i]));
    return r == 0 ? STATUS_FOUND : fail_batch(mget, batch, r, &error);
}

/* The oldest batch on its way: its answers, printed. */
static int take_batch(struct mget *mget)
{
    struct batch *batch = &mget->batches[mget->n_taken++ % N_BATCHES];
    int status = mget->ctl->tree ? answer_from_file(mget, batch) : answer_from_server(mget, batch);
    if (status != STATUS_FOUND)
        return status;
    batch->n_keys = 0;
    buf_release(&batch->bytes);
    return ferror(stdout) ? STATUS_FAILED : STATUS_FOUND; /* main tells */
}

static int take_all(struct mget *mget)
{
    int status = STATUS_FOUND;
    while (status == STATUS_FOUND && mget->n_taken < mget->n_sent)
        status = take_batch(mget);
    return status;
}

static int send_keys(const struct mget *mget, struct batch *batch, struct actc_error *error)
{
    struct actc_bytes keys[BATCH_KEYS];
    if (mget->ctl->tree)
        return 0;
    for (size_t i = 0; i < batch->n_keys; i++) {
        struct slice key = key_of(batch, i);
        keys[i] = (struct actc_bytes){key.p, key.len};
    }
    return actc_send_mget(mget->ctl->client, keys, batch->n_keys, &batch->call, error);
}

/* The next batch gathers in the slot that this frees, if need be. */
static int send_batch(struct mget *mget)
{
    struct batch *batch = gathering(mget);
    struct actc_error error;
    int r = send_keys(mget, batch, &error);
    if (r != 0) { /* those before have their answers, or tell why */
        int status = take_all(mget);
        return status != STATUS_FOUND ? status : fail_batch(mget, batch, r, &error);
    }
    mget->n_sent++;
    return mget->n_sent - mget->n_taken == N_BATCHES ? take_batch(mget) : STATUS_FOUND;
}

/* Everything that was read: asked for, answered, printed. */
static int finish(struct mget *mget)
{
    int status = gathering(mget)->n_keys > 0 ? send_batch(mget) : STATUS_FOUND;
    if (status == STATUS_FOUND)
        status = take_all(mget);
    fflush(stdout);
    return status;
}

/* Tells what is wrong with the line read last, after the results of those before it. */
static int refuse_line(struct mget *mget, const char *reason)
{
    uint64_t number = mget->lines.number;
    int status = finish(mget);
    if (status != STATUS_FOUND)
        return status;
    return session_error(mget->ctl, STATUS_USAGE, "standard input, line %" PRIu64 ": %s", number,
                         reason);
}

static int add_line(struct mget *mget, struct slice line)
{
    struct batch *batch = gathering(mget);
    size_t len = line.len;
    if (buf_reserve(&batch->bytes, len + 1) != 0) /* also the empty key has a place */
        return session_error(mget->ctl, STATUS_FAILED, "out of memory");
    uint8_t *key = batch->bytes.p + batch->bytes.tail;
    if (!mget->ctl->is_hex)
        memcpy(key, line.p, len);
    else if (text_parse_hex(line, key, &len) != 0)
        return refuse_line(mget, "not a key in hex: write two hex digits for each byte");
    buf_commit(&batch->bytes, len);
    if (batch->n_keys == 0)
        batch->first_line = mget->lines.number;
    batch->ends[batch->n_keys++] = buf_len(&batch->bytes);
    bool is_full = batch->n_keys == BATCH_KEYS || buf_len(&batch->bytes) >= BATCH_BYTES;
    return is_full ? send_batch(mget) : STATUS_FOUND;
}

static int run(struct mget *mget)
{
    for (;;) {
        struct slice line;
        int status = lines_would_wait(&mget->lines) ? finish(mget) : STATUS_FOUND;
        if (status != STATUS_FOUND)
            return status;
        int r = lines_next(&mget->lines, &line);
        if (r == LINES_END)
            return finish(mget);
        if (r == LINES_TOO_LONG)
            return refuse_line(mget, "longer than 1 MiB: a key is one line, without its newline");
        if (r != 0)
            return session_error(mget->ctl, STATUS_FAILED, "cannot read standard input: %s",
                                 strerror(-r));
        status = add_line(mget, line);
        if (status != STATUS_FOUND)
            return status;
    }
}

int command_mget(struct actctl *ctl, char **args, size_t n_args)
{
    (void)args;
    (void)n_args;
    int status = session_open(ctl);
    if (status != STATUS_FOUND)
        return status;
    struct mget *mget = calloc(1, sizeof *mget);
    if (!mget)
        return session_error(ctl, STATUS_FAILED, "out of memory");
    mget->ctl = ctl;
    lines_init(&mget->lines, STDIN_FILENO, MAX_LINE_BYTES);
    buf_pool_init(&mget->pool, SIZE_MAX); /* each batch is bounded */
    for (size_t i = 0; i < N_BATCHES; i++)
        buf_init(&mget->batches[i].bytes, &mget->pool);
    status = run(mget);
    if (status == STATUS_FOUND)
        status = mget->status;
    for (size_t i = 0; i < N_BATCHES; i++)
        buf_release(&mget->batches[i].bytes);
    buf_pool_deinit(&mget->pool);
    lines_deinit(&mget->lines);
    free(mget);
    return status;
}
