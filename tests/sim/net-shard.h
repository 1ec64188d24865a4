/* One shard of the simulated network: its core, its log, its producers, and how it dies and comes back. */
#ifndef TESTS_SIM_NET_SHARD_H
#define TESTS_SIM_NET_SHARD_H

#include "tests/sim/net-world.h"

/* ---- The log ---- */

static void keep_record(void *ctx, struct bytes record)
{
    put_u64(ctx, record.len);
    buf_add(ctx, record.data, record.len);
}

/* The durable state as one number, whatever the order of its tables. */
static uint64_t state_sum(const struct ts *ts)
{
    struct buf b = {0};
    uint64_t sum = 0;
    ts_snapshot(ts, keep_record, &b);
    for (struct reader r = reader_of(buf_bytes(&b)); reader_more(&r); sum++) {
        struct bytes record = get_raw(&r, get_u64(&r));
        sum += hash64(record.data, record.len, 7);
    }
    buf_free(&b);
    return sum;
}

static struct ts *replayed(const struct world *w, const struct shard *s, struct bytes log)
{
    struct ts *ts = ts_new(&s->config);
    uint64_t lsn = 0;
    for (struct reader r = reader_of(log); reader_more(&r);)
        if (!ts_replay(ts, get_raw(&r, get_u64(&r)), ++lsn))
            broken(w, "a record of the log does not fit when it is replayed");
    return ts;
}

static void compare_replay(struct world *w, const struct shard *s)
{
    struct ts *again = replayed(w, s, buf_bytes(&s->log));
    struct buf snap = {0};
    ts_check(again);
    if (state_sum(again) != state_sum(s->ts))
        broken(w, "the replayed log gives another state");
    ts_snapshot(s->ts, keep_record, &snap);
    struct ts *copy = replayed(w, s, buf_bytes(&snap));
    ts_check(copy);
    if (state_sum(copy) != state_sum(s->ts))
        broken(w, "the snapshot gives another state");
    buf_free(&snap);
    ts_free(copy);
    ts_free(again);
}

/* ---- Steps ---- */

static void shard_effects(struct world *w, uint32_t at);

static void shard_step(struct world *w, uint32_t at, struct ts_event e)
{
    struct shard *s = &w->shard[at];
    e.now_us = w->now;
    ts_effects_clear(&s->fx);
    ts_step(s->ts, &e, &s->fx);
    if (w->check_all || w->steps++ % 128 == 0)
        ts_check(s->ts);
    uint64_t logged = s->records;
    shard_effects(w, at);
    if (s->records > logged)
        happen(w, one_in(w, 4) ? chance(w, 40000) : chance(w, 2000),
               (struct happens){.kind = AT_HELD, .a = at, .u64 = s->life, .n = s->records});
    uint64_t due = ts_due(s->ts);
    if (due == UINT64_MAX || (s->tick_us > w->now && due >= s->tick_us))
        return;
    s->tick_us = due > w->now ? due : w->now + 1;
    happen(w, s->tick_us - w->now, (struct happens){.kind = AT_TICK, .a = at});
}

/* ---- Producers ---- */

static void run_free(struct running *r)
{
    buf_free(&r->commit);
    *r = (struct running){0};
}

/* A task of a job that is to get stuck is run, and nothing comes of it. */
static bool is_mute(struct world *w, const struct grant *g)
{
    struct job_sim *j = job_of(w, g->job);
    bool mute = j->mute && g->task.lo % 5 == 0;
    j->muted += mute;
    return mute;
}

static void execute(struct world *w, const struct grant *g, struct buf *out)
{
    struct machine m = {.loose = one_in(w, 4)};
    struct buf body = {0};
    machine_start(&m, g->fn, g->nslots, g->values);
    machine_run(&m, m.loose || !g->budget_us ? 1 : 1 + chance(w, 40));
    if (m.crashed)
        buf_add(&body, "killed by signal 9", 18);
    else if (!is_mute(w, g))
        machine_commit(&m, &body);
    struct commit c = {.kind = m.crashed ? COMMIT_CRASHED : COMMIT_DONE,
                       .job = g->job,
                       .task = g->task,
                       .hash = g->hash,
                       .elapsed_ns = chance(w, 2000000),
                       .executed = m.executed,
                       .body = buf_bytes(&body)};
    commit_put(out, &c);
    buf_free(&body);
    machine_free(&m);
}

static void granted(struct world *w, uint32_t at, const struct ts_effect *fx)
{
    struct shard *s = &w->shard[at];
    struct grant g;
    struct reader in = reader_of(ts_effect_data(&s->fx, fx));
    struct running *r = s->run;
    must(grant_get(&in, &g));
    while (r < s->run + RUNS && r->number)
        r++;
    must(r < s->run + RUNS);
    *r = (struct running){.number = ++w->next_run, .worker = fx->peer, .job = g.job, .task = g.task};
    execute(w, &g, &r->commit);
    happen(w, (1 + chance(w, 3000)) * s->worker[fx->peer].slowness,
           (struct happens){.kind = AT_DONE, .a = at, .b = fx->peer, .u64 = r->number});
}

static void revoked(struct shard *s, const struct ts_effect *fx)
{
    for (struct running *r = s->run; r < s->run + RUNS; r++)
        if (r->number && r->worker == fx->peer && id_equal(r->job, fx->job) &&
            (fx->kind == TS_FX_JOB_GONE || id_equal(r->task, fx->task)))
            run_free(r);
}

static void run_done(struct world *w, uint32_t at, uint32_t worker, uint64_t number)
{
    struct shard *s = &w->shard[at];
    struct running *r = s->run;
    while (r < s->run + RUNS && r->number != number)
        r++;
    if (r == s->run + RUNS)
        return;
    struct buf commit = r->commit;
    r->commit = (struct buf){0};
    run_free(r);
    shard_step(w, at, (struct ts_event){.kind = TS_COMMITS, .peer = worker, .u.batch = buf_bytes(&commit)});
    buf_free(&commit);
}

static void worker_joins(struct world *w, uint32_t at, uint32_t worker)
{
    struct shard *s = &w->shard[at];
    struct worker *p = &s->worker[worker];
    if (p->in || !p->window)
        return;
    p->in = true;
    shard_step(w, at,
               (struct ts_event){.kind = TS_PRODUCER_JOINED,
                                 .peer = worker,
                                 .u.joined = {.name = "p", .arch = "x86_64", .threads = 1 + p->window / 2}});
    shard_step(w, at, (struct ts_event){.kind = TS_PRODUCER_WINDOW, .peer = worker, .u.window = p->window});
}

static void worker_returns(struct world *w, uint32_t at, uint32_t worker)
{
    happen(w, chance(w, 50000),
           (struct happens){.kind = AT_JOIN, .a = at, .b = worker, .u64 = w->shard[at].life});
}

/* What it was running is lost. */
static void worker_leaves(struct world *w, uint32_t at, uint32_t worker)
{
    struct shard *s = &w->shard[at];
    for (struct running *r = s->run; r < s->run + RUNS; r++)
        if (r->number && r->worker == worker)
            run_free(r);
    s->worker[worker].in = false;
    worker_returns(w, at, worker);
}

/* ---- Connections ---- */

static void link_breaks(struct world *w, uint32_t a, uint32_t b)
{
    if (!w->link[a][b])
        return;
    uint64_t old = w->link[a][b];
    w->breaks++;
    w->link[a][b] = w->link[b][a] = 0;
    happen(w, chance(w, 40000), (struct happens){.kind = AT_LOST, .a = a, .b = b, .u64 = old});
    happen(w, chance(w, 40000), (struct happens){.kind = AT_LOST, .a = b, .b = a, .u64 = old});
    happen(w, chance(w, 60000), (struct happens){.kind = AT_LINK, .a = a, .b = b});
}

static void link_up(struct world *w, uint32_t a, uint32_t b, uint64_t rtt_us)
{
    struct shard *s = &w->shard[a];
    s->link[b] = w->link[a][b];
    shard_step(w, a,
               (struct ts_event){.kind = TS_PEER_UP, .u.other = {.shard = shard_name(b), .rtt_us = rtt_us}});
}

static void link_made(struct world *w, uint32_t a, uint32_t b)
{
    if (w->link[a][b])
        return;
    uint64_t rtt_us = chance(w, 300000);
    w->link[a][b] = w->link[b][a] = ++w->next_link;
    w->shard[a].arrives[b] = w->shard[b].arrives[a] = w->now;
    link_up(w, a, b, rtt_us);
    link_up(w, b, a, rtt_us);
}

static void link_lost(struct world *w, uint32_t a, uint32_t b, uint64_t link)
{
    if (w->shard[a].link[b] != link)
        return;
    w->shard[a].link[b] = 0;
    shard_step(w, a, (struct ts_event){.kind = TS_PEER_DOWN, .u.other.shard = shard_name(b)});
}

static void message_leaves(struct world *w, uint32_t at, const struct ts_effect *fx)
{
    struct shard *s = &w->shard[at];
    uint32_t to = shard_index(w, fx->shard);
    struct bytes data = ts_effect_data(&s->fx, fx);
    uint64_t arrives = w->now + 20 + chance(w, one_in(w, 10) ? 20000 : 300);
    if (!s->link[to] || s->link[to] != w->link[at][to])
        return; /* into the void */
    arrives = arrives > w->shard[to].arrives[at] ? arrives : w->shard[to].arrives[at];
    w->shard[to].arrives[at] = arrives;
    struct happens e = {.kind = AT_PEER, .a = to, .b = at, .u64 = s->link[to]};
    buf_add(&e.data, data.data, data.len);
    happen(w, arrives - w->now, e);
}

static void message_arrives(struct world *w, const struct happens *e)
{
    if (w->link[e->a][e->b] == e->u64)
        shard_step(w, e->a,
                   (struct ts_event){.kind = TS_PEER_MSG,
                                     .u.other = {.shard = shard_name(e->b), .bytes = buf_bytes(&e->data)}});
}

/* ---- Dying and coming back ---- */

static void shard_crashes(struct world *w, uint32_t at)
{
    struct shard *s = &w->shard[at];
    uint64_t keep = s->held + chance(w, s->records - s->held + 1);
    struct reader r = reader_of(buf_bytes(&s->log));
    w->crashes++;
    for (uint64_t i = 0; i < keep; i++)
        get_raw(&r, get_u64(&r));
    s->log.len = keep ? (size_t)(r.at - s->log.data) : 0;
    s->records = s->held = keep;
    s->life++;
    s->tick_us = 0;
    ts_free(s->ts);
    s->ts = replayed(w, s, buf_bytes(&s->log));
    ts_replayed(s->ts, w->now);
    ts_check(s->ts);
    for (uint32_t i = 0; i < w->shards; i++) {
        s->link[i] = 0;
        if (i != at)
            link_breaks(w, at, i);
    }
    for (uint32_t i = 0; i < WORKERS; i++)
        worker_leaves(w, at, i);
    for (uint32_t i = 0; i < w->jobs; i++)
        w->job[i].cancelled &= w->job[i].home != at; /* its cancel may be lost: it asks again */
    shard_step(w, at, (struct ts_event){.kind = TS_TICK});
}

static void shard_held(struct world *w, const struct happens *e)
{
    struct shard *s = &w->shard[e->a];
    if (e->u64 != s->life || e->n <= s->held)
        return;
    s->held = e->n;
    shard_step(w, e->a, (struct ts_event){.kind = TS_HELD, .u.lsn = e->n});
}

#endif
