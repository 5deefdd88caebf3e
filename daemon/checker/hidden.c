/*
 * hidden: see hidden.h.
 */
#include "daemon/checker/hidden.h"

#include "base/fd.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

/* More than the mounts of most systems; those of the sandbox may be cut off beyond it, which only
 * costs the hint. */
#define MOUNTS_BYTES (256 * 1024)

static bool is_below(const char *path, const char *folder)
{
    size_t len = strlen(folder);
    return strncmp(path, folder, len) == 0 && path[len] == '/';
}

/* ProtectHome= puts a folder there that nobody may enter. */
static bool is_closed(const char *root, const char *folder)
{
    char path[PATH_MAX];
    struct stat st;
    snprintf(path, sizeof path, "%s%s", root, folder);
    return stat(path, &st) == 0 && (st.st_mode & 0777) == 0;
}

/* PrivateTmp= mounts a folder of that name. */
static bool has_private_tmp(const char *root)
{
    static char mounts[MOUNTS_BYTES]; /* too much for a stack; asked once, by a process that ends */
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/proc/self/mountinfo", root);
    return fd_read_file(path, mounts, sizeof mounts) > 0 && strstr(mounts, "/systemd-private-");
}

const char *hidden_reason(const char *root, const char *path)
{
    static const char *const homes[] = {"/home", "/root", "/run/user"};
    for (size_t i = 0; i < sizeof homes / sizeof *homes; i++)
        if (is_below(path, homes[i]) && is_closed(root, homes[i]))
            return "the service sees nothing below /home and /root (ProtectHome=): put the file "
                   "below /var/lib/actd, and set tree.path to it";
    if ((is_below(path, "/tmp") || is_below(path, "/var/tmp")) && has_private_tmp(root))
        return "the service has a /tmp of its own (PrivateTmp=): put the file below /var/lib/actd, "
               "and set tree.path to it";
    return NULL;
}
