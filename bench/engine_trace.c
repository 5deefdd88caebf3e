/*
 * engine_trace: what act_get itself loads, seen by an instruction tracer, as a check of what
 * engine_touch counts.
 *
 *     valgrind --tool=lackey --trace-mem=yes --log-fd=N engine_trace probe FILE KEYS
 *     engine_trace count
 *
 * `probe` looks up all of KEYS, a small sample, since the tracer is slow. It puts the file at a
 * fixed address and, before each lookup, stores to a fixed mark; `count` reads the tracer's output
 * and counts the pages and cache lines between two marks. It is more than the lookup needs: a load
 * of eight or more bytes reaches into what stands behind. Prefetches are not seen.
 */
#include "act/act.h"
#include "bench/engine_keys.h"
#include "bench/engine_places.h"

#include <err.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define MARK_ADDRESS UINT64_C(0x2000000000)
#define FILE_ADDRESS (MARK_ADDRESS + 0x10000)
#define FILE_END     (FILE_ADDRESS + (UINT64_C(1) << 36))

static void *map_there(uint64_t address, size_t size, int protection, int flags, int fd)
{
    void *there = (void *)(uintptr_t)address;
    void *p = mmap(there, size, protection, flags | MAP_FIXED_NOREPLACE, fd, 0);
    if (p != there)
        err(1, "mmap at a fixed address");
    return p;
}

static struct act *open_there(const char *path)
{
    struct stat st;
    struct act *tree;
    struct act_error error;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0)
        err(1, "%s", path);
    void *bytes = map_there(FILE_ADDRESS, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd);
    if (act_open_memory(bytes, (size_t)st.st_size, path, &tree, &error) != 0)
        errx(1, "%s", error.message);
    return tree;
}

static int probe(const char *path, const char *keys_path)
{
    struct engine_keys keys;
    volatile uint64_t *mark =
        map_there(MARK_ADDRESS, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
    struct act *tree = open_there(path);
    engine_keys_load(&keys, keys_path);
    for (size_t i = 0; i < keys.n; i++) {
        uint64_t value;
        *mark = i;
        int r = act_get(tree, keys.at[i].p, keys.at[i].len, &value, NULL);
        *mark = i;
        if (r != 0 || value != keys.values[i])
            errx(1, "key %zu: not found, or a wrong value", i);
    }
    engine_keys_deinit(&keys);
    act_close(tree);
    return 0;
}

static int count(void)
{
    static struct places lines, pages;
    char text[256], kind;
    uint64_t address, size, n_marks = 0, n_lines = 0, n_pages = 0;
    places_clear(&lines);
    places_clear(&pages);
    while (fgets(text, sizeof text, stdin)) {
        if (sscanf(text, " %c %" SCNx64 ",%" SCNu64, &kind, &address, &size) != 3)
            continue;
        if (kind == 'S' && address == MARK_ADDRESS) {
            /* Every other mark ends a lookup; what was loaded before the first is not of one. */
            if (n_marks++ % 2 == 1) {
                n_lines += lines.n;
                n_pages += pages.n;
            }
            places_clear(&lines);
            places_clear(&pages);
        }
        if ((kind == 'L' || kind == 'M') && address >= FILE_ADDRESS && address < FILE_END) {
            places_add(&lines, address / 64, (address + size - 1) / 64);
            places_add(&pages, address / 4096, (address + size - 1) / 4096);
        }
    }
    double n = (double)(n_marks / 2);
    if (n_marks < 2)
        errx(1, "no lookup in the trace");
    printf("traced\t%.3f\t%.3f\n", (double)n_pages / n, (double)n_lines / n);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "probe") == 0)
        return probe(argv[2], argv[3]);
    if (argc == 2 && strcmp(argv[1], "count") == 0)
        return count();
    errx(2, "usage: %s probe FILE KEYS | count", argv[0]);
}
