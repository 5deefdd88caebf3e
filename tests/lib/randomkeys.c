/*
 * randomkeys: see randomkeys.h.
 */
#include "randomkeys.h"

#include "treewriter.h"

#define KEY_MAX 128

unsigned random_below(struct random *random, unsigned n)
{
    random->state = random->state * UINT64_C(6364136223846793005) + 1442695040888963407;
    return (unsigned)(random->state >> 33) % n;
}

static size_t random_key(struct random *random, enum random_keys kind, uint8_t *key)
{
    static const char *const parts[] = {
        "/usr/share/", "doc/", "lib/python3/dist-packages/", "a", "\xff\xff", "", "copyright", "b"};
    size_t len = random_below(random, kind == RANDOM_ALL_BYTES ? 4 : 9);
    if (kind == RANDOM_LONG_COMMON) {
        size_t n_parts = random_below(random, 5);
        for (len = 0; n_parts > 0; n_parts--) {
            const char *part = parts[random_below(random, 8)];
            memcpy(key + len, part, strlen(part));
            len += strlen(part);
        }
        return len;
    }
    if (kind == RANDOM_NESTED)
        len = random_below(random, KEY_MAX / 2);
    for (size_t i = 0; i < len; i++)
        key[i] = kind == RANDOM_FEW_LETTERS ? (uint8_t)(127 * random_below(random, 3))
                 : kind == RANDOM_NESTED    ? (uint8_t)(i % 7 == 6 ? random_below(random, 2) : i)
                                            : (uint8_t)random_below(random, 256);
    return len;
}

void random_keys_add(struct random *random, enum random_keys kind, unsigned n,
                     struct oracle *oracle)
{
    for (unsigned i = 0; i < n; i++) {
        uint8_t key[KEY_MAX];
        size_t len = random_key(random, kind, key);
        oracle_add(oracle, key, len, UINT64_MAX >> random_below(random, 64));
    }
    oracle_sort(oracle);
}

void random_tree_open(struct random *random, enum random_keys kind, unsigned n, struct treetest *t)
{
    struct oracle oracle;
    oracle_init(&oracle);
    random_keys_add(random, kind, n, &oracle);
    enum treewriter_root root =
        random_below(random, 2) ? TREEWRITER_BRANCH_ROOT : TREEWRITER_LINE_ROOT;
    treetest_open_bytes(t, treewriter_write(&oracle, root), "random tree");
    t->oracle = oracle;
}
