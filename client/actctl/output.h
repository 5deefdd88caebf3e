/*
 * output: keys and results, as text for people and as JSON for programs.
 *
 * Everything that came from elsewhere is escaped in text (text_write). In JSON numbers keep all 64
 * bits, and bytes that are not UTF-8 are {"hex": "..."}.
 */
#pragma once

#include "client/actctl/actctl.h"

#include <json.h>
#include <stdio.h>

/* A key as text or, with --hex, in hex. */
void output_key(const struct actctl *ctl, FILE *file, struct slice key);

/* A byte that a key goes on with, as a key; a space is \x20. */
void output_byte(const struct actctl *ctl, uint8_t byte);

/* The value of a key as text; NULL, none: "-". No newline. */
void output_value(const struct actctl *ctl, FILE *file, const struct actc_value *value);

/* The answer about a key: its value, behind the key where there are several; in JSON both. NULL:
 * there is none. */
void output_answer(const struct actctl *ctl, struct slice key, const struct actc_value *value,
                   bool is_of_several);

/* A line of an entry, as output_answer; with --keys-only without its value. */
void output_entry(const struct actctl *ctl, const struct actc_entry *entry);

/* A result of any type as text: a scalar as it is, nil as "-", a list or map as JSON. No newline.
 */
void output_result(const struct actctl *ctl, FILE *file, const msgpack_object *result);

/* A map as lines "section.name value", aligned. */
void output_map(const struct actctl *ctl, const msgpack_object *map);

/* Objects are owned by the caller, and NULL is JSON's null. */
struct json_object *output_json_key(const struct actctl *ctl, struct slice key);
struct json_object *output_json_bytes(struct slice bytes);
struct json_object *output_json_text(const char *text);
struct json_object *output_json_u64(uint64_t value);
struct json_object *output_json_bool(bool value);
struct json_object *output_json_value(const struct actc_value *value);
struct json_object *output_json_result(const msgpack_object *result);

/* {"key": key} for more to be added to. */
struct json_object *output_json_entry(const struct actctl *ctl, struct slice key);

/* Prints json on a line of its own and frees it. */
void output_json(struct json_object *json);

/* The same without ending the line. */
void output_json_part(struct json_object *json);

/* Takes an object of objects, of scalars and lists of them: prints them as output_map does, or as
 * JSON, and frees it. Their names are ours: printable. */
void output_facts(const struct actctl *ctl, struct json_object *json);
