/*
 * notify: what systemd is told (sd_notify). Without a manager (no NOTIFY_SOCKET) all is a no-op.
 */
#pragma once

#include <stdint.h>

/* READY=1 with a STATUS= sentence. */
void notify_ready(const char *status);
void notify_status(const char *status);
/* The same while it is not ready yet, and will be or tell more within that time: whatever the
 * manager has as a limit for the start, it waits so long. */
void notify_starting(const char *status, uint64_t within_ms);
void notify_stopping(void);
