/* One run of the scale model: producers, shards, and the jobs from their submission to their end. */
#ifndef TESTS_SIM_SCALE_RUN_H
#define TESTS_SIM_SCALE_RUN_H

#include "tests/sim/scale-world.h"

/* ---- The program: a node fans out, a leaf computes and returns its number ---- */

static uint64_t task_us(const struct grant *g, int64_t lo)
{
    uint64_t key[2] = {g->job.lo, (uint64_t)lo};
    return g->fn == FN_NODE ? NODE_US : LEAF_US * 3 / 4 + hash64(key, sizeof key, 9) % (LEAF_US / 2);
}

static void put_child(struct buf *b, uint32_t slot, int64_t lo, int64_t n)
{
    struct op op = {.kind = OP_TASK,
                    .name = slot + 2,
                    .fn = n == 1 ? FN_LEAF : FN_NODE,
                    .nslots = 2,
                    .flags = TASK_FULL,
                    .to = {.index = 1, .slot = slot}};
    put_name(b, 0, slot + 1);
    put_task(b, &op);
    put_task_value(b, &op, &(struct op_value){.slot = 0, .value = cx_v_i64(lo)});
    put_task_value(b, &op, &(struct op_value){.slot = 1, .value = cx_v_i64(n)});
}

/* Leaves lo to lo + n, in up to FAN parts. */
static void put_node(struct buf *b, int64_t lo, int64_t n)
{
    uint32_t parts = n < FAN ? (uint32_t)n : FAN;
    struct op sum = {.kind = OP_TASK, .name = 1, .fn = SUM_I64, .nslots = parts, .to = {.inherited = true}};
    put_name(b, 0, 0);
    put_task(b, &sum);
    for (uint32_t i = 0; i < parts; i++) {
        int64_t from = n * i / parts, to = n * (i + 1) / parts;
        put_child(b, i, lo + from, to - from);
    }
}

static uint64_t tree_tasks(int64_t n)
{
    uint64_t tasks = 1;
    if (n == 1)
        return 1;
    uint32_t parts = n < FAN ? (uint32_t)n : FAN;
    for (uint32_t i = 0; i < parts; i++)
        tasks += tree_tasks(n * (i + 1) / parts - n * i / parts);
    return tasks;
}

/* ---- Measuring ---- */

static bool measuring(const struct world *w)
{
    return w->start_us && w->done < JOBS;
}

static void threads_change(struct world *w, int64_t by)
{
    if (measuring(w))
        w->thread_s += (double)w->threads * (double)(w->now - w->threads_us) / 1e6;
    w->threads_us = w->now;
    w->threads += (uint64_t)by;
}

/* ---- Shards ---- */

static void shard_effects(struct world *w, uint32_t at);

static void shard_step(struct world *w, uint32_t at, struct ts_event e)
{
    struct shard *s = &w->shard[at];
    e.now_us = w->now;
    ts_effects_clear(&s->fx);
    ts_step(s->ts, &e, &s->fx);
    w->steps++;
    shard_effects(w, at);
    uint64_t due = ts_due(s->ts);
    if (due == UINT64_MAX || (s->tick_us > w->now && due >= s->tick_us))
        return;
    s->tick_us = due > w->now ? due : w->now + 1;
    happen(w, s->tick_us - w->now, (struct happens){.kind = AT_TICK, .a = at});
}

static void shard_flush(struct world *w, uint32_t at)
{
    struct shard *s = &w->shard[at];
    s->flushing = false;
    happen(w, 2 * SHARD_ONE_US, (struct happens){.kind = AT_HELD, .a = at, .n = s->records});
}

static void logged(struct world *w, uint32_t at, const struct ts_effect *fx)
{
    struct shard *s = &w->shard[at];
    s->records = fx->lsn;
    if (!s->flushing)
        happen(w, FLUSH_US, (struct happens){.kind = AT_FLUSH, .a = at});
    s->flushing = true;
}

static void to_peer(struct world *w, uint32_t at, const struct ts_effect *fx)
{
    struct bytes data = ts_effect_data(&w->shard[at].fx, fx);
    uint32_t to = (uint32_t)fx->shard.lo - 1;
    must(to < w->shards);
    w->between += measuring(w);
    w->between_bytes += measuring(w) ? data.len : 0;
    happen(w, SHARD_ONE_US, (struct happens){.kind = AT_PEER, .a = to, .b = at, .letter = letter_of(data)});
}

static void from_peer(struct world *w, const struct happens *e)
{
    shard_step(w, e->a,
               (struct ts_event){.kind = TS_PEER_MSG,
                                 .u.other = {.shard = shard_name(e->b), .bytes = letter_bytes(e->letter)}});
}

/* What goes to one producer in one step is one message, as the shell sends it. */
static void to_producer(struct world *w, uint32_t at, const struct ts_effect *fx)
{
    struct place *p = &w->place[fx->peer];
    struct bytes data = ts_effect_data(&w->shard[at].fx, fx);
    if (!p->out.len)
        w->told[w->ntold++] = fx->peer;
    put_u8(&p->out, (uint8_t)fx->kind);
    if (fx->kind == TS_FX_GRANT) {
        buf_add(&p->out, data.data, data.len);
        return;
    }
    put_id(&p->out, fx->job);
    if (fx->kind == TS_FX_REVOKE)
        put_id(&p->out, fx->task);
}

static void producers_told(struct world *w)
{
    for (uint32_t i = 0; i < w->ntold; i++) {
        struct place *p = &w->place[w->told[i]];
        happen(
            w, p->latency_us,
            (struct happens){
                .kind = AT_GRANTS, .a = w->told[i], .n = p->life, .letter = letter_of(buf_bytes(&p->out))});
        w->to_producers += measuring(w);
        buf_clear(&p->out);
    }
    w->ntold = 0;
}

/* ---- Jobs ---- */

/* Every leaf counts exactly once: their numbers add up, and so many tasks were executed as the tree has. */
static void job_done(struct world *w, const struct ts_effect *fx)
{
    struct ts_job_info info;
    struct job_run *j = &w->job[fx->job.lo - 1];
    if (!ts_job_find(w->shard[0].ts, fx->job, &info) || info.state != TS_JOB_DONE)
        broken(w, "a job did not end well");
    struct reader r = reader_of(info.result);
    cx_value v = get_value(&r);
    if (v.type != CX_I64 || v.as.i64 != w->leaves * (w->leaves - 1) / 2)
        broken(w, "the leaves do not add up");
    if (info.executed != tree_tasks(w->leaves))
        broken(w, "tasks were executed, but not counted, or counted twice");
    must(!j->done_us);
    threads_change(w, 0);
    j->done_us = w->now;
    w->done++;
}

static void job_submit(struct world *w, uint32_t i)
{
    struct buf args = {0};
    struct job_run *j = &w->job[i];
    j->id = (struct id){5, i + 1};
    put_value(&args, cx_v_i64(0));
    put_value(&args, cx_v_i64(w->leaves));
    struct ts_submit s = {.job = j->id,
                          .modules = 1,
                          .module = {{.arch = "x86_64"}},
                          .functions = bytes_str("node,leaf"),
                          .fn = FN_NODE,
                          .nargs = 2,
                          .args = buf_bytes(&args),
                          .owner = bytes_str("ann")};
    shard_step(w, 0, (struct ts_event){.kind = TS_SUBMIT, .peer = CLIENT, .req = 1, .u.submit = &s});
    shard_step(w, 0, (struct ts_event){.kind = TS_WATCH, .peer = CLIENT, .req = 2, .job = j->id});
    buf_free(&args);
}

static void shard_effect(struct world *w, uint32_t at, const struct ts_effect *fx)
{
    switch (fx->kind) {
    case TS_FX_LOG:
        logged(w, at, fx);
        break;
    case TS_FX_GRANT:
    case TS_FX_REVOKE:
    case TS_FX_JOB_GONE:
        to_producer(w, at, fx);
        break;
    case TS_FX_PEER:
        to_peer(w, at, fx);
        break;
    case TS_FX_RESULT:
        job_done(w, fx);
        break;
    case TS_FX_FAULT:
    case TS_FX_PEER_FAULT:
        broken(w, "an honest peer is at fault");
    case TS_FX_JOB: /* goes with its first grant */
    case TS_FX_GUEST:
    case TS_FX_REPLY:
    case TS_FX_PROGRESS:
    case TS_FX_BOUND:
    case TS_FX_HUNGRY:
        break;
    }
}

static void shard_effects(struct world *w, uint32_t at)
{
    struct ts_effects *fx = &w->shard[at].fx;
    for (size_t i = 0; i < fx->n; i++)
        shard_effect(w, at, &fx->fx[i]);
    producers_told(w);
}

/* ---- Producers ---- */

static void begin(struct world *w, uint32_t at)
{
    struct place *p = &w->place[at];
    while (p->busy < p->threads) {
        struct run *next = NULL;
        for (struct run *r = p->run; r < p->run + RUNS_MAX; r++)
            if (r->number && !r->begun && (!next || r->number < next->number))
                next = r;
        if (!next)
            return;
        next->begun = true;
        p->busy++;
        happen(w, task_us(&next->grant, next->lo),
               (struct happens){.kind = AT_DONE, .a = at, .b = (uint32_t)(next - p->run), .n = next->number});
    }
}

static void granted(struct world *w, struct place *p, struct reader *in)
{
    struct run *r = p->run;
    while (r < p->run + RUNS_MAX && r->number)
        r++;
    must(r < p->run + RUNS_MAX && grant_get(in, &r->grant));
    struct reader values = reader_of(r->grant.values);
    r->lo = get_value(&values).as.i64;
    r->n = get_value(&values).as.i64;
    r->begun = false;
    r->number = ++w->next_run;
}

/* A task that is done elsewhere is not begun; one that runs goes on, in vain. At a job's end it is killed. */
static void withdrawn(struct place *p, enum ts_effect_kind kind, struct reader *in)
{
    struct id job = get_id(in), task = {0};
    if (kind == TS_FX_REVOKE)
        task = get_id(in);
    for (struct run *r = p->run; r < p->run + RUNS_MAX; r++) {
        if (!r->number || !id_equal(r->grant.job, job))
            continue;
        if (kind == TS_FX_REVOKE && (r->begun || !id_equal(r->grant.task, task)))
            continue;
        p->busy -= r->begun;
        r->number = 0;
    }
}

static void producer_hears(struct world *w, const struct happens *e)
{
    struct place *p = &w->place[e->a];
    if (!p->in || p->life != e->n)
        return;
    for (struct reader in = reader_of(letter_bytes(e->letter)); reader_more(&in);) {
        enum ts_effect_kind kind = get_u8(&in);
        if (kind == TS_FX_GRANT)
            granted(w, p, &in);
        else
            withdrawn(p, kind, &in);
    }
    begin(w, e->a);
}

static void run_done(struct world *w, const struct happens *e)
{
    struct place *p = &w->place[e->a];
    struct run *r = &p->run[e->b];
    if (r->number != e->n)
        return;
    buf_clear(&w->body);
    buf_clear(&w->batch);
    if (r->grant.fn == FN_NODE)
        put_node(&w->body, r->lo, r->n);
    else
        put_set(&w->body, (struct ref){.inherited = true}, cx_v_i64(r->lo), (struct ref){0});
    commit_put(&w->batch, &(struct commit){.kind = COMMIT_DONE,
                                           .job = r->grant.job,
                                           .task = r->grant.task,
                                           .hash = r->grant.hash,
                                           .elapsed_ns = task_us(&r->grant, r->lo) * 1000,
                                           .executed = 1,
                                           .body = buf_bytes(&w->body)});
    w->leaves_run += r->grant.fn == FN_LEAF;
    w->from_producers += measuring(w);
    happen(w, p->latency_us,
           (struct happens){.kind = AT_COMMITS, .a = e->a, .letter = letter_of(buf_bytes(&w->batch))});
    r->number = 0;
    p->busy--;
    begin(w, e->a);
}

/* It dials: TCP, TLS and the stream are four ways. */
static void producer_comes(struct world *w, uint32_t at)
{
    struct place *p = &w->place[at];
    p->in = true;
    p->life++;
    p->shard = (uint32_t)chance(w, w->shards);
    p->threads = 1 + (uint32_t)chance(w, THREADS_MAX);
    p->latency_us = 1000 + chance(w, 49000);
    threads_change(w, p->threads);
    happen(w, 4 * p->latency_us, (struct happens){.kind = AT_JOINED, .a = at, .n = p->life});
    happen(w, exponential(w, LIFE_US), (struct happens){.kind = AT_GO, .a = at});
}

/* It asks for a task that runs and one that waits, a thread, as producer/core does of long tasks. */
static void producer_joins(struct world *w, const struct happens *e)
{
    struct place *p = &w->place[e->a];
    if (!p->in || p->life != e->n)
        return;
    shard_step(w, p->shard,
               (struct ts_event){.kind = TS_PRODUCER_JOINED,
                                 .peer = e->a,
                                 .u.joined = {.name = "p", .arch = "x86_64", .threads = p->threads}});
    shard_step(w, p->shard,
               (struct ts_event){.kind = TS_PRODUCER_WINDOW, .peer = e->a, .u.window = 2 * p->threads});
}

/* What it was running is lost. One in four says nothing. */
static void producer_goes(struct world *w, uint32_t at)
{
    struct place *p = &w->place[at];
    threads_change(w, -(int64_t)p->threads);
    p->in = false;
    w->lost += measuring(w) ? p->busy : 0;
    p->busy = 0;
    for (uint32_t i = 0; i < RUNS_MAX; i++)
        p->run[i].number = 0;
    happen(w, chance(w, 4) ? p->latency_us : SILENCE_US, (struct happens){.kind = AT_MISSED, .a = at});
}

static void producer_missed(struct world *w, uint32_t at)
{
    shard_step(w, w->place[at].shard, (struct ts_event){.kind = TS_PRODUCER_LEFT, .peer = at});
    happen(w, exponential(w, AWAY_US), (struct happens){.kind = AT_COME, .a = at});
}

/* ---- From beginning to end ---- */

static void take(struct world *w, struct happens *e)
{
    switch (e->kind) {
    case AT_TICK:
        shard_step(w, e->a, (struct ts_event){.kind = TS_TICK});
        break;
    case AT_FLUSH:
        shard_flush(w, e->a);
        break;
    case AT_HELD:
        shard_step(w, e->a, (struct ts_event){.kind = TS_HELD, .u.lsn = e->n});
        break;
    case AT_PEER:
        from_peer(w, e);
        break;
    case AT_COME:
        producer_comes(w, e->a);
        break;
    case AT_JOINED:
        producer_joins(w, e);
        break;
    case AT_GRANTS:
        producer_hears(w, e);
        break;
    case AT_DONE:
        run_done(w, e);
        break;
    case AT_COMMITS:
        shard_step(w, w->place[e->a].shard,
                   (struct ts_event){.kind = TS_COMMITS, .peer = e->a, .u.batch = letter_bytes(e->letter)});
        break;
    case AT_GO:
        producer_goes(w, e->a);
        break;
    case AT_MISSED:
        producer_missed(w, e->a);
        break;
    }
    free(e->letter);
}

static void world_until(struct world *w, uint64_t until_us)
{
    while (w->events && w->heap[0].at_us <= until_us) {
        struct happens e = next_event(w);
        w->now = e.at_us;
        take(w, &e);
    }
    w->now = until_us;
}

static void shards_open(struct world *w)
{
    for (uint32_t i = 0; i < w->shards; i++) {
        struct ts_config config = {
            .seed = 1, .shard = shard_name(i), .steal = TS_STEAL_LATENCY, .gather_us = TS_GATHER_US};
        w->shard[i].ts = ts_new(&config);
    }
    for (uint32_t a = 0; a < w->shards; a++)
        for (uint32_t b = 0; b < w->shards; b++)
            if (a != b)
                shard_step(
                    w, a,
                    (struct ts_event){.kind = TS_PEER_UP,
                                      .u.other = {.shard = shard_name(b), .rtt_us = 2 * SHARD_ONE_US}});
}

static void world_open(struct world *w, uint32_t producers, uint32_t pairs, int64_t leaves)
{
    *w = (struct world){
        .rng = producers, .now = SECOND, .places = producers, .shards = 2 * pairs, .leaves = leaves};
    w->place = calloc(w->places, sizeof *w->place);
    w->told = calloc(w->places, sizeof *w->told);
    w->shard = calloc(w->shards, sizeof *w->shard);
    must(w->place && w->told && w->shard);
    shards_open(w);
    for (uint32_t i = 0; i < w->places; i++)
        happen(w, chance(w, SECOND), (struct happens){.kind = AT_COME, .a = i});
}

static void world_close(struct world *w)
{
    for (uint32_t i = 0; i < w->shards; i++) {
        ts_check(w->shard[i].ts);
        ts_free(w->shard[i].ts);
        ts_effects_free(&w->shard[i].fx);
    }
    for (uint32_t i = 0; i < w->places; i++)
        buf_free(&w->place[i].out);
    for (uint32_t i = 0; i < w->events; i++)
        free(w->heap[i].letter);
    buf_free(&w->body);
    buf_free(&w->batch);
    free(w->heap);
    free(w->place);
    free(w->told);
    free(w->shard);
}

/* Work of all leaves, and of the tasks that fan out. */
static double work_s(const struct world *w)
{
    uint64_t us = JOBS * (tree_tasks(w->leaves) - (uint64_t)w->leaves) * NODE_US;
    for (uint32_t i = 0; i < JOBS; i++)
        for (int64_t k = 0; k < w->leaves; k++)
            us += task_us(&(struct grant){.job = w->job[i].id, .fn = FN_LEAF}, k);
    return (double)us / 1e6;
}

#endif
