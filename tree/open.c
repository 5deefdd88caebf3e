/*
 * open: from a path, a descriptor or memory to a struct act.
 *
 * The header is read by pread, not through the map: a file that shrinks between fstat and mmap is a
 * refusal here, not a SIGBUS. What is wrong with a file is told in one line that names the file.
 */
#include "base/fd.h"
#include "tree/engine.h"
#include "tree/meta.h"
#include "tree/node.h"
#include "tree/tables.h"
#include "tree/tree.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define MAGIC_BYTES 8
static const char magic[] = "ACTree03";

__attribute__((format(printf, 4, 5))) static int refuse(struct act_error *error, const char *name,
                                                        int outcome, const char *format, ...)
{
    if (!error)
        return outcome;
    va_list args;
    /* A name too long for the line keeps its end, the part that tells files apart. */
    size_t len = strlen(name), max = sizeof error->message / 2;
    int n = snprintf(error->message, sizeof error->message, "%s%s: ", len > max ? "..." : "",
                     len > max ? name + len - max : name);
    va_start(args, format);
    vsnprintf(error->message + n, sizeof error->message - (size_t)n, format, args);
    va_end(args);
    return outcome;
}

static int refuse_errno(struct act_error *error, const char *name, const char *what)
{
    int saved = errno;
    return refuse(error, name, -saved, "%s: %s", what, strerror(saved));
}

/* ENOMEM is about address space here, and its text does not say so, nor how much of it. */
static int refuse_map(struct act_error *error, const char *name, uint64_t bytes)
{
    struct rlimit limit;
    if (errno != ENOMEM)
        return refuse_errno(error, name, "cannot map");
    if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
        return refuse(
            error, name, -ENOMEM,
            "cannot map: %s: this takes %llu bytes of address space beside what is in use, "
            "and the limit for all of it is %llu bytes (RLIMIT_AS): raise LimitAS= of "
            "the unit, or ulimit -v",
            strerror(ENOMEM), (unsigned long long)bytes, (unsigned long long)limit.rlim_cur);
    return refuse(
        error, name, -ENOMEM,
        "cannot map: %s: the system refuses %llu bytes of address space, and no limit of the "
        "process (RLIMIT_AS) is the reason",
        strerror(ENOMEM), (unsigned long long)bytes);
}

static const char *kind_of_file(mode_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFDIR:
        return "a directory";
    case S_IFIFO:
        return "a FIFO";
    case S_IFSOCK:
        return "a socket";
    case S_IFCHR:
    case S_IFBLK:
        return "a device";
    default:
        return "something else";
    }
}

static int refuse_kind(struct act_error *error, const char *name, mode_t mode)
{
    return refuse(error, name, ACT_NOT_REGULAR, "not a regular file but %s", kind_of_file(mode));
}

/* A socket is refused by open itself (ENXIO, which tells nobody what is wrong). */
static int refuse_open(struct act_error *error, const char *path)
{
    struct stat st;
    int saved = errno;
    if (saved == ENXIO && stat(path, &st) == 0 && !S_ISREG(st.st_mode))
        return refuse_kind(error, path, st.st_mode);
    errno = saved;
    return refuse_errno(error, path, "cannot open");
}

/* What open reads: the header, and the metadata if there is some. */
struct head {
    uint8_t bytes[HEADER_BYTES + META_BYTES];
    uint64_t len; /* bytes of the file in it */
};

/* As much as there is, in spite of signals and short reads: half of the metadata would count as
 * none. 0 or -1 with errno. */
static int head_read(int fd, struct head *head)
{
    while (head->len < sizeof head->bytes) {
        ssize_t n =
            pread(fd, head->bytes + head->len, sizeof head->bytes - head->len, (off_t)head->len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        head->len += (uint64_t)n;
    }
    return 0;
}

/* Section 1 and the first rows of section 10. header: HEADER_BYTES readable bytes. */
static int header_check(const uint8_t *header, uint64_t size, const char *name, uint64_t *ret_root,
                        struct act_error *error)
{
    if (memcmp(header, "ACTree01", MAGIC_BYTES) == 0 ||
        memcmp(header, "ACTree02", MAGIC_BYTES) == 0)
        return refuse(error, name, ACT_OLD_VERSION,
                      "an old version of the format (%.8s); only ACTree03 can be read: write the "
                      "file again with a current writer",
                      (const char *)header);
    if (memcmp(header, magic, MAGIC_BYTES) != 0)
        return refuse(error, name, ACT_BAD_MAGIC,
                      "not an ACT file: it does not begin with \"ACTree03\"");
    uint64_t root = load_le64(header + MAGIC_BYTES);
    if (root == 0)
        return refuse(error, name, ACT_UNFINISHED,
                      "still being written: its root is 0. Wait for the writer to finish, or write "
                      "the file again if the writer has died");
    if (root < HEADER_BYTES || root >= size)
        return refuse(error, name, ACT_BAD_ROOT,
                      "the root offset %llu lies outside the file (%llu bytes): it is truncated or "
                      "damaged",
                      (unsigned long long)root, (unsigned long long)size);
    *ret_root = root;
    return 0;
}

static int size_check(uint64_t size, const char *name, struct act_error *error)
{
    if (size >= ACT_MIN_SIZE_BYTES)
        return 0;
    return refuse(error, name, ACT_TOO_SHORT,
                  "too short for an ACT file: %llu bytes, the smallest has %d",
                  (unsigned long long)size, ACT_MIN_SIZE_BYTES);
}

/* Which root is in use decides what of the metadata counts. */
static void tree_use_root(struct act *tree, uint64_t root)
{
    tree->root = root;
    if (tree->metadata_state < ACT_METADATA_FOREIGN)
        return;
    tree->metadata_state = meta_apply(&tree->map, tree->header_root, root, &tree->metadata);
    tree->values = tree->metadata.value_mode == 0              ? ACT_VALUES_U64
                   : tree->metadata_state == ACT_METADATA_FULL ? ACT_VALUES_BYTES
                                                               : ACT_VALUES_MIXED;
}

static void tree_read_metadata(struct act *tree, const struct head *head)
{
    int r = ACT_MISS;
    if (head->len == sizeof head->bytes)
        r = meta_parse(head->bytes + HEADER_BYTES, tree->map.size, &tree->metadata);
    tree->metadata_state = r == 0          ? ACT_METADATA_FULL
                           : r == ACT_MISS ? ACT_METADATA_NONE
                                           : ACT_METADATA_DAMAGED;
}

static int tree_new(struct act form, const struct head *head, const char *name,
                    struct act **ret_tree, struct act_error *error)
{
    uint64_t root = 0;
    int r = header_check(head->bytes, form.map.size, name, &root, error);
    if (r != 0)
        return r;
    struct act *tree = malloc(sizeof *tree);
    if (!tree) {
        errno = ENOMEM;
        return refuse_errno(error, name, "cannot open");
    }
    *tree = form;
    tree->header_root = root;
    tree->engine = engine_best();
    tree_read_metadata(tree, head);
    tree_use_root(tree, root);
    *ret_tree = tree;
    return 0;
}

/* Advice fits random lookups and core dumps; a kernel that does not take it serves as well. */
static void advise(void *p, size_t size)
{
    (void)madvise(p, size, MADV_RANDOM);
    (void)madvise(p, size, MADV_DONTDUMP);
}

static uint64_t round_up(uint64_t n, uint64_t unit)
{
    return (n + unit - 1) / unit * unit;
}

/* Files in huge pages are mapped in whole ones. f_type of statfs: HUGETLBFS_MAGIC. */
static uint64_t page_bytes_of(int fd)
{
    struct statfs fs;
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    if (fstatfs(fd, &fs) == 0 && (uint32_t)fs.f_type == 0x958458f6 && fs.f_bsize > (long)page)
        page = (uint64_t)fs.f_bsize;
    return page;
}

/* While the kernel takes a mapping down, page faults of other threads wait: for a GiB that was
 * touched 4 ms, on tmpfs 88 ms. So it is done in pieces of 0.2 ms, on tmpfs 3 ms. */
#define UNMAP_BYTES ((size_t)32 * 1024 * 1024)

/* From the end: what is left begins where it did, and is never two mappings. Huge pages cannot be
 * cut. */
static void unmap(uintptr_t begin, size_t size, size_t page_bytes)
{
    size_t most = page_bytes > UNMAP_BYTES ? page_bytes : UNMAP_BYTES;
    while (size > 0) {
        size_t piece = (size - 1) % most + 1;
        size -= piece;
        munmap((void *)(begin + size), piece);
    }
}

/* The file, and behind it memory that can be read: a window at the file's last byte may end there.
 * Room for both is taken first, and as much as it takes to begin where a page does. 0 or -1 with
 * errno. */
static int map_file(int fd, uint64_t size, struct act *form)
{
    size_t page = page_bytes_of(fd), small = (size_t)sysconf(_SC_PAGESIZE);
    size_t file = round_up(size, page), windows = round_up(size + MAP_WINDOW_BYTES, small);
    size_t bytes = file > windows ? file : windows, spare = page - small;
    uint8_t *p =
        mmap(NULL, bytes + spare, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (p == MAP_FAILED)
        return -1;
    uint8_t *base = p + (round_up((uintptr_t)p, page) - (uintptr_t)p);
    if (base > p)
        munmap(p, (size_t)(base - p));
    if (base < p + spare)
        munmap(base + bytes, (size_t)(p + spare - base));
    if (mmap(base, file, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED) {
        int saved = errno;
        munmap(base, bytes);
        errno = saved;
        return -1;
    }
    advise(base, file);
    form->map = (struct map){.base = base, .size = size, .mapped = size, .n_windows = size};
    form->reserved_bytes = bytes;
    form->page_bytes = page;
    return 0;
}

/* size: of the tree, UINT64_MAX: the file's. */
static int open_part(int fd, uint64_t size, const char *name, struct act **ret_tree,
                     struct act_error *error)
{
    struct stat st;
    struct head head = {0};
    struct act form = {0};
    if (fstat(fd, &st) < 0)
        return refuse_errno(error, name, "cannot stat");
    if (!S_ISREG(st.st_mode))
        return refuse_kind(error, name, st.st_mode);
    uint64_t file_size = (uint64_t)st.st_size;
    if (size == UINT64_MAX)
        size = file_size;
    int r = size_check(size, name, error);
    if (r != 0)
        return r;
    if (size > file_size)
        return refuse(error, name, ACT_TOO_SHORT, "shorter than the tree: %llu bytes of %llu",
                      (unsigned long long)file_size, (unsigned long long)size);
    if (head_read(fd, &head) < 0)
        return refuse_errno(error, name, "cannot read");
    if (head.len > size)
        head.len = size;
    if (head.len < HEADER_BYTES)
        return size_check(head.len, name, error);
    if (map_file(fd, size, &form) < 0)
        return refuse_map(error, name, size);
    if ((r = tree_new(form, &head, name, ret_tree, error)) != 0)
        unmap((uintptr_t)form.map.base, form.reserved_bytes, form.page_bytes);
    return r;
}

int act_open_fd(int fd, const char *name, struct act **ret_tree, struct act_error *ret_error)
{
    return open_part(fd, UINT64_MAX, name, ret_tree, ret_error);
}

int act_open_part(int fd, uint64_t size, const char *name, struct act **ret_tree,
                  struct act_error *ret_error)
{
    return open_part(fd, size, name, ret_tree, ret_error);
}

int act_open_path(const char *path, struct act **ret_tree, struct act_error *ret_error)
{
    /* O_NONBLOCK: a FIFO without a writer must not hang the open. */
    with_close int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return refuse_open(ret_error, path);
    return act_open_fd(fd, path, ret_tree, ret_error);
}

int act_open_memory(const void *data, size_t size, const char *name, struct act **ret_tree,
                    struct act_error *ret_error)
{
    struct head head = {0};
    int r = size_check(size, name, ret_error);
    if (r != 0)
        return r;
    head.len = size < sizeof head.bytes ? size : sizeof head.bytes;
    memcpy(head.bytes, data, head.len);
    return tree_new((struct act){.map = map_of(data, size)}, &head, name, ret_tree, ret_error);
}

void act_close(struct act *tree)
{
    if (!tree)
        return;
    unmap((uintptr_t)tree->map.base, tree->reserved_bytes, tree->page_bytes);
    tables_free(tree->tables);
    free(tree);
}

int act_cache_tables(struct act *tree, size_t bytes)
{
    /* More would only spread it over more of the processor's caches. */
    size_t enough = tree->map.size / 2 > TABLES_MIN_BYTES ? tree->map.size / 2 : TABLES_MIN_BYTES;
    if (bytes > enough)
        bytes = enough;
    tables_free(tree->tables);
    tree->tables = bytes > 0 ? tables_new(bytes) : NULL;
    return bytes == 0 || tree->tables ? 0 : -ENOMEM;
}

void act_info(const struct act *tree, struct act_info *ret_info)
{
    *ret_info = (struct act_info){
        .version = magic,
        .size_bytes = tree->map.size,
        .root_offset = tree->root,
        .mapped_bytes = tree->map.mapped,
        .mapping_start = tree->map.mapped > 0 ? (uint64_t)(uintptr_t)tree->map.base : 0,
        .values = tree->values,
        .metadata_state = tree->metadata_state,
        .metadata = tree->metadata,
    };
}

size_t act_root_history(const struct act *tree, uint64_t *ret_roots, size_t max)
{
    struct trailer trailer = {0};
    uint64_t root = tree->header_root;
    size_t n = 0;
    do {
        if (n < max)
            ret_roots[n] = root;
        n++;
    } while (n < TRAILERS_MAX && trailer_next(&tree->map, tree->header_root, &trailer) &&
             (root = trailer.root) != 0);
    return n;
}

int act_set_root(struct act *tree, uint64_t root_offset)
{
    struct trailer trailer = {0};
    bool is_there = root_offset == tree->header_root;
    for (unsigned i = 0; i < TRAILERS_MAX && !is_there; i++) {
        if (!trailer_next(&tree->map, tree->header_root, &trailer))
            break;
        is_there = trailer.root == root_offset;
    }
    if (!is_there)
        return ACT_BAD_ROOT;
    tree_use_root(tree, root_offset);
    return 0;
}
