/*
 * mappings: see mappings.h.
 */
#include "daemon/supervisor/mappings.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* Mappings that follow each other, in the process as in the file: what is one to who has made it.
 */
struct run {
    uint64_t start, end;
    uint64_t file_end; /* offset in the file of what comes next */
    dev_t device;
    bool is_open;
};

/* What is found in one process. */
struct search {
    const struct tree_file *file;
    uint64_t mapped_bytes; /* that the file takes, in whole pages */
    struct run run;
    uint64_t same_device, any_device; /* where it begins; 0: nowhere */
};

struct tree_file mappings_file(const struct generation *generation)
{
    struct tree_file file = {.generation = generation->number,
                             .device = generation->device,
                             .inode = generation->inode,
                             .size_bytes = generation->size_bytes,
                             .is_copy = generation->hold != GENERATION_MAPPED};
    if (file.is_copy) {
        /* Huge pages are in no set that smaps tells: better nothing than 0. */
        bool is_told = generation->hold == GENERATION_COPIED;
        file.device = generation->copy_device;
        file.inode = is_told ? generation->copy_inode : 0;
    }
    return file;
}

/* "start-end perms offset major:minor inode path" */
bool mapping_parse(const char *line, struct mapping *ret)
{
    uint64_t inode;
    unsigned device_major, device_minor;
    char perms[5];
    if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %x:%x %" SCNu64, &ret->start,
               &ret->end, perms, &ret->offset, &device_major, &device_minor, &inode) != 7)
        return false;
    ret->is_shared = perms[3] == 's';
    ret->device = makedev(device_major, device_minor);
    ret->inode = (ino_t)inode;
    ret->is_memory = strstr(line, " /memfd:");
    return true;
}

bool mapping_may_be(const struct mapping *mapping, const struct tree_file *file)
{
    return mapping->inode == file->inode && mapping->is_shared &&
           mapping->is_memory == file->is_copy;
}

static void end_run(struct search *search)
{
    const struct run *run = &search->run;
    if (run->is_open && run->end - run->start == search->mapped_bytes) {
        search->any_device = run->start;
        if (run->device == search->file->device)
            search->same_device = run->start;
    }
    search->run.is_open = false;
}

static void take(struct search *search, const struct mapping *mapping)
{
    struct run *run = &search->run;
    bool is_ours = mapping_may_be(mapping, search->file);
    if (is_ours && run->is_open && mapping->start == run->end && mapping->offset == run->file_end &&
        mapping->device == run->device) {
        run->end = mapping->end;
        run->file_end += mapping->end - mapping->start;
        return;
    }
    end_run(search);
    if (is_ours && mapping->offset == 0)
        *run = (struct run){.start = mapping->start,
                            .end = mapping->end,
                            .file_end = mapping->end - mapping->start,
                            .device = mapping->device,
                            .is_open = true};
}

int mappings_find(pid_t pid, const struct tree_file *file, bool (*go_on)(void *context),
                  void *context, uint64_t *ret_start)
{
    char path[64], line[MAPPING_LINE_BYTES];
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    struct search search = {.file = file,
                            .mapped_bytes = (file->size_bytes + page - 1) / page * page};
    bool is_line_start = true, has_lines = false;
    snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
    FILE *maps = fopen(path, "re");
    if (!maps)
        return errno == ENOENT || errno == ESRCH ? MAPPINGS_GONE : -errno;
    int r = 0;
    while (r == 0 && fgets(line, sizeof line, maps)) {
        struct mapping mapping;
        if (is_line_start && mapping_parse(line, &mapping)) /* else the rest of a long path */
            take(&search, &mapping);
        is_line_start = strchr(line, '\n') != NULL;
        has_lines = true;
        r = go_on(context) ? 0 : -ECANCELED;
    }
    end_run(&search);
    if (r == 0 && ferror(maps))
        r = errno == ESRCH ? MAPPINGS_GONE : -EIO;
    fclose(maps);
    if (r != 0)
        return r;
    if (!has_lines) /* so it is of a process that has ended */
        return MAPPINGS_GONE;
    uint64_t start = search.same_device != 0 ? search.same_device : search.any_device;
    if (start == 0 || file->inode == 0)
        return MAPPINGS_NONE;
    *ret_start = start;
    return 0;
}
