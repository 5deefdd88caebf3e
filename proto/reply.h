/*
 * reply: one response, encoded straight into the connection's output.
 *
 *     reply_begin   [1, msgid, nil,
 *     reply_*                       result      exactly one value
 *     reply_end                           ]     or the reply is taken back whole
 *
 * The output may run full in the middle: what follows is then dropped, and reply_end says so and
 * leaves the output as it was at reply_begin. reply_error may come at any time after reply_begin
 * instead of reply_end: it takes back what was written and encodes [1, msgid, error, nil].
 */
#pragma once

#include "base/buf.h"
#include "proto/errors.h"

#include <msgpack.h>
#include <stdarg.h>

/* How a connection wants its replies (the method hello). */
struct reply_mode {
    bool errors_as_string; /* "NAME: text" instead of [number, "NAME: text"] */
    bool u64_as_string;    /* values as decimal strings */
};

struct reply {
    struct buf *out; /* borrowed */
    size_t mark;     /* buf_len(out) at reply_begin */
    size_t max_bytes;
    uint32_t msgid;
    struct reply_mode mode;
    int failure; /* sticky: an outcome of reply_end, or -ENOMEM */
    msgpack_packer packer;
};

/* Outcomes of reply_end and reply_error; apart from those of tree and methods, which meet them in
 * one switch. */
#define REPLY_TOO_LARGE 30 /* longer than max_bytes */
#define REPLY_NO_ROOM   31 /* the buffer pool is used up */

void reply_begin(struct reply *reply, struct buf *out, uint32_t msgid, struct reply_mode mode,
                 size_t max_bytes);

void reply_nil(struct reply *reply);
void reply_bool(struct reply *reply, bool value);
/* A count, size or offset: always an integer. */
void reply_number(struct reply *reply, uint64_t number);
/* A u64 whose every bit matters (a value, an identity): an integer, or decimal text in that mode.
 */
void reply_u64(struct reply *reply, uint64_t value);
void reply_text(struct reply *reply, const char *text);
void reply_bytes(struct reply *reply, struct slice bytes);
/* A byte string of len bytes, which the caller copies to where this leads. NULL: there is no room
 * for them. */
uint8_t *reply_bytes_room(struct reply *reply, size_t len);
void reply_array(struct reply *reply, size_t n_elements);
void reply_map(struct reply *reply, size_t n_pairs);

/* A byte string of two parts. */
void reply_bytes_of(struct reply *reply, struct slice first, struct slice second);

/* An array whose number of elements is not known before they are there: at most UINT32_MAX. What
 * reply_open_array gives is for reply_close_array; between them stand n_elements values. */
size_t reply_open_array(struct reply *reply);
void reply_close_array(struct reply *reply, size_t at, size_t n_elements);

/* How long it is so far, and back to a length that it had. A failure since then is forgotten. */
size_t reply_len(const struct reply *reply);
void reply_cut(struct reply *reply, size_t len);

/* So many bytes of it. Valid until it grows. */
struct slice reply_part(const struct reply *reply, size_t at, size_t len);

/* Goes on with a reply that was begun in another output, and is now all that is in out. */
void reply_resume(struct reply *reply, struct buf *out, uint32_t msgid, struct reply_mode mode,
                  size_t max_bytes);

/* Instead of reply_begin, for what nobody has asked for just now: [2, method, and then one value,
 * the array of parameters. */
void reply_begin_notification(struct reply *reply, struct buf *out, const char *method,
                              struct reply_mode mode, size_t max_bytes);

/* 0, an outcome above, or -ENOMEM. */
int reply_end(struct reply *reply);

/* text: for people; the reply carries "NAME: text". 0, an outcome above, or -ENOMEM. */
int reply_error(struct reply *reply, enum proto_error error, const char *text);
