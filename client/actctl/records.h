/*
 * records: keys and values as text, read from a descriptor. (records_writer writes them.)
 *
 *   tsv    key TAB value, a record a line, raw bytes. Of numbers the last tab of the line separates
 *          (a key may hold tabs), of byte strings the first (a value may).
 *   nul    key NUL value NUL; keys only: key NUL, as find -print0 writes.
 *   jsonl  {"key": K, "value": V}, an object a line. A byte string is "text" or {"hex": "00ff"}.
 *
 * What a writer has written, a reader with the same options reads back as the same records. What a
 * format cannot carry is not written. actctl(1) tells the formats byte by byte.
 *
 * The reader reads blocks and parses in them: memory is bounded by the longest record. Nothing
 * here knows of trees.
 */
#pragma once

#include "base/slice.h"

/* The longest record of an input, all its bytes; the longest key of a record. */
#define RECORDS_MAX_BYTES     ((size_t)64 << 20)
#define RECORDS_MAX_KEY_BYTES ((size_t)1 << 20)

enum records_format { RECORDS_TSV, RECORDS_NUL, RECORDS_JSONL };

struct records_options {
    enum records_format format;
    bool is_hex;       /* tsv, nul: keys and byte strings as hex digits; jsonl: written so */
    bool is_bytes;     /* values are byte strings, not numbers */
    bool is_keys_only; /* there are no values */
};

struct record {
    struct slice key;
    uint64_t value;     /* 0 where values are byte strings, or not there */
    struct slice bytes; /* empty where values are numbers, or not there */
};

/* Outcomes. */
#define RECORDS_END 1 /* there are no more */
#define RECORDS_BAD 2 /* this one makes no sense; of a writer: cannot be written */

/* What is wrong with a record of the input. */
struct records_fault {
    const char *reason; /* static, printable; with what can be done about it */
    bool has_key, has_value;
    bool is_decoded;         /* the key's bytes, not its text in the input, which was hex or JSON */
    struct slice key, value; /* as far as they are known; valid until the next call */
};

struct records {
    int fd; /* borrowed */
    struct records_options options;
    uint64_t number;  /* of the record given last, from 1; of tsv and jsonl this is its line */
    uint64_t n_bytes; /* of the input, up to the end of that record */
    struct records_fault fault;

    uint8_t *p; /* owned */
    size_t size;
    size_t head, tail; /* p[head..tail) is read and not given yet */
    size_t n_seen;     /* bytes of it that hold no further end of a field */
    size_t first_end;  /* nul: where its first field ends, SIZE_MAX: not known yet */
    bool is_at_end;
};

void records_init(struct records *records, int fd, const struct records_options *options);
void records_deinit(struct records *records);

/* Views, valid until the next call. 0, RECORDS_END, RECORDS_BAD (see fault; call it no more) or
 * -errno. */
int records_next(struct records *records, struct record *ret_record);

/* What a record is called in messages: "line", or "record" where there are no lines. */
const char *records_noun(enum records_format format);

/* Decimal digits up to 2^64-1, nothing else. Is it one? */
bool records_parse_u64(struct slice text, uint64_t *ret_value);
