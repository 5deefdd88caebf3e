/*
 * progress: one line on standard error, where that is a terminal, that tells how far a long command
 * has come. It is drawn over itself, and gone at the end.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct progress {
    bool is_on;    /* standard error is a terminal */
    bool is_shown; /* there is a line to be erased */
    uint64_t start_ms;
    uint64_t phase_ms; /* start of what is shown now, which the time left is reckoned from */
    uint64_t due_ms;   /* when the next one may be drawn */
    char name[64];     /* printable: what it is about */
};

/* path: of the file it is about. */
void progress_init(struct progress *progress, const char *path);

/* From here on something else is done, at another speed. */
void progress_begin_phase(struct progress *progress);

/* Is it time for another line? A few times a second at most. */
bool progress_is_due(const struct progress *progress);

/* Draws "NAME: WHAT", with the part done and the time left where the whole is known (total is not
 * 0). */
__attribute__((format(printf, 4, 5))) void progress_show(struct progress *progress, uint64_t done,
                                                         uint64_t total, const char *format, ...);

/* Takes the line away: before anything else is printed, and at the end. */
void progress_clear(struct progress *progress);

/* Time since init, and since the phase began. */
double progress_seconds(const struct progress *progress);
double progress_phase_seconds(const struct progress *progress);

/* So many in the phase: how many in a second. */
uint64_t progress_rate(const struct progress *progress, uint64_t n);
