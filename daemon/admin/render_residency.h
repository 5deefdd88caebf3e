/*
 * render_residency: which pages of the file are in memory, as text.
 */
#pragma once

#include "daemon/supervisor/census.h"

/* One JSON object, for /residency; null for what is not known. *ret is owned by the caller (free).
 * 0 or -ENOMEM. */
int render_residency(const struct census_view *view, char **ret);
