/*
 * metrics_process: see metrics.h. What every program that Prometheus looks at tells of itself; here
 * that is the supervisor, and never linear in what it has mapped.
 */
#include "base/fd.h"
#include "daemon/admin/metrics.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

struct process_stat {
    uint64_t start_ticks; /* since the machine was started */
    uint64_t virtual_bytes, resident_bytes;
};

static uint64_t ns_of(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Fields 22 to 24 of /proc/self/stat; the name in parentheses may hold anything. */
static bool read_stat(struct process_stat *ret)
{
    char text[1024];
    const char *rest =
        fd_read_file("/proc/self/stat", text, sizeof text) > 0 ? strrchr(text, ')') : NULL;
    for (unsigned field = 2; rest && field < 22; field++)
        rest = strchr(rest + 1, ' ');
    if (!rest || sscanf(rest, " %" SCNu64 " %" SCNu64 " %" SCNu64, &ret->start_ticks,
                        &ret->virtual_bytes, &ret->resident_bytes) != 3)
        return false;
    ret->resident_bytes *= (uint64_t)sysconf(_SC_PAGESIZE);
    return true;
}

/* The clock of the day may be set: what was told stays. */
static uint64_t start_ns(uint64_t start_ticks)
{
    static uint64_t told;
    uint64_t second = 1000000000, ticks_per_s = (uint64_t)sysconf(_SC_CLK_TCK);
    if (told == 0)
        told = ns_of(CLOCK_REALTIME) - ns_of(CLOCK_BOOTTIME) + start_ticks * (second / ticks_per_s);
    return told;
}

/* 0: unknown. */
static unsigned count_fds(void)
{
    unsigned n = 0;
    DIR *directory = opendir("/proc/self/fd");
    const struct dirent *entry;
    while (directory && (entry = readdir(directory)))
        n += entry->d_name[0] != '.';
    if (directory)
        closedir(directory);
    return n > 0 ? n - 1 : 0; /* without the directory's own */
}

static void print_number(FILE *out, const char *metric, const char *help, uint64_t value)
{
    metrics_print_head(out, metric, "gauge", help);
    fprintf(out, "%s %" PRIu64 "\n", metric, value);
}

static void print_time(FILE *out, const char *metric, const char *type, const char *help,
                       uint64_t ns)
{
    metrics_print_head(out, metric, type, help);
    fprintf(out, "%s ", metric);
    metrics_print_seconds(out, ns);
    fputc('\n', out);
}

void metrics_print_process(FILE *out)
{
    struct process_stat stat;
    struct rlimit limit;
    unsigned n_fds = count_fds();
    print_time(out, "process_cpu_seconds_total", "counter",
               "User and system time of the supervisor.", ns_of(CLOCK_PROCESS_CPUTIME_ID));
    if (n_fds > 0)
        print_number(out, "process_open_fds", "Files that the supervisor has open.", n_fds);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        print_number(out, "process_max_fds", "Files that it may have open.", limit.rlim_cur);
    if (!read_stat(&stat))
        return;
    print_number(out, "process_virtual_memory_bytes", "Address space of the supervisor.",
                 stat.virtual_bytes);
    print_number(out, "process_resident_memory_bytes", "Resident set of the supervisor.",
                 stat.resident_bytes);
    print_time(out, "process_start_time_seconds", "gauge",
               "When the supervisor was started, in seconds since 1970.",
               start_ns(stat.start_ticks));
}
