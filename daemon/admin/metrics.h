/*
 * metrics: a statistics report in the Prometheus text format 0.0.4, for /metrics.
 */
#pragma once

#include "daemon/stats.h"

#include <stdio.h>

/* *ret is owned by the caller (free). 0 or -ENOMEM. */
int metrics_render(const struct board *board, char **ret);

/* Its parts. type: as Prometheus calls it. */
void metrics_print_head(FILE *out, const char *metric, const char *type, const char *help);
void metrics_print_seconds(FILE *out, uint64_t ns);
/* Of the calling process, by the names that Prometheus' own libraries give. */
void metrics_print_process(FILE *out);
