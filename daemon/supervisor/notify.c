/*
 * notify: see notify.h.
 */
#include "daemon/supervisor/notify.h"

#include "base/log.h"

#include <inttypes.h>
#include <string.h>
#include <systemd/sd-daemon.h>

static void report(int result)
{
    if (result < 0)
        log_with(LOG_LEVEL_WARNING, LOG_ERRNO(result), "cannot notify the service manager: %s",
                 strerror(-result));
}

void notify_ready(const char *status)
{
    report(sd_notifyf(0, "READY=1\nSTATUS=%s", status));
}

void notify_status(const char *status)
{
    report(sd_notifyf(0, "STATUS=%s", status));
}

void notify_starting(const char *status, uint64_t within_ms)
{
    report(sd_notifyf(0, "EXTEND_TIMEOUT_USEC=%" PRIu64 "\nSTATUS=%s", within_ms * 1000, status));
}

void notify_stopping(void)
{
    report(sd_notify(0, "STOPPING=1\nSTATUS=stopping: answering what is in flight"));
}
