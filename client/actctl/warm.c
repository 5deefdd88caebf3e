/*
 * warm: bring a file into memory, without a server.
 *
 * The kernel is asked what is there before the file is opened as a tree, since that reads some of
 * its pages. Without a limit from the command line no more is read than memory has room for: more
 * would only push out what was read before.
 */
#include "base/memory_room.h"
#include "client/actctl/output.h"
#include "client/actctl/progress.h"
#include "client/actctl/signals.h"
#include "client/actctl/text.h"

#include <act/warm.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct warm {
    struct actctl *ctl;
    const char *path;
    int fd; /* owned; -1: not open */
    uint64_t size_bytes;
    bool can_ask;            /* the kernel tells the truth about it */
    uint64_t before, after;  /* pages in memory, if can_ask */
    struct act_pages *pages; /* of --profile, owned; NULL: none */
    bool is_cut;             /* memory has no room for all of it */
    struct act_warm_options options;
    struct act_warm_progress done;
    double seconds;
    struct progress progress;
};

static const char *const modes[] = {[ACT_WARM_WILLNEED] = "willneed",
                                    [ACT_WARM_READ] = "read",
                                    [ACT_WARM_TRAVERSE] = "traverse",
                                    [ACT_WARM_PAGES] = "profile"};

/* How many pages are in memory. A kernel that does not tell is no reason not to go on. */
static uint64_t ask(struct warm *warm)
{
    struct act_pages *pages;
    uint64_t n = 0;
    if (!warm->can_ask || act_pages_new(warm->size_bytes, &pages) != 0) {
        warm->can_ask = false;
        return 0;
    }
    if (act_pages_add_resident(pages, warm->fd, NULL, NULL) == 0)
        n = act_pages_count(pages);
    else
        warm->can_ask = false;
    act_pages_free(pages);
    return n;
}

static double percent(const struct warm *warm, uint64_t pages)
{
    uint64_t all = (warm->size_bytes + ACT_PAGE_BYTES - 1) / ACT_PAGE_BYTES;
    return 100 * (double)pages / (double)(all > 0 ? all : 1);
}

static bool on_progress(void *context, const struct act_warm_progress *progress)
{
    struct warm *warm = context;
    uint64_t done = progress->done_bytes;
    if (progress_is_due(&warm->progress))
        progress_show(&warm->progress, done, progress->total_bytes, "reading, %.1f MB/s",
                      (double)progress_rate(&warm->progress, done) / 1e6);
    return signals_caught() == 0;
}

static bool on_wait(void *context, unsigned ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    (void)context;
    while (signals_caught() == 0 && nanosleep(&t, &t) != 0 && errno == EINTR)
        ;
    return signals_caught() == 0;
}

static void print_limit(const struct warm *warm)
{
    char n[TEXT_GROUPED_SIZE];
    text_write(stdout, slice_of_str(warm->path), warm->ctl->text_flags);
    printf(": not more than %s bytes: memory has no room for all of it; --max-bytes=SIZE takes "
           "another limit\n",
           text_grouped(warm->options.max_bytes, n));
}

static void print_text(const struct warm *warm)
{
    char n[TEXT_GROUPED_SIZE];
    bool is_asked = warm->options.mode == ACT_WARM_WILLNEED;
    if (warm->is_cut)
        print_limit(warm);
    text_write(stdout, slice_of_str(warm->path), warm->ctl->text_flags);
    printf(": %s bytes %s, %.2f s", text_grouped(warm->done.done_bytes, n),
           is_asked ? "asked for" : "read", warm->seconds);
    if (warm->seconds > 0 && !is_asked)
        printf(", %.1f MB/s", (double)warm->done.done_bytes / 1e6 / warm->seconds);
    if (warm->can_ask)
        printf(", in memory %.1f%% -> %.1f%%", percent(warm, warm->before),
               percent(warm, warm->after));
    putchar('\n');
}

static void add(struct json_object *json, const char *name, struct json_object *value)
{
    json_object_object_add(json, name, value);
}

static struct json_object *json_pages(const struct warm *warm, uint64_t pages)
{
    return warm->can_ask ? output_json_u64(pages) : NULL;
}

/* why: it did not come to its end; NULL: it did. */
static void print_json(const struct warm *warm, const char *why)
{
    struct json_object *json = json_object_new_object();
    add(json, "file", output_json_bytes(slice_of_str(warm->path)));
    add(json, "mode", output_json_text(modes[warm->options.mode]));
    add(json, "size_bytes", output_json_u64(warm->size_bytes));
    add(json, "done_bytes", output_json_u64(warm->done.done_bytes));
    add(json, "total_bytes", output_json_u64(warm->done.total_bytes));
    add(json, "max_bytes",
        warm->options.max_bytes > 0 ? output_json_u64(warm->options.max_bytes) : NULL);
    add(json, "is_cut", output_json_bool(warm->is_cut));
    add(json, "seconds", json_object_new_double(warm->seconds));
    add(json, "page_bytes", output_json_u64(ACT_PAGE_BYTES));
    add(json, "resident_pages_before", json_pages(warm, warm->before));
    add(json, "resident_pages_after", json_pages(warm, warm->after));
    if (why)
        add(json, "error", output_json_text(why));
    output_json(json);
}

static const char *why_ended(int r, char *text, size_t size)
{
    if (r == ACT_CORRUPT)
        return "the tree is damaged; what could be reached was read: actctl verify tells "
               "where";
    if (r == -ECANCELED)
        return "interrupted";
    if (r == -EIO)
        snprintf(text, size, "cannot be read: %s: is its disk failing?", strerror(EIO));
    else
        snprintf(text, size, "cannot be read: %s", strerror(-r));
    return text;
}

static int tell(struct warm *warm, int r)
{
    char text[128], n[TEXT_GROUPED_SIZE], total[TEXT_GROUPED_SIZE];
    const char *why = r == 0 ? NULL : why_ended(r, text, sizeof text);
    if (warm->ctl->is_json)
        print_json(warm, why);
    else if (r == 0 || r == ACT_CORRUPT)
        print_text(warm);
    if (r == 0)
        return STATUS_FOUND;
    if (r == ACT_CORRUPT)
        return session_error(warm->ctl, STATUS_FAULTS, "%s: %s", warm->path, why);
    return session_error(warm->ctl, STATUS_FAILED, "%s: %s: after %s of %s bytes", warm->path, why,
                         text_grouped(warm->done.done_bytes, n),
                         text_grouped(warm->done.total_bytes, total));
}

/* --profile: the pages are those of the profile. STATUS_FOUND, or another one after it was told. */
static int take_profile(struct warm *warm)
{
    struct act_info info;
    struct act_error error;
    act_info(warm->ctl->tree, &info);
    struct act_profile wanted = {.size_bytes = info.size_bytes, .root_offset = info.root_offset};
    int r = act_profile_read(warm->ctl->profile, &wanted, NULL, &warm->pages, &error);
    if (r != 0)
        return session_error(warm->ctl, r < 0 ? STATUS_FAILED : STATUS_USAGE, "%s", error.message);
    warm->options.mode = ACT_WARM_PAGES;
    warm->options.pages = warm->pages;
    return STATUS_FOUND;
}

/* Where the command line has no limit, memory has one. */
static void set_limit(struct warm *warm)
{
    uint64_t room = memory_room_bytes(), wanted = warm->size_bytes;
    if (warm->pages)
        wanted = act_pages_count(warm->pages) * ACT_PAGE_BYTES;
    warm->options.max_bytes = warm->ctl->max_bytes;
    if (warm->ctl->max_bytes > 0 || room >= wanted)
        return;
    warm->is_cut = true;
    warm->options.max_bytes = room > 0 ? room : 1; /* less than a page: none */
}

static int run(struct warm *warm)
{
    set_limit(warm);
    signals_catch();
    progress_init(&warm->progress, warm->path);
    int r = act_warm(warm->fd, warm->size_bytes, warm->ctl->tree, &warm->options, &warm->done);
    progress_clear(&warm->progress);
    warm->seconds = progress_seconds(&warm->progress);
    warm->after = ask(warm);
    int status = tell(warm, r);
    if (r == -ECANCELED)
        signals_raise();
    return status;
}

static int open_tree(struct warm *warm)
{
    struct act_error error;
    struct act_info info;
    signals_guard(warm->ctl, warm->path);
    int r = act_open_fd(warm->fd, warm->path, &warm->ctl->tree, &error);
    if (r != 0)
        return session_error(warm->ctl, r < 0 ? STATUS_FAILED : STATUS_FAULTS, "%s", error.message);
    act_info(warm->ctl->tree, &info);
    warm->size_bytes = info.size_bytes; /* a merge may have made it longer since */
    return STATUS_FOUND;
}

int command_warm(struct actctl *ctl, char **args, size_t n_args)
{
    (void)n_args;
    struct warm warm = {.ctl = ctl, .path = args[0]};
    struct stat st;
    warm.options = (struct act_warm_options){.mode = ctl->warm_mode,
                                             .rate_bytes_per_s = ctl->rate_bytes_per_s,
                                             .context = &warm,
                                             .on_progress = on_progress,
                                             .on_wait = on_wait};
    /* As the library opens it: what is no file must not hang it, and is refused there. */
    warm.fd = open(args[0], O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (warm.fd < 0 || fstat(warm.fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        if (warm.fd >= 0)
            close(warm.fd);
        return session_open_file(ctl, args[0], NULL);
    }
    warm.size_bytes = (uint64_t)st.st_size;
    warm.can_ask = act_probe_find(warm.fd) == ACT_PROBE_MINCORE;
    warm.before = ask(&warm);
    int status = open_tree(&warm);
    if (status == STATUS_FOUND && ctl->profile)
        status = take_profile(&warm);
    if (status == STATUS_FOUND)
        status = run(&warm);
    act_pages_free(warm.pages);
    close(warm.fd);
    return status;
}
