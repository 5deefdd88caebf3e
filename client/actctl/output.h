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

/* A result as text: a scalar as it is, nil as "-", a list or map as JSON. No newline. */
void output_value(const struct actctl *ctl, FILE *file, const msgpack_object *value);

/* A map as lines "section.name value", aligned. */
void output_map(const struct actctl *ctl, const msgpack_object *map);

/* Objects are owned by the caller, and NULL is JSON's null. */
struct json_object *output_json_key(const struct actctl *ctl, struct slice key);
struct json_object *output_json_u64(uint64_t value);
struct json_object *output_json_bool(bool value);
struct json_object *output_json_value(const msgpack_object *value);

/* {"key": key} for more to be added to. */
struct json_object *output_json_entry(const struct actctl *ctl, struct slice key);

/* Prints json on a line of its own and frees it. */
void output_json(struct json_object *json);
