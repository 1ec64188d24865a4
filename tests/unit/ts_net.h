/* Task server cores that are connected in memory, each with a producer that works when it is told to. */
#ifndef TESTS_UNIT_TS_NET_H
#define TESTS_UNIT_TS_NET_H

#include "tests/unit/ts_rig.h"

enum { NET_MAX = 4, NET_QUEUE = 4096 };

struct net_msg {
    int from, to;
    struct buf bytes;
};
struct net {
    struct rig r[NET_MAX];
    int n;
    bool up[NET_MAX][NET_MAX];
    struct net_msg queue[NET_QUEUE];
    size_t head, tail;
    struct buf grant[NET_MAX][NET_QUEUE]; /* not run yet */
    size_t first[NET_MAX], last[NET_MAX];
    size_t faults, guests;
};
static struct net net;

static inline struct id net_shard(int i)
{
    return (struct id){0x5a, (uint64_t)i + 1};
}

static inline int net_index(struct id shard)
{
    return (int)shard.lo - 1;
}

static inline void net_post(int from, const struct ts_effect *fx)
{
    int to = net_index(fx->shard);
    if (!net.up[from][to])
        return;
    struct net_msg *m = &net.queue[net.tail++ % NET_QUEUE];
    struct bytes data = ts_effect_data(&net.r[from].fx, fx);
    *m = (struct net_msg){.from = from, .to = to};
    buf_add(&m->bytes, data.data, data.len);
    assert_true(net.tail - net.head < NET_QUEUE);
}

static inline void net_seen(struct rig *r)
{
    int i = (int)(r - net.r);
    for (size_t k = 0; k < r->fx.n; k++) {
        const struct ts_effect *fx = &r->fx.fx[k];
        struct bytes data = ts_effect_data(&r->fx, fx);
        if (fx->kind == TS_FX_PEER)
            net_post(i, fx);
        else if (fx->kind == TS_FX_GRANT)
            buf_add(&net.grant[i][net.last[i]++ % NET_QUEUE], data.data, data.len);
        net.faults += fx->kind == TS_FX_PEER_FAULT;
        net.guests += fx->kind == TS_FX_GUEST;
    }
}

static uint64_t net_gather_us; /* of the shards that net_open makes */

static inline void net_open(int n, enum ts_steal steal)
{
    net = (struct net){.n = n};
    for (int i = 0; i < n; i++) {
        rig_open(
            &net.r[i],
            (struct ts_config){.shard = net_shard(i), .steal = steal, .seed = 1, .gather_us = net_gather_us});
        net.r[i].seen = net_seen;
    }
}

static inline void net_up(int a, int b)
{
    net.up[a][b] = net.up[b][a] = true;
    rig_step(&net.r[a], (struct ts_event){.kind = TS_PEER_UP, .u.other = {net_shard(b), 100, {0}}});
    rig_step(&net.r[b], (struct ts_event){.kind = TS_PEER_UP, .u.other = {net_shard(a), 100, {0}}});
}

/* What is under way is lost. */
static inline void net_cut(int a, int b)
{
    net.up[a][b] = net.up[b][a] = false;
    for (size_t i = net.head; i < net.tail; i++) {
        struct net_msg *m = &net.queue[i % NET_QUEUE];
        if ((m->from == a && m->to == b) || (m->from == b && m->to == a))
            m->to = -1;
    }
}

static inline void net_down(int a, int b)
{
    net_cut(a, b);
    rig_step(&net.r[a], (struct ts_event){.kind = TS_PEER_DOWN, .u.other.shard = net_shard(b)});
    rig_step(&net.r[b], (struct ts_event){.kind = TS_PEER_DOWN, .u.other.shard = net_shard(a)});
}

static inline void net_mesh(void)
{
    for (int a = 0; a < net.n; a++)
        for (int b = a + 1; b < net.n; b++)
            net_up(a, b);
}

/* Delivers the oldest message; false when there is none. */
static inline bool net_deliver(void)
{
    if (net.head == net.tail)
        return false;
    struct net_msg m = net.queue[net.head % NET_QUEUE];
    net.queue[net.head++ % NET_QUEUE].bytes = (struct buf){0};
    if (m.to >= 0)
        rig_step(&net.r[m.to], (struct ts_event){.kind = TS_PEER_MSG,
                                                 .u.other = {net_shard(m.from), 0, buf_bytes(&m.bytes)}});
    buf_free(&m.bytes);
    return true;
}

static inline void net_settle(void)
{
    while (net_deliver())
        ;
}

static inline void net_tick(uint64_t us)
{
    for (int i = 0; i < net.n; i++)
        rig_tick(&net.r[i], us);
}

static inline void net_close(void)
{
    for (int i = 0; i < net.n; i++) {
        for (int k = 0; k < net.n; k++)
            if (k > i && net.up[i][k])
                net_down(i, k);
        rig_close(&net.r[i]);
        for (size_t k = 0; k < NET_QUEUE; k++)
            buf_free(&net.grant[i][k]);
    }
    for (size_t k = 0; k < NET_QUEUE; k++)
        buf_free(&net.queue[k].bytes);
}

/* The server dies with what it has not kept, and comes back; so do its connections and its producer. */
static inline void net_crash(int i, size_t records, uint32_t window)
{
    for (int k = 0; k < net.n; k++)
        if (k != i && net.up[i][k]) {
            net_cut(i, k);
            rig_step(&net.r[k], (struct ts_event){.kind = TS_PEER_DOWN, .u.other.shard = net_shard(i)});
        }
    for (; net.first[i] != net.last[i]; net.first[i]++)
        buf_free(&net.grant[i][net.first[i] % NET_QUEUE]);
    rig_restart(&net.r[i], records);
    if (window)
        rig_join(&net.r[i], 1, window);
    for (int k = 0; k < net.n; k++)
        if (k != i)
            net_up(i, k);
}

/* ---- Producers ---- */

/* The oldest grant of this shard that was not run. */
static inline bool net_take(int i, struct grant *g, struct buf *data)
{
    if (net.first[i] == net.last[i])
        return false;
    struct buf *b = &net.grant[i][net.first[i]++ % NET_QUEUE];
    *data = *b;
    *b = (struct buf){0};
    struct reader in = reader_of(buf_bytes(data));
    assert_true(grant_get(&in, g));
    return true;
}

/* a(n) is fib(n), by one task a call. */
static inline void net_fib(struct buf *body, const struct grant *g)
{
    int64_t n = rig_arg(g);
    if (n < 2) {
        body_set_i64(body, HOME, n);
        return;
    }
    for (uint32_t k = 0; k < 3; k++)
        put_name(body, 0, k);
    body_wait(body, 1, SUM_I64, 2, HOME);
    body_child(body, 2, FN_A, n - 1, slot(1, 0));
    body_child(body, 3, FN_A, n - 2, slot(1, 1));
}

/* Runs one task of this shard; false when it has none. */
static inline bool net_run(int i)
{
    struct grant g;
    struct buf data = {0}, body = {0};
    if (!net_take(i, &g, &data))
        return false;
    net_fib(&body, &g);
    rig_commit(&net.r[i], 1, &g, &body);
    buf_free(&data);
    return true;
}

static inline void net_submit_fib(int i, uint64_t job, int64_t n)
{
    struct buf args = {0};
    put_value(&args, cx_v_i64(n));
    struct ts_submit s = rig_submission(job, buf_bytes(&args), 1);
    rig_submit_as(&net.r[i], &s);
    buf_free(&args);
}

static inline int64_t net_fib_value(int64_t n)
{
    return n < 2 ? n : net_fib_value(n - 1) + net_fib_value(n - 2);
}

static inline uint64_t net_fib_tasks(int64_t n)
{
    return n < 2 ? 1 : 1 + net_fib_tasks(n - 1) + net_fib_tasks(n - 2);
}

static inline bool net_over(int i, uint64_t job)
{
    return rig_info(&net.r[i], job).state != TS_JOB_RUNNING;
}

static inline bool net_knows(int i, uint64_t job)
{
    struct ts_job_info info;
    return ts_job_find(net.r[i].ts, rig_job(job), &info);
}

static inline uint64_t net_taken(int i)
{
    struct ts_peer_info p;
    uint64_t n = 0;
    for (uint64_t cursor = 0; ts_peer_next(net.r[i].ts, &cursor, &p);)
        n += p.taken;
    return n;
}

static inline uint64_t net_unconfirmed(void)
{
    struct ts_peer_info p;
    uint64_t n = 0;
    for (int i = 0; i < net.n; i++)
        for (uint64_t cursor = 0; ts_peer_next(net.r[i].ts, &cursor, &p);)
            n += p.unconfirmed;
    return n;
}

/* Everybody works until the job is over. */
static inline void net_finish(int home, uint64_t job)
{
    for (int rounds = 0; !net_over(home, job); rounds++) {
        assert_true(rounds < 100000);
        net_settle();
        for (int i = 0; i < net.n; i++)
            net_run(i);
        net_tick(1000);
    }
    net_settle();
}

#endif
