/* One job in the large network, from its submission at one shard to its result. */
#ifndef TESTS_SIM_SCALE_RUN_H
#define TESTS_SIM_SCALE_RUN_H

#include "tests/sim/scale-producer.h"

static void submit(struct world *w)
{
    struct buf args = {0};
    put_value(&args, cx_v_i64(LEVELS));
    struct ts_submit s = {.job = {1, 1},
                          .modules = 1,
                          .module = {{.arch = "x86_64"}},
                          .fn = FN_FIRST,
                          .functions = bytes_str("node"),
                          .nargs = 1,
                          .args = buf_bytes(&args),
                          .owner = bytes_str("ann")};
    w->submitted_us = w->now;
    shard_step(w, 0, (struct ts_event){.kind = TS_SUBMIT, .peer = CLIENT_PEER, .u.submit = &s});
    shard_step(w, 0, (struct ts_event){.kind = TS_WATCH, .peer = CLIENT_PEER, .req = 1, .job = s.job});
    buf_free(&args);
}

static void happens_to_producer(struct world *w, struct event *e)
{
    struct producer *p = &w->producer[e->a];
    bool session = p->here && p->sessions == e->n;
    if (e->kind == AT_JOIN)
        producer_joins(w, e->a);
    else if (e->kind == AT_DONE && p->number == e->n)
        run_done(w, e->a);
    else if (e->kind == AT_LEAVE && session)
        producer_leaves(w, e->a);
    else if (e->kind == AT_GRANT && session)
        granted(w, e->a, e);
    else if (e->kind == AT_REVOKE && session)
        revoked(w, e->a, e->task);
    else if (e->kind == AT_COMMIT && session) /* else it was lost with the connection */
        shard_step(
            w, p->shard,
            (struct ts_event){.kind = TS_COMMITS, .peer = peer_of(w, e->a), .u.batch = buf_bytes(&e->data)});
}

static void take(struct world *w, struct event *e)
{
    switch (e->kind) {
    case AT_TICK:
        shard_step(w, e->a, (struct ts_event){.kind = TS_TICK});
        break;
    case AT_HELD:
        shard_held(w, e);
        break;
    case AT_PEER:
        shard_hears(w, e);
        break;
    case AT_LINK:
        shard_linked(w, e->a, e->b);
        break;
    case AT_NOTICED:
        shard_step(w, e->a, (struct ts_event){.kind = TS_PRODUCER_LEFT, .peer = (uint32_t)e->n});
        break;
    case AT_SUBMIT:
        submit(w);
        break;
    default:
        happens_to_producer(w, e);
    }
    spare_give(&w->spare, &e->data);
}

static uint64_t cube(uint64_t n)
{
    return n * n * n;
}

/* Aborts when the result is wrong, or does not come. */
static struct figures scale_run(const struct plan *plan)
{
    static struct world w;
    w = (struct world){.plan = *plan, .rng = mix(plan->seed, 47), .now = SECOND};
    heap_reset(&w.heap, sizeof(struct event));
    for (w.plan.fan = 1; cube(w.plan.fan) < (uint64_t)plan->producers * plan->tasks_each;)
        w.plan.fan++;
    w.f.tasks = cube(w.plan.fan);
    program_make(w.plan.fan);
    shards_open(&w);
    producers_open(&w);
    happen(&w, 3 * SECOND, (struct event){.kind = AT_SUBMIT});
    while (!w.over) {
        struct event e;
        w.now = heap_take(&w.heap, &e);
        take(&w, &e);
        must(w.now < w.submitted_us + 100000ull * SECOND);
    }
    must(w.result == (int64_t)w.f.tasks);
    w.f.job_us = w.now - w.submitted_us;
    w.f.useful_us = w.f.tasks * TASK_US;
    w.f.duplicates = w.f.executed - (1 + w.plan.fan + w.plan.fan * w.plan.fan + w.f.tasks);
    for (uint32_t i = 0; i < plan->producers; i++)
        present(&w, &w.producer[i]);
    for (uint32_t i = 0; i < w.shards; i++)
        w.f.shards_used += w.used[i];
    struct figures f = w.f;
    while (w.heap.n) {
        struct event e;
        heap_take(&w.heap, &e);
        buf_free(&e.data);
    }
    while (w.spare.n)
        buf_free(&w.spare.buf[--w.spare.n]);
    shards_close(&w);
    program_free();
    free(w.producer);
    heap_free(&w.heap);
    return f;
}

#endif
