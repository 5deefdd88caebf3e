/*
 * frame: finds where a message ends, and bounds it, before anything decodes it.
 *
 * A skim over the MessagePack tokens, no allocation: it stops where the input stops and resumes
 * there, so a message that comes byte by byte costs no more than one that comes whole. Counts are
 * held against the size that is still allowed, so five bytes that claim four billion elements are
 * refused at once. What the skim lets through is well-formed MessagePack, at most max_bytes long.
 */
#pragma once

#include "base/slice.h"

/* Nesting that a message may have: the message itself is level 1, its parameters level 2. */
#define FRAME_MAX_DEPTH 8

/* Outcomes of frame_next. */
#define FRAME_MORE      1 /* not complete yet: input is shorter than max_bytes, so read on */
#define FRAME_BROKEN    2 /* not a MessagePack-RPC message: where the next one begins is unknown */
#define FRAME_TOO_LARGE 3 /* longer than max_bytes: likewise */
#define FRAME_TOO_DEEP  4 /* complete, but nested too deep to decode; *ret_message is set */
#define FRAME_TOO_MANY  5 /* complete, but of more than max_elements values; likewise */

enum frame_kind { FRAME_REQUEST = 0, FRAME_RESPONSE = 1, FRAME_NOTIFICATION = 2 };

struct frame {
    size_t max_bytes;
    uint64_t max_elements; /* MessagePack values, the message itself not counted */

    /* The message being skimmed. */
    size_t at;                               /* next token, bytes from the message's start */
    uint64_t owed;                           /* elements still to come, over all levels */
    unsigned depth;                          /* open containers; counted up to FRAME_MAX_DEPTH */
    uint64_t owed_at_level[FRAME_MAX_DEPTH]; /* elements still to come in each open container */
    unsigned n_top;                          /* elements of the outermost array seen so far */
    bool is_too_deep;
    uint64_t n_elements; /* seen so far */

    /* Found on the way; valid also after the outcomes above but FRAME_MORE. */
    bool has_msgid; /* it is a request, and msgid is its id */
    uint8_t kind;   /* enum frame_kind, valid once n_top >= 1 */
    uint32_t msgid;
    const char *reason; /* after FRAME_BROKEN and FRAME_TOO_LARGE: static text */
};

void frame_init(struct frame *frame, size_t max_bytes, uint64_t max_elements);

/*
 * input    begins at a message's first byte; after FRAME_MORE the same bytes and more of them.
 *
 * 0: *ret_message is the first message of input, and the frame is ready for the next one, which
 * begins behind it. Or an outcome above; after FRAME_BROKEN and FRAME_TOO_LARGE only frame_init
 * makes the frame usable again.
 */
int frame_next(struct frame *frame, struct slice input, struct slice *ret_message);
