/*
 * wire: an independent reader of MessagePack, for what a server has sent. It reads one value after
 * the other, in the order in which they are wanted.
 *
 * The first thing that is not as wanted is kept; what is read from then on is nothing.
 */
#pragma once

#include "base/slice.h"

struct wire {
    struct slice rest; /* borrowed: what is not read yet */
    const char *wrong; /* NULL, or what is not as wanted: static text */
};

enum wire_type {
    WIRE_NIL,
    WIRE_BOOL,
    WIRE_NUMBER, /* not negative */
    WIRE_TEXT,
    WIRE_BYTES,
    WIRE_ARRAY,
    WIRE_MAP,
    WIRE_NOTHING /* the end, or what no server of ours sends */
};

struct wire wire_of(struct slice bytes);

/* Of the next value. */
enum wire_type wire_type(const struct wire *wire);

void wire_nil(struct wire *wire);
bool wire_bool(struct wire *wire);
uint64_t wire_number(struct wire *wire);
/* Printable ASCII: the server sends no other text. */
struct slice wire_text(struct wire *wire);
struct slice wire_bytes(struct wire *wire);
/* The number of elements, or of pairs, which follow. */
size_t wire_array(struct wire *wire);
size_t wire_map(struct wire *wire);

/* One value with all that is in it. */
void wire_skip(struct wire *wire);
/* That text; an array or a map of so many. */
void wire_want_text(struct wire *wire, const char *text);
void wire_want_array(struct wire *wire, size_t n);
void wire_want_map(struct wire *wire, size_t n);
void wire_want_end(struct wire *wire);

/* Unless that is right, this is what is wrong. */
void wire_want(struct wire *wire, bool is_right, const char *wrong);
