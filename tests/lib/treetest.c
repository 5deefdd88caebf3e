/*
 * treetest: see treetest.h.
 */
#include "treetest.h"

#include "probe.h"
#include "unit.h"

#include <dirent.h>
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void treetest_open_bytes(struct treetest *t, struct bytes file, const char *name)
{
    struct act_error error;
    *t = (struct treetest){.file = file};
    snprintf(t->name, sizeof t->name, "%s", name);
    oracle_init(&t->oracle);
    if (act_open_memory(file.p, file.len, name, &t->tree, &error) != 0)
        errx(2, "%s", error.message);
}

void treetest_open(struct treetest *t, const char *tree, const char *contents)
{
    treetest_open_bytes(t, bytes_read_file(test_data_path(tree)), tree);
    oracle_load(&t->oracle, test_data_path(contents));
}

void treetest_open_arena(struct treetest *t, const char *name, uint64_t root, const char *arena_hex)
{
    struct bytes arena = bytes_from_hex(arena_hex);
    struct bytes file = {.p = malloc(16 + arena.len), .len = 16 + arena.len};
    if (!file.p)
        err(2, "malloc");
    memcpy(file.p, "ACTree03\0\0\0\0\0\0\0\0", 16);
    for (unsigned i = 0; i < 8; i++)
        file.p[8 + i] = (uint8_t)(root >> (8 * i));
    memcpy(file.p + 16, arena.p, arena.len);
    bytes_free(&arena);
    treetest_open_bytes(t, file, name);
}

void treetest_close(struct treetest *t)
{
    act_close(t->tree);
    bytes_free(&t->file);
    oracle_deinit(&t->oracle);
}

/* NAME.VARIANT.act has NAME.tsv, merged1_stream.act has merged1.tsv. False: there is none. */
static bool find_contents(const char *tree, char *contents, size_t size)
{
    size_t len = strlen(tree) - strlen(".act");
    while (len > 0) {
        snprintf(contents, size, "%.*s.tsv", (int)len, tree);
        if (access(test_data_path(contents), R_OK) == 0)
            return true;
        len--;
        while (len > 0 && !strchr("._/", tree[len]))
            len--;
        if (tree[len] == '/')
            return false;
    }
    return false;
}

static int is_tree(const struct dirent *entry)
{
    size_t len = strlen(entry->d_name);
    return len > 4 && strcmp(entry->d_name + len - 4, ".act") == 0;
}

size_t treetest_for_each(const char *folder, void (*visit)(struct treetest *t, void *context),
                         void *context)
{
    struct dirent **entries;
    size_t n_visited = 0;
    int n = scandir(test_data_path(folder), &entries, is_tree, alphasort);
    if (n < 0)
        err(2, "%s", folder);
    for (int i = 0; i < n; i++) {
        char tree[512], contents[512];
        struct treetest t;
        snprintf(tree, sizeof tree, "%s/%s", folder, entries[i]->d_name);
        if (find_contents(tree, contents, sizeof contents)) {
            treetest_open(&t, tree, contents);
            visit(&t, context);
            treetest_close(&t);
            n_visited++;
        }
        free(entries[i]);
    }
    free(entries);
    return n_visited;
}

static void fail_key(const struct treetest *t, struct slice key, const char *what)
{
    char hex[129];
    hex[0] = '\0';
    for (size_t i = 0; i < key.len && i < 64; i++)
        snprintf(hex + 2 * i, 3, "%02x", key.p[i]);
    fail_msg("%s: key %s%s of %zu bytes: %s", t->name, hex, key.len > 64 ? "..." : "", key.len,
             what);
}

static void check_get(const struct treetest *t, struct slice key, const struct oracle_entry *wanted)
{
    uint64_t value = 0;
    int outcome = wanted ? ACT_OK : ACT_MISS;
    if (act_get(t->tree, key.p, key.len, &value, NULL) != outcome)
        fail_key(t, key, wanted ? "get does not find it" : "get finds what is not there");
    if (wanted && value != wanted->value)
        fail_key(t, key, "get has another value");
    if (act_exists(t->tree, key.p, key.len, NULL) != outcome)
        fail_key(t, key, "exists says otherwise");
}

static void check_node(const struct treetest *t, struct slice key,
                       const struct oracle_entry *wanted)
{
    size_t first;
    uint64_t children[4];
    struct act_node node = {0};
    /* The root is there in the empty tree, too. */
    bool exists = key.len == 0 || oracle_prefix_range(&t->oracle, key, &first) > 0;
    int r = act_node(t->tree, key.p, key.len, &node, NULL);
    if (r != (exists ? ACT_OK : ACT_MISS))
        fail_key(t, key, exists ? "no node" : "a node that is not there");
    if (!exists)
        return;
    oracle_children(&t->oracle, key, children);
    if (memcmp(node.children, children, sizeof children) != 0)
        fail_key(t, key, "other children");
    if (node.has_value != (wanted != NULL) || (wanted && node.value != wanted->value))
        fail_key(t, key, "the node has another value");
}

void treetest_check_key(const struct treetest *t, struct slice key)
{
    const struct oracle_entry *wanted = oracle_find(&t->oracle, key);
    check_get(t, key, wanted);
    check_node(t, key, wanted);
}

void treetest_check_all(const struct treetest *t, size_t step)
{
    treetest_check_key(t, slice_of(NULL, 0));
    for (size_t i = 0; i < t->oracle.n; i++)
        for (unsigned p = 0; p < (i % step == 0 ? PROBE_COUNT : 1); p++) {
            struct bytes key = probe_of(t->oracle.entries[i].key, p);
            treetest_check_key(t, slice_of(key.p, key.len));
            bytes_free(&key);
        }
}
