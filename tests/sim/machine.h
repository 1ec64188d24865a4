/* A small dataflow machine: it runs the simulator's task program, a few tasks at a time or to the end.
 *
 * Run to the end it is the sequential reference; stopped early, what is left is written as a commit, as a
 * runner does. It shares nothing with the task server's core: it has its own slots and its own well-known
 * successors. */
#ifndef TESTS_SIM_MACHINE_H
#define TESTS_SIM_MACHINE_H

#include <stdio.h>
#include <stdlib.h>

#include "base/commit.h"
#include "base/must.h"

/* An address: an inherited one of the granted task (0: its home), or a slot of a task made here. */
struct maddr {
    bool outer;
    uint32_t index, slot;
};
struct mval {
    bool set;
    uint8_t type, len;
    int64_t i64;
    double f64;
    uint8_t bytes[64];
    struct maddr addr;
};
struct mtask {
    uint32_t parent, child; /* its name */
    uint32_t fn, nslots, open;
    uint32_t kids;
    struct mval *v; /* owned */
    struct maddr home;
    cx_opts opts;
    bool alive;
};
struct mset {
    struct maddr to;
    struct mval v;
};
struct machine {
    struct mtask *task;
    uint32_t n, cap;
    uint32_t *ready, nready, ready_cap; /* last in, first out */
    struct mset *out;                   /* values for inherited addresses; loose: for tasks made here, too */
    uint32_t nout, out_cap;
    bool loose; /* values travel as SETs, and well-known successors are left to the server */
    bool offered, failed, crashed;
    int64_t offer;
    uint64_t executed;
};

/* The module of the simulator's jobs. */
enum work_fn { W_NODE = FN_FIRST, W_JOIN, W_DIGEST, W_SEARCH, W_PIECE };
#define WORK_FUNCTIONS "node,join,digest,search,piece"
void work_run(struct machine *m, uint32_t t); /* work.h */

static inline uint64_t mix(uint64_t a, uint64_t b)
{
    uint64_t h = a * 0x9e3779b97f4a7c15u + b + 0x632be59bd9b4e019u;
    h = (h ^ h >> 30) * 0xbf58476d1ce4e5b9u;
    h = (h ^ h >> 27) * 0x94d049bb133111ebu;
    return h ^ h >> 31;
}

static inline void *grown(void *at, uint32_t *cap, uint32_t n, size_t size)
{
    if (n < *cap)
        return at;
    *cap = *cap ? *cap * 2 : 16;
    at = realloc(at, *cap * size);
    must(at != NULL);
    return at;
}

/* ---- Values ---- */

static inline struct mval mv_none(void)
{
    return (struct mval){.set = true, .type = CX_NONE};
}
static inline struct mval mv_i64(int64_t i)
{
    return (struct mval){.set = true, .type = CX_I64, .i64 = i};
}
static inline struct mval mv_f64(double d)
{
    return (struct mval){.set = true, .type = CX_F64, .f64 = d};
}
static inline struct mval mv_addr(struct maddr a)
{
    return (struct mval){.set = true, .type = CX_ADDR, .addr = a};
}

static uint64_t mv_hash(const struct mval *v)
{
    uint64_t bits;
    memcpy(&bits, &v->f64, sizeof bits);
    uint64_t h = mix(v->type, v->type == CX_I64 ? (uint64_t)v->i64 : v->type == CX_F64 ? bits : v->len);
    for (uint32_t i = 0; v->type == CX_BYTES && i < v->len; i++)
        h = mix(h, v->bytes[i]);
    return h;
}

static cx_value mv_value(const struct mval *v)
{
    switch (v->type) {
    case CX_I64:
        return cx_v_i64(v->i64);
    case CX_F64:
        return cx_v_f64(v->f64);
    case CX_BYTES:
        return cx_v_bytes(v->bytes, v->len);
    case CX_ADDR:
        return cx_v_addr((cx_addr){0, 0, 0});
    default:
        return cx_v_none();
    }
}

static struct mval mv_of(cx_value v)
{
    struct mval m = {.set = true, .type = (uint8_t)v.type, .len = (uint8_t)v.len};
    if (v.type == CX_I64)
        m.i64 = v.as.i64;
    if (v.type == CX_F64)
        m.f64 = v.as.f64;
    must(v.type != CX_BYTES || v.len <= sizeof m.bytes);
    if (v.type == CX_BYTES && v.len)
        memcpy(m.bytes, v.as.bytes, v.len);
    return m;
}

/* ---- Running ---- */

static void machine_set(struct machine *m, struct maddr to, struct mval v);

/* The simulator's own idea of what the well-known successors do. */
static struct mval joined(const struct mtask *t)
{
    struct mval r = t->fn == 1 || t->fn == 7 ? mv_i64(0) : t->fn == 2 ? mv_f64(0) : mv_none();
    if (t->fn == 8)
        r = (struct mval){.set = true, .type = CX_BYTES};
    for (uint32_t i = 0; i < t->nslots; i++) {
        const struct mval *v = &t->v[i];
        if (v->type == CX_NONE)
            continue;
        if (t->fn == 7)
            r.i64++;
        else if (t->fn == 1)
            r.i64 = (int64_t)((uint64_t)r.i64 + (uint64_t)v->i64);
        else if (t->fn == 2)
            r.f64 += v->f64;
        else if (t->fn == 3 || t->fn == 4)
            r = r.type == CX_NONE || (t->fn == 3) == (v->i64 < r.i64) ? *v : r;
        else if (t->fn == 8)
            for (uint32_t k = 0; k < v->len; k++)
                r.bytes[r.len++] = v->bytes[k];
    }
    return r;
}

static void machine_full(struct machine *m, uint32_t t)
{
    if (!fn_is_well_known(m->task[t].fn)) {
        m->ready = grown(m->ready, &m->ready_cap, m->nready, sizeof *m->ready);
        m->ready[m->nready++] = t;
    } else if (!m->loose) {
        m->task[t].alive = false;
        machine_set(m, m->task[t].home, joined(&m->task[t]));
    }
}

static void machine_set(struct machine *m, struct maddr to, struct mval v)
{
    if (to.outer || m->loose) {
        m->out = grown(m->out, &m->out_cap, m->nout, sizeof *m->out);
        m->out[m->nout++] = (struct mset){to, v};
        return;
    }
    struct mtask *t = &m->task[to.index];
    if (!t->alive || t->v[to.slot].set)
        return;
    t->v[to.slot] = v;
    if (--t->open == 0)
        machine_full(m, to.index);
}

/* A task made by task `by`; slots that get their values at once are set with machine_arg. */
static uint32_t machine_make(struct machine *m, uint32_t by, uint32_t fn, uint32_t nslots, struct maddr home,
                             cx_opts opts)
{
    m->task = grown(m->task, &m->cap, m->n, sizeof *m->task);
    uint32_t child = m->n ? m->task[by].kids++ : 0;
    m->task[m->n] = (struct mtask){.parent = by,
                                   .child = child,
                                   .fn = fn,
                                   .nslots = nslots,
                                   .open = nslots,
                                   .home = home,
                                   .opts = opts,
                                   .alive = true,
                                   .v = calloc(nslots + 1, sizeof(struct mval))};
    return m->n++;
}

static void machine_arg(struct machine *m, uint32_t t, uint32_t slot, struct mval v)
{
    must(!m->task[t].v[slot].set);
    m->task[t].v[slot] = v;
    if (--m->task[t].open == 0)
        machine_full(m, t);
}

static struct maddr slot_of_task(uint32_t t, uint32_t slot)
{
    return (struct maddr){false, t, slot};
}

static void machine_start(struct machine *m, uint32_t fn, uint32_t nslots, struct bytes values)
{
    struct reader r = reader_of(values);
    uint32_t t = machine_make(m, 0, fn, nslots, (struct maddr){.outer = true}, (cx_opts){0}), addrs = 0;
    for (uint32_t i = 0; i < nslots; i++) {
        struct mval v = mv_of(get_value(&r));
        if (v.type == CX_ADDR)
            v.addr = (struct maddr){true, ++addrs, 0};
        machine_arg(m, t, i, v);
    }
    must(!r.bad && r.at == r.end);
    if (nslots == 0)
        machine_full(m, t);
}

/* Runs at most `most` tasks; in loose mode one. */
static void machine_run(struct machine *m, uint64_t most)
{
    while (m->nready && most-- && !m->failed && !m->crashed) {
        uint32_t t = m->ready[--m->nready];
        m->task[t].alive = false;
        m->executed++;
        work_run(m, t);
    }
}

static void machine_free(struct machine *m)
{
    for (uint32_t i = 0; i < m->n; i++)
        free(m->task[i].v);
    free(m->task);
    free(m->ready);
    free(m->out);
}

/* ---- What is left, as a commit's body ---- */

static struct ref machine_ref(const uint32_t *name, struct maddr a)
{
    return (struct ref){.inherited = a.outer, .index = a.outer ? a.index : name[a.index], .slot = a.slot};
}

static void put_left(struct buf *b, const struct mtask *t, uint32_t self, const uint32_t *name)
{
    struct op op = {.kind = OP_TASK,
                    .name = name[self],
                    .fn = t->fn,
                    .nslots = t->nslots,
                    .nset = t->nslots - t->open,
                    .to = machine_ref(name, t->home),
                    .priority = t->opts.priority,
                    .bound_kind = (uint8_t)t->opts.bound_kind,
                    .bound = t->opts.bound};
    op.flags = (uint8_t)((t->open ? 0 : TASK_FULL) | (t->opts.priority ? TASK_PRIORITY : 0) |
                         (t->opts.bound_kind ? TASK_BOUND : 0));
    put_task(b, &op);
    for (uint32_t i = 0; i < t->nslots; i++)
        if (t->v[i].set)
            put_task_value(b, &op,
                           &(struct op_value){i, mv_value(&t->v[i]), machine_ref(name, t->v[i].addr)});
}

static void put_names(struct buf *b, const struct machine *m, uint32_t *name)
{
    uint32_t names = 0;
    for (uint32_t i = m->n; i-- > 1;)
        if (m->task[i].alive || name[i])
            name[i] = name[m->task[i].parent] = 1;
    name[0] = 0;
    for (uint32_t i = 1; i < m->n; i++)
        if (name[i]) {
            name[i] = ++names;
            put_name(b, name[m->task[i].parent], m->task[i].child);
        }
}

static void machine_commit(const struct machine *m, struct buf *b)
{
    uint32_t *name = calloc(m->n + 1, sizeof *name);
    if (m->failed) {
        put_fail(b, bytes_str("bad luck"));
        free(name);
        return;
    }
    put_names(b, m, name);
    for (uint32_t i = 1; i < m->n; i++)
        if (m->task[i].alive)
            put_left(b, &m->task[i], i, name);
    for (uint32_t i = 0; i < m->nout; i++)
        put_set(b, machine_ref(name, m->out[i].to), mv_value(&m->out[i].v),
                machine_ref(name, m->out[i].v.addr));
    if (m->offered)
        put_bound(b, CX_BOUND_MIN, m->offer);
    free(name);
}

#endif
