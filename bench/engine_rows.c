/*
 * engine_rows: see engine_rows.h.
 */
#include "bench/engine_rows.h"

#include "act/act.h"
#include "bench/textbook.h"

#include <cdb.h>
#include <err.h>
#include <fcntl.h>
#include <lmdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

void engine_wrong(const struct engine_row *row, size_t i)
{
    errx(1, "%s: key %zu: not found, or a wrong value", row->name, i);
}

static void *allocate(size_t size)
{
    void *p = calloc(1, size);
    if (!p)
        err(1, "calloc");
    return p;
}

static void open_textbook(struct engine_row *row, const char *path, const struct engine_keys *keys)
{
    (void)keys;
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0)
        err(1, "%s", path);
    void *bytes = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    row->reader = allocate(sizeof(struct textbook));
    if (bytes == MAP_FAILED || !textbook_init(row->reader, bytes, (size_t)st.st_size))
        errx(1, "%s: cannot be mapped, or is not an ACT file", path);
}

static void run_textbook(struct engine_row *row, const struct engine_keys *keys, size_t from,
                         size_t to)
{
    const struct textbook *file = row->reader;
    for (size_t i = from; i < to; i++) {
        uint64_t value;
        if (!textbook_get(file, keys->at[i].p, keys->at[i].len, &value) || value != keys->values[i])
            engine_wrong(row, i);
    }
}

static void open_act(struct engine_row *row, const char *path, const struct engine_keys *keys)
{
    (void)keys;
    struct act *tree;
    struct act_error error;
    if (act_open_path(path, &tree, &error) != 0)
        errx(1, "%s", error.message);
    if (row->cache_bytes > 0 && act_cache_tables(tree, row->cache_bytes) != 0)
        errx(1, "no memory for a cache");
    row->reader = tree;
}

static void run_act(struct engine_row *row, const struct engine_keys *keys, size_t from, size_t to)
{
    const struct act *tree = row->reader;
    for (size_t i = from; i < to; i++) {
        uint64_t value;
        if (act_get(tree, keys->at[i].p, keys->at[i].len, &value, NULL) != 0 ||
            value != keys->values[i])
            engine_wrong(row, i);
    }
}

struct lmdb {
    MDB_env *env;
    MDB_txn *txn;
    MDB_dbi dbi;
};

static void open_lmdb(struct engine_row *row, const char *path, const struct engine_keys *keys)
{
    (void)keys;
    struct lmdb *lmdb = allocate(sizeof *lmdb);
    if (mdb_env_create(&lmdb->env) != 0 || mdb_env_set_mapsize(lmdb->env, (size_t)16 << 30) != 0 ||
        mdb_env_open(lmdb->env, path, MDB_NOSUBDIR | MDB_NOLOCK | MDB_RDONLY, 0) != 0 ||
        mdb_txn_begin(lmdb->env, NULL, MDB_RDONLY, &lmdb->txn) != 0 ||
        mdb_dbi_open(lmdb->txn, NULL, 0, &lmdb->dbi) != 0)
        errx(1, "%s: not an LMDB database", path);
    row->reader = lmdb;
}

static void run_lmdb(struct engine_row *row, const struct engine_keys *keys, size_t from, size_t to)
{
    const struct lmdb *lmdb = row->reader;
    for (size_t i = from; i < to; i++) {
        MDB_val key = {keys->at[i].len, (void *)(uintptr_t)keys->at[i].p}, found;
        uint64_t value = 0;
        if (mdb_get(lmdb->txn, lmdb->dbi, &key, &found) == 0 && found.mv_size == sizeof value)
            memcpy(&value, found.mv_data, sizeof value);
        else
            engine_wrong(row, i);
        if (value != keys->values[i])
            engine_wrong(row, i);
    }
}

static void open_cdb(struct engine_row *row, const char *path, const struct engine_keys *keys)
{
    (void)keys;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    row->reader = allocate(sizeof(struct cdb));
    if (fd < 0 || cdb_init(row->reader, fd) != 0)
        err(1, "%s", path);
}

static void run_cdb(struct engine_row *row, const struct engine_keys *keys, size_t from, size_t to)
{
    struct cdb *cdb = row->reader;
    for (size_t i = from; i < to; i++) {
        uint64_t value;
        if (cdb_find(cdb, keys->at[i].p, (unsigned)keys->at[i].len) != 1 ||
            cdb_datalen(cdb) != sizeof value)
            engine_wrong(row, i);
        const void *data = cdb_getdata(cdb);
        if (!data)
            engine_wrong(row, i);
        memcpy(&value, data, sizeof value);
        if (value != keys->values[i])
            engine_wrong(row, i);
    }
}

struct engine_row engine_rows[ENGINE_ROWS] = {
    {"textbook", ".plain.act", open_textbook, run_textbook, 0, NULL, false},
    {"plain", ".plain.act", open_act, run_act, 0, NULL, false},
    {"plain_cache", ".plain.act", open_act, run_act, (size_t)4 << 20, NULL, false},
    {"tables", ".act", open_act, run_act, 0, NULL, false},
    {"tables_cache", ".act", open_act, run_act, (size_t)4 << 20, NULL, false},
    {"batch", ".act", engine_batch_open, engine_batch_run, 0, NULL, false},
    {"batch_plain", ".plain.act", engine_batch_open, engine_batch_run, (size_t)4 << 20, NULL,
     false},
    {"lmdb", ".lmdb", open_lmdb, run_lmdb, 0, NULL, false},
    {"cdb", ".cdb", open_cdb, run_cdb, 0, NULL, false},
};
