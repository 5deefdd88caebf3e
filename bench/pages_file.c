/*
 * pages_file: see pages_file.h.
 */
#include "bench/pages_file.h"

#include "act/builder.h"
#include "bench/pages_keys.h"

#include <err.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* What a key takes in the file, beside its byte string: measured. */
#define BYTES_PER_KEY     15
#define BYTES_PER_STRING  21
#define READ_BYTES        ((size_t)1 << 20)
#define VALUE_BYTES_MAX   ((uint64_t)1 << 20)
#define DROP_TRIES        20
#define WARM_TRIES        4
#define BETWEEN_DROPS_NS  (20 * 1000 * 1000)
#define RESIDENT_STEP     ((uint64_t)1 << 30)
#define PAGE_BYTES        ((uint64_t)sysconf(_SC_PAGESIZE))
#define PAGES_OF(n_bytes) (((n_bytes) + PAGE_BYTES - 1) / PAGE_BYTES)
#define NS_PER_S          UINT64_C(1000000000)

static void read_cost(struct pages_cost *ret_cost)
{
    struct rusage usage;
    struct timespec now;
    getrusage(RUSAGE_THREAD, &usage);
    clock_gettime(CLOCK_MONOTONIC, &now);
    ret_cost->ns = (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
    ret_cost->major = usage.ru_majflt;
    ret_cost->minor = usage.ru_minflt;
}

void pages_begin(struct pages_cost *cost)
{
    read_cost(cost);
}

void pages_end(struct pages_cost *cost)
{
    /* The clock first: asking for the usage takes longer than a lookup. */
    struct timespec now;
    struct pages_cost end;
    clock_gettime(CLOCK_MONOTONIC, &now);
    read_cost(&end);
    cost->ns = (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec - cost->ns;
    cost->major = end.major - cost->major;
    cost->minor = end.minor - cost->minor;
}

void *pages_allocate(size_t n, size_t size)
{
    void *p = calloc(n, size);
    if (!p)
        errx(1, "out of memory");
    return p;
}

int pages_open(const char *path, uint64_t *ret_bytes)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0)
        err(1, "%s", path);
    *ret_bytes = (uint64_t)st.st_size;
    return fd;
}

static void fill_value(uint8_t *value, uint64_t len, uint64_t i)
{
    memcpy(value, &i, sizeof i);
    for (uint64_t at = sizeof i; at + sizeof i <= len; at += sizeof i) {
        uint64_t word = pages_mix(i * VALUE_BYTES_MAX + at);
        memcpy(value + at, &word, sizeof word);
    }
}

uint64_t pages_make(const char *path, uint64_t bytes, uint64_t value_bytes)
{
    struct act_builder_options options = {
        .values = value_bytes > 0 ? ACT_VALUES_BYTES : ACT_VALUES_U64,
    };
    struct act_builder *builder;
    struct act_error error;
    uint8_t key[PAGES_KEY_BYTES];
    if (value_bytes > VALUE_BYTES_MAX || (value_bytes > 0 && value_bytes < sizeof(uint64_t)))
        errx(2, "byte strings have 8 to %ju bytes", (uintmax_t)VALUE_BYTES_MAX);
    uint8_t *value = pages_allocate(value_bytes + 1, 1);
    uint64_t n = bytes / (value_bytes > 0 ? value_bytes + BYTES_PER_STRING : BYTES_PER_KEY) + 1;
    if (act_builder_new(path, &options, &builder, &error) != 0)
        errx(1, "%s", error.message);
    int r = 0;
    for (uint64_t i = 0; i < n && r == 0; i++) {
        pages_key(i, n, key);
        if (value_bytes > 0)
            fill_value(value, value_bytes, i);
        r = value_bytes > 0 ? act_builder_add_bytes(builder, key, sizeof key, value, value_bytes, i)
                            : act_builder_add(builder, key, sizeof key, i, i);
    }
    if (r != 0 || act_builder_finish(builder, NULL) != 0)
        errx(1, "%s", act_builder_error(builder));
    act_builder_free(builder);
    free(value);
    return n;
}

uint64_t pages_resident(const char *path)
{
    static uint8_t states[RESIDENT_STEP / 4096];
    uint64_t bytes, resident = 0;
    int fd = pages_open(path, &bytes);
    for (uint64_t at = 0; at < bytes; at += RESIDENT_STEP) {
        size_t len = bytes - at < RESIDENT_STEP ? bytes - at : RESIDENT_STEP;
        void *p = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, (off_t)at);
        if (p == MAP_FAILED || mincore(p, len, states) != 0)
            err(1, "%s: mincore", path);
        for (size_t i = 0; i < PAGES_OF(len); i++)
            resident += states[i] & 1;
        munmap(p, len);
    }
    close(fd);
    return resident;
}

uint64_t pages_missing(const char *path)
{
    uint64_t bytes;
    close(pages_open(path, &bytes));
    return PAGES_OF(bytes) - pages_resident(path);
}

uint64_t pages_drop(const char *path)
{
    const struct timespec pause = {0, BETWEEN_DROPS_NS};
    uint64_t bytes, resident = 1;
    int fd = pages_open(path, &bytes);
    /* Pages that were used a moment ago may still lie in a list of the CPU, and then stay. */
    for (int i = 0; i < DROP_TRIES && resident > 0; i++) {
        if (i > 0)
            nanosleep(&pause, NULL);
        if (posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) != 0)
            errx(1, "%s: cannot be dropped from the page cache", path);
        resident = pages_resident(path);
    }
    close(fd);
    return resident;
}

static void read_all(int fd, const char *path)
{
    ssize_t n;
    uint8_t *buffer = pages_allocate(READ_BYTES, 1);
    if (lseek(fd, 0, SEEK_SET) < 0)
        err(1, "%s", path);
    do {
        n = read(fd, buffer, READ_BYTES);
        if (n < 0)
            err(1, "%s", path);
    } while (n > 0);
    free(buffer);
}

uint64_t pages_warm(const char *path)
{
    uint64_t bytes, left = 1;
    int fd = pages_open(path, &bytes);
    /* What is read once may give way to older pages, where not much memory is free. */
    for (int i = 0; i < WARM_TRIES && left > 0; i++) {
        read_all(fd, path);
        left = pages_missing(path);
    }
    close(fd);
    return left;
}
