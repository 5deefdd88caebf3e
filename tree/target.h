/*
 * target: a file that gets its name when it is complete, or never.
 *
 * Until then it has none (O_TMPFILE): a process that dies leaves nothing behind. Where the file
 * system cannot do that it has a temporary one beside the final name; and for a moment, where it
 * stands in for an old one. What a kill leaves in that moment the next one removes.
 */
#pragma once

#include "act/act.h"

#include <sys/types.h>

struct target {
    char *path;         /* owned: where it will be; symbolic links are followed */
    const char *name;   /* the last part of path */
    int directory_fd;   /* owned */
    int fd;             /* owned */
    char temporary[32]; /* its name meanwhile, in the directory; "": it has none */
    bool has_old;       /* a file is there now: its mode and owner are kept */
    mode_t mode;
    uid_t uid;
    gid_t gid;
};

/* 0, ACT_NOT_REGULAR or -errno, with error filled in. */
int target_init(struct target *target, const char *path, struct act_error *error);

/* The path of the file's temporary name; *owned* by the caller. NULL: it has none, or no memory. */
char *target_temporary(const struct target *target);

/* Removes what was not published. */
void target_deinit(struct target *target);

/* To the disk, and then under its name. 0 or -errno. */
int target_publish(struct target *target);
