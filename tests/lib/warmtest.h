/*
 * warmtest: act_warm on files on the disk, with an account of what it reads.
 *
 * pread and posix_fadvise are wrapped here (-Wl,--wrap): each page that is asked for is counted,
 * and reads fail when a test says so.
 */
#pragma once

#include <act/warm.h>

#include <sys/types.h>

#define PAGE ((uint64_t)ACT_PAGE_BYTES)

ssize_t __real_pread64(int fd, void *p, size_t len, off_t offset);
int __real_posix_fadvise64(int fd, off_t offset, off_t len, int advice);
ssize_t __wrap_pread64(int fd, void *p, size_t len, off_t offset);
int __wrap_posix_fadvise64(int fd, off_t offset, off_t len, int advice);

/* What is seen since reads_begin. */
struct reads {
    uint8_t *n_read, *n_asked; /* a count a page; NULL: nobody looks */
    uint64_t n_pages;
    uint64_t fail_from;       /* bytes: reads from there on are EIO */
    uint64_t us_per_page;     /* that a read, or asking for one, takes */
    uint64_t most_bytes;      /* of one of these */
    unsigned n_interrupts;    /* reads that end so before one goes on */
    uint64_t since_wait;      /* bytes asked for or read for the first time since it was set to 0 */
    uint64_t most_since_wait; /* the most that it has been */
};
extern struct reads reads;

/* Of a file of that size; reads beyond it end the test. */
void reads_begin(uint64_t size);
void reads_end(void);

/* How many pages have a count. */
uint64_t reads_pages(const uint8_t *counts);

/* A file on the disk, of which nothing is in memory. */
struct warmtest_file {
    char path[32];
    int fd;
    uint64_t size;
};

struct warmtest_file warmtest_file_of(const void *content, uint64_t size);
struct warmtest_file warmtest_random(uint64_t size);
/* Removes it. */
void warmtest_end(struct warmtest_file *file);

/* Drops its pages from memory, but those that are mapped and were touched. */
void warmtest_drop(const struct warmtest_file *file);

/* What the kernel has of it; *owned* by the caller. */
struct act_pages *warmtest_resident(const struct warmtest_file *file);
uint64_t warmtest_n_resident(const struct warmtest_file *file);

/* act_warm through a descriptor of its own: it must not matter what others have advised theirs.
 * Begins an account of reads. */
int warmtest_run(const struct warmtest_file *file, const struct act *tree,
                 const struct act_warm_options *options, struct act_warm_progress *ret_progress);
