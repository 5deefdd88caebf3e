/*
 * log: see log.h.
 */
#include "base/log.h"

#include "base/clock.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 4096
#define PACE_MS        60000

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
static log_sink sink;
static char process_name[32]; /* with ": " behind it, or "" */

/* Held for as long as it takes to copy: nothing is called meanwhile. */
static pthread_mutex_t context_lock = PTHREAD_MUTEX_INITIALIZER;
static struct log_field context[LOG_CONTEXT_MAX];

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

static bool is_continuation(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

/* Bytes of the UTF-8 character that text, which ends with NUL, begins with; 0: it is none, or is a
 * control character. */
static size_t character_len(const char *text)
{
    unsigned char c = (unsigned char)text[0], second = (unsigned char)text[1];
    size_t len = c < 0x80 ? 1 : c >= 0xc2 && c <= 0xdf ? 2 : (c & 0xf0) == 0xe0 ? 3 : 4;
    if (len == 1)
        return c >= 0x20 && c != 0x7f;
    if ((len == 4 && (c < 0xf0 || c > 0xf4)) || (c == 0xc2 && second < 0xa0) ||
        (c == 0xe0 && second < 0xa0) || (c == 0xed && second > 0x9f) ||
        (c == 0xf0 && second < 0x90) || (c == 0xf4 && second > 0x8f))
        return 0;
    for (size_t i = 1; i < len; i++)
        if (!is_continuation(text[i]))
            return 0;
    return len;
}

/* Appends text with control bytes as \xNN, and in a line for the journal, which tells nothing of
 * those that are not UTF-8, all others that are none; cuts at the end of the line buffer. */
static size_t append_escaped(char *line, size_t at, size_t size, const char *text)
{
    while (*text && at + 5 < size) {
        unsigned char c = (unsigned char)*text;
        size_t len = to_journal ? character_len(text) : c >= 0x20 && c != 0x7f;
        if (len == 0)
            at += (size_t)snprintf(line + at, size - at, "\\x%02x", c);
        else
            memcpy(line + at, text, len);
        at += len;
        text += len > 0 ? len : 1;
    }
    return at;
}

static size_t write_prefix(char *line, size_t size, enum log_level level)
{
    if (to_journal)
        return (size_t)snprintf(line, size, "<%d>", log_level_priority(level));
    struct timespec now;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    size_t at = strftime(line, size, "%Y-%m-%dT%H:%M:%S", &tm);
    return at + (size_t)snprintf(line + at, size - at, ".%03ldZ actd %s: ", now.tv_nsec / 1000000,
                                 levels[level].name);
}

/* The compiler's names of files begin with the way from where it ran to the source's root. */
static const char *relative_name(const char *file)
{
    static const char ours[] = __FILE__, name[] = "base/log.c";
    size_t skip = sizeof ours - sizeof name;
    return strncmp(file, ours, skip) == 0 ? file + skip : file;
}

static void add_field(struct log_entry *entry, const struct log_field *field)
{
    for (size_t i = 0; i < entry->n_fields; i++)
        if (strcmp(entry->fields[i].name, field->name) == 0)
            return;
    if (entry->n_fields < LOG_FIELDS_MAX)
        entry->fields[entry->n_fields++] = *field;
}

/* False: it has to go to standard error. */
static bool give_to_sink(const struct log_about *about, enum log_level level, const char *message,
                         size_t len)
{
    struct log_entry entry = {.level = level,
                              .event = about->event,
                              .file = relative_name(about->file),
                              .function = about->function,
                              .line = about->line,
                              .message = message,
                              .message_len = len};
    if (!to_journal || !sink)
        return false;
    for (const struct log_field *field = about->fields; field && field->name; field++)
        add_field(&entry, field);
    pthread_mutex_lock(&context_lock);
    for (size_t i = 0; i < LOG_CONTEXT_MAX && context[i].name; i++)
        add_field(&entry, &context[i]);
    pthread_mutex_unlock(&context_lock);
    return sink(&entry);
}

/* A journal that hangs reads nothing: its lines are lost then, since loops wait for nobody. The
 * descriptor may be shared, so it stays as it is: the one call does not block. */
static void write_line(const char *line, size_t len)
{
    ssize_t n = to_journal ? send(STDERR_FILENO, line, len, MSG_DONTWAIT | MSG_NOSIGNAL) : -1;
    if (n < 0 && (!to_journal || errno == ENOTSOCK))
        n = write(STDERR_FILENO, line, len);
    (void)n; /* nobody is left to hear that the log cannot be written */
}

void log_init(enum log_level level)
{
    to_journal = is_stderr_the_journal();
    log_set_level(level);
}

void log_set_sink(log_sink new_sink)
{
    sink = new_sink;
}

bool log_is_journal(void)
{
    return to_journal;
}

void log_set_name(const char *name)
{
    snprintf(process_name, sizeof process_name, "%.*s: ", (int)sizeof process_name - 3, name);
}

void log_set_context(struct log_field field)
{
    pthread_mutex_lock(&context_lock);
    size_t i = 0;
    while (i < LOG_CONTEXT_MAX && context[i].name && strcmp(context[i].name, field.name) != 0)
        i++;
    if (i < LOG_CONTEXT_MAX)
        context[i] = field;
    pthread_mutex_unlock(&context_lock);
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

bool log_is_due(struct log_pace *pace, uint64_t *ret_n)
{
    uint64_t now = clock_ms();
    pace->n++;
    if (pace->told_ms > 0 && now - pace->told_ms < PACE_MS)
        return false;
    *ret_n = pace->n;
    *pace = (struct log_pace){.told_ms = now};
    return true;
}

const char *log_level_name(enum log_level level)
{
    return levels[level].name;
}

int log_level_priority(enum log_level level)
{
    return levels[level].syslog_priority;
}

int log_level_from_name(const char *name)
{
    for (int i = 0; i < (int)(sizeof levels / sizeof *levels); i++)
        if (strcmp(levels[i].name, name) == 0)
            return i;
    return -1;
}

void log_write(const struct log_about *about, const char *format, ...)
{
    enum log_level level = about->event ? about->event->level : about->level;
    if (!log_is_enabled(level))
        return;
    int saved = errno;
    char text[LINE_MAX_BYTES];
    char line[LINE_MAX_BYTES + 64];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    size_t prefix = write_prefix(line, sizeof line, level);
    size_t at = append_escaped(line, prefix, sizeof line - 1, process_name);
    at = append_escaped(line, at, sizeof line - 1, text);
    if (!give_to_sink(about, level, line + prefix, at - prefix)) {
        line[at++] = '\n';
        write_line(line, at);
    }
    errno = saved;
}
