/*
 * routes: what there is to ask the admin endpoint for.
 */
#pragma once

#include "daemon/admin/request.h"

/* Has the route's handler answer, or says that there is none. As a handler. */
int routes_run(struct admin_request *request, const char *url, const char *method);
