/*
 * verify: see verify.h.
 */
#include "daemon/supervisor/verify.h"

#include "base/clock.h"
#include "base/log.h"
#include "daemon/events.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static void log_end(const struct verify *verify, const char *text)
{
    const struct verify_progress *progress = verify->progress;
    const char *path = verify->config->tree_path;
    double seconds = (double)(progress->ended_ms - progress->began_ms) / 1000;
    if (progress->state == VERIFY_GOOD)
        log_with(LOG_LEVEL_INFO, LOG_FIELDS(log_field_number("GENERATION", progress->generation)),
                 "verified generation %" PRIu64 ": no fault in %" PRIu64 " bytes, in %.1f s",
                 progress->generation, progress->total_bytes, seconds);
    else if (progress->state == VERIFY_FAULTS)
        log_event(&event_faults_found,
                  LOG_FIELDS(log_field_number("GENERATION", progress->generation),
                             log_field_text("REASON", text)),
                  "verified generation %" PRIu64 ": %.400s: %s; it goes on being served: put a "
                  "good file in its place",
                  progress->generation, path, text);
    else
        log_with(LOG_LEVEL_WARNING,
                 LOG_FIELDS(log_field_number("GENERATION", progress->generation)),
                 "could not verify generation %" PRIu64 ": %.400s: %s", progress->generation, path,
                 text);
}

static void conclude(struct verify *verify, enum verify_state state, const char *text)
{
    struct verify_progress *progress = verify->progress;
    helper_stop(&verify->helper);
    progress->ended_ms = clock_ms();
    board_text_set(&progress->text, text);
    progress->state = state;
    log_end(verify, text);
}

static void on_message(void *context, const struct control_message *message, int *passed)
{
    struct verify *verify = context;
    uint64_t state = message->number;
    (void)passed;
    if (message->type == CONTROL_PROGRESS) {
        verify->progress->checked_bytes = message->number;
        verify->progress->total_bytes = message->generation.size_bytes;
    } else if (message->type == CONTROL_VERIFIED &&
               (state == VERIFY_GOOD || state == VERIFY_FAULTS || state == VERIFY_FAILED)) {
        conclude(verify, (enum verify_state)state, message->text);
    } else {
        conclude(verify, VERIFY_FAILED, "the process that does it has said something unknown");
    }
}

static void on_end(void *context, const struct helper_end *end)
{
    conclude(context, VERIFY_FAILED, end->text);
}

void verify_init(struct verify *verify)
{
    verify->helper.what = "the process that does it";
    verify->helper.silence_ms = verify->config->tree_check_timeout_ms;
    verify->helper.on_message = on_message;
    verify->helper.on_end = on_end;
    verify->helper.context = verify;
}

static int spawn(struct verify *verify)
{
    char *const args[] = {(char[]){"actd: verifier"}, (char[]){"--verifier"}, NULL};
    struct control_message facts = {.type = CONTROL_GENERATION,
                                    .generation = verify->served->generation};
    int r = helper_start(&verify->helper, args, verify->served->fd);
    if (r == 0 && (r = helper_say(&verify->helper, &facts)) != 0) {
        helper_stop(&verify->helper);
        r = r < 0 ? r : -ENOBUFS;
    }
    return r;
}

int verify_ask(struct verify *verify)
{
    struct verify_progress *progress = verify->progress;
    if (verify->is_stopped)
        return VERIFY_STOPPING;
    if (verify->helper.running)
        return VERIFY_BUSY;
    if (verify->served->fd < 0)
        return VERIFY_UNSERVED;
    int r = spawn(verify);
    if (r < 0) {
        log_with(LOG_LEVEL_WARNING, LOG_ERRNO(r), "cannot start the process that verifies: %s",
                 strerror(-r));
        return r;
    }
    progress->generation = verify->served->generation.number;
    progress->checked_bytes = 0;
    progress->total_bytes = verify->served->generation.size_bytes;
    progress->began_ms = clock_ms();
    progress->ended_ms = 0;
    board_text_set(&progress->text, "");
    progress->state = VERIFY_RUNNING;
    log_info("verifying generation %" PRIu64, progress->generation);
    return 0;
}

void verify_stop(struct verify *verify)
{
    if (verify->is_stopped || !verify->progress)
        return;
    verify->is_stopped = true;
    helper_stop(&verify->helper);
}
