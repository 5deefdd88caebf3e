/*
 * log: one line an event, to standard error.
 *
 * Under systemd (JOURNAL_STREAM names our standard error) a line starts with the "<N>" level prefix
 * that the journal reads; elsewhere with the time and the level. Control bytes are escaped: a
 * file name or a client cannot forge a line. Only the daemon logs; libraries return errors.
 * Thread-safe: a line is one write.
 */
#pragma once

#include <stdbool.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Reads the environment once. Before it: level info, plain prefix. */
void log_init(enum log_level level);
/* What every line of this process begins with; up to 29 bytes count. */
void log_set_name(const char *name);
void log_set_level(enum log_level level);
enum log_level log_get_level(void);
bool log_is_enabled(enum log_level level);

/* The level of that name (error, warning, info, debug), or -1. */
int log_level_from_name(const char *name);
const char *log_level_name(enum log_level level);

__attribute__((format(printf, 2, 3))) void log_line(enum log_level level, const char *format, ...);

#define log_error(...)   log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)    log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)   log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)
