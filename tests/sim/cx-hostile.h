/* Producers that lie: nonsense, forgeries, and work of another life of the server. */
#ifndef TESTS_SIM_CX_HOSTILE_H
#define TESTS_SIM_CX_HOSTILE_H

#include "tests/sim/cx-producer.h"

static void garbage(struct world *w, struct buf *b)
{
    for (uint64_t n = 1 + chance(w, 40); n; n--)
        put_u8(b, (uint8_t)(chance(w, 4) ? chance(w, 8) : chance(w, 256)));
}

static bool decodes(struct bytes body)
{
    struct reader r = reader_of(body);
    struct op op;
    while (op_get(&r, &op))
        ;
    return !r.bad;
}

/* A commit for a task that this producer holds, with a body that ends in nonsense. Once in a hundred thousand
 * times the nonsense makes sense, and needs more of it. */
static struct buf malformed(struct world *w, const struct grant *g)
{
    struct buf body = {0};
    put_name(&body, 0, 1);
    garbage(w, &body);
    put_u8(&body, 200);
    if (decodes(buf_bytes(&body)))
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

/* A grant or a commit on its way makes a forgery a commit like any other. */
static bool something_under_way(const struct world *w, const struct producer_sim *p)
{
    for (uint32_t i = 0; i < w->heap.n; i++) {
        const struct event *e = heap_event(&w->heap, w->heap.moment[i].slot);
        if ((e->kind == AT_GRANT || e->kind == AT_ARRIVE) && e->a == p - w->producer)
            return true;
    }
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
            if (r->number && id_equal(r->task, g.task))
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

#endif
