/* A shard's task table: events in, effects out, its journal, and what is due. */
#include "taskserver/shard.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/must.h"
#include "taskserver/replication.h"
#include "taskserver/server.h"

struct ts *shard_table(const struct shard *s)
{
    struct ts_config config = s->server->config.core;
    if (s->server->config.broker)
        config.shard = s->id;
    return ts_new(&config);
}

uint64_t shard_now(const struct shard *s)
{
    return taskserver_now(s->server) + s->ahead_us;
}

/* ---- Events and effects ---- */

void shard_append(struct shard *s, uint64_t lsn, struct bytes record)
{
    s->logged = lsn;
    s->unflushed = true;
    if (s->journal)
        journal_append(s->journal, lsn, record);
    else
        s->disk = lsn;
}

static void log_record(struct shard *s, const struct ts_effect *fx)
{
    struct bytes record = ts_effect_data(&s->fx, fx);
    shard_append(s, fx->lsn, record);
    if (s->replica)
        replica_logged(s->replica, fx->lsn, record);
}

static effect_fn *const effects[] = {
    [TS_FX_GRANT] = producer_grant,   [TS_FX_JOB] = producer_job,       [TS_FX_JOB_GONE] = producer_job_gone,
    [TS_FX_BOUND] = producer_bound,   [TS_FX_HUNGRY] = producer_hungry, [TS_FX_REVOKE] = producer_revoke,
    [TS_FX_FAULT] = producer_fault,   [TS_FX_REPLY] = consumer_reply,   [TS_FX_PROGRESS] = consumer_progress,
    [TS_FX_RESULT] = consumer_result, [TS_FX_PEER] = peer_say,          [TS_FX_PEER_FAULT] = peer_fault,
    [TS_FX_GUEST] = peer_guest,       [TS_FX_LOG] = log_record,
};

static void step(struct shard *s, struct ts_event *event)
{
    event->now_us = shard_now(s);
    ts_effects_clear(&s->fx);
    ts_step(s->ts, event, &s->fx);
    for (size_t i = 0; i < s->fx.n; i++) {
        must(s->fx.fx[i].kind < sizeof effects / sizeof effects[0]);
        effects[s->fx.fx[i].kind](s, &s->fx.fx[i]);
    }
}

/* Law 8: what has been held since ts was last told. Without a sibling, what is on the disk is. */
static void tell_held(struct shard *s)
{
    for (;;) {
        if (!s->replica)
            s->held = s->disk;
        if (!s->serves || s->held <= s->told)
            return;
        s->told = s->held;
        step(s, &(struct ts_event){.kind = TS_HELD, .u.lsn = s->told});
    }
}

void shard_step(struct shard *s, struct ts_event *event)
{
    must(s->serves && !s->stepping);
    s->stepping = true;
    step(s, event);
    tell_held(s);
    s->stepping = false;
}

void shard_held(struct shard *s, uint64_t lsn)
{
    if (lsn > s->held)
        s->held = lsn;
    if (s->stepping)
        return; /* the step that runs tells it at its end */
    s->stepping = true;
    tell_held(s);
    s->stepping = false;
}

void shard_log_end(struct shard *s, struct id id)
{
    static const char *const states[] = {"running", "done", "failed", "cancelled"};
    struct ts_job_info job;
    char hex[ID_HEX_MAX];
    if (id_equal(id, s->job_ended) || !ts_job_find(s->ts, id, &job) || job.guest ||
        job.state == TS_JOB_RUNNING)
        return;
    s->job_ended = id;
    id_hex(id, hex);
    struct bytes reason = text_clean(&s->server->scratch, job.reason, 500);
    log_info("job %s %s: %" PRIu64 " tasks in %.3f s%s%.*s", hex, states[job.state], job.executed,
             (double)(job.ended_us - job.submitted_us) / 1e6, reason.len ? ": " : "", (int)reason.len,
             (const char *)reason.data);
}

/* ---- Serving ---- */

/* The table's time never goes back, and may come from a clock that was ahead of ours. */
void shard_serve(struct shard *s)
{
    uint64_t now = shard_now(s);
    if (ts_now(s->ts) > now)
        s->ahead_us += ts_now(s->ts) - now;
    s->held = s->told = s->replica ? 0 : s->logged;
    s->serves = true;
    s->open = !s->replica;
    ts_replayed(s->ts, shard_now(s));
    if (s->server->peering)
        peering_guests(s->server->peering, s);
}

/* Nothing volatile stays: the state goes on as its records alone. */
static void replay_kept(void *ctx, struct bytes record)
{
    struct shard *s = ctx;
    must(ts_replay(s->ts, record, s->logged));
}

void shard_unserve(struct shard *s)
{
    struct ts *old = s->ts;
    char why[RPC_WHY_MAX];
    s->serves = s->open = false;
    snprintf(why, sizeof why, "not the primary of shard %s", s->name);
    taskserver_close(s->server, s, why);
    s->ts = shard_table(s);
    ts_snapshot(old, replay_kept, s);
    ts_at(s->ts, s->logged);
    ts_free(old);
}

/* ---- What is due ---- */

/* The core's time as the runtime's. */
static uint64_t monotonic(const struct shard *s, uint64_t core_us)
{
    uint64_t ahead = s->server->epoch_us + s->ahead_us;
    if (core_us == UINT64_MAX)
        return UINT64_MAX;
    return core_us > ahead ? core_us - ahead : 0;
}

uint64_t shard_turn(struct shard *s)
{
    uint64_t next = UINT64_MAX;
    if (s->serves && ts_due(s->ts) <= shard_now(s))
        shard_step(s, &(struct ts_event){.kind = TS_TICK});
    if (s->replica)
        next = replication_turn(s);
    if (s->journal) {
        journal_compact(s->journal);
        journal_flush(s->journal);
    }
    if (s->replica && s->unflushed)
        next = 0; /* what was held has logged more: at once again */
    uint64_t table = s->serves ? monotonic(s, ts_due(s->ts)) : UINT64_MAX;
    return table < next ? table : next;
}

/* ---- Opening ---- */

static bool replay(void *ctx, struct bytes record, uint64_t lsn)
{
    struct shard *s = ctx;
    if (!ts_replay(s->ts, record, lsn))
        return false;
    if (s->server->sibling)
        replication_replayed(s, record, lsn);
    return true;
}

/* Compaction's own table, on its own thread. */
static void *machine_begin(void *ctx)
{
    const struct shard *s = ctx;
    return shard_table(s);
}
static bool machine_replay(void *ts, struct bytes record, uint64_t lsn)
{
    return ts_replay(ts, record, lsn);
}
static void machine_snapshot(const void *ts, void (*emit)(void *ctx, struct bytes record), void *ctx)
{
    ts_snapshot(ts, emit, ctx);
}
static void machine_end(void *ts)
{
    ts_free(ts);
}
static const struct journal_machine machine = {machine_begin, machine_replay, machine_snapshot, machine_end};

static void on_disk(void *ctx, uint64_t lsn, uint64_t generation)
{
    struct shard *s = ctx;
    if (s->replica && generation != s->generation)
        return; /* of a history that has been left */
    s->disk = lsn;
    if (s->replica)
        replication_disk(s);
    else
        shard_held(s, lsn);
}

static int open_journal(struct shard *s, struct journal_found *found, char *why)
{
    const struct taskserver *server = s->server;
    struct journal_config config = {.dir = s->dir,
                                    .poster = server->poster,
                                    .held = on_disk,
                                    .machine = &machine,
                                    .ctx = s,
                                    .compact_bytes = server->config.compact};
    uint64_t from = clock_us();
    int code = journal_open(&config, s->incarnation, replay, &s->journal, found, why);
    if (code)
        return code;
    struct ts_stats st;
    s->incarnation = found->incarnation;
    s->logged = s->disk = found->lsn;
    ts_at(s->ts, s->logged);
    ts_stats(s->ts, &st);
    log_info("shard %s: journal: %" PRIu64 " records, %" PRIu64 " bytes: %" PRIu64 " jobs, %" PRIu64
             " tasks, replayed in %.1f ms",
             s->name, found->records, found->bytes, st.jobs, st.tasks, (double)(clock_us() - from) / 1e3);
    return 0;
}

int shard_open(struct shard *s, struct taskserver *server, const char *name, bool own, char *why)
{
    struct journal_found found = {0};
    s->server = server;
    s->id = shard_id(server->config.network, name);
    snprintf(s->name, sizeof s->name, "%s", name);
    snprintf(s->dir, sizeof s->dir, own ? "%s" : "%s/shard-%s", server->config.state, name);
    s->ts = shard_table(s);
    random_bytes(&s->incarnation, sizeof s->incarnation);
    int code = own ? 0 : state_mkdir(s->dir, why);
    if (!code && server->config.journal)
        code = open_journal(s, &found, why);
    if (!code && server->config.sibling)
        code = replication_open(s, own, &found, why);
    else if (!code)
        shard_serve(s);
    journal_found_free(&found);
    return code;
}

void shard_stop(struct shard *s)
{
    if (s->journal)
        journal_stop(s->journal);
}

void shard_free(struct shard *s)
{
    replication_close(s);
    journal_free(s->journal);
    ts_effects_free(&s->fx);
    ts_free(s->ts);
}
