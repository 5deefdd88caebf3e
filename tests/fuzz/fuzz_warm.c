/*
 * fuzz_warm: any file is brought into memory from its root downward. That ends; as much is read as
 * is asked for, each page once, whatever the tree says; and the end is one of two.
 *
 * Input: a byte (the limit in pages, 0: none), then the file.
 */
#include "act/warm.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_that(bool is_right, const char *wrong)
{
    if (is_right)
        return;
    fprintf(stderr, "%s\n", wrong);
    abort();
}

static uint64_t pages_of(uint64_t bytes)
{
    return (bytes + ACT_PAGE_BYTES - 1) / ACT_PAGE_BYTES;
}

static void check_file(int fd, uint64_t size, uint64_t max_pages)
{
    struct act_warm_options options = {.mode = ACT_WARM_TRAVERSE,
                                       .max_bytes = max_pages * ACT_PAGE_BYTES};
    struct act_warm_progress progress;
    struct act_error error;
    struct act *tree;
    if (act_open_fd(fd, "fuzz", &tree, &error) != 0)
        return;
    int r = act_warm(fd, size, tree, &options, &progress);
    check_that(r == 0 || r == ACT_CORRUPT, "it ends otherwise");
    uint64_t wanted = pages_of(size);
    if (max_pages > 0 && max_pages < wanted)
        wanted = max_pages;
    /* The file's last page may be a part of one, and among those that were read or not. */
    check_that(pages_of(progress.total_bytes) == wanted, "another total");
    check_that(pages_of(progress.done_bytes) == wanted, "more or less was read");
    act_close(tree);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    if (fd < 0)
        return 0;
    if (write(fd, data + 1, size - 1) == (ssize_t)(size - 1))
        check_file(fd, size - 1, data[0]);
    close(fd);
    return 0;
}
