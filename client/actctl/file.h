/*
 * file: questions to ctl->tree, the file of --file, with the answers in the form that the library
 * gives a server's.
 *
 * Each function tells what fails, and about which key. What an answer points to lives until the
 * next question.
 */
#pragma once

#include "client/actctl/actctl.h"

/* An entry of the tree: key and number are what the tree has. STATUS_FOUND or STATUS_FAILED. */
int file_entry(const struct actctl *ctl, struct slice key, uint64_t number,
               struct actc_entry *ret_entry);

/* The key's own entry; that of the longest key that it begins with; the first one after it; the
 * last one before it. STATUS_FOUND, STATUS_NOT_FOUND (untold) or STATUS_FAILED. */
int file_get(struct actctl *ctl, struct slice key, struct actc_entry *ret_entry);
int file_longest_prefix(struct actctl *ctl, struct slice key, struct actc_entry *ret_entry);
int file_next(struct actctl *ctl, struct slice key, struct actc_entry *ret_entry);
int file_prev(struct actctl *ctl, struct slice key, struct actc_entry *ret_entry);

/* Has the key a value? STATUS_FOUND (it is known) or STATUS_FAILED. */
int file_exists(const struct actctl *ctl, struct slice key, bool *ret_has);

/* STATUS_FOUND, STATUS_NOT_FOUND (untold: there is no such position) or STATUS_FAILED. */
int file_node(const struct actctl *ctl, struct slice key, struct actc_node *ret_node);

/* How many keys begin with prefix. STATUS_FOUND or STATUS_FAILED. */
int file_count(struct actctl *ctl, struct slice prefix, uint64_t *ret_count);

/* ctl->cursor, at the root: made if it is not there yet. STATUS_FOUND or STATUS_FAILED. */
int file_cursor(struct actctl *ctl);

/* Moves ctl->cursor to an entry; *ret_entry has no value with --keys-only. STATUS_FOUND,
 * STATUS_NOT_FOUND (untold: there is none) or STATUS_FAILED. */
int file_move(const struct actctl *ctl, int (*move)(struct act_cursor *),
              struct actc_entry *ret_entry);

/* Tells why ctl->cursor, in the file that is open, has not found the next entry. r is the move's
 * result, and no ACT_MISS. STATUS_FAILED. */
int file_fail_move(const struct actctl *ctl, int r);
