/*
 * check: see check.h.
 *
 * The process answers with one message, or dies. Whatever comes first ends it.
 */
#include "daemon/supervisor/check.h"

#include "base/fd.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>

static void answer(struct check *check, int fd, const struct generation *generation,
                   const char *text)
{
    helper_stop(&check->helper);
    check->on_done(check->context, fd, generation, text);
}

static void on_message(void *context, const struct control_message *message, int *passed)
{
    struct check *check = context;
    if (message->type == CONTROL_CANDIDATE && *passed >= 0) {
        answer(check, fd_take(passed), &message->generation, "");
    } else if (message->type == CONTROL_REFUSED) {
        check->error = message->number < 4096 ? (int)message->number : 0;
        answer(check, -1, &message->generation, message->text);
    } else if (message->type == CONTROL_PROGRESS) {
        check->checked_bytes = message->number;
        check->total_bytes = message->generation.size_bytes;
    }
}

static void on_end(void *context, const struct helper_end *end)
{
    struct check *check = context;
    struct generation unknown = {0};
    char text[640];
    check->error = end->signal == SIGBUS ? EIO : 0;
    if (end->signal == SIGBUS)
        snprintf(text, sizeof text,
                 "%.400s: it was truncated while it was read, or reading it failed", check->path);
    else
        snprintf(text, sizeof text, "%.400s: %s", check->path, end->text);
    answer(check, -1, &unknown, text);
}

static int start(struct check *check, char *const args[], int fd)
{
    check->helper.what = "checking it";
    check->helper.on_message = on_message;
    check->helper.on_end = on_end;
    check->helper.context = check;
    check->checked_bytes = check->total_bytes = 0;
    check->error = 0;
    return helper_start(&check->helper, args, fd);
}

int check_start(struct check *check)
{
    char *const args[] = {(char[]){"actd: checker"}, (char[]){"--checker"}, NULL};
    return start(check, args, -1);
}

int check_start_held(struct check *check, const struct held *held)
{
    char *const args[] = {(char[]){"actd: checker"}, (char[]){"--checker"}, (char[]){"held"}, NULL};
    struct control_message message = {.type = CONTROL_GENERATION,
                                      .number = held->generation.number,
                                      .generation = held->generation};
    int r = start(check, args, held->fd);
    if (r == 0 && (r = helper_say(&check->helper, &message)) != 0) {
        helper_stop(&check->helper);
        r = r < 0 ? r : -EAGAIN;
    }
    return r;
}

void check_cancel(struct check *check)
{
    helper_stop(&check->helper);
}
