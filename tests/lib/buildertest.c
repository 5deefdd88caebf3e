/*
 * buildertest: see buildertest.h.
 */
#include "buildertest.h"

#include "act/verify.h"
#include "cursormodel.h"
#include "randomkeys.h"
#include "treetest.h"
#include "treewriter.h"
#include "unit.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#define META_AT    16
#define META_BYTES 80
#define DIGEST_AT  56

size_t *build_order_new(enum build_order order, size_t n)
{
    size_t *indexes = malloc((n + 1) * sizeof *indexes);
    struct random random = {.state = n};
    if (!indexes)
        err(2, "malloc");
    for (size_t i = 0; i < n; i++)
        indexes[i] = order == BUILD_REVERSED ? n - 1 - i : order == BUILD_LATE ? (i + 1) % n : i;
    for (size_t i = n; order == BUILD_SHUFFLED && i > 1; i--) {
        size_t j = random_below(&random, (unsigned)i), was = indexes[i - 1];
        indexes[i - 1] = indexes[j];
        indexes[j] = was;
    }
    return indexes;
}

struct bytes byte_value_of(uint64_t value)
{
    char text[300];
    size_t len = value % 5 == 0 ? 0 : value % 7 == 0 ? 280 : value % 40;
    for (size_t i = 0; i < len; i++)
        text[i] = (char)('a' + (value + i) % 11);
    return bytes_copy(text, len);
}

int build_memfd(void)
{
    int fd = memfd_create("build", MFD_CLOEXEC);
    if (fd < 0)
        err(2, "memfd_create");
    return fd;
}

struct bytes build_take(int fd)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        err(2, "fstat");
    size_t len = (size_t)st.st_size;
    struct bytes file = {.p = malloc(len ? len : 1), .len = len};
    if (!file.p || pread(fd, file.p, len, 0) != (ssize_t)len)
        err(2, "cannot read back");
    close(fd);
    return file;
}

int build_add(struct act_builder *builder, const struct act_builder_options *options,
              const struct oracle_entry *entry, uint64_t line)
{
    if (!options || options->values != ACT_VALUES_BYTES)
        return act_builder_add(builder, entry->key.p, entry->key.len, entry->value, line);
    struct bytes value = byte_value_of(entry->value);
    int r = act_builder_add_bytes(builder, entry->key.p, entry->key.len, value.p, value.len, line);
    bytes_free(&value);
    return r;
}

struct bytes build_file(const struct oracle *oracle, enum build_order order,
                        const struct act_builder_options *options,
                        struct act_builder_summary *ret_summary)
{
    struct act_builder *builder;
    struct act_error error;
    size_t *indexes = build_order_new(order, oracle->n);
    int fd = build_memfd();
    if (act_builder_new_fd(fd, "memory", options, &builder, &error) != 0)
        fail_msg("%s", error.message);
    for (size_t i = 0; i < oracle->n; i++)
        if (build_add(builder, options, &oracle->entries[indexes[i]], i + 1) != 0)
            fail_msg("%s", act_builder_error(builder));
    if (act_builder_finish(builder, ret_summary) != 0)
        fail_msg("%s", act_builder_error(builder));
    act_builder_free(builder);
    free(indexes);
    return build_take(fd);
}

/* What the builder must have written before it chooses from how many children on there are tables.
 */
#define SAMPLE_BYTES_MIN 65536

static void tell_finding(void *context, const struct act_finding *finding)
{
    (void)context;
    fprintf(stderr, "# at %llu: %s\n", (unsigned long long)finding->offset, finding->reason);
}

static void check_verified(const struct act *tree, const struct oracle *oracle)
{
    struct act_survey survey;
    const struct act_verify_options options = {.is_all = true, .on_finding = tell_finding};
    assert_int_equal(act_verify(tree, &options, &survey), 0);
    assert_int_equal(survey.n_faults, 0);
    assert_int_equal(survey.n_notes, 0);
    assert_int_equal(survey.n_values, oracle->n);
}

static void check_metadata(const struct bytes *file, const struct act_info *info,
                           const struct act_builder_options *o)
{
    const struct act_metadata *m = &info->metadata;
    struct bytes arena = bytes_copy(file->p + META_AT, file->len - META_AT - 8);
    XXH128_canonical_t digest;
    memset(arena.p + DIGEST_AT, 0, META_BYTES - DIGEST_AT);
    XXH128_canonicalFromHash(&digest, XXH3_128bits(arena.p, arena.len));
    bytes_free(&arena);
    assert_int_equal(info->metadata_state, ACT_METADATA_FULL);
    assert_int_equal(m->version, 1);
    assert_int_equal(m->flags, 0);
    assert_int_equal(m->value_mode, o->values);
    if (o->table_min_children > 0)
        assert_int_equal(m->table_min_children, o->table_min_children);
    else if (file->len < SAMPLE_BYTES_MIN)
        assert_int_equal(m->table_min_children, ACT_BUILDER_TABLE_MIN_CHILDREN);
    else
        assert_in_range(m->table_min_children, 4, 256);
    assert_int_equal(m->root_offset, info->root_offset);
    assert_int_equal(m->objects_end, file->len - 8);
    assert_int_equal(m->created_s, o->created_s);
    assert_memory_equal(m->digest, digest.digest, sizeof m->digest);
    assert_int_equal(info->values, o->values);
}

static void check_facts(const struct bytes *file, const struct act *tree,
                        const struct oracle *oracle, const struct act_builder_options *o,
                        const struct act_builder_summary *summary)
{
    struct act_info info;
    uint64_t longest = 0;
    act_info(tree, &info);
    for (size_t i = 0; i < oracle->n; i++)
        if (oracle->entries[i].key.len > longest)
            longest = oracle->entries[i].key.len;
    assert_int_equal(summary->n_keys, oracle->n);
    assert_int_equal(summary->longest_key_bytes, longest);
    assert_int_equal(summary->size_bytes, file->len);
    if (o->is_plain) {
        assert_int_equal(info.metadata_state, ACT_METADATA_NONE);
        assert_int_equal(summary->n_tables + summary->table_bytes, 0);
        return;
    }
    check_metadata(file, &info, o);
    assert_int_equal(info.metadata.n_keys, oracle->n);
    assert_int_equal(info.metadata.longest_key_bytes, longest);
}

static void check_byte_value(const struct act *tree, const struct oracle_entry *entry)
{
    struct bytes wanted = byte_value_of(entry->value);
    const uint8_t *p = NULL;
    size_t len = 0;
    uint64_t offset = 0;
    assert_int_equal(act_get(tree, entry->key.p, entry->key.len, &offset, NULL), 0);
    assert_int_equal(act_bytes(tree, offset, &p, &len, NULL), 0);
    assert_int_equal(len, wanted.len);
    assert_non_null(p);
    assert_memory_equal(p, wanted.p, len);
    bytes_free(&wanted);
}

static void check_bytes(struct treetest *t)
{
    for (size_t i = 0; i < t->oracle.n; i++)
        check_byte_value(t->tree, &t->oracle.entries[i]);
}

static void check_walks(struct treetest *t, size_t step)
{
    struct cursor_model model;
    treetest_check_all(t, step);
    cursor_model_init(&model, t->tree, &t->oracle);
    const char *wrong = cursor_model_check_all(&model, step);
    if (wrong)
        fail_msg("%s: %s", t->name, wrong);
    cursor_model_deinit(&model);
}

/* The oracle's keys with the numbers that the tree has for them. */
static void copy_with_offsets(const struct act *tree, const struct oracle *oracle,
                              struct oracle *ret)
{
    oracle_init(ret);
    for (size_t i = 0; i < oracle->n; i++) {
        const struct oracle_entry *entry = &oracle->entries[i];
        uint64_t offset = 0;
        assert_int_equal(act_get(tree, entry->key.p, entry->key.len, &offset, NULL), 0);
        oracle_add(ret, entry->key.p, entry->key.len, offset);
    }
    oracle_sort(ret);
}

void build_check(const struct bytes *file, const struct oracle *oracle,
                 const struct act_builder_options *options,
                 const struct act_builder_summary *summary, size_t step)
{
    static const struct act_builder_options none;
    const struct act_builder_options *o = options ? options : &none;
    struct treetest t;
    struct oracle offsets;
    treetest_open_bytes(&t, bytes_copy(file->p, file->len), "built");
    t.oracle = *oracle;
    check_facts(file, t.tree, oracle, o, summary);
    if (o->is_plain) {
        struct bytes wanted = treewriter_write(oracle, TREEWRITER_BRANCH_ROOT);
        assert_int_equal(file->len, wanted.len);
        assert_memory_equal(file->p, wanted.p, wanted.len);
        bytes_free(&wanted);
    }
    if (o->values == ACT_VALUES_BYTES) {
        check_bytes(&t);
        copy_with_offsets(t.tree, oracle, &offsets);
        t.oracle = offsets;
    }
    check_verified(t.tree, oracle);
    check_walks(&t, step);
    if (o->values != ACT_VALUES_BYTES)
        oracle_init(&t.oracle); /* the caller's */
    treetest_close(&t);
}

void build_and_check(const struct oracle *oracle, enum build_order order,
                     const struct act_builder_options *options, size_t step)
{
    struct act_builder_summary summary;
    struct bytes file = build_file(oracle, order, options, &summary);
    build_check(&file, oracle, options, &summary, step);
    bytes_free(&file);
}
