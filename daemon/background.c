/*
 * background: see background.h.
 */
#include "daemon/background.h"

#include "base/fd.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What it does must not take from those who serve. The idle class of either could wait forever on a
 * busy machine. */
#define NICE 10

/* linux/ioprio.h: the lowest level of the best-effort class. */
#define IOPRIO_WHO_PROCESS 1
#define IOPRIO_LOWEST      (2 << 13 | 7)

/* Not PR_SET_PDEATHSIG, which would also come when the supervisor lives on, and only its thread
 * that started us has ended. */
static void *watch_control(void *context)
{
    struct pollfd end = {.fd = (int)(intptr_t)context, .events = POLLRDHUP};
    while (poll(&end, 1, -1) <= 0)
        ;
    _exit(EXIT_SUCCESS);
}

static void start_watching(int control)
{
    pthread_t thread;
    /* Without it the process only ends later: nobody is there to hear what it says. */
    if (pthread_create(&thread, NULL, watch_control, (void *)(intptr_t)control) == 0)
        pthread_detach(thread);
}

static void handle_signals(void)
{
    /* To the whole process group, most likely; the supervisor decides what becomes of us. */
    static const int ignored[] = {SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGPIPE};
    sigset_t none;
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
        (void)signal(ignored[i], SIG_IGN);
    /* The mask is inherited, and a fault whose signal is blocked kills. */
    sigemptyset(&none);
    (void)pthread_sigmask(SIG_SETMASK, &none, NULL);
}

/* If memory is short, this process is the one to do without. */
static void volunteer_for_oom(void)
{
    with_close int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd >= 0)
        (void)!write(fd, "1000", 4);
}

/* What it maps may be a whole tree. */
static void forgo_core(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_CORE, &limit) == 0) {
        limit.rlim_cur = 0;
        (void)setrlimit(RLIMIT_CORE, &limit);
    }
}

void background_begin(int control)
{
    struct sched_param none = {0};
    handle_signals();
    (void)sched_setscheduler(0, SCHED_BATCH, &none);
    (void)setpriority(PRIO_PROCESS, 0, NICE);
    (void)syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_LOWEST);
    volunteer_for_oom();
    forgo_core();
    start_watching(control);
}
