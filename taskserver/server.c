#include "taskserver/server.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/must.h"

enum {
    SWEEP_US = 60000000,  /* between two looks for unused blobs */
    GOODBYE_US = 1000000, /* that peers get to read what is left for them */
    DISK_US = 30000000,   /* that the disk gets for blobs that are being synced */
};

uint64_t taskserver_now(const struct taskserver *s)
{
    return clock_us() + s->epoch_us;
}

/* The core's time as the runtime's. */
static uint64_t monotonic(const struct taskserver *s, uint64_t core_us)
{
    if (core_us == UINT64_MAX)
        return UINT64_MAX;
    return core_us > s->epoch_us ? core_us - s->epoch_us : 0;
}

/* ---- Events and effects ---- */

static void log_record(struct taskserver *s, const struct ts_effect *fx)
{
    s->logged = fx->lsn;
    if (s->journal)
        journal_append(s->journal, fx->lsn, ts_effect_data(&s->fx, fx));
}

static effect_fn *const effects[] = {
    [TS_FX_GRANT] = producer_grant,   [TS_FX_JOB] = producer_job,       [TS_FX_JOB_GONE] = producer_job_gone,
    [TS_FX_BOUND] = producer_bound,   [TS_FX_HUNGRY] = producer_hungry, [TS_FX_REVOKE] = producer_revoke,
    [TS_FX_FAULT] = producer_fault,   [TS_FX_REPLY] = consumer_reply,   [TS_FX_PROGRESS] = consumer_progress,
    [TS_FX_RESULT] = consumer_result, [TS_FX_LOG] = log_record,
};

static void step(struct taskserver *s, struct ts_event *event)
{
    event->now_us = taskserver_now(s);
    ts_effects_clear(&s->fx);
    ts_step(s->ts, event, &s->fx);
    for (size_t i = 0; i < s->fx.n; i++) {
        must(s->fx.fx[i].kind < sizeof effects / sizeof effects[0]);
        effects[s->fx.fx[i].kind](s, &s->fx.fx[i]);
    }
}

/* Without a journal, the log is as durable as configured as soon as it is written. */
void taskserver_step(struct taskserver *s, struct ts_event *event)
{
    uint64_t before = s->logged;
    step(s, event);
    while (!s->journal && s->logged != before) {
        before = s->logged;
        struct ts_event held = {.kind = TS_HELD, .u.lsn = before};
        step(s, &held);
    }
}

static void on_held(void *ctx, uint64_t lsn)
{
    struct taskserver *s = ctx;
    struct ts_event held = {.kind = TS_HELD, .u.lsn = lsn};
    taskserver_step(s, &held);
}

void taskserver_log_end(struct taskserver *s, struct id id)
{
    static const char *const states[] = {"running", "done", "failed", "cancelled"};
    struct ts_job_info job;
    char hex[ID_HEX_MAX];
    if (id_equal(id, s->job_ended) || !ts_job_find(s->ts, id, &job) || job.state == TS_JOB_RUNNING)
        return;
    s->job_ended = id;
    id_hex(id, hex);
    struct bytes reason = text_clean(&s->scratch, job.reason, 500);
    log_info("job %s %s: %" PRIu64 " tasks in %.3f s%s%.*s", hex, states[job.state], job.executed,
             (double)(job.ended_us - job.submitted_us) / 1e6, reason.len ? ": " : "", (int)reason.len,
             (const char *)reason.data);
}

/* ---- What is due ---- */

static void touch_blobs(struct taskserver *s, uint64_t now_us)
{
    struct ts_job_info job;
    for (uint64_t cursor = 0; ts_job_next(s->ts, &cursor, &job);) {
        if (job.state != TS_JOB_RUNNING)
            continue;
        for (uint32_t i = 0; i < job.modules; i++)
            blobs_touch(s->blobs, job.module[i].sha256, now_us);
        if (job.has_input)
            blobs_touch(s->blobs, job.input, now_us);
    }
}

static void sweep(struct taskserver *s, uint64_t now_us)
{
    if (now_us < s->sweep_us)
        return;
    s->sweep_us = now_us + (s->config.blob_ttl_us < SWEEP_US ? s->config.blob_ttl_us : SWEEP_US);
    touch_blobs(s, taskserver_now(s));
    blobs_expire(s->blobs, taskserver_now(s));
}

/* Does what is due; returns when to come again. */
static uint64_t do_due(struct taskserver *s)
{
    if (ts_due(s->ts) <= taskserver_now(s)) {
        struct ts_event tick = {.kind = TS_TICK};
        taskserver_step(s, &tick);
    }
    uint64_t now = clock_us(), next = monotonic(s, ts_due(s->ts));
    uint64_t broker = s->registration ? registration_tick(s->registration, now) : UINT64_MAX;
    sweep(s, now);
    if (s->journal) {
        journal_compact(s->journal);
        journal_flush(s->journal);
    }
    next = next < broker ? next : broker;
    return next < s->sweep_us ? next : s->sweep_us;
}

/* ---- Stopping ---- */

static bool all_read(const struct taskserver *s)
{
    for (const struct session *p = s->sessions; p; p = p->next)
        if (!p->closing && outbox_bytes(&p->out))
            return false;
    return true;
}

/* What was asked and is on disk is answered, then every stream is told that the server goes. */
static void finish(struct taskserver *s)
{
    if (s->journal)
        journal_stop(s->journal);
    uint64_t until = clock_us() + DISK_US;
    while (blobs_syncing(s->blobs) && clock_us() < until)
        rpc_run(s->rpc, until, NULL, NULL);
    for (until = clock_us() + GOODBYE_US; !all_read(s) && clock_us() < until;)
        rpc_run(s->rpc, until, NULL, NULL);
    for (struct session *p = s->sessions; p; p = p->next)
        session_close(p, CX_ENONET, "the server is stopping");
    if (s->registration)
        registration_stop(s->registration);
    for (until = clock_us() + GOODBYE_US; s->sessions && clock_us() < until;)
        rpc_run(s->rpc, until, NULL, NULL);
    struct ts_stats st;
    ts_stats(s->ts, &st);
    log_info("stopped: %" PRIu64 " jobs and %" PRIu64 " tasks %s", st.jobs, st.tasks,
             s->journal ? "are in the journal" : "are gone, as there is no journal");
}

void taskserver_stop(void *server)
{
    struct taskserver *s = server;
    if (!s->stopping)
        log_info("stopping");
    s->stopping = true;
}

void taskserver_run(struct taskserver *s)
{
    while (!s->stopping)
        rpc_run(s->rpc, do_due(s), NULL, NULL);
    do_due(s);
    finish(s);
}

/* ---- Starting ---- */

static void post(void *rpc, void (*fn)(void *), void *ctx)
{
    rpc_post(rpc, fn, ctx);
}

static bool replay(void *ctx, struct bytes record, uint64_t lsn)
{
    struct taskserver *s = ctx;
    return ts_replay(s->ts, record, lsn);
}

/* Compaction's own core, on its own thread. */
static void *machine_begin(void *ctx)
{
    const struct taskserver *s = ctx;
    return ts_new(&s->config.core);
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

static int open_journal(struct taskserver *s, struct poster poster, char *why)
{
    struct journal_config config = {.dir = s->config.state,
                                    .poster = poster,
                                    .held = on_held,
                                    .machine = &machine,
                                    .ctx = s,
                                    .compact_bytes = s->config.compact};
    struct journal_found found;
    uint64_t from = clock_us();
    int code = journal_open(&config, s->incarnation, replay, &s->journal, &found, why);
    if (code)
        return code;
    struct ts_stats st;
    ts_stats(s->ts, &st);
    s->incarnation = found.incarnation;
    s->logged = found.lsn;
    log_info("journal: %" PRIu64 " records, %" PRIu64 " bytes: %" PRIu64 " jobs, %" PRIu64
             " tasks, replayed in %.1f ms",
             found.records, found.bytes, st.jobs, st.tasks, (double)(clock_us() - from) / 1e3);
    return 0;
}

static int open_state(struct taskserver *s, char *why)
{
    struct poster poster = {post, s->rpc};
    struct blobs_config blobs = {.dir = s->config.state,
                                 .poster = poster,
                                 .blob_max = BLOB_BYTES_MAX,
                                 .total_max = s->config.blobs_max,
                                 .ttl_us = s->config.blob_ttl_us};
    int code = state_lock(s->config.state, &s->lock, why);
    if (!code && s->config.journal)
        code = open_journal(s, poster, why);
    if (code)
        return code;
    if (ts_now(s->ts) > taskserver_now(s)) /* the machine's clock has been set back since */
        s->epoch_us += ts_now(s->ts) - taskserver_now(s);
    s->started_us = taskserver_now(s);
    ts_replayed(s->ts, s->started_us);
    return blobs_open(&blobs, s->started_us, &s->blobs, why);
}

static int listen_on(struct taskserver *s, char *why)
{
    static const struct session_kind *const kinds[] = {&producer_kind, &consumer_kind, &blob_kind};
    unsigned consumers = 1u << ROLE_CONSUMER | 1u << ROLE_ADMIN, producers = 1u << ROLE_PRODUCER;
    for (int i = 0; i < 3; i++)
        s->services[i] = (struct session_service){s, kinds[i]};
    const struct rpc_service services[] = {
        {"/cx.TaskServer/Produce", producers, &session_handler, &s->services[0]},
        {"/cx.TaskServer/Consume", consumers, &session_handler, &s->services[1]},
        {"/cx.TaskServer/Blobs", producers | consumers, &session_handler, &s->services[2]},
    };
    memcpy(s->rpc_services, services, sizeof services);
    char text[RPC_WHY_MAX] = "";
    int code = rpc_listen(s->rpc, s->config.listen, s->config.me, s->rpc_services, 3, &s->port, text);
    if (code)
        snprintf(why, STATE_WHY_MAX, "%.100s: %s", s->config.listen, text);
    return code;
}

/* What the broker tells others, unless --advertise says better: the host of --listen, or this machine's name
 * where that is all of its addresses; and the port that was bound. */
static void own_address(const struct taskserver *s, char *out, size_t max)
{
    char host[256] = "";
    const char *colon = strrchr(s->config.listen, ':');
    snprintf(host, sizeof host, "%.*s", colon ? (int)(colon - s->config.listen) : 0, s->config.listen);
    if (!host[0] || strcmp(host, "0.0.0.0") == 0 || strcmp(host, "[::]") == 0)
        gethostname(host, sizeof host - 1);
    snprintf(out, max, "%s:%d", host, s->port);
}

static void start_registration(struct taskserver *s)
{
    char address[300];
    own_address(s, address, sizeof address);
    s->registration =
        registration_new(s, s->config.broker, s->config.advertise ? s->config.advertise : address);
}

int taskserver_start(const struct taskserver_config *config, struct taskserver **out, char *why)
{
    struct taskserver *s = calloc(1, sizeof *s);
    must(s);
    s->config = *config;
    s->lock = -1;
    s->epoch_us = clock_wall_us() - clock_us();
    random_bytes(&s->incarnation, sizeof s->incarnation);
    s->ts = ts_new(&config->core);
    int code = rpc_new(&s->rpc);
    if (code)
        snprintf(why, STATE_WHY_MAX, "cannot start the RPC runtime");
    if (!code)
        code = open_state(s, why);
    if (!code)
        code = listen_on(s, why);
    if (code) {
        taskserver_free(s);
        return code;
    }
    if (config->broker)
        start_registration(s);
    *out = s;
    return 0;
}

void taskserver_free(struct taskserver *s)
{
    if (!s)
        return;
    if (s->blobs)
        blobs_stop(s->blobs);
    if (s->journal && !s->stopping)
        journal_stop(s->journal);
    s->stopping = true;
    rpc_free(s->rpc); /* streams and posts still use what follows */
    journal_free(s->journal);
    blobs_free(s->blobs);
    registration_free(s->registration);
    ts_effects_free(&s->fx);
    ts_free(s->ts);
    peers_free(&s->producers);
    peers_free(&s->clients);
    buf_free(&s->scratch);
    if (s->lock >= 0)
        close(s->lock);
    free(s);
}
