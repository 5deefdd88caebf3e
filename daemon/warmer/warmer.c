/*
 * warmer: see warmer.h.
 */
#include "daemon/warmer/warmer.h"

#include "act/warm.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/memory_room.h"
#include "daemon/background.h"
#include "daemon/config.h"
#include "daemon/control.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define EXIT_USAGE 2

#define PROGRESS_MS 250

/* Between two tries, while the supervisor has not read what was sent before. */
#define ANSWER_RETRY_MS 10

struct warmer {
    struct config config;
    struct generation generation;
    enum warmup_mode mode;
    uint64_t max_bytes; /* 0: no limit */
    int fd;             /* owned: an open file of our own, since read-ahead belongs to it */
    uint64_t sent_ms;   /* clock_ms: the last progress; 0: none */
    struct act_warm_progress progress;
};

static void say(enum control_type type, uint64_t number, const char *text)
{
    struct control_message message = {.type = type, .number = number};
    snprintf(message.text, sizeof message.text, "%s", text);
    while (control_send(WARMER_CONTROL_FD, &message, -1) == CONTROL_FULL)
        (void)poll(NULL, 0, ANSWER_RETRY_MS);
}

__attribute__((format(printf, 1, 2))) static void fail(const char *format, ...)
{
    char text[CONTROL_TEXT_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    say(CONTROL_NOT_WARM, 0, text);
}

static void send_progress(struct warmer *warmer)
{
    struct control_message message = {.type = CONTROL_PROGRESS,
                                      .number = warmer->progress.done_bytes};
    message.generation.size_bytes = warmer->progress.total_bytes;
    warmer->sent_ms = clock_ms();
    /* Who is too busy to read it needs none. */
    (void)control_send(WARMER_CONTROL_FD, &message, -1);
}

/* Cancelling ends the process: background_begin. */
static bool on_progress(void *context, const struct act_warm_progress *progress)
{
    struct warmer *warmer = context;
    warmer->progress = *progress;
    if (warmer->sent_ms == 0 || clock_ms() - warmer->sent_ms >= PROGRESS_MS)
        send_progress(warmer);
    return true;
}

/* A low rate means long waits; the supervisor wants signs of life. */
static bool on_wait(void *context, unsigned ms)
{
    struct warmer *warmer = context;
    for (uint64_t now = clock_ms(), end = now + ms; now < end; now = clock_ms()) {
        uint64_t left = end - now;
        (void)poll(NULL, 0, (int)(left < PROGRESS_MS ? left : PROGRESS_MS));
        (void)on_progress(warmer, &warmer->progress);
    }
    return true;
}

/* 0: no limit. */
static uint64_t smaller_limit(uint64_t a, uint64_t b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

static int run(struct warmer *warmer, enum act_warm_mode mode, const struct act *tree,
               const struct act_pages *pages)
{
    const struct act_warm_options options = {
        .mode = mode,
        .rate_bytes_per_s = warmer->config.warmup_rate_bytes_per_s,
        .max_bytes = warmer->max_bytes,
        .pages = pages,
        .context = warmer,
        .on_progress = on_progress,
        .on_wait = on_wait,
    };
    return act_warm(warmer->fd, warmer->generation.size_bytes, tree, &options, &warmer->progress);
}

/* Reading only finds that the file ends early. */
static bool is_cut(const struct warmer *warmer)
{
    struct stat st;
    return fstat(warmer->fd, &st) == 0 && (uint64_t)st.st_size < warmer->generation.size_bytes;
}

static void finish(struct warmer *warmer, int r)
{
    send_progress(warmer);
    if (is_cut(warmer))
        fail("%.400s was truncated while it was read", warmer->config.tree_path);
    else if (r == 0)
        say(CONTROL_WARM, 0, "");
    else if (r < 0)
        fail("reading %.400s: %s", warmer->config.tree_path, strerror(-r));
    else
        fail("the tree in %.400s is damaged", warmer->config.tree_path);
}

static void traverse(struct warmer *warmer)
{
    struct act *tree;
    struct act_error error;
    if (act_open_part(warmer->fd, warmer->generation.size_bytes, warmer->config.tree_path, &tree,
                      &error) != 0) {
        fail("%s", error.message);
        return;
    }
    finish(warmer, run(warmer, ACT_WARM_TRAVERSE, tree, NULL));
    act_close(tree);
}

static void restore(struct warmer *warmer)
{
    const char *path = warmer->config.warmup_profile;
    const struct act_profile wanted = {.identity = warmer->generation.identity,
                                       .size_bytes = warmer->generation.size_bytes,
                                       .root_offset = warmer->generation.root_offset};
    struct act_pages *pages;
    struct act_error error = {.message = ""};
    char text[CONTROL_TEXT_BYTES];
    int r = act_profile_read(path, &wanted, NULL, &pages, &error);
    if (r == -ENOENT) {
        snprintf(text, sizeof text, "no profile yet: %.400s; it will be written", path);
        say(CONTROL_NO_PROFILE, 0, text);
    } else if (r != 0) {
        fail("the profile is ignored: %s", error.message);
    } else {
        say(CONTROL_PROFILE, act_pages_count(pages) * ACT_PAGE_BYTES, "");
        finish(warmer, run(warmer, ACT_WARM_PAGES, NULL, pages));
        act_pages_free(pages);
    }
}

static void warm(struct warmer *warmer)
{
    switch (warmer->mode) {
    case WARMUP_WILLNEED:
        finish(warmer, run(warmer, ACT_WARM_WILLNEED, NULL, NULL));
        break;
    case WARMUP_READ:
        finish(warmer, run(warmer, ACT_WARM_READ, NULL, NULL));
        break;
    case WARMUP_TRAVERSE:
        traverse(warmer);
        break;
    default:
        restore(warmer);
    }
}

/* The supervisor has sent it before we were there. False: it is gone. */
static bool hear_generation(struct warmer *warmer)
{
    struct control_message message;
    int passed, r;
    struct pollfd control = {.fd = WARMER_CONTROL_FD, .events = POLLIN};
    while ((r = control_receive(WARMER_CONTROL_FD, &message, &passed)) == CONTROL_EMPTY)
        (void)poll(&control, 1, -1);
    if (r != 0)
        return false;
    fd_closep(&passed);
    warmer->generation = message.generation;
    return message.type == CONTROL_GENERATION;
}

/* The same inode, whatever its path is by now. Not a copy of the descriptor: its read-ahead is
 * theirs who serve. */
static bool open_anew(struct warmer *warmer)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", WARMER_FILE_FD);
    warmer->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (warmer->fd < 0)
        fail("cannot open %.400s once more: %s", warmer->config.tree_path, strerror(errno));
    close(WARMER_FILE_FD);
    return warmer->fd >= 0;
}

static uint64_t room_bytes(void)
{
    uint64_t room = memory_room_bytes();
    return room > ACT_PAGE_BYTES ? room : ACT_PAGE_BYTES; /* 0 would be no limit */
}

static bool parse_mode(const char *name, enum warmup_mode *ret)
{
    for (int i = WARMUP_NONE + 1; warmup_mode_names[i]; i++) {
        if (strcmp(warmup_mode_names[i], name) == 0) {
            *ret = (enum warmup_mode)i;
            return true;
        }
    }
    return false;
}

int warmer_run(const char *mode_name, const char *max_bytes)
{
    struct stat st;
    struct warmer warmer = {.fd = -1, .max_bytes = strtoull(max_bytes, NULL, 10)};
    if (fstat(WARMER_CONTROL_FD, &st) < 0 || !S_ISSOCK(st.st_mode) ||
        !parse_mode(mode_name, &warmer.mode)) {
        log_error("--warmer is for actd itself, which calls it to warm up a file; for people there "
                  "is actctl warm");
        return EXIT_USAGE;
    }
    background_begin(WARMER_CONTROL_FD);
    int r = config_receive(&warmer.config, WARMER_CONFIG_FD);
    if (r != 0) {
        fail("the process that does it got no configuration: %s", strerror(-r));
        return EXIT_USAGE;
    }
    uint64_t limit = warmer.config.warmup_max_bytes;
    warmer.max_bytes = smaller_limit(warmer.max_bytes, limit > 0 ? limit : room_bytes());
    if (hear_generation(&warmer) && open_anew(&warmer))
        warm(&warmer);
    fd_closep(&warmer.fd);
    config_deinit(&warmer.config);
    return EXIT_SUCCESS;
}
