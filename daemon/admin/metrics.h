/*
 * metrics: a statistics report in the Prometheus text format 0.0.4, for /metrics.
 */
#pragma once

#include "daemon/stats.h"

/* *ret is owned by the caller (free). 0 or -ENOMEM. */
int metrics_render(const struct board *board, char **ret);
