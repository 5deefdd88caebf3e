/*
 * serve: see serve.h.
 */
#include "serve.h"

#include <err.h>
#include <sys/mman.h>
#include <unistd.h>

/* As worker_init has it. */
#define RESERVE_PART 16
#define BLOCKS_PART  8

static struct snapshot snapshot_of(size_t size, uint64_t number)
{
    static char path[] = "memory";
    return (struct snapshot){.fd = -1,
                             .path = path,
                             .refs = 1,
                             .generation = {.number = number,
                                            .identity = number * UINT64_C(0x9e3779b97f4a7c15),
                                            .size_bytes = size}};
}

static void note_roots(struct snapshot *snapshot)
{
    struct generation *generation = &snapshot->generation;
    generation->n_roots = act_root_history(snapshot->tree, generation->roots, GENERATION_ROOTS_MAX);
    if (generation->n_roots > GENERATION_ROOTS_MAX)
        generation->n_roots = GENERATION_ROOTS_MAX;
}

int serve_snapshot(struct snapshot *snapshot, const struct bytes *file, uint64_t number)
{
    *snapshot = snapshot_of(file->len, number);
    int r = act_open_memory(file->p, file->len, snapshot->path, &snapshot->tree, NULL);
    if (r == 0)
        note_roots(snapshot);
    return r;
}

int serve_snapshot_mapped(struct snapshot *snapshot, const struct bytes *file, uint64_t number)
{
    *snapshot = snapshot_of(file->len, number);
    int fd = memfd_create("tree", MFD_CLOEXEC);
    if (fd < 0 || write(fd, file->p, file->len) != (ssize_t)file->len)
        err(2, "a file in memory");
    int r = act_open_fd(fd, snapshot->path, &snapshot->tree, NULL);
    close(fd);
    if (r == 0)
        note_roots(snapshot);
    return r;
}

void serve_watch_pages(struct snapshot *snapshot)
{
    if (snapshot_watch_pages(snapshot, ACT_PROBE_NONE) != 0)
        errx(2, "out of memory");
}

void serve_snapshot_close(struct snapshot *snapshot)
{
    act_residency_free(snapshot->residency);
    act_close(snapshot->tree);
}

void serve_init(struct serve *serve)
{
    *serve = (struct serve){0};
    config_init(&serve->config);
    /* Only paths are freed: none is opened here, and without them it can be copied. */
    config_deinit(&serve->config);
}

void serve_begin(struct serve *serve, struct snapshot *snapshot)
{
    const struct config *config = &serve->config;
    /* As worker_max_elements has it. */
    uint64_t max_elements = 2 * config->limits_max_keys + 64;
    if (request_decoder_init(&serve->decoder, config->limits_max_request_bytes, max_elements) ||
        dispatch_init(&serve->dispatch, config) || board_create_private(&serve->board, config))
        errx(2, "out of memory");
    serve->dispatch.snapshot = snapshot;
    serve->dispatch.stats = &serve->board.own_page->stats;
    serve->dispatch.board = &serve->board;
    buf_pool_init(&serve->pool, config->limits_max_buffer_bytes);
    serve->pool.reserve_bytes = config->limits_max_buffer_bytes / RESERVE_PART;
    serve->pool.block_bytes = config->limits_max_buffer_bytes / BLOCKS_PART;
    frame_init(&serve->frame, config->limits_max_request_bytes, max_elements);
    buf_init(&serve->out, &serve->pool);
}

bool serve_end(struct serve *serve)
{
    buf_release(&serve->out);
    bool is_clean = serve->pool.used_bytes == 0;
    if (is_clean)
        buf_pool_deinit(&serve->pool);
    dispatch_deinit(&serve->dispatch);
    request_decoder_deinit(&serve->decoder);
    board_detach(&serve->board);
    config_deinit(&serve->config);
    return is_clean;
}

void serve_switch(struct serve *serve, struct snapshot *snapshot)
{
    serve->dispatch.snapshot = snapshot;
}

static void bring_pages(struct serve *serve, struct act_residency *residency)
{
    size_t n_missed, n;
    serve->n_cold++;
    if (serve->bring) {
        serve->bring(serve->bring_context, residency);
        return;
    }
    const uint64_t *pages = act_residency_wanted(residency, &n_missed, &n);
    for (size_t i = 0; i < n; i++)
        act_residency_note(residency, pages[i]);
}

/* The request becomes a job. 0, BUF_FULL or -ENOMEM. */
static int take(struct serve *serve, struct slice message, const struct progress *progress,
                size_t out_len, struct serve_job *ret)
{
    struct serve_job job = {
        .mode = serve->session.mode, .snapshot = serve->dispatch.snapshot, .progress = *progress};
    buf_init(&job.message, &serve->pool);
    buf_init(&job.out, &serve->pool);
    struct slice content = buf_content(&serve->out);
    int r = buf_append(&job.message, message.p, message.len);
    if (r == 0)
        r = buf_append(&job.out, content.p + out_len, content.len - out_len);
    if (r != 0) {
        buf_release(&job.message);
        buf_release(&job.out);
        return r;
    }
    serve->out.tail = serve->out.head + out_len;
    buf_trim(&job.message);
    buf_trim(&job.out);
    *ret = job;
    return 0;
}

static int run(struct serve *serve, struct slice message, const struct request *request,
               struct serve_job *ret_job)
{
    struct progress progress;
    unsigned cost;
    size_t out_len = buf_len(&serve->out);
    progress_init(&progress, &serve->pool);
    serve->pool.is_brief = out_len == 0;
    int r = dispatch_run(&serve->dispatch, request, &serve->session, &serve->out, &progress, &cost);
    serve->pool.is_brief = false;
    if (r == DISPATCH_COLD)
        bring_pages(serve, serve->dispatch.snapshot->residency);
    if (r > 0) {
        bool has_to_wait = r == DISPATCH_WAIT;
        if (take(serve, message, &progress, out_len, ret_job) == 0) {
            if (has_to_wait)
                ret_job->snapshot = NULL;
            return has_to_wait ? SERVE_WAITING : SERVE_SLICED;
        }
        serve->out.tail = serve->out.head + out_len;
        r = dispatch_give_up(&serve->dispatch, request, serve->session.mode, PROTO_BUSY,
                             "out of buffers", &serve->out);
    }
    progress_deinit(&progress);
    return r;
}

static int refuse(struct serve *serve, uint32_t msgid, enum proto_error error, const char *text)
{
    return dispatch_refuse(&serve->dispatch, msgid, serve->session.mode, error, text, &serve->out);
}

static int refuse_frame(struct serve *serve, int framed)
{
    const struct frame *frame = &serve->frame;
    bool is_whole = framed == FRAME_TOO_DEEP || framed == FRAME_TOO_MANY;
    if (!frame->has_msgid || framed == FRAME_BROKEN)
        return is_whole ? SERVE_IGNORED : SERVE_CLOSED;
    int r = refuse(serve, frame->msgid,
                   framed == FRAME_TOO_DEEP ? PROTO_BAD_REQUEST : PROTO_TOO_LARGE, "the message");
    return r != 0 || is_whole ? r : SERVE_CLOSED;
}

int serve_message(struct serve *serve, struct slice input, struct serve_job *ret_job)
{
    struct slice message;
    struct request request;
    int framed = frame_next(&serve->frame, input, &message);
    if (framed == FRAME_MORE)
        return SERVE_MORE;
    if (framed != 0)
        return refuse_frame(serve, framed);
    int r = request_decode(&serve->decoder, message, &request);
    if (r == 0)
        return run(serve, message, &request, ret_job);
    if (r == REQUEST_BAD)
        return refuse(serve, request.msgid, PROTO_BAD_REQUEST, serve->decoder.reason);
    return r < 0 ? r : SERVE_IGNORED;
}

int serve_slice(struct serve *serve, struct serve_job *job)
{
    struct dispatch *dispatch = &serve->dispatch;
    struct snapshot *current = dispatch->snapshot;
    if (job->decoded_as != serve->decoder.n_decoded) {
        int r = request_decode(&serve->decoder, buf_content(&job->message), &job->request);
        if (r != 0)
            return r;
        job->decoded_as = serve->decoder.n_decoded;
    }
    if (!job->snapshot)
        job->snapshot = current;
    dispatch->snapshot = job->snapshot;
    int r = dispatch_resume(dispatch, &job->request, job->mode, &job->out, &job->progress);
    dispatch->snapshot = current;
    if (r == DISPATCH_COLD)
        bring_pages(serve, job->snapshot->residency);
    if (r == DISPATCH_WAIT)
        job->snapshot = NULL;
    return r == DISPATCH_COLD ? DISPATCH_AGAIN : r;
}

void serve_job_deinit(struct serve_job *job)
{
    progress_deinit(&job->progress);
    buf_release(&job->message);
    buf_release(&job->out);
}
