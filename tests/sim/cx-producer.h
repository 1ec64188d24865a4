/* Honest producers: what they are granted they run, now and then with an accident, and they come and go. */
#ifndef TESTS_SIM_CX_PRODUCER_H
#define TESTS_SIM_CX_PRODUCER_H

#include "tests/sim/cx-server.h"

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
    r->job = g.job;
    r->task = g.task;
    if (!(p->known >> (job_of(w, g.job) - w->job) & 1))
        broken(w, "a grant of a job that the producer was not told of");
    for (struct run *o = p->run; o < p->run + RUNNING_MAX; o++)
        if (o != r && o->number && id_equal(o->task, g.task) && id_equal(o->job, g.job))
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

#endif
