/* The simulated server: its log, its replays, its steps. */
#ifndef TESTS_SIM_CX_SERVER_H
#define TESTS_SIM_CX_SERVER_H

#include "tests/sim/cx-world.h"

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

#endif
