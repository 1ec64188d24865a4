#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/must.h"
#include "consumer/local.h"

#define TICK_MAX_US 1000000

void local_wait(struct local *l, pthread_cond_t *cond, uint64_t until_us)
{
    struct timespec t = {(time_t)(until_us / 1000000), (long)(until_us % 1000000) * 1000};
    if (until_us == UINT64_MAX)
        pthread_cond_wait(cond, &l->lock);
    else
        pthread_cond_timedwait(cond, &l->lock, &t);
}

/* ---- Programs ---- */

struct program *program_find(struct local *l, struct id job)
{
    struct program *p = l->programs;
    while (p != NULL && !id_equal(p->job, job))
        p = p->next;
    return p;
}

static void program_free(struct local *l, struct program *p)
{
    struct program **at = &l->programs;
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    module_drop(p->module);
    free(p->input);
    free(p);
}

/* Running engines of the job are told to publish, so that they end soon; what they commit is dropped. */
void program_end(struct local *l, struct program *p)
{
    p->ended = true;
    atomic_fetch_add(&p->shared.hungry, 1);
    if (p->users == 0)
        program_free(l, p);
    else
        for (unsigned i = 0; i < l->workers; i++)
            if (l->worker[i].program == p)
                pthread_cond_signal(&l->worker[i].wake);
}

void programs_free(struct local *l)
{
    while (l->programs != NULL)
        program_free(l, l->programs);
}

/* ---- Effects ---- */

static struct worker *worker_of(struct local *l, uint32_t peer)
{
    must(peer >= 1 && peer <= l->workers);
    return &l->worker[peer - 1];
}

static void on_grant(struct local *l, const struct ts_effect *fx, struct bytes data)
{
    struct worker *w = worker_of(l, fx->peer);
    buf_add(&w->grants, data.data, data.len);
    pthread_cond_signal(&w->wake);
}

static void on_bound(struct local *l, const struct ts_effect *fx, struct bytes data)
{
    struct program *p = program_find(l, fx->job);
    (void)data;
    if (p != NULL)
        engine_shared_merge(&p->shared, fx->bound_kind, fx->bound);
}

static void on_hungry(struct local *l, const struct ts_effect *fx, struct bytes data)
{
    struct worker *w = worker_of(l, fx->peer);
    (void)data;
    if (w->program != NULL)
        atomic_fetch_add(&w->program->shared.hungry, 1);
}

static void on_reply(struct local *l, const struct ts_effect *fx, struct bytes data)
{
    if (!l->reply.wanted)
        return;
    l->reply.there = true;
    l->reply.code = fx->code;
    row_text(l->reply.text, sizeof l->reply.text, data);
}

static void on_result(struct local *l, const struct ts_effect *fx, struct bytes data)
{
    struct program *p = program_find(l, fx->job);
    (void)data;
    if (p != NULL && !p->ended)
        program_end(l, p);
    l->ends++;
    pthread_cond_broadcast(&l->changed);
}

static void on_log(struct local *l, const struct ts_effect *fx, struct bytes data)
{
    (void)data;
    l->logged = fx->lsn;
}

static void on_fault(struct local *l, const struct ts_effect *fx, struct bytes data)
{
    (void)l;
    fprintf(stderr, "local://: worker %u: %.*s\n", fx->peer, (int)data.len, (const char *)data.data);
    must(!"the core refuses what our own engine wrote");
}

static void (*const on_effect[])(struct local *, const struct ts_effect *, struct bytes) = {
    [TS_FX_GRANT] = on_grant, [TS_FX_BOUND] = on_bound, [TS_FX_HUNGRY] = on_hungry,
    [TS_FX_FAULT] = on_fault, [TS_FX_REPLY] = on_reply, [TS_FX_RESULT] = on_result,
    [TS_FX_LOG] = on_log,
};

static void step_once(struct local *l, struct ts_event *event)
{
    event->now_us = clock_us();
    ts_effects_clear(&l->fx);
    ts_step(l->ts, event, &l->fx);
    for (size_t i = 0; i < l->fx.n; i++) {
        const struct ts_effect *fx = &l->fx.fx[i];
        if (fx->kind < sizeof on_effect / sizeof on_effect[0] && on_effect[fx->kind] != NULL)
            on_effect[fx->kind](l, fx, ts_effect_data(&l->fx, fx));
    }
}

void local_step(struct local *l, struct ts_event *event)
{
    step_once(l, event);
    while (l->held < l->logged) {
        struct ts_event held = {.kind = TS_HELD, .u.lsn = l->logged};
        l->held = l->logged;
        step_once(l, &held);
    }
}

void local_ask(struct local *l, struct ts_event *event)
{
    event->peer = LOCAL_CLIENT;
    l->reply = (struct local_reply){.wanted = true};
    local_step(l, event);
    l->reply.wanted = false;
    must(l->reply.there);
}

/* ---- Workers ---- */

static void worker_drop_program(struct worker *w)
{
    struct program *p = w->program;
    if (p == NULL)
        return;
    engine_free(w->engine);
    w->engine = NULL;
    w->program = NULL;
    if (--p->users == 0 && p->ended)
        program_free(w->local, p);
}

static void worker_take_program(struct worker *w, struct program *p)
{
    struct engine_config c = {.module = p->module->table,
                              .input = bytes_of(p->input, p->input_len),
                              .shared = &p->shared,
                              .clock_ns = clock_ns,
                              .memory_max = (size_t)1 << 30};
    if (w->program == p)
        return;
    worker_drop_program(w);
    must(engine_new(&c, &w->engine) == 0);
    w->program = p;
    p->users++;
}

/* Runs one grant without the lock; a grant of a job that has ended meanwhile is dropped. */
static void worker_run(struct worker *w, const struct grant *g)
{
    struct local *l = w->local;
    struct buf commits = {0};
    struct program *p = program_find(l, g->job);
    if (p == NULL || p->ended)
        return;
    worker_take_program(w, p);
    pthread_mutex_unlock(&l->lock);
    engine_run(w->engine, g, &commits);
    pthread_mutex_lock(&l->lock);
    struct ts_event e = {.kind = TS_COMMITS, .peer = w->peer, .u.batch = buf_bytes(&commits)};
    local_step(l, &e);
    buf_free(&commits);
}

static void worker_run_all(struct worker *w)
{
    struct buf batch = w->grants;
    struct reader r = reader_of(buf_bytes(&batch));
    struct grant g;
    w->grants = (struct buf){0};
    while (!w->local->stopping && reader_more(&r)) {
        must(grant_get(&r, &g));
        worker_run(w, &g);
    }
    buf_free(&batch);
}

static void worker_rest(struct worker *w)
{
    struct local *l = w->local;
    uint64_t due = ts_due(l->ts), now = clock_us();
    if (w->program != NULL && w->program->ended)
        worker_drop_program(w);
    if (due <= now) {
        struct ts_event tick = {.kind = TS_TICK};
        local_step(l, &tick);
        due = ts_due(l->ts);
    }
    if (w->grants.len == 0 && !l->stopping)
        local_wait(l, &w->wake, due > now + TICK_MAX_US ? now + TICK_MAX_US : due);
}

void *worker_main(void *arg)
{
    struct worker *w = arg;
    struct local *l = w->local;
    pthread_mutex_lock(&l->lock);
    while (!l->stopping)
        if (w->grants.len > 0)
            worker_run_all(w);
        else
            worker_rest(w);
    worker_drop_program(w);
    pthread_mutex_unlock(&l->lock);
    return NULL;
}
