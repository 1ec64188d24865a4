/* The task server's core under arbitrary messages of other shards: raw bytes, well formed messages round
 * hostile parcels, and parcels as an honest shard sends them, of jobs that are here, were here, or never will
 * be. Whatever comes, the state stays sound, and the log replays to it. */
#include "taskserver/core/core.h"

#include <stdlib.h>

enum { JOBS = 4, OTHERS = 2, STEPS_MAX = 300, GRANTS = 8 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct fuzz {
    struct reader in;
    struct ts *ts;
    struct ts_effects fx;
    uint64_t now;
    struct buf log;
    uint64_t next[OTHERS]; /* number of the next parcel */
    struct buf grant[GRANTS];
    unsigned grants;
    bool fault;
};

static struct id shard(unsigned n)
{
    return (struct id){5,
                       n % (OTHERS + 2) + 1}; /* 1 and 2 are connected, 3 is this one, 4 is known by name */
}
static struct id job_id(unsigned n)
{
    return (struct id){1, n % JOBS + 1};
}
static struct id task_id(unsigned n)
{
    return n % 8 == 0 ? (struct id){0, 0} : n % 8 == 1 ? id_root() : (struct id){3, n % 8};
}

static struct bytes some_bytes(struct fuzz *f)
{
    size_t len = get_u8(&f->in), left = (size_t)(f->in.end - f->in.at);
    return get_raw(&f->in, len < left ? len : left);
}

static void look_at(struct fuzz *f, const struct ts_effect *fx)
{
    struct bytes data = ts_effect_data(&f->fx, fx);
    f->fault |= fx->kind == TS_FX_PEER_FAULT;
    if (fx->kind == TS_FX_LOG) {
        put_u64(&f->log, data.len);
        buf_add(&f->log, data.data, data.len);
    } else if (fx->kind == TS_FX_GRANT) {
        struct buf *g = &f->grant[f->grants++ % GRANTS];
        buf_clear(g);
        buf_add(g, data.data, data.len);
    }
}

static void step(struct fuzz *f, struct ts_event e)
{
    e.now_us = f->now;
    ts_effects_clear(&f->fx);
    f->fault = false;
    ts_step(f->ts, &e, &f->fx);
    for (size_t i = 0; i < f->fx.n; i++)
        look_at(f, &f->fx.fx[i]);
}

static void connect(struct fuzz *f, unsigned other)
{
    step(f,
         (struct ts_event){.kind = TS_PEER_UP, .u.other = {.shard = shard(other), .rtt_us = 1000 * other}});
}

static bool say(struct fuzz *f, unsigned other, struct bytes message)
{
    step(f, (struct ts_event){.kind = TS_PEER_MSG, .u.other = {.shard = shard(other), .bytes = message}});
    bool listened = !f->fault;
    if (!listened)
        connect(f, other);
    return listened;
}

/* ---- Messages ---- */

static void do_raw(struct fuzz *f, uint8_t arg)
{
    say(f, arg % OTHERS, some_bytes(f));
}

static void send_parcel(struct fuzz *f, unsigned other, struct bytes parcel)
{
    struct buf one = {0}, m = {0};
    put_bytes(&one, parcel);
    put_varint(&m, 0);
    put_varint(&m, f->next[other]);
    put_bytes(&m, buf_bytes(&one));
    if (say(f, other, buf_bytes(&m)))
        f->next[other]++;
    buf_free(&one);
    buf_free(&m);
}

static void head(struct fuzz *f, struct buf *b, enum parcel_kind kind)
{
    uint8_t which = get_u8(&f->in);
    put_parcel_head(
        b, &(struct parcel_head){
               .kind = kind, .job = job_id(which), .born_us = 1 + (which >> 2) % 2, .executed = which >> 3});
}

static void do_hostile(struct fuzz *f, uint8_t arg)
{
    struct buf b = {0};
    head(f, &b, 1 + arg % 6);
    struct bytes body = some_bytes(f);
    buf_add(&b, body.data, body.len);
    send_parcel(f, arg >> 7, buf_bytes(&b));
    buf_free(&b);
}

static void put_moved_task(struct fuzz *f, struct buf *b)
{
    uint8_t how = get_u8(&f->in), to = get_u8(&f->in);
    struct buf values = {0};
    put_id(b, task_id(how | 1));
    put_varint(b, FN_FIRST + how % 3);
    put_varint(b, how >> 4);
    put_zigzag(b, how % 5);
    put_u8(b, how % 2);
    put_u8(b, how % 3);
    put_zigzag(b, to);
    put_far_addr(b, &(struct far_addr){task_id(to), to >> 5, to % 4});
    put_varint(b, 1);
    put_varint(b, how & 1);
    if (how & 1)
        put_far_addr(b, &(struct far_addr){task_id(to >> 2), 0, to % 4});
    put_value(&values, how & 1 ? cx_v_addr((cx_addr){0, 0, 0}) : cx_v_i64(how));
    put_bytes(b, buf_bytes(&values));
    buf_free(&values);
}

static void do_move(struct fuzz *f, uint8_t arg)
{
    struct buf b = {0};
    struct ts_submit card = {.modules = 1, .functions = bytes_str("a,b,c"), .fn = FN_FIRST};
    uint32_t n = 1 + arg % 3;
    head(f, &b, PARCEL_MOVE);
    put_id(&b, shard(arg >> 2));
    put_u64(&b, 7);
    submission_put(&b, &card);
    put_flag_i64(&b, arg & 64, arg);
    put_flag_i64(&b, false, 0);
    put_varint(&b, 4);
    for (unsigned i = 0; i < 4; i++)
        put_id(&b, shard(i));
    put_varint(&b, n);
    for (uint32_t i = 0; i < n; i++)
        put_moved_task(f, &b);
    send_parcel(f, arg >> 7, buf_bytes(&b));
    buf_free(&b);
}

static void do_slot(struct fuzz *f, uint8_t arg)
{
    struct buf b = {0};
    head(f, &b, PARCEL_SLOT);
    put_id(&b, task_id(arg));
    put_varint(&b, arg >> 5);
    put_value(&b, arg & 16 ? cx_v_addr((cx_addr){0, 0, 0}) : cx_v_i64(arg));
    if (arg & 16) {
        put_id(&b, shard(arg >> 5));
        put_id(&b, task_id(arg >> 4));
        put_varint(&b, arg >> 6);
    }
    send_parcel(f, arg >> 7, buf_bytes(&b));
    buf_free(&b);
}

static void do_end(struct fuzz *f, uint8_t arg)
{
    struct buf b = {0};
    enum parcel_kind kind = arg & 1 ? PARCEL_DRAINED : arg & 2 ? PARCEL_FAILED : PARCEL_GONE;
    head(f, &b, kind);
    if (kind == PARCEL_DRAINED)
        put_varint(&b, arg >> 4);
    else if (kind == PARCEL_FAILED)
        put_bytes(&b, bytes_str("it fell over"));
    send_parcel(f, arg >> 7, buf_bytes(&b));
    buf_free(&b);
}

/* Confirms, and asks for work: what was moved is in the channels afterwards. */
static void do_note(struct fuzz *f, uint8_t arg)
{
    struct buf m = {0};
    put_varint(&m, arg >> 4);
    put_varint(&m, 0);
    put_varint(&m, 0);
    put_u8(&m, 1 + arg % 5);
    if (arg % 5 == 0) {
        put_varint(&m, get_u8(&f->in) % 8);
        put_varint(&m, 1);
        put_bytes(&m, bytes_str("x86_64"));
    } else if (arg % 5 == 3) {
        put_id(&m, job_id(arg));
        put_varint(&m, 1);
        put_u8(&m, 1 + (arg & 1));
        put_zigzag(&m, get_u8(&f->in));
    }
    say(f, arg & 1, buf_bytes(&m));
    buf_free(&m);
}

/* ---- Life here ---- */

static void do_submit(struct fuzz *f, uint8_t arg)
{
    struct ts_submit s = {.job = job_id(arg),
                          .modules = 1,
                          .functions = bytes_str("a,b,c"),
                          .fn = FN_FIRST,
                          .owner = bytes_str("o")};
    step(f, (struct ts_event){.kind = TS_SUBMIT, .peer = 9, .u.submit = &s});
}

static void do_client(struct fuzz *f, uint8_t arg)
{
    static const enum ts_event_kind kinds[] = {TS_WATCH, TS_CANCEL, TS_FORGET, TS_FORGET};
    step(f, (struct ts_event){.kind = kinds[arg % 4], .peer = 9, .req = arg, .job = job_id(arg >> 4)});
}

static void do_time(struct fuzz *f, uint8_t arg)
{
    f->now += (uint64_t)arg << arg % 16;
    step(f, (struct ts_event){.kind = TS_TICK});
}

static void do_held(struct fuzz *f, uint8_t arg)
{
    step(f, (struct ts_event){.kind = TS_HELD, .u.lsn = arg});
}

static void do_link(struct fuzz *f, uint8_t arg)
{
    if (arg & 1)
        step(f, (struct ts_event){.kind = TS_PEER_DOWN, .u.other.shard = shard(arg >> 1 & 1)});
    connect(f, arg >> 1 & 1);
}

static void do_producer(struct fuzz *f, uint8_t arg)
{
    if (arg & 1) {
        step(f, (struct ts_event){.kind = TS_PRODUCER_LEFT, .peer = 1});
        return;
    }
    step(f, (struct ts_event){.kind = TS_PRODUCER_JOINED, .peer = 1, .u.joined = {"p", "x86_64", arg >> 5}});
    step(f, (struct ts_event){.kind = TS_PRODUCER_WINDOW, .peer = 1, .u.window = arg >> 4});
}

/* What was granted returns, or leaves a successor and two children, one of which is given its address. */
static void do_commit(struct fuzz *f, uint8_t arg)
{
    struct buf body = {0}, batch = {0};
    struct reader r = reader_of(buf_bytes(&f->grant[arg % GRANTS]));
    struct grant g;
    if (!grant_get(&r, &g))
        return;
    put_set(&body, (struct ref){.inherited = true}, cx_v_i64(arg), (struct ref){0});
    if (arg & 64) {
        buf_clear(&body);
        for (uint32_t i = 0; i < 3; i++)
            put_name(&body, 0, i);
        struct op op = {.kind = OP_TASK, .name = 1, .fn = FN_FIRST + 1, .nslots = 2, .to.inherited = true};
        put_task(&body, &op);
        for (uint32_t i = 0; i < 2; i++) {
            struct op child = {
                .kind = OP_TASK, .name = i + 2, .fn = FN_FIRST, .nslots = 1, .flags = TASK_FULL};
            child.to = (struct ref){.index = 1, .slot = i};
            put_task(&body, &child);
            put_task_value(&body, &child,
                           &(struct op_value){.value = cx_v_addr((cx_addr){0, 0, 0}), .ref = child.to});
        }
    }
    struct commit c = {.kind = arg & 128 ? COMMIT_CRASHED : COMMIT_DONE,
                       .job = g.job,
                       .task = g.task,
                       .hash = g.hash,
                       .executed = 1,
                       .body = arg & 128 ? bytes_of(NULL, 0) : buf_bytes(&body)};
    commit_put(&batch, &c);
    step(f, (struct ts_event){.kind = TS_COMMITS, .peer = 1, .u.batch = buf_bytes(&batch)});
    buf_free(&body);
    buf_free(&batch);
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
    while (reader_more(&r))
        must(ts_replay(ts, get_raw(&r, get_u64(&r)), ++lsn));
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
        do_raw,    do_hostile, do_hostile, do_move, do_move,     do_slot,   do_slot,   do_end,  do_submit,
        do_client, do_time,    do_held,    do_link, do_producer, do_commit, do_commit, do_note, do_note,
    };
    struct ts_config config = {.shard = shard(2),
                               .steal = TS_STEAL_LATENCY,
                               .result_ttl_us = 1000000,
                               .budget_max_us = 10000,
                               .gather_us = size & 2 ? 1000 : 0,
                               .collapse = size & 1};
    struct fuzz f = {.in = reader_of(bytes_of(data, size)), .ts = ts_new(&config), .now = 1, .next = {1, 1}};
    connect(&f, 0);
    connect(&f, 1);
    do_producer(&f, 0xf0);
    do_submit(&f, 0);
    for (unsigned steps = 0; steps < STEPS_MAX && reader_more(&f.in); steps++) {
        uint8_t act = get_u8(&f.in), arg = get_u8(&f.in);
        acts[act % (sizeof acts / sizeof acts[0])](&f, arg);
        ts_check(f.ts);
    }
    replay(&f, &config);
    ts_free(f.ts);
    ts_effects_free(&f.fx);
    buf_free(&f.log);
    for (unsigned i = 0; i < GRANTS; i++)
        buf_free(&f.grant[i]);
    return 0;
}
