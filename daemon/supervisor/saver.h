/*
 * saver: writes the profile (warmup.profile), and tells once for each reason when that fails, since
 * the same will happen every minute.
 *
 * A thread's, which may wait for the disk.
 */
#pragma once

#include <act/pages.h>

struct saver {
    const char *path; /* borrowed; NULL: nothing is saved */
    int told_error;   /* errno of the failure that was told last; 0: it works */
};

/* Is there a folder to write to? Else that is told. */
void saver_check(struct saver *saver);
/* 0 or -errno. */
int saver_write(struct saver *saver, const struct act_profile *about,
                const struct act_pages *pages);
