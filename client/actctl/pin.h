/*
 * pin: questions about a key that libactc has no typed call for, pinned to a generation if --pin
 * says so. (The typed calls are pinned by session_open.)
 */
#pragma once

#include "client/actctl/actctl.h"

/* actc_send_key for a method that takes options behind a prefix, and its results. */
int pin_send_prefix(const struct actctl *ctl, const char *method, struct slice prefix,
                    uint32_t *ret_call, struct actc_error *ret_error);

/* The same for a method that takes options behind a list of keys only. */
int pin_send_key(const struct actctl *ctl, const char *method, struct slice key, uint32_t *ret_call,
                 struct actc_error *ret_error);

/* actc_wait for a call of pin_send_key. *ret_result: what the server says of the key, in
 * *ret_reply, which the caller owns. Results as actc_wait. */
int pin_wait_key(const struct actctl *ctl, const char *method, uint32_t call,
                 struct actc_reply **ret_reply, const msgpack_object **ret_result,
                 struct actc_error *ret_error);
