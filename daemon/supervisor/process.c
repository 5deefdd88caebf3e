/*
 * process: see process.h.
 *
 * on_control hears the worker; when its socket ends the worker is as good as dead, whatever it
 * still does: crew_on_gone puts another one in its place at once, and the exit is only awaited
 * (on_exit) to tell the log why.
 */
#include "daemon/supervisor/process.h"

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "daemon/supervisor/crew.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>

static void on_control(uv_poll_t *poll, int status, int events);
static void on_exit_of(uv_process_t *handle, int64_t status, int signal);
static void on_kill(uv_timer_t *timer);
static void on_linger(uv_timer_t *timer);
static void on_closed(uv_handle_t *handle);

#define KILL_AFTER_MS 2000
/* How long a worker whose control socket has ended may take to exit. */
#define LINGER_MS 10000
/* How often it is looked for then. */
#define LOOK_MS 50
/* Messages, connections apart, that may wait until a worker reads. They are a handful for each
 * reload; one that makes them more does not mean well. */
#define UNSAID_MAX 1000

static void put(struct outgoing_queue *queue, struct outgoing *outgoing)
{
    outgoing->next = NULL;
    if (queue->first)
        queue->last->next = outgoing;
    else
        queue->first = outgoing;
    queue->last = outgoing;
}

static struct outgoing *take(struct outgoing_queue *queue)
{
    struct outgoing *outgoing = queue->first;
    if (outgoing)
        queue->first = outgoing->next;
    return outgoing;
}

static void outgoing_free(struct outgoing *outgoing)
{
    fd_closep(&outgoing->fd);
    free(outgoing->message);
    free(outgoing);
}

static void watch_control(struct process *process)
{
    process->is_watching_output = process->unsent.first;
    uv_poll_start(&process->poll, UV_READABLE | (process->is_watching_output ? UV_WRITABLE : 0),
                  on_control);
}

/* False: there is no room now. That the worker is gone is seen when we read. */
static bool send_one(struct process *process, const struct outgoing *outgoing)
{
    uint64_t n;
    struct control_message simple = {.type = outgoing->type, .number = outgoing->number};
    int r = control_send(process->control, outgoing->message ? outgoing->message : &simple,
                         outgoing->fd);
    if (r < 0 && r != -EPIPE && r != -ECONNRESET && log_is_due(&process->unsent_pace, &n))
        log_with(LOG_LEVEL_ERROR,
                 LOG_FIELDS(log_field_number("WORKER", process->number),
                            log_field_number("REPEATED", n), log_field_errno(r)),
                 "worker %u: cannot send to it: %s", process->number, strerror(-r));
    return r != CONTROL_FULL;
}

static void flush(struct process *process)
{
    while (process->unsent.first && send_one(process, process->unsent.first)) {
        struct outgoing *outgoing = take(&process->unsent);
        if (outgoing->type == CONTROL_CONNECTION) {
            put(&process->untaken, outgoing);
        } else {
            process->n_unsaid--;
            outgoing_free(outgoing);
        }
    }
    bool is_done = !process->unsent.first;
    if (process->is_watching_output == is_done) /* each change costs two system calls */
        watch_control(process);
}

/* Takes over fd and message; either may be missing. */
static void queue(struct process *process, enum control_type type, uint64_t number, int fd,
                  struct control_message *message)
{
    struct outgoing *outgoing = malloc(sizeof *outgoing);
    if (process->state == PROCESS_GONE || !outgoing) {
        if (!outgoing)
            log_with(LOG_LEVEL_ERROR, LOG_FIELDS(log_field_number("WORKER", process->number)),
                     "worker %u: out of memory for a message to it", process->number);
        fd_closep(&fd);
        free(message);
        free(outgoing);
        return;
    }
    *outgoing = (struct outgoing){.type = type, .number = number, .fd = fd, .message = message};
    put(&process->unsent, outgoing);
    process->n_unsaid += type != CONTROL_CONNECTION;
    flush(process);
    if (process->n_unsaid > UNSAID_MAX && !process->is_unfit) {
        log_with(LOG_LEVEL_ERROR, LOG_FIELDS(log_field_number("WORKER", process->number)),
                 "worker %u (pid %d) does not read what it is told: killing it", process->number,
                 (int)process->handle.pid);
        process_give_up(process);
    }
}

void process_say(struct process *process, enum control_type type, uint64_t number)
{
    queue(process, type, number, -1, NULL);
}

void process_say_text(struct process *process, enum control_type type, uint64_t number,
                      const char *text)
{
    struct control_message *message = calloc(1, sizeof *message);
    if (!message)
        return;
    message->type = type;
    message->number = number;
    snprintf(message->text, sizeof message->text, "%s", text);
    queue(process, type, number, -1, message);
}

int process_say_generation(struct process *process, const struct generation *generation, int fd)
{
    struct control_message *message = calloc(1, sizeof *message);
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (!message || copy < 0) {
        int r = message ? -errno : -ENOMEM;
        fd_closep(&copy);
        free(message);
        return r;
    }
    message->type = CONTROL_GENERATION;
    message->number = generation->number;
    message->generation = *generation;
    queue(process, CONTROL_GENERATION, generation->number, copy, message);
    return 0;
}

void process_pass(struct process *process, int fd)
{
    process->n_passed++;
    if (process->waiting_since_ms == 0)
        process->waiting_since_ms = clock_ms();
    queue(process, CONTROL_CONNECTION, process->n_passed, fd, NULL);
}

int process_take_back(struct process *process)
{
    struct outgoing *outgoing = NULL;
    while ((outgoing = take(&process->untaken)) || (outgoing = take(&process->unsent))) {
        int fd = outgoing->type == CONTROL_CONNECTION ? fd_take(&outgoing->fd) : -1;
        outgoing_free(outgoing);
        if (fd >= 0)
            return fd;
    }
    process->n_unsaid = 0;
    return -1;
}

uint64_t process_load(const struct process *process)
{
    uint64_t n_closed = board_page(process->crew->board, process->slot)->connections_closed;
    /* The worker writes that number; it must not be able to attract everybody by a wrong one. */
    return n_closed < process->n_passed ? process->n_passed - n_closed : 0;
}

static void connections_taken(struct process *process, uint64_t number)
{
    while (process->untaken.first && process->untaken.first->number <= number)
        outgoing_free(take(&process->untaken));
    process->waiting_since_ms = process->untaken.first ? clock_ms() : 0;
}

static void close_handle(struct process *process, uv_handle_t *handle)
{
    if (!uv_is_closing(handle))
        uv_close(handle, on_closed);
    (void)process;
}

static void gone(struct process *process)
{
    if (process->state == PROCESS_GONE)
        return;
    enum process_state before = process->state;
    process->state = PROCESS_GONE;
    close_handle(process, (uv_handle_t *)&process->poll);
    fd_closep(&process->control);
    /* Mostly it has exited already; it may have to write a core or, under a checker, a report. */
    process->gone_ms = clock_ms();
    if (!process->has_exited && !uv_is_active((uv_handle_t *)&process->kill))
        uv_timer_start(&process->kill, on_linger, LOOK_MS, LOOK_MS);
    crew_on_gone(process->crew, process, before);
}

static void hear(struct process *process)
{
    struct control_message message;
    int passed, r;
    while ((r = control_receive(process->control, &message, &passed)) == 0) {
        fd_closep(&passed); /* workers pass none */
        process->heard_ms = clock_ms();
        if (process->is_unfit)
            continue; /* it is as good as dead, and may have a lot to say */
        if (message.type == CONTROL_TAKEN)
            connections_taken(process, message.number);
        else if (message.type != CONTROL_HEARTBEAT)
            crew_on_message(process->crew, process, &message);
        if (process->state == PROCESS_GONE)
            return;
    }
    if (r != CONTROL_EMPTY)
        gone(process);
}

static void on_control(uv_poll_t *poll, int status, int events)
{
    struct process *process = poll->data;
    /* First what it says: behind the end of the socket nothing can be sent. Also on an error, which
     * comes where it died with unread messages: it may have said that it took others. */
    hear(process);
    if (status < 0)
        gone(process);
    if (process->state != PROCESS_GONE && (events & UV_WRITABLE))
        flush(process);
}

static void on_exit_of(uv_process_t *handle, int64_t status, int signal)
{
    struct process *process = handle->data;
    process->has_exited = true;
    process->exit_status = status;
    process->exit_signal = signal;
    if (process->state != PROCESS_GONE)
        hear(process); /* what it said last; then the end */
    gone(process);
    crew_on_exit(process->crew, process);
    close_handle(process, (uv_handle_t *)&process->kill);
    close_handle(process, (uv_handle_t *)&process->handle);
}

static void on_kill(uv_timer_t *timer)
{
    process_kill(timer->data);
    raise(SIGCHLD); /* see on_linger */
}

/* libuv drops signals, SIGCHLD too, while a flood of them fills its pipe. */
static void on_linger(uv_timer_t *timer)
{
    struct process *process = timer->data;
    raise(SIGCHLD);
    if (clock_ms() - process->gone_ms >= LINGER_MS)
        process_kill(process);
}

static void on_closed(uv_handle_t *handle)
{
    struct process *process = handle->data;
    if (--process->n_handles > 0)
        return;
    crew_forget(process->crew, process);
    free(process);
}

void process_kill(struct process *process)
{
    if (!process->has_exited)
        uv_process_kill(&process->handle, SIGKILL);
}

void process_give_up(struct process *process)
{
    process->is_unfit = true;
    process_kill(process);
}

void process_abort(struct process *process)
{
    if (process->has_exited)
        return;
    process->is_hung = true;
    uv_process_kill(&process->handle, SIGABRT);
    uv_process_kill(&process->handle, SIGCONT);
    uv_timer_start(&process->kill, on_kill, KILL_AFTER_MS, 0);
}

static int spawn(struct process *process, int control)
{
    struct crew *crew = process->crew;
    char slot[16], name[32];
    snprintf(slot, sizeof slot, "%u", process->slot);
    snprintf(name, sizeof name, "actd: worker %u", process->number);
    char *args[] = {name, (char[]){"--worker"}, slot, NULL};
    uv_stdio_container_t stdio[] = {
        {.flags = UV_IGNORE},
        {.flags = UV_INHERIT_FD, .data.fd = STDOUT_FILENO},
        {.flags = UV_INHERIT_FD, .data.fd = STDERR_FILENO},
        {.flags = UV_INHERIT_FD, .data.fd = control},
        {.flags = UV_INHERIT_FD, .data.fd = crew->config_fd},
        {.flags = UV_INHERIT_FD, .data.fd = crew->board_fd},
    };
    uv_process_options_t options = {.file = "/proc/self/exe",
                                    .args = args,
                                    .env = crew->environment,
                                    .exit_cb = on_exit_of,
                                    .stdio = stdio,
                                    .stdio_count = sizeof stdio / sizeof *stdio};
    return uv_spawn(crew->loop, &process->handle, &options);
}

int process_start(struct crew *crew, unsigned number, unsigned slot, struct process **ret)
{
    int fds[2];
    struct process *process = calloc(1, sizeof *process);
    int r = process ? control_pair(fds) : -ENOMEM;
    if (r < 0) {
        free(process);
        return r;
    }
    process->crew = crew;
    process->number = number;
    process->slot = slot;
    process->heard_ms = clock_ms();
    process->control = fds[0];
    process->handle.data = process->poll.data = process->kill.data = process;
    uv_timer_init(crew->loop, &process->kill);
    process->n_handles = 1;
    if ((r = uv_poll_init(crew->loop, &process->poll, process->control)) == 0) {
        process->n_handles++;
        r = spawn(process, fds[1]);
        process->n_handles++; /* also one that failed is to be closed */
    }
    fd_closep(&fds[1]);
    if (r < 0) {
        process->state = PROCESS_GONE;
        process->has_exited = true;
        if (process->n_handles > 1) {
            close_handle(process, (uv_handle_t *)&process->poll);
            close_handle(process, (uv_handle_t *)&process->handle);
        }
        close_handle(process, (uv_handle_t *)&process->kill);
        fd_closep(&process->control);
        return r;
    }
    watch_control(process);
    *ret = process;
    return 0;
}
