/*
 * reply: a response's bytes, decoded.
 */
#pragma once

#include "actc/actc.h"
#include "base/slice.h"

/* bytes: one message of len bytes that frame_next let through, from malloc; taken on success only.
 * 0, ACTC_BAD_REPLY (not [1, msgid, error, result]) or -ENOMEM. */
int actc_reply_new(uint8_t *bytes, size_t len, struct actc_reply **ret_reply);

/* A list of replies: takes one more, and frees all. An empty one is NULL. */
void actc_replies_add(struct actc_reply **list, struct actc_reply *reply);
void actc_replies_free(struct actc_reply **list);

/* The error that the reply is, or NULL: it is a result. Lives as long as the reply. */
const msgpack_object *actc_reply_error(const struct actc_reply *reply);

/* The number of an error, as actc_error.number, and its text. Borrowed from error. */
uint32_t actc_error_number(const msgpack_object *error, struct slice *ret_text);
