/* The task server's core under arbitrary events: the bytes say which, and what they carry.
 *
 * Some commits are raw bytes, some are well formed round a hostile body, some are what an honest producer
 * would send, so that the fuzzer gets deep. Whatever comes, the state stays sound, and the log replays to it.
 */
#include "taskserver/core/ts.h"

#include <stdlib.h>

#include "base/must.h"

enum { JOBS = 3, PEERS = 3, GRANTS = 16, STEPS_MAX = 400 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct fuzz {
    struct reader in;
    struct ts *ts;
    struct ts_effects fx;
    uint64_t now;
    struct buf log;
    struct buf grant[GRANTS]; /* seen last, wherever they went */
    uint32_t peer[GRANTS];
    unsigned grants;
};

static struct id job_id(unsigned n)
{
    return (struct id){1, n % JOBS + 1};
}

static struct bytes some_bytes(struct fuzz *f)
{
    size_t len = get_u8(&f->in);
    size_t left = (size_t)(f->in.end - f->in.at);
    return get_raw(&f->in, len < left ? len : left);
}

static void look_at(struct fuzz *f, const struct ts_effect *fx)
{
    struct bytes data = ts_effect_data(&f->fx, fx);
    if (fx->kind == TS_FX_LOG) {
        put_u64(&f->log, data.len);
        buf_add(&f->log, data.data, data.len);
    } else if (fx->kind == TS_FX_GRANT) {
        unsigned i = f->grants++ % GRANTS;
        buf_clear(&f->grant[i]);
        buf_add(&f->grant[i], data.data, data.len);
        f->peer[i] = fx->peer;
    }
}

static void step(struct fuzz *f, struct ts_event e)
{
    e.now_us = f->now;
    ts_effects_clear(&f->fx);
    ts_step(f->ts, &e, &f->fx);
    for (size_t i = 0; i < f->fx.n; i++)
        look_at(f, &f->fx.fx[i]);
}

/* ---- Events ---- */

static void do_submit(struct fuzz *f, uint8_t arg)
{
    struct buf args = {0};
    struct ts_submit s = {.job = job_id(arg),
                          .modules = 1,
                          .functions = bytes_str("a,b,c"),
                          .weight = arg & 3,
                          .fn = FN_FIRST + arg % 4,
                          .priority = arg >> 6,
                          .owner = bytes_str("o")};
    if (arg & 8) {
        s.args = some_bytes(f);
        s.nargs = arg >> 4;
    } else {
        put_value(&args, cx_v_i64(arg));
        s.args = buf_bytes(&args);
        s.nargs = 1;
    }
    step(f, (struct ts_event){.kind = TS_SUBMIT, .peer = 9, .u.submit = &s});
    buf_free(&args);
}

static void do_join(struct fuzz *f, uint8_t arg)
{
    static const char *const archs[] = {"", "x86_64", "aarch64", "a name that is far too long"};
    step(f, (struct ts_event){.kind = TS_PRODUCER_JOINED,
                              .peer = arg % PEERS,
                              .u.joined = {"p", archs[arg >> 6], arg >> 4}});
    step(f, (struct ts_event){.kind = TS_PRODUCER_WINDOW, .peer = arg % PEERS, .u.window = arg >> 2});
}

static void do_left(struct fuzz *f, uint8_t arg)
{
    step(f, (struct ts_event){.kind = arg & 128 ? TS_CLIENT_LEFT : TS_PRODUCER_LEFT, .peer = arg % PEERS});
}

static void do_time(struct fuzz *f, uint8_t arg)
{
    f->now += (uint64_t)arg << arg % 20;
    step(f, (struct ts_event){.kind = TS_TICK});
}

static void do_held(struct fuzz *f, uint8_t arg)
{
    step(f, (struct ts_event){.kind = TS_HELD, .u.lsn = arg});
}

static void do_client(struct fuzz *f, uint8_t arg)
{
    static const enum ts_event_kind kinds[] = {TS_WATCH, TS_UNWATCH, TS_CANCEL, TS_FORGET};
    static const char *const owners[] = {"o", "o", "", "x"};
    step(f, (struct ts_event){.kind = kinds[arg % 4],
                              .peer = 9 + arg % 3,
                              .req = arg,
                              .job = job_id(arg >> 4),
                              .u.owner = bytes_str(owners[arg >> 2 & 3])});
}

static void do_raw(struct fuzz *f, uint8_t arg)
{
    step(f, (struct ts_event){.kind = arg & 128 ? TS_PRODUCER_HOLDS : TS_COMMITS,
                              .peer = arg % PEERS,
                              .u.batch = some_bytes(f)});
}

static void commit(struct fuzz *f, uint8_t arg, enum commit_kind kind, struct bytes body)
{
    unsigned i = arg % GRANTS;
    struct grant g;
    struct reader r = reader_of(buf_bytes(&f->grant[i]));
    struct buf batch = {0};
    if (!grant_get(&r, &g))
        return;
    struct commit c = {.kind = kind,
                       .job = g.job,
                       .task = g.task,
                       .hash = g.hash,
                       .body = body,
                       .elapsed_ns = (uint64_t)arg << 12,
                       .executed = arg >> 6};
    commit_put(&batch, &c);
    step(f, (struct ts_event){.kind = TS_COMMITS,
                              .peer = arg & 128 ? f->peer[i] + 1 : f->peer[i],
                              .u.batch = buf_bytes(&batch)});
    buf_free(&batch);
}

static void do_hostile(struct fuzz *f, uint8_t arg)
{
    commit(f, arg, COMMIT_DONE, some_bytes(f));
}

static void do_crash(struct fuzz *f, uint8_t arg)
{
    commit(f, arg, arg & 64 ? COMMIT_RETURNED : COMMIT_CRASHED, bytes_str(arg & 32 ? "no" : ""));
}

static void do_return(struct fuzz *f, uint8_t arg)
{
    struct buf body = {0};
    put_set(&body, (struct ref){.inherited = true}, arg & 64 ? cx_v_none() : cx_v_i64(arg), (struct ref){0});
    commit(f, arg, COMMIT_DONE, buf_bytes(&body));
    buf_free(&body);
}

static void do_fan(struct fuzz *f, uint8_t arg)
{
    struct buf body = {0};
    uint32_t n = 1 + (arg >> 4) % 4;
    for (uint32_t i = 0; i <= n; i++)
        put_name(&body, 0, i);
    struct op op = {.kind = OP_TASK,
                    .name = 1,
                    .fn = 1 + get_u8(&f->in) % (FN_FIRST + 2),
                    .nslots = n,
                    .to = {.inherited = true}};
    put_task(&body, &op);
    for (uint32_t i = 0; i < n; i++) {
        uint8_t how = get_u8(&f->in);
        struct op child = {.kind = OP_TASK,
                           .name = i + 2,
                           .fn = FN_FIRST + how % 3,
                           .nslots = 1,
                           .flags = TASK_FULL | (how & 8 ? TASK_PRIORITY : 0) | (how & 16 ? TASK_BOUND : 0),
                           .priority = how >> 4,
                           .bound_kind = 1 + (how >> 5 & 1),
                           .bound = how,
                           .to = {.index = 1, .slot = i}};
        put_task(&body, &child);
        put_task_value(
            &body, &child,
            &(struct op_value){.value = cx_v_addr((cx_addr){0, 0, 0}), .ref = {.index = 1, .slot = how % n}});
    }
    put_bound(&body, 1 + (arg & 1), arg);
    commit(f, arg, COMMIT_DONE, buf_bytes(&body));
    buf_free(&body);
}

/* ---- The end ---- */

static void sum_record(void *ctx, struct bytes record)
{
    *(uint64_t *)ctx += hash64(record.data, record.len, 1);
}

static void replay(struct fuzz *f, const struct ts_config *config)
{
    struct ts *ts = ts_new(config);
    struct reader r = reader_of(buf_bytes(&f->log));
    uint64_t lsn = 0, a = 0, b = 0;
    while (reader_more(&r)) {
        struct bytes record = get_raw(&r, get_u64(&r));
        must(ts_replay(ts, record, ++lsn));
    }
    ts_snapshot(ts, sum_record, &a);
    ts_snapshot(f->ts, sum_record, &b);
    must(a == b);
    ts_replayed(ts, f->now);
    ts_check(ts);
    ts_free(ts);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const acts[])(struct fuzz *, uint8_t) = {
        do_submit,  do_join,    do_left,  do_time,   do_held,   do_client, do_raw,
        do_hostile, do_hostile, do_crash, do_return, do_return, do_fan,    do_fan,
    };
    struct ts_config config = {.memory_max = 200000,
                               .jobs_max = JOBS,
                               .result_ttl_us = 1000000,
                               .budget_max_us = 10000,
                               .collapse = size & 1};
    struct fuzz f = {.in = reader_of(bytes_of(data, size)), .ts = ts_new(&config), .now = 1};
    do_join(&f, 0xf0);
    do_submit(&f, 0);
    for (unsigned steps = 0; steps < STEPS_MAX && reader_more(&f.in); steps++) {
        uint8_t act = get_u8(&f.in), arg = get_u8(&f.in);
        acts[act % (sizeof acts / sizeof acts[0])](&f, arg);
    }
    ts_check(f.ts);
    replay(&f, &config);
    ts_free(f.ts);
    ts_effects_free(&f.fx);
    buf_free(&f.log);
    for (unsigned i = 0; i < GRANTS; i++)
        buf_free(&f.grant[i]);
    return 0;
}
