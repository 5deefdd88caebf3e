/*
 * result: what the methods' results say, read from MessagePack. (actc_read_value,
 * actc_read_entry and actc_read_generation, which are public, are here too.)
 *
 * Whatever is not of the type that the method promises is ACTC_BAD_REPLY: whatever answers, it is
 * not our actd. Byte strings are views into the result.
 */
#pragma once

#include "client/client.h"

/* A bool: 0 (true), ACTC_MISS or ACTC_BAD_REPLY. */
int result_bool(const msgpack_object *result);

/* A map {exists, value, children}: 0, ACTC_MISS or ACTC_BAD_REPLY. */
int result_node(const msgpack_object *result, struct actc_node *ret_node);

/* A map {values, errors} of n keys. *ret_has_bytes: there are byte strings among the values. 0 or
 * ACTC_BAD_REPLY, which leaves some set. */
int result_list(const msgpack_object *result, size_t n, struct actc_result *ret_results,
                bool *ret_has_bytes);

/* The value about the only key of a list: of a map {values, errors} of one key. *ret_value: NULL
 * where the key got an error, which is then *ret_error. 0 or ACTC_BAD_REPLY. */
int result_only(const msgpack_object *result, const msgpack_object **ret_value,
                const msgpack_object **ret_error);

/* A map {count, exact}: 0 or ACTC_BAD_REPLY. */
int result_count(const msgpack_object *result, uint64_t *ret_count, bool *ret_is_exact);

/* A map {entries, cursor...}. *ret_cursor: its p is NULL where the page is the last one. 0 or
 * ACTC_BAD_REPLY. */
int result_page(const msgpack_object *result, msgpack_object_array *ret_entries,
                struct slice *ret_cursor);

/* An entry of a page whose scan asks for keys only: 0 or ACTC_BAD_REPLY. */
int result_key(const msgpack_object *object, struct actc_entry *ret_entry);

/* Tells that a method's result is bad. ACTC_BAD_REPLY. */
int result_bad(const struct actc *client, const char *method, struct actc_error *ret_error);
