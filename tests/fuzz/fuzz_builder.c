/*
 * fuzz_builder: any entries in any order, with any options. What is built must hold exactly them,
 * by every way of reading it, and plain files are what the tests' own encoder writes. Keys that
 * come twice are settled as the options say.
 *
 * Input: two bytes of options; then entries: a byte (how many bytes of the last key stay, and how
 * many new ones follow), the new bytes, and a byte that stands for the value.
 */
#include "buildertest.h"
#include "bytes.h"
#include "oracle.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define KEY_MAX     64
#define ENTRIES_MAX 300

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct entries {
    struct oracle_entry entries[ENTRIES_MAX];
    uint8_t keys[ENTRIES_MAX][KEY_MAX];
    size_t n;
};

static void check(bool is_right, const char *what)
{
    if (is_right)
        return;
    fprintf(stderr, "%s\n", what);
    abort();
}

static void read_entries(struct slice rest, struct entries *ret)
{
    uint8_t last[KEY_MAX] = {0};
    size_t last_len = 0;
    for (ret->n = 0; rest.len >= 2 && ret->n < ENTRIES_MAX; ret->n++) {
        size_t keep = rest.p[0] >> 3, more = rest.p[0] & 7;
        if (keep > last_len)
            keep = last_len;
        if (more > rest.len - 2)
            more = rest.len - 2;
        memcpy(last + keep, rest.p + 1, more);
        last_len = keep + more;
        unsigned v = rest.p[1 + more];
        memcpy(ret->keys[ret->n], last, last_len);
        ret->entries[ret->n] = (struct oracle_entry){
            .key = slice_of(ret->keys[ret->n], last_len),
            .value = (UINT64_C(1) << (v & 63)) - (v >> 6),
        };
        rest = slice_of(rest.p + 2 + more, rest.len - 2 - more);
    }
}

static struct act_builder_options read_options(const uint8_t *data)
{
    static const unsigned table_mins[] = {2, 3, 4, 8, 16, 31, 32, 33};
    bool is_bytes = data[0] & 1;
    return (struct act_builder_options){
        .values = is_bytes ? ACT_VALUES_BYTES : ACT_VALUES_U64,
        .is_plain = !is_bytes && (data[0] & 2),
        .duplicates = (data[0] >> 2 & 3) % 3,
        .table_min_children = table_mins[data[1] & 7],
        .created_s = data[1] >> 3,
    };
}

/* Of equal keys the one that stays is the one that the oracle gets last. */
static void expect(const struct entries *x, enum act_duplicates duplicates, struct oracle *ret)
{
    oracle_init(ret);
    for (size_t i = 0; i < x->n; i++) {
        size_t at = duplicates == ACT_DUPLICATES_FIRST ? x->n - 1 - i : i;
        oracle_add(ret, x->entries[at].key.p, x->entries[at].key.len, x->entries[at].value);
    }
    oracle_sort(ret);
}

static void check_build(const struct entries *x, const struct act_builder_options *options,
                        const struct oracle *oracle)
{
    struct act_builder *builder;
    struct act_builder_summary summary;
    int fd = build_memfd(), r = 0;
    check(act_builder_new_fd(fd, "fuzz", options, &builder, NULL) == 0, "no builder");
    for (size_t i = 0; i < x->n && r == 0; i++)
        r = build_add(builder, options, &x->entries[i], i + 1);
    if (r == 0)
        r = act_builder_finish(builder, &summary);
    bool is_refused = options->duplicates == ACT_DUPLICATES_REFUSE && oracle->n < x->n;
    check(r == (is_refused ? ACT_DUPLICATE : 0), "another outcome");
    act_builder_free(builder);
    struct bytes file = build_take(fd);
    if (r == 0) {
        check(summary.n_duplicates == x->n - oracle->n, "another number of duplicates");
        build_check(&file, oracle, options, &summary, 3);
    }
    bytes_free(&file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct entries x;
    struct oracle oracle;
    if (size < 2)
        return 0;
    struct act_builder_options options = read_options(data);
    read_entries(slice_of(data + 2, size - 2), &x);
    expect(&x, options.duplicates, &oracle);
    check_build(&x, &options, &oracle);
    oracle_deinit(&oracle);
    return 0;
}
