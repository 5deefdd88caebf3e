/*
 * consistent: what must hold between get, exists and node on any file whatever, whole or damaged.
 *
 * Each check gives NULL, or what is wrong, as static text.
 */
#pragma once

#include "act/act.h"
#include "base/slice.h"

/* One key: the three agree, and its position agrees with the one before it. */
const char *consistent_at(const struct act *tree, struct slice key);

/* Walks down from the root along the children that node tells, at most max_positions positions and
 * max_depth bytes deep, and checks each position and that each child that is told is there. */
const char *consistent_below_root(const struct act *tree, size_t max_positions, size_t max_depth);

/* Two trees over the same bytes: get and node of key end alike, with the same results. */
const char *consistent_between(const struct act *a, const struct act *b, struct slice key);
