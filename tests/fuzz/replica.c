/* A replica under hostile messages: raw bytes, well formed messages of any content, answers that no witness
 * would give. Whatever comes, what it asks of its shell must be possible, and its own relations must hold.
 * The witness's asks and answers are read from raw bytes, too. */
#include <stdlib.h>

#include "base/must.h"
#include "broker/core/witness.h"
#include "taskserver/core/replica.h"

enum { ME = 1, STEPS_MAX = 400 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct fuzz {
    struct reader in;
    struct replica *r;
    struct replica_effects fx;
    struct witness *witness;
    struct witness_effects wfx;
    uint64_t now;
    /* the shell */
    uint64_t lsn, held, restoring;
    struct replica_tag tag, install;
    bool serves, installs;
};

/* Small numbers meet each other; now and then one is huge. */
static uint64_t number(struct fuzz *f)
{
    uint8_t v = get_u8(&f->in);
    return v < 240 ? v % 12 : v < 250 ? get_u64(&f->in) : UINT64_MAX - v % 2;
}

static struct bytes some_bytes(struct fuzz *f)
{
    size_t len = get_u8(&f->in), left = (size_t)(f->in.end - f->in.at);
    return get_raw(&f->in, len < left ? len : left);
}

/* ---- The shell ---- */

static void look_at(struct fuzz *f, const struct replica_effect *fx)
{
    struct buf b = {0};
    struct replica_msg m = fx->msg, again;
    struct reader r;
    switch (fx->kind) {
    case REPLICA_FX_SEND:
        m.data = replica_effect_data(&f->fx, fx);
        put_replica_msg(&b, &m);
        r = reader_of(buf_bytes(&b));
        must(get_replica_msg(&r, &again));
        buf_free(&b);
        break;
    case REPLICA_FX_APPLY:
        must(!f->serves && !f->installs && fx->lsn == f->lsn + 1);
        f->lsn = fx->lsn;
        break;
    case REPLICA_FX_RESTORE:
        must(!f->serves && !f->installs);
        f->restoring = fx->msg.seq ? f->restoring : fx->msg.lsn;
        f->installs = fx->msg.last;
        f->install = fx->msg.tag;
        break;
    case REPLICA_FX_MARK:
        f->tag = fx->mark.tag;
        break;
    case REPLICA_FX_SNAPSHOT:
        must(f->serves && fx->msg.lsn == f->lsn);
        break;
    case REPLICA_FX_SERVE:
        must(!f->serves && !f->installs && fx->lsn == f->lsn);
        f->serves = true;
        f->held = 0;
        break;
    case REPLICA_FX_HELD:
        must(f->serves && fx->lsn > f->held && fx->lsn <= f->lsn);
        f->held = fx->lsn;
        break;
    case REPLICA_FX_OPEN:
        must(f->serves);
        break;
    case REPLICA_FX_STOP:
        must(f->serves);
        f->serves = false;
        break;
    case REPLICA_FX_RESTORE_DROP:
        must(!f->installs);
        break;
    case REPLICA_FX_ASK:
    case REPLICA_FX_ROLE:
        break;
    }
}

static void step(struct fuzz *f, struct replica_event e)
{
    struct replica_info info;
    e.now_us = f->now;
    replica_step(f->r, &e, &f->fx);
    for (size_t i = 0; i < f->fx.n; i++)
        look_at(f, &f->fx.fx[i]);
    replica_check(f->r);
    replica_look(f->r, &info);
    must(info.serves == f->serves && info.lsn == f->lsn);
}

/* ---- What comes ---- */

static void do_raw(struct fuzz *f, uint8_t arg)
{
    (void)arg;
    struct replica_event e = {.kind = REPLICA_MSG};
    struct reader r = reader_of(some_bytes(f));
    if (get_replica_msg(&r, &e.msg))
        step(f, e);
}

static struct shard_record some_record(struct fuzz *f)
{
    struct shard_record r = {.epoch = number(f), .version = number(f), .primary = number(f) % 3};
    r.nonce = number(f) % 2 + 1;
    r.in_sync[0] = number(f) % 4;
    r.in_sync[1] = number(f) % 4;
    return r;
}

/* In the bytes that a sibling would send. */
static void do_message(struct fuzz *f, uint8_t arg)
{
    struct buf b = {0};
    struct replica_msg m = {.kind = arg % (REPLICA_MSG_MAX + 1), .from = 2 + arg / 128, .to = arg / 64 % 2};
    struct replica_event e = {.kind = REPLICA_MSG};
    m.epoch = number(f);
    m.tag.epoch = number(f);
    m.tag.session = number(f);
    m.lsn = number(f);
    m.seq = (uint32_t)number(f);
    m.last = arg / 32 % 2;
    if (arg / 16 % 2)
        m.record = some_record(f);
    m.data = some_bytes(f);
    put_replica_msg(&b, &m);
    struct reader r = reader_of(buf_bytes(&b));
    if (get_replica_msg(&r, &e.msg))
        step(f, e);
    buf_free(&b);
}

/* What an honest backup says of the session that there is. */
static void do_follow(struct fuzz *f, uint8_t arg)
{
    struct replica_info info;
    replica_look(f->r, &info);
    struct replica_msg m = {.kind = arg & 1 ? REPLICA_ACK : REPLICA_JOIN, .from = 2, .epoch = info.epoch};
    m.tag = (struct replica_tag){f->tag.epoch, arg / 2 % 8};
    m.lsn = arg & 128 ? f->lsn : number(f);
    step(f, (struct replica_event){.kind = REPLICA_MSG, .msg = m});
}

static void do_answer(struct fuzz *f, uint8_t arg)
{
    struct replica_info info;
    struct replica_event e = {.kind = REPLICA_ANSWER, .shard.boot = arg / 16};
    replica_look(f->r, &info);
    e.shard.record = some_record(f);
    if (arg & 1) { /* a grant, or a change of the set */
        e.shard.record.epoch = info.epoch + arg / 2 % 2;
        e.shard.record.primary = ME;
        e.shard.record.nonce = 1;
    }
    step(f, e);
}

static void do_time(struct fuzz *f, uint8_t arg)
{
    f->now += (uint64_t)arg << arg % 16;
    step(f, (struct replica_event){.kind = REPLICA_TICK});
}

static void do_log(struct fuzz *f, uint8_t arg)
{
    if (!f->serves || f->lsn == UINT64_MAX)
        return;
    replica_logged(f->r, ++f->lsn, some_bytes(f));
    if (arg & 1)
        step(f, (struct replica_event){.kind = REPLICA_FLUSH, .lsn = arg & 2 ? f->lsn : 0});
}

static void do_disk(struct fuzz *f, uint8_t arg)
{
    step(f, (struct replica_event){.kind = REPLICA_DISK, .lsn = arg & 1 ? f->lsn : number(f), .tag = f->tag});
}

static void do_installed(struct fuzz *f, uint8_t arg)
{
    (void)arg;
    if (!f->installs)
        return;
    f->installs = false;
    f->lsn = f->restoring;
    f->tag = f->install;
    step(f, (struct replica_event){.kind = REPLICA_INSTALLED, .tag = f->install});
}

static void do_event(struct fuzz *f, uint8_t arg)
{
    static const enum replica_event_kind kinds[] = {REPLICA_CLOSED, REPLICA_HAND_OVER, REPLICA_FLUSH};
    step(f, (struct replica_event){.kind = kinds[arg % 3]});
}

/* Bytes of an ask and of an answer: read, and read again as they are written. */
static void do_witness(struct fuzz *f, uint8_t arg)
{
    struct bytes raw = some_bytes(f);
    struct reader r = reader_of(raw);
    struct buf b = {0};
    struct witness_event e = {.kind = WITNESS_ASK, .now_us = f->now, .peer = arg % 2};
    struct shard_answer answer;
    if (get_shard_ask(&r, &e.ask)) {
        witness_step(f->witness, &e, &f->wfx);
        put_shard_ask(&b, &e.ask);
        r = reader_of(buf_bytes(&b));
        must(get_shard_ask(&r, &e.ask));
    }
    r = reader_of(raw);
    if (get_shard_answer(&r, &answer)) {
        buf_clear(&b);
        put_shard_answer(&b, &answer);
        r = reader_of(buf_bytes(&b));
        must(get_shard_answer(&r, &answer));
    }
    buf_free(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const acts[])(struct fuzz *, uint8_t) = {
        do_raw,  do_message, do_message,   do_message, do_follow, do_follow, do_answer,  do_time,
        do_time, do_disk,    do_installed, do_event,   do_log,    do_log,    do_witness, do_answer,
    };
    struct replica_config config;
    struct witness_config witness = {.boot = 7, .solo_us = 1000, .shards_max = 4};
    struct fuzz f = {.in = reader_of(bytes_of(data, size)), .now = 1000000};
    uint8_t how = get_u8(&f.in);
    replica_config_default(&config);
    config.incarnation = config.nonce = ME;
    config.journal = how & 1;
    config.preference = how / 2 % 3;
    config.alone = how & 64;
    config.tail_bytes_max = how & 16 ? 100 : 1 << 20;
    config.window_bytes = how & 32 ? 50 : 1 << 20;
    f.r = replica_new(&config, &(struct replica_mark){0}, 0, f.now);
    f.witness = witness_new(&witness);
    for (unsigned steps = 0; steps < STEPS_MAX && reader_more(&f.in); steps++) {
        uint8_t act = get_u8(&f.in), arg = get_u8(&f.in);
        acts[act % (sizeof acts / sizeof acts[0])](&f, arg);
    }
    replica_free(f.r);
    replica_effects_free(&f.fx);
    witness_free(f.witness);
    return 0;
}
