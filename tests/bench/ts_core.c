/* The task server's core alone: nanoseconds a task through ts_step, and bytes a queued task.
 *
 *     ts_core [tasks]
 *
 * No-op children, each setting one slot of a COUNT or SUM successor, are granted to one producer and
 * committed in batches of 64, as they come off the wire: the time holds decoding, checks, the log record and
 * the next grant. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/must.h"
#include "taskserver/core/ts.h"

enum { BATCH = 64, FAN = 1000, TASKS_DEFAULT = 1000000 };

/* Computing time: a loaded machine changes it little. */
static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static struct ts *ts;
static struct ts_effects fx;
static struct buf grants;  /* not answered yet */
static struct buf records; /* (length:u64 record)*, of the last measurement */
static uint64_t log_bytes, first_lsn, now_us = 1;

static void step(struct ts_event e)
{
    e.now_us = now_us++;
    ts_effects_clear(&fx);
    ts_step(ts, &e, &fx);
    for (size_t i = 0; i < fx.n; i++) {
        struct bytes data = ts_effect_data(&fx, &fx.fx[i]);
        if (fx.fx[i].kind == TS_FX_GRANT)
            buf_add(&grants, data.data, data.len);
        if (fx.fx[i].kind == TS_FX_LOG) {
            put_u64(&records, data.len);
            buf_add(&records, data.data, data.len);
            log_bytes += data.len;
        }
        must(fx.fx[i].kind != TS_FX_FAULT);
    }
}

static struct id job_id(uint64_t n)
{
    return (struct id){1, n};
}

static void submit(uint64_t n)
{
    struct ts_submit s = {.job = job_id(n),
                          .modules = 1,
                          .module = {{.arch = ""}},
                          .functions = bytes_str("a,b"),
                          .fn = FN_FIRST};
    step((struct ts_event){.kind = TS_SUBMIT, .peer = 1, .u.submit = &s});
}

/* Makes n children of function b; with a second level between when they are many. */
static void fan(struct buf *b, uint32_t fn, uint32_t child, uint32_t n)
{
    struct op join = {.kind = OP_TASK, .name = 1, .fn = fn, .nslots = n, .to = {.inherited = true}};
    put_name(b, 0, 0);
    put_task(b, &join);
    for (uint32_t i = 0; i < n; i++) {
        struct op op = {.kind = OP_TASK,
                        .name = i + 2,
                        .fn = child,
                        .nslots = 1,
                        .flags = TASK_FULL,
                        .to = {.index = 1, .slot = i}};
        put_name(b, 0, i + 1);
        put_task(b, &op);
        put_task_value(b, &op, &(struct op_value){.value = cx_v_i64(i)});
    }
}

static struct buf wide, leaf; /* bodies */

static void answer(struct buf *batch, const struct grant *g)
{
    struct commit c = {.kind = COMMIT_DONE,
                       .job = g->job,
                       .task = g->task,
                       .hash = g->hash,
                       .elapsed_ns = 100,
                       .executed = 1,
                       .body = buf_bytes(g->fn == FN_FIRST + 1 ? &leaf : &wide)};
    commit_put(batch, &c);
}

static uint64_t answer_all(void)
{
    static struct buf taken, batch;
    struct buf swap = taken;
    uint64_t ns = 0;
    taken = grants;
    grants = swap;
    buf_clear(&grants);
    struct reader r = reader_of(buf_bytes(&taken));
    while (reader_more(&r)) {
        buf_clear(&batch);
        struct grant g;
        for (int i = 0; i < BATCH && reader_more(&r); i++) {
            must(grant_get(&r, &g));
            answer(&batch, &g);
        }
        uint64_t from = now_ns();
        step((struct ts_event){.kind = TS_COMMITS, .peer = 2, .u.batch = buf_bytes(&batch)});
        ns += now_ns() - from;
    }
    return ns;
}

static struct ts_job_info job_info(uint64_t n)
{
    struct ts_job_info info;
    must(ts_job_find(ts, job_id(n), &info));
    return info;
}

/* What a backup does with the records of the last measurement, and a restart with its journal. */
static void replay(uint64_t tasks)
{
    struct ts_config config = {0};
    struct ts *again = ts_new(&config);
    struct reader r = reader_of(buf_bytes(&records));
    uint64_t lsn = first_lsn, from = now_ns();
    while (reader_more(&r))
        must(ts_replay(again, get_raw(&r, get_u64(&r)), ++lsn));
    printf("%-28s %8.1f ns a task\n", "its log replayed", (double)(now_ns() - from) / (double)tasks);
    ts_free(again);
}

/* The root makes FAN tasks of function a, each of which makes FAN of function b. */
static void measure(uint64_t n, uint32_t fn, const char *what, uint32_t tasks)
{
    struct buf root = {0};
    uint64_t ns = 0;
    log_bytes = 0;
    first_lsn = ts_lsn(ts);
    buf_clear(&records);
    fan(&root, 1, FN_FIRST, (tasks + FAN - 1) / FAN);
    buf_clear(&wide);
    fan(&wide, fn, FN_FIRST + 1, FAN);
    struct buf children = wide;
    wide = root;
    submit(n);
    ns += answer_all();
    wide = children;
    while (job_info(n).state == TS_JOB_RUNNING)
        ns += answer_all();
    struct ts_job_info info = job_info(n);
    printf("%-28s %8.1f ns a task (%llu tasks, %.1f log bytes a task)\n", what,
           (double)ns / (double)info.executed, (unsigned long long)info.executed,
           (double)log_bytes / (double)info.executed);
    replay(info.executed);
    buf_free(&root);
}

static void measure_queue(uint64_t n, uint32_t tasks)
{
    struct ts_stats before, after;
    struct buf root = {0}, batch = {0}, keep = wide;
    step((struct ts_event){.kind = TS_PRODUCER_WINDOW, .peer = 2, .u.window = 1});
    submit(n);
    ts_stats(ts, &before);
    fan(&root, 1, FN_FIRST + 1, tasks);
    struct grant g;
    struct reader r = reader_of(buf_bytes(&grants));
    must(grant_get(&r, &g));
    wide = root;
    answer(&batch, &g);
    uint64_t from = now_ns();
    step((struct ts_event){.kind = TS_COMMITS, .peer = 2, .u.batch = buf_bytes(&batch)});
    uint64_t ns = now_ns() - from;
    ts_stats(ts, &after);
    printf("%-28s %8.1f bytes a task, %.1f ns to queue one (%u tasks)\n", "queued, one i64 argument",
           (double)(after.memory - before.memory) / tasks, (double)ns / tasks, tasks);
    from = now_ns();
    for (int i = 0; i < 1000; i++)
        step((struct ts_event){.kind = TS_TICK});
    printf("%-28s %8.1f ns\n", "a tick meanwhile", (double)(now_ns() - from) / 1000);
    from = now_ns();
    step((struct ts_event){.kind = TS_CANCEL, .peer = 1, .job = job_id(n)});
    printf("%-28s %8.1f ns a task\n", "cancelling them", (double)(now_ns() - from) / tasks);
    wide = keep;
    buf_free(&root);
    buf_free(&batch);
}

int main(int argc, char **argv)
{
    uint32_t tasks = argc > 1 ? (uint32_t)atoi(argv[1]) : TASKS_DEFAULT;
    struct ts_config config = {0};
    ts = ts_new(&config);
    put_set(&leaf, (struct ref){.inherited = true}, cx_v_i64(1), (struct ref){0});
    step((struct ts_event){.kind = TS_PRODUCER_JOINED, .peer = 2, .u.joined = {"p", "", 8}});
    step((struct ts_event){.kind = TS_PRODUCER_WINDOW, .peer = 2, .u.window = 256});
    measure(1, 7, "no-op into COUNT", tasks);
    measure(2, 1, "no-op into SUM_I64", tasks);
    measure(3, FN_FIRST + 1, "no-op into a task's slots", tasks / 10);
    measure_queue(4, tasks);
    ts_free(ts);
    ts_effects_free(&fx);
    buf_free(&grants);
    buf_free(&wide);
    buf_free(&leaf);
    buf_free(&records);
    return 0;
}
