/* The shards: their steps, what comes of them, and the ways between them. */
#ifndef TESTS_SIM_SCALE_SHARD_H
#define TESTS_SIM_SCALE_SHARD_H

#include "tests/sim/scale-world.h"

enum { SIBLING_US = 5000, CONTINENT_US = 50000 }; /* round trips: to the sibling, from end to end */

/* The servers stand on a square: one way of a message is half the round trip. */
static uint64_t way_us(const struct world *w, uint32_t a, uint32_t b)
{
    const struct shard *s = &w->shard[a], *o = &w->shard[b];
    uint64_t dx = s->x > o->x ? s->x - o->x : o->x - s->x, dy = s->y > o->y ? s->y - o->y : o->y - s->y;
    return 500 + (dx > dy ? dx : dy) * (CONTINENT_US / 2) / 1000;
}

static void to_producer(struct world *w, uint32_t at, const struct ts_effect *fx)
{
    uint32_t index = (fx->peer - 1) % w->plan.producers;
    struct producer *p = &w->producer[index];
    if (!p->here || peer_of(w, index) != fx->peer)
        return;
    struct event e = {.a = index, .n = p->sessions};
    if (fx->kind == TS_FX_GRANT) {
        e.kind = AT_GRANT;
        e.data = copy_of(w, ts_effect_data(&w->shard[at].fx, fx));
    } else {
        e.kind = AT_REVOKE;
        e.task = fx->task;
    }
    w->f.producer++;
    happen(w, p->rtt_us / 2, e);
}

static void to_shard(struct world *w, uint32_t at, const struct ts_effect *fx)
{
    struct event e = {.kind = AT_PEER, .a = shard_index(w, fx->shard), .b = at};
    e.data = copy_of(w, ts_effect_data(&w->shard[at].fx, fx));
    w->f.between++;
    w->f.between_bytes += fx->len;
    happen(w, way_us(w, e.b, e.a), e);
}

static void result(struct world *w, uint32_t at, const struct ts_effect *fx)
{
    struct ts_job_info info;
    must(ts_job_find(w->shard[at].ts, fx->job, &info) && info.state == TS_JOB_DONE);
    struct reader r = reader_of(info.result);
    w->result = get_value(&r).as.i64;
    w->over = true;
}

static void fault(const struct world *w, uint32_t at, const struct ts_effect *fx)
{
    struct bytes why = ts_effect_data(&w->shard[at].fx, fx);
    fprintf(stderr, "an honest peer is at fault: %.*s\n", (int)why.len, (const char *)why.data);
    abort();
}

static void effect(struct world *w, uint32_t at, const struct ts_effect *fx)
{
    switch (fx->kind) {
    case TS_FX_LOG:
        w->shard[at].logged = fx->lsn;
        break;
    case TS_FX_GRANT:
    case TS_FX_REVOKE:
        to_producer(w, at, fx);
        break;
    case TS_FX_PEER:
        to_shard(w, at, fx);
        break;
    case TS_FX_RESULT:
        result(w, at, fx);
        break;
    case TS_FX_FAULT:
    case TS_FX_PEER_FAULT:
        fault(w, at, fx);
        break;
    default:
        break;
    }
}

static void tick_later(struct world *w, uint32_t at)
{
    struct shard *s = &w->shard[at];
    uint64_t due = ts_due(s->ts);
    if (due == UINT64_MAX || (s->tick_us > w->now && due >= s->tick_us))
        return;
    s->tick_us = due > w->now ? due : w->now + 1;
    happen(w, s->tick_us - w->now, (struct event){.kind = AT_TICK, .a = at});
}

static void hold_later(struct world *w, uint32_t at, uint64_t held)
{
    struct shard *s = &w->shard[at];
    if (s->holding || s->logged <= held)
        return;
    s->holding = true;
    happen(w, SIBLING_US, (struct event){.kind = AT_HELD, .a = at, .n = s->logged});
}

static void shard_step(struct world *w, uint32_t at, struct ts_event e)
{
    struct shard *s = &w->shard[at];
    uint64_t before = s->logged;
    e.now_us = w->now;
    ts_effects_clear(&s->fx);
    ts_step(s->ts, &e, &s->fx);
    w->f.steps++;
    for (size_t i = 0; i < s->fx.n; i++)
        effect(w, at, &s->fx.fx[i]);
    hold_later(w, at, before);
    tick_later(w, at);
}

static void shard_held(struct world *w, const struct event *e)
{
    w->shard[e->a].holding = false;
    shard_step(w, e->a, (struct ts_event){.kind = TS_HELD, .u.lsn = e->n});
    hold_later(w, e->a, e->n);
}

static void shard_hears(struct world *w, const struct event *e)
{
    shard_step(w, e->a,
               (struct ts_event){.kind = TS_PEER_MSG,
                                 .u.other = {.shard = shard_name(e->b), .bytes = buf_bytes(&e->data)}});
}

static void shard_linked(struct world *w, uint32_t a, uint32_t b)
{
    uint64_t rtt_us = 2 * way_us(w, a, b);
    struct ts_event e = {.kind = TS_PEER_UP, .u.other = {.shard = shard_name(b), .rtt_us = rtt_us}};
    shard_step(w, a, e);
    e.u.other.shard = shard_name(a);
    shard_step(w, b, e);
}

static void shards_open(struct world *w)
{
    w->shards = 2 * w->plan.pairs;
    w->shard = calloc(w->shards, sizeof *w->shard);
    w->used = calloc(w->shards, 1);
    must(w->shard && w->used);
    for (uint32_t i = 0; i < w->shards; i++) {
        struct ts_config config = {.seed = w->plan.seed + i,
                                   .shard = shard_name(i),
                                   .steal = TS_STEAL_LATENCY,
                                   .budget_max_us = 5000};
        w->shard[i] = (struct shard){.ts = ts_new(&config)};
        w->shard[i].x = i % 2 ? w->shard[i - 1].x : (uint32_t)chance(w, 1000);
        w->shard[i].y = i % 2 ? w->shard[i - 1].y : (uint32_t)chance(w, 1000);
    }
    for (uint32_t a = 0; a < w->shards; a++)
        for (uint32_t b = a + 1; b < w->shards; b++)
            happen(w, chance(w, SECOND / 2), (struct event){.kind = AT_LINK, .a = a, .b = b});
}

static void shards_close(struct world *w)
{
    for (uint32_t i = 0; i < w->shards; i++) {
        ts_check(w->shard[i].ts);
        ts_free(w->shard[i].ts);
        ts_effects_free(&w->shard[i].fx);
    }
    free(w->shard);
    free(w->used);
}

#endif
