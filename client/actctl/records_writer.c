/*
 * records_writer: see records_writer.h.
 */
#include "client/actctl/records_writer.h"

#include "client/actctl/records_json.h"
#include "client/actctl/text.h"

#include <errno.h>
#include <stdlib.h>

#define BUFFER_BYTES ((size_t)256 * 1024)

/* What stands around the texts of a record, in any format. */
#define AROUND_BYTES 64

static bool has_byte(struct slice text, int byte)
{
    return text.len > 0 && memchr(text.p, byte, text.len);
}

/* Why the format cannot carry the record; NULL: it can. */
static const char *check_tsv(const struct records_options *options, const struct record *record)
{
    bool has_bytes = options->is_bytes && !options->is_keys_only;
    if (has_byte(record->key, '\n'))
        return "a newline in the key, which tsv cannot carry: try --hex, --format=nul or jsonl";
    if (has_bytes && has_byte(record->key, '\t'))
        return "a tab in the key, which tsv with byte values cannot carry: try --hex, "
               "--format=nul or jsonl";
    if (has_bytes && has_byte(record->bytes, '\n'))
        return "a newline in the value, which tsv cannot carry: try --hex, --format=nul or jsonl";
    return NULL;
}

static const char *check_nul(const struct records_options *options, const struct record *record)
{
    bool has_bytes = options->is_bytes && !options->is_keys_only;
    if (has_byte(record->key, '\0'))
        return "a NUL in the key, which --format=nul cannot carry: try --hex or --format=jsonl";
    if (has_bytes && has_byte(record->bytes, '\0'))
        return "a NUL in the value, which --format=nul cannot carry: try --hex or --format=jsonl";
    return NULL;
}

static const char *check(const struct records_options *options, const struct record *record)
{
    if (options->is_hex || options->format == RECORDS_JSONL)
        return NULL;
    return options->format == RECORDS_TSV ? check_tsv(options, record) : check_nul(options, record);
}

static int reserve(struct records_writer *writer, size_t len)
{
    if (writer->size - writer->used >= len)
        return 0;
    int r = records_flush(writer);
    if (r != 0 || writer->size >= len)
        return r;
    uint8_t *p = realloc(writer->p, len);
    if (!p)
        return -ENOMEM;
    writer->p = p;
    writer->size = len;
    return 0;
}

static uint8_t *put_u64(uint8_t *to, uint64_t value)
{
    uint8_t digits[20], *p = digits + sizeof digits;
    do
        *--p = (uint8_t)('0' + value % 10);
    while ((value /= 10) != 0);
    size_t len = (size_t)(digits + sizeof digits - p);
    memcpy(to, p, len);
    return to + len;
}

static uint8_t *put_bytes(uint8_t *to, struct slice bytes, bool is_hex)
{
    if (is_hex)
        return text_put_hex(to, bytes);
    if (bytes.len > 0)
        memcpy(to, bytes.p, bytes.len);
    return to + bytes.len;
}

static uint8_t *put_str(uint8_t *to, const char *text)
{
    return put_bytes(to, slice_of_str(text), false);
}

static uint8_t *put_plain(uint8_t *to, const struct records_options *options,
                          const struct record *record)
{
    bool is_nul = options->format == RECORDS_NUL;
    to = put_bytes(to, record->key, options->is_hex);
    if (!options->is_keys_only) {
        *to++ = is_nul ? '\0' : '\t';
        to = options->is_bytes ? put_bytes(to, record->bytes, options->is_hex)
                               : put_u64(to, record->value);
    }
    *to++ = is_nul ? '\0' : '\n';
    return to;
}

static uint8_t *put_jsonl(uint8_t *to, const struct records_options *options,
                          const struct record *record)
{
    to = put_str(to, "{\"key\":");
    to = records_json_write(to, record->key, options->is_hex);
    if (!options->is_keys_only) {
        to = put_str(to, ",\"value\":");
        to = options->is_bytes ? records_json_write(to, record->bytes, options->is_hex)
                               : put_u64(to, record->value);
    }
    return put_str(to, "}\n");
}

int records_writer_init(struct records_writer *writer, FILE *file,
                        const struct records_options *options)
{
    *writer = (struct records_writer){.file = file, .options = *options, .size = BUFFER_BYTES};
    writer->p = malloc(writer->size);
    return writer->p ? 0 : -ENOMEM;
}

void records_writer_deinit(struct records_writer *writer)
{
    free(writer->p);
    writer->p = NULL;
}

int records_write(struct records_writer *writer, const struct record *record,
                  const char **ret_reason)
{
    const struct records_options *options = &writer->options;
    const char *reason = check(options, record);
    if (reason) {
        *ret_reason = reason;
        return RECORDS_BAD;
    }
    size_t len = record->key.len + record->bytes.len;
    bool is_jsonl = options->format == RECORDS_JSONL;
    int r = reserve(writer, AROUND_BYTES + (is_jsonl ? records_json_room(len) : 2 * len));
    if (r != 0)
        return r;
    uint8_t *to = writer->p + writer->used;
    to = is_jsonl ? put_jsonl(to, options, record) : put_plain(to, options, record);
    writer->used = (size_t)(to - writer->p);
    return 0;
}

int records_flush(struct records_writer *writer)
{
    size_t used = writer->used;
    writer->used = 0;
    errno = 0;
    if (used > 0 && fwrite(writer->p, 1, used, writer->file) != used)
        return errno ? -errno : -EIO;
    return 0;
}
