/*
 * trail: tells when something happens in the directories that decide what a path leads to: that of
 * its last component, and each that holds a symbolic link on the way.
 *
 * It is a hint, for speed: inotify knows nothing of what other hosts do on a network file system,
 * has limits that other programs may have used up, and a directory further up that is renamed is
 * not noticed. Whoever needs to know looks from time to time as well.
 */
#pragma once

/* As many links as the kernel follows. */
#define TRAIL_LINKS_MAX 40

struct trail {
    int fd;                           /* owned; to poll for reading; -1: there are no hints */
    int watches[TRAIL_LINKS_MAX + 1]; /* inotify's; none twice */
    unsigned n;
};

/* Without inotify it is one that never tells anything. */
void trail_open(struct trail *trail);
void trail_close(struct trail *trail);

/* Follows path anew. What happens there after that makes fd readable. */
void trail_follow(struct trail *trail, const char *path);
/* Forgets what has happened. */
void trail_drain(struct trail *trail);
