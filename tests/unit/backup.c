/* Backup and restore of a state directory: the state is the same, the disk is another one. */
#include "tests/unit/taskserver_rig.h"

#include "base/log.h"
#include "base/shard.h"
#include "taskserver/backup.h"
#include "taskserver/core/replica.h"
#include "taskserver/journal.h"

/* ---- Directories ---- */

struct world {
    char dir[64], state[96], restored[96], file[96];
    struct ts_config core;
    struct backup_config config; /* of state */
    char why[STATE_WHY_MAX];
};

static struct world *new_world(void)
{
    struct world *w = calloc(1, sizeof *w);
    strcpy(w->dir, "/tmp/cx-backup-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    snprintf(w->state, sizeof w->state, "%s/state", w->dir);
    snprintf(w->restored, sizeof w->restored, "%s/restored", w->dir);
    snprintf(w->file, sizeof w->file, "%s/file", w->dir);
    assert_int_equal(mkdir(w->state, 0700), 0);
    w->config = (struct backup_config){
        .state = w->state, .network = "testnet", .server = "s1", .broker = true, .core = &w->core};
    return w;
}

static void free_world(struct world *w)
{
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", w->dir);
    assert_int_equal(system(command), 0);
    free(w);
}

static bool exists(const char *dir, const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return access(path, F_OK) == 0;
}

static int restore(struct world *w)
{
    struct backup_config config = w->config;
    config.state = w->restored;
    return backup_restore(&config, w->file, w->why);
}

/* ---- A journal with jobs ---- */

static void drop_post(void *reactor, void (*fn)(void *), void *ctx)
{
    (void)reactor, (void)fn, (void)ctx;
}

static void on_held(void *ctx, uint64_t lsn, uint64_t generation)
{
    (void)ctx, (void)lsn, (void)generation;
}

static bool replay(void *ts, struct bytes record, uint64_t lsn)
{
    return ts_replay(ts, record, lsn);
}

static void submit(struct ts *ts, uint64_t job, struct ts_effects *fx)
{
    struct ts_submit s = {.job = {0x1000, job},
                          .modules = 1,
                          .module = {{.arch = "x86_64"}},
                          .functions = bytes_str("a,b,c"),
                          .fn = FN_FIRST,
                          .owner = bytes_str("ann"),
                          .label = bytes_str("test")};
    ts_effects_clear(fx);
    ts_step(ts, &(struct ts_event){.kind = TS_SUBMIT, .now_us = job, .peer = 1, .req = 1, .u.submit = &s},
            fx);
}

static const struct replica_mark the_mark = {
    .seen = 5,
    .tag = {5, 3},
    .record = {.epoch = 5, .version = 9, .primary = 77, .nonce = 8, .in_sync = {77, 78}}};

/* A shard with this many jobs, as a replica leaves it. */
static void make_shard(const struct world *w, const char *dir, const char *server, unsigned jobs, bool marked)
{
    struct journal_config config = {.dir = dir, .poster = {drop_post, NULL}, .held = on_held};
    struct journal_found found;
    struct journal *j;
    struct ts_effects fx = {0};
    struct buf note = {0};
    char why[STATE_WHY_MAX];
    struct ts *ts = backup_table(&w->config, server);
    config.ctx = ts;
    assert_int_equal(journal_open(&config, 77, replay, &j, &found, why), 0);
    journal_found_free(&found);
    for (unsigned n = 1; n <= jobs; n++) {
        submit(ts, n, &fx);
        for (size_t i = 0; i < fx.n; i++)
            if (fx.fx[i].kind == TS_FX_LOG)
                journal_append(j, fx.fx[i].lsn, ts_effect_data(&fx, &fx.fx[i]));
        put_replica_mark(&note, &the_mark);
        if (marked && n == 1)
            journal_note(j, buf_bytes(&note));
    }
    journal_stop(j);
    journal_free(j);
    ts_effects_free(&fx);
    ts_free(ts);
    buf_free(&note);
}

static void make_pair(struct world *w)
{
    char other[128];
    snprintf(other, sizeof other, "%s/shard-s2", w->state);
    assert_int_equal(mkdir(other, 0700), 0);
    make_shard(w, w->state, "s1", 3, true);
    make_shard(w, other, "s2", 2, true);
}

/* What a shard's journal says. */
struct seen {
    struct journal_found found; /* its note is gone */
    struct replica_mark mark;   /* zero: there was no note */
    uint64_t jobs;
};

static struct seen look(const struct world *w, const char *dir, const char *server)
{
    struct seen s = {0};
    struct ts *ts = backup_table(&w->config, server);
    struct ts_stats st;
    char why[STATE_WHY_MAX];
    assert_int_equal(journal_read(dir, replay, ts, &s.found, why), 0);
    struct reader in = reader_of(buf_bytes(&s.found.note));
    assert_true(!s.found.note.len || get_replica_mark(&in, &s.mark));
    ts_stats(ts, &st);
    s.jobs = st.jobs;
    journal_found_free(&s.found);
    ts_free(ts);
    return s;
}

/* ---- The files ---- */

static void test_shards_come_back_on_a_new_disk(void **state)
{
    (void)state;
    struct world *w = new_world();
    char other[128];
    make_pair(w);
    assert_int_equal(backup_write(&w->config, w->file, w->why), 0);
    assert_int_equal(restore(w), 0);
    snprintf(other, sizeof other, "%s/shard-s2", w->restored);
    struct seen before = look(w, w->state, "s1");
    struct seen own = look(w, w->restored, "s1"), theirs = look(w, other, "s2");
    assert_int_equal(own.jobs, 3);
    assert_int_equal(theirs.jobs, 2);
    assert_int_equal(own.found.lsn, before.found.lsn);
    assert_int_equal(own.found.torn_bytes, 0);
    assert_true(own.found.incarnation != 77 && theirs.found.incarnation != 77); /* R1 */
    assert_true(own.found.incarnation != theirs.found.incarnation);
    assert_int_equal(own.mark.seen, the_mark.seen); /* so that it can never make the shard anew */
    assert_memory_equal(&own.mark.record, &the_mark.record, sizeof own.mark.record);
    assert_int_equal(own.mark.tag.epoch, 0);
    assert_int_equal(own.mark.tag.session, 0);
    assert_false(exists(w->restored, "unfinished"));
    free_world(w);
}

static void test_two_restores_are_two_disks(void **state)
{
    (void)state;
    struct world *w = new_world();
    make_shard(w, w->state, "s1", 3, false);
    assert_int_equal(backup_write(&w->config, w->file, w->why), 0);
    assert_int_equal(restore(w), 0);
    struct seen first = look(w, w->restored, "s1");
    snprintf(w->restored, sizeof w->restored, "%s/again", w->dir);
    assert_int_equal(restore(w), 0);
    struct seen second = look(w, w->restored, "s1");
    assert_true(first.found.incarnation != second.found.incarnation);
    assert_int_equal(second.jobs, 3);
    assert_int_equal(second.mark.seen, 0);
    free_world(w);
}

static void test_empty_shard(void **state)
{
    (void)state;
    struct world *w = new_world();
    make_shard(w, w->state, "s1", 0, false);
    assert_int_equal(backup_write(&w->config, w->file, w->why), 0);
    assert_int_equal(restore(w), 0);
    assert_int_equal(look(w, w->restored, "s1").found.lsn, 0);
    free_world(w);
}

static struct buf slurp(const char *path)
{
    struct buf b = {0};
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    for (int c; (c = fgetc(f)) != EOF;)
        buf_add(&b, &(uint8_t){(uint8_t)c}, 1);
    fclose(f);
    return b;
}

static void spill(const char *path, const void *data, size_t len)
{
    FILE *f = fopen(path, "wb");
    assert_int_equal(fwrite(data, 1, len, f), len);
    fclose(f);
}

static void test_nothing_is_overwritten(void **state)
{
    (void)state;
    struct world *w = new_world();
    make_pair(w);
    spill(w->file, "precious", 8);
    assert_int_equal(backup_write(&w->config, w->file, w->why), CX_EEXIST);
    struct buf file = slurp(w->file);
    assert_true(bytes_equal(buf_bytes(&file), bytes_str("precious")));
    unlink(w->file);
    assert_int_equal(backup_write(&w->config, w->file, w->why), 0);
    strcpy(w->restored, w->state);
    assert_int_equal(restore(w), CX_EEXIST);
    assert_int_equal(look(w, w->state, "s1").found.incarnation, 77);
    assert_false(exists(w->state, "unfinished"));
    buf_free(&file);
    free_world(w);
}

static void test_damaged_journal_gives_no_backup(void **state)
{
    (void)state;
    struct world *w = new_world();
    char path[128];
    make_pair(w);
    snprintf(path, sizeof path, "%s/shard-s2/journal", w->state);
    struct buf journal = slurp(path);
    journal.data[JOURNAL_HEADER_BYTES + JOURNAL_RECORD_HEAD + 2] ^= 1;
    spill(path, journal.data, journal.len);
    assert_int_equal(backup_write(&w->config, w->file, w->why), CX_EFAILED);
    assert_non_null(strstr(w->why, path));
    assert_false(exists(w->dir, "file"));
    buf_free(&journal);
    free_world(w);
}

/* Whatever was cut off or changed, nothing is made. */
static void test_damaged_backup_makes_nothing(void **state)
{
    (void)state;
    struct world *w = new_world();
    make_pair(w);
    assert_int_equal(backup_write(&w->config, w->file, w->why), 0);
    struct buf file = slurp(w->file);
    for (size_t cut = 0; cut < file.len; cut++) {
        spill(w->file, file.data, cut);
        assert_int_equal(restore(w), CX_EFAILED);
    }
    for (size_t at = 0; at < file.len; at++) {
        file.data[at] ^= (uint8_t)(1 << at % 8);
        spill(w->file, file.data, file.len);
        assert_int_equal(restore(w), CX_EFAILED);
        file.data[at] ^= (uint8_t)(1 << at % 8);
    }
    assert_false(exists(w->dir, "restored"));
    buf_free(&file);
    free_world(w);
}

static void test_backup_of_another_is_refused(void **state)
{
    (void)state;
    struct world *w = new_world();
    make_pair(w);
    assert_int_equal(backup_write(&w->config, w->file, w->why), 0);
    w->config.server = "s2";
    assert_int_equal(restore(w), CX_EINVAL);
    assert_non_null(strstr(w->why, "s2"));
    w->config.server = "s1";
    w->config.network = "othernet";
    assert_int_equal(restore(w), CX_EINVAL);
    assert_non_null(strstr(w->why, "othernet"));
    assert_false(exists(w->dir, "restored"));
    free_world(w);
}

static void test_unfinished_directory_is_refused(void **state)
{
    (void)state;
    struct world *w = new_world();
    int fd;
    make_pair(w);
    assert_int_equal(state_unfinished(w->state, true, w->why), 0);
    assert_int_equal(state_lock(w->state, &fd, w->why), CX_EFAILED);
    assert_non_null(strstr(w->why, w->state));
    assert_int_equal(backup_write(&w->config, w->file, w->why), CX_EFAILED);
    assert_int_equal(state_unfinished(w->state, false, w->why), 0);
    assert_int_equal(backup_write(&w->config, w->file, w->why), 0);
    free_world(w);
}

static void test_nothing_to_back_up(void **state)
{
    (void)state;
    struct world *w = new_world();
    assert_int_equal(backup_write(&w->config, w->file, w->why), CX_ENOTFOUND);
    assert_false(exists(w->dir, "file"));
    strcat(w->state, "/nowhere");
    assert_int_equal(backup_write(&w->config, w->file, w->why), CX_ENOTFOUND);
    assert_false(exists(w->dir, "state/nowhere"));
    free_world(w);
}

/* ---- The program ---- */

static int run(const struct daemon *d, const char *option, const char *file)
{
    return exit_code(daemon_spawn(d, -1, (const char *[]){option, file, NULL}));
}

static void jobs_of(struct rpc *r, const struct daemon *d, char *out, size_t max)
{
    struct peer *admin = consumer_open(r, d, ROLE_ADMIN, "a1");
    list_jobs(admin, out, max);
    peer_close(admin);
}

static void test_restored_server_goes_on(void **state)
{
    (void)state;
    struct world *w = new_world();
    struct daemon d = {0}, again = {0};
    struct rpc *r;
    struct id job = {1, 2};
    char before[1000], after[1000];
    assert_int_equal(rpc_new(&r), 0);
    strcpy(d.state, w->state);
    snprintf(again.state, sizeof again.state, "%.40s/again", w->dir);
    daemon_start(&d, NULL);
    put_module(r, &d);
    struct peer *consumer = consumer_open(r, &d, ROLE_CONSUMER, "c1");
    assert_int_equal(submit_fib(consumer, &job, 7), 0);
    peer_close(consumer);
    jobs_of(r, &d, before, sizeof before);
    assert_int_equal(run(&d, "--backup", w->file), 1); /* it is in use */
    assert_int_equal(daemon_stop(&d, SIGTERM), 0);
    assert_int_equal(run(&d, "--backup", w->file), 0);
    assert_int_equal(run(&d, "--restore", w->file), 1);
    assert_int_equal(run(&again, "--restore", w->file), 0);
    daemon_start(&again, NULL);
    jobs_of(r, &again, after, sizeof after);
    assert_string_equal(after, before);
    consumer = consumer_open(r, &again, ROLE_CONSUMER, "c1");
    struct peer *producer = producer_open(r, &again, 100);
    uint64_t watch = peer_ask(consumer, cx_Msg_watch_tag, &job);
    assert_int_equal(produce_until_result(producer, consumer, watch), 13);
    assert_int_equal(submit_fib(consumer, &(struct id){1, 3}, 2), 0); /* the module has come along */
    peer_close(producer);
    peer_close(consumer);
    rpc_free(r);
    assert_int_equal(daemon_stop(&again, SIGTERM), 0);
    free_world(w);
}

static void test_missing_module_is_left_out(void **state)
{
    (void)state;
    struct world *w = new_world();
    char blobs[128];
    make_shard(w, w->state, "s1", 1, false);
    assert_int_equal(backup_write(&w->config, w->file, w->why), 0);
    assert_int_equal(restore(w), 0);
    assert_int_equal(look(w, w->restored, "s1").jobs, 1);
    snprintf(blobs, sizeof blobs, "%s/blobs", w->restored);
    assert_int_equal(rmdir(blobs), 0);
    free_world(w);
}

int main(void)
{
    log_start("backup", getenv("CX_TEST_LOG") ? LOG_DEBUG : LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shards_come_back_on_a_new_disk),
        cmocka_unit_test(test_two_restores_are_two_disks),
        cmocka_unit_test(test_empty_shard),
        cmocka_unit_test(test_nothing_is_overwritten),
        cmocka_unit_test(test_damaged_journal_gives_no_backup),
        cmocka_unit_test(test_damaged_backup_makes_nothing),
        cmocka_unit_test(test_backup_of_another_is_refused),
        cmocka_unit_test(test_unfinished_directory_is_refused),
        cmocka_unit_test(test_nothing_to_back_up),
        cmocka_unit_test(test_restored_server_goes_on),
        cmocka_unit_test(test_missing_module_is_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
