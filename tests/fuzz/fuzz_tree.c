/*
 * fuzz_tree: any file and any keys. Input: the file's length (u16, little-endian), the file, then
 * keys, each a byte of length and that many bytes. get, exists and node must agree on every key,
 * and on every position that a walk from the root finds; and so must a tree with a cache of sibling
 * tables, before and after it is filled. The pages that lookups pass first are some of the file's.
 */
#include "bytes.h"
#include "consistent.h"

#include <stdio.h>
#include <stdlib.h>

#define WALK_POSITIONS 2000
#define WALK_DEPTH     40
#define CACHE_BYTES    4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const char *wrong)
{
    if (!wrong)
        return;
    fprintf(stderr, "%s\n", wrong);
    abort();
}

static void check_keys(const struct act *tree, const struct act *cached, struct slice rest)
{
    check(consistent_at(tree, slice_of(NULL, 0)));
    while (rest.len > 0) {
        size_t len = rest.p[0] < rest.len - 1 ? rest.p[0] : rest.len - 1;
        struct bytes key = bytes_copy(rest.p + 1, len);
        check(consistent_at(tree, slice_of(key.p, key.len)));
        for (int i = 0; i < 2; i++)
            check(consistent_between(tree, cached, slice_of(key.p, key.len)));
        bytes_free(&key);
        rest = slice_of(rest.p + 1 + len, rest.len - 1 - len);
    }
}

/* What lookups pass first lies in the file, in order, the root among it. */
static void check_top(const struct act *tree, size_t max)
{
    struct act_info info;
    struct act_range ranges[ACT_TOP_MAX];
    uint64_t end = 0;
    bool has_root = false;
    act_info(tree, &info);
    size_t n = act_top(tree, ranges, max);
    for (size_t i = 0; i < n; i++) {
        if (ranges[i].len == 0 || (i > 0 && ranges[i].offset <= end))
            check("pages out of order");
        end = ranges[i].offset + ranges[i].len;
        has_root |= info.root_offset >= ranges[i].offset && info.root_offset < end;
    }
    if (n > max || end > info.size_bytes || !has_root)
        check("the pages that lookups pass first are wrong");
}

static void check_file(struct slice file, struct slice keys)
{
    struct act *tree, *cached;
    if (act_open_memory(file.p, file.len, "fuzz", &tree, NULL) != 0)
        return;
    if (act_open_memory(file.p, file.len, "fuzz", &cached, NULL) != 0 ||
        act_cache_tables(cached, CACHE_BYTES) != 0)
        check("what has opened once does not open again");
    check_keys(tree, cached, keys);
    check(consistent_below_root(tree, WALK_POSITIONS, WALK_DEPTH));
    check(consistent_below_root(cached, WALK_POSITIONS, WALK_DEPTH));
    check_keys(tree, cached, keys);
    check_top(tree, 1);
    check_top(tree, ACT_TOP_MAX);
    act_close(tree);
    act_close(cached);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    size_t len = data[0] | (size_t)data[1] << 8;
    if (len > size - 2)
        len = size - 2;
    struct bytes file = bytes_copy(data + 2, len);
    check_file(slice_of(file.p, file.len), slice_of(data + 2 + len, size - 2 - len));
    bytes_free(&file);
    return 0;
}
