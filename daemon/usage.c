/*
 * usage: see usage.h.
 */
#include "daemon/usage.h"

#include "base/fd.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* A line "Name:   123 kB" of /proc/PID/status, in bytes. */
static uint64_t status_bytes(const char *status, const char *name)
{
    const char *line = strstr(status, name);
    if (!line)
        return USAGE_UNKNOWN;
    return strtoull(line + strlen(name), NULL, 10) * 1024;
}

static void read_memory(pid_t pid, uint64_t usage[N_USAGE])
{
    char path[64], status[8192];
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    if (fd_read_file(path, status, sizeof status) < 0)
        status[0] = '\0';
    usage[USAGE_RSS] = status_bytes(status, "\nVmRSS:");
    usage[USAGE_RSS_FILE] = status_bytes(status, "\nRssFile:");
    usage[USAGE_RSS_ANON] = status_bytes(status, "\nRssAnon:");
    usage[USAGE_RSS_SHMEM] = status_bytes(status, "\nRssShmem:");
}

/* Fields 10 and 12 of /proc/PID/stat; the name in parentheses may hold anything. */
bool usage_read_faults(pid_t pid, uint64_t *ret_minor, uint64_t *ret_major)
{
    char path[64], text[1024];
    uint64_t minor, major;
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    const char *rest = fd_read_file(path, text, sizeof text) > 0 ? strrchr(text, ')') : NULL;
    if (!rest ||
        sscanf(rest, ") %*c %*d %*d %*d %*d %*d %*u %" SCNu64 " %*u %" SCNu64, &minor, &major) != 2)
        return false;
    *ret_minor = minor;
    *ret_major = major;
    return true;
}

void usage_read(pid_t pid, uint64_t ret[N_USAGE])
{
    ret[USAGE_MINOR_FAULTS] = ret[USAGE_MAJOR_FAULTS] = USAGE_UNKNOWN;
    (void)usage_read_faults(pid, &ret[USAGE_MINOR_FAULTS], &ret[USAGE_MAJOR_FAULTS]);
    read_memory(pid, ret);
}

void usage_read_own(uint64_t ret[N_USAGE])
{
    struct rusage usage;
    ret[USAGE_MINOR_FAULTS] = ret[USAGE_MAJOR_FAULTS] = USAGE_UNKNOWN;
    if (getrusage(RUSAGE_SELF, &usage) == 0) {
        ret[USAGE_MINOR_FAULTS] = (uint64_t)usage.ru_minflt;
        ret[USAGE_MAJOR_FAULTS] = (uint64_t)usage.ru_majflt;
    }
    read_memory(getpid(), ret);
}
