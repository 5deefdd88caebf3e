/*
 * records: see records.h.
 */
#include "client/actctl/records.h"

#include "client/actctl/records_json.h"
#include "client/actctl/text.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

/* What is read at a time, at least if there is so much; the buffer holds twice that. */
#define READ_BYTES ((size_t)256 * 1024)

#define NOT_FOUND SIZE_MAX

static int bad(struct records *records, const char *reason)
{
    records->fault = (struct records_fault){.reason = reason};
    return RECORDS_BAD;
}

static int bad_key(struct records *records, struct slice key, const char *reason)
{
    records->fault = (struct records_fault){.reason = reason, .has_key = true, .key = key};
    return RECORDS_BAD;
}

static int bad_decoded_key(struct records *records, struct slice key, const char *reason)
{
    bad_key(records, key, reason);
    records->fault.is_decoded = true;
    return RECORDS_BAD;
}

static int bad_value(struct records *records, const struct record *record, struct slice value,
                     const char *reason)
{
    bad_decoded_key(records, record->key, reason);
    records->fault.has_value = true;
    records->fault.value = value;
    return RECORDS_BAD;
}

static int make_room(struct records *records)
{
    size_t len = records->tail - records->head;
    if (records->size - records->tail >= READ_BYTES)
        return 0;
    if (records->head > 0) {
        memmove(records->p, records->p + records->head, len);
        records->head = 0;
        records->tail = len;
    }
    if (records->size - len >= READ_BYTES)
        return 0;
    size_t size = 2 * (records->size > READ_BYTES ? records->size : READ_BYTES);
    uint8_t *p = realloc(records->p, size);
    if (!p)
        return -ENOMEM;
    records->p = p;
    records->size = size;
    return 0;
}

static int read_more(struct records *records)
{
    int r = make_room(records);
    if (r != 0)
        return r;
    ssize_t n;
    do
        n = read(records->fd, records->p + records->tail, records->size - records->tail);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    records->is_at_end = n == 0;
    records->tail += (size_t)n;
    return 0;
}

/* Where the next such byte is that was not seen yet, from the record's start. */
static size_t find(struct records *records, int byte)
{
    size_t len = records->tail - records->head;
    if (records->n_seen == len)
        return NOT_FOUND;
    const uint8_t *p = records->p + records->head;
    const uint8_t *found = memchr(p + records->n_seen, byte, len - records->n_seen);
    records->n_seen = found ? (size_t)(found - p) + 1 : len;
    return found ? (size_t)(found - p) : NOT_FOUND;
}

/* The next len bytes are the record: they stay in place until more is read. */
static uint8_t *take(struct records *records, size_t len)
{
    uint8_t *p = records->p + records->head;
    records->head += len;
    records->n_bytes += len;
    records->n_seen = 0;
    records->first_end = NOT_FOUND;
    return p;
}

/* Without its newline, which a last line may lack. */
static int next_line(struct records *records, uint8_t **ret_line, size_t *ret_len)
{
    for (;;) {
        size_t end = find(records, '\n'), len = records->tail - records->head;
        bool is_last = end == NOT_FOUND && records->is_at_end;
        if (is_last && len == 0)
            return RECORDS_END;
        if (end != NOT_FOUND || is_last || len > RECORDS_MAX_BYTES) {
            records->number++;
            if ((end != NOT_FOUND ? end : len) > RECORDS_MAX_BYTES)
                return bad(records, "longer than 64 MiB");
            *ret_len = end != NOT_FOUND ? end : len;
            *ret_line = take(records, *ret_len + (end != NOT_FOUND));
            return 0;
        }
        int r = read_more(records);
        if (r != 0)
            return r;
    }
}

/* In place. */
static int decode_hex(struct records *records, struct slice *text)
{
    uint8_t *to = records->p + (text->p - records->p);
    return text_parse_hex(*text, to, &text->len);
}

static int take_key(struct records *records, struct slice key, struct record *record)
{
    if (records->options.is_hex && decode_hex(records, &key) != 0)
        return bad_key(records, key, "the key is not hex: write two hex digits for each byte");
    record->key = key;
    if (key.len > RECORDS_MAX_KEY_BYTES)
        return bad_decoded_key(records, key, "the key is longer than 1 MiB");
    return 0;
}

static int take_value(struct records *records, struct slice value, struct record *record)
{
    if (!records->options.is_bytes) {
        if (!records_parse_u64(value, &record->value))
            return bad_value(records, record, value,
                             "the value is not a whole number from 0 to 18446744073709551615");
        return 0;
    }
    if (records->options.is_hex && decode_hex(records, &value) != 0)
        return bad_value(records, record, value,
                         "the value is not hex: write two hex digits for each byte");
    record->bytes = value;
    return 0;
}

static int next_tsv(struct records *records, struct record *record)
{
    uint8_t *line;
    size_t len;
    int r = next_line(records, &line, &len);
    if (r != 0)
        return r;
    if (records->options.is_keys_only)
        return take_key(records, slice_of(line, len), record);
    const uint8_t *tab =
        records->options.is_bytes ? memchr(line, '\t', len) : memrchr(line, '\t', len);
    if (!tab)
        return bad_key(records, slice_of(line, len),
                       "there is no tab: write key, tab, value (--keys-only takes keys alone)");
    r = take_key(records, slice_of(line, (size_t)(tab - line)), record);
    if (r != 0)
        return r;
    return take_value(records, slice_of(tab + 1, (size_t)(line + len - tab) - 1), record);
}

/* The input ends within a record. */
static int bad_end(struct records *records)
{
    size_t len = records->tail - records->head;
    struct slice text = slice_of(records->p + records->head, len);
    records->number++;
    if (records->first_end == NOT_FOUND)
        return bad_key(records, text, "the key does not end with NUL: the input is cut off");
    text.len = records->first_end;
    if (len == records->first_end + 1)
        return bad_key(records, text, "a key without a value (--keys-only takes keys alone)");
    return bad_key(records, text, "the value does not end with NUL: the input is cut off");
}

static int next_nul(struct records *records, struct record *record)
{
    bool is_keys_only = records->options.is_keys_only;
    for (;;) {
        size_t end = find(records, '\0'), len = records->tail - records->head;
        if (end != NOT_FOUND && (is_keys_only || records->first_end != NOT_FOUND)) {
            size_t key_len = is_keys_only ? end : records->first_end;
            records->number++;
            if (end > RECORDS_MAX_BYTES)
                return bad(records, "longer than 64 MiB");
            const uint8_t *p = take(records, end + 1);
            int r = take_key(records, slice_of(p, key_len), record);
            if (r != 0 || is_keys_only)
                return r;
            return take_value(records, slice_of(p + key_len + 1, end - key_len - 1), record);
        }
        if (end != NOT_FOUND) {
            records->first_end = end;
            continue;
        }
        if (records->is_at_end)
            return len == 0 ? RECORDS_END : bad_end(records);
        if (len > RECORDS_MAX_BYTES) {
            records->number++;
            return bad(records, "longer than 64 MiB");
        }
        int r = read_more(records);
        if (r != 0)
            return r;
    }
}

static int next_jsonl(struct records *records, struct record *record)
{
    uint8_t *line;
    size_t len;
    int r = next_line(records, &line, &len);
    if (r != 0)
        return r;
    r = records_json_parse(line, len, &records->options, record, &records->fault);
    if (r == 0 && record->key.len > RECORDS_MAX_KEY_BYTES)
        return bad_decoded_key(records, record->key, "the key is longer than 1 MiB");
    return r;
}

void records_init(struct records *records, int fd, const struct records_options *options)
{
    *records = (struct records){.fd = fd, .options = *options, .first_end = NOT_FOUND};
}

void records_deinit(struct records *records)
{
    free(records->p);
    records->p = NULL;
}

int records_next(struct records *records, struct record *ret_record)
{
    ret_record->value = 0;
    ret_record->bytes = slice_of("", 0);
    switch (records->options.format) {
    case RECORDS_TSV:
        return next_tsv(records, ret_record);
    case RECORDS_NUL:
        return next_nul(records, ret_record);
    default:
        return next_jsonl(records, ret_record);
    }
}

const char *records_noun(enum records_format format)
{
    return format == RECORDS_NUL ? "record" : "line";
}

bool records_parse_u64(struct slice text, uint64_t *ret_value)
{
    uint64_t value = 0;
    for (size_t i = 0; i < text.len; i++) {
        unsigned digit = text.p[i] - (unsigned)'0';
        if (digit > 9)
            return false;
        if (value >= UINT64_MAX / 10 && (value > UINT64_MAX / 10 || digit > UINT64_MAX % 10))
            return false;
        value = 10 * value + digit;
    }
    *ret_value = value;
    return text.len > 0;
}
