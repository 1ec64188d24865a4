/* A task server in miniature for the engine's tests: it keeps tasks by TaskID, grants the ready ones in
 * random order with random budgets, applies the commits as commit.h says, and stops when the job's value is
 * known. The clock is a counter that the test turns, so every run is repeatable from its seed. */
#ifndef TESTS_ENGINE_WORLD_H
#define TESTS_ENGINE_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/must.h"
#include "base/wellknown.h"
#include "producer/runner/engine.h"

struct where {
    struct id task; /* zero: the job's result */
    uint32_t slot;
};
struct held {
    cx_value v; /* bytes owned */
    struct where to;
};
struct world_task {
    struct id id;
    uint32_t fn, nslots, missing;
    bool done;
    struct where home;
    struct held *slot;
    bool *set;
};
struct world {
    struct world_task *task;
    size_t tasks, cap;
    size_t *ready, nready;
    uint32_t *index; /* by id, open addressing; 0: empty, else task + 1 */
    size_t index_cap;
    bool ended, failed;
    struct held result;
    char text[MESSAGE_TEXT_MAX + 1];
    uint64_t executed, grants, tasks_max_names;
    uint64_t random;
    int64_t best_min, best_max;
    uint32_t opts_seen;
};

/* What a run of a job is to be like. */
struct world_plan {
    const cx_module *module;
    struct bytes input;
    uint64_t seed;
    uint32_t budget_us; /* WORLD_RANDOM: another for each grant */
    size_t memory_max;
    bool restless; /* the hungry counter moves at random */
};
#define WORLD_RANDOM 0xfffffffeu

static uint64_t world_time, world_tick = 1000, world_random_state;
static struct engine_shared *world_shared;
static bool world_restless;

static uint64_t world_next(uint64_t *state)
{
    uint64_t x = *state += 0x9e3779b97f4a7c15u;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
    x = (x ^ x >> 27) * 0x94d049bb133111ebu;
    return x ^ x >> 31;
}

static uint64_t world_clock(void)
{
    world_time += world_next(&world_random_state) % world_tick;
    if (world_restless && world_next(&world_random_state) % 16 == 0)
        atomic_fetch_add(&world_shared->hungry, 1);
    return world_time;
}

static struct world_task *world_find(struct world *w, struct id id)
{
    for (size_t i = id.lo % (w->index_cap ? w->index_cap : 1); w->index_cap && w->index[i];
         i = (i + 1) % w->index_cap)
        if (id_equal(w->task[w->index[i] - 1].id, id))
            return &w->task[w->index[i] - 1];
    return NULL;
}

static void world_index(struct world *w, size_t task)
{
    size_t i = w->task[task].id.lo % w->index_cap;
    while (w->index[i])
        i = (i + 1) % w->index_cap;
    w->index[i] = (uint32_t)task + 1;
}

static void world_grow(struct world *w)
{
    w->cap = w->cap ? w->cap * 2 : 64;
    w->task = realloc(w->task, w->cap * sizeof *w->task);
    w->ready = realloc(w->ready, w->cap * sizeof *w->ready);
    w->index_cap = w->cap * 2;
    free(w->index);
    w->index = calloc(w->index_cap, sizeof *w->index);
    for (size_t i = 0; i < w->tasks; i++)
        world_index(w, i);
}

static struct held held_copy(struct held h)
{
    if (h.v.type == CX_BYTES) {
        void *p = malloc(h.v.len + 1);
        if (h.v.len)
            memcpy(p, h.v.as.bytes, h.v.len);
        h.v.as.bytes = p;
    }
    return h;
}

static void held_free(struct held *h)
{
    if (h->v.type == CX_BYTES)
        free((void *)(uintptr_t)h->v.as.bytes);
}

static void world_set(struct world *w, struct where to, struct held h);

static void world_complete(struct world *w, struct world_task *t)
{
    if (!fn_is_well_known(t->fn)) {
        w->ready[w->nready++] = (size_t)(t - w->task);
        return;
    }
    cx_value acc = wk_start(t->fn);
    struct buf joined = {0};
    for (uint32_t i = 0; i < t->nslots; i++)
        assert_true(wk_fold(t->fn, &acc, t->slot[i].v, &joined));
    struct held v = {.v = wk_finish(t->fn, acc, &joined)};
    t->done = true;
    world_set(w, t->home, v);
    buf_free(&joined);
}

static void world_set(struct world *w, struct where to, struct held h)
{
    if (id_is_zero(to.task)) {
        if (!w->ended)
            w->result = held_copy(h);
        w->ended = true;
        return;
    }
    struct world_task *t = world_find(w, to.task);
    assert_non_null(t);
    assert_true(t->done || t->nslots == 0 || to.slot < t->nslots || id_equal(to.task, id_root()));
    if (t->done || t->missing == 0 || t->set[to.slot])
        return;
    t->slot[to.slot] = held_copy(h);
    t->set[to.slot] = true;
    if (--t->missing == 0)
        world_complete(w, t);
}

static size_t world_add(struct world *w, struct id id, uint32_t fn, uint32_t nslots, struct where home)
{
    assert_null(world_find(w, id)); /* no two tasks have one name */
    if (w->tasks == w->cap)
        world_grow(w);
    struct world_task *t = &w->task[w->tasks];
    *t = (struct world_task){.id = id, .fn = fn, .nslots = nslots, .missing = nslots, .home = home};
    t->slot = calloc(nslots + 1, sizeof *t->slot);
    t->set = calloc(nslots + 1, sizeof *t->set);
    world_index(w, w->tasks);
    return w->tasks++;
}

/* What one commit refers to: names and inherited addresses. */
struct world_commit {
    struct id *name;
    size_t names, cap;
    struct where *inherited;
    size_t ninherited;
};

static struct where world_ref(struct world_commit *c, struct ref ref)
{
    if (ref.inherited) {
        assert_true(ref.index < c->ninherited);
        return c->inherited[ref.index];
    }
    assert_true(ref.index < c->names);
    return (struct where){c->name[ref.index], ref.slot};
}

static void world_name(struct world_commit *c, struct id id)
{
    if (c->names == c->cap) {
        c->cap = c->cap ? c->cap * 2 : 16;
        c->name = realloc(c->name, c->cap * sizeof *c->name);
    }
    c->name[c->names++] = id;
}

static void world_apply_task(struct world *w, struct world_commit *c, const struct op *op)
{
    assert_true(op->name < c->names);
    size_t at = world_add(w, c->name[op->name], op->fn, op->nslots, world_ref(c, op->to));
    struct world_task *t = &w->task[at];
    struct reader r = reader_of(op->values);
    struct op_value v;
    w->opts_seen |= op->flags;
    for (uint32_t i = 0; op_value_get(&r, op, &i, &v);) {
        struct held h = {.v = v.value};
        if (v.value.type == CX_ADDR)
            h.to = world_ref(c, v.ref);
        t->slot[v.slot] = held_copy(h);
        t->set[v.slot] = true;
        t->missing--;
    }
    assert_false(r.bad);
    if (t->missing == 0)
        world_complete(w, t);
}

static void world_apply_set(struct world *w, struct world_commit *c, const struct op *op)
{
    struct reader r = reader_of(op->values);
    struct op_value v;
    uint32_t i = 0;
    assert_true(op_value_get(&r, op, &i, &v));
    struct held h = {.v = v.value};
    if (v.value.type == CX_ADDR)
        h.to = world_ref(c, v.ref);
    world_set(w, world_ref(c, op->to), h);
}

/* Tasks first, then sets: as a server that applies a commit whole must. */
static void world_apply_ops(struct world *w, struct world_commit *c, struct bytes body, bool sets)
{
    struct reader r = reader_of(body);
    struct op op;
    while (op_get(&r, &op)) {
        if (op.kind == OP_NAME && !sets) {
            assert_true(op.name < c->names);
            world_name(c, id_child(c->name[op.name], op.child));
        } else if (op.kind == OP_TASK && !sets) {
            world_apply_task(w, c, &op);
        } else if (op.kind == OP_SET && sets) {
            world_apply_set(w, c, &op);
        } else if (op.kind == OP_FAIL && !sets) {
            memcpy(w->text, op.text.data, op.text.len);
            w->text[op.text.len] = 0;
            w->ended = w->failed = true;
        }
    }
    assert_false(r.bad);
}

/* The granted task's values, packed; its addresses go to c. */
static void world_pack(const struct world_task *t, struct buf *values, struct world_commit *c)
{
    c->inherited = calloc(t->nslots + 1, sizeof *c->inherited);
    c->inherited[c->ninherited++] = t->home;
    for (uint32_t i = 0; i < t->nslots; i++) {
        put_value(values, t->slot[i].v);
        if (t->slot[i].v.type == CX_ADDR)
            c->inherited[c->ninherited++] = t->slot[i].to;
    }
}

static uint32_t world_budget(struct world *w, const struct world_plan *plan)
{
    static const uint32_t budgets[] = {0, 0, 1, 2, 5, 20, 100, 1000, UINT32_MAX};
    if (plan->budget_us != WORLD_RANDOM)
        return plan->budget_us;
    return budgets[world_next(&w->random) % (sizeof budgets / sizeof budgets[0])];
}

static void world_grant(struct world *w, struct engine *e, const struct world_plan *plan)
{
    size_t pick = world_next(&w->random) % w->nready;
    size_t at = w->ready[pick];
    w->ready[pick] = w->ready[--w->nready];
    struct buf values = {0}, out = {0};
    struct world_commit wc = {0};
    world_pack(&w->task[at], &values, &wc);
    world_name(&wc, w->task[at].id);
    struct grant g = {.job = {1, 2}, .task = w->task[at].id, .hash = w->random, .fn = w->task[at].fn};
    g.budget_us = world_budget(w, plan);
    g.nslots = w->task[at].nslots;
    g.values = buf_bytes(&values);
    if (world_next(&w->random) % 8 == 0) { /* a run that is lost with its producer */
        engine_run(e, &g, &out);
        buf_clear(&out);
    }
    engine_run(e, &g, &out);
    struct reader r = reader_of(buf_bytes(&out));
    struct commit c;
    assert_true(commit_get(&r, &c) && r.at == r.end);
    assert_true(c.kind == COMMIT_DONE && id_equal(c.task, g.task) && id_equal(c.job, g.job) &&
                c.hash == g.hash);
    w->executed += c.executed;
    w->grants++;
    w->task[at].done = true;
    world_apply_ops(w, &wc, c.body, false);
    if (wc.names > w->tasks_max_names)
        w->tasks_max_names = wc.names;
    if (!w->failed)
        world_apply_ops(w, &wc, c.body, true);
    free(wc.name);
    free(wc.inherited);
    buf_free(&values);
    buf_free(&out);
}

static void world_free(struct world *w)
{
    for (size_t i = 0; i < w->tasks; i++) {
        for (uint32_t k = 0; k < w->task[i].nslots; k++)
            held_free(&w->task[i].slot[k]);
        free(w->task[i].slot);
        free(w->task[i].set);
    }
    free(w->task);
    free(w->ready);
    free(w->index);
    held_free(&w->result);
}

static uint32_t world_fn(const cx_module *m, const char *name)
{
    for (uint32_t i = 0; i < m->tasks; i++)
        if (strcmp(m->task[i].name, name) == 0)
            return FN_FIRST + i;
    fail_msg("no task %s", name);
    return 0;
}

/* Runs a job to its end; free the world afterwards. */
static void world_run(struct world *w, const struct world_plan *plan, const char *fn, uint32_t n,
                      const cx_value *args)
{
    struct engine_shared shared;
    struct engine *e;
    engine_shared_init(&shared);
    world_shared = &shared;
    world_restless = plan->restless;
    world_random_state = plan->seed * 7 + 1;
    struct engine_config config = {.module = plan->module, .input = plan->input, .shared = &shared};
    config.clock_ns = world_clock;
    config.memory_max = plan->memory_max ? plan->memory_max : (size_t)64 << 20;
    assert_int_equal(engine_new(&config, &e), 0);
    *w = (struct world){.random = plan->seed};
    size_t root = world_add(w, id_root(), world_fn(plan->module, fn), n, (struct where){0});
    for (uint32_t i = 0; i < n; i++)
        w->task[root].slot[i] = held_copy((struct held){.v = args[i]});
    w->task[root].missing = 0;
    w->ready[w->nready++] = root;
    while (w->nready && !w->ended)
        world_grant(w, e, plan);
    assert_true(w->ended);
    engine_free(e);
}

#endif
