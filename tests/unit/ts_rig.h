/* A task server core under test: events in, effects looked at, invariants checked after every step, and the
 * log kept, so that in the end it can be replayed and compared. */
#ifndef TESTS_UNIT_TS_RIG_H
#define TESTS_UNIT_TS_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cx/error.h"
#include "taskserver/core/ts.h"

struct rig_records {
    struct buf bytes; /* length:u64 then data, again and again */
    size_t n;
};

struct rig {
    struct ts *ts;
    struct ts_config config;
    struct ts_effects fx; /* of the last step */
    uint64_t now;
    struct rig_records log;
    bool hold;                   /* TS_HELD is sent by the test itself */
    void (*seen)(struct rig *r); /* looks at the effects after each step; may be NULL */
};

/* Well-known numbers and the functions of the test's module: a, b, c. */
enum { SUM_I64 = 1, SUM_F64, MIN_I64, MAX_I64, MIN_F64, MAX_F64, COUNT, CONCAT, FN_A = FN_FIRST, FN_B, FN_C };

static inline void rig_keep(void *ctx, struct bytes record)
{
    struct rig_records *l = ctx;
    put_u64(&l->bytes, record.len);
    buf_add(&l->bytes, record.data, record.len);
    l->n++;
}

static inline void rig_open(struct rig *r, struct ts_config config)
{
    if (!config.budget_max_us)
        config.budget_max_us = 20000;
    *r = (struct rig){.config = config, .now = 1000000, .ts = ts_new(&config)};
}

static inline void rig_step_more(struct rig *r, struct ts_event *e)
{
    size_t from = r->fx.n;
    e->now_us = r->now;
    ts_step(r->ts, e, &r->fx);
    ts_check(r->ts);
    for (size_t i = from; i < r->fx.n; i++)
        if (r->fx.fx[i].kind == TS_FX_LOG)
            rig_keep(&r->log, ts_effect_data(&r->fx, &r->fx.fx[i]));
}

static inline void rig_step(struct rig *r, struct ts_event e)
{
    ts_effects_clear(&r->fx);
    rig_step_more(r, &e);
    /* As a shell without a journal: the log is held as soon as it is written. Its effects join the step's. */
    struct ts_event held = {.kind = TS_HELD, .u.lsn = ts_lsn(r->ts)};
    if (!r->hold && e.kind != TS_HELD)
        rig_step_more(r, &held);
    if (r->seen)
        r->seen(r);
}

static inline int rig_order(const void *a, const void *b)
{
    const struct bytes *x = a, *y = b;
    size_t n = x->len < y->len ? x->len : y->len;
    int c = n ? memcmp(x->data, y->data, n) : 0;
    return c ? c : (x->len > y->len) - (x->len < y->len);
}

static inline struct bytes *rig_sorted(const struct rig_records *l)
{
    struct bytes *v = calloc(l->n + 1, sizeof *v);
    struct reader r = reader_of(buf_bytes(&l->bytes));
    for (size_t i = 0; i < l->n; i++)
        v[i] = get_raw(&r, get_u64(&r));
    qsort(v, l->n, sizeof *v, rig_order);
    return v;
}

static inline bool rig_equal(const struct ts *a, const struct ts *b)
{
    struct rig_records x = {0}, y = {0};
    ts_snapshot(a, rig_keep, &x);
    ts_snapshot(b, rig_keep, &y);
    struct bytes *v = rig_sorted(&x), *w = rig_sorted(&y);
    bool same = x.n == y.n;
    for (size_t i = 0; same && i < x.n; i++)
        same = bytes_equal(v[i], w[i]);
    free(v);
    free(w);
    buf_free(&x.bytes);
    buf_free(&y.bytes);
    return same;
}

static inline struct ts *rig_replay(const struct ts_config *config, const struct rig_records *l, size_t n)
{
    struct ts *ts = ts_new(config);
    struct reader r = reader_of(buf_bytes(&l->bytes));
    for (size_t i = 0; i < n; i++) {
        struct bytes record = get_raw(&r, get_u64(&r));
        assert_true(ts_replay(ts, record, i + 1));
    }
    return ts;
}

/* The log, replayed, gives the same state; so does a snapshot. */
static inline void rig_compare(struct rig *r)
{
    struct ts *again = rig_replay(&r->config, &r->log, r->log.n);
    ts_check(again);
    assert_true(rig_equal(r->ts, again));
    struct rig_records snap = {0};
    ts_snapshot(r->ts, rig_keep, &snap);
    struct ts *copy = rig_replay(&r->config, &snap, snap.n);
    ts_check(copy);
    assert_true(rig_equal(r->ts, copy));
    buf_free(&snap.bytes);
    ts_free(copy);
    ts_free(again);
}

static inline void rig_close(struct rig *r)
{
    ts_check(r->ts);
    rig_compare(r);
    ts_free(r->ts);
    ts_effects_free(&r->fx);
    buf_free(&r->log.bytes);
}

/* The server dies and comes back with the first n records of its log. */
static inline void rig_restart(struct rig *r, size_t n)
{
    ts_free(r->ts);
    r->ts = rig_replay(&r->config, &r->log, n);
    struct reader at = reader_of(buf_bytes(&r->log.bytes));
    for (size_t i = 0; i < n; i++)
        get_raw(&at, get_u64(&at));
    r->log.bytes.len = n ? (size_t)(at.at - r->log.bytes.data) : 0;
    r->log.n = n;
    ts_replayed(r->ts, r->now);
    ts_check(r->ts);
}

/* ---- Events ---- */

static inline struct id rig_job(uint64_t n)
{
    return (struct id){0x1000, n};
}

static inline struct ts_submit rig_submission(uint64_t job, struct bytes args, uint32_t nargs)
{
    return (struct ts_submit){.job = rig_job(job),
                              .modules = 1,
                              .module = {{.arch = "x86_64"}},
                              .functions = bytes_str("a,b,c"),
                              .fn = FN_A,
                              .nargs = nargs,
                              .args = args,
                              .owner = bytes_str("ann"),
                              .label = bytes_str("test")};
}

static inline void rig_submit_as(struct rig *r, const struct ts_submit *s)
{
    rig_step(r, (struct ts_event){.kind = TS_SUBMIT, .peer = 100, .req = 1, .u.submit = s});
}

static inline void rig_submit(struct rig *r, uint64_t job)
{
    struct ts_submit s = rig_submission(job, (struct bytes){0}, 0);
    rig_submit_as(r, &s);
}

static inline void rig_join_arch(struct rig *r, uint32_t peer, const char *arch, uint32_t window)
{
    char name[16];
    snprintf(name, sizeof name, "p%u", peer);
    rig_step(r, (struct ts_event){.kind = TS_PRODUCER_JOINED,
                                  .peer = peer,
                                  .u.joined = {.name = name, .arch = arch, .threads = 1}});
    rig_step(r, (struct ts_event){.kind = TS_PRODUCER_WINDOW, .peer = peer, .u.window = window});
}

static inline void rig_join(struct rig *r, uint32_t peer, uint32_t window)
{
    rig_join_arch(r, peer, "x86_64", window);
}

static inline void rig_window(struct rig *r, uint32_t peer, uint32_t window)
{
    rig_step(r, (struct ts_event){.kind = TS_PRODUCER_WINDOW, .peer = peer, .u.window = window});
}

static inline void rig_left(struct rig *r, uint32_t peer)
{
    rig_step(r, (struct ts_event){.kind = TS_PRODUCER_LEFT, .peer = peer});
}

static inline void rig_tick(struct rig *r, uint64_t after_us)
{
    r->now += after_us;
    rig_step(r, (struct ts_event){.kind = TS_TICK});
}

static inline void rig_client(struct rig *r, enum ts_event_kind kind, uint32_t peer, uint64_t job,
                              const char *owner)
{
    rig_step(r, (struct ts_event){
                    .kind = kind, .peer = peer, .req = 7, .job = rig_job(job), .u.owner = bytes_str(owner)});
}

static inline void rig_commits(struct rig *r, uint32_t peer, const struct buf *batch)
{
    rig_step(r, (struct ts_event){.kind = TS_COMMITS, .peer = peer, .u.batch = buf_bytes(batch)});
}

static inline void rig_commit_after(struct rig *r, uint32_t peer, const struct grant *g,
                                    enum commit_kind kind, struct bytes body, uint64_t elapsed_ns)
{
    struct buf batch = {0};
    struct commit c = {.kind = kind,
                       .job = g->job,
                       .task = g->task,
                       .hash = g->hash,
                       .elapsed_ns = elapsed_ns,
                       .executed = kind == COMMIT_DONE,
                       .body = body};
    commit_put(&batch, &c);
    rig_commits(r, peer, &batch);
    buf_free(&batch);
}

static inline void rig_commit_kind(struct rig *r, uint32_t peer, const struct grant *g, enum commit_kind kind,
                                   struct bytes body)
{
    rig_commit_after(r, peer, g, kind, body, 1000);
}

/* Frees the body. */
static inline void rig_commit(struct rig *r, uint32_t peer, const struct grant *g, struct buf *body)
{
    rig_commit_kind(r, peer, g, COMMIT_DONE, buf_bytes(body));
    buf_free(body);
}

/* ---- Bodies ---- */

#define HOME ((struct ref){.inherited = true})
static inline struct ref given(uint32_t index)
{
    return (struct ref){.inherited = true, .index = index};
}
static inline struct ref slot(uint32_t name, uint32_t i)
{
    return (struct ref){.index = name, .slot = i};
}

static inline void body_set_i64(struct buf *b, struct ref to, int64_t v)
{
    put_set(b, to, cx_v_i64(v), (struct ref){0});
}

/* A successor with n open slots. */
static inline void body_wait(struct buf *b, uint32_t name, uint32_t fn, uint32_t n, struct ref home)
{
    struct op op = {
        .kind = OP_TASK, .name = name, .fn = fn, .nslots = n, .to = home, .flags = n ? 0 : TASK_FULL};
    put_task(b, &op);
}

/* A child with one i64 argument. */
static inline void body_child(struct buf *b, uint32_t name, uint32_t fn, int64_t arg, struct ref home)
{
    struct op op = {.kind = OP_TASK, .name = name, .fn = fn, .nslots = 1, .to = home, .flags = TASK_FULL};
    struct op_value v = {.value = cx_v_i64(arg)};
    put_task(b, &op);
    put_task_value(b, &op, &v);
}

static inline void body_child_with(struct buf *b, uint32_t name, uint32_t fn, struct ref home, cx_opts opts)
{
    struct op op = {.kind = OP_TASK,
                    .name = name,
                    .fn = fn,
                    .to = home,
                    .flags = TASK_FULL,
                    .priority = opts.priority,
                    .bound_kind = (uint8_t)opts.bound_kind,
                    .bound = opts.bound};
    op.flags |= (opts.priority ? TASK_PRIORITY : 0) | (opts.bound_kind ? TASK_BOUND : 0);
    put_task(b, &op);
}

static inline void body_fan_successor(struct buf *b, uint32_t fn, uint32_t n)
{
    for (uint32_t i = 0; i <= n; i++)
        put_name(b, 0, i);
    body_wait(b, 1, fn, n, HOME);
}

/* The root leaves a successor fn for n children of function a. */
static inline void body_fan(struct buf *b, uint32_t fn, uint32_t n)
{
    body_fan_successor(b, fn, n);
    for (uint32_t i = 0; i < n; i++)
        body_child(b, i + 2, FN_A, i, slot(1, i));
}

/* The same with children that have options, and no arguments. */
static inline void body_fan_with(struct buf *b, uint32_t fn, uint32_t n, uint32_t child, cx_opts opts)
{
    body_fan_successor(b, fn, n);
    for (uint32_t i = 0; i < n; i++)
        body_child_with(b, i + 2, child, slot(1, i), opts);
}

/* ---- Effects ---- */

static inline size_t rig_count(const struct rig *r, enum ts_effect_kind kind)
{
    size_t n = 0;
    for (size_t i = 0; i < r->fx.n; i++)
        n += r->fx.fx[i].kind == kind;
    return n;
}

/* The nth effect of this kind in the last step. */
static inline const struct ts_effect *rig_fx(const struct rig *r, enum ts_effect_kind kind, size_t nth)
{
    for (size_t i = 0; i < r->fx.n; i++)
        if (r->fx.fx[i].kind == kind && nth-- == 0)
            return &r->fx.fx[i];
    return NULL;
}

/* The nth grant of the last step; its values are copied to a place of their own, lost at the next call
 * but 63. */
static inline struct grant rig_grant(const struct rig *r, size_t nth)
{
    static uint8_t values[64][256];
    static unsigned next;
    const struct ts_effect *fx = rig_fx(r, TS_FX_GRANT, nth);
    struct grant g = {0};
    assert_non_null(fx);
    struct reader in = reader_of(ts_effect_data(&r->fx, fx));
    assert_true(grant_get(&in, &g));
    assert_true(in.at == in.end);
    if (g.values.len <= sizeof values[0]) {
        uint8_t *keep = values[next++ % 64];
        if (g.values.len)
            memcpy(keep, g.values.data, g.values.len);
        g.values.data = keep;
    }
    return g;
}

static inline uint32_t rig_granted_to(const struct rig *r, size_t nth)
{
    return rig_fx(r, TS_FX_GRANT, nth)->peer;
}

static inline int64_t rig_arg(const struct grant *g)
{
    struct reader in = reader_of(g->values);
    return get_value(&in).as.i64;
}

static inline struct ts_job_info rig_info(const struct rig *r, uint64_t job)
{
    struct ts_job_info info = {0};
    assert_true(ts_job_find(r->ts, rig_job(job), &info));
    return info;
}

static inline cx_value rig_result(const struct rig *r, uint64_t job)
{
    struct ts_job_info info = rig_info(r, job);
    assert_int_equal(info.state, TS_JOB_DONE);
    struct reader in = reader_of(info.result);
    return get_value(&in);
}

static inline void rig_says(struct bytes text, const char *part)
{
    if (memmem(text.data, text.len, part, strlen(part)))
        return;
    fail_msg("\"%.*s\" does not say \"%s\"", (int)text.len, (const char *)text.data, part);
}

static inline void rig_reason(const struct rig *r, uint64_t job, const char *part)
{
    struct ts_job_info info = rig_info(r, job);
    assert_int_equal(info.state, TS_JOB_FAILED);
    rig_says(info.reason, part);
}

/* A job submitted and its root granted to producer 1, which has a window of `window`. */
static inline struct grant rig_root(struct rig *r, uint32_t window)
{
    rig_open(r, (struct ts_config){0});
    rig_join(r, 1, window);
    rig_submit(r, 1);
    return rig_grant(r, 0);
}

#endif
