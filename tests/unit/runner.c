/* Spawner and runner, with a real cx-runner and real modules, their rings driven without a network. */
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "cx/error.h"
#include "producer/blobcache.h"
#include "producer/runners.h"
#include "proto/pki.h"

#define SEATS    2u
#define RUNNER   (1u << 10)
#define PATIENCE 60000 /* ms until a test gives up hope */

struct world {
    char dir[64], here[4096]; /* here: the variant's build directory */
    struct spawner spawner;
    struct blobcache *cache;
    struct runners *runners;
    int bell;
    uint8_t module[32];
    uint32_t number[SEATS];
    /* what was heard: */
    bool up, exited, refused, broken;
    uint32_t culprit, running[SEATS];
    char text[512];
    struct buf commits[SEATS];
};

static void on_event(void *ctx, const struct pd_event *ev)
{
    struct world *w = ctx;
    if (ev->kind == PD_RUNNING)
        w->up = true;
    if (ev->kind == PD_BROKEN)
        w->broken = true;
    if (ev->kind == PD_COMMITS)
        buf_add(&w->commits[ev->seat], ev->data.data, ev->data.len);
    if (ev->kind != PD_EXITED)
        return;
    w->exited = true;
    w->refused = ev->u.exit->refused;
    w->culprit = ev->u.exit->culprit;
    memcpy(w->running, ev->u.exit->running, sizeof w->running);
    snprintf(w->text, sizeof w->text, "%.*s", (int)ev->data.len, (const char *)ev->data.data);
}

static void read_file(const char *path, struct buf *out)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    char part[65536];
    for (size_t n; (n = fread(part, 1, sizeof part, f)) > 0;)
        buf_add(out, part, n);
    fclose(f);
}

static void keep_blob(struct world *w, struct bytes content, uint8_t sha[32])
{
    struct blobwrite *b;
    sha256_of(content, sha);
    assert_int_equal(blobcache_begin(w->cache, sha, &b), 0);
    assert_int_equal(blobwrite_add(b, content), 0);
    assert_int_equal(blobwrite_end(b), 0);
}

static void keep_file(struct world *w, const char *path, uint8_t sha[32])
{
    struct buf content = {0};
    read_file(path, &content);
    keep_blob(w, buf_bytes(&content), sha);
    buf_free(&content);
}

/* The spawner is forked first, as in the daemon. */
static void world_open(struct world *w, const char *runner)
{
    char path[4200];
    *w = (struct world){.dir = "/tmp/cx-runner-XXXXXX"};
    ssize_t n = readlink("/proc/self/exe", w->here, sizeof w->here - 1);
    assert_true(n > 0);
    for (int up = 0; up < 3; up++)
        *strrchr(w->here, '/') = 0;
    snprintf(path, sizeof path, "%s/bin/cx-runner", w->here);
    assert_int_equal(spawner_start(&w->spawner, runner ? runner : path), 0);
    assert_non_null(mkdtemp(w->dir));
    assert_int_equal(blobcache_new(w->dir, 1 << 30, &w->cache, w->text, sizeof w->text), 0);
    w->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    w->runners = runners_new(&(struct runners_config){.spawner = &w->spawner,
                                                      .cache = w->cache,
                                                      .seats = SEATS,
                                                      .bell = w->bell,
                                                      .event = on_event,
                                                      .ctx = w});
}

static void world_close(struct world *w)
{
    char command[128];
    runners_free(w->runners);
    spawner_stop(&w->spawner);
    blobcache_free(w->cache);
    close(w->bell);
    for (uint32_t i = 0; i < SEATS; i++)
        buf_free(&w->commits[i]);
    snprintf(command, sizeof command, "rm -rf %s", w->dir);
    assert_int_equal(system(command), 0);
}

/* Sleeps as the daemon does, with the bell armed, and handles what there is. */
static void turn(struct world *w)
{
    uint64_t n;
    struct pollfd p[] = {{.fd = w->bell, .events = POLLIN}, {.fd = w->spawner.fd, .events = POLLIN}};
    runners_flush(w->runners);
    runners_arm(w->runners);
    if (!runners_poll(w->runners)) {
        assert_true(poll(p, 2, PATIENCE) > 0);
        if (p[0].revents)
            assert_int_equal(read(w->bell, &n, sizeof n), sizeof n);
    }
    runners_disarm(w->runners);
    runners_poll(w->runners);
    struct spawn_report report;
    if (p[1].revents) {
        assert_int_equal(spawner_report(&w->spawner, &report), 1);
        runners_report(w->runners, &report);
    }
}

static void start(struct world *w, const char *module)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/tests/modules/%s.so", w->here, module);
    keep_file(w, path, w->module);
    runners_start(w->runners, RUNNER, w->module, NULL);
}

static void start_and_wait(struct world *w, const char *module)
{
    start(w, module);
    while (!w->up) {
        turn(w);
        assert_false(w->exited);
    }
}

static void give(struct world *w, uint32_t seat, uint32_t fn, uint32_t nargs, const cx_value *args)
{
    struct buf values = {0}, packed = {0};
    for (uint32_t i = 0; i < nargs; i++)
        put_value(&values, args[i]);
    uint32_t number = w->number[seat]++;
    struct grant g = {.job = {1, 2},
                      .task = {seat, number},
                      .hash = 42,
                      .fn = FN_FIRST + fn,
                      .nslots = nargs,
                      .values = buf_bytes(&values)};
    grant_put(&packed, &g);
    runners_run(w->runners, RUNNER, seat, number, buf_bytes(&packed));
    buf_free(&values);
    buf_free(&packed);
}

static void give_i64(struct world *w, uint32_t seat, uint32_t fn, int64_t arg)
{
    give(w, seat, fn, 1, (cx_value[]){cx_v_i64(arg)});
}

static size_t commits_of(struct world *w, uint32_t seat)
{
    struct reader r = reader_of(buf_bytes(&w->commits[seat]));
    size_t n = 0;
    while (reader_more(&r)) {
        struct commit c;
        assert_true(commit_get(&r, &c));
        assert_int_equal(c.kind, COMMIT_DONE);
        assert_int_equal(c.hash, 42);
        assert_true(id_equal(c.job, (struct id){1, 2}));
        assert_int_equal(c.task.hi, seat);
        n++;
    }
    return n;
}

static void await_exit(struct world *w)
{
    while (!w->exited)
        turn(w);
}

static void grants_come_back_as_commits_in_order(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, NULL);
    start_and_wait(&w, "flat");
    for (int round = 0; round < 50; round++) {
        for (int i = 0; i < 100; i++)
            for (uint32_t seat = 0; seat < SEATS; seat++)
                give(&w, seat, 2, 0, NULL);
        while (commits_of(&w, 0) + commits_of(&w, 1) < (size_t)(round + 1) * 200)
            turn(&w);
    }
    struct reader r = reader_of(buf_bytes(&w.commits[1]));
    for (uint64_t i = 0; i < 5000; i++) {
        struct commit c;
        assert_true(commit_get(&r, &c));
        assert_int_equal(c.task.lo, i);
    }
    world_close(&w);
}

static void grants_longer_than_the_ring_pass(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, NULL);
    start_and_wait(&w, "concat");
    struct buf big = {0};
    buf_reserve(&big, 8 << 20);
    memset(big.data, 'x', 8 << 20);
    for (int i = 0; i < 3; i++)
        give(&w, 0, 0, 1, (cx_value[]){cx_v_bytes(big.data, 8 << 20)});
    while (commits_of(&w, 0) < 3)
        turn(&w);
    buf_free(&big);
    world_close(&w);
}

static void a_crash_is_laid_at_the_thread_that_crashed(void **state)
{
    (void)state;
    static const struct {
        int64_t how;
        const char *word;
    } ways[] = {{1, "signal 11"}, {2, "signal 6"}, {4, "signal 11"}};
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        struct world w;
        world_open(&w, NULL);
        start_and_wait(&w, "crash");
        give_i64(&w, 0, 0, 5); /* runs for ever */
        give_i64(&w, 1, 0, 0);
        give_i64(&w, 1, 0, ways[i].how);
        give_i64(&w, 1, 0, 0);
        await_exit(&w);
        assert_false(w.refused);
        assert_int_equal(w.culprit, 1);
        assert_int_equal(w.running[1], 2);
        assert_int_equal(commits_of(&w, 1), 1);
        assert_non_null(strstr(w.text, ways[i].word));
        world_close(&w);
    }
}

static void a_task_that_exits_shows_as_the_one_that_ran(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, NULL);
    start_and_wait(&w, "crash");
    give_i64(&w, 1, 0, 3);
    await_exit(&w);
    assert_int_equal(w.culprit, PD_NO_SEAT);
    assert_int_equal(w.running[0], 0);
    assert_int_equal(w.running[1], 1);
    assert_non_null(strstr(w.text, "status 3"));
    world_close(&w);
}

static void after_a_crash_a_new_runner_works(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, NULL);
    start_and_wait(&w, "crash");
    give_i64(&w, 0, 0, 1);
    await_exit(&w);
    w.up = w.exited = false;
    memset(w.number, 0, sizeof w.number);
    start_and_wait(&w, "crash");
    give_i64(&w, 0, 0, 0);
    while (commits_of(&w, 0) < 1)
        turn(&w);
    world_close(&w);
}

/* The endless task has certainly started once the commit before it is there and its number shows. */
static void what_has_not_started_can_be_taken_back(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, NULL);
    start_and_wait(&w, "crash");
    give_i64(&w, 0, 0, 0);
    give_i64(&w, 0, 0, 0);
    runners_flush(w.runners);
    while (commits_of(&w, 0) < 2)
        turn(&w);
    assert_false(runners_take_back(w.runners, RUNNER, 0, 0));
    give_i64(&w, 0, 0, 0);
    assert_true(runners_take_back(w.runners, RUNNER, 0, 2)); /* was never shown */
    assert_false(runners_take_back(w.runners, RUNNER, 0, 2));
    give_i64(&w, 0, 0, 0);
    while (commits_of(&w, 0) < 3)
        turn(&w);
    world_close(&w);
}

static void expect_refusal(struct world *w, const char *word)
{
    runners_start(w->runners, RUNNER, w->module, NULL);
    await_exit(w);
    assert_true(w->refused);
    assert_false(w->up);
    if (!strstr(w->text, word))
        fail_msg("'%s' does not speak of '%s'", w->text, word);
    w->exited = false;
}

static void a_module_that_is_none_is_refused_with_a_reason(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, NULL);
    keep_blob(&w, bytes_str("this is no shared object"), w.module);
    expect_refusal(&w, "does not load");
    void *lib = dlopen("libm.so.6", RTLD_NOW);
    struct link_map *map;
    assert_int_equal(dlinfo(lib, RTLD_DI_LINKMAP, &map), 0);
    keep_file(&w, map->l_name, w.module);
    expect_refusal(&w, "cx_module_v1");
    dlclose(lib);
    world_close(&w);
}

static void a_module_that_has_left_the_cache_is_a_refusal(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, NULL);
    expect_refusal(&w, "cache");
    world_close(&w);
}

static void a_runner_that_cannot_be_executed_is_reported(void **state)
{
    (void)state;
    struct world w;
    world_open(&w, "/nonexistent/cx-runner");
    start(&w, "flat");
    await_exit(&w);
    assert_true(w.refused);
    assert_non_null(strstr(w.text, "could not be executed"));
    world_close(&w);
}

/* A pipe in place of the bell: it ends when the last one that holds it is gone. */
static void runners_die_with_the_spawner(void **state)
{
    (void)state;
    struct world w;
    int p[2];
    char byte;
    world_open(&w, NULL);
    assert_int_equal(pipe2(p, O_CLOEXEC), 0);
    close(w.bell);
    w.bell = dup(p[1]);
    runners_free(w.runners);
    w.runners = runners_new(&(struct runners_config){
        .spawner = &w.spawner, .cache = w.cache, .seats = SEATS, .bell = p[1], .event = on_event, .ctx = &w});
    start(&w, "crash");
    runners_arm(w.runners);
    assert_int_equal(read(p[0], &byte, 1), 1); /* it is up */
    kill(w.spawner.pid, SIGKILL);
    close(w.bell);
    close(p[1]);
    w.bell = -1;
    while (read(p[0], &byte, 1) > 0)
        ;
    close(p[0]);
    world_close(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grants_come_back_as_commits_in_order),
        cmocka_unit_test(grants_longer_than_the_ring_pass),
        cmocka_unit_test(a_crash_is_laid_at_the_thread_that_crashed),
        cmocka_unit_test(a_task_that_exits_shows_as_the_one_that_ran),
        cmocka_unit_test(after_a_crash_a_new_runner_works),
        cmocka_unit_test(what_has_not_started_can_be_taken_back),
        cmocka_unit_test(a_module_that_is_none_is_refused_with_a_reason),
        cmocka_unit_test(a_module_that_has_left_the_cache_is_a_refusal),
        cmocka_unit_test(a_runner_that_cannot_be_executed_is_reported),
        cmocka_unit_test(runners_die_with_the_spawner),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
