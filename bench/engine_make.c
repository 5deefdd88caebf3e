/*
 * engine_make: the same keys and values as a database of somebody else's.
 *
 *     engine_make lmdb|cdb KEYS OUT
 */
#include "bench/engine_keys.h"

#include <cdb.h>
#include <err.h>
#include <fcntl.h>
#include <lmdb.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void check_lmdb(int r, const char *what)
{
    if (r != 0)
        errx(1, "%s: %s", what, mdb_strerror(r));
}

/* In order, so that its pages are as full as they can be. */
static void make_lmdb(const struct engine_keys *keys, const char *path)
{
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
    check_lmdb(mdb_env_create(&env), "mdb_env_create");
    check_lmdb(mdb_env_set_mapsize(env, (size_t)16 << 30), "mdb_env_set_mapsize");
    check_lmdb(mdb_env_open(env, path, MDB_NOSUBDIR | MDB_NOSYNC | MDB_NOLOCK, 0644), path);
    check_lmdb(mdb_txn_begin(env, NULL, 0, &txn), "mdb_txn_begin");
    check_lmdb(mdb_dbi_open(txn, NULL, 0, &dbi), "mdb_dbi_open");
    for (size_t i = 0; i < keys->n; i++) {
        MDB_val key = {keys->at[i].len, (void *)(uintptr_t)keys->at[i].p};
        MDB_val value = {sizeof keys->values[i], &keys->values[i]};
        check_lmdb(mdb_put(txn, dbi, &key, &value, MDB_APPEND), "mdb_put");
    }
    check_lmdb(mdb_txn_commit(txn), "mdb_txn_commit");
    mdb_env_close(env);
}

static void make_cdb(const struct engine_keys *keys, const char *path)
{
    struct cdb_make make;
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || cdb_make_start(&make, fd) != 0)
        err(1, "%s", path);
    for (size_t i = 0; i < keys->n; i++)
        if (cdb_make_add(&make, keys->at[i].p, (unsigned)keys->at[i].len, &keys->values[i],
                         sizeof keys->values[i]) != 0)
            err(1, "%s", path);
    if (cdb_make_finish(&make) != 0 || close(fd) != 0)
        err(1, "%s", path);
}

int main(int argc, char **argv)
{
    struct engine_keys keys;
    if (argc != 4)
        errx(2, "usage: %s lmdb|cdb KEYS OUT", argv[0]);
    engine_keys_load(&keys, argv[2]);
    if (strcmp(argv[1], "lmdb") == 0)
        make_lmdb(&keys, argv[3]);
    else
        make_cdb(&keys, argv[3]);
    engine_keys_deinit(&keys);
    return 0;
}
