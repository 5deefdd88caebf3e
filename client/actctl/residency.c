/*
 * residency: how much of a file is in memory, and where.
 *
 * The kernel is asked before the file is opened as a tree, since that reads some of its pages.
 */
#include "client/actctl/output.h"
#include "client/actctl/progress.h"
#include "client/actctl/signals.h"
#include "client/actctl/text.h"

#include <act/pages.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* Of --json. */
#define REGIONS_MAX 1024

/* Of the map: what fits on a screen beside something else. */
#define MAP_LINES    8
#define CELLS_NORMAL 64 /* in a line, where there is no terminal */
#define CELLS_MIN    8
#define CELLS_MAX    400

#define UNKNOWN                                                                                   \
    "how much of it is in memory is unknown: the kernel tells only the file's owner and who may " \
    "write it: ask as one of them, or as root"

struct residency {
    const struct actctl *ctl;
    const char *path;
    int fd; /* owned; -1: not open */
    uint64_t size_bytes;
    struct act_pages *pages; /* owned; NULL: unknown */
    struct progress progress;
};

/* A cell of the map. */
struct shade {
    const char *utf8, *ascii, *meaning;
};

enum shade_index { SHADE_NONE, SHADE_FIRST, SHADE_ALL = 4, N_SHADES };

static const struct shade shades[N_SHADES] = {
    {" ", " ", "nothing"},
    {"\u2591", ".", "under a third"},
    {"\u2592", ":", "under two thirds"},
    {"\u2593", "+", "not all"},
    {"\u2588", "#", "all"},
};

static uint64_t resident_bytes(const struct residency *residency)
{
    uint64_t n = act_pages_total(residency->pages), size = residency->size_bytes;
    uint64_t bytes = act_pages_count(residency->pages) * ACT_PAGE_BYTES;
    /* The last page may be a part of one. */
    return act_pages_has(residency->pages, n - 1) ? bytes - (n * ACT_PAGE_BYTES - size) : bytes;
}

/* How many pages a part of the file has, if there are to be so many parts at most. */
static uint64_t pages_of_part(const struct residency *residency, uint64_t most)
{
    return (act_pages_total(residency->pages) + most - 1) / most;
}

/* How many cells a line of the map has: with the bars at its ends it fits into the terminal. */
static uint64_t n_cells(void)
{
    struct winsize size;
    uint64_t columns = 0;
    const char *said = getenv("COLUMNS");
    if (!said || !records_parse_u64(slice_of_str(said), &columns))
        columns = 0;
    if (columns == 0 && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0)
        columns = size.ws_col;
    uint64_t cells = columns == 0 ? CELLS_NORMAL : columns > CELLS_MIN + 2 ? columns - 2 : 0;
    return cells < CELLS_MIN ? CELLS_MIN : cells < CELLS_MAX ? cells : CELLS_MAX;
}

static const char *text_of(const struct residency *residency, unsigned shade)
{
    bool is_utf8 = residency->ctl->text_flags & TEXT_UTF8;
    return is_utf8 ? shades[shade].utf8 : shades[shade].ascii;
}

/* Nothing and all are shown only where they are meant. */
static unsigned shade_of(uint64_t n, uint64_t of)
{
    if (n == 0)
        return SHADE_NONE;
    return n == of ? SHADE_ALL : SHADE_FIRST + (unsigned)(3 * n / of);
}

static void print_map(const struct residency *residency)
{
    uint64_t line = n_cells(), total = act_pages_total(residency->pages), at = 0;
    uint64_t part = pages_of_part(residency, line * MAP_LINES);
    char n[TEXT_GROUPED_SIZE];
    while (at < total) {
        putchar('|');
        for (uint64_t i = 0; i < line && at < total; i++, at += part) {
            uint64_t of = total - at < part ? total - at : part;
            uint64_t count = act_pages_count_in(residency->pages, at, of);
            fputs(text_of(residency, shade_of(count, of)), stdout);
        }
        puts("|");
    }
    printf("A character: %s bytes. In memory:", text_grouped(part * ACT_PAGE_BYTES, n));
    for (unsigned i = 0; i < N_SHADES; i++)
        printf("%s '%s' %s", i > 0 ? "," : "", text_of(residency, i), shades[i].meaning);
    putchar('\n');
}

/* "12.3%"; 0% and 100% only where they are meant. */
static void print_per_cent(uint64_t n, uint64_t of)
{
    double per_cent = 100 * (double)n / (double)of;
    if (n > 0 && per_cent < 0.1)
        fputs("under 0.1%", stdout);
    else if (n < of && per_cent > 99.9)
        fputs("over 99.9%", stdout);
    else
        printf("%.1f%%", per_cent);
}

static void print_text(const struct residency *residency)
{
    char n[TEXT_GROUPED_SIZE];
    uint64_t bytes = resident_bytes(residency);
    text_write(stdout, slice_of_str(residency->path), residency->ctl->text_flags);
    printf(": %s bytes, ", text_grouped(residency->size_bytes, n));
    printf("%s of them in memory (", text_grouped(bytes, n));
    print_per_cent(bytes, residency->size_bytes);
    puts("), as the kernel says (mincore)");
    print_map(residency);
}

static void add(struct json_object *json, const char *name, struct json_object *value)
{
    json_object_object_add(json, name, value);
}

/* What is not known is null. why: NULL, or the reason. */
static void print_json(const struct residency *residency, const char *why)
{
    struct json_object *json = json_object_new_object(), *regions = NULL;
    const struct act_pages *pages = residency->pages;
    enum act_pages_source source = pages ? ACT_PAGES_MINCORE : ACT_PAGES_UNKNOWN;
    uint64_t total = pages ? act_pages_total(pages) : 0;
    uint64_t part = pages ? pages_of_part(residency, REGIONS_MAX) : 0;
    if (pages)
        regions = json_object_new_array();
    for (uint64_t at = 0; at < total; at += part)
        json_object_array_add(regions, output_json_u64(act_pages_count_in(pages, at, part)));
    add(json, "file", output_json_bytes(slice_of_str(residency->path)));
    add(json, "size_bytes", output_json_u64(residency->size_bytes));
    add(json, "resident_bytes", pages ? output_json_u64(resident_bytes(residency)) : NULL);
    add(json, "page_bytes", output_json_u64(ACT_PAGE_BYTES));
    add(json, "region_bytes", pages ? output_json_u64(part * ACT_PAGE_BYTES) : NULL);
    add(json, "source", output_json_text(act_pages_source_name(source)));
    add(json, "regions", regions);
    if (why)
        add(json, "error", output_json_text(why));
    output_json(json);
}

static bool on_asked(void *context, uint64_t done, uint64_t total)
{
    struct progress *progress = context;
    if (progress_is_due(progress))
        progress_show(progress, done, total, "asking the kernel");
    return true;
}

/* Asks; pages stays NULL where the kernel would not tell the truth. 0 or -errno. */
static int ask(struct residency *residency)
{
    struct act_pages *pages;
    if (act_probe_find(residency->fd) != ACT_PROBE_MINCORE)
        return 0;
    int r = act_pages_new(residency->size_bytes, &pages);
    if (r < 0)
        return r;
    progress_init(&residency->progress, residency->path);
    r = act_pages_add_resident(pages, residency->fd, on_asked, &residency->progress);
    progress_clear(&residency->progress);
    if (r == 0)
        residency->pages = pages;
    else
        act_pages_free(pages);
    return r;
}

/* Is it a tree? Only of one anything is said. */
static int check_tree(struct actctl *ctl, const struct residency *residency)
{
    struct act_error error;
    signals_guard(ctl, residency->path);
    int r = act_open_fd(residency->fd, residency->path, &ctl->tree, &error);
    if (r == 0)
        return STATUS_FOUND;
    return session_error(ctl, r < 0 ? STATUS_FAILED : STATUS_FAULTS, "%s", error.message);
}

static int tell(struct actctl *ctl, const struct residency *residency)
{
    if (ctl->is_json)
        print_json(residency, residency->pages ? NULL : UNKNOWN);
    else if (residency->pages)
        print_text(residency);
    if (residency->pages)
        return STATUS_FOUND;
    return session_error(ctl, STATUS_FAILED, "%s: " UNKNOWN, residency->path);
}

int command_residency(struct actctl *ctl, char **args, size_t n_args)
{
    (void)n_args;
    struct residency residency = {.ctl = ctl, .path = args[0]};
    struct stat st;
    /* As the library opens it: what is no file must not hang it, and is refused there. */
    residency.fd = open(args[0], O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (residency.fd < 0 || fstat(residency.fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        if (residency.fd >= 0)
            close(residency.fd);
        return session_open_file(ctl, args[0], NULL);
    }
    residency.size_bytes = (uint64_t)st.st_size;
    int r = ask(&residency), status = check_tree(ctl, &residency);
    if (status == STATUS_FOUND && r < 0)
        status =
            session_error(ctl, STATUS_FAILED, "%s: the kernel does not tell what is in memory: %s",
                          args[0], strerror(-r));
    else if (status == STATUS_FOUND)
        status = tell(ctl, &residency);
    act_pages_free(residency.pages);
    close(residency.fd);
    return status;
}
