/* A simulated network round one task server core: producers, consumers, delays, faults, a virtual clock.
 *
 * One seed decides everything. Connections keep their order and lose what is on the way when they break;
 * across connections messages overtake each other. After `heal_us` no more faults happen, and every job must
 * end. */
#ifndef TESTS_SIM_WORLD_H
#define TESTS_SIM_WORLD_H

#include "cx/error.h"
#include "taskserver/core/ts.h"
#include "tests/sim/work.h"

enum {
    JOBS_MAX = 8,
    PRODUCERS_MAX = 8,
    RUNS_WANTED_MAX = 6,
    RUNNING_MAX = 64,
    PEERS = 4096,
    HARMED_MAX = 256
};

enum happening {
    AT_HELD, /* the log up to u64 is held */
    AT_TICK,
    AT_JOIN,     /* producer a connects */
    AT_SEND,     /* client a: whatever its job needs next */
    AT_ARRIVE,   /* a message of producer a, session u64, reaches the server */
    AT_GRANT,    /* a grant reaches producer a, session u64 */
    AT_REVOKE,   /* task reaches producer a, session u64 */
    AT_GONE,     /* job reaches producer a, session u64 */
    AT_DONE,     /* producer a: the run with number u64 is finished */
    AT_MISCHIEF, /* something goes wrong */
    AT_NOTICE,   /* the server notices that session u64 of producer a is dead */
};

struct event {
    uint64_t at_us, order;
    enum happening kind;
    uint32_t a;
    uint64_t u64;
    enum ts_event_kind sent; /* ARRIVE */
    struct id job, task;
    struct buf data;
};

struct run {
    uint64_t number; /* 0: free */
    struct buf grant;
    struct buf commit; /* decided when it starts */
    bool told;         /* finished while disconnected: kept until the next session */
};

struct producer_sim {
    uint32_t peer; /* 0: not connected */
    uint64_t session;
    uint64_t last_in, last_out; /* arrival times, so that a connection keeps its order */
    struct run run[RUNNING_MAX];
    uint32_t window;
    uint64_t known; /* bit j: told of job j in this session */
    uint32_t slowness;
    bool crashes, hangs, lies;
};

struct job_sim {
    struct id id;
    struct buf args;
    uint32_t fn;
    struct ts_submit submit;
    /* what must come out */
    bool fails, exact;
    const char *reason;
    struct mval value;
    uint64_t executed;
    /* what the client knows */
    uint64_t cancel_us; /* 0: never */
    bool acked, cancelled, answered, gone;
    uint64_t answer_hash;
    uint32_t peer;
};

struct world {
    uint64_t seed, rng;
    uint64_t now, heal_us, order;
    struct event *heap;
    uint32_t events, cap;
    struct ts_config config;
    struct ts *ts;
    struct ts_effects fx;
    struct buf log; /* records: length, data */
    uint64_t records, held;
    uint64_t tick_us; /* of the TICK that is under way */
    uint64_t incarnation;
    uint32_t next_peer;
    uint64_t next_run;
    bool check_all, tight;
    struct job_sim job[JOBS_MAX];
    uint32_t jobs;
    struct producer_sim producer[PRODUCERS_MAX];
    uint32_t producers;
    struct {
        struct id job, task;
        uint32_t times;
    } harmed[HARMED_MAX]; /* tasks that were crashed for no reason: not often enough to be poison */
    uint32_t harms;
    uint64_t steps;
};

static void broken(const struct world *w, const char *what)
{
    fprintf(stderr, "seed %llu at %llu us: %s\n", (unsigned long long)w->seed, (unsigned long long)w->now,
            what);
    abort();
}

static uint64_t chance(struct world *w, uint64_t below)
{
    w->rng = mix(w->rng, 1);
    return w->rng % below;
}
static bool one_in(struct world *w, uint64_t n)
{
    return chance(w, n) == 0;
}
static bool healed(const struct world *w)
{
    return w->now >= w->heal_us;
}

/* ---- Events of the simulation ---- */

static bool event_before(const struct event *a, const struct event *b)
{
    return a->at_us < b->at_us || (a->at_us == b->at_us && a->order < b->order);
}

static void happen(struct world *w, uint64_t after_us, struct event e)
{
    e.at_us = w->now + after_us;
    e.order = w->order++;
    w->heap = grown(w->heap, &w->cap, w->events, sizeof *w->heap);
    uint32_t i = w->events++;
    for (; i && event_before(&e, &w->heap[(i - 1) / 2]); i = (i - 1) / 2)
        w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = e;
}

static struct event next_event(struct world *w)
{
    struct event first = w->heap[0], last = w->heap[--w->events];
    uint32_t i = 0;
    for (uint32_t c; (c = 2 * i + 1) < w->events; i = c) {
        if (c + 1 < w->events && event_before(&w->heap[c + 1], &w->heap[c]))
            c++;
        if (!event_before(&w->heap[c], &last))
            break;
        w->heap[i] = w->heap[c];
    }
    w->heap[i] = last;
    return first;
}

static struct job_sim *job_of(struct world *w, struct id id)
{
    for (uint32_t i = 0; i < w->jobs; i++)
        if (id_equal(w->job[i].id, id))
            return &w->job[i];
    broken(w, "an effect for a job that nobody submitted");
    return NULL;
}

static struct producer_sim *producer_of(struct world *w, uint32_t peer)
{
    for (uint32_t i = 0; i < w->producers; i++)
        if (w->producer[i].peer == peer)
            return &w->producer[i];
    return NULL;
}

/* ---- The server ---- */

static void keep_record(void *ctx, struct bytes record)
{
    struct buf *b = ctx;
    put_u64(b, record.len);
    buf_add(b, record.data, record.len);
}

static uint64_t record_sum(struct bytes snapshot, uint64_t *n)
{
    struct reader r = reader_of(snapshot);
    uint64_t sum = 0;
    for (*n = 0; reader_more(&r); ++*n) {
        struct bytes record = get_raw(&r, get_u64(&r));
        sum += hash64(record.data, record.len, 7);
    }
    return sum;
}

/* The durable state as one number, whatever the order of its tables. */
static uint64_t state_sum(const struct ts *ts)
{
    struct buf b = {0};
    uint64_t n;
    ts_snapshot(ts, keep_record, &b);
    uint64_t sum = record_sum(buf_bytes(&b), &n);
    buf_free(&b);
    return sum + n;
}

static struct ts *replayed(struct world *w, struct bytes log, uint64_t records)
{
    struct ts *ts = ts_new(&w->config);
    struct reader r = reader_of(log);
    for (uint64_t i = 0; i < records && reader_more(&r); i++) {
        struct bytes record = get_raw(&r, get_u64(&r));
        if (!ts_replay(ts, record, i + 1))
            broken(w, "a record of the log does not fit when it is replayed");
    }
    return ts;
}

static void compare_replay(struct world *w)
{
    struct ts *again = replayed(w, buf_bytes(&w->log), UINT64_MAX);
    ts_check(again);
    if (state_sum(again) != state_sum(w->ts))
        broken(w, "the replayed log gives another state");
    struct buf snap = {0};
    ts_snapshot(w->ts, keep_record, &snap);
    struct ts *copy = replayed(w, buf_bytes(&snap), UINT64_MAX);
    ts_check(copy);
    if (state_sum(copy) != state_sum(w->ts))
        broken(w, "the snapshot gives another state");
    buf_free(&snap);
    ts_free(copy);
    ts_free(again);
}

static void effects(struct world *w);

static void server_step(struct world *w, struct ts_event e)
{
    e.now_us = w->now;
    ts_effects_clear(&w->fx);
    ts_step(w->ts, &e, &w->fx);
    if (w->check_all || w->steps++ % 256 == 0)
        ts_check(w->ts);
    uint64_t logged = w->records;
    effects(w);
    if (w->records > logged)
        happen(w, one_in(w, 8) ? chance(w, 50000) : chance(w, 500),
               (struct event){.kind = AT_HELD, .u64 = w->records, .task.hi = w->incarnation});
    uint64_t due = ts_due(w->ts);
    if (due != UINT64_MAX && (w->tick_us <= w->now || due < w->tick_us)) {
        w->tick_us = due > w->now ? due : w->now + 1;
        happen(w, w->tick_us - w->now, (struct event){.kind = AT_TICK});
    }
}

static void expect_fault(struct world *w)
{
    for (size_t i = 0; i < w->fx.n; i++)
        if (w->fx.fx[i].kind == TS_FX_FAULT)
            return;
    broken(w, "malformed or forged input was not refused");
}

/* ---- Producers: messages ---- */

static void send(struct world *w, struct producer_sim *p, enum ts_event_kind kind, struct buf data)
{
    uint64_t at = w->now + 20 + chance(w, one_in(w, 10) ? 20000 : 300);
    at = at > p->last_out ? at : p->last_out;
    p->last_out = at;
    happen(w, at - w->now,
           (struct event){.kind = AT_ARRIVE,
                          .a = (uint32_t)(p - w->producer),
                          .u64 = p->session,
                          .sent = kind,
                          .data = data});
}

static void deliver(struct world *w, struct producer_sim *p, struct event e)
{
    uint64_t at = w->now + 20 + chance(w, one_in(w, 10) ? 20000 : 300);
    at = at > p->last_in ? at : p->last_in;
    p->last_in = at;
    e.a = (uint32_t)(p - w->producer);
    e.u64 = p->session;
    happen(w, at - w->now, e);
}

static struct grant run_grant(const struct run *r)
{
    struct grant g;
    struct reader in = reader_of(buf_bytes(&r->grant));
    must(grant_get(&in, &g));
    return g;
}

static void run_free(struct run *r)
{
    buf_free(&r->grant);
    buf_free(&r->commit);
    *r = (struct run){0};
}

/* Whether a task may be harmed for no reason of its own once more, without becoming poison. */
static bool may_harm(struct world *w, const struct grant *g)
{
    uint32_t i = 0;
    while (i < w->harms && !(id_equal(w->harmed[i].job, g->job) && id_equal(w->harmed[i].task, g->task)))
        i++;
    if (i == HARMED_MAX || w->harmed[i].times == TS_POISON_CRASHES - 1)
        return false;
    w->harmed[i].job = g->job;
    w->harmed[i].task = g->task;
    w->harmed[i].times++;
    w->harms += i == w->harms;
    return true;
}

/* What running the grant gives, as a commit record; `harm` makes the runner crash. */
static struct buf execute(struct world *w, const struct grant *g, bool harm)
{
    struct machine m = {.loose = one_in(w, 4)};
    struct buf body = {0}, out = {0};
    uint64_t most = m.loose || g->budget_us == 0 ? 1 : 1 + chance(w, 40);
    machine_start(&m, g->fn, g->nslots, g->values);
    machine_run(&m, most);
    bool crashed = m.crashed || harm;
    if (crashed)
        buf_add(&body, "killed by signal 9", 18);
    else
        machine_commit(&m, &body);
    struct commit c = {.kind = crashed ? COMMIT_CRASHED : COMMIT_DONE,
                       .job = g->job,
                       .task = g->task,
                       .hash = g->hash,
                       .elapsed_ns = chance(w, 2000000),
                       .executed = m.executed,
                       .body = buf_bytes(&body)};
    commit_put(&out, &c);
    buf_free(&body);
    machine_free(&m);
    return out;
}

static struct buf record_of(const struct grant *g, enum commit_kind kind, struct bytes body)
{
    struct buf out = {0};
    struct commit c = {.kind = kind, .job = g->job, .task = g->task, .hash = g->hash, .body = body};
    commit_put(&out, &c);
    return out;
}

static void finish(struct world *w, struct producer_sim *p, struct run *r)
{
    struct buf again = {0};
    if (!p->peer) {
        r->told = true; /* sent when it is connected again */
        return;
    }
    if (!healed(w) && one_in(w, 12))
        buf_add(&again, r->commit.data, r->commit.len);
    struct buf commit = r->commit;
    r->commit = (struct buf){0};
    bool done = commit.data[0] == COMMIT_DONE;
    send(w, p, TS_COMMITS, commit);
    if (again.len && done)
        send(w, p, TS_COMMITS, again); /* a retry of what arrived */
    else
        buf_free(&again);
    run_free(r);
}

static void granted(struct world *w, struct producer_sim *p, struct buf *data)
{
    struct run *r = p->run;
    while (r < p->run + RUNNING_MAX && r->number)
        r++;
    if (r == p->run + RUNNING_MAX)
        broken(w, "a producer was granted far more than its window");
    *r = (struct run){.number = ++w->next_run, .grant = *data};
    *data = (struct buf){0};
    struct grant g = run_grant(r);
    if (!(p->known >> (job_of(w, g.job) - w->job) & 1))
        broken(w, "a grant of a job that the producer was not told of");
    for (struct run *o = p->run; o < p->run + RUNNING_MAX; o++)
        if (o != r && o->number && id_equal(run_grant(o).task, g.task) && id_equal(run_grant(o).job, g.job))
            broken(w, "the same task was granted twice to one producer");
    if (!healed(w) && one_in(w, 200)) {
        send(w, p, TS_COMMITS, record_of(&g, COMMIT_RETURNED, (struct bytes){0}));
        run_free(r);
        return;
    }
    r->commit = execute(w, &g, !healed(w) && p->crashes && one_in(w, 10) && may_harm(w, &g));
    if (!healed(w) && p->hangs && one_in(w, 15))
        return; /* never answered */
    uint64_t takes = (1 + chance(w, 2000)) * p->slowness;
    happen(w, takes, (struct event){.kind = AT_DONE, .a = (uint32_t)(p - w->producer), .u64 = r->number});
}

/* ---- Producers: mischief ---- */

static void garbage(struct world *w, struct buf *b)
{
    for (uint64_t n = 1 + chance(w, 40); n; n--)
        put_u8(b, (uint8_t)(chance(w, 4) ? chance(w, 8) : chance(w, 256)));
}

/* A commit for a task that this producer holds, with a body that ends in nonsense. */
static struct buf malformed(struct world *w, const struct grant *g)
{
    struct buf body = {0};
    put_name(&body, 0, 1);
    garbage(w, &body);
    put_u8(&body, 200);
    struct buf out = record_of(g, COMMIT_DONE, buf_bytes(&body));
    buf_free(&body);
    return out;
}

/* A sound commit for a task of this name and another content: from another life of the server. */
static struct buf stale(struct world *w, struct grant g)
{
    struct buf body = {0};
    g.hash ^= 1 + chance(w, 1000);
    put_set(&body, (struct ref){.inherited = true}, cx_v_i64((int64_t)chance(w, 1000)), (struct ref){0});
    struct buf out = record_of(&g, COMMIT_DONE, buf_bytes(&body));
    buf_free(&body);
    return out;
}

static struct run *some_run(struct world *w, struct producer_sim *p)
{
    struct run *r = &p->run[chance(w, RUNS_WANTED_MAX)];
    return r->number ? r : NULL;
}

static void producer_down(struct world *w, struct producer_sim *p, bool forgets);

/* A grant or a commit on its way makes a forgery a commit like any other. */
static bool something_under_way(const struct world *w, const struct producer_sim *p)
{
    for (uint32_t i = 0; i < w->events; i++)
        if ((w->heap[i].kind == AT_GRANT || w->heap[i].kind == AT_ARRIVE) && w->heap[i].a == p - w->producer)
            return true;
    return false;
}

/* Commits for tasks that are gone, and what counts as such. */
static uint64_t duplicates(const struct world *w, struct id job)
{
    struct ts_job_info info;
    return ts_job_find(w->ts, job, &info) ? info.duplicates : UINT64_MAX;
}

/* Input that is refused must change nothing. The stream is closed after it. */
static void hostile(struct world *w, struct producer_sim *p)
{
    struct buf data = {0};
    struct producer_sim *o = &w->producer[chance(w, w->producers)];
    struct run *mine = some_run(w, p), *theirs = o != p && o->peer ? some_run(w, o) : NULL;
    struct grant g;
    if (mine && one_in(w, 2)) {
        g = run_grant(mine);
        data = stale(w, g);
        server_step(w, (struct ts_event){.kind = TS_COMMITS, .peer = p->peer, .u.batch = buf_bytes(&data)});
        buf_free(&data);
        return;
    }
    bool forged = false;
    if (mine && (g = run_grant(mine), may_harm(w, &g))) {
        data = malformed(w, &g);
    } else if (theirs && theirs->commit.len && !something_under_way(w, p)) {
        g = run_grant(theirs);
        for (struct run *r = p->run; r < p->run + RUNNING_MAX; r++)
            if (r->number && id_equal(run_grant(r).task, g.task))
                return; /* not a forgery: it holds that task, too */
        buf_add(&data, theirs->commit.data, theirs->commit.len);
        forged = true;
    } else {
        g = (struct grant){0};
        put_u8(&data, 9);
        garbage(w, &data);
    }
    uint64_t before = state_sum(w->ts), records = w->records, gone = duplicates(w, g.job);
    server_step(w, (struct ts_event){.kind = TS_COMMITS, .peer = p->peer, .u.batch = buf_bytes(&data)});
    if (g.fn == 0 || (duplicates(w, g.job) == gone && gone != UINT64_MAX))
        expect_fault(w);
    if (w->records == records && state_sum(w->ts) != before)
        broken(w, "refused input changed the state");
    if (w->records != records)
        broken(w, forged ? "a forged commit reached the log" : "refused input reached the log");
    buf_free(&data);
    if (p->peer)
        producer_down(w, p, false);
}

/* The connection breaks; the server notices at once or later. `forgets`: the machine is gone with all it
 * held. */
static void producer_down(struct world *w, struct producer_sim *p, bool forgets)
{
    uint32_t a = (uint32_t)(p - w->producer);
    if (p->peer)
        happen(w, one_in(w, 2) ? 0 : chance(w, 100000),
               (struct event){.kind = AT_NOTICE, .a = a, .u64 = p->peer, .task.hi = w->incarnation});
    p->peer = 0;
    p->session++;
    for (struct run *r = p->run; forgets && r < p->run + RUNNING_MAX; r++)
        run_free(r);
    happen(w, 1000 + chance(w, 100000), (struct event){.kind = AT_JOIN, .a = a, .u64 = p->session});
}

static void producer_join(struct world *w, struct producer_sim *p)
{
    static const char *const names[] = {"p0", "p1", "p2", "p3", "p4", "p5", "p6", "p7"};
    uint32_t a = (uint32_t)(p - w->producer);
    p->peer = 1 + w->next_peer++ % (PEERS - 1);
    p->last_in = p->last_out = w->now;
    p->known = 0;
    server_step(w, (struct ts_event){.kind = TS_PRODUCER_JOINED,
                                     .peer = p->peer,
                                     .u.joined = {names[a], a % 3 == 2 ? "aarch64" : "x86_64", 1 + a % 4}});
    struct buf holds = {0};
    for (struct run *r = p->run; r < p->run + RUNNING_MAX; r++) {
        if (!r->number)
            continue;
        struct grant g = run_grant(r);
        put_id(&holds, g.job);
        put_id(&holds, g.task);
        put_u64(&holds, g.hash);
    }
    if (holds.len)
        send(w, p, TS_PRODUCER_HOLDS, holds);
    struct buf window = {0};
    put_u64(&window, p->window);
    send(w, p, TS_PRODUCER_WINDOW, window);
    for (struct run *r = p->run; r < p->run + RUNNING_MAX; r++)
        if (r->number && r->told)
            finish(w, p, r);
}

/* ---- Clients ---- */

/* Odd events now and then: somebody who may not, a second submission, a watcher that leaves. */
static void client_sends(struct world *w, struct job_sim *j)
{
    uint32_t peer = PEERS + (uint32_t)(j - w->job) * 16 + (uint32_t)chance(w, 4);
    struct ts_event e = {.peer = peer, .req = 1, .job = j->id, .u.owner = bytes_str("ann")};
    if (j->gone)
        return;
    happen(w, 20000 + chance(w, 200000), (struct event){.kind = AT_SEND, .a = (uint32_t)(j - w->job)});
    if (!j->acked || (!j->answered && one_in(w, 10))) {
        e.kind = TS_SUBMIT;
        e.u.submit = &j->submit;
    } else if (j->answered) {
        e.kind = TS_FORGET;
        e.req = 4;
    } else if (j->cancel_us && w->now >= j->cancel_us && !j->cancelled) {
        e.kind = TS_CANCEL;
        e.req = 3;
        j->cancelled = true;
    } else if (one_in(w, 10)) {
        e.kind = one_in(w, 2) ? TS_CLIENT_LEFT : TS_UNWATCH;
    } else if (one_in(w, 20)) {
        e.kind = TS_CANCEL;
        e.req = 5; /* must be refused */
        e.u.owner = bytes_str("bob");
    } else {
        e.kind = TS_WATCH;
        e.req = 2;
    }
    j->peer = peer;
    server_step(w, e);
}

static void client_replied(struct world *w, const struct ts_effect *fx)
{
    struct job_sim *j = job_of(w, fx->job);
    if (fx->lsn > w->held)
        broken(w, "a reply left before the log it depends on was held (law 8)");
    switch (fx->req) {
    case 1:
        if (fx->code == CX_EFULL && w->tight)
            return;
        if (fx->code != CX_OK)
            broken(w, "a submission was refused");
        j->acked = true;
        return;
    case 2:
        if (fx->code == CX_ENOTFOUND && !j->gone)
            broken(w, "a job that was acknowledged is lost (law 10)");
        return;
    case 3:
        if (fx->code != CX_OK)
            broken(w, "a cancel was refused");
        return;
    case 4:
        if (fx->code != CX_OK && fx->code != CX_ENOTFOUND)
            broken(w, "a forget was refused");
        j->gone = true;
        return;
    case 5:
        if (fx->code != CX_EAUTH)
            broken(w, "a stranger may cancel a job");
        return;
    default:
        broken(w, "a reply to nothing");
    }
}

static bool says(struct bytes text, const char *part)
{
    return memmem(text.data, text.len, part, strlen(part)) != NULL;
}

static void check_value(struct world *w, const struct job_sim *j, const struct ts_job_info *info)
{
    struct reader r = reader_of(info->result);
    struct mval v = mv_of(get_value(&r));
    if (j->fails)
        broken(w, "a job that must fail is done");
    if (r.bad || r.at != r.end || mv_hash(&v) != mv_hash(&j->value))
        broken(w, "a wrong result");
    if (j->exact && info->executed != j->executed)
        broken(w, "tasks were counted more or less than once (law 3)");
}

static void check_answer(struct world *w, struct job_sim *j, const struct ts_job_info *info)
{
    if (info->state == TS_JOB_DONE)
        check_value(w, j, info);
    else if (info->state == TS_JOB_CANCELLED && !j->cancelled)
        broken(w, "a job was cancelled by nobody");
    else if (info->state == TS_JOB_FAILED && !(w->tight && says(info->reason, "memory budget")) &&
             !(j->fails && says(info->reason, j->reason) && says(info->reason, "task ")))
        broken(w, "a job failed for no reason");
}

static void client_result(struct world *w, const struct ts_effect *fx)
{
    struct job_sim *j = job_of(w, fx->job);
    struct ts_job_info info;
    if (fx->lsn > w->held)
        broken(w, "a result left before the log it depends on was held (law 8)");
    if (!ts_job_find(w->ts, fx->job, &info) || info.state == TS_JOB_RUNNING)
        broken(w, "a result of a job that has not ended");
    check_answer(w, j, &info);
    uint64_t hash = hash64(info.result.data, info.result.len, info.state);
    if (j->answered && hash != j->answer_hash)
        broken(w, "a job was answered in two ways (law 10)");
    j->answered = true;
    j->answer_hash = hash;
}

static void client_progress(struct world *w, const struct ts_effect *fx)
{
    struct ts_job_info info;
    if (!ts_job_find(w->ts, fx->job, &info) || info.state != TS_JOB_RUNNING)
        broken(w, "progress of a job that is not running");
}

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
        struct grant g = run_grant(r);
        if (id_equal(g.job, e->job) && (e->kind == AT_GONE || id_equal(g.task, e->task)))
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

static void job_expect(struct world *w, struct job_sim *j, int64_t mode)
{
    struct machine m = {0};
    machine_start(&m, j->fn, 3, buf_bytes(&j->args));
    machine_run(&m, UINT64_MAX);
    j->fails = m.failed || m.crashed;
    j->reason = mode == MODE_FAILS ? "bad luck" : "crashed 3 times";
    j->executed = m.executed;
    j->exact = j->fn == W_NODE;
    if (!j->fails && (m.nout == 0 || !m.out[0].to.outer || m.out[0].to.index))
        broken(w, "the simulator's program gives no result");
    if (!j->fails)
        j->value = m.out[0].v;
    machine_free(&m);
}

static void job_plan(struct world *w, uint32_t i)
{
    struct job_sim *j = &w->job[i];
    bool search = one_in(w, 4);
    int64_t mode = search || !one_in(w, 5) ? MODE_SOUND : one_in(w, 2) ? MODE_FAILS : MODE_CRASHES;
    j->id = (struct id){w->seed + 1, i + 1};
    j->fn = search ? W_SEARCH : W_NODE;
    put_value(&j->args, cx_v_i64((int64_t)mix(w->rng, i)));
    put_value(&j->args,
              cx_v_i64(search ? (int64_t)chance(w, 6) : 1 + (int64_t)chance(w, one_in(w, 5) ? 1000 : 80)));
    put_value(&j->args, cx_v_i64(mode));
    j->submit = (struct ts_submit){.job = j->id,
                                   .modules = 1,
                                   .module = {{.arch = "x86_64"}},
                                   .fn = j->fn,
                                   .functions = bytes_str(WORK_FUNCTIONS),
                                   .nargs = 3,
                                   .args = buf_bytes(&j->args),
                                   .priority = (int32_t)chance(w, 2),
                                   .weight = (uint32_t)chance(w, 4),
                                   .owner = bytes_str("ann"),
                                   .label = bytes_str("sim")};
    if (one_in(w, 2)) {
        j->submit.modules = 2;
        memcpy(j->submit.module[1].arch, "aarch64", 8);
    }
    if (one_in(w, 8))
        j->cancel_us = 1 + chance(w, 500000);
    job_expect(w, j, mode);
    happen(w, chance(w, 300000), (struct event){.kind = AT_SEND, .a = i});
}

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
    *w = (struct world){.seed = seed, .rng = mix(seed, 42), .now = 1000000};
    w->check_all = one_in(w, 8);
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
    while (w->events) {
        struct event e = next_event(w);
        buf_free(&e.data);
    }
    for (uint32_t i = 0; i < w->jobs; i++)
        buf_free(&w->job[i].args);
    free(w->heap);
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
        must(w.events);
        struct event e = next_event(&w);
        w.now = e.at_us;
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
