/*
 * trail: see trail.h.
 */
#include "daemon/supervisor/trail.h"

#include "base/fd.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

/* Names that come, go and change hands; files that are complete, or touched; and the directory's
 * own end. Not each write: many come, and the last one is a IN_CLOSE_WRITE. */
#define EVENTS                                                                          \
    (IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CLOSE_WRITE | IN_ATTRIB | \
     IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR)

/* A walk along a path. */
struct walk {
    char at[PATH_MAX];   /* a directory that no symbolic link leads to */
    char rest[PATH_MAX]; /* what is to be followed from there */
    unsigned n_links;
};

static bool has(const struct trail *trail, int watch)
{
    for (unsigned i = 0; i < trail->n; i++)
        if (trail->watches[i] == watch)
            return true;
    return false;
}

static void watch(struct trail *trail, const char *directory)
{
    /* The same number for the same directory, whatever its name. */
    int added = inotify_add_watch(trail->fd, directory, EVENTS);
    if (added >= 0 && !has(trail, added) &&
        trail->n < sizeof trail->watches / sizeof *trail->watches)
        trail->watches[trail->n++] = added;
}

/* Puts what the link at next says in front of the rest. False: it leads too far. */
static bool enter_link(struct walk *walk, const char *next, const char *behind)
{
    char target[PATH_MAX], rest[PATH_MAX];
    ssize_t len = readlink(next, target, sizeof target - 1);
    if (len <= 0 || ++walk->n_links > TRAIL_LINKS_MAX)
        return false;
    target[len] = '\0';
    int n = snprintf(rest, sizeof rest, "%s/%s", target, behind);
    if (n < 0 || (size_t)n >= sizeof rest)
        return false;
    memcpy(walk->rest, rest, (size_t)n + 1);
    if (target[0] == '/')
        memcpy(walk->at, "/", 2);
    return true;
}

/* One component further. False: that was the last one, or there is none. */
static bool step(struct trail *trail, struct walk *walk)
{
    struct stat st;
    char next[PATH_MAX];
    const char *component = walk->rest + strspn(walk->rest, "/");
    size_t len = strcspn(component, "/");
    const char *behind = component + len + strspn(component + len, "/");
    int n = snprintf(next, sizeof next, "%s/%.*s", walk->at, (int)len, component);
    if (len == 0 || n < 0 || (size_t)n >= sizeof next)
        return false;
    if (lstat(next, &st) < 0) {
        watch(trail, walk->at);
        return false;
    }
    if (S_ISLNK(st.st_mode)) {
        watch(trail, walk->at);
        return enter_link(walk, next, behind);
    }
    if (*behind == '\0') {
        watch(trail, walk->at);
        return false;
    }
    memcpy(walk->at, next, (size_t)n + 1);
    memmove(walk->rest, behind, strlen(behind) + 1);
    return true;
}

void trail_open(struct trail *trail)
{
    *trail = (struct trail){.fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC)};
}

void trail_close(struct trail *trail)
{
    fd_closep(&trail->fd);
    trail->n = 0;
}

void trail_follow(struct trail *trail, const char *path)
{
    struct trail before = *trail;
    struct walk walk = {.at = "."};
    if (trail->fd < 0 || strlen(path) >= sizeof walk.rest)
        return;
    memcpy(walk.rest, path, strlen(path) + 1);
    if (path[0] == '/')
        walk.at[0] = '/';
    trail->n = 0;
    while (step(trail, &walk))
        ;
    for (unsigned i = 0; i < before.n; i++)
        if (!has(trail, before.watches[i]))
            (void)inotify_rm_watch(trail->fd, before.watches[i]);
}

void trail_drain(struct trail *trail)
{
    /* It is asked at least as often as that many events come on a busy day; what is left makes
     * itself heard again. */
    char events[16 * 1024];
    if (trail->fd >= 0)
        (void)!read(trail->fd, events, sizeof events);
}
