/* One seed of the simulated network of shards, from its beginning to its end. */
#ifndef TESTS_SIM_NET_RUN_H
#define TESTS_SIM_NET_RUN_H

#include "tests/sim/net-job.h"

enum { STALLED_US = 600000000 };

/* ---- Mischief ---- */

static void mischief(struct world *w)
{
    uint32_t a = (uint32_t)chance(w, w->shards), b = (uint32_t)chance(w, w->shards);
    if (healed(w))
        return;
    happen(w, chance(w, w->calm_us), (struct happens){.kind = AT_MISCHIEF});
    switch (chance(w, 10)) {
    case 0:
        if (one_in(w, 2))
            shard_crashes(w, a);
        break;
    case 1:
    case 2:
    case 3:
        if (a != b)
            link_breaks(w, a, b);
        break;
    case 4:
        b = (uint32_t)chance(w, WORKERS);
        if (w->shard[a].worker[b].in) {
            worker_leaves(w, a, b);
            shard_step(w, a, (struct ts_event){.kind = TS_PRODUCER_LEFT, .peer = b});
        }
        break;
    case 5:
        compare_replay(w, &w->shard[a]);
        break;
    case 6:
        shard_step(w, a,
                   (struct ts_event){.kind = TS_PEER_RTT,
                                     .u.other = {.shard = shard_name(b), .rtt_us = chance(w, 300000)}});
        break;
    default:
        break;
    }
}

static void take(struct world *w, struct happens *e)
{
    switch (e->kind) {
    case AT_HELD:
        shard_held(w, e);
        break;
    case AT_TICK:
        shard_step(w, e->a, (struct ts_event){.kind = TS_TICK});
        break;
    case AT_PEER:
        message_arrives(w, e);
        break;
    case AT_LOST:
        link_lost(w, e->a, e->b, e->u64);
        break;
    case AT_LINK:
        link_made(w, e->a, e->b);
        break;
    case AT_JOIN:
        if (w->shard[e->a].life == e->u64)
            worker_joins(w, e->a, e->b);
        break;
    case AT_DONE:
        run_done(w, e->a, e->b, e->u64);
        break;
    case AT_CLIENT:
        client_acts(w, e->a);
        break;
    case AT_MISCHIEF:
        mischief(w);
        break;
    }
    buf_free(&e->data);
}

/* ---- Beginning and end ---- */

static void shard_plan(struct world *w, uint32_t at)
{
    struct shard *s = &w->shard[at];
    s->config = (struct ts_config){.seed = w->seed,
                                   .shard = shard_name(at),
                                   .steal = one_in(w, 2) ? TS_STEAL_LATENCY : TS_STEAL_RANDOM,
                                   .collapse = one_in(w, 2),
                                   .budget_max_us = 5000,
                                   .gather_us = one_in(w, 3) ? 0 : chance(w, 5000)};
    if (at == 0 && one_in(w, 4))
        s->config.steal = TS_STEAL_NONE;
    s->ts = ts_new(&s->config);
    for (uint32_t i = 0; i < WORKERS; i++) {
        /* Some shards have no producers, but never all of them. */
        bool none = at + 1 < w->shards && one_in(w, 3);
        s->worker[i] = (struct worker){.window = none ? 0 : 1 + (uint32_t)chance(w, 6),
                                       .slowness = one_in(w, 5) ? 20 : 1};
        happen(w, chance(w, 100000), (struct happens){.kind = AT_JOIN, .a = at, .b = i});
    }
}

static void world_open(struct world *w, uint64_t seed)
{
    *w = (struct world){.seed = seed, .rng = mix(seed, 43), .now = 1000000, .heap = w->heap};
    heap_reset(&w->heap, sizeof(struct happens));
    w->check_all = one_in(w, 8);
    w->shards = 2 + (uint32_t)chance(w, SHARDS - 1);
    w->jobs = 1 + (uint32_t)chance(w, JOBS);
    w->heal_us = w->now + 200000 + chance(w, 1000000);
    w->calm_us = 1000 << chance(w, 6);
    for (uint32_t i = 0; i < w->shards; i++)
        shard_plan(w, i);
    for (uint32_t i = 0; i < w->jobs; i++)
        job_plan(w, i);
    for (uint32_t a = 0; a < w->shards; a++)
        for (uint32_t b = a + 1; b < w->shards; b++)
            happen(w, chance(w, 100000), (struct happens){.kind = AT_LINK, .a = a, .b = b});
    happen(w, 0, (struct happens){.kind = AT_MISCHIEF});
}

/* Whether all is said and done: no job anywhere, and nothing on its way that must arrive. */
static bool at_rest(const struct world *w)
{
    for (uint32_t i = 0; i < w->jobs; i++)
        if (!w->job[i].gone)
            return false;
    for (uint32_t i = 0; i < w->shards; i++) {
        struct ts_job_info job;
        struct ts_peer_info peer;
        uint64_t cursor = 0;
        if (ts_job_next(w->shard[i].ts, &cursor, &job))
            return false;
        for (cursor = 0; ts_peer_next(w->shard[i].ts, &cursor, &peer);)
            if (peer.unconfirmed)
                return false;
    }
    return true;
}

static void stalled(struct world *w)
{
    struct buf text = {0};
    for (uint32_t i = 0; i < w->shards; i++)
        for (uint32_t k = 0; k < w->jobs; k++)
            ts_why(w->shard[i].ts, w->job[k].id, w->now, &text);
    fprintf(stderr, "%.*s", (int)text.len, (const char *)text.data);
    broken(w, "the network does not come to rest");
}

static void world_close(struct world *w)
{
    for (uint32_t i = 0; i < w->shards; i++) {
        struct shard *s = &w->shard[i];
        ts_check(s->ts);
        compare_replay(w, s);
        ts_free(s->ts);
        ts_effects_free(&s->fx);
        buf_free(&s->log);
        for (uint32_t k = 0; k < RUNS; k++)
            run_free(&s->run[k]);
    }
    while (w->heap.n) {
        struct happens e;
        heap_take(&w->heap, &e);
        buf_free(&e.data);
    }
    for (uint32_t i = 0; i < w->jobs; i++)
        buf_free(&w->job[i].args);
}

/* Aborts when something that must hold does not. */
static void world_run(uint64_t seed, bool say)
{
    static struct world w;
    world_open(&w, seed);
    while (!at_rest(&w)) {
        struct happens e;
        w.now = heap_take(&w.heap, &e);
        take(&w, &e);
        if (w.now > w.heal_us + STALLED_US)
            stalled(&w);
    }
    if (say)
        printf("seed %llu: %u shards, %u jobs, %llu guests, %llu crashes, %llu broken connections, %llu us\n",
               (unsigned long long)seed, w.shards, w.jobs, (unsigned long long)w.moved,
               (unsigned long long)w.crashes, (unsigned long long)w.breaks, (unsigned long long)w.now);
    world_close(&w);
}

#endif
