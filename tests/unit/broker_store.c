/* The broker's store: what was saved is there again, and what is not its own is left alone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "broker/store.h"

static char dir[64], path[96];

static int setup(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/cx-store-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/broker.db", dir);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    char name[128];
    static const char *const ends[] = {"", "-wal", "-shm", "-journal"};
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "%s%s", path, ends[i]);
        unlink(name);
    }
    return rmdir(dir);
}

static struct store *open_store(void)
{
    struct store *s = NULL;
    char why[STORE_WHY_MAX] = "";
    if (store_open(path, &s, why))
        fail_msg("%s", why);
    return s;
}

struct loaded {
    struct bk_record record[8];
    int n, most;
};

static bool take(void *ctx, const struct bk_record *r)
{
    struct loaded *l = ctx;
    if (l->n == l->most)
        return false;
    l->record[l->n++] = *r;
    return true;
}

static struct loaded load(struct store *s)
{
    struct loaded l = {.most = 8};
    char why[STORE_WHY_MAX];
    assert_int_equal(store_load(s, take, &l, why), 0);
    return l;
}

static struct bk_record record(const char *network, const char *name)
{
    struct bk_record r = {.address = "[::1]:7401",
                          .arch = "x86_64,aarch64",
                          .incarnation = UINT64_MAX,
                          .threads = UINT32_MAX,
                          .price = 7};
    snprintf(r.network, sizeof r.network, "%s", network);
    snprintf(r.name, sizeof r.name, "%s", name);
    return r;
}

static void assert_same(const struct bk_record *a, const struct bk_record *b)
{
    assert_string_equal(a->network, b->network);
    assert_string_equal(a->name, b->name);
    assert_string_equal(a->address, b->address);
    assert_string_equal(a->arch, b->arch);
    assert_true(a->incarnation == b->incarnation && a->threads == b->threads && a->price == b->price);
}

static void saved_records_are_there_after_reopening(void **state)
{
    (void)state;
    struct store *s = open_store();
    char why[STORE_WHY_MAX];
    struct bk_record a = record("b", "s1"), b = record("a", "s2"), c = record("a", "s1");
    assert_int_equal(store_save(s, &a, why), 0);
    assert_int_equal(store_save(s, &b, why), 0);
    assert_int_equal(store_save(s, &c, why), 0);
    snprintf(a.address, sizeof a.address, "moved:1");
    a.incarnation = 3;
    assert_int_equal(store_save(s, &a, why), 0); /* replaced, in its old place */
    store_close(s);
    s = open_store();
    struct loaded l = load(s);
    assert_int_equal(l.n, 3);
    assert_same(&l.record[0], &a);
    assert_same(&l.record[1], &b);
    assert_same(&l.record[2], &c);
    store_close(s);
}

/* The process dies without closing anything; what it had saved is there. */
static void a_killed_process_loses_nothing_it_saved(void **state)
{
    (void)state;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct store *s = NULL;
        char why[STORE_WHY_MAX];
        struct bk_record r = record("killed", "s1");
        if (store_open(path, &s, why) == 0 && store_save(s, &r, why) == 0)
            kill(getpid(), SIGKILL);
        _exit(1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    struct store *s = open_store();
    struct loaded l = load(s);
    assert_int_equal(l.n, 1);
    assert_string_equal(l.record[0].network, "killed");
    store_close(s);
}

struct shards {
    struct id id[4];
    struct shard_record record[4];
    int n, most;
};

static bool take_shard(void *ctx, struct id id, const struct shard_record *record)
{
    struct shards *l = ctx;
    if (l->n == l->most)
        return false;
    l->id[l->n] = id;
    l->record[l->n++] = *record;
    return true;
}

static void shards_are_there_after_reopening(void **state)
{
    (void)state;
    struct store *s = open_store();
    char why[STORE_WHY_MAX];
    struct id one = {1, UINT64_MAX}, two = {UINT64_MAX, 2};
    struct shard_record a = {.epoch = UINT64_MAX, .version = 1, .primary = UINT64_MAX, .in_sync = {3, 4}};
    struct shard_record b = {.epoch = 1, .version = 2, .nonce = 7};
    struct shards l = {.most = 4};
    assert_int_equal(store_save_shard(s, one, &b, why), 0);
    assert_int_equal(store_save_shard(s, two, &b, why), 0);
    assert_int_equal(store_save_shard(s, one, &a, why), 0);
    store_close(s);
    s = open_store();
    assert_int_equal(store_load_shards(s, take_shard, &l, why), 0);
    assert_int_equal(l.n, 2);
    for (int i = 0; i < 2; i++)
        assert_memory_equal(&l.record[i], id_equal(l.id[i], one) ? &a : &b, sizeof a);
    assert_false(id_equal(l.id[0], l.id[1]));
    l = (struct shards){.most = 1};
    assert_int_equal(store_load_shards(s, take_shard, &l, why), CX_EIO); /* one that does not fit */
    assert_int_equal(store_forget_shards(s, why), 0);
    l.n = 0;
    assert_int_equal(store_load_shards(s, take_shard, &l, why), 0);
    assert_int_equal(l.n, 0);
    store_close(s);
}

static void write_sql(const char *sql)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
}

static void a_store_of_before_shards_gets_room_for_them(void **state)
{
    (void)state;
    char why[STORE_WHY_MAX];
    struct shard_record r = {.epoch = 1};
    write_sql("CREATE TABLE server(network TEXT NOT NULL, name TEXT NOT NULL, address TEXT NOT NULL,"
              " arch TEXT NOT NULL, incarnation INTEGER NOT NULL, threads INTEGER NOT NULL,"
              " price INTEGER NOT NULL, UNIQUE(network, name));"
              "INSERT INTO server VALUES('old', 's1', 'h:1', '', 1, 2, 3);"
              "PRAGMA application_id=1668833906; PRAGMA user_version=1;");
    struct store *s = open_store();
    struct loaded l = load(s);
    assert_int_equal(l.n, 1);
    assert_string_equal(l.record[0].network, "old");
    assert_int_equal(store_save_shard(s, (struct id){1, 2}, &r, why), 0);
    store_close(s);
}

/* Half a record is none. */
static void a_damaged_shard_is_refused(void **state)
{
    (void)state;
    char why[STORE_WHY_MAX];
    struct shards l = {.most = 4};
    store_close(open_store());
    write_sql("INSERT INTO shard VALUES(zeroblob(16), x'0101')");
    struct store *s = open_store();
    assert_int_equal(store_load_shards(s, take_shard, &l, why), CX_EIO);
    assert_int_equal(l.n, 0);
    store_close(s);
}

static void a_second_broker_on_the_store_is_refused(void **state)
{
    (void)state;
    struct store *first = open_store(), *second = NULL;
    char why[STORE_WHY_MAX] = "";
    assert_int_equal(store_open(path, &second, why), CX_EIO);
    assert_null(second);
    assert_non_null(strstr(why, "in use"));
    store_close(first);
    store_close(open_store());
}

static void write_file(const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static void other_files_are_left_alone(void **state)
{
    (void)state;
    struct store *s = NULL;
    char why[STORE_WHY_MAX] = "";
    write_file("This is a letter to somebody, and it is longer than a header of SQLite would be: 100 bytes, "
               "that is.");
    assert_int_equal(store_open(path, &s, why), CX_EIO);
    assert_true(why[0] != 0);
    char first[5] = "";
    FILE *f = fopen(path, "r");
    assert_int_equal(fread(first, 1, 4, f), 4);
    fclose(f);
    assert_string_equal(first, "This");
    assert_null(s);
}

static void a_directory_that_is_not_there_is_said(void **state)
{
    (void)state;
    struct store *s = NULL;
    char why[STORE_WHY_MAX] = "";
    assert_int_equal(store_open("/nonexistent/broker.db", &s, why), CX_EIO);
    assert_non_null(strstr(why, "unable to open"));
}

static void a_refusing_taker_stops_the_load(void **state)
{
    (void)state;
    struct store *s = open_store();
    char why[STORE_WHY_MAX];
    struct bk_record a = record("a", "s1"), b = record("b", "s1");
    store_save(s, &a, why);
    store_save(s, &b, why);
    struct loaded l = {.most = 1};
    assert_int_equal(store_load(s, take, &l, why), CX_EIO);
    assert_non_null(strstr(why, "\"b\""));
    store_close(s);
}

#define store_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        store_test(saved_records_are_there_after_reopening),
        store_test(shards_are_there_after_reopening),
        store_test(a_store_of_before_shards_gets_room_for_them),
        store_test(a_damaged_shard_is_refused),
        store_test(a_killed_process_loses_nothing_it_saved),
        store_test(a_second_broker_on_the_store_is_refused),
        store_test(other_files_are_left_alone),
        store_test(a_directory_that_is_not_there_is_said),
        store_test(a_refusing_taker_stops_the_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
