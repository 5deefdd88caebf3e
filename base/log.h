/*
 * log: one entry an event. A line on standard error, or where a sink was set and standard error is
 * the journal, an entry with fields.
 *
 * A line starts with the time and the level; under systemd (JOURNAL_STREAM names our standard
 * error) with the "<N>" level prefix that the journal reads, and only if the sink did not take the
 * entry. Control bytes are escaped: a file name or a client cannot forge a line. Only the daemon
 * logs; libraries return errors. Thread-safe; never allocates.
 *
 *   log_info("listening on %s", text);
 *   log_with(LOG_LEVEL_WARNING, LOG_ERRNO(r), "cannot do it: %s", strerror(-r));
 *   log_event(&event_ready, LOG_FIELDS(log_field_number("WORKERS", n)), "ready: %s", status);
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* What an entry tells beside its text, for people who filter. */
struct log_field {
    const char *name; /* capital letters, digits and "_"; NULL ends a list */
    const char *text; /* any bytes but NUL; NULL: it is the number */
    uint64_t number;
};

/* A kind of entry that people can wait for: its name and id never change. */
struct log_event {
    const char *name;
    const char *id; /* 128 bits in hexadecimal, as journals want them */
    enum log_level level;
};

/* Where and what an entry is; made by the macros below. */
struct log_about {
    enum log_level level;          /* without an event */
    const struct log_event *event; /* NULL: none */
    const char *file, *function;
    int line;
    const struct log_field *fields; /* NULL: none */
};

/* More fields in one entry are dropped, those of the context first. */
#define LOG_FIELDS_MAX  16
#define LOG_CONTEXT_MAX 4

/* As a sink gets it. All of it is borrowed. */
struct log_entry {
    enum log_level level;
    const struct log_event *event; /* NULL: none */
    const char *file;              /* relative to the source's root */
    const char *function;
    int line;
    const char *message; /* without control bytes, and UTF-8: what is not is escaped */
    size_t message_len;
    struct log_field fields[LOG_FIELDS_MAX]; /* no name twice */
    size_t n_fields;
};

/* False: it could not be taken, and goes to standard error. Called by any thread, also by several
 * at once; must not log. */
typedef bool (*log_sink)(const struct log_entry *entry);

/* Reads the environment once. Before it: level info, plain prefix. */
void log_init(enum log_level level);
/* For what goes to the journal; once, before there are threads. */
void log_set_sink(log_sink sink);
/* Is standard error the journal? As log_init has found it. */
bool log_is_journal(void);
/* What every line of this process begins with; up to 29 bytes count. */
void log_set_name(const char *name);
/* A field of every entry from now on, unless an entry has one of that name itself; takes the place
 * of the one with the same name. Name and text are borrowed for as long as the process logs. At
 * most LOG_CONTEXT_MAX names count. */
void log_set_context(struct log_field field);
void log_set_level(enum log_level level);
enum log_level log_get_level(void);
bool log_is_enabled(enum log_level level);

/* For what others can provoke as often as they like. One owner, no threads. */
struct log_pace {
    uint64_t told_ms; /* 0: never */
    uint64_t n;       /* since then */
};
/* Once at first, and then once in a minute; *ret_n is how often that was asked for since the last
 * time, this one included. */
bool log_is_due(struct log_pace *pace, uint64_t *ret_n);

/* The level of that name (error, warning, info, debug), or -1. */
int log_level_from_name(const char *name);
const char *log_level_name(enum log_level level);
/* As syslog counts: 3 to 7. */
int log_level_priority(enum log_level level);

static inline struct log_field log_field_text(const char *name, const char *text)
{
    return (struct log_field){.name = name, .text = text};
}

static inline struct log_field log_field_number(const char *name, uint64_t number)
{
    return (struct log_field){.name = name, .number = number};
}

/* ERRNO, of errno or of a result that is negative. 0 is none, and ends a list. */
static inline struct log_field log_field_errno(int error)
{
    uint64_t number = (uint64_t)(error < 0 ? -(int64_t)error : error);
    return log_field_number(error != 0 ? "ERRNO" : NULL, number);
}

__attribute__((format(printf, 2, 3))) void log_write(const struct log_about *about,
                                                     const char *format, ...);

/* clang-format off */
#define LOG_ABOUT(...) \
    (&(const struct log_about){.file = __FILE__, .function = __func__, .line = __LINE__, \
                               __VA_ARGS__})
#define LOG_FIELDS(...) .fields = (const struct log_field[]){__VA_ARGS__, {0}}
#define LOG_NO_FIELDS   .fields = NULL
#define LOG_ERRNO(error) LOG_FIELDS(log_field_errno(error))
/* error: 0 if there is none. */
#define LOG_REASON(reason, error) \
    LOG_FIELDS(log_field_text("REASON", (reason)), log_field_errno(error))

#define log_line(at_level, ...) log_write(LOG_ABOUT(.level = (at_level)), __VA_ARGS__)
#define log_with(at_level, with, ...) \
    log_write(LOG_ABOUT(.level = (at_level), with), __VA_ARGS__)
#define log_event(kind, with, ...) log_write(LOG_ABOUT(.event = (kind), with), __VA_ARGS__)
/* clang-format on */

#define log_error(...)   log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)    log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)   log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)
