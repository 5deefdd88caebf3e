/*
 * temporary: see temporary.h.
 */
#include "daemon/temporary.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/statvfs.h>

void temporary_begin(struct temporary *temporary)
{
    struct statvfs fs;
    *temporary = (struct temporary){.directory = getenv("TMPDIR")};
    if (!temporary->directory || !*temporary->directory)
        temporary->directory = "/tmp";
    if (statvfs(temporary->directory, &fs) == 0)
        temporary->bytes = (uint64_t)fs.f_bavail * fs.f_frsize / 2;
    if (getrlimit(RLIMIT_FSIZE, &temporary->before) < 0)
        temporary->before.rlim_cur = temporary->before.rlim_max = RLIM_INFINITY;
    (void)signal(SIGXFSZ, SIG_IGN);
    temporary_limit(temporary);
}

void temporary_unlimit(const struct temporary *temporary)
{
    (void)setrlimit(RLIMIT_FSIZE, &temporary->before);
}

void temporary_limit(const struct temporary *temporary)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_FSIZE, &limit) < 0 || limit.rlim_cur <= temporary->bytes)
        return;
    limit.rlim_cur = temporary->bytes;
    (void)setrlimit(RLIMIT_FSIZE, &limit);
}
