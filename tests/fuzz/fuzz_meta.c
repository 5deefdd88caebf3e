/*
 * fuzz_meta: any file with metadata, whose checksum is made to fit, so that what it says is
 * believed as far as it can be. From each of its roots every way to ask must agree, with a cache of
 * tables and without, cursors must end, and byte values must lie in the file.
 *
 * Input: a byte (bit 0: the checksum stays as it is), the file's length (u16, little-endian), the
 * file, then keys, each a byte of length and that many bytes.
 */
#include "act/act.h"
#include "consistent.h"
#include "forge.h"

#include <stdio.h>
#include <stdlib.h>

#define ROOTS_MAX      4
#define WALK_POSITIONS 500
#define WALK_DEPTH     40
#define CACHE_BYTES    4096
#define CURSOR_NODES   3000
#define CURSOR_KEY_MAX 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned touched;

static void check(const char *wrong)
{
    if (!wrong)
        return;
    fprintf(stderr, "%s\n", wrong);
    abort();
}

static void check_bytes(const struct act *tree, uint64_t value)
{
    const uint8_t *p;
    size_t len;
    struct act_info info;
    struct act_fault fault = {0};
    int r = act_bytes(tree, value, &p, &len, &fault);
    act_info(tree, &info);
    if ((r == ACT_NOT_BYTES) == (info.values == ACT_VALUES_BYTES))
        check("byte values of a tree that has none, or none of one that has");
    if (r == ACT_CORRUPT && !fault.reason)
        check("ACT_CORRUPT without a reason");
    for (size_t i = 0; r == 0 && i < len; i++)
        touched += p[i];
}

static void check_keys(const struct act *tree, const struct act *cached, struct slice rest)
{
    while (rest.len > 0) {
        size_t len = rest.p[0] < rest.len - 1 ? rest.p[0] : rest.len - 1;
        struct bytes key = bytes_copy(rest.p + 1, len);
        uint64_t value = 0;
        check(consistent_at(tree, slice_of(key.p, key.len)));
        check(consistent_between(tree, cached, slice_of(key.p, key.len)));
        if (act_get(tree, key.p, key.len, &value, NULL) == 0)
            check_bytes(tree, value);
        bytes_free(&key);
        rest = slice_of(rest.p + 1 + len, rest.len - 1 - len);
    }
}

/* What a cursor finds, get finds as well; unless a table sends get to another child than the one
 * that stands next in the run, where the cursor goes. */
static void check_cursor(const struct act *tree)
{
    struct act_cursor *cursor;
    struct act_info info;
    uint64_t value = 0, same = 0;
    act_info(tree, &info);
    bool has_tables = info.metadata_state >= ACT_METADATA_TABLES;
    if (act_cursor_new(tree, CURSOR_KEY_MAX, &cursor) != 0)
        return;
    act_cursor_set_budget(cursor, CURSOR_NODES);
    for (int at = act_cursor_first(cursor); at == 0; at = act_cursor_next(cursor)) {
        size_t len;
        const uint8_t *key = act_cursor_key(cursor, &len);
        if (act_cursor_value(cursor, &value) != 0)
            check("an entry without a value");
        int r = act_get(tree, key, len, &same, NULL);
        if (!has_tables && (r != 0 || value != same))
            check("a cursor finds what get does not");
        check_bytes(tree, value);
    }
    for (int r = act_cursor_last(cursor); r == 0;)
        r = act_cursor_prev(cursor);
    act_cursor_free(cursor);
}

static void check_root(struct act *tree, struct act *cached, uint64_t root, struct slice keys)
{
    if (act_set_root(tree, root) != 0 || act_set_root(cached, root) != 0)
        check("a root of the history cannot be set");
    check(consistent_below_root(tree, WALK_POSITIONS, WALK_DEPTH));
    check_keys(tree, cached, keys);
    check_keys(tree, cached, keys);
    check_cursor(tree);
}

static void check_file(struct slice file, struct slice keys)
{
    struct act *tree, *cached;
    uint64_t roots[ROOTS_MAX];
    if (act_open_memory(file.p, file.len, "fuzz", &tree, NULL) != 0)
        return;
    if (act_open_memory(file.p, file.len, "fuzz", &cached, NULL) != 0)
        check("what has opened once does not open again");
    size_t n = act_root_history(tree, roots, ROOTS_MAX);
    for (size_t i = 0; i < n && i < ROOTS_MAX; i++) {
        /* A cache is of the nodes of a file, not of a root. */
        if (i == 0 && act_cache_tables(cached, CACHE_BYTES) != 0)
            check("no cache");
        check_root(tree, cached, roots[i], keys);
    }
    for (uint64_t value = 90; value < 110; value++)
        check_bytes(tree, value);
    act_close(tree);
    act_close(cached);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3)
        return 0;
    size_t len = data[1] | (size_t)data[2] << 8;
    if (len > size - 3)
        len = size - 3;
    struct bytes file = bytes_copy(data + 3, len);
    if (len >= FORGE_META + FORGE_META_BYTES && (data[0] & 1) == 0)
        forge_seal(&file);
    check_file(slice_of(file.p, file.len), slice_of(data + 3 + len, size - 3 - len));
    bytes_free(&file);
    return 0;
}
