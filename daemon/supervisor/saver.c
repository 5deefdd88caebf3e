/*
 * saver: see saver.h.
 */
#include "daemon/supervisor/saver.h"

#include "base/log.h"
#include "daemon/events.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PATH_BYTES 4096

/* The folder of the profile. */
static void folder_of(const char *path, char *folder, size_t size)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        snprintf(folder, size, ".");
    else
        snprintf(folder, size, "%.*s", slash == path ? 1 : (int)(slash - path), path);
}

/* Is that news? */
static bool is_to_tell(struct saver *saver, int error)
{
    bool is_news = error != saver->told_error;
    saver->told_error = error;
    return is_news;
}

void saver_check(struct saver *saver)
{
    char folder[PATH_BYTES];
    folder_of(saver->path, folder, sizeof folder);
    if (access(folder, W_OK | X_OK) == 0)
        return;
    int error = errno;
    if (is_to_tell(saver, error))
        log_event(&event_profile_unsaved,
                  LOG_FIELDS(log_field_text("PROFILE_PATH", saver->path), log_field_errno(error),
                             log_field_text("REASON", strerror(error))),
                  "%s: the profile of what is in memory will not be saved: %s: %s. Make it a "
                  "folder that user %u may write to (systemd: StateDirectory=), or set another "
                  "warmup.profile",
                  saver->path, folder, strerror(error), (unsigned)geteuid());
}

int saver_write(struct saver *saver, const struct act_profile *about, const struct act_pages *pages)
{
    struct act_error error;
    int r = act_profile_write(saver->path, about, pages, &error);
    if (r < 0 && is_to_tell(saver, -r))
        log_event(&event_profile_unsaved,
                  LOG_FIELDS(log_field_text("PROFILE_PATH", saver->path), log_field_errno(r),
                             log_field_text("REASON", error.message)),
                  "warmup.profile: what is in memory is not saved, the one before stays: %s",
                  error.message);
    if (r == 0 && is_to_tell(saver, 0))
        log_info("%s: what is in memory is saved again", saver->path);
    if (r == 0)
        log_debug("%s: saved %" PRIu64 " of %" PRIu64 " pages, from %s", saver->path,
                  act_pages_count(pages), act_pages_total(pages),
                  act_pages_source_name(about->source));
    return r;
}
