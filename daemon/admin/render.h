/*
 * render: a statistics report as text.
 */
#pragma once

#include "daemon/stats.h"

/* One JSON object, for /stats. *ret is owned by the caller (free). 0 or -ENOMEM. */
int render_json(const struct service *service, char **ret);

/* Prometheus text format 0.0.4, for /metrics. Likewise. */
int render_prometheus(const struct service *service, char **ret);
