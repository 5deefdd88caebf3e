/*
 * helper: see helper.h.
 *
 * A process ends for us when it is reaped, or when we have let it go, whatever comes first; its
 * handles are closed when it is reaped.
 */
#include "daemon/supervisor/helper.h"

#include "base/fd.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void on_readable(uv_poll_t *poll, int status, int events);
static void on_exit_of(uv_process_t *handle, int64_t status, int signal);
static void on_silence(uv_timer_t *timer);
static void on_closed(uv_handle_t *handle);

/* It says how far it is four times a second: less is no sign of a disk that hangs. */
#define SILENCE_MIN_MS 1000

struct helper_process {
    struct helper *helper; /* NULL: it was let go */
    uv_process_t handle;
    uv_poll_t poll;
    uv_timer_t silence;
    int control; /* owned */
    unsigned n_handles;
    bool has_exited;
};

static void close_handle(uv_handle_t *handle)
{
    if (!uv_is_closing(handle))
        uv_close(handle, on_closed);
}

/* Nobody listens to it any more. */
static void let_go(struct helper_process *process)
{
    if (process->helper)
        process->helper->running = NULL;
    process->helper = NULL;
    close_handle((uv_handle_t *)&process->poll);
    close_handle((uv_handle_t *)&process->silence);
    fd_closep(&process->control);
    if (!process->has_exited)
        uv_process_kill(&process->handle, SIGKILL);
}

static void hear(struct helper_process *process)
{
    struct control_message message;
    int passed;
    while (process->helper && control_receive(process->control, &message, &passed) == 0) {
        uv_timer_again(&process->silence);
        process->helper->on_message(process->helper->context, &message, &passed);
        fd_closep(&passed);
    }
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct helper_process *process = poll->data;
    (void)status;
    (void)events;
    hear(process);
    /* At the end of the socket the exit is near, and tells more. */
    char byte;
    if (process->helper && recv(process->control, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0)
        uv_poll_stop(poll);
}

static void on_exit_of(uv_process_t *handle, int64_t status, int signal)
{
    struct helper_process *process = handle->data;
    struct helper_end end = {.signal = signal};
    process->has_exited = true;
    hear(process); /* its last message may still lie there */
    if (process->helper) {
        struct helper *helper = process->helper;
        if (signal != 0)
            snprintf(end.text, sizeof end.text, "%s was ended by signal %d (%s)", helper->what,
                     signal, strsignal(signal));
        else
            snprintf(end.text, sizeof end.text, "%s ended with status %d", helper->what,
                     (int)status);
        let_go(process);
        helper->on_end(helper->context, &end);
    }
    close_handle((uv_handle_t *)&process->handle);
}

static void on_silence(uv_timer_t *timer)
{
    struct helper_process *process = timer->data;
    struct helper *helper = process->helper;
    struct helper_end end = {0};
    snprintf(end.text, sizeof end.text,
             "nothing has come from the disk for tree.check_timeout_ms = %" PRIu64,
             helper->silence_ms);
    let_go(process);
    helper->on_end(helper->context, &end);
}

static void on_closed(uv_handle_t *handle)
{
    struct helper_process *process = handle->data;
    if (--process->n_handles == 0)
        free(process);
}

static int spawn(struct helper *helper, struct helper_process *process, char *const args[],
                 int control, int fd)
{
    uv_stdio_container_t stdio[] = {
        {.flags = UV_IGNORE},
        {.flags = UV_INHERIT_FD, .data.fd = STDOUT_FILENO},
        {.flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO},
        {.flags = UV_INHERIT_FD, .data.fd = control},
        {.flags = UV_INHERIT_FD, .data.fd = helper->config_fd},
        {.flags = UV_INHERIT_FD, .data.fd = fd},
    };
    uv_process_options_t options = {.file = "/proc/self/exe",
                                    .args = (char **)(uintptr_t)args,
                                    .env = helper->environment,
                                    .exit_cb = on_exit_of,
                                    .stdio = stdio,
                                    .stdio_count = fd < 0 ? 5 : 6};
    return uv_spawn(helper->loop, &process->handle, &options);
}

int helper_start(struct helper *helper, char *const args[], int fd)
{
    int fds[2];
    struct helper_process *process = calloc(1, sizeof *process);
    int r = process ? control_pair(fds) : -ENOMEM;
    if (r < 0) {
        free(process);
        return r;
    }
    process->helper = helper;
    process->control = fds[0];
    process->handle.data = process->poll.data = process->silence.data = process;
    if ((r = uv_poll_init(helper->loop, &process->poll, process->control)) < 0) {
        fd_closep(&fds[0]);
        fd_closep(&fds[1]);
        free(process);
        return r;
    }
    uv_timer_init(helper->loop, &process->silence);
    r = spawn(helper, process, args, fds[1], fd);
    process->n_handles = 3; /* also a process that could not be started is to be closed */
    fd_closep(&fds[1]);
    if (r < 0) {
        process->has_exited = true;
        process->helper = NULL;
        let_go(process);
        close_handle((uv_handle_t *)&process->handle);
        return r;
    }
    helper->running = process;
    uv_poll_start(&process->poll, UV_READABLE, on_readable);
    uint64_t ms = helper->silence_ms < SILENCE_MIN_MS ? SILENCE_MIN_MS : helper->silence_ms;
    if (helper->silence_ms > 0)
        uv_timer_start(&process->silence, on_silence, ms, ms);
    return 0;
}

int helper_say(struct helper *helper, const struct control_message *message)
{
    return helper->running ? control_send(helper->running->control, message, -1) : -ESRCH;
}

void helper_stop(struct helper *helper)
{
    if (helper->running)
        let_go(helper->running);
}

pid_t helper_pid(const struct helper *helper)
{
    return helper->running ? helper->running->handle.pid : 0;
}
