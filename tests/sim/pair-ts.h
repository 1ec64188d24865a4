/* The real task table on both sides of the pair: half of the seeds replicate `struct ts` itself.
 *
 * Clients submit jobs and want their results; a producer beside each server runs tasks, and brings what it
 * has done to whichever server serves by then. The history of a state is then the chain of its log records'
 * hashes; it travels along with the snapshot, for the checks alone. */
#ifndef TESTS_SIM_PAIR_TS_H
#define TESTS_SIM_PAIR_TS_H

#include "tests/sim/pair-check.h"
#include "tests/sim/pair-net.h"

enum { PRODUCER_PEER = 1, CLIENT_PEER = 10, GUEST_PEER = 100, WINDOW = 4 };

static uint32_t index_of(const struct world *w, const struct node *n)
{
    return (uint32_t)(n - w->node);
}

static struct ts *table_new(struct world *w)
{
    struct ts_config config = {.seed = w->seed, .memory_max = 64 << 20, .budget_max_us = 5000};
    return ts_new(&config);
}

static void tables_free(struct node *n)
{
    ts_free(n->ts);
    ts_free(n->scratch_ts);
    ts_effects_free(&n->ts_fx);
    buf_free(&n->base);
    buf_free(&n->scratch_base);
    buf_free(&n->log);
}

/* ---- The journal's content: a snapshot, and the records since ---- */

static void keep_record(void *ctx, struct bytes record)
{
    put_bytes(ctx, record);
}

/* The state after a start: what the file has, up to lsn. */
static void table_boot(struct world *w, struct node *n, uint32_t lsn)
{
    struct reader base = reader_of(buf_bytes(&n->base)), log = reader_of(buf_bytes(&n->log));
    uint64_t at = n->base_lsn;
    ts_free(n->ts);
    n->ts = table_new(w);
    while (reader_more(&base))
        if (!ts_replay(n->ts, get_bytes(&base, SIZE_MAX), n->base_lsn))
            broken(w, "a snapshot does not fit an empty state");
    ts_at(n->ts, n->base_lsn); /* it may be of nothing */
    while (at < lsn)
        if (!ts_replay(n->ts, get_bytes(&log, SIZE_MAX), ++at))
            broken(w, "a record of the journal does not fit");
    n->log.len = (size_t)(log.at - n->log.data) * (n->log.data != NULL);
}

static void table_empty(struct world *w, struct node *n)
{
    buf_clear(&n->base);
    buf_clear(&n->log);
    n->base_lsn = 0;
    table_boot(w, n, 0);
}

/* Volatile things go, as they go when a server stops serving. */
static void table_stop(struct world *w, struct node *n)
{
    struct buf all = {0};
    uint64_t lsn = ts_lsn(n->ts);
    ts_snapshot(n->ts, keep_record, &all);
    ts_free(n->ts);
    n->ts = table_new(w);
    for (struct reader r = reader_of(buf_bytes(&all)); reader_more(&r);)
        must(ts_replay(n->ts, get_bytes(&r, SIZE_MAX), lsn));
    ts_at(n->ts, lsn);
    buf_free(&all);
}

/* ---- A snapshot from elsewhere ---- */

static void table_restore(struct world *w, struct node *n, struct bytes record, uint64_t lsn)
{
    if (!ts_replay(n->scratch_ts, record, lsn))
        broken(w, "a record of a snapshot does not fit");
    put_bytes(&n->scratch_base, record);
}

static void table_restore_begin(struct world *w, struct node *n)
{
    ts_free(n->scratch_ts);
    n->scratch_ts = table_new(w);
    buf_clear(&n->scratch_base);
}

static void table_install(struct node *n)
{
    struct buf old = n->base;
    ts_free(n->ts);
    n->ts = n->scratch_ts;
    n->scratch_ts = NULL;
    n->base = n->scratch_base;
    n->scratch_base = old;
    n->base_lsn = n->state.n;
    ts_at(n->ts, n->base_lsn);
    buf_clear(&n->log);
}

/* ---- Jobs ---- */

static struct id job_id(uint32_t c, uint32_t op)
{
    return (struct id){c + 1, op};
}

static void job_args(struct buf *b, struct id job)
{
    put_value(b, cx_v_i64((int64_t)mix(job.hi, job.lo)));
    put_value(b, cx_v_i64(1 + (int64_t)(mix(job.lo, job.hi) % 12)));
    put_value(b, cx_v_i64(MODE_SOUND));
}

/* What the job gives, and how many tasks are executed in it, each once. */
static void job_expected(struct id job, int64_t *value, uint64_t *executed)
{
    struct machine m = {0};
    struct buf args = {0};
    job_args(&args, job);
    machine_start(&m, W_NODE, 3, buf_bytes(&args));
    machine_run(&m, UINT64_MAX);
    must(m.nout && m.out[0].v.type == CX_I64);
    *value = m.out[0].v.i64;
    *executed = m.executed;
    machine_free(&m);
    buf_free(&args);
}

static void check_result(struct world *w, const struct node *n, struct id id)
{
    struct ts_job_info job;
    int64_t value;
    uint64_t executed;
    must(ts_job_find(n->ts, id, &job));
    job_expected(id, &value, &executed);
    struct reader r = reader_of(job.result);
    if (job.state != TS_JOB_DONE || get_value(&r).as.i64 != value)
        broken(w, "a wrong result");
    if (job.executed != executed)
        broken(w, "a task counted twice, or not at all");
}

/* ---- Effects of the table ---- */

static void node_logged(struct world *w, struct node *n, struct bytes record);

static void table_log(struct world *w, struct node *n, const struct ts_effect *fx)
{
    must(fx->lsn == n->state.n + 1);
    node_logged(w, n, ts_effect_data(&n->ts_fx, fx));
}

static void table_grant(struct world *w, struct node *n, const struct ts_effect *fx)
{
    struct event e = {.kind = AT_DONE, .a = index_of(w, n), .n = n->epoch};
    struct bytes grant = ts_effect_data(&n->ts_fx, fx);
    if (fx->peer != PRODUCER_PEER)
        return;
    e.data = spare_take(&w->spare);
    buf_add(&e.data, grant.data, grant.len);
    happen(w, between(w, 500, one_in(w, 20) ? 2 * SECOND : 20000), e);
}

static void output(const struct world *w, const struct node *n)
{
    if (!n->serves || !n->open)
        broken(w, "an output of one who may not");
}

/* A reply to a submit is a promise. "No such job" is the word of the state as this server knows it: one that
 * has been overtaken may say so wrongly, and a client then asks the other one (docs/REPLICATION.md). */
static void table_reply(struct world *w, struct node *n, const struct ts_effect *fx)
{
    uint32_t c = fx->peer - CLIENT_PEER;
    if (fx->req == 0)
        return;
    output(w, n);
    if (fx->req % 2 == 0 && fx->code == CX_OK && fx->req / 2 == w->client[c].n)
        w->client[c].promised = w->client[c].n;
    if (fx->req % 2 == 0 || fx->code != CX_ENOTFOUND || fx->req / 2 != w->client[c].n ||
        w->client[c].promised != w->client[c].n)
        return;
    if (w->lossy)
        w->client[c].promised = 0;
    else if (n->epoch == w->line_epoch)
        broken(w, "an acknowledged submit is lost");
}

static void table_result(struct world *w, struct node *n, const struct ts_effect *fx)
{
    output(w, n);
    check_result(w, n, fx->job);
    send(w, (int)index_of(w, n), CLIENT,
         (struct event){.kind = AT_ACK, .n = fx->peer - CLIENT_PEER, .m = fx->job.lo});
}

static void table_fault(struct world *w, struct node *n, const struct ts_effect *fx)
{
    struct bytes why = ts_effect_data(&n->ts_fx, fx);
    fprintf(stderr, "%.*s\n", (int)why.len, (const char *)why.data);
    broken(w, "an honest producer is at fault");
}

static void table_step(struct world *w, struct node *n, struct ts_event e)
{
    static void (*const effect[])(struct world *, struct node *, const struct ts_effect *) = {
        [TS_FX_LOG] = table_log,       [TS_FX_GRANT] = table_grant, [TS_FX_REPLY] = table_reply,
        [TS_FX_RESULT] = table_result, [TS_FX_FAULT] = table_fault,
    };
    must(!n->stepping);
    n->stepping = true;
    e.now_us = w->now;
    ts_effects_clear(&n->ts_fx);
    ts_step(n->ts, &e, &n->ts_fx);
    for (size_t i = 0; i < n->ts_fx.n; i++) {
        const struct ts_effect *fx = &n->ts_fx.fx[i];
        if (fx->kind < sizeof effect / sizeof effect[0] && effect[fx->kind])
            effect[fx->kind](w, n, fx);
    }
    n->stepping = false;
}

/* ---- What the shell does with the table ---- */

static void table_serve(struct world *w, struct node *n)
{
    ts_replayed(n->ts, w->now);
    struct ts_event join = {.kind = TS_PRODUCER_JOINED, .peer = PRODUCER_PEER};
    join.u.joined.name = "p";
    join.u.joined.arch = "x86_64";
    join.u.joined.threads = WINDOW;
    table_step(w, n, join);
    table_step(w, n,
               (struct ts_event){.kind = TS_PRODUCER_WINDOW, .peer = PRODUCER_PEER, .u.window = WINDOW});
}

static void table_tick(struct world *w, struct node *n)
{
    if (n->serves && ts_due(n->ts) <= w->now)
        table_step(w, n, (struct ts_event){.kind = TS_TICK});
    if (one_in(w, 64))
        ts_check(n->ts);
}

static void table_submit(struct world *w, struct node *n, uint32_t c, uint32_t op)
{
    struct buf args = {0};
    job_args(&args, job_id(c, op));
    struct ts_submit s = {.job = job_id(c, op),
                          .modules = 1,
                          .module = {{.arch = "x86_64"}},
                          .fn = W_NODE,
                          .functions = bytes_str(WORK_FUNCTIONS),
                          .nargs = 3,
                          .args = buf_bytes(&args),
                          .owner = bytes_str("ann")};
    table_step(
        w, n,
        (struct ts_event){.kind = TS_SUBMIT, .peer = CLIENT_PEER + c, .req = op * 2ull, .u.submit = &s});
    buf_free(&args);
}

/* The last job is done with; this one is submitted until that was acknowledged, and then only watched. */
static void table_request(struct world *w, struct node *n, uint32_t c, uint32_t op)
{
    struct ts_job_info old;
    if (op != w->client[c].n)
        return;
    if (ts_job_find(n->ts, job_id(c, op - 1), &old))
        table_step(w, n,
                   (struct ts_event){.kind = TS_FORGET, .peer = CLIENT_PEER + c, .job = job_id(c, op - 1)});
    if (w->client[c].promised != op)
        table_submit(w, n, c, op);
    table_step(w, n,
               (struct ts_event){
                   .kind = TS_WATCH, .peer = CLIENT_PEER + c, .req = op * 2ull + 1, .job = job_id(c, op)});
}

/* ---- The producer ---- */

static struct buf executed(const struct grant *g)
{
    struct machine m = {0};
    struct buf body = {0}, out = {0};
    machine_start(&m, g->fn, g->nslots, g->values);
    machine_run(&m, 1);
    machine_commit(&m, &body);
    struct commit c = {.kind = COMMIT_DONE,
                       .job = g->job,
                       .task = g->task,
                       .hash = g->hash,
                       .elapsed_ns = 1000,
                       .executed = m.executed,
                       .body = buf_bytes(&body)};
    commit_put(&out, &c);
    buf_free(&body);
    machine_free(&m);
    return out;
}

/* Work that was done for another server, or another epoch, is offered like after a reconnect: a hold, then
 * the commit. */
static void offer(struct world *w, struct node *n, const struct grant *g, struct bytes commit)
{
    struct buf hold = {0};
    uint32_t peer = GUEST_PEER;
    struct ts_event join = {.kind = TS_PRODUCER_JOINED, .peer = peer};
    join.u.joined.name = "q";
    join.u.joined.arch = "x86_64";
    put_id(&hold, g->job);
    put_id(&hold, g->task);
    put_u64(&hold, g->hash);
    table_step(w, n, join);
    table_step(w, n, (struct ts_event){.kind = TS_PRODUCER_HOLDS, .peer = peer, .u.batch = buf_bytes(&hold)});
    table_step(w, n, (struct ts_event){.kind = TS_COMMITS, .peer = peer, .u.batch = commit});
    table_step(w, n, (struct ts_event){.kind = TS_PRODUCER_LEFT, .peer = peer});
    buf_free(&hold);
}

static bool awake(const struct world *w, const struct node *n)
{
    return n->replica && n->serves && n->paused_us <= w->now;
}

static void producer_done(struct world *w, struct event *e)
{
    struct reader r = reader_of(buf_bytes(&e->data));
    struct grant g;
    struct node *n = &w->node[e->a], *o = &w->node[1 - e->a];
    must(grant_get(&r, &g)); /* it points into the event's data */
    struct buf commit = executed(&g);
    bool same = awake(w, n) && n->epoch == e->n;
    if (same)
        table_step(
            w, n,
            (struct ts_event){.kind = TS_COMMITS, .peer = PRODUCER_PEER, .u.batch = buf_bytes(&commit)});
    else if (awake(w, n))
        offer(w, n, &g, buf_bytes(&commit));
    if (awake(w, o) && (!same || one_in(w, 8)))
        offer(w, o, &g, buf_bytes(&commit));
    buf_free(&commit);
    bool asleep = n->replica && n->serves && n->paused_us > w->now;
    if (!asleep && (awake(w, n) || awake(w, o)))
        return;
    happen(w, 50000, *e); /* nobody took it: it is kept */
    e->data = (struct buf){0};
}

#endif
