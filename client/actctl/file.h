/*
 * file: lookups in ctl->tree, the file of --file, with the answers in the form that a server's
 * have.
 *
 * Each function tells what fails, and about which key. Values of a tree of byte strings are bin.
 */
#pragma once

#include "client/actctl/actctl.h"

/* nil where the key has no value. STATUS_FOUND or STATUS_FAILED. */
int file_get(const struct actctl *ctl, struct slice key, msgpack_object *ret_value);

/* Has the key a value? STATUS_FOUND (it is known) or STATUS_FAILED. */
int file_exists(const struct actctl *ctl, struct slice key, bool *ret_has);

/* STATUS_FOUND, STATUS_NOT_FOUND (untold: there is no such position) or STATUS_FAILED.
 * *ret_value stays as it is where the position has no value. */
int file_node(const struct actctl *ctl, struct slice key, struct actc_node *ret_node,
              msgpack_object *ret_value);
