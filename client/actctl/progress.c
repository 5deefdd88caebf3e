/*
 * progress: see progress.h.
 */
#include "client/actctl/progress.h"

#include "base/clock.h"
#include "client/actctl/text.h"

#include <stdarg.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define INTERVAL_MS 250

/* A line that wraps could not be erased. */
static int columns(void)
{
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
        return 79;
    return size.ws_col - 1;
}

/* "42%, 1:05 left" */
static void tell_part(const struct progress *progress, uint64_t done, uint64_t total, char *text,
                      size_t size)
{
    *text = '\0';
    if (total == 0 || done == 0)
        return;
    double part = done < total ? (double)done / (double)total : 1;
    uint64_t left_s = (uint64_t)(progress_phase_seconds(progress) * (1 - part) / part + 0.5);
    snprintf(text, size, ", %d%%, %d:%02d left", (int)(100 * part), (int)(left_s / 60 % 100000),
             (int)(left_s % 60));
}

void progress_init(struct progress *progress, const char *path)
{
    uint64_t now_ms = clock_ms();
    const char *slash = strrchr(path, '/');
    *progress = (struct progress){.is_on = isatty(STDERR_FILENO), .start_ms = now_ms};
    progress->phase_ms = now_ms;
    progress->due_ms = now_ms + INTERVAL_MS;
    FILE *file = fmemopen(progress->name, sizeof progress->name - 1, "w");
    if (file) {
        text_write(file, slice_of_str(slash && slash[1] ? slash + 1 : path), 0);
        fclose(file);
    }
}

void progress_begin_phase(struct progress *progress)
{
    progress->phase_ms = clock_ms();
}

bool progress_is_due(const struct progress *progress)
{
    return progress->is_on && clock_ms() >= progress->due_ms;
}

void progress_show(struct progress *progress, uint64_t done, uint64_t total, const char *format,
                   ...)
{
    char what[128], part[64], line[300];
    va_list args;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    tell_part(progress, done, total, part, sizeof part);
    snprintf(line, sizeof line, "%s: %s%s", progress->name, what, part);
    fprintf(stderr, "\r\x1b[K%.*s", columns(), line);
    fflush(stderr);
    progress->is_shown = true;
    progress->due_ms = clock_ms() + INTERVAL_MS;
}

void progress_clear(struct progress *progress)
{
    if (progress->is_shown) {
        fputs("\r\x1b[K", stderr);
        fflush(stderr);
    }
    progress->is_shown = false;
}

double progress_seconds(const struct progress *progress)
{
    return (double)(clock_ms() - progress->start_ms) / 1000;
}

double progress_phase_seconds(const struct progress *progress)
{
    return (double)(clock_ms() - progress->phase_ms) / 1000;
}

uint64_t progress_rate(const struct progress *progress, uint64_t n)
{
    double seconds = progress_phase_seconds(progress);
    return (uint64_t)((double)n / (seconds > 0 ? seconds : 1));
}
