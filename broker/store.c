#include "broker/store.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"

enum { SCHEMA = 2, APPLICATION = 0x63786272 /* "cxbr" */ };

struct store {
    sqlite3 *db;                     /* owned */
    sqlite3_stmt *save, *save_shard; /* owned */
};

/* FULL: a commit is on disk when it returns, WAL's too. EXCLUSIVE: the file belongs to this process while it
 * lives. */
static const char prepare_sql[] =
    "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
    "BEGIN IMMEDIATE; COMMIT;";

static const char create_sql[] =
    "BEGIN IMMEDIATE;"
    "CREATE TABLE server(network TEXT NOT NULL, name TEXT NOT NULL, address TEXT NOT NULL,"
    " arch TEXT NOT NULL, incarnation INTEGER NOT NULL, threads INTEGER NOT NULL,"
    " price INTEGER NOT NULL, UNIQUE(network, name));"
    "CREATE TABLE shard(id BLOB PRIMARY KEY, record BLOB NOT NULL);"
    "PRAGMA application_id=1668833906; PRAGMA user_version=2; COMMIT;";
_Static_assert(APPLICATION == 1668833906 && SCHEMA == 2, "the numbers in create_sql");

/* Schema 1 knew no shards. */
static const char upgrade_sql[] =
    "BEGIN IMMEDIATE; CREATE TABLE shard(id BLOB PRIMARY KEY, record BLOB NOT NULL);"
    "PRAGMA user_version=2; COMMIT;";

static const char save_shard_sql[] =
    "INSERT INTO shard(id, record) VALUES(?, ?) ON CONFLICT(id) DO UPDATE SET record=excluded.record";

static const char save_sql[] =
    "INSERT INTO server(network, name, address, arch, incarnation, threads, price)"
    " VALUES(?, ?, ?, ?, ?, ?, ?) ON CONFLICT(network, name) DO UPDATE SET"
    " address=excluded.address, arch=excluded.arch, incarnation=excluded.incarnation,"
    " threads=excluded.threads, price=excluded.price";

static int fail(struct store *s, char *why)
{
    snprintf(why, STORE_WHY_MAX, "%s", s->db ? sqlite3_errmsg(s->db) : "out of memory");
    return CX_EIO;
}

/* One number: "PRAGMA user_version" and the like. -1: it could not be read. */
static int64_t number(struct store *s, const char *sql)
{
    sqlite3_stmt *q = NULL;
    int64_t n = -1;
    if (sqlite3_prepare_v2(s->db, sql, -1, &q, NULL) == SQLITE_OK && sqlite3_step(q) == SQLITE_ROW)
        n = sqlite3_column_int64(q, 0);
    sqlite3_finalize(q);
    return n;
}

/* A file that is not the broker's is left as it is. */
static int check_schema(struct store *s, char *why)
{
    int64_t version = number(s, "PRAGMA user_version"), application = number(s, "PRAGMA application_id");
    if (version == SCHEMA && application == APPLICATION)
        return 0;
    if (version == 0 && application == 0 && number(s, "SELECT count(*) FROM sqlite_schema") == 0)
        return sqlite3_exec(s->db, create_sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : fail(s, why);
    if (version == 1 && application == APPLICATION)
        return sqlite3_exec(s->db, upgrade_sql, NULL, NULL, NULL) == SQLITE_OK ? 0 : fail(s, why);
    if (application == APPLICATION && version > SCHEMA)
        snprintf(why, STORE_WHY_MAX, "written by a newer cx-broker (schema %lld, this one knows %d)",
                 (long long)version, SCHEMA);
    else
        snprintf(why, STORE_WHY_MAX, "not a store of cx-broker");
    return CX_EIO;
}

static int prepare(struct store *s, const char *path, char *why)
{
    if (sqlite3_open_v2(path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                        NULL) != SQLITE_OK)
        return fail(s, why);
    if (sqlite3_exec(s->db, prepare_sql, NULL, NULL, NULL) != SQLITE_OK) {
        if (sqlite3_errcode(s->db) != SQLITE_BUSY)
            return fail(s, why);
        snprintf(why, STORE_WHY_MAX, "in use by another process");
        return CX_EIO;
    }
    int rc = check_schema(s, why);
    if (rc)
        return rc;
    if (sqlite3_prepare_v2(s->db, save_sql, -1, &s->save, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(s->db, save_shard_sql, -1, &s->save_shard, NULL) != SQLITE_OK)
        return fail(s, why);
    return 0;
}

int store_open(const char *path, struct store **out, char *why)
{
    struct store *s = calloc(1, sizeof *s);
    must(s);
    int rc = prepare(s, path, why);
    if (rc)
        store_close(s);
    else
        *out = s;
    return rc;
}

void store_close(struct store *s)
{
    if (!s)
        return;
    sqlite3_finalize(s->save);
    sqlite3_finalize(s->save_shard);
    sqlite3_close(s->db);
    free(s);
}

/* False: the text is longer than the record has room for, so it was not written by us. */
static bool take_text(sqlite3_stmt *q, int column, char *dst, size_t cap)
{
    const char *text = (const char *)sqlite3_column_text(q, column);
    return text && (size_t)snprintf(dst, cap, "%s", text) < cap;
}

static bool take_row(sqlite3_stmt *q, struct bk_record *r)
{
    r->incarnation = (uint64_t)sqlite3_column_int64(q, 4);
    r->threads = (uint32_t)sqlite3_column_int64(q, 5);
    r->price = (uint32_t)sqlite3_column_int64(q, 6);
    return take_text(q, 0, r->network, sizeof r->network) && take_text(q, 1, r->name, sizeof r->name) &&
           take_text(q, 2, r->address, sizeof r->address) && take_text(q, 3, r->arch, sizeof r->arch);
}

int store_load(struct store *s, bool (*take)(void *ctx, const struct bk_record *record), void *ctx, char *why)
{
    sqlite3_stmt *q = NULL;
    int rc = 0, got;
    if (sqlite3_prepare_v2(s->db,
                           "SELECT network, name, address, arch, incarnation, threads, price FROM server"
                           " ORDER BY rowid",
                           -1, &q, NULL) != SQLITE_OK)
        return fail(s, why);
    while ((got = sqlite3_step(q)) == SQLITE_ROW) {
        struct bk_record r;
        if (take_row(q, &r) && take(ctx, &r))
            continue;
        snprintf(why, STORE_WHY_MAX, "a record does not fit: network \"%.80s\", name \"%.80s\"",
                 (const char *)sqlite3_column_text(q, 0), (const char *)sqlite3_column_text(q, 1));
        rc = CX_EIO;
        break;
    }
    if (!rc && got != SQLITE_DONE)
        rc = fail(s, why);
    sqlite3_finalize(q);
    return rc;
}

int store_save(struct store *s, const struct bk_record *r, char *why)
{
    sqlite3_stmt *q = s->save;
    sqlite3_bind_text(q, 1, r->network, -1, SQLITE_STATIC);
    sqlite3_bind_text(q, 2, r->name, -1, SQLITE_STATIC);
    sqlite3_bind_text(q, 3, r->address, -1, SQLITE_STATIC);
    sqlite3_bind_text(q, 4, r->arch, -1, SQLITE_STATIC);
    sqlite3_bind_int64(q, 5, (sqlite3_int64)r->incarnation);
    sqlite3_bind_int64(q, 6, r->threads);
    sqlite3_bind_int64(q, 7, r->price);
    int rc = sqlite3_step(q) == SQLITE_DONE ? 0 : fail(s, why);
    sqlite3_reset(q);
    sqlite3_clear_bindings(q);
    return rc;
}

/* ---- The witness's rows ---- */

static bool take_shard(sqlite3_stmt *q, struct id *shard, struct shard_record *record)
{
    struct reader id = reader_of(bytes_of(sqlite3_column_blob(q, 0), (size_t)sqlite3_column_bytes(q, 0)));
    struct reader r = reader_of(bytes_of(sqlite3_column_blob(q, 1), (size_t)sqlite3_column_bytes(q, 1)));
    *shard = get_id(&id);
    *record = get_shard_record(&r);
    return !id.bad && !reader_more(&id) && !r.bad && !reader_more(&r);
}

int store_load_shards(struct store *s,
                      bool (*take)(void *ctx, struct id shard, const struct shard_record *record), void *ctx,
                      char *why)
{
    sqlite3_stmt *q = NULL;
    int rc = 0, got;
    if (sqlite3_prepare_v2(s->db, "SELECT id, record FROM shard", -1, &q, NULL) != SQLITE_OK)
        return fail(s, why);
    while (!rc && (got = sqlite3_step(q)) == SQLITE_ROW) {
        struct id shard;
        struct shard_record record;
        if (take_shard(q, &shard, &record) && take(ctx, shard, &record))
            continue;
        snprintf(why, STORE_WHY_MAX, "a shard's record does not fit");
        rc = CX_EIO;
    }
    if (!rc && got != SQLITE_DONE)
        rc = fail(s, why);
    sqlite3_finalize(q);
    return rc;
}

int store_forget_shards(struct store *s, char *why)
{
    return sqlite3_exec(s->db, "DELETE FROM shard", NULL, NULL, NULL) == SQLITE_OK ? 0 : fail(s, why);
}

int store_save_shard(struct store *s, struct id shard, const struct shard_record *record, char *why)
{
    struct buf id = {0}, packed = {0};
    sqlite3_stmt *q = s->save_shard;
    put_id(&id, shard);
    put_shard_record(&packed, record);
    sqlite3_bind_blob(q, 1, id.data, (int)id.len, SQLITE_STATIC);
    sqlite3_bind_blob(q, 2, packed.data, (int)packed.len, SQLITE_STATIC);
    int rc = sqlite3_step(q) == SQLITE_DONE ? 0 : fail(s, why);
    sqlite3_reset(q);
    sqlite3_clear_bindings(q);
    buf_free(&id);
    buf_free(&packed);
    return rc;
}
