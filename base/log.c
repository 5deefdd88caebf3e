/*
 * log: see log.h.
 */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 4096

static const struct {
    const char *name;
    int syslog_priority;
} levels[] = {
    [LOG_LEVEL_ERROR] = {"error", 3},
    [LOG_LEVEL_WARNING] = {"warning", 4},
    [LOG_LEVEL_INFO] = {"info", 6},
    [LOG_LEVEL_DEBUG] = {"debug", 7},
};

static _Atomic int max_level = LOG_LEVEL_INFO;
static bool to_journal;
static char process_name[32]; /* with ": " behind it, or "" */

/* JOURNAL_STREAM is "device:inode" of the stream; inherited by children whose stderr may be
 * another file, hence the comparison. */
static bool is_stderr_the_journal(void)
{
    const char *stream = getenv("JOURNAL_STREAM");
    unsigned long long device, inode;
    struct stat st;
    if (!stream || sscanf(stream, "%llu:%llu", &device, &inode) != 2)
        return false;
    return fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

/* Appends text with control bytes as \xNN; cuts at the end of the line buffer. */
static size_t append_escaped(char *line, size_t at, size_t size, const char *text)
{
    for (; *text && at + 5 < size; text++) {
        unsigned char c = (unsigned char)*text;
        if (c >= 0x20 && c != 0x7f)
            line[at++] = (char)c;
        else
            at += (size_t)snprintf(line + at, size - at, "\\x%02x", c);
    }
    return at;
}

static size_t write_prefix(char *line, size_t size, enum log_level level)
{
    if (to_journal)
        return (size_t)snprintf(line, size, "<%d>", levels[level].syslog_priority);
    struct timespec now;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    size_t at = strftime(line, size, "%Y-%m-%dT%H:%M:%S", &tm);
    return at + (size_t)snprintf(line + at, size - at, ".%03ldZ actd %s: ", now.tv_nsec / 1000000,
                                 levels[level].name);
}

void log_init(enum log_level level)
{
    to_journal = is_stderr_the_journal();
    log_set_level(level);
}

void log_set_name(const char *name)
{
    snprintf(process_name, sizeof process_name, "%.*s: ", (int)sizeof process_name - 3, name);
}

void log_set_level(enum log_level level)
{
    max_level = level;
}

enum log_level log_get_level(void)
{
    return (enum log_level)max_level;
}

bool log_is_enabled(enum log_level level)
{
    return (int)level <= max_level;
}

const char *log_level_name(enum log_level level)
{
    return levels[level].name;
}

int log_level_from_name(const char *name)
{
    for (int i = 0; i < (int)(sizeof levels / sizeof *levels); i++)
        if (strcmp(levels[i].name, name) == 0)
            return i;
    return -1;
}

void log_line(enum log_level level, const char *format, ...)
{
    if (!log_is_enabled(level))
        return;
    int saved = errno;
    char text[LINE_MAX_BYTES];
    char line[LINE_MAX_BYTES + 64];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    size_t at = write_prefix(line, sizeof line, level);
    at = append_escaped(line, at, sizeof line - 1, process_name);
    at = append_escaped(line, at, sizeof line - 1, text);
    line[at++] = '\n';
    /* Nobody is left to hear that the log cannot be written. */
    ssize_t ignored = write(STDERR_FILENO, line, at);
    (void)ignored;
    errno = saved;
}
