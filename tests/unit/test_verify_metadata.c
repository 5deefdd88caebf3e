/*
 * verify on files with what section 11 adds: each field of the metadata, the tables and the byte
 * values, forged with a checksum and a digest that fit.
 */
#include "buildertest.h"
#include "tree/meta.h"
#include "tree/node.h"
#include "treetest.h"
#include "unit.h"
#include "verdict.h"

#include <stdlib.h>
#include <xxhash.h>

#define META(field) (HEADER_BYTES + (field))

#define DAMAGED   "metadata with a wrong checksum, version or offset"
#define N_KEYS    "the number of keys in the metadata"
#define LONGEST   "the longest key in the metadata"
#define DIGEST    "the digest in the metadata"
#define ROOT_LAST "metadata whose root is not the last of its objects"
#define FOREIGN   "metadata of another root"
#define FLAGS     "metadata with flags that are not known"
#define MIXED     "a tree of byte values, merged since"
#define ENTRY     "a sibling table's entry that does not lead to its child"
#define OUTSIDE   "a byte value outside the arena"
#define PAST_END  "a byte value that runs past the arena's end"
#define OVERLAP   "a byte value that overlaps another object"
#define HOLE      "bytes that belong to no object"
#define REMAINS   "bytes that this root does not reach"

struct entry {
    const char *key;
    const char *bytes; /* NULL: a number */
};

/* Built from those entries, in that order; *owned* by the caller. */
static struct bytes built(const struct entry *entries, size_t n, unsigned table_min)
{
    struct act_builder *builder;
    const struct act_builder_options options = {
        .values = entries[0].bytes ? ACT_VALUES_BYTES : ACT_VALUES_U64,
        .table_min_children = table_min,
    };
    int fd = build_memfd();
    assert_int_equal(act_builder_new_fd(fd, "built", &options, &builder, NULL), 0);
    for (size_t i = 0; i < n; i++) {
        const struct entry *e = &entries[i];
        size_t len = strlen(e->key);
        int r = e->bytes
                    ? act_builder_add_bytes(builder, e->key, len, e->bytes, strlen(e->bytes), i)
                    : act_builder_add(builder, e->key, len, i, i);
        assert_int_equal(r, 0);
    }
    assert_int_equal(act_builder_finish(builder, NULL), 0);
    act_builder_free(builder);
    return build_take(fd);
}

static uint64_t field_of(const struct bytes *file, unsigned field)
{
    return load_le64(file->p + META(field));
}

static void put(struct bytes *file, uint64_t at, uint64_t value, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        file->p[at + i] = (uint8_t)(value >> (8 * i));
}

static void sign_metadata(struct bytes *file)
{
    put(file, META(META_CHECKSUM), XXH3_64bits(file->p + META(0), META_CHECKSUM), 8);
}

/* The digest of what is there now, and the checksum. */
static void sign(struct bytes *file)
{
    XXH128_canonical_t digest;
    uint64_t end = field_of(file, META_OBJECTS_END);
    struct bytes copy = bytes_copy(file->p, file->len);
    memset(copy.p + META(META_DIGEST), 0, META_BYTES - META_DIGEST);
    if (end <= file->len && end >= HEADER_BYTES)
        XXH128_canonicalFromHash(&digest, XXH3_128bits(copy.p + HEADER_BYTES, end - HEADER_BYTES));
    else
        memset(&digest, 0, sizeof digest);
    memcpy(file->p + META(META_DIGEST), digest.digest, sizeof digest.digest);
    sign_metadata(file);
    bytes_free(&copy);
}

/* The first finding of the file, which is taken over, must be this one. reason NULL: there is
 * none. */
static void check(struct bytes file, const char *reason, bool is_note, uint64_t offset)
{
    struct treetest t;
    struct verdict v;
    treetest_open_bytes(&t, file, reason ? reason : "clean");
    verdict_take(&v, t.tree, NULL);
    if (v.n > 0 && (!reason || strncmp(v.findings[0].reason, reason, strlen(reason)) != 0))
        fail_msg("%s: offset %llu: %s", t.name, (unsigned long long)v.findings[0].offset,
                 v.findings[0].reason);
    assert_int_equal(v.n > 0, reason != NULL);
    if (v.n > 0) {
        assert_int_equal(v.findings[0].offset, offset);
        assert_int_equal(v.findings[0].is_note, is_note);
    }
    assert_int_equal(v.result, reason && !is_note ? ACT_CORRUPT : 0);
    verdict_free(&v);
    treetest_close(&t);
}

static const struct entry numbers[] = {{"a", NULL},  {"bb", NULL}, {"bc", NULL},
                                       {"bd", NULL}, {"be", NULL}, {"cf", NULL},
                                       {"cg", NULL}, {"ch", NULL}, {"d", NULL}};

static struct bytes numbers_built(void)
{
    return built(numbers, N_ELEMENTS(numbers), 4);
}

static void each_field_of_the_metadata_is_checked(void **state)
{
    (void)state;
    struct bytes file = numbers_built();
    uint64_t root = field_of(&file, META_ROOT), end = field_of(&file, META_OBJECTS_END);
    assert_int_equal(field_of(&file, META_N_KEYS), N_ELEMENTS(numbers));
    const struct {
        unsigned field, n;
        uint64_t value;
        const char *reason;
        bool is_note;
        uint64_t offset;
    } forged[] = {
        {META_TAG, 1, 0xf9, HOLE, false, 16},
        {META_VERSION, 1, 2, DAMAGED, false, 16},
        {META_VALUE_MODE, 1, 2, DAMAGED, false, 16},
        {META_LENGTH, 4, META_BYTES + 1, DAMAGED, false, 16},
        {META_TABLE_MIN, 2, 1, DAMAGED, false, 16},
        {META_ROOT, 8, 95, DAMAGED, false, 16},
        {META_ROOT, 8, end, DAMAGED, false, 16},
        {META_OBJECTS_END, 8, root, DAMAGED, false, 16},
        {META_OBJECTS_END, 8, end + 1, DAMAGED, false, 16},
        {META_OBJECTS_END, 8, end - 1, ROOT_LAST, false, META(META_OBJECTS_END)},
        {META_N_KEYS, 8, 8, N_KEYS, false, META(META_N_KEYS)},
        {META_N_KEYS, 8, UINT64_MAX, N_KEYS, false, META(META_N_KEYS)},
        {META_LONGEST_KEY, 8, 1, LONGEST, false, META(META_LONGEST_KEY)},
        {META_LONGEST_KEY, 8, 3, LONGEST, false, META(META_LONGEST_KEY)},
        {META_CREATED, 8, 12345, NULL, false, 0},
        {META_FLAGS, 2, 0x8000, FLAGS, true, META(META_FLAGS)},
        {META_VALUE_MODE, 1, 1, OUTSIDE, false, 0},
    };
    for (size_t i = 0; i < N_ELEMENTS(forged); i++) {
        struct bytes copy = bytes_copy(file.p, file.len);
        put(&copy, META(forged[i].field), forged[i].value, forged[i].n);
        sign(&copy);
        uint64_t offset = forged[i].offset;
        /* The first leaf is that of "a", the first of the root's run: R minus the distance. */
        if (forged[i].reason && strcmp(forged[i].reason, OUTSIDE) == 0)
            offset = root - file.p[root + 1];
        check(copy, forged[i].reason, forged[i].is_note, offset);
        /* Not signed, each is damaged; without its tag it is none. */
        copy = bytes_copy(file.p, file.len);
        put(&copy, META(forged[i].field), forged[i].value, forged[i].n);
        check(copy, i == 0 ? HOLE : DAMAGED, false, 16);
    }
    bytes_free(&file);
}

static void the_digest_is_compared(void **state)
{
    (void)state;
    struct bytes file = numbers_built();
    for (unsigned i = 0; i < 16; i++) {
        struct bytes copy = bytes_copy(file.p, file.len);
        copy.p[META(META_DIGEST) + i] ^= 1;
        sign_metadata(&copy);
        check(copy, DIGEST, false, META(META_DIGEST));
    }
    /* A value: nothing but the digest can tell. */
    uint64_t root = field_of(&file, META_ROOT), leaf = root - file.p[root + 1];
    assert_int_equal(file.p[leaf], 0x40);
    file.p[leaf + 1] ^= 1;
    struct bytes copy = bytes_copy(file.p, file.len);
    check(copy, DIGEST, false, META(META_DIGEST));
    sign(&file);
    check(file, NULL, false, 0);
}

/* The root has four children and a table, "b" four and a table, "c" three and none. */
/* That of the branch whose children are b to e. */
static uint64_t table_of_b(const struct bytes *file)
{
    const uint8_t *set = memmem(file->p, file->len, "bcde", 4);
    assert_non_null(set);
    /* Four members, the distance to the first child, the set. */
    uint64_t branch = (uint64_t)(set - file->p) - 2;
    assert_int_equal(file->p[branch], 4);
    return branch - file->p[branch + 1] - 6;
}

static void each_table_must_be_there_and_no_other(void **state)
{
    (void)state;
    struct bytes file = numbers_built();
    uint64_t root = field_of(&file, META_ROOT), first = root - file.p[root + 1];
    for (uint64_t at = first - 6; at < first; at++)
        for (unsigned bit = 0; bit < 8; bit++) {
            struct bytes copy = bytes_copy(file.p, file.len);
            copy.p[at] ^= (uint8_t)(1 << bit);
            sign(&copy);
            check(copy, ENTRY, false, at - (at - first) % 2);
        }
    struct treetest t;
    struct verdict v;
    treetest_open_bytes(&t, bytes_copy(file.p, file.len), "tables");
    verdict_take(&v, t.tree, NULL);
    assert_int_equal(v.survey.n_objects[ACT_OBJECT_TABLE], 2);
    assert_int_equal(v.survey.bytes[ACT_OBJECT_TABLE], 12);
    assert_int_equal(v.survey.bytes[ACT_OBJECT_METADATA], META_BYTES);
    assert_int_equal(v.survey.fan_out[4], 2);
    assert_int_equal(v.survey.fan_out[3], 1);
    verdict_free(&v);
    treetest_close(&t);
    /* One fault for a table, whatever is wrong with it, and the path of its branch. */
    for (unsigned i = 0; i < 2; i++) {
        uint64_t at = i == 0 ? first - 6 : table_of_b(&file);
        treetest_open_bytes(&t, bytes_copy(file.p, file.len), "tables");
        memset(t.file.p + at, 0xee, 6);
        sign(&t.file);
        verdict_take(&v, t.tree, NULL);
        assert_int_equal(v.n, 2); /* the digest is not what it was at open */
        assert_string_equal(v.findings[0].reason, ENTRY);
        assert_int_equal(v.survey.n_values, N_ELEMENTS(numbers));
        assert_int_equal(v.findings[0].path.len, i);
        assert_true(i == 0 || v.findings[0].path.p[0] == 'b');
        verdict_free(&v);
        treetest_close(&t);
    }
    /* W says that there are more, or fewer. */
    for (unsigned w = 2; w <= 6; w++) {
        treetest_open_bytes(&t, bytes_copy(file.p, file.len), "tables");
        put(&t.file, META(META_TABLE_MIN), w, 2);
        sign(&t.file);
        act_close(t.tree);
        assert_int_equal(act_open_memory(t.file.p, t.file.len, t.name, &t.tree, NULL), 0);
        verdict_take(&v, t.tree, NULL);
        assert_int_equal(v.result, w == 4 ? 0 : ACT_CORRUPT);
        assert_true(w <= 4 || strcmp(v.findings[0].reason, HOLE) == 0);
        assert_true(w >= 4 || verdict_find(&v, "a sibling table"));
        verdict_free(&v);
        treetest_close(&t);
    }
    bytes_free(&file);
}

/* 96: 03 01 02 03, 100: 02 "zz", 103: 40 60, 105: 40 64, 107: 02 04 "ab". */
static struct bytes strings_built(void)
{
    static const struct entry strings[] = {{"a", "\1\2\3"}, {"b", "zz"}};
    struct bytes file = built(strings, N_ELEMENTS(strings), 4);
    assert_int_equal(file.len, 119);
    assert_memory_equal(file.p + 96, "\3\1\2\3\2zz\x40\x60\x40\x64\2\4ab", 15);
    return file;
}

static void byte_values_are_checked(void **state)
{
    (void)state;
    static const struct {
        unsigned at, byte;
        const char *reason;
        uint64_t offset;
    } forged[] = {
        {106, 0x64, NULL, 0},       {106, 0x60, HOLE, 100}, /* an equal one; nobody has the other */
        {106, 95, OUTSIDE, 105},                            /* metadata */
        {106, 0, OUTSIDE, 105},     {106, 111, OUTSIDE, 105},  /* E */
        {106, 101, PAST_END, 101},                             /* 'z' bytes */
        {106, 97, OVERLAP, 97},                                /* in the other's string */
        {106, 98, OVERLAP, 98},     {106, 108, PAST_END, 108}, /* the root: 4, and two bytes left */
        {100, 0x0a, OVERLAP, 100},                             /* longer, over the nodes */
        {100, 0x01, HOLE, 102},                                /* shorter */
        {100, 0x20, PAST_END, 100},
    };
    struct bytes file = strings_built();
    for (size_t i = 0; i < N_ELEMENTS(forged); i++) {
        struct bytes copy = bytes_copy(file.p, file.len);
        copy.p[forged[i].at] = (uint8_t)forged[i].byte;
        sign(&copy);
        check(copy, forged[i].reason, false, forged[i].offset);
    }
    bytes_free(&file);
}

/* As a merge would: a copy of the root, and a trailer. Its run has one-byte distances. */
static struct bytes merged(struct bytes file)
{
    uint64_t old = load_le64(file.p + 8), at = file.len, n = file.p[old];
    file.p = realloc(file.p, file.len + 2 + n + 16);
    assert_non_null(file.p);
    memcpy(file.p + at, file.p + old, 2 + n);
    file.p[at + 1] = (uint8_t)(at - (old - file.p[old + 1]));
    file.len += 2 + n + 16;
    put(&file, at + 2 + n, 0, 8);
    put(&file, at + 2 + n + 8, old, 8);
    put(&file, 8, at, 8);
    return file;
}

static void merged_files_keep_their_tables(void **state)
{
    (void)state;
    struct treetest t;
    struct verdict v;
    struct bytes file = numbers_built();
    uint64_t old = load_le64(file.p + 8);
    treetest_open_bytes(&t, merged(file), "merged numbers");
    verdict_take(&v, t.tree, NULL);
    assert_int_equal(v.result, 0);
    assert_non_null(verdict_find(&v, REMAINS));
    assert_int_equal(v.survey.n_objects[ACT_OBJECT_TABLE], 1); /* the root's copy has none */
    assert_int_equal(v.survey.n_values, N_ELEMENTS(numbers));
    verdict_free(&v);
    assert_int_equal(act_set_root(t.tree, old), 0);
    verdict_take(&v, t.tree, NULL);
    assert_int_equal(v.result, 0);
    assert_int_equal(v.survey.n_objects[ACT_OBJECT_TABLE], 2);
    verdict_free(&v);
    treetest_close(&t);
    check(merged(strings_built()), MIXED, false, META(META_VALUE_MODE));
}

static void metadata_of_another_root_is_a_note(void **state)
{
    (void)state;
    struct bytes file = merged(numbers_built());
    struct verdict v;
    struct treetest t;
    /* R becomes a leaf: no trailer names it. */
    uint64_t root = field_of(&file, META_ROOT), leaf = root - file.p[root + 1];
    put(&file, META(META_ROOT), leaf, 8);
    sign(&file);
    treetest_open_bytes(&t, file, "foreign");
    verdict_take(&v, t.tree, NULL);
    assert_int_equal(v.result, 0);
    assert_non_null(verdict_find(&v, FOREIGN));
    assert_int_equal(v.survey.n_objects[ACT_OBJECT_TABLE], 0);
    verdict_free(&v);
    treetest_close(&t);
}

static void what_is_behind_a_built_file_is_a_note(void **state)
{
    (void)state;
    struct bytes file = numbers_built();
    uint64_t len = file.len;
    file.p = realloc(file.p, len + 100);
    assert_non_null(file.p);
    memset(file.p + len, 0x41, 100);
    file.len = len + 100;
    check(file, "bytes behind the end", true, len);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_field_of_the_metadata_is_checked),
        cmocka_unit_test(the_digest_is_compared),
        cmocka_unit_test(each_table_must_be_there_and_no_other),
        cmocka_unit_test(byte_values_are_checked),
        cmocka_unit_test(merged_files_keep_their_tables),
        cmocka_unit_test(metadata_of_another_root_is_a_note),
        cmocka_unit_test(what_is_behind_a_built_file_is_a_note),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
