/* A producer core under test: events in, effects looked at, invariants checked after every step. Effects pile
 * up until rig_forget, so that a test can ask what has happened since. */
#ifndef TESTS_UNIT_PRODUCER_RIG_H
#define TESTS_UNIT_PRODUCER_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cx/error.h"
#include "producer/core/pd.h"

struct rig_effect {
    struct pd_effect fx;
    uint8_t *data; /* owned */
};

struct rig {
    struct pd *pd;
    struct pd_effects out;
    uint64_t now;
    uint32_t seats;
    struct rig_effect *fx; /* since rig_forget */
    size_t n, cap;
};

static const uint8_t rig_module[PD_SHA_BYTES] = {1, 2, 3};
static const uint8_t rig_input[PD_SHA_BYTES] = {9, 8, 7};

static inline void rig_forget(struct rig *r)
{
    for (size_t i = 0; i < r->n; i++)
        free(r->fx[i].data);
    r->n = 0;
}

static inline void rig_step(struct rig *r, struct pd_event ev)
{
    ev.now_us = r->now;
    pd_effects_clear(&r->out);
    pd_step(r->pd, &ev, &r->out);
    pd_check(r->pd);
    for (size_t i = 0; i < r->out.n; i++) {
        if (r->n == r->cap) {
            r->cap = r->cap ? r->cap * 2 : 64;
            r->fx = realloc(r->fx, r->cap * sizeof *r->fx);
        }
        struct bytes data = pd_effect_data(&r->out, &r->out.fx[i]);
        struct rig_effect *e = &r->fx[r->n++];
        e->fx = r->out.fx[i];
        e->data = malloc(data.len + 1);
        if (data.len)
            memcpy(e->data, data.data, data.len);
        e->data[data.len] = 0;
    }
}

static inline void rig_tick(struct rig *r, uint64_t later_us)
{
    r->now += later_us;
    rig_step(r, (struct pd_event){.kind = PD_TICK});
}

static inline size_t rig_count(const struct rig *r, enum pd_effect_kind kind)
{
    size_t n = 0;
    for (size_t i = 0; i < r->n; i++)
        n += r->fx[i].fx.kind == kind;
    return n;
}

/* The nth of that kind; there must be one. */
static inline const struct rig_effect *rig_fx(const struct rig *r, enum pd_effect_kind kind, size_t nth)
{
    for (size_t i = 0; i < r->n; i++)
        if (r->fx[i].fx.kind == kind && nth-- == 0)
            return &r->fx[i];
    fail_msg("no effect of kind %d", (int)kind);
    return NULL;
}

/* ---- What the server says ---- */

static inline struct id rig_id(uint64_t n)
{
    return (struct id){n * 0x9E3779B97F4A7C15u, n};
}

static inline void rig_up(struct rig *r)
{
    if (rig_count(r, PD_FX_DIAL) == 0)
        rig_tick(r, pd_due(r->pd) > r->now ? pd_due(r->pd) - r->now : 0);
    r->now += 1000;
    rig_step(r, (struct pd_event){.kind = PD_UP});
}

static inline void rig_job(struct rig *r, uint64_t job, bool input)
{
    struct pd_job info = {.job = rig_id(job), .module = rig_module, .input = input ? rig_input : NULL};
    rig_step(r, (struct pd_event){.kind = PD_JOB, .u.info = &info});
}

static inline void rig_put_grant(struct buf *b, uint64_t job, uint64_t task)
{
    struct buf values = {0};
    put_value(&values, cx_v_i64((int64_t)task));
    struct grant g = {.job = rig_id(job),
                      .task = rig_id(task),
                      .hash = task + 1000,
                      .fn = FN_FIRST,
                      .nslots = 1,
                      .values = buf_bytes(&values)};
    grant_put(b, &g);
    buf_free(&values);
}

static inline void rig_grant(struct rig *r, uint64_t job, uint64_t first, uint64_t n)
{
    struct buf b = {0};
    for (uint64_t i = 0; i < n; i++)
        rig_put_grant(&b, job, first + i);
    rig_step(r, (struct pd_event){.kind = PD_GRANTS, .data = buf_bytes(&b)});
    buf_free(&b);
}

/* ---- What the shell and the runners say ---- */

static inline void rig_blob(struct rig *r, const uint8_t *sha, int code, const char *text)
{
    rig_step(r, (struct pd_event){.kind = PD_BLOB, .sha = sha, .code = code, .data = bytes_str(text)});
}

/* The runner that was started last. */
static inline uint32_t rig_runner(const struct rig *r)
{
    size_t n = rig_count(r, PD_FX_START);
    assert_true(n > 0);
    return rig_fx(r, PD_FX_START, n - 1)->fx.runner;
}

static inline void rig_running(struct rig *r, uint32_t runner)
{
    rig_step(r, (struct pd_event){.kind = PD_RUNNING, .runner = runner});
}

static inline void rig_put_commit(struct buf *b, uint64_t job, uint64_t task, uint64_t elapsed_ns)
{
    struct buf body = {0};
    put_set(&body, (struct ref){.inherited = true}, cx_v_i64((int64_t)task), (struct ref){.inherited = true});
    struct commit c = {.kind = COMMIT_DONE,
                       .job = rig_id(job),
                       .task = rig_id(task),
                       .hash = task + 1000,
                       .elapsed_ns = elapsed_ns,
                       .executed = 1,
                       .body = buf_bytes(&body)};
    commit_put(b, &c);
    buf_free(&body);
}

static inline void rig_commit(struct rig *r, uint32_t runner, uint32_t seat, uint64_t job, uint64_t task)
{
    struct buf b = {0};
    rig_put_commit(&b, job, task, 1000000);
    rig_step(r, (struct pd_event){.kind = PD_COMMITS, .runner = runner, .seat = seat, .data = buf_bytes(&b)});
    buf_free(&b);
}

static inline void rig_exited(struct rig *r, uint32_t runner, uint32_t culprit, const uint32_t *running,
                              const char *text)
{
    static const uint32_t none[64];
    struct pd_exit x = {.culprit = culprit, .running = running ? running : none};
    rig_step(r,
             (struct pd_event){.kind = PD_EXITED, .runner = runner, .data = bytes_str(text), .u.exit = &x});
}

static inline void rig_open(struct rig *r, uint32_t seats)
{
    *r = (struct rig){.now = 1000000, .seats = seats};
    r->pd = pd_new(&(struct pd_config){.seats = seats, .seed = 7, .grace_us = 5000000});
}

/* Connects, and has the runner of job 1 up with tasks from 1 on. */
static inline uint32_t rig_work(struct rig *r, uint64_t tasks)
{
    rig_up(r);
    rig_job(r, 1, false);
    rig_blob(r, rig_module, 0, "");
    rig_grant(r, 1, 1, tasks);
    uint32_t runner = rig_runner(r);
    rig_running(r, runner);
    return runner;
}

static inline uint32_t rig_open_working(struct rig *r, uint32_t seats, uint64_t tasks)
{
    rig_open(r, seats);
    return rig_work(r, tasks);
}

static inline void rig_close(struct rig *r)
{
    rig_forget(r);
    free(r->fx);
    pd_effects_free(&r->out);
    pd_free(r->pd);
}

/* ---- Looking at commits ---- */

struct rig_commits {
    struct commit c[4096];
    size_t n;
};

/* All commits since rig_forget, in order; bodies borrowed from the effects. */
static inline void rig_commits(const struct rig *r, struct rig_commits *out)
{
    out->n = 0;
    for (size_t i = 0; i < r->n; i++) {
        if (r->fx[i].fx.kind != PD_FX_COMMIT)
            continue;
        struct reader rd = reader_of(bytes_of(r->fx[i].data, r->fx[i].fx.len));
        while (reader_more(&rd)) {
            assert_true(out->n < 4096);
            assert_true(commit_get(&rd, &out->c[out->n++]));
        }
    }
}

static inline size_t rig_count_commits(const struct rig *r, enum commit_kind kind)
{
    static struct rig_commits all;
    size_t n = 0;
    rig_commits(r, &all);
    for (size_t i = 0; i < all.n; i++)
        n += all.c[i].kind == kind;
    return n;
}

static inline struct pd_stats rig_stats(const struct rig *r)
{
    struct pd_stats s;
    pd_stats(r->pd, &s);
    return s;
}

#endif
