/*
 * build: a file of the keys and values in a text.
 *
 * Records go from the reader straight to libact's builder, which sorts where it must and gives the
 * file its name when it is complete. Nothing else of libact is used here.
 */
#include "base/fd.h"
#include "client/actctl/options.h"
#include "client/actctl/output.h"
#include "client/actctl/progress.h"
#include "client/actctl/signals.h"
#include "client/actctl/text.h"

#include <act/builder.h>

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static_assert(RECORDS_MAX_KEY_BYTES == ACT_MAX_KEY_BYTES, "the reader refuses what a tree cannot "
                                                          "hold");

/* The clock is looked at every so many records. */
#define LOOK_RECORDS 1024

/* What is shown of a key or value in a message. */
#define SHOWN_BYTES 200

struct build {
    struct actctl *ctl;
    const char *input;    /* its name for messages, borrowed */
    uint64_t input_bytes; /* 0: not known */
    struct records records;
    struct act_builder *builder;
    struct act_builder_summary summary;
    struct progress progress;
};

static void write_some(const struct actctl *ctl, struct slice text)
{
    bool is_long = text.len > SHOWN_BYTES;
    text_write(stderr, slice_of(text.p, is_long ? SHOWN_BYTES : text.len), ctl->text_flags);
    fputs(is_long ? "..." : "", stderr);
}

/* is_decoded: its bytes, which --hex shows as they were given. */
static void write_key(const struct actctl *ctl, struct slice key, bool is_decoded)
{
    bool is_hex = ctl->is_hex && is_decoded;
    size_t shown = is_hex ? SHOWN_BYTES / 2 : SHOWN_BYTES;
    fputs("key \"", stderr);
    if (is_hex)
        text_write_hex(stderr, slice_of(key.p, key.len < shown ? key.len : shown));
    else
        write_some(ctl, key);
    fputs(is_hex && key.len > shown ? "...\"" : "\"", stderr);
}

/* "actctl: INPUT, line N: " */
static void begin_error(struct build *build, uint64_t number)
{
    progress_clear(&build->progress);
    fputs("actctl: ", stderr);
    text_write(stderr, slice_of_str(build->input), build->ctl->text_flags);
    fprintf(stderr, ", %s %" PRIu64 ": ", records_noun(build->ctl->records.format), number);
}

static int refuse_record(struct build *build)
{
    const struct records_fault *fault = &build->records.fault;
    begin_error(build, build->records.number);
    if (fault->has_key) {
        write_key(build->ctl, fault->key, fault->is_decoded);
        fputs(": ", stderr);
    }
    if (fault->has_value) {
        fputs("value \"", stderr);
        write_some(build->ctl, fault->value);
        fputs("\": ", stderr);
    }
    fprintf(stderr, "%s\n", fault->reason);
    return STATUS_USAGE;
}

static int refuse_duplicate(struct build *build)
{
    const struct actctl *ctl = build->ctl;
    struct act_duplicate duplicate = act_builder_duplicate(build->builder);
    begin_error(build, duplicate.line);
    write_key(ctl, slice_of(duplicate.key, duplicate.key_len), true);
    fputs(" comes again", stderr);
    if (duplicate.first_line > 0)
        fprintf(stderr, ", first in %s %" PRIu64, records_noun(ctl->records.format),
                duplicate.first_line);
    fputs(": --duplicates=first or --duplicates=last takes one of them\n", stderr);
    return STATUS_USAGE;
}

static int fail_builder(struct build *build, int r)
{
    if (r == ACT_DUPLICATE)
        return refuse_duplicate(build);
    progress_clear(&build->progress);
    return session_error(build->ctl, STATUS_FAILED, "%s", act_builder_error(build->builder));
}

static void show_reading(struct build *build)
{
    char keys[TEXT_GROUPED_SIZE], rate[TEXT_GROUPED_SIZE];
    uint64_t n = build->records.number;
    progress_show(&build->progress, build->records.n_bytes, build->input_bytes,
                  "%s keys, %s keys/s", text_grouped(n, keys),
                  text_grouped(progress_rate(&build->progress, n), rate));
}

static void on_finishing(void *context, uint64_t done, uint64_t total)
{
    struct build *build = context;
    char keys[TEXT_GROUPED_SIZE], rate[TEXT_GROUPED_SIZE];
    if (done == 0)
        progress_begin_phase(&build->progress);
    if (progress_is_due(&build->progress))
        progress_show(&build->progress, done, total, "%s keys written, %s keys/s",
                      text_grouped(done, keys),
                      text_grouped(progress_rate(&build->progress, done), rate));
}

static int add_all(struct build *build)
{
    struct records *records = &build->records;
    bool is_bytes = build->ctl->records.is_bytes;
    struct record record;
    int r;
    while ((r = records_next(records, &record)) == 0) {
        struct slice key = record.key, bytes = record.bytes;
        if (is_bytes)
            r = act_builder_add_bytes(build->builder, key.p, key.len, bytes.p, bytes.len,
                                      records->number);
        else
            r = act_builder_add(build->builder, key.p, key.len, record.value, records->number);
        if (r != 0)
            return fail_builder(build, r);
        if (records->number % LOOK_RECORDS == 0 && progress_is_due(&build->progress))
            show_reading(build);
    }
    if (r == RECORDS_BAD)
        return refuse_record(build);
    if (r == RECORDS_END)
        return STATUS_FOUND;
    progress_clear(&build->progress);
    return session_error(build->ctl, STATUS_FAILED, "cannot read %s: %s", build->input,
                         strerror(-r));
}

static void tell_summary(const struct build *build)
{
    const struct act_builder_summary *summary = &build->summary;
    char text[TEXT_GROUPED_SIZE];
    text_write(stderr, slice_of_str(build->ctl->output), build->ctl->text_flags);
    fprintf(stderr, ": %s keys", text_grouped(summary->n_keys, text));
    fprintf(stderr, ", %s bytes", text_grouped(summary->size_bytes, text));
    fprintf(stderr, ", %s distinct lines", text_grouped(summary->n_lines, text));
    if (build->ctl->records.is_bytes)
        fprintf(stderr, ", %s distinct values", text_grouped(summary->n_byte_values, text));
    if (summary->n_duplicates > 0)
        fprintf(stderr, ", %s duplicates dropped", text_grouped(summary->n_duplicates, text));
    if (summary->n_sorted_runs > 0)
        fprintf(stderr, ", sorted through %s bytes of temporary files",
                text_grouped(summary->spilled_bytes, text));
    if (summary->repeated_bytes_max > 0)
        fprintf(stderr, ", at most %s bytes stand in it twice (--memory)",
                text_grouped(summary->repeated_bytes_max, text));
    fprintf(stderr, ", %.2f s\n", progress_seconds(&build->progress));
}

static int finish(struct build *build)
{
    act_builder_on_progress(build->builder, on_finishing, build);
    int r = act_builder_finish(build->builder, &build->summary);
    if (r != 0)
        return fail_builder(build, r);
    progress_clear(&build->progress);
    tell_summary(build);
    return STATUS_FOUND;
}

/* Whoever sets SOURCE_DATE_EPOCH wants the same bytes from the same input: 0, no time. */
static int created(const struct actctl *ctl, uint64_t *ret_unix_s)
{
    const char *text = getenv("SOURCE_DATE_EPOCH");
    uint64_t epoch;
    if (text && *text && !records_parse_u64(slice_of_str(text), &epoch))
        return session_error(ctl, STATUS_USAGE,
                             "SOURCE_DATE_EPOCH=%s: not a whole number of seconds", text);
    *ret_unix_s = text && *text ? 0 : (uint64_t)time(NULL);
    return STATUS_FOUND;
}

static int start(struct build *build)
{
    const struct actctl *ctl = build->ctl;
    uint64_t created_s = 0;
    int status = created(ctl, &created_s);
    if (status != STATUS_FOUND)
        return status;
    const struct act_builder_options options = {
        .is_plain = ctl->is_plain,
        .values = ctl->records.is_bytes ? ACT_VALUES_BYTES : ACT_VALUES_U64,
        .duplicates = ctl->duplicates,
        .memory_bytes = ctl->memory_bytes,
        .created_s = created_s,
    };
    struct act_error error = {{0}};
    signals_hold();
    int r = act_builder_new(ctl->output, &options, &build->builder, &error);
    signals_remove(r == 0 ? act_builder_temporary(build->builder) : NULL);
    return r == 0 ? STATUS_FOUND : session_error(ctl, STATUS_FAILED, "%s", error.message);
}

/* What was not finished goes; signals end us as ever. */
static void end(struct build *build)
{
    if (!build->builder)
        return;
    signals_hold();
    act_builder_free(build->builder);
    signals_remove(NULL);
}

/* *ret_fd: owned by the caller; standard input's is a copy. */
static int open_input(struct build *build, const char *path, int *ret_fd)
{
    struct stat input, output;
    bool is_stdin = !path || strcmp(path, "-") == 0;
    build->input = is_stdin ? "standard input" : path;
    with_close int fd = is_stdin ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3)
                                 : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0 || fstat(fd, &input) != 0)
        return session_error(build->ctl, STATUS_FAILED, "cannot open %s: %s", build->input,
                             strerror(errno));
    if (S_ISREG(input.st_mode))
        build->input_bytes = (uint64_t)input.st_size;
    if (stat(build->ctl->output, &output) == 0 && S_ISREG(output.st_mode) &&
        input.st_dev == output.st_dev && input.st_ino == output.st_ino)
        return session_error(build->ctl, STATUS_USAGE, "%s and %s are the same file", build->input,
                             build->ctl->output);
    posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    *ret_fd = fd_take(&fd);
    return STATUS_FOUND;
}

int command_build(struct actctl *ctl, char **args, size_t n_args)
{
    struct build build = {.ctl = ctl};
    with_close int fd = -1;
    if (!ctl->output)
        return options_refuse(ctl, "build", "the file to make is missing: write -o OUT");
    if (strcmp(ctl->output, "-") == 0)
        return options_refuse(ctl, "-o -",
                              "a tree cannot go to standard output, since its beginning is "
                              "written last: name a file");
    if (ctl->is_plain && ctl->records.is_bytes)
        return options_refuse(ctl, "--plain", "a plain file holds numbers only");
    progress_init(&build.progress, ctl->output);
    int status = open_input(&build, n_args > 0 ? args[0] : NULL, &fd);
    if (status != STATUS_FOUND)
        return status;
    records_init(&build.records, fd, &ctl->records);
    status = start(&build);
    if (status == STATUS_FOUND)
        status = add_all(&build);
    if (status == STATUS_FOUND)
        status = finish(&build);
    end(&build);
    records_deinit(&build.records);
    return status;
}
