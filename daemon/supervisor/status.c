/*
 * status: see status.h.
 */
#include "daemon/supervisor/status.h"

#include "base/utf8.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Room for what stands behind a path or a reason. */
#define PATH_SHOWN   "%.700s"
#define REASON_SHOWN "%.500s"

struct line {
    char *text;
    size_t size, len;
};

__attribute__((format(printf, 2, 3))) static void add(struct line *line, const char *format, ...)
{
    va_list args;
    if (line->len + 1 >= line->size)
        return;
    va_start(args, format);
    int n = vsnprintf(line->text + line->len, line->size - line->len, format, args);
    va_end(args);
    if (n > 0)
        line->len += (size_t)n;
}

/* 950, 1.2 k, 12 k, 7.3 M: three digits at most. */
static void add_number(struct line *line, uint64_t number)
{
    static const char units[] = " kMGTPE";
    double value = (double)number;
    unsigned i = 0;
    for (; value >= 999.5 && i + 2 < sizeof units; i++)
        value /= 1000;
    if (i == 0)
        add(line, "%" PRIu64, number);
    else
        add(line, "%.*f %c", value < 9.95 ? 1 : 0, value, units[i]);
}

static unsigned percent_of(uint64_t part, uint64_t whole)
{
    return part < whole ? (unsigned)((double)part * 100 / (double)whole) : 100;
}

static void add_warming(struct line *line, const struct status *status)
{
    if (status->warming == 0)
        return;
    add(line, ", warming ");
    if (status->warming != status->generation)
        add(line, "generation %" PRIu64 ": ", status->warming);
    add(line, "%u %%",
        status->to_warm_bytes > 0 ? percent_of(status->warm_bytes, status->to_warm_bytes) : 0);
    if (status->eta_ms != STATUS_UNKNOWN)
        add(line, " (%" PRIu64 " s)", (status->eta_ms + 999) / 1000);
}

static void add_checked(struct line *line, const struct status *status)
{
    if (status->to_check_bytes > 0)
        add(line, " %u %%", percent_of(status->checked_bytes, status->to_check_bytes));
}

static void add_served(struct line *line, const struct status *status)
{
    add(line, "generation %" PRIu64, status->generation);
    if (status->n_keys != STATUS_UNKNOWN) {
        add(line, ", ");
        add_number(line, status->n_keys);
        add(line, status->n_keys == 1 ? " key" : " keys");
    }
    if (status->resident_percent <= 100)
        add(line, ", %u %% resident", status->resident_percent);
    else if (status->mapped_percent <= 100)
        add(line, ", %u %% mapped", status->mapped_percent);
    if (status->n_serving < status->n_workers)
        add(line, ", serving %u of %u workers", status->n_serving, status->n_workers);
    add_warming(line, status);
    if (status->round == STATUS_CHECKING) {
        add(line, ", checking a file");
        add_checked(line, status);
    } else if (status->round == STATUS_TAKING && status->warming == 0) {
        add(line, ", taking over a file");
    }
    add(line, ": " PATH_SHOWN, status->path);
    if (status->damage[0] != '\0')
        add(line, "; damaged, queries are refused: " REASON_SHOWN, status->damage);
    if (status->refusal[0] != '\0')
        add(line, "; the last reload was refused: " REASON_SHOWN, status->refusal);
}

const char *status_format(const struct status *status, char *text, size_t size)
{
    struct line line = {.text = text, .size = size};
    text[0] = '\0';
    if (status->generation > 0) {
        add_served(&line, status);
    } else {
        add(&line, "starting: checking");
        add_checked(&line, status);
        add(&line, ": " PATH_SHOWN, status->path);
    }
    status_clean(text);
    return text;
}

/* A character of n bytes. Terminals obey those of two bytes as well. */
static bool is_control(const unsigned char *text, size_t n)
{
    return (n == 1 && (text[0] < 0x20 || text[0] == 0x7f)) ||
           (n == 2 && text[0] == 0xc2 && text[1] < 0xa0);
}

void status_clean(char *text)
{
    size_t len = strlen(text), n;
    for (size_t i = 0; i < len; i += n) {
        const unsigned char *at = (const unsigned char *)text + i;
        n = utf8_character(at, len - i);
        if (n > 0 && !is_control(at, n))
            continue;
        n = n > 0 ? n : 1;
        memset(text + i, '?', n);
    }
}
