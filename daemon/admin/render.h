/*
 * render: what is told as JSON.
 */
#pragma once

#include "daemon/stats.h"

/* One JSON object, for /stats. *ret is owned by the caller (free). 0 or -ENOMEM. */
int render_json(const struct board *board, char **ret);

/* The answer to POST /reload, JSON. text: why the file was refused. Likewise. */
int render_reload(const struct board *board, bool is_accepted, const char *text, char **ret);

/* How far the warm-up is that runs or ran last, JSON. Likewise. */
int render_warm(const struct board *board, char **ret);

/* The same of the verification. Likewise. */
int render_verify(const struct board *board, char **ret);

/* The slow requests of all workers, newest first, JSON. Likewise. */
int render_slow(const struct board *board, char **ret);

/* What they have in common; of json-c's. Takes over root. 0 or -ENOMEM. */
struct json_object;
int render_print(struct json_object *root, int flags, char **ret);
/* A number with three digits behind the point, and no more than there are. */
struct json_object *render_thousandths(uint64_t value);
