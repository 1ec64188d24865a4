/* One seed of the simulated network, from its beginning to its end. */
#ifndef TESTS_SIM_CX_RUN_H
#define TESTS_SIM_CX_RUN_H

#include "tests/sim/cx-client.h"
#include "tests/sim/cx-hostile.h"

/* ---- Effects ---- */

static void effect(struct world *w, const struct ts_effect *fx)
{
    struct producer_sim *p = producer_of(w, fx->peer);
    struct bytes data = ts_effect_data(&w->fx, fx);
    struct event e = {.job = fx->job, .task = fx->task};
    switch (fx->kind) {
    case TS_FX_LOG:
        if (fx->lsn != ++w->records)
            broken(w, "the log has a gap");
        keep_record(&w->log, data);
        break;
    case TS_FX_REPLY:
        client_replied(w, fx);
        break;
    case TS_FX_RESULT:
        client_result(w, fx);
        break;
    case TS_FX_PROGRESS:
        client_progress(w, fx);
        break;
    case TS_FX_GRANT:
        e.kind = AT_GRANT;
        buf_add(&e.data, data.data, data.len);
        if (p)
            deliver(w, p, e);
        else
            buf_free(&e.data); /* to one whose connection is broken, unnoticed yet */
        break;
    case TS_FX_JOB:
        if (p)
            p->known |= (uint64_t)1 << (job_of(w, fx->job) - w->job);
        break;
    case TS_FX_REVOKE:
    case TS_FX_JOB_GONE:
        e.kind = fx->kind == TS_FX_REVOKE ? AT_REVOKE : AT_GONE;
        if (p)
            deliver(w, p, e);
        break;
    case TS_FX_FAULT:
    case TS_FX_BOUND:
    case TS_FX_HUNGRY:
    case TS_FX_PEER: /* there is one shard: net-sim has several */
    case TS_FX_PEER_FAULT:
    case TS_FX_GUEST:
        break;
    }
}

static void effects(struct world *w)
{
    for (size_t i = 0; i < w->fx.n; i++)
        effect(w, &w->fx.fx[i]);
}

/* ---- The server dies ---- */

static void restart(struct world *w)
{
    uint64_t keep = w->held + chance(w, w->records - w->held + 1);
    struct reader r = reader_of(buf_bytes(&w->log));
    for (uint64_t i = 0; i < keep; i++)
        get_raw(&r, get_u64(&r));
    w->log.len = keep ? (size_t)(r.at - w->log.data) : 0;
    w->records = w->held = keep;
    ts_free(w->ts);
    w->ts = replayed(w, buf_bytes(&w->log), UINT64_MAX);
    ts_replayed(w->ts, w->now);
    ts_check(w->ts);
    w->incarnation++;
    w->tick_us = 0;
    for (uint32_t i = 0; i < w->producers; i++) {
        struct producer_sim *p = &w->producer[i];
        if (p->peer) {
            p->peer = 0;
            producer_down(w, p, false);
        }
    }
    for (uint32_t i = 0; i < w->jobs; i++)
        w->job[i].cancelled = false; /* its cancel may be lost: it asks again */
    server_step(w, (struct ts_event){.kind = TS_TICK});
}

static void mischief(struct world *w)
{
    struct producer_sim *p = &w->producer[chance(w, w->producers)];
    if (healed(w))
        return;
    happen(w, chance(w, 30000), (struct event){.kind = AT_MISCHIEF});
    switch (chance(w, 10)) {
    case 0:
        if (one_in(w, 3))
            restart(w);
        break;
    case 1:
    case 2:
        if (p->peer)
            producer_down(w, p, one_in(w, 2));
        break;
    case 3:
    case 4:
        if (p->peer && p->lies)
            hostile(w, p);
        break;
    case 5:
        if (w->compare_all)
            compare_replay(w);
        break;
    default:
        break;
    }
}

/* ---- What happens ---- */

static void honest_fault(struct world *w, const struct ts_effect *fx)
{
    struct bytes why = ts_effect_data(&w->fx, fx);
    fprintf(stderr, "%.*s\n", (int)why.len, (const char *)why.data);
    broken(w, "an honest producer is at fault");
}

static void arrive(struct world *w, struct producer_sim *p, const struct event *e)
{
    struct ts_event in = {.kind = e->sent, .peer = p->peer, .u.batch = buf_bytes(&e->data)};
    struct reader r = reader_of(buf_bytes(&e->data));
    if (e->sent == TS_PRODUCER_WINDOW)
        in.u.window = (uint32_t)get_u64(&r);
    server_step(w, in);
    for (size_t i = 0; i < w->fx.n; i++)
        if (w->fx.fx[i].kind == TS_FX_FAULT && w->fx.fx[i].peer == in.peer)
            honest_fault(w, &w->fx.fx[i]);
}

static void revoked(struct producer_sim *p, const struct event *e)
{
    for (struct run *r = p->run; r < p->run + RUNNING_MAX; r++) {
        if (!r->number)
            continue;
        if (id_equal(r->job, e->job) && (e->kind == AT_GONE || id_equal(r->task, e->task)))
            run_free(r);
    }
}

static void run_done(struct world *w, struct producer_sim *p, uint64_t number)
{
    for (struct run *r = p->run; r < p->run + RUNNING_MAX; r++)
        if (r->number == number) {
            finish(w, p, r);
            return;
        }
}

static void take(struct world *w, struct event *e)
{
    struct producer_sim *p = &w->producer[e->a % PRODUCERS_MAX];
    bool session = p->peer && p->session == e->u64;
    switch (e->kind) {
    case AT_HELD:
        if (e->task.hi != w->incarnation || e->u64 <= w->held)
            break;
        w->held = e->u64;
        server_step(w, (struct ts_event){.kind = TS_HELD, .u.lsn = e->u64});
        break;
    case AT_TICK:
        server_step(w, (struct ts_event){.kind = TS_TICK});
        break;
    case AT_JOIN:
        if (!p->peer && p->session == e->u64)
            producer_join(w, p);
        break;
    case AT_SEND:
        client_sends(w, &w->job[e->a]);
        break;
    case AT_ARRIVE:
        if (session)
            arrive(w, p, e);
        break;
    case AT_GRANT:
        if (session)
            granted(w, p, &e->data);
        break;
    case AT_REVOKE:
    case AT_GONE:
        if (session)
            revoked(p, e);
        break;
    case AT_DONE:
        run_done(w, p, e->u64);
        break;
    case AT_MISCHIEF:
        mischief(w);
        break;
    case AT_NOTICE:
        if (e->task.hi == w->incarnation)
            server_step(w, (struct ts_event){.kind = TS_PRODUCER_LEFT, .peer = (uint32_t)e->u64});
        break;
    }
    buf_free(&e->data);
}

/* ---- Beginning and end ---- */

static void producer_plan(struct world *w, uint32_t i)
{
    struct producer_sim *p = &w->producer[i];
    p->window = 1 + (uint32_t)chance(w, RUNS_WANTED_MAX);
    p->slowness = one_in(w, 5) ? 50 : 1;
    p->crashes = one_in(w, 4);
    p->hangs = one_in(w, 4);
    p->lies = one_in(w, 3);
    happen(w, chance(w, 200000), (struct event){.kind = AT_JOIN, .a = i});
}

static void world_open(struct world *w, uint64_t seed)
{
    *w = (struct world){.seed = seed, .rng = mix(seed, 42), .now = 1000000, .heap = w->heap};
    heap_reset(&w->heap, sizeof(struct event));
    w->check_all = one_in(w, 8);
    w->compare_all = one_in(w, 6);
    w->tight = one_in(w, 10);
    w->config = (struct ts_config){.seed = seed,
                                   .collapse = one_in(w, 2),
                                   .budget_max_us = 5000,
                                   .memory_max = w->tight ? 60000 : 64 << 20};
    w->ts = ts_new(&w->config);
    w->heal_us = w->now + 200000 + chance(w, 1500000);
    w->jobs = 1 + (uint32_t)chance(w, JOBS_MAX);
    w->producers = 1 + (uint32_t)chance(w, PRODUCERS_MAX);
    for (uint32_t i = 0; i < w->jobs; i++)
        job_plan(w, i);
    for (uint32_t i = 0; i < w->producers; i++)
        producer_plan(w, i);
    happen(w, 0, (struct event){.kind = AT_MISCHIEF});
}

/* What hung until now is killed, as an operator would. */
static void heal(struct world *w)
{
    for (uint32_t i = 0; i < w->producers; i++)
        if (w->producer[i].hangs)
            producer_down(w, &w->producer[i], true);
}

static bool over(const struct world *w)
{
    for (uint32_t i = 0; i < w->jobs; i++)
        if (!w->job[i].gone)
            return false;
    return true;
}

static void world_close(struct world *w)
{
    struct ts_stats s;
    ts_check(w->ts);
    compare_replay(w);
    for (uint32_t i = 0; i < w->producers; i++)
        if (w->producer[i].peer)
            server_step(w, (struct ts_event){.kind = TS_PRODUCER_LEFT, .peer = w->producer[i].peer});
    ts_stats(w->ts, &s);
    if (s.jobs || s.tasks || s.memory)
        broken(w, "something is left in the end");
    for (uint32_t i = 0; i < w->producers; i++)
        for (struct run *r = w->producer[i].run; r < w->producer[i].run + RUNNING_MAX; r++)
            run_free(r);
    while (w->heap.n) {
        struct event e;
        heap_take(&w->heap, &e);
        buf_free(&e.data);
    }
    for (uint32_t i = 0; i < w->jobs; i++)
        buf_free(&w->job[i].args);
    ts_free(w->ts);
    ts_effects_free(&w->fx);
    buf_free(&w->log);
}

static void stalled(struct world *w)
{
    struct buf text = {0};
    for (uint32_t i = 0; i < w->jobs; i++)
        if (!w->job[i].gone)
            ts_why(w->ts, w->job[i].id, w->now, &text);
    fprintf(stderr, "%.*s", (int)text.len, (const char *)text.data);
    broken(w, "jobs do not end");
}

/* Aborts when something that must hold does not. */
static void world_run(uint64_t seed)
{
    static struct world w;
    world_open(&w, seed);
    bool ill = true;
    while (!over(&w)) {
        struct event e;
        w.now = heap_take(&w.heap, &e);
        if (ill && healed(&w)) {
            ill = false;
            heal(&w);
        }
        take(&w, &e);
        if (w.now > w.heal_us + 600000000)
            stalled(&w);
    }
    world_close(&w);
}

#endif
