/*
 * scan, range: entries in order, as many as there are, a line each while they come.
 *
 * What was printed before a failure stays; the exit status tells that it is not all.
 */
#include "client/actctl/file.h"
#include "client/actctl/output.h"

#include <errno.h>

struct scan {
    struct actctl *ctl;
    struct actc_scan_options options;
    struct actc_scan *scan; /* of a server, owned */
    uint64_t n;             /* entries so far */
};

static int begin(struct scan *scan)
{
    struct actctl *ctl = scan->ctl;
    const struct actc_scan_options *o = &scan->options;
    struct actc_bytes from = o->from ? *o->from : o->prefix;
    struct actc_error error;
    if (!ctl->tree) {
        int r = actc_scan_new(ctl->client, o, &scan->scan, &error);
        return r == 0 ? STATUS_FOUND : session_fail(ctl, NULL, r, &error);
    }
    int status = file_cursor(ctl);
    if (status == STATUS_FOUND && o->from)
        act_cursor_set_range(ctl->cursor, from.p, from.len, o->to ? o->to->p : NULL,
                             o->to ? o->to->len : 0);
    else if (status == STATUS_FOUND)
        act_cursor_set_prefix(ctl->cursor, from.p, from.len);
    return status;
}

/* STATUS_FOUND, STATUS_NOT_FOUND (there are no more) or STATUS_FAILED. */
static int next_entry(struct scan *scan, struct actc_entry *ret_entry)
{
    struct actctl *ctl = scan->ctl;
    struct actc_error error;
    if (ctl->tree && ctl->is_reverse)
        return file_move(ctl, scan->n == 0 ? act_cursor_last : act_cursor_prev, ret_entry);
    if (ctl->tree)
        return file_move(ctl, act_cursor_next, ret_entry);
    int r = actc_scan_next(scan->scan, ret_entry, &error);
    if (r == ACTC_MISS)
        return STATUS_NOT_FOUND;
    return r == 0 ? STATUS_FOUND : session_fail(ctl, NULL, r, &error);
}

/* STATUS_FOUND, or STATUS_FAILED: main tells of the output. */
static int print(struct actctl *ctl, const struct actc_entry *entry)
{
    errno = 0;
    output_entry(ctl, entry);
    if (!ferror(stdout))
        return STATUS_FOUND;
    ctl->output_error = -errno;
    return STATUS_FAILED;
}

static int print_all(struct scan *scan)
{
    int status = STATUS_FOUND;
    struct actctl *ctl = scan->ctl;
    while (status == STATUS_FOUND && (ctl->limit == 0 || scan->n < ctl->limit)) {
        struct actc_entry entry;
        status = next_entry(scan, &entry);
        if (status == STATUS_FOUND)
            status = print(ctl, &entry);
        scan->n += status == STATUS_FOUND;
    }
    return status == STATUS_NOT_FOUND && scan->n > 0 ? STATUS_FOUND : status;
}

static int run(struct actctl *ctl, struct actc_scan_options *options)
{
    struct scan scan = {.ctl = ctl, .options = *options};
    scan.options.is_reverse = ctl->is_reverse;
    scan.options.is_keys_only = ctl->records.is_keys_only;
    if (ctl->limit > 0 && ctl->limit < 10000) /* no more than is printed is asked for */
        scan.options.page_entries = (uint32_t)ctl->limit;
    int status = session_open(ctl);
    if (status == STATUS_FOUND)
        status = begin(&scan);
    if (status == STATUS_FOUND)
        status = print_all(&scan);
    actc_scan_free(scan.scan);
    return status;
}

int command_scan(struct actctl *ctl, char **args, size_t n_args)
{
    struct slice prefix = {0};
    int status = n_args > 0 ? session_key(ctl, args[0], &prefix) : STATUS_FOUND;
    struct actc_scan_options options = {.prefix = {prefix.p, prefix.len}};
    return status == STATUS_FOUND ? run(ctl, &options) : status;
}

int command_range(struct actctl *ctl, char **args, size_t n_args)
{
    struct slice from, to = {0};
    int status = session_key(ctl, args[0], &from);
    if (status == STATUS_FOUND && n_args > 1)
        status = session_key(ctl, args[1], &to);
    if (status != STATUS_FOUND)
        return status;
    const struct actc_bytes first = {from.p, from.len}, end = {to.p, to.len};
    struct actc_scan_options options = {.from = &first, .to = n_args > 1 ? &end : NULL};
    return run(ctl, &options);
}
