#include "taskserver/replication.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/must.h"
#include "taskserver/server.h"

/* ---- To the others ---- */

static void fx_send(struct shard *s, const struct replica_effects *all, const struct replica_effect *fx)
{
    struct replica_msg m = fx->msg;
    m.data = replica_effect_data(all, fx);
    sibling_say(s->server->sibling, s->id, &m);
}

static void fx_ask(struct shard *s, const struct replica_effects *all, const struct replica_effect *fx)
{
    (void)all;
    if (s->server->registration)
        registration_ask(s->server->registration, &fx->ask);
}

/* The state as messages: records are gathered until a batch is full. */
struct snapshot {
    struct shard *shard;
    struct replica_msg msg;
    struct buf batch;
};

static void snapshot_send(struct snapshot *snap, bool last)
{
    snap->msg.last = last;
    snap->msg.data = buf_bytes(&snap->batch);
    sibling_say(snap->shard->server->sibling, snap->shard->id, &snap->msg);
    snap->msg.seq++;
    buf_clear(&snap->batch);
}

static void snapshot_add(void *ctx, struct bytes record)
{
    struct snapshot *snap = ctx;
    if (snap->batch.len && snap->batch.len + record.len > REPLICA_BATCH_BYTES)
        snapshot_send(snap, false);
    put_bytes(&snap->batch, record);
}

static void fx_snapshot(struct shard *s, const struct replica_effects *all, const struct replica_effect *fx)
{
    (void)all;
    struct snapshot snap = {.shard = s, .msg = fx->msg};
    must(fx->msg.lsn == s->logged);
    ts_snapshot(s->ts, snapshot_add, &snap);
    snapshot_send(&snap, true);
    log_info("shard %s: the state up to record %" PRIu64 " goes to the sibling", s->name, s->logged);
    buf_free(&snap.batch);
}

/* ---- State and journal ---- */

static void note_mark(struct shard *s, const struct replica_mark *mark)
{
    struct buf note = {0};
    if (!s->journal)
        return;
    put_replica_mark(&note, mark);
    s->generation = journal_note(s->journal, buf_bytes(&note));
    buf_free(&note);
}

static void fx_mark(struct shard *s, const struct replica_effects *all, const struct replica_effect *fx)
{
    struct restoring *r = &s->restoring;
    (void)all;
    if (r->whole) { /* its own tag is not that of the state that is being put in place */
        r->mark.seen = fx->mark.seen;
        r->mark.record = fx->mark.record;
        r->marked = true;
        return;
    }
    s->tag = fx->mark.tag;
    note_mark(s, &fx->mark);
}

/* A record that names modules or an input which are not here counts as kept only when they have come. */
static void gate_record(struct shard *s, struct blobgate *gate, struct bytes record, uint64_t lsn,
                        struct blobfetch *fetch)
{
    const uint8_t *name[TS_RECORD_BLOBS_MAX];
    size_t n = ts_record_blobs(record, name, TS_RECORD_BLOBS_MAX);
    for (size_t i = 0; i < n; i++) {
        if (blobs_have(s->server->blobs, name[i], taskserver_now(s->server)))
            continue;
        blobgate_miss(gate, lsn, name[i]);
        if (fetch)
            blobfetch_want(fetch, name[i]);
    }
}

static void fx_apply(struct shard *s, const struct replica_effects *all, const struct replica_effect *fx)
{
    struct bytes record = replica_effect_data(all, fx);
    must(ts_replay(s->ts, record, fx->lsn)); /* the primary's own record, on the state that it had */
    gate_record(s, &s->gate, record, fx->lsn, s->server->fetch);
    shard_append(s, fx->lsn, record);
}

/* ---- A snapshot that comes ---- */

static void restore_drop(struct shard *s)
{
    struct restoring *r = &s->restoring;
    if (r->journal)
        journal_rebuild_abandon(r->journal);
    ts_free(r->ts);
    blobgate_free(&r->gate);
    *r = (struct restoring){0};
}

static void fx_restore_drop(struct shard *s, const struct replica_effects *all,
                            const struct replica_effect *fx)
{
    (void)all;
    (void)fx;
    restore_drop(s);
}

/* The old state goes when the new one is whole, on the disk, and has its modules and inputs. */
static void install_if_whole(struct shard *s)
{
    struct restoring *r = &s->restoring;
    if (!r->whole || !r->on_disk || blobgate_limit(&r->gate) < r->lsn)
        return;
    struct replica_event installed = {.kind = REPLICA_INSTALLED, .tag = r->mark.tag};
    ts_at(r->ts, r->lsn);
    ts_free(s->ts);
    s->ts = r->ts;
    s->tag = r->mark.tag;
    s->logged = s->disk = s->reported = r->lsn;
    blobgate_free(&s->gate);
    s->gate = r->gate;
    if (r->marked)
        note_mark(s, &r->mark);
    *r = (struct restoring){0};
    log_info("shard %s: the sibling's state up to record %" PRIu64 " is in place", s->name, s->logged);
    shard_replica(s, &installed);
}

static void rebuilt(void *ctx, uint64_t generation)
{
    struct shard *s = ctx;
    s->generation = generation;
    s->restoring.on_disk = true;
    install_if_whole(s);
}

static void restore_begin(struct shard *s, const struct replica_effect *fx)
{
    restore_drop(s);
    s->restoring.ts = shard_table(s);
    s->restoring.lsn = fx->msg.lsn;
    if (s->journal)
        s->restoring.journal = journal_rebuild_begin(s->journal, fx->msg.lsn);
}

static void restore_add(struct shard *s, struct bytes record)
{
    struct restoring *r = &s->restoring;
    must(ts_replay(r->ts, record, r->lsn));
    gate_record(s, &r->gate, record, r->lsn, s->server->fetch);
    if (r->journal)
        journal_rebuild_add(r->journal, record);
}

static void restore_end(struct shard *s, const struct replica_effect *fx)
{
    struct restoring *r = &s->restoring;
    r->whole = true;
    r->mark = fx->mark;
    if (r->journal) {
        struct buf note = {0};
        struct journal_rebuild *journal = r->journal;
        put_replica_mark(&note, &fx->mark);
        r->journal = NULL;
        journal_rebuild_commit(journal, buf_bytes(&note), rebuilt, s);
        buf_free(&note);
        return;
    }
    r->on_disk = true;
    install_if_whole(s);
}

static void fx_restore(struct shard *s, const struct replica_effects *all, const struct replica_effect *fx)
{
    struct reader in = reader_of(replica_effect_data(all, fx));
    if (!fx->msg.seq)
        restore_begin(s, fx);
    while (reader_more(&in)) {
        struct bytes record = get_bytes(&in, SIZE_MAX);
        must(!in.bad);
        restore_add(s, record);
    }
    if (fx->msg.last)
        restore_end(s, fx);
}

/* ---- Serving ---- */

static void fx_serve(struct shard *s, const struct replica_effects *all, const struct replica_effect *fx)
{
    (void)all;
    must(fx->lsn == s->logged);
    shard_serve(s);
}

static void fx_held(struct shard *s, const struct replica_effects *all, const struct replica_effect *fx)
{
    (void)all;
    shard_held(s, fx->lsn);
}

static void fx_open(struct shard *s, const struct replica_effects *all, const struct replica_effect *fx)
{
    (void)all;
    (void)fx;
    s->open = true;
    log_info("shard %s: open: all that was inherited is held", s->name);
}

static void fx_stop(struct shard *s, const struct replica_effects *all, const struct replica_effect *fx)
{
    (void)all;
    (void)fx;
    shard_unserve(s);
}

static void fx_role(struct shard *s, const struct replica_effects *all, const struct replica_effect *fx)
{
    (void)all;
    struct replica_info info;
    replica_look(s->replica, &info);
    log_info("shard %s: %s, epoch %" PRIu64 ", record %" PRIu64 "%s", s->name, replica_role_name(fx->role),
             info.epoch, fx->lsn,
             fx->role == REPLICA_HALTED
                 ? ": the other one had what is missing here; cx server status, and as "
                   "the last resort cx server accept-loss"
                 : "");
}

void shard_replica(struct shard *s, struct replica_event *event)
{
    static void (*const effect[])(struct shard *, const struct replica_effects *,
                                  const struct replica_effect *) = {
        [REPLICA_FX_SEND] = fx_send,         [REPLICA_FX_ASK] = fx_ask,
        [REPLICA_FX_MARK] = fx_mark,         [REPLICA_FX_APPLY] = fx_apply,
        [REPLICA_FX_SNAPSHOT] = fx_snapshot, [REPLICA_FX_RESTORE] = fx_restore,
        [REPLICA_FX_SERVE] = fx_serve,       [REPLICA_FX_RESTORE_DROP] = fx_restore_drop,
        [REPLICA_FX_HELD] = fx_held,         [REPLICA_FX_OPEN] = fx_open,
        [REPLICA_FX_STOP] = fx_stop,         [REPLICA_FX_ROLE] = fx_role,
    };
    struct replica_effects fx = s->replica_fx; /* taken, so that a step inside this one brings its own */
    s->replica_fx = (struct replica_effects){0};
    event->now_us = clock_us();
    replica_step(s->replica, event, &fx);
    for (size_t i = 0; i < fx.n; i++)
        effect[fx.fx[i].kind](s, &fx, &fx.fx[i]);
    replica_effects_free(&s->replica_fx);
    s->replica_fx = fx;
}

/* ---- Disk and blobs ---- */

void replication_disk(struct shard *s)
{
    uint64_t limit = blobgate_limit(&s->gate);
    uint64_t lsn = s->disk < limit ? s->disk : limit;
    if (lsn == s->reported)
        return;
    s->reported = lsn;
    shard_replica(s, &(struct replica_event){.kind = REPLICA_DISK, .lsn = lsn, .tag = s->tag});
}

void shard_blob(struct shard *s, const uint8_t *sha256)
{
    blobgate_have(&s->gate, sha256);
    blobgate_have(&s->restoring.gate, sha256);
    replication_disk(s);
    install_if_whole(s);
}

/* Alone, there is nobody who could have what is missing. It was held never, so it was promised to nobody; who
 * submits it again brings it along. */
static void open_gate(struct shard *s)
{
    struct replica_info info;
    replica_look(s->replica, &info);
    if (info.role != REPLICA_SOLO)
        return;
    blobgate_free(&s->gate);
    replication_disk(s);
}

/* ---- Time ---- */

uint64_t replication_turn(struct shard *s)
{
    if (blobgate_limit(&s->gate) != UINT64_MAX)
        open_gate(s);
    if (s->unflushed || ts_awaited(s->ts) != s->awaited) {
        s->unflushed = false;
        s->awaited = ts_awaited(s->ts);
        replication_disk(s);
        shard_replica(s, &(struct replica_event){.kind = REPLICA_FLUSH, .lsn = s->awaited});
    }
    if (replica_due(s->replica) <= clock_us())
        shard_replica(s, &(struct replica_event){.kind = REPLICA_TICK});
    return replica_due(s->replica);
}

/* ---- What was missing when the server ended ---- */

void replication_replayed(struct shard *s, struct bytes record, uint64_t lsn)
{
    gate_record(s, &s->gate, record, lsn, NULL);
}

static void need(struct shard *s, struct blobset *needed, const uint8_t *sha256)
{
    if (blobset_find(&s->gate.missing, sha256) && !blobset_find(needed, sha256))
        blobset_add(needed, sha256, 0);
}

/* Jobs that are over need nothing. What is missing for the others has to come, as if they came now. */
static void gate_state(struct shard *s)
{
    struct blobset needed = {0};
    struct ts_job_info job;
    for (uint64_t cursor = 0; s->gate.missing.first && ts_job_next(s->ts, &cursor, &job);) {
        for (uint32_t i = 0; job.state == TS_JOB_RUNNING && i < job.modules; i++)
            need(s, &needed, job.module[i].sha256);
        if (job.state == TS_JOB_RUNNING && job.has_input)
            need(s, &needed, job.input);
    }
    for (struct blobset_item *next, *item = s->gate.missing.first; item; item = next) {
        next = item->next;
        if (blobset_find(&needed, item->sha256))
            blobfetch_want(s->server->fetch, item->sha256);
        else
            blobset_remove(&s->gate.missing, item);
    }
    blobset_free(&needed);
}

/* ---- Life ---- */

static void config_of(const struct shard *s, bool own, bool has_mark, struct replica_config *config)
{
    replica_config_default(config);
    config->shard = s->id;
    config->incarnation = s->incarnation;
    config->journal = true; /* without one, DISK says that the blobs are here */
    config->preference = own ? REPLICA_MINE : REPLICA_THEIRS;
    config->alone = own && !has_mark && s->logged; /* it was served without a sibling until now */
    random_bytes(&config->nonce, sizeof config->nonce);
}

int replication_open(struct shard *s, bool own, const struct journal_found *found, char *why)
{
    struct replica_config config;
    struct replica_mark mark = {0};
    struct reader in = reader_of(buf_bytes(&found->note));
    if (found->note.len && !get_replica_mark(&in, &mark)) {
        snprintf(why, STATE_WHY_MAX, "%.300s: the journal's mark is not one of this version", s->dir);
        return CX_EFAILED;
    }
    config_of(s, own, found->note.len, &config);
    s->tag = mark.tag;
    s->replica = replica_new(&config, &mark, s->logged, clock_us());
    gate_state(s);
    uint64_t limit = blobgate_limit(&s->gate);
    s->reported = limit < s->logged ? limit : s->logged;
    replica_lacks(s->replica, s->reported);
    return 0;
}

void replication_close(struct shard *s)
{
    restore_drop(s);
    blobgate_free(&s->gate);
    replica_effects_free(&s->replica_fx);
    replica_free(s->replica);
}
