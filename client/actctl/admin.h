/*
 * admin: a request to actd's admin endpoint, HTTP over its Unix socket, by libcurl.
 *
 * libcurl is loaded when it is needed: to link it would make every start of actctl 8 ms slower,
 * five times what it takes.
 */
#pragma once

#include "client/actctl/actctl.h"

#include <json.h>

struct admin_reply {
    long status;              /* HTTP's */
    struct json_object *json; /* owned: json_object_put; an object, or NULL: the body is none */
};

/*
 * POST, without a body, to path on ctl->admin.
 *
 * timeout_ms  for all of it, from 1 on; 0: none. (Connecting has ctl->timeout_ms.)
 * doing       what the server does meanwhile, for a terminal that waits
 *
 * STATUS_FOUND, whatever the reply says; STATUS_USAGE (an address that is none) or STATUS_FAILED
 * after it was told.
 */
int admin_post(const struct actctl *ctl, const char *path, uint64_t timeout_ms, const char *doing,
               struct admin_reply *ret_reply);
