/*
 * probe: a key and its near misses: shortened by a byte, longer by a byte of several values, and
 * with a byte changed at the begin, in the middle and at the end.
 */
#pragma once

#include "bytes.h"

#define PROBE_COUNT 13 /* probe 0 is the key itself */

/* Probe number i of key, in a buffer of exactly its size; *owned* by the caller. */
struct bytes probe_of(struct slice key, unsigned i);
