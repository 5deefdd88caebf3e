/*
 * signals: what actctl still does when a signal ends it.
 *
 * There is one process, so there is one state of each, in signals.c. The handlers do only what a
 * handler may do.
 */
#pragma once

#include "client/actctl/actctl.h"

/* Signals that would end a build wait until signals_remove: a file is on its way that has a name.
 * Those that are ignored stay so. */
void signals_hold(void);

/* After signals_hold: they come again, and one that ends the program removes the file at path
 * before. NULL: there is none. path is borrowed until the next call. */
void signals_remove(const char *path);

/* From here on SIGINT, SIGTERM and SIGHUP are noted, and interrupt what waits; the second one of a
 * kind ends the program. Those that are ignored stay so. */
void signals_catch(void);

/* The one that was noted; 0: none. */
int signals_caught(void);

/* Ends the program by the one that was noted. */
void signals_raise(void);

/* From here on the program reads the file at path, mapped. Where its pages go away beneath it (it
 * is truncated, its disk fails), it ends with STATUS_FAILED and a line that says so. */
void signals_guard(const struct actctl *ctl, const char *path);
