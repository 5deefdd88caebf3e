/*
 * dump: the keys and values of a file, in order, in a form that build reads.
 *
 * On a terminal tsv and nul are escaped instead, as all text is.
 */
#include "client/actctl/file.h"
#include "client/actctl/output.h"
#include "client/actctl/records_writer.h"
#include "client/actctl/text.h"

#include <errno.h>
#include <inttypes.h>
#include <unistd.h>

struct dump {
    struct actctl *ctl;
    bool is_escaped; /* for a terminal */
    struct records_writer writer;
};

static int refuse_record(const struct dump *dump, struct slice key, const char *reason)
{
    enum { SHOWN_BYTES = 200 };
    bool is_long = key.len > SHOWN_BYTES;
    fputs("actctl: ", stderr);
    output_key(dump->ctl, stderr, slice_of(key.p, is_long ? SHOWN_BYTES : key.len));
    fprintf(stderr, "%s: %s\n", is_long ? "..." : "", reason);
    return STATUS_USAGE;
}

/* 0, a negative errno, or RECORDS_BAD with *ret_reason. */
static int write_record(struct dump *dump, const struct record *record, const char **ret_reason)
{
    const struct records_options *options = &dump->writer.options;
    if (!dump->is_escaped)
        return records_write(&dump->writer, record, ret_reason);
    bool is_nul = options->format == RECORDS_NUL;
    output_key(dump->ctl, stdout, record->key);
    if (!options->is_keys_only) {
        putchar(is_nul ? '\0' : '\t');
        if (options->is_bytes)
            output_key(dump->ctl, stdout, record->bytes);
        else
            printf("%" PRIu64, record->value);
    }
    putchar(is_nul ? '\0' : '\n');
    return ferror(stdout) ? -EIO : 0;
}

/* The entry that the cursor stands at. */
static int dump_entry(struct dump *dump)
{
    struct act_fault fault = {0};
    const char *reason = NULL;
    struct record record = {0};
    record.key.p = act_cursor_key(dump->ctl->cursor, &record.key.len);
    act_cursor_value(dump->ctl->cursor, &record.value);
    if (dump->writer.options.is_bytes) {
        int r =
            act_bytes(dump->ctl->tree, record.value, &record.bytes.p, &record.bytes.len, &fault);
        if (r != 0)
            return session_fail_fault(dump->ctl, dump->ctl->file, record.key, &fault);
    }
    int r = write_record(dump, &record, &reason);
    if (r == RECORDS_BAD)
        return refuse_record(dump, record.key, reason);
    if (r == -ENOMEM)
        return session_error(dump->ctl, STATUS_FAILED, "out of memory");
    dump->ctl->output_error = r;
    return r == 0 ? STATUS_FOUND : STATUS_FAILED; /* main tells of the output */
}

static int dump_all(struct dump *dump)
{
    int status = STATUS_FOUND;
    int r = act_cursor_first(dump->ctl->cursor);
    while (r == 0 && status == STATUS_FOUND) {
        status = dump_entry(dump);
        r = act_cursor_next(dump->ctl->cursor);
    }
    /* What was found before a fault is printed. */
    int flushed = records_flush(&dump->writer);
    if (flushed != 0) {
        dump->ctl->output_error = flushed;
        return STATUS_FAILED;
    }
    if (status != STATUS_FOUND || r == ACT_MISS)
        return status;
    return file_fail_move(dump->ctl, r);
}

static int confine(struct dump *dump)
{
    struct slice prefix = {0};
    int status = STATUS_FOUND;
    if (dump->ctl->prefix)
        status = session_key(dump->ctl, dump->ctl->prefix, &prefix);
    act_cursor_set_prefix(dump->ctl->cursor, prefix.p, prefix.len);
    return status;
}

static int prepare(struct dump *dump)
{
    struct actctl *ctl = dump->ctl;
    struct records_options options = ctl->records;
    struct act_info info;
    act_info(ctl->tree, &info);
    options.is_bytes = info.values == ACT_VALUES_BYTES;
    dump->is_escaped = options.format != RECORDS_JSONL && isatty(STDOUT_FILENO);
    if (info.values == ACT_VALUES_MIXED && !options.is_keys_only)
        return session_error(ctl, STATUS_FAILED,
                             "%s: byte values, but merged since by a writer that does not know "
                             "them: only --keys-only can be told",
                             ctl->file);
    if (records_writer_init(&dump->writer, stdout, &options) != 0)
        return session_error(ctl, STATUS_FAILED, "out of memory");
    int status = file_cursor(ctl);
    return status == STATUS_FOUND ? confine(dump) : status;
}

int command_dump(struct actctl *ctl, char **args, size_t n_args)
{
    (void)n_args;
    struct dump dump = {.ctl = ctl};
    ctl->file = args[0];
    int status = session_open(ctl);
    if (status == STATUS_FOUND)
        status = prepare(&dump);
    if (status == STATUS_FOUND)
        status = dump_all(&dump);
    records_writer_deinit(&dump.writer);
    return status;
}
