/* The task program of the simulator's jobs: random DAGs, each decided by its seed alone.
 *
 * A task answers for its home and for every address it was handed: it sets each once, or hands it on. */
#ifndef TESTS_SIM_WORK_H
#define TESTS_SIM_WORK_H

#include "tests/sim/machine.h"

enum { ADDRS_MAX = 8, FIXED_ARGS = 3 };
enum work_mode { MODE_SOUND, MODE_FAILS, MODE_CRASHES };

/* What a task works on: read out of its slots before anything is made, since making moves tasks. */
struct part {
    struct machine *m;
    uint32_t self;
    struct maddr home;
    uint64_t s; /* seed */
    int64_t n;  /* how much is to unfold below */
    int64_t mode;
    struct maddr addr[ADDRS_MAX];
    uint32_t addrs;
};

static uint32_t make_node(struct part *p, uint64_t salt, int64_t n, struct maddr home, uint32_t extra,
                          cx_opts opts)
{
    uint32_t t = machine_make(p->m, p->self, W_NODE, FIXED_ARGS + extra, home, opts);
    machine_arg(p->m, t, 0, mv_i64((int64_t)mix(p->s, salt)));
    machine_arg(p->m, t, 1, mv_i64(n));
    machine_arg(p->m, t, 2, mv_i64(p->mode));
    return t;
}

/* Children 0..m-1 below a successor; all addresses go to one of them. */
static void fan(struct part *p, uint32_t successor, uint32_t first, uint32_t m, bool priorities)
{
    uint32_t heir = first + (uint32_t)(mix(p->s, 77) % (m - first));
    for (uint32_t i = first; i < m; i++) {
        cx_opts opts = {.priority = priorities ? (int32_t)(mix(p->s, i) % 9) - 4 : 0};
        uint32_t extra = i == heir ? p->addrs : 0;
        uint32_t t = make_node(p, i, (p->n - 1) / m, slot_of_task(successor, i), extra, opts);
        for (uint32_t k = 0; k < extra; k++)
            machine_arg(p->m, t, FIXED_ARGS + k, mv_addr(p->addr[k]));
    }
}

static void set_addrs(struct part *p)
{
    for (uint32_t k = 0; k < p->addrs; k++)
        machine_set(p->m, p->addr[k], mv_i64((int64_t)(mix(p->s, 1000 + k) % 100000)));
}

static void shape_tree(struct part *p)
{
    static const uint32_t fns[] = {1, 3, 4, 7};
    uint32_t m = 2 + (uint32_t)(mix(p->s, 2) % 3);
    uint32_t s = machine_make(p->m, p->self, fns[mix(p->s, 3) % 4], m, p->home, (cx_opts){0});
    fan(p, s, 0, m, false);
}

static void shape_wide(struct part *p)
{
    uint32_t m = p->n > 100 ? 100 : (uint32_t)p->n;
    uint32_t s = machine_make(p->m, p->self, 1, m, p->home, (cx_opts){0});
    fan(p, s, 0, m, false);
}

static void shape_urgent(struct part *p)
{
    uint32_t s = machine_make(p->m, p->self, 1, 4, p->home, (cx_opts){0});
    machine_arg(p->m, s, 0, mv_i64(17)); /* one value is known at once */
    fan(p, s, 1, 4, true);
}

/* A join of the program's own, with the values it starts from set at once. */
static uint32_t make_join(struct part *p, int64_t n, uint32_t extra)
{
    uint32_t t = machine_make(p->m, p->self, W_JOIN, FIXED_ARGS + 2 + extra, p->home, (cx_opts){0});
    machine_arg(p->m, t, 0, mv_i64((int64_t)mix(p->s, 5)));
    machine_arg(p->m, t, 1, mv_i64(n));
    machine_arg(p->m, t, 2, mv_i64(p->mode));
    return t;
}

/* One link of a chain: a child, then the join goes on with the rest. It takes the addresses along. */
static void shape_chain(struct part *p)
{
    uint32_t j = make_join(p, p->n - 2, p->addrs);
    machine_arg(p->m, j, FIXED_ARGS, mv_i64(3));
    for (uint32_t k = 0; k < p->addrs; k++)
        machine_arg(p->m, j, FIXED_ARGS + 2 + k, mv_addr(p->addr[k]));
    make_node(p, 6, 1, slot_of_task(j, FIXED_ARGS + 1), 0, (cx_opts){0});
}

/* The child answers for two slots of the join: for one as its home, for the other by an address handed down.
 */
static void shape_handed(struct part *p)
{
    uint32_t j = make_join(p, 1, 0);
    uint32_t t = make_node(p, 8, p->n - 2, slot_of_task(j, FIXED_ARGS), p->addrs + 1, (cx_opts){0});
    machine_arg(p->m, t, FIXED_ARGS, mv_addr(slot_of_task(j, FIXED_ARGS + 1)));
    for (uint32_t k = 0; k < p->addrs; k++)
        machine_arg(p->m, t, FIXED_ARGS + 1 + k, mv_addr(p->addr[k]));
}

/* Values whose order counts, digested to an integer. */
static void shape_mixed(struct part *p)
{
    uint32_t fn = mix(p->s, 9) % 2 ? 2 : 8, m = 2 + (uint32_t)(mix(p->s, 10) % 5);
    uint32_t d = machine_make(p->m, p->self, W_DIGEST, 1, p->home, (cx_opts){0});
    uint32_t c = machine_make(p->m, p->self, fn, m, slot_of_task(d, 0), (cx_opts){0});
    for (uint32_t i = 0; i < m; i++) {
        uint32_t t = machine_make(p->m, p->self, W_PIECE, 2, slot_of_task(c, i), (cx_opts){0});
        machine_arg(p->m, t, 0, mv_i64((int64_t)mix(p->s, i)));
        machine_arg(p->m, t, 1, mv_i64(fn));
    }
    set_addrs(p);
}

static void leaf(struct part *p)
{
    bool bad = mix(p->s, 11) % 8 == 0;
    if (bad && p->mode == MODE_FAILS)
        p->m->failed = true;
    if (bad && p->mode == MODE_CRASHES)
        p->m->crashed = true;
    set_addrs(p);
    machine_set(p->m, p->home, mv_i64((int64_t)(mix(p->s, 12) % 1000)));
    if (mix(p->s, 13) % 5 == 0) /* a second value, to be dropped */
        machine_set(p->m, p->home, mv_i64(1000000));
}

static void unfold(struct part *p)
{
    static void (*const shapes[])(struct part *) = {shape_tree,  shape_tree,  shape_wide,   shape_urgent,
                                                    shape_chain, shape_chain, shape_handed, shape_mixed};
    void (*shape)(struct part *) = shapes[mix(p->s, 1) % 8];
    if (p->n <= 1)
        leaf(p);
    else if (shape == shape_handed && p->addrs >= ADDRS_MAX - 1)
        shape_tree(p);
    else
        shape(p);
}

static void take_addrs(struct part *p, uint32_t from)
{
    const struct mtask *t = &p->m->task[p->self];
    for (uint32_t i = from; i < t->nslots; i++)
        p->addr[p->addrs++] = t->v[i].addr;
}

static void run_node(struct part *p)
{
    take_addrs(p, FIXED_ARGS);
    unfold(p);
}

static void run_join(struct part *p)
{
    const struct mval *v = p->m->task[p->self].v;
    p->s = mix(p->s, mix(mv_hash(&v[FIXED_ARGS]), mv_hash(&v[FIXED_ARGS + 1])));
    take_addrs(p, FIXED_ARGS + 2);
    unfold(p);
}

static void run_digest(struct part *p)
{
    struct mval v = p->m->task[p->self].v[0];
    machine_set(p->m, p->home, mv_i64((int64_t)(mv_hash(&v) % 100000)));
}

static void run_piece(struct part *p)
{
    struct mval v = mv_f64((double)(p->s % 1000000) / 7.0);
    if (p->n == 8) {
        v = (struct mval){.set = true, .type = CX_BYTES, .len = (uint8_t)(p->s % 9)};
        for (uint32_t i = 0; i < v.len; i++)
            v.bytes[i] = (uint8_t)mix(p->s, i);
    }
    machine_set(p->m, p->home, v);
}

/* Branch and bound: costs only add up along a path, so the cost so far bounds all below. */
static void run_search(struct part *p)
{
    int64_t cost = p->mode, level = p->n;
    if (level == 0) {
        p->m->offer = !p->m->offered || cost < p->m->offer ? cost : p->m->offer;
        p->m->offered = true;
        machine_set(p->m, p->home, mv_i64(cost));
        return;
    }
    uint32_t m = 2 + (uint32_t)(mix(p->s, 2) % 3);
    uint32_t s = machine_make(p->m, p->self, 3, m, p->home, (cx_opts){0});
    for (uint32_t i = 0; i < m; i++) {
        int64_t below = cost + (int64_t)(mix(p->s, 100 + i) % 50);
        cx_opts opts = {.priority = (int32_t)-below, .bound_kind = CX_BOUND_MIN, .bound = below};
        uint32_t t = machine_make(p->m, p->self, W_SEARCH, 3, slot_of_task(s, i), opts);
        machine_arg(p->m, t, 0, mv_i64((int64_t)mix(p->s, i)));
        machine_arg(p->m, t, 1, mv_i64(level - 1));
        machine_arg(p->m, t, 2, mv_i64(below));
    }
}

void work_run(struct machine *m, uint32_t t)
{
    static void (*const fns[])(struct part *) = {run_node, run_join, run_digest, run_search, run_piece};
    const struct mtask *task = &m->task[t];
    struct part p = {.m = m,
                     .self = t,
                     .home = task->home,
                     .s = (uint64_t)task->v[0].i64,
                     .n = task->nslots > 1 ? task->v[1].i64 : 0,
                     .mode = task->nslots > 2 ? task->v[2].i64 : 0};
    fns[task->fn - FN_FIRST](&p);
}

#endif
