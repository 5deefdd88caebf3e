/*
 * records_json: a line of jsonl.
 *
 * Not json-c: even its strict mode drops the first of two equal members, makes U+FFFD of half a
 * surrogate pair, and cuts 2^64 to 2^64-1. Here each is an error, since it would be another key or
 * value than the one that was meant.
 */
#pragma once

#include "client/actctl/records.h"

/*
 * Parses one object. Texts are unescaped in place: line is written over, and the record's slices
 * point into it.
 *
 * 0, or RECORDS_BAD with *ret_fault.
 */
int records_json_parse(uint8_t *line, size_t len, const struct records_options *options,
                       struct record *ret_record, struct records_fault *ret_fault);

/* The most bytes that a byte string may take when it is written. */
size_t records_json_room(size_t len);

/* Writes a byte string as JSON: text if it is UTF-8 and need not be hex. Result: behind it. */
uint8_t *records_json_write(uint8_t *to, struct slice bytes, bool is_hex);
