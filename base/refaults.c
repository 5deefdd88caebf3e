/*
 * refaults: see refaults.h.
 *
 * Memory is counted by the second version of cgroups or by the first, never by both; a cgroup that
 * does not count leaves it to the one above.
 */
#include "base/refaults.h"

#include "base/fd.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* More than memory.stat and vmstat have. */
#define STAT_BYTES 16384

const struct refaults_places refaults_kernel = {"/proc/self/cgroup", "/sys/fs/cgroup",
                                                "/proc/vmstat"};

/* A line "name number". */
static bool find_number(const char *text, const char *name, uint64_t *ret)
{
    size_t len = strlen(name);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, len) == 0 && line[len] == ' ') {
            *ret = strtoull(line + len, NULL, 10);
            return true;
        }
    }
    return false;
}

static bool read_number(const char *path, uint64_t *ret)
{
    char text[STAT_BYTES];
    if (fd_read_file(path, text, sizeof text) < 0)
        return false;
    /* The first version has a count without the cgroups below, and one with them. */
    return find_number(text, "total_workingset_refault_file", ret) ||
           find_number(text, "workingset_refault_file", ret);
}

/* That cgroup, or the next above it that counts. */
static bool read_cgroup(const char *mounted, const char *cgroup, uint64_t *ret)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s%s", mounted, cgroup);
    if (n < 0 || (size_t)n >= sizeof path)
        return false;
    for (size_t len = (size_t)n, top = strlen(mounted);; len--) {
        while (len > top && path[len - 1] == '/')
            len--;
        snprintf(path + len, sizeof path - len, "/memory.stat");
        if (read_number(path, ret))
            return true;
        while (len > top && path[len - 1] != '/')
            len--;
        if (len <= top)
            return false;
    }
}

/* Is memory one of "cpu,memory"? */
static bool has_memory(const char *controllers)
{
    static const char name[] = "memory";
    size_t len = sizeof name - 1;
    for (const char *at = controllers; at; at = strchr(at, ',')) {
        at += *at == ',';
        if (strncmp(at, name, len) == 0 && (at[len] == ',' || at[len] == '\0'))
            return true;
    }
    return false;
}

/* A line of /proc/self/cgroup: "number:controllers:/path"; of the second version "0::/path". */
static bool read_line(const char *cgroups, char *line, uint64_t *ret)
{
    char mounted[PATH_MAX];
    char *controllers = strchr(line, ':');
    char *path = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!path || path[1] != '/')
        return false;
    *path++ = '\0';
    controllers++;
    if (has_memory(controllers)) {
        snprintf(mounted, sizeof mounted, "%s/memory", cgroups);
        return read_cgroup(mounted, path, ret);
    }
    if (*controllers != '\0')
        return false;
    /* Beside the first version it has a folder of its own. */
    snprintf(mounted, sizeof mounted, "%s/unified", cgroups);
    return read_cgroup(mounted, path, ret) || read_cgroup(cgroups, path, ret);
}

uint64_t refaults_read(const struct refaults_places *places)
{
    char text[STAT_BYTES], *rest = NULL;
    uint64_t value;
    if (fd_read_file(places->own_cgroups, text, sizeof text) > 0)
        for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
            if (read_line(places->cgroups, line, &value))
                return value;
    return read_number(places->vmstat, &value) ? value : REFAULTS_UNKNOWN;
}
