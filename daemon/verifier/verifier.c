/*
 * verifier: see verifier.h.
 */
#include "daemon/verifier/verifier.h"

#include "act/verify.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "daemon/background.h"
#include "daemon/board.h"
#include "daemon/control.h"
#include "daemon/snapshot.h"
#include "daemon/temporary.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define EXIT_USAGE 2

#define PROGRESS_MS 250

/* Between two tries, while the supervisor has not read what was sent before. */
#define ANSWER_RETRY_MS 10

/* Beyond it act_verify takes a temporary file: others need the memory more. */
#define MEMORY_BYTES ((uint64_t)64 << 20)

struct verifier {
    struct config config;
    struct generation generation;
    struct temporary temporary;
    uint64_t next_progress_ms; /* clock_ms */
    uint64_t done_bytes;
    struct act_finding fault; /* the first one; reason NULL: there is none */
};

__attribute__((format(printf, 2, 3))) static void answer(enum verify_state state,
                                                         const char *format, ...)
{
    struct control_message message = {.type = CONTROL_VERIFIED, .number = (uint64_t)state};
    va_list args;
    va_start(args, format);
    vsnprintf(message.text, sizeof message.text, format, args);
    va_end(args);
    while (control_send(VERIFIER_CONTROL_FD, &message, -1) == CONTROL_FULL)
        (void)poll(NULL, 0, ANSWER_RETRY_MS);
}

/* A page cannot be had. Nothing here but what a signal handler may do. */
static void on_sigbus(int number, siginfo_t *info, void *context)
{
    static const struct control_message lost = {
        .type = CONTROL_VERIFIED,
        .number = VERIFY_FAULTS,
        .text = "it was truncated while it was read, or reading it failed"};
    (void)context;
    if (info->si_code != BUS_ADRERR && info->si_code != BUS_MCEERR_AR) {
        (void)signal(number, SIG_DFL);
        (void)raise(number);
        return;
    }
    while (control_send(VERIFIER_CONTROL_FD, &lost, -1) == CONTROL_FULL)
        (void)poll(NULL, 0, ANSWER_RETRY_MS);
    _exit(EXIT_SUCCESS);
}

static void on_finding(void *context, const struct act_finding *finding)
{
    struct verifier *verifier = context;
    if (!finding->is_note && !verifier->fault.reason)
        verifier->fault = *finding;
}

static void send_progress(struct verifier *verifier, uint64_t total)
{
    struct control_message message = {.type = CONTROL_PROGRESS, .number = verifier->done_bytes};
    message.generation.size_bytes = total;
    verifier->next_progress_ms = clock_ms() + PROGRESS_MS;
    /* Who is too busy to read it needs none. */
    (void)control_send(VERIFIER_CONTROL_FD, &message, -1);
}

static void on_progress(void *context, uint64_t done, uint64_t total)
{
    struct verifier *verifier = context;
    verifier->done_bytes = done;
    if (clock_ms() >= verifier->next_progress_ms)
        send_progress(verifier, total);
}

/* One thread: the others have to answer queries meanwhile. */
static void verify(struct verifier *verifier, const struct act *tree)
{
    const struct act_verify_options options = {.memory_bytes = MEMORY_BYTES,
                                               .temporary_directory = verifier->temporary.directory,
                                               .n_threads = 1,
                                               .context = verifier,
                                               .on_finding = on_finding,
                                               .on_progress = on_progress};
    struct act_survey survey;
    uint64_t size = verifier->generation.size_bytes, mib = (uint64_t)1 << 20;
    int r = act_verify(tree, &options, &survey);
    if (r == -EFBIG || r == -ENOSPC) {
        answer(VERIFY_FAILED,
               "it takes %" PRIu64 " MiB of working space and more, and %s has %" PRIu64
               " MiB to spare: set TMPDIR to a directory with more",
               size / 2 / mib, verifier->temporary.directory, verifier->temporary.bytes / mib);
    } else if (r < 0) {
        answer(VERIFY_FAILED, "not to its end: %s", strerror(-r));
    } else if (r != 0) {
        send_progress(verifier, size);
        answer(VERIFY_FAULTS, "damaged at offset %" PRIu64 ": %s", verifier->fault.offset,
               verifier->fault.reason ? verifier->fault.reason : "unknown");
    } else {
        verifier->done_bytes = size;
        send_progress(verifier, size);
        answer(VERIFY_GOOD, "%s", "");
    }
}

static void open_and_verify(struct verifier *verifier)
{
    struct snapshot *snapshot;
    struct act_error error;
    int r = snapshot_new(VERIFIER_FILE_FD, verifier->config.tree_path, &verifier->generation, 0,
                         &snapshot, &error);
    if (r != 0) {
        answer(r > 0 ? VERIFY_FAULTS : VERIFY_FAILED, "%.*s", CONTROL_TEXT_BYTES - 1,
               error.message);
        return;
    }
    if (snapshot->damage)
        answer(VERIFY_FAULTS, "%s", snapshot->damage);
    else
        verify(verifier, snapshot->tree);
    snapshot_free(snapshot);
}

/* The supervisor has sent it before we were there. False: it is gone. */
static bool hear_generation(struct verifier *verifier)
{
    struct control_message message;
    int passed, r;
    struct pollfd control = {.fd = VERIFIER_CONTROL_FD, .events = POLLIN};
    while ((r = control_receive(VERIFIER_CONTROL_FD, &message, &passed)) == CONTROL_EMPTY)
        (void)poll(&control, 1, -1);
    if (r != 0)
        return false;
    fd_closep(&passed);
    verifier->generation = message.generation;
    return message.type == CONTROL_GENERATION;
}

int verifier_run(void)
{
    struct stat st;
    struct verifier verifier = {0};
    const struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO};
    if (fstat(VERIFIER_CONTROL_FD, &st) < 0 || !S_ISSOCK(st.st_mode)) {
        log_error("--verifier is for actd itself, which calls it to verify what it serves; for "
                  "people there is actctl verify");
        return EXIT_USAGE;
    }
    background_begin(VERIFIER_CONTROL_FD);
    (void)sigaction(SIGBUS, &action, NULL);
    temporary_begin(&verifier.temporary);
    int r = config_receive(&verifier.config, VERIFIER_CONFIG_FD);
    if (r != 0) {
        answer(VERIFY_FAILED, "the process that does it got no configuration: %s", strerror(-r));
        return EXIT_USAGE;
    }
    if (hear_generation(&verifier))
        open_and_verify(&verifier);
    config_deinit(&verifier.config);
    return EXIT_SUCCESS;
}
