/*
 * fuzz_verify: any file. The verifier ends, and says the same with its bits in memory and in a
 * temporary file, and with several threads. Where it finds no fault, no other way of reading finds
 * one, and a cursor counts as many keys.
 *
 * Input: a byte (bit 0: the metadata's checksum stays as it is; bit 1: the bits go into a file too;
 * bit 2: three threads walk, too), then the file.
 */
#include "act/verify.h"
#include "consistent.h"
#include "forge.h"

#include <stdio.h>
#include <stdlib.h>

#define WALK_POSITIONS 500
#define WALK_DEPTH     40
#define CURSOR_NODES   3000
#define CURSOR_KEY_MAX 65536

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_that(bool is_right, const char *wrong)
{
    if (is_right)
        return;
    fprintf(stderr, "%s\n", wrong);
    abort();
}

/* Findings as one number: which, where, and on what path. */
static void on_finding(void *context, const struct act_finding *finding)
{
    uint64_t *sum = context;
    *sum = *sum * 31 + finding->offset + finding->n + (uint64_t)(uintptr_t)finding->reason;
    for (size_t i = 0; i < finding->path_len; i++)
        *sum = *sum * 31 + finding->path[i];
}

static int verify(const struct act *tree, bool in_file, unsigned n_threads,
                  struct act_survey *ret_survey, uint64_t *ret_sum)
{
    struct act_info info;
    uint64_t bytes = 0;
    const struct act_verify_options options = {.memory_bytes = in_file ? 1 : 0,
                                               .n_threads = n_threads,
                                               .is_all = true,
                                               .context = ret_sum,
                                               .on_finding = on_finding};
    *ret_sum = 0;
    int r = act_verify(tree, &options, ret_survey);
    check_that(r == 0 || r == ACT_CORRUPT, "verify ends otherwise");
    check_that((r == 0) == (ret_survey->n_faults == 0), "the result is not that of the faults");
    act_info(tree, &info);
    for (unsigned i = 0; i < ACT_N_OBJECTS; i++)
        bytes += ret_survey->bytes[i];
    check_that(bytes == info.size_bytes, "the sizes do not add up");
    return r;
}

static void check_cursor(const struct act *tree, const struct act_survey *survey)
{
    struct act_cursor *cursor;
    uint64_t n = 0;
    if (act_cursor_new(tree, CURSOR_KEY_MAX, &cursor) != 0)
        return;
    act_cursor_set_budget(cursor, CURSOR_NODES);
    int r = act_cursor_first(cursor);
    if (r == 0)
        r = act_cursor_count(cursor, &n);
    act_cursor_free(cursor);
    check_that(r != ACT_CORRUPT, "a cursor finds a fault");
    if (r != ACT_LIMIT && r != ACT_TOO_LONG && survey->n_shared == 0)
        check_that(n == survey->n_values, "a cursor counts otherwise");
}

static void check_file(const struct bytes *file, bool in_file, bool in_team)
{
    struct act *tree;
    struct act_survey survey, other;
    uint64_t sum, other_sum;
    if (act_open_memory(file->p, file->len, "fuzz", &tree, NULL) != 0)
        return;
    int r = verify(tree, false, 1, &survey, &sum);
    if (in_file) {
        check_that(verify(tree, true, 1, &other, &other_sum) == r, "in a file it ends otherwise");
        check_that(memcmp(&survey, &other, sizeof survey) == 0, "in a file it counts otherwise");
        check_that(sum == other_sum, "in a file it finds something else");
    }
    if (in_team) {
        check_that(verify(tree, false, 3, &other, &other_sum) == r, "a team ends otherwise");
        check_that(memcmp(&survey, &other, sizeof survey) == 0, "a team counts otherwise");
        check_that(sum == other_sum, "a team finds something else");
    }
    if (r == 0) {
        check_cursor(tree, &survey);
        const char *wrong = consistent_below_root(tree, WALK_POSITIONS, WALK_DEPTH);
        check_that(!wrong, wrong);
    }
    act_close(tree);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    struct bytes file = bytes_copy(data + 1, size - 1);
    if (!(data[0] & 1) && file.len >= FORGE_META + FORGE_META_BYTES)
        if (memcmp(file.p + FORGE_META, "\xf8\0actd", 6) == 0)
            forge_seal(&file);
    check_file(&file, data[0] & 2, data[0] & 4);
    bytes_free(&file);
    return 0;
}
