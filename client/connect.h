/*
 * connect: from an address to a connected socket, within a time.
 */
#pragma once

#include "actc/actc.h"
#include "base/address.h"

/* ret_fd: non-blocking, owned by the caller. 0, ACTC_TIMEOUT or -errno. */
int connect_to(const struct address *server, uint32_t timeout_ms, int *ret_fd,
               struct actc_error *ret_error);
