/*
 * watcher: tells the loop when another file lies at a path, or the file there has changed, and that
 * has rested for a while.
 *
 * A thread of its own looks, since looking may block: on a slow disk, or for ever on a network file
 * system whose server is gone. What it compares is device, inode, size and time of change with
 * those of what was tried last, so that `touch` is a change, and a file that is away for a moment
 * and comes back is none. inotify makes it quick; a look every half second makes it certain.
 */
#pragma once

#include "daemon/generation.h"

#include <uv.h>

struct watch;

struct watcher {
    struct watch *watch; /* shared with the thread; NULL: not started, or stopped */
    uv_async_t changed;  /* from the thread to the loop */
    void (*on_change)(void *context);
    void *context; /* borrowed: the owner's */
};

/*
 * Starts the thread, which does nothing before watcher_enable. on_change is called in the loop,
 * once for each state of the path that is not the one tried last and has rested for settle_ms;
 * where nothing is, there is nothing to tell. 0 or -errno.
 */
int watcher_start(struct watcher *watcher, uv_loop_t *loop, const char *path, uint64_t settle_ms,
                  void (*on_change)(void *context), void *context);

/* Disabled, it looks at nothing, and on_change is not called any more. */
void watcher_enable(struct watcher *watcher, bool is_enabled);

/* Device, inode, size and times are of what was tried last, whatever came of it; inode 0: path
 * could not be opened. A path that is in another state is told again, even if it was told before.
 */
void watcher_tried(struct watcher *watcher, const struct generation *generation);

/* What was tried last has been changed in place since, or cannot be read. From now on, until
 * something is tried, ctime counts too: `cp -p` over a file that was truncated gives it the size
 * and mtime that it had before. */
void watcher_spoilt(struct watcher *watcher);

/* What is at the path could not be tried, for a reason that may lie elsewhere: memory, descriptors
 * or processes were short. It is told again after a while, if it is still there. */
void watcher_again(struct watcher *watcher);

/* Ends the thread; one that a dead disk holds is left behind, and ends when that lets it go. The
 * handle's memory goes with the loop's next turn. Idempotent. */
void watcher_stop(struct watcher *watcher);
