/*
 * notify: what systemd is told (sd_notify). Without a manager (no NOTIFY_SOCKET) all is a no-op.
 */
#pragma once

/* READY=1 with a STATUS= sentence. */
void notify_ready(const char *status);
void notify_status(const char *status);
void notify_stopping(void);
