/* The producers: machines of one thread that run what they are granted, and come and go. */
#ifndef TESTS_SIM_SCALE_PRODUCER_H
#define TESTS_SIM_SCALE_PRODUCER_H

#include "tests/sim/scale-shard.h"

enum {
    NEAR_US = 4000, /* round trip to the own shard: from, and how much more at most */
    FAR_US = 46000,
    TASK_US = SECOND,   /* of a leaf */
    INNER_US = 5000,    /* of a task that only makes others */
    SILENT_US = 2000000 /* after which a shard notices that a producer is gone that did not say so */
};

/* The program: a task of level n makes `fan` of level n - 1 below a sum; one of level 0 works, and is 1. */
static struct buf inner[LEVELS + 1], leaf; /* bodies of commits */

static void program_inner(struct buf *b, uint32_t level, uint32_t fan)
{
    struct op sum = {.kind = OP_TASK, .name = 1, .fn = 1, .nslots = fan, .to = {.inherited = true}};
    buf_clear(b);
    put_name(b, 0, 0);
    put_task(b, &sum);
    for (uint32_t i = 0; i < fan; i++) {
        struct op op = {.kind = OP_TASK,
                        .name = i + 2,
                        .fn = FN_FIRST,
                        .nslots = 1,
                        .flags = TASK_FULL,
                        .to = {.index = 1, .slot = i}};
        put_name(b, 0, i + 1);
        put_task(b, &op);
        put_task_value(b, &op, &(struct op_value){.value = cx_v_i64(level - 1)});
    }
}

static void program_make(uint32_t fan)
{
    for (uint32_t level = 1; level <= LEVELS; level++)
        program_inner(&inner[level], level, fan);
    buf_clear(&leaf);
    put_set(&leaf, (struct ref){.inherited = true}, cx_v_i64(1), (struct ref){0});
}

static void program_free(void)
{
    for (uint32_t level = 1; level <= LEVELS; level++)
        buf_free(&inner[level]);
    buf_free(&leaf);
}

/* ---- Running ---- */

static void run_next(struct world *w, uint32_t index)
{
    struct producer *p = &w->producer[index];
    if (p->runs)
        happen(w, p->run[0].level ? INNER_US : TASK_US,
               (struct event){.kind = AT_DONE, .a = index, .n = ++p->number});
}

static void granted(struct world *w, uint32_t index, const struct event *e)
{
    struct producer *p = &w->producer[index];
    struct grant g;
    struct reader r = reader_of(buf_bytes(&e->data));
    must(grant_get(&r, &g) && p->runs < 2 * WINDOW);
    struct reader values = reader_of(g.values);
    p->run[p->runs++] =
        (struct run){.task = g.task, .hash = g.hash, .level = (uint32_t)get_value(&values).as.i64};
    if (p->runs == 1)
        run_next(w, index);
}

/* What has begun goes on. */
static void revoked(struct world *w, uint32_t index, struct id task)
{
    struct producer *p = &w->producer[index];
    uint32_t kept = p->runs ? 1 : 0;
    for (uint32_t i = kept; i < p->runs; i++)
        if (!id_equal(p->run[i].task, task))
            p->run[kept++] = p->run[i];
    p->runs = kept;
}

static void run_done(struct world *w, uint32_t index)
{
    struct producer *p = &w->producer[index];
    struct run done = p->run[0];
    struct event e = {.kind = AT_COMMIT, .a = index, .n = p->sessions, .data = spare_take(&w->spare)};
    struct commit c = {.kind = COMMIT_DONE,
                       .job = {1, 1},
                       .task = done.task,
                       .hash = done.hash,
                       .elapsed_ns = 1000ull * (done.level ? INNER_US : TASK_US),
                       .executed = 1,
                       .body = buf_bytes(done.level ? &inner[done.level] : &leaf)};
    commit_put(&e.data, &c);
    w->f.producer++;
    w->f.executed++;
    w->used[p->shard] = 1;
    happen(w, p->rtt_us / 2, e);
    for (uint32_t i = 1; i < p->runs; i++)
        p->run[i - 1] = p->run[i];
    p->runs--;
    run_next(w, index);
}

/* ---- Coming and going ---- */

static void producer_joins(struct world *w, uint32_t index)
{
    struct producer *p = &w->producer[index];
    uint32_t peer = peer_of(w, index);
    p->here = true;
    p->since_us = w->now;
    shard_step(w, p->shard,
               (struct ts_event){.kind = TS_PRODUCER_JOINED, .peer = peer, .u.joined = {"p", "x86_64", 1}});
    shard_step(w, p->shard, (struct ts_event){.kind = TS_PRODUCER_WINDOW, .peer = peer, .u.window = WINDOW});
    if (w->plan.stays_s)
        happen(w, some_time(w, w->plan.stays_s * (uint64_t)SECOND),
               (struct event){.kind = AT_LEAVE, .a = index, .n = p->sessions});
}

static void present(struct world *w, const struct producer *p)
{
    uint64_t from = p->since_us > w->submitted_us ? p->since_us : w->submitted_us;
    if (w->submitted_us && p->here && w->now > from)
        w->f.present_us += w->now - from;
}

/* With all that it was running; half of those who go say so. */
static void producer_leaves(struct world *w, uint32_t index)
{
    struct producer *p = &w->producer[index];
    uint64_t noticed_us = chance(w, 2) ? p->rtt_us / 2 : SILENT_US;
    present(w, p);
    happen(w, noticed_us, (struct event){.kind = AT_NOTICED, .a = p->shard, .n = peer_of(w, index)});
    p->here = false;
    p->runs = 0;
    p->number++;
    p->sessions++;
    w->f.left += w->submitted_us != 0;
    happen(w, some_time(w, w->plan.away_s * (uint64_t)SECOND), (struct event){.kind = AT_JOIN, .a = index});
}

/* Some are away when it begins, as some are at any time. */
static void producers_open(struct world *w)
{
    const struct plan *plan = &w->plan;
    w->producer = calloc(plan->producers, sizeof *w->producer);
    must(w->producer);
    for (uint32_t i = 0; i < plan->producers; i++) {
        w->producer[i].shard = (uint32_t)chance(w, w->shards);
        w->producer[i].rtt_us = NEAR_US + (uint32_t)chance(w, FAR_US);
        bool away = plan->stays_s && chance(w, plan->stays_s + plan->away_s) < plan->away_s;
        happen(w, away ? some_time(w, plan->away_s * (uint64_t)SECOND) : chance(w, SECOND),
               (struct event){.kind = AT_JOIN, .a = i});
    }
}

#endif
