/*
 * check: see check.h.
 *
 * The process answers with one message, or dies. Whatever comes first ends it: it is let go, and
 * its handles are closed when it is reaped.
 */
#include "daemon/supervisor/check.h"

#include "base/fd.h"
#include "base/log.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void on_message(uv_poll_t *poll, int status, int events);
static void on_exit_of(uv_process_t *handle, int64_t status, int signal);
static void on_closed(uv_handle_t *handle);

struct check_process {
    struct check *check; /* NULL: it was cancelled, or has answered */
    uv_process_t handle;
    uv_poll_t poll;
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
static void let_go(struct check_process *process)
{
    if (process->check)
        process->check->running = NULL;
    process->check = NULL;
    close_handle((uv_handle_t *)&process->poll);
    fd_closep(&process->control);
    if (!process->has_exited)
        uv_process_kill(&process->handle, SIGKILL);
}

static void answer(struct check_process *process, int fd, const struct generation *generation,
                   const char *text)
{
    struct check *check = process->check;
    let_go(process);
    check->on_done(check->context, fd, generation, text);
}

static void hear(struct check_process *process)
{
    struct control_message message;
    int passed, r;
    while (process->check && (r = control_receive(process->control, &message, &passed)) == 0) {
        if (message.type == CONTROL_CANDIDATE && passed >= 0) {
            answer(process, fd_take(&passed), &message.generation, "");
        } else if (message.type == CONTROL_REFUSED) {
            answer(process, -1, &message.generation, message.text);
        } else if (message.type == CONTROL_PROGRESS) {
            process->check->checked_bytes = message.number;
            process->check->total_bytes = message.generation.size_bytes;
        }
        fd_closep(&passed);
    }
}

static void on_message(uv_poll_t *poll, int status, int events)
{
    struct check_process *process = poll->data;
    (void)status;
    (void)events;
    hear(process);
    /* At the end of the socket the exit is near, and tells more. */
    char byte;
    if (process->check && recv(process->control, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0)
        uv_poll_stop(poll);
}

static void on_exit_of(uv_process_t *handle, int64_t status, int signal)
{
    struct check_process *process = handle->data;
    char text[512];
    process->has_exited = true;
    hear(process); /* its answer may still lie there */
    if (process->check) {
        const char *path = process->check->path;
        struct generation unknown = {0};
        if (signal == SIGBUS)
            snprintf(text, sizeof text,
                     "%.400s: it was truncated while it was read, or reading it failed", path);
        else if (signal != 0)
            snprintf(text, sizeof text, "%.400s: checking it was ended by signal %d (%s)", path,
                     signal, strsignal(signal));
        else
            snprintf(text, sizeof text, "%.400s: checking it ended with status %d", path,
                     (int)status);
        answer(process, -1, &unknown, text);
    }
    close_handle((uv_handle_t *)&process->handle);
}

static void on_closed(uv_handle_t *handle)
{
    struct check_process *process = handle->data;
    if (--process->n_handles == 0)
        free(process);
}

static int spawn(struct check *check, struct check_process *process, int control)
{
    char *args[] = {(char[]){"actd: checker"}, (char[]){"--checker"}, NULL};
    uv_stdio_container_t stdio[] = {
        {.flags = UV_IGNORE},
        {.flags = UV_INHERIT_FD, .data.fd = STDOUT_FILENO},
        {.flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO},
        {.flags = UV_INHERIT_FD, .data.fd = control},
        {.flags = UV_INHERIT_FD, .data.fd = check->config_fd},
    };
    uv_process_options_t options = {.file = "/proc/self/exe",
                                    .args = args,
                                    .exit_cb = on_exit_of,
                                    .stdio = stdio,
                                    .stdio_count = sizeof stdio / sizeof *stdio};
    return uv_spawn(check->loop, &process->handle, &options);
}

int check_start(struct check *check)
{
    int fds[2];
    struct check_process *process = calloc(1, sizeof *process);
    int r = process ? control_pair(fds) : -ENOMEM;
    if (r < 0) {
        free(process);
        return r;
    }
    process->check = check;
    process->control = fds[0];
    process->handle.data = process->poll.data = process;
    if ((r = uv_poll_init(check->loop, &process->poll, process->control)) < 0) {
        fd_closep(&fds[0]);
        fd_closep(&fds[1]);
        free(process);
        return r;
    }
    r = spawn(check, process, fds[1]);
    process->n_handles = 2; /* also a process that could not be started is to be closed */
    fd_closep(&fds[1]);
    if (r < 0) {
        process->has_exited = true;
        process->check = NULL;
        let_go(process);
        close_handle((uv_handle_t *)&process->handle);
        return r;
    }
    check->running = process;
    check->checked_bytes = check->total_bytes = 0;
    uv_poll_start(&process->poll, UV_READABLE, on_message);
    return 0;
}

void check_cancel(struct check *check)
{
    if (check->running)
        let_go(check->running);
}
