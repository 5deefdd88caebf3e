/*
 * verify_team: the walk over the tree, shared out among threads.
 *
 * Each member walks as if it were alone, with a survey, frames and coverage of its own, and shares
 * nothing with the others but gifts: who sees at a tick that another one is idle gives it
 * half of the siblings that are left in the lowest run of its frames. The team ends when all are
 * idle and no gift is left. Then the coverages are laid over each other. Where two members saw the
 * same string, it counts once.
 *
 * A team only ever finds that there is nothing to be found. A fault, a note, a shared run, an
 * error: whatever is odd makes it give up, everything that it did is dropped, and v walks alone, so
 * that findings and their order are the same with any number of threads. A run that two members
 * walked is seen at the end; none walks more than the whole file.
 */
#include "tree/verify.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

/* Below this size starting threads costs about what they bring. */
#define TEAM_FILE_BYTES ((uint64_t)512 << 10)
#define TEAM_CPUS_MAX   4

/* How often a member looks whether another one is idle: enough gifts for all, few looks. */
#define TEAM_TICK_BYTES ((uint64_t)32 << 10)
#define TEAM_TICKS      256

/* Memory for frames that each member must have. */
#define TEAM_FRAMES_BYTES ((uint64_t)1 << 20)

/* How long the calling thread sleeps before it looks how far the others are. */
#define TEAM_TELL_MS 100

/* A run that is to be walked, and everything below it. */
struct gift {
    struct frame run;
    uint64_t depth_below; /* frames below it */
};

struct verify_member {
    struct team *team; /* borrowed */
    struct verify *v;  /* borrowed: the caller's, or own */
    struct verify own;
    struct act_survey survey;
    pthread_t thread;
    uint64_t n_given;            /* frames that have no siblings left, from the lowest on */
    _Atomic uint64_t done_bytes; /* as of its last tick */
};

/* What members that walk look at, without the mutex. */
enum call {
    CALL_NONE,
    CALL_GIVE, /* another one is idle, and there is no gift for it */
    CALL_STOP  /* the team gave up */
};

struct team {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    _Atomic int call; /* enum call */

    /* With the mutex. */
    unsigned n_members, n_idle;
    bool has_gift, is_over, is_odd;
    struct gift gift;

    cpu_set_t cpus;  /* those that we may use; none: not known */
    unsigned n_made; /* members that are initialised */
    struct verify_member members[];
};

/* With the mutex, after each change. */
static void team_call(struct team *team)
{
    int call = team->is_odd                          ? CALL_STOP
               : team->n_idle > 0 && !team->has_gift ? CALL_GIVE
                                                     : CALL_NONE;
    atomic_store_explicit(&team->call, call, memory_order_relaxed);
}

static void team_give_up(struct team *team)
{
    pthread_mutex_lock(&team->mutex);
    team->is_odd = team->is_over = true;
    team_call(team);
    pthread_cond_broadcast(&team->changed);
    pthread_mutex_unlock(&team->mutex);
}

static bool is_calling(const struct verify_member *member)
{
    return member == member->team->members;
}

static uint64_t team_done_bytes(struct team *team)
{
    uint64_t bytes = 0;
    for (unsigned i = 0; i < team->n_made; i++)
        bytes += atomic_load_explicit(&team->members[i].done_bytes, memory_order_relaxed);
    return bytes;
}

static void member_tell(struct verify_member *member)
{
    atomic_store_explicit(&member->done_bytes, member->v->done_bytes, memory_order_relaxed);
    if (is_calling(member))
        verify_accompany(member->v, team_done_bytes(member->team));
}

/* Takes half of the siblings that are left away: those that come next. All of them, if one cannot
 * be read, for whoever walks them to find out. */
static struct frame run_halve(const struct verify *v, struct frame *run)
{
    struct frame all = *run, half = *run;
    struct strict node;
    half.n_left = (uint16_t)((run->n_left + 1) / 2);
    run->n_left = (uint16_t)(run->n_left - half.n_left);
    for (unsigned i = 0; i < half.n_left; i++) {
        if (strict_read(v->map, run->at, run->parent, &node) != NULL) {
            run->n_left = 0;
            return all;
        }
        run->run_bytes = (uint16_t)(run->run_bytes + node.end - run->at);
        run->at = node.end;
        run->index++;
    }
    return half;
}

/* Gives the lowest run that has siblings left, unless nothing would be left for ourselves. */
static void member_give(struct verify_member *member)
{
    struct team *team = member->team;
    struct frames *frames = &member->v->frames;
    /* A frame whose siblings are done stays so until the walk ends. */
    while (member->n_given < frames->depth && frames_at(frames, member->n_given)->n_left == 0)
        member->n_given++;
    if (member->n_given + 1 >= frames->depth || frames->top->n_left == 0)
        return;
    pthread_mutex_lock(&team->mutex);
    if (team->n_idle > 0 && !team->has_gift) {
        team->gift.run = run_halve(member->v, frames_at(frames, member->n_given));
        team->gift.depth_below = member->v->depth_below + member->n_given;
        team->has_gift = true;
        team_call(team);
        pthread_cond_signal(&team->changed);
    }
    pthread_mutex_unlock(&team->mutex);
}

int verify_team_tick(struct verify_member *member)
{
    int call = atomic_load_explicit(&member->team->call, memory_order_relaxed);
    if (call == CALL_STOP)
        return -ECANCELED;
    if (call == CALL_GIVE)
        member_give(member);
    member_tell(member);
    return 0;
}

/* With the mutex, which is free meanwhile. */
static void member_sleep(struct verify_member *member)
{
    struct team *team = member->team;
    struct timespec until;
    if (!is_calling(member)) {
        pthread_cond_wait(&team->changed, &team->mutex);
        return;
    }
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += TEAM_TELL_MS * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    if (pthread_cond_clockwait(&team->changed, &team->mutex, CLOCK_MONOTONIC, &until) == 0)
        return;
    pthread_mutex_unlock(&team->mutex);
    member_tell(member);
    pthread_mutex_lock(&team->mutex);
}

/* Waits for one. False: there will be none. */
static bool member_take(struct verify_member *member, struct gift *ret_gift)
{
    struct team *team = member->team;
    pthread_mutex_lock(&team->mutex);
    team->n_idle++;
    team_call(team);
    while (!team->has_gift && !team->is_over) {
        if (team->n_idle == team->n_members) {
            team->is_over = true;
            pthread_cond_broadcast(&team->changed);
        } else {
            member_sleep(member);
        }
    }
    bool is_over = team->is_over;
    if (!is_over) {
        *ret_gift = team->gift;
        team->has_gift = false;
        team->n_idle--;
        team_call(team);
    }
    pthread_mutex_unlock(&team->mutex);
    return !is_over;
}

static void member_walk(struct verify_member *member)
{
    struct verify *v = member->v;
    struct gift gift;
    while (member_take(member, &gift)) {
        member->n_given = 0;
        v->depth_below = gift.depth_below;
        if (verify_walk_run(v, &gift.run) != 0)
            team_give_up(member->team);
        member_tell(member);
    }
}

static void *on_thread(void *context)
{
    struct verify_member *member = context;
    if (CPU_COUNT(&member->team->cpus) > 0)
        (void)sched_setaffinity(0, sizeof member->team->cpus, &member->team->cpus);
    coverage_populate(&member->v->coverage);
    member_walk(member);
    return NULL;
}

/* Of a helper, with that much memory. What it needs at first is taken here. */
static bool member_init(struct verify_member *member, const struct verify *v, uint64_t memory_bytes)
{
    member->v = &member->own;
    member->own = (struct verify){
        .tree = v->tree,
        .map = v->map,
        .survey = &member->survey,
        .member = member,
        .tick_bytes = v->tick_bytes,
        .ahead_begin = v->ahead_begin,
        .ahead_end = v->ahead_end,
    };
    scratch_init(&member->own.scratch, memory_bytes, v->options.temporary_directory);
    frames_init(&member->own.frames, &member->own.scratch);
    if (coverage_init(&member->own.coverage, v->map->size, &member->own.scratch) != 0 ||
        frames_push(&member->own.frames) != 0)
        return false;
    frames_clear(&member->own.frames);
    return true;
}

static void member_deinit(struct verify_member *member)
{
    frames_deinit(&member->own.frames);
    coverage_deinit(&member->own.coverage);
    scratch_deinit(&member->own.scratch);
}

/* How many members; memory_bytes is how much there is for each helper. */
static unsigned team_size(const struct verify *v, uint64_t *ret_memory_bytes)
{
    cpu_set_t cpus;
    uint64_t left = v->scratch.memory_left, bits = coverage_bytes(v->map->size);
    unsigned n = v->options.n_threads;
    if (n == 0 && v->map->size >= TEAM_FILE_BYTES && sched_getaffinity(0, sizeof cpus, &cpus) == 0)
        n = (unsigned)CPU_COUNT(&cpus) < TEAM_CPUS_MAX ? (unsigned)CPU_COUNT(&cpus) : TEAM_CPUS_MAX;
    if (n > ACT_VERIFY_MAX_THREADS)
        n = ACT_VERIFY_MAX_THREADS;
    /* Bits in a file are shared badly: whoever is first at a page waits for it. */
    if (v->scratch.fd >= 0)
        return 1;
    while (n > 1 && (n - 1) * bits + n * TEAM_FRAMES_BYTES > left)
        n--;
    if (n > 1)
        *ret_memory_bytes = bits + (left - (n - 1) * bits) / n;
    return n;
}

static struct team *team_new(struct verify *v, unsigned n, uint64_t memory_bytes)
{
    struct team *team = calloc(1, sizeof *team + n * sizeof *team->members);
    if (!team)
        return NULL;
    pthread_mutex_init(&team->mutex, NULL);
    pthread_cond_init(&team->changed, NULL);
    if (sched_getaffinity(0, sizeof team->cpus, &team->cpus) != 0)
        CPU_ZERO(&team->cpus);
    /* Whoever comes first begins at the root. */
    team->gift.run = (struct frame){.at = v->tree->root, .n_left = 1, .index = UINT8_MAX};
    team->has_gift = true;
    for (unsigned i = 0; i < n; i++) {
        struct verify_member *member = &team->members[i];
        member->team = team;
        member->v = v;
        team->n_made++;
        if (i > 0 && !member_init(member, v, memory_bytes)) {
            member_deinit(member);
            team->n_made--;
            break;
        }
    }
    return team;
}

static void team_free(struct team *team)
{
    for (unsigned i = 1; i < team->n_made; i++)
        member_deinit(&team->members[i]);
    pthread_cond_destroy(&team->changed);
    pthread_mutex_destroy(&team->mutex);
    free(team);
}

/* Signals of the program are none of ours; but one that a thread's own step brings about, such as
 * SIGBUS where a file was truncated, must find its handler. */
static void mask_signals(sigset_t *ret_before)
{
    static const int own[] = {SIGBUS, SIGSEGV, SIGILL, SIGFPE, SIGTRAP, SIGABRT, SIGSYS};
    sigset_t mask;
    sigfillset(&mask);
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        sigdelset(&mask, own[i]);
    pthread_sigmask(SIG_SETMASK, &mask, ret_before);
}

/*
 * Where the scheduler leaves a new thread on the CPU of the one that made it, the thread may wait
 * there for some milliseconds, in which the whole file could have been walked. So it begins on
 * another one. 0 or an error number.
 */
static int member_start(struct verify_member *member)
{
    pthread_attr_t attributes;
    cpu_set_t others = member->team->cpus;
    int cpu = sched_getcpu();
    if (cpu >= 0 && cpu < CPU_SETSIZE)
        CPU_CLR((unsigned)cpu, &others);
    int r = CPU_COUNT(&others) > 0 ? pthread_attr_init(&attributes) : -1;
    if (r == 0) {
        r = pthread_attr_setaffinity_np(&attributes, sizeof others, &others);
        if (r == 0)
            r = pthread_create(&member->thread, &attributes, on_thread, member);
        pthread_attr_destroy(&attributes);
    }
    return r == 0 ? 0 : pthread_create(&member->thread, NULL, on_thread, member);
}

/* All walk until the end. */
static void team_walk(struct team *team)
{
    sigset_t before;
    unsigned n_threads = 0;
    team->n_members = team->n_made;
    mask_signals(&before);
    while (n_threads + 1 < team->n_made && member_start(&team->members[n_threads + 1]) == 0)
        n_threads++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_mutex_lock(&team->mutex);
    team->n_members = 1 + n_threads;
    pthread_mutex_unlock(&team->mutex);
    member_walk(team->members);
    for (unsigned i = 1; i <= n_threads; i++)
        pthread_join(team->members[i].thread, NULL);
}

static void survey_add(struct act_survey *sum, const struct act_survey *survey)
{
    sum->n_values += survey->n_values;
    for (unsigned i = 0; i < ACT_N_OBJECTS; i++) {
        sum->n_objects[i] += survey->n_objects[i];
        sum->bytes[i] += survey->bytes[i];
    }
    for (unsigned i = 0; i < sizeof sum->fan_out / sizeof *sum->fan_out; i++)
        sum->fan_out[i] += survey->fan_out[i];
    for (unsigned i = 0; i < sizeof sum->depth / sizeof *sum->depth; i++)
        sum->depth[i] += survey->depth[i];
    if (survey->deepest_bytes > sum->deepest_bytes)
        sum->deepest_bytes = survey->deepest_bytes;
    if (survey->deepest_nodes > sum->deepest_nodes)
        sum->deepest_nodes = survey->deepest_nodes;
}

/* Strings that begin at those bits, in the cell of the bytes from offset on, counted twice. */
static void uncount(struct verify *v, uint64_t offset, uint64_t begins, enum act_object kind)
{
    for (; begins != 0; begins &= begins - 1) {
        struct strict_string string;
        uint64_t begin = offset + (unsigned)__builtin_ctzll(begins);
        if (!strict_read_string(v->map, begin, v->map->size, &string))
            continue; /* it was read before: the file has just been changed */
        v->survey->n_objects[kind]--;
        v->survey->bytes[kind] -= string.end - begin;
        v->done_bytes -= string.end - begin;
    }
}

/* False: it saw something that v saw too. */
static bool member_merge(struct verify *v, const struct verify_member *member)
{
    const struct verify *own = &member->own;
    survey_add(v->survey, own->survey);
    v->done_bytes += own->done_bytes;
    if (own->longest_key_bytes > v->longest_key_bytes)
        v->longest_key_bytes = own->longest_key_bytes;
    for (uint64_t i = 0; i < v->coverage.n_cells; i++) {
        struct coverage_cell both;
        if (!coverage_merge_cell(&v->coverage, &own->coverage, i, &both))
            return false;
        uncount(v, 64 * i, both.kinds[1], ACT_OBJECT_LINE_DATA);
        uncount(v, 64 * i, both.kinds[2], ACT_OBJECT_BYTES);
    }
    return true;
}

static bool team_merge(struct verify *v, const struct team *team)
{
    for (unsigned i = 1; i < team->n_made; i++)
        if (!member_merge(v, &team->members[i]))
            return false;
    return true;
}

/* v is as it was before the team. */
static void team_forget(struct verify *v, const struct act_survey *survey, uint64_t done_bytes)
{
    *v->survey = *survey;
    v->done_bytes = done_bytes;
    v->longest_key_bytes = 0;
    frames_clear(&v->frames);
    coverage_clear(&v->coverage);
    if (survey->bytes[ACT_OBJECT_METADATA] > 0)
        verify_cover_metadata(v);
}

bool verify_team(struct verify *v)
{
    uint64_t memory_bytes = 0, done_bytes = v->done_bytes;
    uint64_t tick_bytes = v->map->size / TEAM_TICKS + 1;
    const struct act_survey survey = *v->survey;
    unsigned n = team_size(v, &memory_bytes);
    v->tick_bytes = tick_bytes < TEAM_TICK_BYTES ? tick_bytes : TEAM_TICK_BYTES;
    struct team *team = n > 1 ? team_new(v, n, memory_bytes) : NULL;
    bool is_done = false;
    /* Its helpers have the rest. */
    uint64_t left = v->scratch.memory_left, share = memory_bytes - coverage_bytes(v->map->size);
    if (team && team->n_made > 1) {
        v->scratch.memory_left = share;
        v->member = team->members;
        v->next_tick = v->done_bytes + v->tick_bytes;
        team_walk(team);
        is_done = !team->is_odd && team_merge(v, team);
        v->scratch.memory_left = left - (share - v->scratch.memory_left);
        if (!is_done)
            team_forget(v, &survey, done_bytes);
    }
    if (team)
        team_free(team);
    v->member = NULL;
    v->depth_below = 0;
    v->tick_bytes = VERIFY_TICK_BYTES;
    v->next_tick = v->done_bytes + VERIFY_TICK_BYTES;
    return is_done;
}
