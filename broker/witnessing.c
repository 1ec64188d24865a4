#include "broker/witnessing.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/must.h"
#include "broker/etcd.h"
#include "proto/pki.h"

enum {
    SHARDS_MAX = 65536,
    SOLO_US = 1000000,
    ATTEMPTS = 3,      /* to be quicker than the other brokers on one etcd */
    JOBS_MAX = 1024,   /* that wait for the thread */
    STALE_US = 1000000 /* an ask that has waited so long has been asked again by now */
};

_Static_assert(GATEWAY_WHY_MAX <= STORE_WHY_MAX, "one room for both");

struct witnessing {
    struct witnessing_config config;
    struct witness *core; /* owned; with etcd, the thread's alone */
    struct witness_effects out;
    struct etcd *etcd;     /* owned; NULL: the store. The thread's alone */
    struct worker *worker; /* owned; NULL: there is none, or it has been stopped */
    uint64_t nonce;        /* of this start */
    unsigned jobs;
    bool away; /* etcd; said once */
    atomic_bool stopping;
    struct buf packed;
};

/* One ask or order, and what came of it. */
struct job {
    struct work work;
    struct witnessing *w;
    uint64_t peer, req, since_us;
    struct witness_event event;
    int code;
    bool saved, answered;
    struct shard_answer answer;
};

/* ---- Deciding: on the reactor, or on the thread ---- */

static void step(struct witnessing *w, struct witness_event e)
{
    e.now_us = clock_us();
    witness_step(w->core, &e, &w->out);
}

static int etcd_is(struct witnessing *w, int code, const char *why)
{
    bool away = code == CX_ENONET;
    if (away && !w->away)
        log_warn("etcd: %s. No server can take over until it answers", why);
    else if (!away && w->away)
        log_info("etcd answers again");
    w->away = away;
    return code;
}

static int load(struct witnessing *w, struct id shard, struct etcd_row *row)
{
    char why[STORE_WHY_MAX] = "";
    int code = etcd_is(w, etcd_load(w->etcd, shard, row, why), why);
    if (code)
        return code;
    /* Tickets are of this process's clock, so two brokers must not have one boot. */
    uint64_t boot = row->boot ^ w->nonce;
    step(w, (struct witness_event){
                .kind = WITNESS_LOADED, .shard = shard, .record = row->record, .boot = boot ? boot : 1});
    return 0;
}

static int save(struct witnessing *w, const struct etcd_row *was, struct id shard,
                const struct shard_record *record)
{
    char why[STORE_WHY_MAX] = "";
    if (w->etcd)
        return etcd_is(w, etcd_save(w->etcd, shard, was, record, why), why);
    if (store_save_shard(w->config.store, shard, record, why)) {
        log_error(
            "the store: %s. Nothing more can be witnessed, so this broker ends; put the disk in order and "
            "start it again",
            why);
        _exit(WITNESSING_EXIT);
    }
    return 0;
}

static void say_saved(struct id shard, const struct shard_record *r)
{
    char hex[ID_HEX_MAX];
    id_hex(shard, hex);
    log_info("shard %s: epoch %llu, primary %016llx, in sync %016llx %016llx", hex,
             (unsigned long long)r->epoch, (unsigned long long)r->primary, (unsigned long long)r->in_sync[0],
             (unsigned long long)r->in_sync[1]);
}

/* CX_EEXIST: another broker was quicker. */
static int decide(struct witnessing *w, struct job *j)
{
    struct id shard = j->event.kind == WITNESS_ASK ? j->event.ask.shard : j->event.shard;
    struct etcd_row row;
    int code = w->etcd ? load(w, shard, &row) : 0;
    if (code)
        return code;
    step(w, j->event);
    if (w->out.n && w->out.fx[0].kind == WITNESS_FX_SAVE) {
        struct shard_record record = w->out.fx[0].record;
        code = save(w, &row, shard, &record);
        step(w, (struct witness_event){
                    .kind = code ? WITNESS_UNSAVED : WITNESS_SAVED, .shard = shard, .record = record});
        if (code)
            return code;
        say_saved(shard, &record);
        j->saved = true;
    }
    if (w->out.n) {
        must(w->out.fx[0].kind == WITNESS_FX_ANSWER);
        j->answered = true;
        j->answer = w->out.fx[0].answer;
    }
    return 0;
}

/* ---- Answering: on the reactor ---- */

static void deliver(const struct job *j)
{
    struct witnessing *w = j->w;
    if (j->event.kind == WITNESS_ACCEPT_LOSS) {
        w->config.settled(w->config.ctx, j->peer, j->req, j->code || j->saved ? j->code : CX_ENOTFOUND);
    } else if (j->answered) {
        buf_clear(&w->packed);
        put_shard_answer(&w->packed, &j->answer);
        w->config.answer(w->config.ctx, j->peer, j->req, buf_bytes(&w->packed));
    }
}

/* ---- The thread ---- */

static void run(struct work *work)
{
    struct job *j = (struct job *)work;
    bool stale = j->event.kind == WITNESS_ASK && clock_us() - j->since_us > STALE_US;
    int code = CX_EEXIST;
    for (int i = 0; code == CX_EEXIST && i < ATTEMPTS; i++)
        code = stale || atomic_load(&j->w->stopping) ? CX_ENONET : decide(j->w, j);
    j->code = code == CX_EEXIST ? CX_ENONET : code;
}

static void done(struct work *work)
{
    struct job *j = (struct job *)work;
    j->w->jobs--;
    deliver(j);
    free(j);
}

static void take(struct witnessing *w, uint64_t peer, uint64_t req, const struct witness_event *e)
{
    struct job now = {.w = w, .peer = peer, .req = req, .event = *e}, *j;
    if (!w->worker || w->jobs == JOBS_MAX) {
        now.code = w->etcd ? CX_ENONET : decide(w, &now);
        deliver(&now);
        return;
    }
    j = malloc(sizeof *j);
    must(j);
    *j = now;
    j->work = (struct work){.run = run, .done = done};
    j->since_us = clock_us();
    w->jobs++;
    worker_add(w->worker, &j->work);
}

void witnessing_ask(struct witnessing *w, uint64_t peer, uint64_t req, const struct shard_ask *ask)
{
    struct witness_event e = {.kind = WITNESS_ASK, .ask = *ask};
    take(w, peer, req, &e);
}

void witnessing_accept_loss(struct witnessing *w, uint64_t peer, uint64_t req, struct id shard,
                            uint64_t member)
{
    struct witness_event e = {.kind = WITNESS_ACCEPT_LOSS, .shard = shard, .member = member};
    take(w, peer, req, &e);
}

/* ---- Start and stop ---- */

static bool restore(void *ctx, struct id shard, const struct shard_record *record)
{
    struct witnessing *w = ctx;
    return witness_restore(w->core, shard, record);
}

/* Rows of a time before etcd must not be believed by a broker that one day goes back to its store. */
static int start_etcd(struct witnessing *w, char *why)
{
    int code = etcd_new(w->config.etcd, &w->etcd, why);
    if (!code)
        code = store_forget_shards(w->config.store, why);
    return code ? code : worker_new(w->config.poster, &w->worker);
}

int witnessing_new(const struct witnessing_config *config, struct witnessing **out, char *why)
{
    struct witness_config core = {.solo_us = SOLO_US, .shards_max = SHARDS_MAX};
    struct witnessing *w = calloc(1, sizeof *w);
    must(w);
    random_bytes(&w->nonce, sizeof w->nonce);
    w->nonce |= 1;
    core.boot = w->nonce;
    w->config = *config;
    w->core = witness_new(&core);
    int code = config->etcd ? start_etcd(w, why) : store_load_shards(config->store, restore, w, why);
    if (code)
        witnessing_free(w);
    else
        *out = w;
    return code;
}

void witnessing_stop(struct witnessing *w)
{
    atomic_store(&w->stopping, true);
    worker_free(w->worker);
    w->worker = NULL;
}

void witnessing_free(struct witnessing *w)
{
    if (!w)
        return;
    witnessing_stop(w);
    must(w->jobs == 0);
    witness_free(w->core);
    etcd_free(w->etcd);
    buf_free(&w->packed);
    free(w);
}
