/*
 * scan: entries in order, page by page.
 *
 * A page is asked for when an entry is wanted and the last page is used up; its reply lives until
 * the next one has come, since the cursor to go on with stands in it. So a page that fails can be
 * asked for again.
 */
#include "client/error.h"
#include "client/params.h"
#include "client/result.h"

#include <errno.h>
#include <stdlib.h>

#define DEFAULT_PAGE_ENTRIES 10000
#define DEFAULT_PAGE_BYTES   ((size_t)1 << 20)

struct actc_scan {
    struct actc *client; /* borrowed */
    bool is_range, is_reverse, is_keys_only;
    bool has_from, has_to;
    struct actc_bytes from, to; /* a prefix in `from`, or a range; in memory */
    uint32_t page_entries;
    size_t page_bytes;
    uint64_t pinned;
    const uint64_t *pin;          /* &pinned, or NULL: the client's */
    struct actc_reply *page;      /* owned; NULL: none has come yet */
    msgpack_object_array entries; /* of the page */
    uint32_t n_given;             /* of them */
    struct slice cursor;          /* of the page; p is NULL where it is the last one */
    uint8_t memory[];
};

static const char *method_of(const struct actc_scan *scan)
{
    return scan->is_range ? "range" : "scan";
}

static int pack_number(msgpack_packer *packer, const char *name, uint64_t number)
{
    int r = params_pack_text(packer, name);
    return r != 0 ? r : msgpack_pack_uint64(packer, number);
}

static int pack_true(msgpack_packer *packer, const char *name)
{
    int r = params_pack_text(packer, name);
    return r != 0 ? r : msgpack_pack_true(packer);
}

static int pack_options(msgpack_packer *packer, const struct actc_scan *scan)
{
    bool has_cursor = scan->cursor.p;
    const uint64_t *pin = scan->pin ? scan->pin : scan->client->pin;
    uint32_t n_flags = scan->is_reverse + scan->is_keys_only;
    int r = msgpack_pack_map(packer, 2U + n_flags + (pin != NULL) + has_cursor);
    if (r == 0)
        r = pack_number(packer, "limit", scan->page_entries);
    if (r == 0)
        r = pack_number(packer, "max_bytes", scan->page_bytes);
    if (r == 0 && scan->is_reverse)
        r = pack_true(packer, "reverse");
    if (r == 0 && scan->is_keys_only)
        r = pack_true(packer, "keys_only");
    if (r == 0 && pin)
        r = params_pack_pin(packer, pin);
    if (r == 0 && has_cursor)
        r = params_pack_text(packer, "cursor");
    if (r == 0 && has_cursor)
        r = params_pack_bytes(packer, (struct actc_bytes){scan->cursor.p, scan->cursor.len});
    return r;
}

static int pack_bound(msgpack_packer *packer, bool is_there, struct actc_bytes bound)
{
    return is_there ? params_pack_bytes(packer, bound) : msgpack_pack_nil(packer);
}

/* [prefix, options], or [from, to, options]. */
static int pack(msgpack_packer *packer, const struct actc_scan *scan)
{
    int r = msgpack_pack_array(packer, scan->is_range ? 3 : 2);
    if (r == 0)
        r = pack_bound(packer, scan->has_from, scan->from);
    if (r == 0 && scan->is_range)
        r = pack_bound(packer, scan->has_to, scan->to);
    return r != 0 ? r : pack_options(packer, scan);
}

/* The next page, instead of the one before. */
static int turn_page(struct actc_scan *scan, struct actc_error *ret_error)
{
    struct actc_reply *page;
    msgpack_packer packer;
    uint32_t call;
    params_begin(scan->client, &packer);
    int r = params_send(scan->client, method_of(scan), pack(&packer, scan), &call, ret_error);
    if (r == 0)
        r = actc_wait(scan->client, call, &page, ret_error);
    if (r != 0)
        return r;
    if (result_page(actc_reply_result(page), &scan->entries, &scan->cursor) != 0) {
        actc_reply_free(page);
        return result_bad(scan->client, method_of(scan), ret_error);
    }
    actc_reply_free(scan->page);
    scan->page = page;
    scan->n_given = 0;
    return 0;
}

/* Copies into memory, from at on. */
static struct actc_bytes keep(uint8_t *at, struct actc_bytes bytes)
{
    if (bytes.len > 0)
        memcpy(at, bytes.p, bytes.len);
    return (struct actc_bytes){at, bytes.len};
}

int actc_scan_new(struct actc *client, const struct actc_scan_options *options,
                  struct actc_scan **ret_scan, struct actc_error *ret_error)
{
    static const struct actc_scan_options defaults;
    const struct actc_scan_options *o = options ? options : &defaults;
    const char *address = client->server.text;
    bool is_range = o->from || o->to;
    struct actc_bytes bounds[2] = {o->prefix};
    if (is_range && o->prefix.len > 0)
        return error_set(ret_error, -EINVAL, address, "a scan has a prefix or a range, not both");
    if (is_range) {
        bounds[0] = o->from ? *o->from : bounds[0];
        bounds[1] = o->to ? *o->to : bounds[1];
    }
    int r = params_check(client, bounds, 2, ret_error);
    if (r != 0)
        return r;
    struct actc_scan *scan = calloc(1, sizeof *scan + bounds[0].len + bounds[1].len);
    if (!scan)
        return error_set(ret_error, -ENOMEM, address, "out of memory");
    size_t half = client->options.max_reply_bytes / 2;
    size_t page_bytes = half < DEFAULT_PAGE_BYTES ? half : DEFAULT_PAGE_BYTES;
    scan->client = client;
    scan->is_range = is_range;
    scan->is_reverse = o->is_reverse;
    scan->is_keys_only = o->is_keys_only;
    scan->has_from = !is_range || o->from;
    scan->has_to = o->to;
    scan->from = keep(scan->memory, bounds[0]);
    scan->to = keep(scan->memory + bounds[0].len, bounds[1]);
    scan->pinned = o->pin ? *o->pin : 0;
    scan->pin = o->pin ? &scan->pinned : NULL;
    scan->page_entries = o->page_entries ? o->page_entries : DEFAULT_PAGE_ENTRIES;
    scan->page_bytes = o->page_bytes ? o->page_bytes : page_bytes;
    *ret_scan = scan;
    return 0;
}

int actc_scan_next(struct actc_scan *scan, struct actc_entry *ret_entry,
                   struct actc_error *ret_error)
{
    if (scan->n_given == scan->entries.size) {
        if (scan->page && !scan->cursor.p)
            return ACTC_MISS;
        int r = turn_page(scan, ret_error);
        if (r != 0)
            return r;
        if (scan->entries.size == 0)
            return ACTC_MISS;
    }
    const msgpack_object *object = &scan->entries.ptr[scan->n_given];
    int r = scan->is_keys_only ? result_key(object, ret_entry) : actc_read_entry(object, ret_entry);
    if (r != 0)
        return result_bad(scan->client, method_of(scan), ret_error);
    scan->n_given++;
    return 0;
}

void actc_scan_free(struct actc_scan *scan)
{
    if (!scan)
        return;
    actc_reply_free(scan->page);
    free(scan);
}
