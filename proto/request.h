/*
 * request: one message, decoded.
 *
 * msgpack-c decodes into a zone that is sized once for the largest legal message and kept, so a
 * request allocates nothing. A request borrows: it lives until the next request_decode, and its
 * byte strings point into the message.
 */
#pragma once

#include "base/slice.h"
#include <msgpack.h>

struct request {
    uint32_t msgid;
    struct slice method;          /* str or bin */
    const msgpack_object *params; /* n_params of them */
    uint32_t n_params;
    size_t bytes; /* of the message */
};

struct request_decoder {
    msgpack_zone zone;  /* owned */
    uint64_t n_decoded; /* so far: tells whether a request still lives */
    const char *reason; /* after REQUEST_BAD: static text */
};

/* Outcomes of request_decode. */
#define REQUEST_BAD      1 /* to be answered with BAD_REQUEST; ret->msgid is set */
#define REQUEST_NOTIFIED 2 /* a notification, whatever it says: nothing is answered */
#define REQUEST_REPLIED  3 /* a response to a request that nobody made */

/* The largest message that frame_next lets through, in bytes and in elements. 0 or -ENOMEM. */
int request_decoder_init(struct request_decoder *decoder, size_t max_bytes, uint64_t max_elements);
void request_decoder_deinit(struct request_decoder *decoder);

/* message: from frame_next. 0, an outcome above, or -ENOMEM. */
int request_decode(struct request_decoder *decoder, struct slice message, struct request *ret);

/* The bytes of a str or bin; false for anything else. */
bool param_bytes(const msgpack_object *param, struct slice *ret);

/* In a map of options, the value under name (str or bin), or NULL. */
const msgpack_object *param_option(const msgpack_object *map, const char *name);
