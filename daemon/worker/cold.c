/*
 * cold: see cold.h.
 *
 * The happy path: cold_submit puts reads into the table and a list of the loop's own;
 * cold_hand_over gives the list to the threads; run_thread takes some, has the kernel begin them
 * all, touches each page, and sends the signal; on_done wakes the jobs.
 */
#include "daemon/worker/cold.h"

#include "base/log.h"
#include "daemon/worker/conn.h"
#include "daemon/worker/guard.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

static void on_done(uv_async_t *signal);

/* Pages that a thread takes at once, at most. The kernel reads them side by side. */
#define TAKEN_MAX 32
/* A thread without work ends after so long. */
#define IDLE_MS 200
/* Tickets that there may be, for each page of cold.queue. */
#define TICKETS_PER_READ 4
/* Starting one takes the loop some 20 us. */
#define STARTED_AT_ONCE 4
/* Deep enough for a page fault, its signal, and sanitizers. */
#define STACK_BYTES ((size_t)256 * 1024)
/* How long cold_deinit waits for threads that are reading. */
#define END_MS 500

/* A page on its way into memory. */
struct page_read {
    struct snapshot *snapshot; /* one reference */
    uint64_t page;
    struct page_read *next_in_table;
    struct page_read *next;
    struct ticket *tickets; /* of jobs that wait for it */
    bool is_lost;           /* it cannot be read */
};

/* A job waits for a page. */
struct ticket {
    struct job *job;
    struct page_read *read;
    struct ticket *previous_of_job, *next_of_job;
    struct ticket *previous_of_read, *next_of_read;
};

static void push(struct page_reads *reads, struct page_read *read)
{
    if (reads->first)
        reads->last->next = read;
    else
        reads->first = read;
    reads->last = read;
    reads->n++;
}

/* The first n, at least one and no more than there are. */
static struct page_read *pop(struct page_reads *reads, size_t n)
{
    struct page_read *first = reads->first, *last = first;
    for (size_t i = 1; i < n; i++)
        last = last->next;
    reads->first = last->next;
    last->next = NULL;
    reads->n -= n;
    return first;
}

static void append(struct page_reads *to, struct page_reads *from)
{
    if (!from->first)
        return;
    if (to->first)
        to->last->next = from->first;
    else
        to->first = from->first;
    to->last = from->last;
    to->n += from->n;
    *from = (struct page_reads){0};
}

static size_t place_of(const struct cold *cold, const struct snapshot *snapshot, uint64_t page)
{
    uint64_t hash = (page ^ (uintptr_t)snapshot >> 4) * UINT64_C(0x9e3779b97f4a7c15);
    return (size_t)(hash >> 32) & (cold->table_size - 1);
}

static struct page_read *find(const struct cold *cold, const struct snapshot *snapshot,
                              uint64_t page)
{
    struct page_read *read = cold->table[place_of(cold, snapshot, page)];
    while (read && (read->snapshot != snapshot || read->page != page))
        read = read->next_in_table;
    return read;
}

static void remove_read(struct cold *cold, struct page_read *read)
{
    struct page_read **at = &cold->table[place_of(cold, read->snapshot, read->page)];
    while (*at != read)
        at = &(*at)->next_in_table;
    *at = read->next_in_table;
    cold->n_reads--;
}

static struct cold_stats *stats_of(const struct cold *cold)
{
    return &cold->worker->board->own_page->cold;
}

/* NULL: the queue is full. */
static struct page_read *begin_read(struct cold *cold, struct snapshot *snapshot, uint64_t page)
{
    struct page_read *read = cold->unused;
    if (cold->n_reads >= cold->worker->config->cold_queue)
        return NULL;
    if (read)
        cold->unused = read->next;
    else
        read = malloc(sizeof *read);
    if (!read)
        return NULL;
    struct page_read **place = &cold->table[place_of(cold, snapshot, page)];
    *read = (struct page_read){
        .snapshot = snapshot_ref(snapshot), .page = page, .next_in_table = *place};
    *place = read;
    push(&cold->begun, read);
    cold->n_reads++;
    act_residency_await(snapshot->residency, page);
    return read;
}

/* False: there is no memory for it, or none is allowed. */
static bool take_ticket(struct cold *cold, struct job *job, struct page_read *read)
{
    struct ticket *ticket = cold->unused_tickets;
    if (cold->n_tickets >= TICKETS_PER_READ * cold->worker->config->cold_queue)
        return false;
    if (ticket)
        cold->unused_tickets = ticket->next_of_job;
    else
        ticket = malloc(sizeof *ticket);
    if (!ticket)
        return false;
    *ticket = (struct ticket){
        .job = job, .read = read, .next_of_job = job->tickets, .next_of_read = read->tickets};
    if (job->tickets)
        job->tickets->previous_of_job = ticket;
    if (read->tickets)
        read->tickets->previous_of_read = ticket;
    job->tickets = read->tickets = ticket;
    cold->n_tickets++;
    return true;
}

static void give_up_ticket(struct cold *cold, struct ticket *ticket)
{
    if (ticket->next_of_job)
        ticket->next_of_job->previous_of_job = ticket->previous_of_job;
    if (ticket->previous_of_job)
        ticket->previous_of_job->next_of_job = ticket->next_of_job;
    else
        ticket->job->tickets = ticket->next_of_job;
    if (ticket->next_of_read)
        ticket->next_of_read->previous_of_read = ticket->previous_of_read;
    if (ticket->previous_of_read)
        ticket->previous_of_read->next_of_read = ticket->next_of_read;
    else
        ticket->read->tickets = ticket->next_of_read;
    ticket->next_of_job = cold->unused_tickets;
    cold->unused_tickets = ticket;
    cold->n_tickets--;
}

bool cold_submit(struct cold *cold, struct job *job)
{
    size_t n_missed, n;
    struct cold_stats *stats = stats_of(cold);
    const uint64_t *pages = act_residency_wanted(job->snapshot->residency, &n_missed, &n);
    /* One page is enough to go on for. What it needs besides must not take the place of what others
     * need to go on at all. */
    uint64_t most = cold->worker->config->cold_queue / 2;
    for (size_t i = 0; i < n; i++) {
        struct page_read *read = find(cold, job->snapshot, pages[i]);
        if (read)
            stats->pages_shared++;
        else if (!job->tickets || cold->n_reads < most)
            read = begin_read(cold, job->snapshot, pages[i]);
        if (read && i < n_missed && (!job->tickets || cold->n_tickets < TICKETS_PER_READ * most))
            job->pages_missed += take_ticket(cold, job, read);
    }
    stats->queued = cold->n_reads;
    stats->refused += !job->tickets;
    stats->waiting += job->tickets != NULL;
    return job->tickets;
}

static void leave(struct cold *cold, struct job *job)
{
    while (job->tickets)
        give_up_ticket(cold, job->tickets);
    stats_of(cold)->waiting--;
}

void cold_leave(struct job *job)
{
    if (job->tickets)
        leave(&job->conn->worker->cold, job);
}

static const uint8_t *page_address(const struct page_read *read)
{
    struct act_info info;
    act_info(read->snapshot->tree, &info);
    return (const uint8_t *)(uintptr_t)info.mapping_start + read->page * ACT_PAGE_BYTES;
}

static int touch(void *context)
{
    const struct page_read *read = context;
    guard_touch(read->snapshot->tree, page_address(read));
    return 0;
}

/* What a thread may take from. Those that read files of the past are limited, so that a disk that
 * hangs does not hold up the file that has taken the place of its own. With the lock. */
static struct page_reads *next_queue(struct cold *cold)
{
    bool may_read_past = cold->n_past < cold->worker->config->cold_threads;
    if (cold->queue.first)
        return &cold->queue;
    return may_read_past && cold->past.first ? &cold->past : NULL;
}

/* A fair part of what waits: threads that read already have theirs. With the lock. */
static struct page_read *take(struct cold *cold, struct page_reads *queue, bool *ret_is_past)
{
    size_t n_takers = cold->n_running - cold->n_busy;
    size_t n = (queue->n + n_takers - 1) / n_takers;
    *ret_is_past = queue == &cold->past;
    cold->n_busy++;
    cold->n_past += *ret_is_past;
    return pop(queue, n < TAKEN_MAX ? n : TAKEN_MAX);
}

/* The loop comes for it. */
static void give_back(struct cold *cold, struct page_read *read, uint64_t n_faults)
{
    pthread_mutex_lock(&cold->lock);
    bool is_told = cold->done; /* and the loop has not come yet */
    read->next = cold->done;
    cold->done = read;
    cold->n_faults += n_faults;
    if (!is_told && !cold->is_closed)
        uv_async_send(&cold->done_signal);
    pthread_mutex_unlock(&cold->lock);
}

static uint64_t own_faults(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_THREAD, &usage) == 0 ? (uint64_t)usage.ru_majflt : 0;
}

/* Begun together, they take the disk about as long as one; and one that takes longer holds up only
 * those behind it. */
static void read_pages(struct cold *cold, struct page_read *reads)
{
    struct page_read *next;
    uint64_t before = own_faults();
    for (struct page_read *read = reads; read && reads->next; read = read->next)
        (void)posix_fadvise(read->snapshot->fd, (off_t)(read->page * ACT_PAGE_BYTES),
                            ACT_PAGE_BYTES, POSIX_FADV_WILLNEED);
    for (struct page_read *read = reads; read; read = next) {
        next = read->next;
        read->is_lost = guard_run(touch, read) == GUARD_LOST;
        if (!read->is_lost)
            act_residency_note(read->snapshot->residency, read->page);
        uint64_t now = own_faults();
        give_back(cold, read, now - before);
        before = now;
    }
}

/* NULL: none has come for a while. With the lock. */
static struct page_reads *wait_for_more(struct cold *cold)
{
    struct timespec until;
    struct page_reads *queue;
    int r = 0;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += IDLE_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    cold->n_idle++;
    while (!(queue = next_queue(cold)) && !cold->is_closed && r != ETIMEDOUT)
        r = pthread_cond_timedwait(&cold->more, &cold->lock, &until);
    cold->n_idle--;
    return cold->is_closed ? NULL : queue;
}

static void *run_thread(void *context)
{
    struct cold_thread *thread = context;
    struct cold *cold = thread->cold;
    struct page_reads *queue;
    pthread_mutex_lock(&cold->lock);
    while ((queue = wait_for_more(cold))) {
        bool is_past;
        struct page_read *reads = take(cold, queue, &is_past);
        thread->is_in_past = is_past;
        thread->is_reading = true;
        pthread_mutex_unlock(&cold->lock);
        read_pages(cold, reads);
        pthread_mutex_lock(&cold->lock);
        cold->n_busy--;
        cold->n_past -= thread->is_in_past;
        thread->is_in_past = thread->is_reading = false;
    }
    cold->n_running--;
    thread->has_ended = true;
    if (!cold->is_closed)
        uv_async_send(&cold->done_signal); /* there is one less */
    pthread_mutex_unlock(&cold->lock);
    return NULL;
}

/* A place for one more: one whose thread has ended, or was never there. With the lock. */
static struct cold_thread *find_place(struct cold *cold)
{
    for (unsigned i = 0; i < COLD_THREADS_MAX; i++) {
        struct cold_thread *thread = &cold->threads[i];
        if (thread->is_there && thread->has_ended) {
            pthread_join(thread->id, NULL); /* it has let go of the lock, and ends */
            thread->is_there = false;
        }
        if (!thread->is_there)
            return thread;
    }
    return NULL;
}

/* With the lock. */
static bool start_thread(struct cold *cold)
{
    sigset_t all, before;
    pthread_attr_t attributes;
    struct cold_thread *thread = find_place(cold);
    if (!thread)
        return false;
    thread->cold = cold;
    thread->has_ended = false;
    /* Signals are the loop's; but a fault is the thread's own. */
    sigfillset(&all);
    sigdelset(&all, SIGBUS);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    thread->is_there = pthread_create(&thread->id, &attributes, run_thread, thread) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    cold->n_running += thread->is_there;
    return thread->is_there;
}

/* As many as the queue has work for; the others when the loop comes by again, which is soon. Only
 * the loop starts threads, between turns: the address space is locked meanwhile, and a turn would
 * wait for that. With the lock. */
static void start_threads(struct cold *cold)
{
    cold->lacks_threads = false;
    for (unsigned i = 0; i <= STARTED_AT_ONCE; i++) {
        const struct page_reads *queue = next_queue(cold);
        if (!queue || queue->n <= cold->n_idle + i ||
            cold->n_running - cold->n_past >= cold->worker->config->cold_threads)
            return;
        if (i < STARTED_AT_ONCE && !start_thread(cold))
            return;
    }
    cold->lacks_threads = true;
    uv_async_send(&cold->done_signal); /* the loop does not sleep */
}

/* No thread can be had: better late than never. */
static void read_on_loop(struct cold *cold)
{
    struct page_reads *queue;
    while ((queue = next_queue(cold)))
        read_pages(cold, pop(queue, queue->n));
}

void cold_hand_over(struct cold *cold)
{
    if (!cold->begun.first && !cold->lacks_threads)
        return;
    pthread_mutex_lock(&cold->lock);
    while (cold->begun.first) {
        struct page_read *read = pop(&cold->begun, 1);
        bool is_past = read->snapshot != cold->worker->snapshot;
        push(is_past ? &cold->past : &cold->queue, read);
    }
    start_threads(cold);
    bool is_alone = cold->n_running == 0;
    stats_of(cold)->threads = cold->n_running;
    size_t n = cold->queue.n + cold->past.n;
    n = n < cold->n_idle ? n : cold->n_idle;
    pthread_mutex_unlock(&cold->lock);
    for (size_t i = 0; i < n; i++)
        pthread_cond_signal(&cold->more);
    if (is_alone)
        read_on_loop(cold);
}

/* The loop's end of a read: its jobs go on. */
static void finish(struct cold *cold, struct page_read *read)
{
    struct worker *worker = cold->worker;
    struct snapshot *snapshot = read->snapshot;
    if (read->is_lost && !snapshot->damage) {
        snapshot_note_fault(snapshot);
        worker_tell_damage(worker, snapshot);
    }
    while (read->tickets) {
        struct job *job = read->tickets->job;
        give_up_ticket(cold, read->tickets);
        if (!job->tickets || read->is_lost) {
            leave(cold, job);
            job_make_ready(job);
        }
    }
    remove_read(cold, read);
    read->next = cold->unused;
    cold->unused = read;
    worker_let_go(worker, snapshot);
}

static void on_done(uv_async_t *signal)
{
    struct cold *cold = signal->data;
    struct cold_stats *stats = stats_of(cold);
    pthread_mutex_lock(&cold->lock);
    struct page_read *done = cold->done, *next;
    cold->done = NULL;
    stats->major_faults = cold->n_faults;
    stats->threads = cold->n_running;
    pthread_mutex_unlock(&cold->lock);
    for (; done; done = next) {
        next = done->next;
        finish(cold, done);
        stats->pages_read++;
    }
    stats->queued = cold->n_reads;
}

void cold_switch(struct cold *cold)
{
    cold_hand_over(cold);
    pthread_mutex_lock(&cold->lock);
    append(&cold->past, &cold->queue);
    for (unsigned i = 0; i < COLD_THREADS_MAX; i++) {
        struct cold_thread *thread = &cold->threads[i];
        bool is_reading = thread->is_there && !thread->has_ended && thread->is_reading;
        cold->n_past += is_reading && !thread->is_in_past;
        thread->is_in_past = is_reading;
    }
    pthread_mutex_unlock(&cold->lock);
}

int cold_init(struct cold *cold, struct worker *worker)
{
    pthread_condattr_t monotonic;
    cold->worker = worker;
    for (cold->table_size = 64; cold->table_size < worker->config->cold_queue;)
        cold->table_size *= 2;
    cold->table = calloc(cold->table_size, sizeof *cold->table);
    if (!cold->table)
        return -ENOMEM;
    int r = uv_async_init(worker->loop, &cold->done_signal, on_done);
    if (r < 0) {
        free(cold->table);
        return r;
    }
    cold->done_signal.data = cold;
    uv_unref((uv_handle_t *)&cold->done_signal);
    pthread_mutex_init(&cold->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&cold->more, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return 0;
}

void cold_close(struct cold *cold)
{
    pthread_mutex_lock(&cold->lock);
    cold->is_closed = true;
    pthread_cond_broadcast(&cold->more);
    pthread_mutex_unlock(&cold->lock);
    uv_close((uv_handle_t *)&cold->done_signal, NULL);
}

/* Has the thread ended, or does it within that time? */
static bool join_thread(struct cold_thread *thread, const struct timespec *until)
{
    return !thread->is_there || pthread_timedjoin_np(thread->id, NULL, until) == 0;
}

static void free_reads(struct page_read *reads)
{
    struct page_read *next;
    for (; reads; reads = next) {
        next = reads->next;
        if (snapshot_unref(reads->snapshot))
            snapshot_free(reads->snapshot);
        free(reads);
    }
}

bool cold_deinit(struct cold *cold)
{
    struct timespec until;
    struct page_read *next;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += END_MS * 1000000L;
    until.tv_sec += until.tv_nsec / 1000000000L;
    until.tv_nsec %= 1000000000L;
    for (unsigned i = 0; i < COLD_THREADS_MAX; i++)
        if (!join_thread(&cold->threads[i], &until))
            return false;
    free_reads(cold->begun.first);
    free_reads(cold->queue.first);
    free_reads(cold->past.first);
    free_reads(cold->done);
    for (struct page_read *read = cold->unused; read; read = next) {
        next = read->next;
        free(read);
    }
    while (cold->unused_tickets) {
        struct ticket *ticket = cold->unused_tickets;
        cold->unused_tickets = ticket->next_of_job;
        free(ticket);
    }
    free(cold->table);
    pthread_cond_destroy(&cold->more);
    pthread_mutex_destroy(&cold->lock);
    return true;
}
