/*
 * memory_room: see memory_room.h.
 */
#include "base/memory_room.h"

#include "base/fd.h"

#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>

#define FILE_BYTES 16384 /* memory.stat and meminfo take 2 KB */

/* A number of decimal digits. What is too large is as good as no limit. */
static bool parse(const char *text, uint64_t *ret)
{
    if (*text < '0' || *text > '9')
        return false;
    *ret = strtoull(text, NULL, 10);
    return true;
}

/* The number behind a name and blanks at the beginning of a line. */
static bool find(const char *text, const char *name, uint64_t *ret)
{
    size_t len = strlen(name);
    for (const char *line = text; line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncmp(line, name, len) == 0 && line[len] == ' ')
            return parse(line + len + strspn(line + len, " "), ret);
    }
    return false;
}

static uint64_t machine_room(const char *root)
{
    char path[PATH_MAX], text[FILE_BYTES];
    uint64_t kib;
    snprintf(path, sizeof path, "%s/proc/meminfo", root);
    if (fd_read_file(path, text, sizeof text) < 0 || !find(text, "MemAvailable:", &kib) ||
        kib > UINT64_MAX / 1024)
        return UINT64_MAX;
    return kib * 1024;
}

/* What the file in that folder says. False: "max", no such file, or nothing that is a number. */
static bool read_number(const char *folder, const char *name, uint64_t *ret)
{
    char path[PATH_MAX + 32], text[64];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return fd_read_file(path, text, sizeof text) >= 0 && parse(text, ret);
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Where a version of cgroups has what. */
struct version {
    const char *folder, *limits[2], *used;
    const char *given_back[3]; /* in memory.stat */
};

static const struct version first = {"/sys/fs/cgroup/memory",
                                     {"memory.limit_in_bytes"},
                                     "memory.usage_in_bytes",
                                     {"total_active_file", "total_inactive_file", NULL}};

/* Beyond memory.high the kernel slows the group down. */
static const struct version second = {"/sys/fs/cgroup",
                                      {"memory.max", "memory.high"},
                                      "memory.current",
                                      {"active_file", "inactive_file", "slab_reclaimable"}};

/* What is left of one group's limits. */
static uint64_t group_room(const struct version *version, const char *folder)
{
    char path[PATH_MAX + 32], text[FILE_BYTES];
    uint64_t max = UINT64_MAX, used, n;
    for (size_t i = 0; i < sizeof version->limits / sizeof *version->limits; i++)
        if (version->limits[i] && read_number(folder, version->limits[i], &n))
            max = least(max, n);
    if (max == UINT64_MAX || !read_number(folder, version->used, &used))
        return max;
    snprintf(path, sizeof path, "%s/memory.stat", folder);
    if (fd_read_file(path, text, sizeof text) >= 0)
        for (size_t i = 0; i < sizeof version->given_back / sizeof *version->given_back; i++)
            if (version->given_back[i] && find(text, version->given_back[i], &n))
                used -= least(used, n);
    return max - least(max, used);
}

/* That group and those above it. It is cut. */
static uint64_t groups_room(const char *root, const struct version *version, char *group)
{
    char folder[2 * PATH_MAX];
    uint64_t room = UINT64_MAX;
    /* Of another group's namespace: only what begins here can be seen. */
    if (strstr(group, "/.."))
        *group = '\0';
    for (char *slash = group + strlen(group); slash; slash = strrchr(group, '/')) {
        *slash = '\0';
        snprintf(folder, sizeof folder, "%s%s%s", root, version->folder, group);
        if (strlen(folder) < PATH_MAX)
            room = least(room, group_room(version, folder));
    }
    return room;
}

/* Is memory one of "cpu,memory"? */
static bool has_memory(char *controllers)
{
    char *rest = NULL;
    for (char *name = strtok_r(controllers, ",", &rest); name; name = strtok_r(NULL, ",", &rest))
        if (strcmp(name, "memory") == 0)
            return true;
    return false;
}

/* A line of /proc/self/cgroup, "number:controllers:/path"; of the second version "0::/path". */
static uint64_t line_room(const char *root, char *line)
{
    char *controllers = strchr(line, ':');
    char *group = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!group || group[1] != '/')
        return UINT64_MAX;
    *group++ = '\0';
    if (*++controllers == '\0')
        return groups_room(root, &second, group);
    return has_memory(controllers) ? groups_room(root, &first, group) : UINT64_MAX;
}

static uint64_t cgroups_room(const char *root)
{
    char path[PATH_MAX], text[FILE_BYTES], *rest = NULL;
    uint64_t room = UINT64_MAX;
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    if (fd_read_file(path, text, sizeof text) < 0)
        return UINT64_MAX;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
        room = least(room, line_room(root, line));
    return room;
}

uint64_t memory_room_below(const char *root)
{
    return least(machine_room(root), cgroups_room(root));
}

/* Where a sandbox hides /proc/meminfo (ProcSubset=pid). It counts no pages of files, which could be
 * given back: rather too little than a file that pushes itself out. */
static uint64_t free_bytes(void)
{
    struct sysinfo info;
    return sysinfo(&info) == 0 ? (uint64_t)info.freeram * info.mem_unit : UINT64_MAX;
}

uint64_t memory_room_bytes(void)
{
    uint64_t room = machine_room("");
    return least(room == UINT64_MAX ? free_bytes() : room, cgroups_room(""));
}
