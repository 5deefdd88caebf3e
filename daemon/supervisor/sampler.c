/*
 * sampler: see sampler.h.
 *
 * The lock guards what the loop's thread hands over; the samples are atomic and written by this
 * thread only. What is told of a process that has ended meanwhile is harmless: samples carry its
 * pid.
 */
#include "daemon/supervisor/sampler.h"

#include "base/clock.h"
#include "base/refaults.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PERIOD_MS 1000
/* Which part of the time may be spent in smaps. */
#define PSS_PART 50

/* What mappings of one inode number in one process add up to. */
struct found {
    uint64_t mapped_bytes, pss_bytes;
};

/* What one process has of the tree. */
struct look {
    int32_t pid;    /* 0: the slot was free */
    bool has_lines; /* of smaps */
    bool is_read;   /* to the end */
    uint64_t asked_ms;
    struct found same_device, any_device;
};

/* A line of smaps. device: of the mapping that it is about, 0: that is not ours. */
static void take_line(const struct tree_file *tree, const char *line, dev_t *device,
                      struct look *look)
{
    struct mapping mapping;
    uint64_t kib;
    if (mapping_parse(line, &mapping)) {
        uint64_t bytes = mapping.end - mapping.start;
        *device = mapping_may_be(&mapping, tree) ? mapping.device : 0;
        if (*device == 0)
            return;
        look->any_device.mapped_bytes += bytes;
        if (*device == tree->device)
            look->same_device.mapped_bytes += bytes;
    } else if (*device != 0 && sscanf(line, "Pss: %" SCNu64 " kB", &kib) == 1) {
        look->any_device.pss_bytes += kib * 1024;
        if (*device == tree->device)
            look->same_device.pss_bytes += kib * 1024;
    }
}

static void look_at(struct sampler *sampler, int32_t pid, const struct tree_file *tree,
                    struct look *ret)
{
    char path[64], line[MAPPING_LINE_BYTES];
    dev_t device = 0;
    bool is_line_start = true;
    *ret = (struct look){.pid = pid};
    snprintf(path, sizeof path, "/proc/%d/smaps", (int)pid);
    FILE *file = fopen(path, "re");
    if (!file)
        return;
    while (!sampler->is_stopping && fgets(line, sizeof line, file)) {
        if (is_line_start) /* else the rest of a long path */
            take_line(tree, line, &device, ret);
        is_line_start = strchr(line, '\n') != NULL;
        ret->has_lines = true;
    }
    /* Of a process that has ended there is an empty file. */
    ret->is_read = ret->has_lines && feof(file) && !ferror(file);
    fclose(file);
}

/* BOARD_UNKNOWN: none of its mappings is the tree's for sure. */
static uint64_t pss_of(const struct look *look, const struct tree_file *tree)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t mapped_bytes = (tree->size_bytes + page - 1) / page * page;
    if (!look->is_read)
        return BOARD_UNKNOWN;
    if (look->same_device.mapped_bytes > 0)
        return look->same_device.pss_bytes;
    if (look->any_device.mapped_bytes == mapped_bytes)
        return look->any_device.pss_bytes;
    return BOARD_UNKNOWN;
}

static struct board_sample *sample_for(struct board_sample *sample, int32_t pid)
{
    if (sample->pid != pid)
        board_sample_begin(sample, pid);
    return sample;
}

static void sample_usage(struct board_sample *sample, int32_t pid)
{
    uint64_t usage[N_USAGE];
    usage_read(pid, usage);
    sample = sample_for(sample, pid);
    for (size_t i = 0; i < N_USAGE; i++)
        sample->usage[i] = usage[i];
    sample->usage_asked_ms = clock_ms();
}

/* Faults and resident sets of all, and what the kernel tells of memory as a whole. */
static void sample_usages(struct sampler *sampler)
{
    struct board *board = sampler->board;
    board->own_head->refaults = refaults_read(&refaults_kernel);
    sample_usage(&board->own_head->sample, board->head->supervisor_pid);
    for (unsigned i = 0; i < board->head->n_slots && !sampler->is_stopping; i++) {
        int32_t pid = board->slots[i].pid;
        if (pid != 0)
            sample_usage(&board->own_slots[i].sample, pid);
    }
}

/* Who could be read and has no such mapping has nothing of the tree: so it is if others have it.
 * Else it may be that we do not recognize it. */
static void publish(struct sampler *sampler, const struct tree_file *tree)
{
    bool is_recognized = false;
    unsigned n = sampler->board->head->n_slots;
    for (unsigned i = 0; i < n; i++)
        is_recognized |=
            sampler->looks[i].pid != 0 && pss_of(&sampler->looks[i], tree) != BOARD_UNKNOWN;
    for (unsigned i = 0; i < n; i++) {
        const struct look *look = &sampler->looks[i];
        if (look->pid == 0 || sampler->board->slots[i].pid != look->pid)
            continue;
        struct board_sample *sample = sample_for(&sampler->board->own_slots[i].sample, look->pid);
        uint64_t pss = pss_of(look, tree);
        if (pss == BOARD_UNKNOWN && look->is_read && is_recognized)
            pss = 0;
        sample->tree_generation = 0; /* while the two do not belong together */
        sample->tree_pss_bytes = pss;
        sample->tree_asked_ms = look->asked_ms;
        sample->tree_generation = tree->generation;
    }
}

/* The tree in all workers. Where that takes long, the rest is still looked at every second. */
static void sample_tree(struct sampler *sampler, const struct tree_file *tree,
                        uint64_t *next_usage_ms)
{
    const struct board *board = sampler->board;
    memset(sampler->looks, 0, board->head->n_slots * sizeof *sampler->looks);
    for (unsigned i = 0; i < board->head->n_slots && !sampler->is_stopping; i++) {
        int32_t pid = board->slots[i].pid;
        if (pid == 0)
            continue;
        look_at(sampler, pid, tree, &sampler->looks[i]);
        sampler->looks[i].asked_ms = clock_ms();
        if (clock_ms() >= *next_usage_ms) {
            sample_usages(sampler);
            *next_usage_ms = clock_ms() + PERIOD_MS;
        }
    }
    if (!sampler->is_stopping)
        publish(sampler, tree);
}

/* Until then, or until there is something to do. True: the tree is to be looked at. */
static bool wait_until(struct sampler *sampler, uint64_t usage_ms, uint64_t tree_ms,
                       struct tree_file *ret_tree)
{
    uint64_t at = usage_ms < tree_ms ? usage_ms : tree_ms;
    struct timespec deadline = {.tv_sec = (time_t)(at / 1000),
                                .tv_nsec = (long)(at % 1000) * 1000000};
    pthread_mutex_lock(&sampler->lock);
    while (!sampler->is_stopping && !sampler->is_asked && clock_ms() < at)
        pthread_cond_timedwait(&sampler->wake, &sampler->lock, &deadline);
    bool is_due = (sampler->is_asked || clock_ms() >= tree_ms) && sampler->tree.generation != 0;
    sampler->is_asked = false;
    *ret_tree = sampler->tree;
    pthread_mutex_unlock(&sampler->lock);
    return is_due;
}

static void *run(void *context)
{
    struct sampler *sampler = context;
    uint64_t usage_ms = 0, tree_ms = 0;
    struct tree_file tree;
    while (!sampler->is_stopping) {
        bool is_tree_due = wait_until(sampler, usage_ms, tree_ms, &tree);
        if (sampler->is_stopping)
            break;
        /* Also when asked: then workers have come. */
        sample_usages(sampler);
        usage_ms = clock_ms() + PERIOD_MS;
        uint64_t began_ms = clock_ms();
        if (is_tree_due)
            sample_tree(sampler, &tree, &usage_ms);
        uint64_t pause_ms = (clock_ms() - began_ms) * PSS_PART;
        if (is_tree_due || clock_ms() >= tree_ms)
            tree_ms = clock_ms() + (pause_ms > PERIOD_MS ? pause_ms : PERIOD_MS);
    }
    return NULL;
}

static int start_thread(struct sampler *sampler)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int r = pthread_create(&sampler->thread, NULL, run, sampler);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -r;
}

int sampler_start(struct sampler *sampler, struct board *board)
{
    pthread_condattr_t attributes;
    *sampler = (struct sampler){.board = board};
    sampler->looks = calloc(board->head->n_slots, sizeof *sampler->looks);
    if (!sampler->looks)
        return -ENOMEM;
    pthread_mutex_init(&sampler->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC); /* clock_ms's */
    pthread_cond_init(&sampler->wake, &attributes);
    pthread_condattr_destroy(&attributes);
    int r = start_thread(sampler);
    if (r < 0) {
        free(sampler->looks);
        sampler->looks = NULL;
        return r;
    }
    sampler->is_running = true;
    return 0;
}

void sampler_stop(struct sampler *sampler)
{
    if (!sampler->is_running)
        return;
    pthread_mutex_lock(&sampler->lock);
    sampler->is_stopping = true;
    pthread_cond_signal(&sampler->wake);
    pthread_mutex_unlock(&sampler->lock);
    pthread_join(sampler->thread, NULL);
    sampler->is_running = false;
    pthread_cond_destroy(&sampler->wake);
    pthread_mutex_destroy(&sampler->lock);
    free(sampler->looks);
    sampler->looks = NULL;
}

void sampler_generation(struct sampler *sampler, const struct generation *generation)
{
    if (!sampler->is_running)
        return;
    pthread_mutex_lock(&sampler->lock);
    sampler->tree = mappings_file(generation);
    sampler->is_asked = true;
    pthread_cond_signal(&sampler->wake);
    pthread_mutex_unlock(&sampler->lock);
}

void sampler_ask(struct sampler *sampler)
{
    if (!sampler->is_running)
        return;
    pthread_mutex_lock(&sampler->lock);
    sampler->is_asked = true;
    pthread_cond_signal(&sampler->wake);
    pthread_mutex_unlock(&sampler->lock);
}
