/*
 * signals: see signals.h.
 */
#include "client/actctl/signals.h"

#include "client/actctl/text.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

/* Those that end a program, and that a user or a limit may send. */
static const int ends[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPIPE, SIGXCPU, SIGXFSZ};
#define N_ENDS (sizeof ends / sizeof *ends)

/* Those that ask it to end, and may be answered with a word. */
static const int asks[] = {SIGHUP, SIGINT, SIGTERM};

/* For on_end: written while the signals wait, so that it never sees half a change. */
static const char *removed; /* borrowed; NULL: nothing is to be removed */
static sigset_t held;       /* those of ends that would end us */
static sigset_t before;     /* the mask before signals_hold */

static volatile sig_atomic_t caught; /* by signals_catch; 0: none */

/* For on_bus: the others are written before its handler is there. */
static atomic_flag is_told = ATOMIC_FLAG_INIT;
static struct {
    const char *path; /* borrowed */
    off_t size_bytes; /* of the file; -1: not known */
    char name[1024];  /* the path, printable */
    size_t name_len;
} guarded;

/* The default action is in place again (SA_RESETHAND); the signal waits until we return. */
static void on_end(int number)
{
    if (removed)
        (void)unlink(removed);
    (void)raise(number);
}

static void tell(const char *text, size_t len)
{
    (void)!write(STDERR_FILENO, text, len);
}

static void tell_text(const char *text)
{
    tell(text, strlen(text));
}

static void on_bus(int number, siginfo_t *info, void *context)
{
    struct stat st;
    (void)context;
    if (info->si_code <= 0) { /* somebody sent it */
        (void)signal(number, SIG_DFL);
        (void)raise(number);
        return;
    }
    /* Several threads may read the file: the first one tells, and ends us all. */
    while (atomic_flag_test_and_set(&is_told))
        pause();
    bool is_shorter = stat(guarded.path, &st) == 0 && st.st_size < guarded.size_bytes;
    tell_text(isatty(STDERR_FILENO) ? "\r\x1b[Kactctl: " : "actctl: "); /* no line of progress */
    tell_text(is_shorter ? "the file was truncated while it was read: "
                         : "the file could not be read, is its disk failing?: ");
    tell(guarded.name, guarded.name_len);
    tell_text("\n");
    _exit(STATUS_FAILED);
}

void signals_hold(void)
{
    struct sigaction action;
    sigemptyset(&held);
    for (size_t i = 0; i < N_ENDS; i++)
        if (sigaction(ends[i], NULL, &action) == 0 && action.sa_handler != SIG_IGN)
            sigaddset(&held, ends[i]);
    sigprocmask(SIG_BLOCK, &held, &before);
}

void signals_remove(const char *path)
{
    struct sigaction action = {.sa_handler = path ? on_end : SIG_DFL,
                               .sa_flags = (int)SA_RESETHAND};
    sigfillset(&action.sa_mask);
    removed = path;
    for (size_t i = 0; i < N_ENDS; i++)
        if (sigismember(&held, ends[i]) == 1)
            sigaction(ends[i], &action, NULL);
    sigprocmask(SIG_SETMASK, &before, NULL);
}

static void on_caught(int number)
{
    caught = number;
}

void signals_catch(void)
{
    /* No SA_RESTART: a read that waits for the disk is to look, too. */
    struct sigaction action = {.sa_handler = on_caught, .sa_flags = (int)SA_RESETHAND}, before_it;
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof asks / sizeof *asks; i++)
        if (sigaction(asks[i], NULL, &before_it) == 0 && before_it.sa_handler != SIG_IGN)
            sigaction(asks[i], &action, NULL);
}

int signals_caught(void)
{
    return caught;
}

void signals_raise(void)
{
    fflush(stdout);
    (void)signal(caught, SIG_DFL);
    (void)raise(caught);
}

void signals_guard(const struct actctl *ctl, const char *path)
{
    struct stat st;
    struct sigaction action = {.sa_sigaction = on_bus, .sa_flags = SA_SIGINFO};
    sigemptyset(&action.sa_mask);
    guarded.path = path;
    guarded.size_bytes = stat(path, &st) == 0 ? st.st_size : -1;
    FILE *file = fmemopen(guarded.name, sizeof guarded.name, "w");
    if (file) {
        text_write(file, slice_of_str(path), ctl->text_flags);
        fclose(file);
    }
    guarded.name_len = strnlen(guarded.name, sizeof guarded.name);
    sigaction(SIGBUS, &action, NULL);
}
