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

/* What is left of one group's limits. */
static uint64_t group_room(const char *folder)
{
    static const char *const given_back[] = {"active_file", "inactive_file", "slab_reclaimable"};
    char path[PATH_MAX + 32], text[FILE_BYTES];
    uint64_t max = UINT64_MAX, high = UINT64_MAX, used, n;
    (void)read_number(folder, "memory.max", &max);
    /* Beyond it the kernel slows the group down. */
    (void)read_number(folder, "memory.high", &high);
    max = least(max, high);
    if (max == UINT64_MAX || !read_number(folder, "memory.current", &used))
        return max;
    snprintf(path, sizeof path, "%s/memory.stat", folder);
    if (fd_read_file(path, text, sizeof text) >= 0)
        for (size_t i = 0; i < sizeof given_back / sizeof *given_back; i++)
            if (find(text, given_back[i], &n))
                used -= least(used, n);
    return max - least(max, used);
}

/* The path of the process's group, as it sees it: the line "0::PATH". */
static bool group_path(const char *root, char *ret_path, size_t size)
{
    char path[PATH_MAX], text[FILE_BYTES];
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    if (fd_read_file(path, text, sizeof text) < 0)
        return false;
    const char *line = strncmp(text, "0::", 3) == 0 ? text : strstr(text, "\n0::");
    if (!line)
        return false;
    line += *line == '\n';
    size_t len = strcspn(line + 3, "\n");
    if (len == 0 || len >= size || line[3] != '/')
        return false;
    memcpy(ret_path, line + 3, len);
    ret_path[len] = '\0';
    return true;
}

static uint64_t groups_room(const char *root)
{
    char group[PATH_MAX], folder[2 * PATH_MAX];
    uint64_t room = UINT64_MAX;
    if (!group_path(root, group, sizeof group))
        return UINT64_MAX;
    /* Of another group's namespace: only what begins here can be seen. */
    if (strstr(group, "/.."))
        strcpy(group, "/");
    for (char *slash = group + strlen(group); slash; slash = strrchr(group, '/')) {
        *slash = '\0';
        snprintf(folder, sizeof folder, "%s/sys/fs/cgroup%s", root, group);
        if (strlen(folder) < PATH_MAX)
            room = least(room, group_room(folder));
    }
    return room;
}

uint64_t memory_room_below(const char *root)
{
    return least(machine_room(root), groups_room(root));
}

uint64_t memory_room_bytes(void)
{
    return memory_room_below("");
}
